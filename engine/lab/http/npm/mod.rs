//! Nginx Proxy Manager 2.15 with the nginx behind it.
//!
//! An upload changes files and nothing else; each change of a host tests and reloads the whole nginx, as the real one does. What it
//! serves over TLS is what was loaded last.

mod certificates;
mod face;
mod hosts;
mod nginx;
mod tokens;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::server::{self, Answer, Asked, Face, Port, Running};
use super::shown::Shown;
use super::{ANYWHERE, Identity};

pub use certificates::Row;
pub use hosts::{Host, Section};
use nginx::Conf;

/// How the database writes dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// `2026-12-22 21:56:30`.
    Sqlite,
    /// `2026-12-22T21:56:30.000Z`.
    Mysql,
}

/// What an instance is like when it starts.
pub struct Config {
    /// Where the API listens, without TLS.
    pub api: SocketAddr,
    /// Where nginx listens for TLS.
    pub tls: SocketAddr,
    /// Who may log in: the address and the password.
    pub login: (String, String),
    /// What nginx shows for names that no host has.
    pub fallback: Identity,
    /// How dates are written.
    pub dates: Dates,
    /// How long a wrong password takes.
    pub pause: Duration,
}

impl Config {
    /// Listens on any free port, with a login of its own and no pauses.
    pub fn new(fallback: Identity) -> Self {
        Self {
            api: ANYWHERE,
            tls: ANYWHERE,
            login: ("admin@example.com".to_owned(), "changeme-now".to_owned()),
            fallback,
            dates: Dates::Sqlite,
            pause: Duration::ZERO,
        }
    }
}

/// What goes wrong, by the number of the request of its kind, from 1.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Changes of hosts that are made, and whose answers never come.
    pub hang: Vec<usize>,
    /// Changes of hosts that something in front of it answers with 502; they are not made.
    pub bad_gateway: Vec<usize>,
    /// How long each reload takes.
    pub slow: Duration,
    /// Requests after which every token is over.
    pub expire: Vec<usize>,
}

/// The database, the files and the nginx of one instance.
pub struct State {
    /// Certificates, deleted ones included.
    pub certificates: Vec<Row>,
    /// Hosts of every section.
    pub hosts: Vec<Host>,
    /// What goes wrong.
    pub faults: Faults,
    /// `METHOD path` of every request.
    pub requests: Vec<String>,
    /// Changes of hosts that were asked for.
    pub changes: usize,
    /// Reloads of nginx.
    pub reloads: usize,
    tokens: Vec<String>,
    dates: Dates,
    login: (String, String),
    pause: Duration,
    shown: Shown,
}

impl State {
    /// Adds a certificate with files that nginx can load, and returns its number.
    pub fn add_certificate(&mut self, name: &str, identity: &Identity) -> u64 {
        let row = self.create(name);
        let files = [
            ("certificate".to_owned(), identity.certificate.clone()),
            ("certificate_key".to_owned(), identity.key.clone()),
        ];
        let _ = self.store(row, files.into());
        row
    }

    /// Adds an online host of a section for these names, and returns its number.
    pub fn add_host(&mut self, section: Section, names: &[&str], certificate: u64) -> u64 {
        let id = 1 + self.hosts.iter().filter(|host| host.section == section).count() as u64;
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let conf = if certificate == 0 { Conf::Plain } else { Conf::Tls(certificate) };
        self.hosts.push(Host { section, id, names, certificate, enabled: true, online: true, conf });
        self.reload();
        id
    }

    /// Takes a host from nginx, as when it was changed while its files were missing.
    pub fn take_offline(&mut self, place: usize) {
        self.hosts[place].online = false;
        self.hosts[place].conf = Conf::Missing;
        self.reload();
    }
}

/// A running instance; it ends with this value.
pub struct Npm {
    /// Where the API is.
    pub address: SocketAddr,
    /// Where hosts are served with TLS.
    pub tls: SocketAddr,
    state: Arc<Mutex<State>>,
    _running: Running,
}

impl Npm {
    /// Starts an instance without hosts.
    pub fn start(config: Config) -> io::Result<Self> {
        let shown = Shown::new(config.fallback.load().map_err(io::Error::other)?);
        let tls = shown.server().map_err(io::Error::other)?;
        let state = Arc::new(Mutex::new(State {
            certificates: Vec::new(),
            hosts: Vec::new(),
            faults: Faults::default(),
            requests: Vec::new(),
            changes: 0,
            reloads: 0,
            tokens: Vec::new(),
            dates: config.dates,
            login: config.login,
            pause: config.pause,
            shown,
        }));
        let api = Port { at: config.api, tls: None, face: Arc::new(face::Api(state.clone())) };
        let nginx = Port { at: config.tls, tls: Some(tls), face: Arc::new(Hosts) };
        let running = server::start("npm", vec![api, nginx])?;
        let [address, tls] = running.addresses[..] else { unreachable!("two ports were asked for") };
        Ok(Self { address, tls, state, _running: running })
    }

    /// Looks into it, and changes it behind its back.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// What stands behind every host.
struct Hosts;

impl Face for Hosts {
    fn answer(&self, _asked: &Asked) -> Answer {
        Answer::text(200, "<p>a host of the lab</p>\n")
    }
}
