//! Host keys: what `known_hosts` may hold, and what becomes of a key it does not.
#![expect(clippy::disallowed_methods, reason = "tests write files")]

use std::process::Command;
use std::sync::Arc;

use nlrun::world::host::{Endpoint, HostKeyPolicy, Hosts, Limits};
use nlrun::world::transport::Fault;

use crate::support::sshd::Sshd;

async fn connect(endpoint: &Endpoint) -> Result<(), Fault> {
    let hosts = Hosts::new(Limits::default());
    let result = hosts.connect(endpoint).await;
    hosts.close().await;
    result
}

fn stranger(sshd: &Sshd, name: &str, algorithm: &[&str]) -> String {
    let path = sshd.keygen(name, algorithm).with_extension("pub");
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

#[tokio::test]
async fn lines_of_every_kind() {
    let Some(sshd) = Sshd::start() else { return };
    let (port, key) = (sshd.port, sshd.host_key());
    let other = stranger(&sshd, "other", &["-t", "ed25519"]);
    let rsa = stranger(&sshd, "rsa", &["-t", "rsa", "-b", "2048"]);
    let spaced = key.replace(' ', "\t \t");
    let table: Vec<(String, Option<&str>)> = vec![
        (format!("[127.0.0.1]:{port} {key}"), None),
        (format!("x,[127.0.0.1]:{port},y\t{spaced}\tcomment here"), None),
        (format!("127.0.0.1 {key}"), None),
        (format!("[127.0.0.*]:* {key}"), None),
        (format!("* {key}"), None),
        (format!("# old\n\n[127.0.0.1]:{port} {other}\n[127.0.0.1]:{port} {key}"), None),
        (format!("[127.0.0.1]:{port} {rsa}\n[127.0.0.1]:{port} {key}"), None),
        (format!("*,!127.0.0.1,![127.0.0.1]:{port} {key}"), Some("unknown to")),
        // OpenSSH, too, asks for the name without the port when none has it.
        (format!("*,![127.0.0.1]:{port} {key}"), None),
        (format!("[127.0.0.1]:{} {key}", port ^ 1), Some("unknown to")),
        (String::new(), Some("unknown to")),
        (format!("\n[127.0.0.1]:{port} {other}"), Some(":2 holds another key")),
        (format!("127.0.0.1 {other}"), Some(":1 holds another key")),
        (format!("[127.0.0.1]:{port} {rsa}"), Some("known are only ssh-rsa at")),
        (format!("* {key}\n@revoked * {key}"), Some("revoked by")),
        (format!("* {key}\n@revoked * {other}"), None),
        (format!("@cert-authority * {key}"), Some("unknown to")),
        // A revoked line alone names no key of the host, so the lines without the port are asked.
        (format!("@revoked [127.0.0.1]:{port} {other}\n127.0.0.1 {key}"), None),
        (format!("@revoked [127.0.0.1]:{port} {key}\n127.0.0.1 {key}"), Some("revoked by")),
        (format!("* {}", key.replace("ssh-ed25519", "ssh-rsa")), Some("unknown to")),
    ];
    for (text, expected) in table {
        std::fs::write(sshd.known_hosts(), &text).unwrap();
        let result = connect(&sshd.endpoint()).await;
        match expected {
            None => assert_eq!(result, Ok(()), "{text}"),
            Some(expected) => {
                let Err(Fault::HostKey { reason }) = result else { panic!("{text}: {result:?}") };
                assert!(reason.contains(expected) && reason.contains("SHA256:"), "{text}: {reason}");
            }
        }
    }
}

#[tokio::test]
async fn names_hashed_by_openssh() {
    let Some(sshd) = Sshd::start() else { return };
    let hashed = Command::new("ssh-keygen").arg("-q").arg("-H").arg("-f").arg(sshd.known_hosts()).output();
    assert!(hashed.unwrap().status.success());
    let text = std::fs::read_to_string(sshd.known_hosts()).unwrap();
    assert!(text.starts_with("|1|"), "{text}");
    assert_eq!(connect(&sshd.endpoint()).await, Ok(()));
}

#[tokio::test]
async fn an_alias_stands_for_address_and_port() {
    let Some(sshd) = Sshd::start() else { return };
    std::fs::write(sshd.known_hosts(), format!("db-1 {}\n", sshd.host_key())).unwrap();
    assert!(matches!(connect(&sshd.endpoint()).await, Err(Fault::HostKey { .. })));
    let endpoint = Endpoint { host_key_alias: Some("db-1".to_owned()), ..sshd.endpoint() };
    assert_eq!(connect(&endpoint).await, Ok(()));
}

#[tokio::test]
async fn known_algorithms_are_asked_for_first() {
    let Some(sshd) = Sshd::builder().second_host_key().start() else { return };
    let text = std::fs::read_to_string(sshd.folder().join("second.pub")).unwrap();
    std::fs::write(sshd.known_hosts(), format!("[127.0.0.1]:{} {text}", sshd.port)).unwrap();
    assert_eq!(connect(&sshd.endpoint()).await, Ok(()));
}

#[tokio::test]
async fn new_keys_are_learnt_once_and_only_when_asked() {
    let Some(sshd) = Sshd::builder().config("MaxStartups 100").start() else { return };
    let file = sshd.folder().join("new/known_hosts");
    let endpoint = Arc::new(Endpoint {
        known_hosts: vec![file.clone()],
        host_key_policy: HostKeyPolicy::AcceptNew,
        ..sshd.endpoint()
    });
    let strict = Endpoint { host_key_policy: HostKeyPolicy::Strict, ..(*endpoint).clone() };
    assert!(matches!(connect(&strict).await, Err(Fault::HostKey { .. })));
    assert!(!file.exists());

    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "other ssh-ed25519 AAAA").unwrap();
    let mut connects = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let endpoint = Arc::clone(&endpoint);
        connects.spawn(async move { connect(&endpoint).await });
    }
    while let Some(result) = connects.join_next().await {
        assert_eq!(result.unwrap(), Ok(()));
    }
    let expected = format!("other ssh-ed25519 AAAA\n[127.0.0.1]:{} {}\n", sshd.port, sshd.host_key());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(connect(&strict).await, Ok(()));
}

