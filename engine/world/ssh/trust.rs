//! Decides whether a server's host key is to be trusted, and learns new ones where that is allowed.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::known_hosts::{Files, Known, Role, host_name, matches_wildcard};
use crate::world::clock;
use crate::world::host::{Endpoint, HostKeyPolicy};

/// What is known of one host before it is connected to.
#[derive(Debug)]
pub(super) struct Trust {
    files: Arc<Files>,
    paths: Vec<PathBuf>,
    host: String,
    port: u16,
    policy: HostKeyPolicy,
    known: Vec<Known>,
}

impl Trust {
    /// Reads what the `known_hosts` files hold for `endpoint`; an error is the sentence for the operator.
    pub(super) fn of(endpoint: &Endpoint, files: &Arc<Files>) -> Result<Self, String> {
        // An alias stands for host and port together, as in OpenSSH.
        let (host, port) = match &endpoint.host_key_alias {
            Some(alias) => (alias.clone(), 22),
            None => (endpoint.address.clone(), endpoint.port),
        };
        let known = files
            .lookup(&endpoint.known_hosts, &host, port)
            .map_err(|error| format!("known_hosts cannot be read: {error}"))?;
        Ok(Self {
            files: Arc::clone(files),
            paths: endpoint.known_hosts.clone(),
            host,
            port,
            policy: endpoint.host_key_policy,
            known,
        })
    }

    /// Returns the keys held for the host, so that its own algorithms are asked for first.
    pub(super) fn host_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.with(Role::Host).map(|known| &known.key)
    }

    /// Whether a certificate authority is trusted for the host.
    pub(super) fn has_authority(&self) -> bool {
        self.with(Role::Authority).next().is_some()
    }

    /// Accepts what the server offered, or says why not.
    pub(super) fn check(&self, offered: &PublicKeyOrCertificate) -> Result<(), String> {
        match offered {
            PublicKeyOrCertificate::Certificate(certificate) => self.check_certificate(certificate),
            PublicKeyOrCertificate::PublicKey { key, .. } => self.check_key(key),
        }
    }

    fn with(&self, role: Role) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(move |known| known.role == role)
    }

    fn name(&self) -> String {
        host_name(&self.host, self.port)
    }

    fn refuse_revoked(&self, key: &PublicKey) -> Result<(), String> {
        match self.with(Role::Revoked).find(|known| same(&known.key, key)) {
            Some(known) => Err(format!("{} is revoked by {}", describe(key), known.place)),
            None => Ok(()),
        }
    }

    fn check_key(&self, key: &PublicKey) -> Result<(), String> {
        self.refuse_revoked(key)?;
        if self.with(Role::Host).any(|known| same(&known.key, key)) {
            return Ok(());
        }
        let same_algorithm: Vec<_> = self
            .with(Role::Host)
            .filter(|known| known.key.algorithm() == key.algorithm())
            .map(|known| known.place.as_str())
            .collect();
        if !same_algorithm.is_empty() {
            return Err(format!(
                "`{}` offered {}, but {} holds another key: it has changed, or someone stands between",
                self.name(),
                describe(key),
                same_algorithm.join(", ")
            ));
        }
        let others: Vec<_> = self
            .with(Role::Host)
            .map(|known| format!("{} at {}", known.key.algorithm(), known.place))
            .collect();
        if !others.is_empty() {
            return Err(format!(
                "`{}` offered {}, known are only {}",
                self.name(),
                describe(key),
                others.join(", ")
            ));
        }
        match self.policy {
            HostKeyPolicy::AcceptNew => self.learn(key),
            HostKeyPolicy::Strict => {
                let files: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
                let files =
                    if files.is_empty() { "no known_hosts file".to_owned() } else { files.join(", ") };
                Err(format!("`{}` offered {}, which is unknown to {files}", self.name(), describe(key)))
            }
        }
    }

    fn check_certificate(&self, certificate: &Certificate) -> Result<(), String> {
        let key = PublicKey::from(certificate.public_key().clone());
        let authority = PublicKey::from(certificate.signature_key().clone());
        self.refuse_revoked(&key)?;
        self.refuse_revoked(&authority)?;
        let label = format!("the certificate `{}` of `{}`", certificate.key_id(), self.name());
        let Some(known) = self.with(Role::Authority).find(|known| same(&known.key, &authority)) else {
            return Err(format!(
                "{label} is signed by {}, which no line trusts for it",
                describe(&authority)
            ));
        };
        if certificate.cert_type() != CertType::Host {
            return Err(format!("{label} is for users, not for hosts"));
        }
        let host = self.host.to_lowercase();
        let named = certificate
            .valid_principals()
            .iter()
            .any(|principal| matches_wildcard(principal.to_lowercase().as_bytes(), host.as_bytes()));
        if !named {
            return Err(format!("{label} is only for {}", certificate.valid_principals().join(", ")));
        }
        if let Some((option, _)) = certificate.critical_options().iter().next() {
            return Err(format!("{label} demands `{option}`, which is not understood"));
        }
        let now = clock::now().as_second().unsigned_abs();
        let fingerprint = known.key.fingerprint(HashAlg::Sha256);
        certificate.validate_at(now, [&fingerprint]).map_err(|error| {
            format!("{label}, signed by the authority at {}, is not valid: {error}", known.place)
        })
    }

    /// Appends a key that nobody contradicts, under a lock on the file so that two runs cannot learn two keys.
    fn learn(&self, key: &PublicKey) -> Result<(), String> {
        let Some(path) = self.paths.first() else {
            return Err(format!("{} cannot be learnt: no known_hosts file is set", describe(key)));
        };
        let failed = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file =
            std::fs::OpenOptions::new().append(true).read(true).create(true).open(path).map_err(failed)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| failed(error.into()))?;
        let now = Self {
            files: Arc::clone(&self.files),
            paths: self.paths.clone(),
            host: self.host.clone(),
            port: self.port,
            policy: HostKeyPolicy::Strict,
            known: self.files.lookup(&self.paths, &self.host, self.port).map_err(failed)?,
        };
        if now.host_keys().next().is_some() || now.refuse_revoked(key).is_err() {
            return now.check_key(key);
        }
        let text = std::fs::read(path).map_err(failed)?;
        let gap = if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n" };
        let openssh = key.to_openssh().map_err(|error| error.to_string())?;
        let fields: Vec<_> = openssh.split(' ').take(2).collect();
        file.write_all(format!("{gap}{} {}\n", self.name(), fields.join(" ")).as_bytes()).map_err(failed)
    }
}

fn same(a: &PublicKey, b: &PublicKey) -> bool {
    a.key_data() == b.key_data()
}

fn describe(key: &PublicKey) -> String {
    format!("the {} key {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}
