//! Hosts: where each one is and how to get in, and the pool of connections to them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::ssh::{self, Connection, Prepared, Request, Shared};
use super::transport::{Command, Exit, Fault, Sink};

/// How a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// It is this machine.
    Local,
    /// By SSH.
    Ssh,
}

/// What to do with a host key that `known_hosts` does not hold. A changed key is refused always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// Refuse it.
    Strict,
    /// Accept it and write it down.
    AcceptNew,
}

/// Everything needed to reach one host, resolved from inventory and `ssh_config` by the caller.
#[derive(Clone)]
pub struct Endpoint {
    /// The name in the inventory, by which connections are shared.
    pub name: String,
    /// How to reach it.
    pub transport: Transport,
    /// A DNS name or an IP address.
    pub address: String,
    /// The TCP port.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// Private key files, in the order of trying.
    pub identity_files: Vec<PathBuf>,
    /// OpenSSH user certificates; `KEY-cert.pub` beside a key file is found without being named.
    pub certificate_files: Vec<PathBuf>,
    /// Offer only those keys of the agent that `identity_files` name.
    pub identities_only: bool,
    /// The socket of an SSH agent.
    pub agent: Option<PathBuf>,
    /// Hosts to go through, the nearest to us first.
    pub jump: Vec<Endpoint>,
    /// A command whose standard input and output reach the server, with all tokens replaced.
    pub proxy_command: Option<String>,
    /// Allow algorithms built on SHA-1 and CBC.
    pub legacy: bool,
    /// Whether commands are read by a POSIX shell; network gear is given its lines as they stand.
    pub posix: bool,
    /// For password and keyboard-interactive logins.
    pub password: Option<Zeroizing<String>>,
    /// For encrypted key files.
    pub passphrase: Option<Zeroizing<String>>,
    /// `known_hosts` files; new keys go to the first.
    pub known_hosts: Vec<PathBuf>,
    /// What to do with an unknown host key.
    pub host_key_policy: HostKeyPolicy,
    /// The name to look for in `known_hosts`, instead of address and port.
    pub host_key_alias: Option<String>,
    /// From the first packet to the login.
    pub connect_timeout: Duration,
    /// Ask for a sign of life when nothing came for this long; zero asks never.
    pub keepalive_interval: Duration,
    /// Questions without an answer before the connection counts as lost.
    pub keepalive_max: usize,
}

impl Endpoint {
    /// Describes a host by name and address, with every other value at its default: strict host keys, no credentials.
    pub fn new(name: &str, address: &str, port: u16, user: &str) -> Self {
        Self {
            name: name.to_owned(),
            transport: Transport::Ssh,
            address: address.to_owned(),
            port,
            user: user.to_owned(),
            identity_files: Vec::new(),
            certificate_files: Vec::new(),
            identities_only: false,
            agent: None,
            jump: Vec::new(),
            proxy_command: None,
            legacy: false,
            posix: true,
            password: None,
            passphrase: None,
            known_hosts: Vec::new(),
            host_key_policy: HostKeyPolicy::Strict,
            host_key_alias: None,
            connect_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(15),
            keepalive_max: 3,
        }
    }

    /// Describes this machine.
    pub fn local(name: &str) -> Self {
        Self { transport: Transport::Local, ..Self::new(name, "localhost", 0, "") }
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}@{}:{})", self.name, self.user, self.address, self.port)
    }
}

/// Bounds of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections being made at once: beyond some 50 nothing gets faster, and jump hosts drop the rest.
    pub connects: usize,
    /// Commands at once on one connection: sshd's MaxSessions is 10, and ending a command needs one.
    pub channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connects: 64, channels: 8 }
    }
}

/// The pool: one connection a host for the whole run, made when first needed. Clones share it.
#[derive(Clone)]
pub struct Hosts {
    shared: Arc<Shared>,
    slots: Arc<Mutex<HashMap<Key, Arc<Slot>>>>,
}

/// A host's name and address; the same name at another address is another connection.
type Key = (String, String, u16, String);

fn key(endpoint: &Endpoint) -> Key {
    (endpoint.name.clone(), endpoint.address.clone(), endpoint.port, endpoint.user.clone())
}

