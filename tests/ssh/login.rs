//! Every way to log in to a real sshd.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::Fault;
use zeroize::Zeroizing;

use super::enters;
use crate::support::account::Account;
use crate::support::sshd::Sshd;

#[tokio::test]
async fn keys_of_every_kind() {
    let Some(sshd) = Sshd::start() else { return };
    let table: [(&str, &[&str]); 6] = [
        ("ed25519", &["-t", "ed25519"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("locked", &["-t", "ed25519", "-N", "open it", "-a", "1"]),
    ];
    for (name, arguments) in table {
        let mut key = sshd.keygen(name, arguments);
        // One P-256 key in 512 cannot be read by the `ssh-key` crate.
        while *name == *"ecdsa256" && russh::keys::load_secret_key(&key, None).is_err() {
            std::fs::remove_file(&key).unwrap();
            std::fs::remove_file(key.with_extension("pub")).unwrap();
            key = sshd.keygen(name, arguments);
        }
        sshd.authorize(&key);
        let endpoint = Endpoint {
            identity_files: vec![key],
            passphrase: Some(Zeroizing::new("open it".to_owned())),
            ..sshd.endpoint()
        };
        assert_eq!(enters(endpoint).await, Ok(()), "{name}");
    }
}

#[tokio::test]
async fn what_was_tried_is_told() {
    let Some(sshd) = Sshd::start() else { return };
    let stranger = sshd.keygen("stranger", &["-t", "ed25519"]);
    let locked = sshd.keygen("locked", &["-t", "ed25519", "-N", "open it", "-a", "1"]);
    let table: [(&str, Endpoint, &[&str]); 4] = [
        (
            "wrong key",
            Endpoint { identity_files: vec![stranger.clone()], ..sshd.endpoint() },
            &["tried key", "stranger", "accepts publickey"],
        ),
        (
            "no passphrase",
            Endpoint { identity_files: vec![locked.clone()], ..sshd.endpoint() },
            &["locked", "encrypted and no passphrase"],
        ),
        (
            "wrong passphrase",
            Endpoint {
                identity_files: vec![locked],
                passphrase: Some(Zeroizing::new("guess".to_owned())),
                ..sshd.endpoint()
            },
            &["locked", "passphrase does not fit"],
        ),
        (
            "nothing at all",
            Endpoint { identity_files: Vec::new(), ..sshd.endpoint() },
            &["no key, agent or password", "accepts publickey"],
        ),
    ];
    for (name, endpoint, expected) in table {
        let Err(Fault::Authentication { reason, .. }) = enters(endpoint).await else { panic!("{name}") };
        for part in expected {
            assert!(reason.contains(part), "{name}: {reason}");
        }
        assert!(!reason.contains("guess"));
    }
    let missing = Endpoint { identity_files: vec!["/no/such/key".into(), stranger], ..sshd.endpoint() };
    let Err(Fault::Authentication { reason, .. }) = enters(missing).await else { panic!("it logs in") };
    assert!(reason.contains("/no/such/key") && reason.contains("stranger"), "{reason}");
}

/// An agent in the server's folder, ended when dropped.
pub struct Agent(Child, std::path::PathBuf);

impl Agent {
    /// Starts an agent that holds `keys`.
    pub fn start(folder: &Path, keys: &[&Path]) -> Self {
        Self::start_with(folder, "", keys)
    }

    /// Starts an agent that reaches security keys through the library `provider`.
    #[expect(clippy::disallowed_methods, reason = "tests start processes")]
    pub fn start_with(folder: &Path, provider: &str, keys: &[&Path]) -> Self {
        let socket = folder.join("agent");
        // What is left of an agent that was killed.
        let _ = std::fs::remove_file(&socket);
        let child = Command::new("ssh-agent")
            .args(["-D", "-P", provider, "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Self(child, socket);
        for key in keys {
            // ssh-add fails until the agent listens.
            let added = || {
                let mut add = Command::new("ssh-add");
                add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.1).env("SSH_SK_PROVIDER", provider);
                add.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
            };
            assert!((0..200).any(|_| added()), "ssh-add never reached the agent");
        }
        agent
    }

    /// The socket it listens on.
    pub fn socket(&self) -> &Path {
        &self.1
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn keys_in_an_agent() {
    let Some(sshd) = Sshd::start() else { return };
    let rsa = sshd.keygen("rsa", &["-t", "rsa", "-b", "2048"]);
    let strangers: Vec<_> = (0..3).map(|n| sshd.keygen(&format!("s{n}"), &["-t", "ed25519"])).collect();
    sshd.authorize(&rsa);
    let held: Vec<&Path> = strangers.iter().map(std::path::PathBuf::as_path).chain([rsa.as_path()]).collect();
    let agent = Agent::start(sshd.folder(), &held);
    let base = Endpoint { agent: Some(agent.1.clone()), identity_files: Vec::new(), ..sshd.endpoint() };

    assert_eq!(enters(base.clone()).await, Ok(()));
    // The private file need not be there, nor readable: its public half names the key in the agent.
    std::fs::remove_file(&rsa).unwrap();
    let named = Endpoint { identities_only: true, identity_files: vec![rsa.clone()], ..base.clone() };
    assert_eq!(enters(named).await, Ok(()));
    let others = Endpoint { identities_only: true, identity_files: strangers, ..base };
    assert!(matches!(enters(others).await, Err(Fault::Authentication { .. })));
}

#[tokio::test]
async fn user_certificates() {
    let Some(sshd) = Sshd::builder().config("TrustedUserCAKeys FOLDER/userca.pub").start() else { return };
    let ca = sshd.keygen("userca", &["-t", "ed25519"]);
    for (name, arguments) in [
        ("ed", &["-t", "ed25519"][..]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("ec", &["-t", "ecdsa", "-b", "384"]),
    ] {
        let key = sshd.keygen(name, arguments);
        let sign = |principal: &str, validity: &str| {
            #[expect(clippy::disallowed_methods, reason = "tests start processes")]
            let status = Command::new("ssh-keygen")
                .args(["-q", "-s"])
                .arg(&ca)
                .args(["-I", "id", "-n", principal, "-V", validity])
                .arg(key.with_extension("pub"))
                .status()
                .unwrap();
            assert!(status.success());
        };
        let endpoint = Endpoint { identity_files: vec![key.clone()], ..sshd.endpoint() };
        sign("somebody-else", "-5m:+1h");
        assert!(matches!(enters(endpoint.clone()).await, Err(Fault::Authentication { .. })), "{name}");
        sign(&sshd.user, "-5m:+1h");
        assert_eq!(enters(endpoint.clone()).await, Ok(()), "{name}");

        let moved = sshd.folder().join(format!("{name}-elsewhere.pub"));
        std::fs::rename(sshd.folder().join(format!("{name}-cert.pub")), &moved).unwrap();
        assert!(matches!(enters(endpoint.clone()).await, Err(Fault::Authentication { .. })), "{name}");
        let named = Endpoint { certificate_files: vec![moved], ..endpoint };
        assert_eq!(enters(named).await, Ok(()), "{name}");
    }
}

#[tokio::test]
async fn an_encrypted_key_is_opened_once_for_many_hosts() {
    let Some(sshd) = Sshd::builder().config("MaxStartups 100").start() else { return };
    let key = sshd.keygen("slow", &["-t", "ed25519", "-N", "open it", "-a", "30"]);
    sshd.authorize(&key);
    let hosts = Hosts::new(Limits::default());
    let mut connects = tokio::task::JoinSet::new();
    for n in 0..8 {
        let endpoint = Endpoint {
            name: format!("host{n}"),
            identity_files: vec![key.clone()],
            passphrase: Some(Zeroizing::new("open it".to_owned())),
            ..sshd.endpoint()
        };
        let hosts = hosts.clone();
        connects.spawn(async move { hosts.connect(&endpoint).await });
    }
    while let Some(result) = connects.join_next().await {
        assert_eq!(result.unwrap(), Ok(()));
    }
    hosts.close().await;
}

#[tokio::test]
async fn a_password() {
    let Some(account) = Account::create("ALL=(nobody) ALL") else { return };
    let Some(sshd) = Sshd::builder().config("PasswordAuthentication yes").start() else { return };
    let with = |password: &str| Endpoint {
        user: account.name.clone(),
        identity_files: Vec::new(),
        password: Some(Zeroizing::new(password.to_owned())),
        ..sshd.endpoint()
    };
    assert_eq!(enters(with(&account.password)).await, Ok(()));
    let Err(Fault::Authentication { reason, .. }) = enters(with("wrong")).await else { panic!("it logs in") };
    assert!(reason.contains("tried password") && !reason.contains("wrong"), "{reason}");
}
