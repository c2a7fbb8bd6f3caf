//! The nginx behind it: files, `nginx -t`, and what it has in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::State;
use super::hosts::Host;
use crate::lab::http::Identity;

/// The file of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conf {
    /// There is none.
    Missing,
    /// Without TLS.
    Plain,
    /// With the files of this certificate, whether it was deleted since or not.
    Tls(u64),
}

impl State {
    /// Tests, writes the host's file, tests again, and reloads. A host that does not pass goes offline.
    pub(super) fn configure(&mut self, place: usize) -> Result<(), String> {
        self.test()?;
        let host = &self.hosts[place];
        let has_certificate = self.certificates.iter().any(|row| row.id == host.certificate && !row.deleted);
        let conf = match (host.enabled, has_certificate) {
            (false, _) => Conf::Missing,
            (true, true) => Conf::Tls(host.certificate),
            (true, false) => Conf::Plain,
        };
        self.hosts[place].conf = conf;
        let online = self.test().is_ok();
        let host = &mut self.hosts[place];
        host.online = online;
        if !online {
            host.conf = Conf::Missing;
        }
        self.reload();
        Ok(())
    }

    /// `nginx -t`: every file that a host names must be there, and be a pair.
    fn test(&self) -> Result<(), String> {
        self.named().into_iter().try_for_each(|certificate| self.load(certificate).map(drop))
    }

    /// Returns the certificates that hosts' files name, each once: to read a pair takes a while.
    fn named(&self) -> BTreeSet<u64> {
        let certificate = |host: &Host| match host.conf {
            Conf::Tls(certificate) => Some(certificate),
            Conf::Missing | Conf::Plain => None,
        };
        self.hosts.iter().filter_map(certificate).collect()
    }

    fn load(&self, certificate: u64) -> Result<Arc<CertifiedKey>, String> {
        let row = self.certificates.iter().find(|row| row.id == certificate);
        match row.map(|row| (row.chain.clone(), row.key.clone())) {
            Some((Some(certificate), Some(key))) => Identity { certificate, key }.load(),
            _ => Err(format!("cannot load certificate \"/data/custom_ssl/npm-{certificate}/fullchain.pem\"")),
        }
    }

    /// Takes what the files say now.
    pub(super) fn reload(&mut self) {
        let loaded: BTreeMap<u64, Arc<CertifiedKey>> =
            self.named().into_iter().filter_map(|id| Some((id, self.load(id).ok()?))).collect();
        let mut names = BTreeMap::new();
        for host in &self.hosts {
            if let Conf::Tls(certificate) = host.conf
                && let Some(loaded) = loaded.get(&certificate)
            {
                names.extend(host.names.iter().map(|name| (name.clone(), loaded.clone())));
            }
        }
        self.reloads += 1;
        self.shown.replace(names);
    }
}