#[derive(Default)]
struct Slot {
    state: tokio::sync::Mutex<State>,
    calls: AtomicU64,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// The last failure, with the number of the call that met it.
    failure: Option<(u64, Fault)>,
}

impl Hosts {
    /// Makes an empty pool.
    pub fn new(limits: Limits) -> Self {
        Self { shared: Arc::new(Shared::new(limits.connects, limits.channels)), slots: Arc::default() }
    }

    /// Runs one command on a host, connecting first when there is no live connection.
    ///
    /// `cancel` ends the command with all it started; dropping the future leaves it to itself.
    pub async fn run<S: Sink>(
        &self,
        endpoint: &Arc<Endpoint>,
        command: &Command,
        sink: &mut S,
        cancel: &CancellationToken,
    ) -> Result<Exit, Fault> {
        if endpoint.transport == Transport::Local {
            return Box::pin(super::local::run(command, sink, cancel)).await;
        }
        self.run_remote(endpoint, command, None, sink, cancel).await
    }

    /// Does what [`Hosts::run`] does over SSH; with `questions`, standard input is what comes from there.
    pub(super) async fn run_remote<S: Sink>(
        &self,
        endpoint: &Endpoint,
        command: &Command,
        questions: Option<UnboundedReceiver<Vec<u8>>>,
        sink: &mut S,
        cancel: &CancellationToken,
    ) -> Result<Exit, Fault> {
        let request = Request::default();
        // Boxed: making a connection takes far more memory than running a command on it.
        let mut leasing = Box::pin(self.lease(endpoint, command, &request));
        let prepared = tokio::select! {
            leased = &mut leasing => leased?,
            () = cancel.cancelled() => {
                if request.withdraw() {
                    return Err(Fault::Cancelled);
                }
                // It may run already; the way to end it leads over its channel.
                (&mut leasing).await?
            }
        };
        drop(leasing);
        ssh::run(prepared, endpoint, command, questions, sink, cancel).await
    }

    /// Takes a channel; a connection that turns out to be dead before anything was asked on it is replaced.
    async fn lease(
        &self,
        endpoint: &Endpoint,
        command: &Command,
        request: &Request,
    ) -> Result<Prepared, Fault> {
        match self.lease_once(endpoint, command, request).await {
            Err(Fault::Lost { .. }) if !request.is_sent() => {
                self.lease_once(endpoint, command, request).await
            }
            leased => leased,
        }
    }

    async fn lease_once(
        &self,
        endpoint: &Endpoint,
        command: &Command,
        request: &Request,
    ) -> Result<Prepared, Fault> {
        let connection = self.connection(endpoint).await?;
        let marks = ssh::prepare(&connection, endpoint, command, request)?;
        let lease = connection.lease(request).await?;
        Ok(Prepared { connection, lease, request: request.clone(), marks })
    }

    /// Opens a terminal on a device, on a connection that nothing else uses.
    pub(super) async fn terminal(&self, endpoint: &Endpoint) -> Result<ssh::Tty, Fault> {
        let via = self.way(endpoint).await?;
        let connection = Arc::new(self.shared.connect(endpoint, via).await?);
        match tokio::time::timeout(endpoint.connect_timeout, ssh::Tty::open(connection.clone())).await {
            Ok(Ok(terminal)) => Ok(terminal),
            Ok(Err(fault)) => {
                connection.close().await;
                Err(fault)
            }
            Err(_) => {
                connection.close().await;
                let reason = format!("no terminal within {:?}", endpoint.connect_timeout);
                Err(Fault::Unreachable { reason })
            }
        }
    }

    /// Returns the connection to the last host before this one, where there is one.
    async fn way(&self, endpoint: &Endpoint) -> Result<Option<Arc<Connection>>, Fault> {
        let Some((last, before)) = endpoint.jump.split_last() else { return Ok(None) };
        let jump = Endpoint { jump: before.to_vec(), ..last.clone() };
        let made = Box::pin(self.connection(&jump)).await;
        made.map(Some).map_err(|fault| through(endpoint, fault))
    }

    /// Whether there is a live connection to the host, as far as that can be told without waiting.
    pub fn is_connected(&self, endpoint: &Endpoint) -> bool {
        if endpoint.transport == Transport::Local {
            return true;
        }
        self.live(endpoint).is_some()
    }

