//! Cancel, time-out and detaching: what runs on after a command, and what must not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::{Command, Fault};
use tokio_util::sync::CancellationToken;

use super::{Kept, run, shell, words};
use crate::support::dropbear::Dropbear;
use crate::support::processes::{kill, marker, until, with_marker};
use crate::support::sshd::Sshd;

/// What ends with its server.
enum Server {
    None,
    OpenSsh { _sshd: Sshd },
    Busybox { _dropbear: Dropbear },
}

fn transports(hosts: &[&str]) -> Vec<(Arc<Endpoint>, Server)> {
    let mut list: Vec<(Arc<Endpoint>, Server)> = Vec::new();
    for kind in hosts {
        if *kind == "local" {
            list.push((Arc::new(Endpoint::local("here")), Server::None));
            continue;
        }
        if *kind == "busybox" {
            if let Some(dropbear) = Dropbear::start() {
                list.push((dropbear.shared(), Server::Busybox { _dropbear: dropbear }));
            }
            continue;
        }
        let builder = Sshd::builder();
        let builder = if *kind == "one session" { builder.config("MaxSessions 1") } else { builder };
        if let Some(sshd) = builder.start() {
            list.push((sshd.shared(), Server::OpenSsh { _sshd: sshd }));
        }
    }
    list
}

/// The processes with the mark that are `sleep`.
fn sleeping(mark: &str) -> Vec<u32> {
    let is_sleep = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
    };
    with_marker(mark).into_iter().filter(is_sleep).collect()
}

const ALL: [&str; 4] = ["local", "ssh", "one session", "busybox"];

#[tokio::test]
async fn nothing_is_left_after_cancel_and_after_a_time_out() {
    for (endpoint, _server) in transports(&ALL) {
        for by_timeout in [false, true] {
            let hosts = Hosts::new(Limits::default());
            let mark = marker();
            // One child in the background, one in front, and one that left the group and the session.
            let mut command = shell("sh -c 'sleep 300 & setsid sleep 300 & sleep 300'; true");
            // The mark is in the environment of all of them.
            command.env = vec![("NLRUN_TEST_MARK".to_owned(), mark.clone())];
            command.timeout = by_timeout.then(|| Duration::from_secs(2));
            let cancel = CancellationToken::new();
            let task = {
                let (hosts, endpoint, command, cancel) =
                    (hosts.clone(), Arc::clone(&endpoint), command.clone(), cancel.clone());
                tokio::spawn(
                    async move { hosts.run(&endpoint, &command, &mut Kept::default(), &cancel).await },
                )
            };
            until("the children run", || sleeping(&mark).len() == 3).await;
            if !by_timeout {
                cancel.cancel();
            }
            let result = task.await.unwrap();
            let expected = if by_timeout { Fault::TimedOut { seconds: 2 } } else { Fault::Cancelled };
            assert_eq!(result, Err(expected), "{endpoint:?}");
            assert_eq!(with_marker(&mark), Vec::<u32>::new(), "{endpoint:?}, by time-out: {by_timeout}");
            // The connection is still good.
            assert_eq!(run(&hosts, &endpoint, &shell("true")).await.0.unwrap().code, Some(0));
            hosts.close().await;
        }
    }
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed_and_what_cleans_up_may() {
    for (endpoint, _server) in transports(&["local", "ssh", "busybox"]) {
        let hosts = Hosts::new(Limits::default());
        let mark = marker();
        let line = "trap 'echo cleaning up; exit 0' TERM; sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & \
                    echo ready; while :; do sleep 0.1; done";
        let mut command = shell(line);
        command.env = vec![("NLRUN_TEST_MARK".to_owned(), mark.clone())];
        command.timeout = Some(Duration::from_secs(1));
        let started = Instant::now();
        let (result, kept) = run(&hosts, &endpoint, &command).await;
        assert_eq!(result, Err(Fault::TimedOut { seconds: 1 }));
        assert_eq!(kept.out(), "ready\ncleaning up\n", "what it says at its end is kept");
        assert_eq!(with_marker(&mark), Vec::<u32>::new(), "{endpoint:?}");
        let took = started.elapsed();
        assert!(took > Duration::from_secs(3) && took < Duration::from_secs(20), "{endpoint:?}: {took:?}");
        hosts.close().await;
    }
}

#[tokio::test]
async fn cancelling_before_the_start_does_nothing() {
    for (endpoint, _server) in transports(&["local", "ssh"]) {
        let hosts = Hosts::new(Limits::default());
        let cancel = CancellationToken::new();
        cancel.cancel();
        let result = hosts.run(&endpoint, &shell("true"), &mut Kept::default(), &cancel).await;
        assert_eq!(result, Err(Fault::Cancelled));
    }
}

#[tokio::test]
async fn what_was_asked_for_and_has_not_begun_is_ended() {
    // The command begins late, as on a busy host or behind a slow line.
    let late = "ForceCommand sleep 1; eval \"$SSH_ORIGINAL_COMMAND\"";
    let Some(sshd) = Sshd::builder().config(late).start() else { return };
    let hosts = Hosts::new(Limits::default());
    let (mark, cancel) = (marker(), CancellationToken::new());
    let command = Command { env: vec![("MARK".to_owned(), mark.clone())], ..shell("sleep 300; true") };
    let task = {
        let (hosts, endpoint, cancel) = (hosts.clone(), sshd.shared(), cancel.clone());
        tokio::spawn(async move { hosts.run(&endpoint, &command, &mut Kept::default(), &cancel).await })
    };
    until("sshd has the command", || !with_marker(&mark).is_empty()).await;
    cancel.cancel();
    assert_eq!(task.await.unwrap(), Err(Fault::Cancelled));
    assert_eq!(with_marker(&mark), Vec::<u32>::new());
    hosts.close().await;
}

#[tokio::test]
async fn a_detached_command_outlives_its_connection() {
    for (endpoint, _server) in transports(&["local", "ssh", "busybox"]) {
        for line in [shell("sleep 300 & wait"), words(&["sleep", "300"])] {
            let hosts = Hosts::new(Limits::default());
            let mark = marker();
            let env = vec![("NLRUN_TEST_MARK".to_owned(), mark.clone())];
            let command = Command { detach: true, env, ..line };
            let started = Instant::now();
            let (result, kept) = run(&hosts, &endpoint, &command).await;
            assert_eq!(
                (result.unwrap().code, kept.out(), kept.err()),
                (Some(0), String::new(), String::new())
            );
            assert!(started.elapsed() < Duration::from_secs(5));
            hosts.close().await;
            until("it runs", || sleeping(&mark).len() == 1).await;
            with_marker(&mark).into_iter().for_each(kill);
        }
    }
}

#[tokio::test]
async fn children_that_outlive_their_shell_are_ended_by_the_time_out() {
    // dropbear does not wait for them: there the command has ended well.
    for (endpoint, _server) in transports(&["local", "ssh", "one session"]) {
        let hosts = Hosts::new(Limits::default());
        let mark = marker();
        let env = vec![("NLRUN_TEST_MARK".to_owned(), mark.clone())];
        let timeout = Some(Duration::from_secs(1));
        let command = Command { env, timeout, ..shell("sleep 300 & echo started") };
        let (result, kept) = run(&hosts, &endpoint, &command).await;
        assert_eq!((result, kept.out()), (Err(Fault::TimedOut { seconds: 1 }), "started\n".to_owned()));
        assert_eq!(with_marker(&mark), Vec::<u32>::new(), "{endpoint:?}");
        hosts.close().await;
    }
}

#[tokio::test]
async fn children_with_a_group_of_their_own_are_found_by_their_session() {
    let Some(sshd) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits::default());
    let mark = marker();
    let env = vec![("NLRUN_TEST_MARK".to_owned(), mark.clone())];
    let timeout = Some(Duration::from_secs(1));
    let command = Command { env, timeout, ..shell("perl -e 'setpgrp; exec qw(sleep 300)' & echo started") };
    let (result, kept) = run(&hosts, &sshd.shared(), &command).await;
    assert_eq!((result, kept.out()), (Err(Fault::TimedOut { seconds: 1 }), "started\n".to_owned()));
    assert_eq!(with_marker(&mark), Vec::<u32>::new());
    hosts.close().await;
}

