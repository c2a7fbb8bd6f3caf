//! A real sshd that knows what old network gear knows, and nothing else.

use std::path::Path;
use std::sync::Arc;

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::Fault;

use super::login::Agent;
use super::{run, shell};
use crate::support::sshd::Sshd;

fn old(kex: &str, cipher: &str, mac: &str) -> Option<Sshd> {
    Sshd::builder()
        .old_host_key()
        .config("RequiredRSASize 1024")
        .config("HostKeyAlgorithms ssh-rsa")
        .config("PubkeyAcceptedAlgorithms ssh-rsa")
        .config(&format!("KexAlgorithms {kex}\nCiphers {cipher}\nMACs {mac}"))
        .start()
}

#[tokio::test]
async fn old_algorithms_for_named_hosts_only() {
    let table = [
        ("diffie-hellman-group1-sha1", "3des-cbc", "hmac-sha1"),
        ("diffie-hellman-group14-sha1", "aes128-cbc", "hmac-sha1"),
        ("diffie-hellman-group14-sha1", "aes256-cbc", "hmac-sha1-etm@openssh.com"),
        ("diffie-hellman-group-exchange-sha1", "aes192-cbc", "hmac-sha1"),
    ];
    let hosts = Hosts::new(Limits::default());
    for (kex, cipher, mac) in table {
        let Some(sshd) = old(kex, cipher, mac) else { return };
        let key = sshd.keygen("rsa", &["-t", "rsa", "-b", "2048"]);
        sshd.authorize(&key);
        let modern = Endpoint { identity_files: vec![key.clone()], ..sshd.endpoint() };
        let Err(Fault::Protocol { reason }) = hosts.connect(&modern).await else {
            panic!("{kex}: it connects")
        };
        assert!(reason.contains(kex) && reason.contains("legacy: true"), "{reason}");

        // Output enough for several packets, and what differs in length from a block.
        let legacy = Endpoint { legacy: true, ..modern };
        let line = "head -c 300001 /dev/zero | tr '\\0' x";
        let (result, kept) = run(&hosts, &Arc::new(legacy.clone()), &shell(line)).await;
        assert_eq!((result.unwrap().code, kept.out.len()), (Some(0), 300_001), "{kex} {cipher} {mac}");

        let agent = Agent::start(sshd.folder(), &[Path::new(&key)]);
        let socket = Some(agent.socket().to_owned());
        let by_agent =
            Endpoint { name: "by agent".to_owned(), agent: socket, identity_files: Vec::new(), ..legacy };
        assert_eq!(hosts.connect(&by_agent).await, Ok(()), "{kex}");
    }
    hosts.close().await;
}

/// Each part of the handshake names what is missing, and a modern host key does not make up for an old signature.
#[tokio::test]
async fn each_part_that_is_too_old_is_named() {
    let Some(sshd) = Sshd::builder().config("Ciphers aes128-cbc").start() else { return };
    let hosts = Hosts::new(Limits::default());
    let Err(Fault::Protocol { reason }) = hosts.connect(&sshd.endpoint()).await else {
        panic!("it connects")
    };
    assert!(reason.contains("cipher") && reason.contains("aes128-cbc"), "{reason}");

    let Some(sshd) = Sshd::builder().old_host_key().config("HostKeyAlgorithms ssh-rsa").start() else {
        return;
    };
    let Err(Fault::Protocol { reason }) = hosts.connect(&sshd.endpoint()).await else {
        panic!("it connects")
    };
    assert!(reason.contains("host key") && reason.contains("ssh-rsa"), "{reason}");

    let Some(sshd) = Sshd::builder().config("PubkeyAcceptedAlgorithms ssh-rsa").start() else { return };
    let key = sshd.keygen("rsa", &["-t", "rsa", "-b", "2048"]);
    sshd.authorize(&key);
    let modern = Endpoint { identity_files: vec![key], ..sshd.endpoint() };
    let Err(Fault::Authentication { .. }) = hosts.connect(&modern).await else { panic!("it logs in") };
    assert_eq!(hosts.connect(&Endpoint { legacy: true, ..modern }).await, Ok(()));
    hosts.close().await;
}