    /// Returns the live connection to the host, as far as that can be told without waiting.
    pub(super) fn live(&self, endpoint: &Endpoint) -> Option<Arc<Connection>> {
        let slot = self.slots.lock().get(&key(endpoint)).cloned()?;
        let state = slot.state.try_lock().ok()?;
        state.connection.clone().filter(|connection| !connection.is_closed())
    }

    /// Connects and logs in, unless that is done already.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<(), Fault> {
        match endpoint.transport {
            Transport::Local => Ok(()),
            Transport::Ssh => self.connection(endpoint).await.map(drop),
        }
    }

    /// Drops the connection to a host, so that the next command makes a new one (after a reboot).
    pub async fn forget(&self, name: &str) {
        let slots: Vec<_> = {
            let slots = self.slots.lock();
            slots.iter().filter(|(key, _)| key.0 == name).map(|(_, slot)| Arc::clone(slot)).collect()
        };
        for slot in slots {
            let connection = slot.state.lock().await.connection.take();
            if let Some(connection) = connection {
                connection.close().await;
            }
        }
    }

    /// Says goodbye to every host, within about two seconds.
    pub async fn close(&self) {
        use futures_util::StreamExt as _;
        /// All at once would take memory for each just when the run has the most of it.
        const AT_ONCE: usize = 16;
        const LIMIT: Duration = Duration::from_secs(2);
        let slots: Vec<_> = self.slots.lock().drain().map(|(_, slot)| slot).collect();
        let goodbyes = futures_util::stream::iter(slots).for_each_concurrent(AT_ONCE, |slot| async move {
            let connection = slot.state.lock().await.connection.take();
            if let Some(connection) = connection {
                connection.close().await;
            }
        });
        let _ = tokio::time::timeout(LIMIT, goodbyes).await;
    }

    /// Whether a TCP port answers, as seen from here or from the host `via`.
    pub async fn port_open(
        &self,
        via: Option<&Endpoint>,
        address: &str,
        port: u16,
        timeout: Duration,
    ) -> bool {
        let attempt = async {
            match via.filter(|endpoint| endpoint.transport == Transport::Ssh) {
                None => ssh::dial_tcp(address, port, timeout).await.is_ok(),
                Some(endpoint) => match self.connection(endpoint).await {
                    Ok(connection) => connection.reaches(address, port).await,
                    Err(_) => false,
                },
            }
        };
        tokio::time::timeout(timeout, attempt).await.unwrap_or(false)
    }

    /// Returns the live connection to a host, or makes it; callers that came during a failed call share its fault.
    async fn connection(&self, endpoint: &Endpoint) -> Result<Arc<Connection>, Fault> {
        let slot = Arc::clone(self.slots.lock().entry(key(endpoint)).or_default());
        let asked_at = slot.calls.load(Ordering::Acquire);
        let mut state = slot.state.lock().await;
        if let Some(connection) = state.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        if let Some((call, fault)) = &state.failure
            && *call > asked_at
        {
            return Err(fault.clone());
        }
        state.connection = None;
        let made = match self.way(endpoint).await {
            Ok(via) => self.shared.connect(endpoint, via).await.map(Arc::new),
            Err(fault) => Err(fault),
        };
        // Counted when it is over: whoever asks from now on asks anew.
        let call = slot.calls.fetch_add(1, Ordering::AcqRel) + 1;
        match made {
            Ok(connection) => {
                state.failure = None;
                state.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(fault) => {
                state.failure = Some((call, fault.clone()));
                Err(fault)
            }
        }
    }
}

/// Names the jump host in its fault, which otherwise would seem to be the target's.
fn through(endpoint: &Endpoint, fault: Fault) -> Fault {
    let jump = endpoint.jump.last().map(|jump| jump.name.as_str()).unwrap_or_default();
    let reason = format!("jump host `{jump}`: {fault}");
    match fault {
        Fault::HostKey { .. } => Fault::HostKey { reason },
        Fault::Authentication { user, .. } => Fault::Authentication { user, reason },
        _ => Fault::Unreachable { reason },
    }
}