#[tokio::test]
async fn what_begins_late_on_a_slow_host_is_ended_too() {
    let slow = "ForceCommand touch FOLDER/asked; sleep 1; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let Some(sshd) = Sshd::builder().config(slow).start() else { return };
    for by_timeout in [false, true] {
        let hosts = Hosts::new(Limits::default());
        let mark = marker();
        let env = vec![("NLRUN_TEST_MARK".to_owned(), mark.clone())];
        let timeout = by_timeout.then(|| Duration::from_millis(200));
        let command = Command { env, timeout, ..shell("sleep 300") };
        let cancel = CancellationToken::new();
        let asked = sshd.folder().join("asked");
        let _ = std::fs::remove_file(&asked);
        let mut kept = Kept::default();
        let endpoint = sshd.shared();
        let (result, ()) = tokio::join!(hosts.run(&endpoint, &command, &mut kept, &cancel), async {
            until("the command was asked for", || asked.exists()).await;
            if !by_timeout {
                cancel.cancel();
            }
        });
        let expected = if by_timeout { Fault::TimedOut { seconds: 0 } } else { Fault::Cancelled };
        assert_eq!(result, Err(expected));
        assert_eq!(with_marker(&mark), Vec::<u32>::new(), "by time-out: {by_timeout}");
        hosts.close().await;
    }
}

#[tokio::test]
async fn many_commands_cancelled_at_once() {
    let Some(sshd) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits::default());
    let (mark, cancel) = (marker(), CancellationToken::new());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (hosts, endpoint, cancel) = (hosts.clone(), sshd.shared(), cancel.clone());
        let env = vec![("NLRUN_TEST_MARK".to_owned(), mark.clone())];
        let command = Command { env, ..shell("sleep 300 & sleep 300; true") };
        tasks.spawn(async move { hosts.run(&endpoint, &command, &mut Kept::default(), &cancel).await });
    }
    until("all run", || sleeping(&mark).len() == 16).await;
    cancel.cancel();
    let results = tasks.join_all().await;
    assert!(results.iter().all(|result| *result == Err(Fault::Cancelled)), "{results:?}");
    assert_eq!(with_marker(&mark), Vec::<u32>::new());
    hosts.close().await;
}
