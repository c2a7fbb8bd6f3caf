//! Keys on a FIDO security key, which here is a library that OpenSSH tests itself with.

use std::path::{Path, PathBuf};

use nlrun::world::host::Endpoint;
use nlrun::world::transport::Fault;

use super::enters;
use super::login::Agent;
use crate::support::dropbear::Dropbear;
use crate::support::sshd::Sshd;

/// The Debian package `openssh-tests` brings it; it signs as a touched security key does.
const LIBRARY: &str = "/usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so";

fn has_library() -> bool {
    let found = Path::new(LIBRARY).exists();
    if !found {
        eprintln!("skipped: {LIBRARY} is not installed (Debian package openssh-tests)");
    }
    found
}

fn key(sshd: &Sshd, kind: &str) -> PathBuf {
    let key = sshd.keygen(kind, &["-t", kind, "-w", LIBRARY]);
    sshd.authorize(&key);
    key
}

#[tokio::test]
async fn an_agent_asks_the_security_key() {
    if !has_library() {
        return;
    }
    let Some(sshd) = Sshd::start() else { return };
    for kind in ["ed25519-sk", "ecdsa-sk"] {
        let key = key(&sshd, kind);
        let alone = Endpoint { identity_files: vec![key.clone()], ..sshd.endpoint() };
        let Err(Fault::Authentication { reason, .. }) = enters(alone.clone()).await else {
            panic!("{kind}: in")
        };
        let hint = format!("an agent must ask: `ssh-add {}`", key.display());
        assert!(reason.contains("security key") && reason.contains(&hint), "{kind}: {reason}");

        let agent = Agent::start_with(sshd.folder(), LIBRARY, &[&key]);
        let socket = Some(agent.socket().to_owned());
        // As `ssh_config` usually has it: the file is named, and the agent does it.
        let named = Endpoint { agent: socket, ..alone };
        for identities_only in [false, true] {
            assert_eq!(enters(Endpoint { identities_only, ..named.clone() }).await, Ok(()), "{kind}");
        }
        assert_eq!(enters(Endpoint { identity_files: Vec::new(), ..named }).await, Ok(()), "{kind}");
    }
}

#[tokio::test]
async fn dropbear_takes_it_too() {
    if !has_library() {
        return;
    }
    let (Some(sshd), Some(host)) = (Sshd::start(), Dropbear::start()) else { return };
    let key = key(&sshd, "ed25519-sk");
    host.authorize(&key);
    let agent = Agent::start_with(sshd.folder(), LIBRARY, &[&key]);
    let endpoint =
        Endpoint { agent: Some(agent.socket().to_owned()), identity_files: vec![key], ..host.endpoint() };
    assert_eq!(enters(endpoint).await, Ok(()));
}
