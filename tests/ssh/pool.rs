//! One connection a host, many commands on it, and what happens at the server's limits.

use std::sync::Arc;
use std::time::Duration;

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::{Command, Fault};

use super::{run, shell};
use crate::support::faulty::{Faulty, Mode};
use crate::support::sshd::Sshd;

async fn run_many(hosts: &Hosts, endpoint: &Arc<Endpoint>, count: usize, line: &str) -> usize {
    let mut runs = tokio::task::JoinSet::new();
    for n in 0..count {
        let (hosts, endpoint, command) =
            (hosts.clone(), Arc::clone(endpoint), shell(&format!("{line}; echo {n}")));
        runs.spawn(async move {
            let (result, kept) = run(&hosts, &endpoint, &command).await;
            assert_eq!(kept.out(), format!("{n}\n"));
            result.unwrap().code
        });
    }
    runs.join_all().await.into_iter().filter(|code| *code == Some(0)).count()
}

fn accepted(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

#[tokio::test]
async fn many_commands_share_one_connection() {
    let Some(sshd) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits::default());
    assert_eq!(run_many(&hosts, &sshd.shared(), 40, "sleep 0.02").await, 40);
    assert_eq!(accepted(&sshd), 1);
    hosts.close().await;
}

#[tokio::test]
async fn fewer_sessions_than_we_would_like() {
    for limit in 1..=3 {
        let Some(sshd) = Sshd::builder().config(&format!("MaxSessions {limit}")).start() else { return };
        let hosts = Hosts::new(Limits::default());
        assert_eq!(run_many(&hosts, &sshd.shared(), 10, "sleep 0.02").await, 10, "MaxSessions {limit}");
        for _ in 0..5 {
            assert_eq!(run(&hosts, &sshd.shared(), &shell("true")).await.0.unwrap().code, Some(0));
        }
        assert_eq!(accepted(&sshd), 1);
        hosts.close().await;
    }
}

#[tokio::test]
async fn no_sessions_at_all_is_a_protocol_fault() {
    let Some(sshd) = Sshd::builder().config("MaxSessions 0").start() else { return };
    let hosts = Hosts::new(Limits::default());
    let endpoint = Arc::new(Endpoint { connect_timeout: Duration::from_secs(1), ..sshd.endpoint() });
    let (result, _) = run(&hosts, &endpoint, &shell("true")).await;
    assert!(matches!(result, Err(Fault::Protocol { .. })), "{result:?}");
    hosts.close().await;
}

#[tokio::test]
async fn connections_dropped_at_random_come_back() {
    let Some(sshd) = Sshd::builder().config("MaxStartups 2:50:4").start() else { return };
    let hosts = Hosts::new(Limits::default());
    let mut connects = tokio::task::JoinSet::new();
    for n in 0..24 {
        let endpoint = Endpoint {
            name: format!("host{n}"),
            connect_timeout: Duration::from_secs(30),
            ..sshd.endpoint()
        };
        let hosts = hosts.clone();
        connects.spawn(async move { hosts.connect(&endpoint).await });
    }
    let results = connects.join_all().await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert!(sshd.log().contains("MaxStartups"), "nothing was dropped, so nothing was tested");
    hosts.close().await;
}

#[tokio::test]
async fn callers_that_wait_for_one_call_share_its_fault() {
    let server = Faulty::start(Mode::Silent).await;
    let endpoint = Arc::new(Endpoint { connect_timeout: Duration::from_millis(500), ..server.endpoint() });
    let hosts = Hosts::new(Limits::default());
    let calls = (0..5).map(|_| {
        let (hosts, endpoint) = (hosts.clone(), Arc::clone(&endpoint));
        async move { hosts.connect(&endpoint).await }
    });
    let results = calls.collect::<tokio::task::JoinSet<_>>().join_all().await;
    assert!(results.iter().all(|result| matches!(result, Err(Fault::Unreachable { .. }))), "{results:?}");
    assert_eq!(server.calls(), 1);
    assert!(hosts.connect(&endpoint).await.is_err());
    assert_eq!(server.calls(), 2, "a later caller asks anew");
}

#[tokio::test]
async fn a_server_that_went_away_is_connected_to_again() {
    let Some(sshd) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits::default());
    let endpoint = sshd.shared();
    // The shell's parent is the process that serves the connection.
    let command = Command { timeout: Some(Duration::from_secs(10)), ..shell("kill -9 $PPID; sleep 5") };
    let (result, _) = run(&hosts, &endpoint, &command).await;
    assert!(matches!(result, Err(Fault::Lost { .. })), "{result:?}");
    assert_eq!(run(&hosts, &endpoint, &shell("true")).await.0.unwrap().code, Some(0));
    assert_eq!(accepted(&sshd), 2);

    hosts.forget("sshd").await;
    assert_eq!(hosts.connect(&endpoint).await, Ok(()));
    assert_eq!(accepted(&sshd), 3);
    hosts.close().await;
}

#[tokio::test]
async fn the_next_channel_is_opened_ahead_and_only_one() {
    let Some(sshd) = Sshd::builder().debug().start() else { return };
    let hosts = Hosts::new(Limits::default());
    for _ in 0..5 {
        assert_eq!(run(&hosts, &sshd.shared(), &shell("sleep 0.02")).await.0.unwrap().code, Some(0));
    }
    hosts.close().await;
    let opened = sshd.log().matches(": input_session_request").count();
    assert_eq!(opened, 6, "five used and one ahead");
}