#[tokio::test]
async fn a_file_that_changes_while_hosts_are_called_is_read_again() {
    let Some(sshd) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits::default());
    let other = stranger(&sshd, "other", &["-t", "ed25519"]);
    // Both have the same length: only the time tells them apart.
    for (key, is_known) in [(&other, false), (&sshd.host_key(), true), (&other, false)] {
        let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
        std::fs::write(sshd.known_hosts(), format!("* {key}\n")).unwrap();
        let result = hosts.connect(&sshd.endpoint()).await;
        assert_eq!(result.is_ok(), is_known, "{result:?}");
        hosts.forget("sshd").await;
    }
    hosts.close().await;
}

#[tokio::test]
async fn a_certificate_must_be_a_hosts_and_of_today_and_without_conditions() {
    let table: [(&'static [&'static str], &str); 4] = [
        (&["-n", "127.0.0.1", "-V", "-5m:+1h"], "is for users, not for hosts"),
        (&["-h", "-n", "127.0.0.1", "-V", "-2h:-1h"], "is not valid"),
        (&["-h", "-n", "127.0.0.1", "-V", "+1h:+2h"], "is not valid"),
        (&["-h", "-n", "127.0.0.1", "-V", "-5m:+1h", "-O", "critical:moon@full"], "which is not understood"),
    ];
    for (arguments, expected) in table {
        let Some(sshd) = Sshd::builder().certificate(arguments).start() else { return };
        let ca = std::fs::read_to_string(sshd.folder().join("ca.pub")).unwrap();
        std::fs::write(sshd.known_hosts(), format!("@cert-authority * {ca}")).unwrap();
        let result = connect(&sshd.endpoint()).await;
        let Err(Fault::HostKey { reason }) = result else { panic!("{arguments:?}: {result:?}") };
        assert!(reason.contains(expected), "{arguments:?}: {reason}");
    }
}

#[tokio::test]
async fn host_certificates() {
    let Some(sshd) = Sshd::builder().host_certificate().start() else { return };
    let ca = std::fs::read_to_string(sshd.folder().join("ca.pub")).unwrap().trim().to_owned();
    let other = stranger(&sshd, "otherca", &["-t", "ed25519"]);
    let table: Vec<(String, Option<&str>)> = vec![
        (format!("@cert-authority 127.0.0.*,[127.0.0.*]:* {ca}"), None),
        (format!("@cert-authority * {other}\n@cert-authority * {ca}"), None),
        (format!("@cert-authority * {other}"), Some("which no line trusts")),
        (format!("@cert-authority web-* {ca}"), Some("unknown to")),
        (format!("@cert-authority * {ca}\n@revoked * {}", sshd.host_key()), Some("revoked by")),
        (format!("@cert-authority * {ca}\n@revoked * {ca}"), Some("revoked by")),
        // The plain key still counts where no authority is trusted.
        (format!("* {}", sshd.host_key()), None),
    ];
    for (text, expected) in table {
        std::fs::write(sshd.known_hosts(), &text).unwrap();
        let result = connect(&sshd.endpoint()).await;
        match expected {
            None => assert_eq!(result, Ok(()), "{text}"),
            Some(expected) => {
                let Err(Fault::HostKey { reason }) = result else { panic!("{text}: {result:?}") };
                assert!(reason.contains(expected), "{text}: {reason}");
            }
        }
    }
    // The certificate names 127.0.0.1 only.
    std::fs::write(sshd.known_hosts(), format!("@cert-authority * {ca}\n")).unwrap();
    let endpoint = Endpoint { address: "localhost".to_owned(), ..sshd.endpoint() };
    let Err(Fault::HostKey { reason }) = connect(&endpoint).await else { panic!("it connects") };
    assert!(reason.contains("is only for 127.0.0.1"), "{reason}");
}
