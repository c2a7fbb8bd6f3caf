//! Ways to a host: directly, through jump hosts, through a proxy command.

use std::sync::Arc;
use std::time::Duration;

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::Fault;

use super::{run, shell};
use crate::support::faulty::{Faulty, Mode};
use crate::support::sshd::{Sshd, free_port};

fn named(name: &str, sshd: &Sshd) -> Endpoint {
    Endpoint { name: name.to_owned(), ..sshd.endpoint() }
}

#[tokio::test]
async fn one_and_two_jump_hosts() {
    let (Some(near), Some(middle), Some(far)) = (Sshd::start(), Sshd::start(), Sshd::start()) else { return };
    let hosts = Hosts::new(Limits::default());
    let show = shell("echo ${SSH_CONNECTION##* }");
    for jump in [vec![named("near", &near)], vec![named("near", &near), named("middle", &middle)]] {
        let endpoint = Endpoint { jump, name: "far".to_owned(), ..far.endpoint() };
        let (result, kept) = run(&hosts, &Arc::new(endpoint), &show).await;
        assert_eq!(result.unwrap().code, Some(0));
        assert_eq!(kept.out(), format!("{}\n", far.port), "it is the far one that answers");
        hosts.forget("far").await;
    }
    assert_eq!(accepted(&near), 1, "the jump host's connection is shared");
    assert_eq!(accepted(&middle), 1);
    hosts.close().await;
}

fn accepted(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

#[tokio::test]
async fn many_hosts_behind_one_jump_host_do_not_block_each_other() {
    let (Some(near), Some(far)) = (Sshd::start(), Sshd::builder().config("MaxStartups 100").start()) else {
        return;
    };
    let hosts = Hosts::new(Limits { connects: 2, channels: 8 });
    let mut runs = tokio::task::JoinSet::new();
    for n in 0..12 {
        let endpoint =
            Endpoint { name: format!("far{n}"), jump: vec![named("near", &near)], ..far.endpoint() };
        let hosts = hosts.clone();
        runs.spawn(async move { run(&hosts, &Arc::new(endpoint), &shell("true")).await.0 });
    }
    while let Some(result) = runs.join_next().await {
        assert_eq!(result.unwrap().unwrap().code, Some(0));
    }
    assert_eq!((accepted(&near), accepted(&far)), (1, 12));
    hosts.close().await;
}

#[tokio::test]
async fn faults_behind_a_jump_host_name_the_right_host() {
    let Some(near) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits::default());
    let port = free_port();
    let closed = Endpoint { jump: vec![named("near", &near)], ..Endpoint::new("c", "127.0.0.1", port, "u") };
    assert_eq!(hosts.connect(&closed).await, Err(Fault::Refused { address: format!("127.0.0.1:{port}") }));

    let gone = Endpoint::new("gone", "127.0.0.1", port, "u");
    let behind = Endpoint { jump: vec![gone], ..near.endpoint() };
    let Err(Fault::Unreachable { reason }) = hosts.connect(&behind).await else { panic!("it connects") };
    assert!(reason.contains("jump host `gone`") && reason.contains("refused"), "{reason}");
    hosts.close().await;
}

#[tokio::test]
async fn a_proxy_command() {
    let Some(sshd) = Sshd::start() else { return };
    // Any program that carries bytes will do; this one is on every machine with OpenSSH.
    let carry = format!(
        "ssh -F none -o BatchMode=yes -o UserKnownHostsFile={} -i {} -p {} -W 127.0.0.1:{} {}@127.0.0.1",
        sshd.known_hosts().display(),
        sshd.client_key().display(),
        sshd.port,
        sshd.port,
        sshd.user
    );
    let hosts = Hosts::new(Limits::default());
    let endpoint = Endpoint { proxy_command: Some(carry), ..sshd.endpoint() };
    let (result, kept) = run(&hosts, &Arc::new(endpoint), &shell("echo through")).await;
    assert_eq!((result.unwrap().code, kept.out()), (Some(0), "through\n".to_owned()));
    hosts.close().await;

    let broken = Endpoint {
        proxy_command: Some("false".to_owned()),
        connect_timeout: Duration::from_secs(1),
        ..sshd.endpoint()
    };
    let result = hosts.connect(&broken).await;
    assert!(matches!(result, Err(Fault::Unreachable { .. })), "{result:?}");
}

#[tokio::test]
async fn ports_seen_from_here_and_from_a_host() {
    let server = Faulty::start(Mode::Silent).await;
    let Some(sshd) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits::default());
    let (endpoint, soon, closed) = (sshd.endpoint(), Duration::from_secs(5), free_port());
    for via in [None, Some(&endpoint)] {
        assert!(hosts.port_open(via, "127.0.0.1", server.port, soon).await);
        assert!(!hosts.port_open(via, "127.0.0.1", closed, soon).await);
    }
    hosts.close().await;
}
