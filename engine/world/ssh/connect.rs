//! Makes one connection: dial, exchange keys, trust the host, log in.

use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use russh::client::{self, DisconnectReason, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::{AlgorithmKind, ChannelId, ChannelOpenFailure};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::algorithms::preferred;
use super::authenticate::authenticate;
use super::connection::Connection;
use super::identities::Identities;
use super::known_hosts::Files;
use super::quirks::Quirks;
use super::request::Request;
use super::stream::{Greeting, Link, Proxy, Traffic, Wire};
use super::trust::Trust;
use crate::world::host::Endpoint;
use crate::world::transport::Fault;

/// What all connections of a pool share.
pub(crate) struct Shared {
    known_hosts: Arc<Files>,
    identities: Identities,
    connecting: Semaphore,
    pub(super) channels: usize,
}

/// Bytes that one channel may hold for a slow receiver are at most this many packets of 32 KiB.
const CHANNEL_BUFFER: usize = 16;
/// The buffer in front of the socket, so that a small packet costs one system call instead of two.
const READ_BUFFER: usize = 512;
/// How often a server that hangs up before its greeting is called again.
const CALLS: u32 = 7;

impl Shared {
    /// Prepares a pool that makes `connects` connections at once, with `channels` commands on each.
    pub(crate) fn new(connects: usize, channels: usize) -> Self {
        Self {
            known_hosts: Arc::default(),
            identities: Identities::default(),
            connecting: Semaphore::new(connects),
            channels,
        }
    }

    /// Connects to `endpoint`, through `via` when it is behind a jump host.
    ///
    /// All of it, from the first packet to the login, has to be done within the endpoint's connect time-out.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        via: Option<Arc<Connection>>,
    ) -> Result<Connection, Fault> {
        let _turn = self.connecting.acquire().await.expect("the semaphore is never closed");
        let trust = Trust::of(endpoint, &self.known_hosts).map_err(|reason| Fault::HostKey { reason })?;
        let trust = Arc::new(trust);
        let progress = AtomicU8::new(0);
        let calls = async {
            let mut pause = Duration::from_millis(50);
            let mut call = 1;
            loop {
                match self.call(endpoint, via.as_deref(), &trust, &progress).await {
                    Err(Hitch::HungUp(_)) if call < CALLS => {
                        // sshd drops connections at random beyond MaxStartups; all that were dropped come back.
                        sleep(pause.mul_f64(0.5 + random_share())).await;
                        pause *= 2;
                        call += 1;
                    }
                    Err(Hitch::HungUp(fault) | Hitch::Final(fault)) => return Err(fault),
                    Ok(done) => return Ok(done),
                }
            }
        };
        match timeout(endpoint.connect_timeout, calls).await {
            Ok(Ok(session)) => Ok(Connection::new(session, endpoint, via, Arc::clone(self))),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(Fault::Unreachable {
                reason: format!(
                    "no answer within {:?} while {}",
                    endpoint.connect_timeout,
                    STAGES[usize::from(progress.load(Ordering::Relaxed))]
                ),
            }),
        }
    }

    async fn call(
        &self,
        endpoint: &Endpoint,
        via: Option<&Connection>,
        trust: &Arc<Trust>,
        progress: &AtomicU8,
    ) -> Result<Session, Hitch> {
        progress.store(0, Ordering::Relaxed);
        let link = dial(endpoint, via).await?;
        progress.store(1, Ordering::Relaxed);
        let greeting = Arc::new(Greeting::default());
        let state = Arc::new(State::default());
        let wire = Wire::new(link, Arc::clone(&greeting), Arc::clone(&state.traffic));
        let wire = BufReader::with_capacity(READ_BUFFER, wire);
        // Old devices have groups of 4096 bits at most and take no request that reaches beyond (OpenSSH's SSH_BUG_DHGEX_LARGE).
        let gex = if endpoint.legacy { client::GexParams::new(2048, 4096, 8192).ok() } else { None };
        let config = client::Config {
            gex: gex.unwrap_or_default(),
            preferred: preferred(trust, endpoint.legacy),
            channel_buffer_size: CHANNEL_BUFFER,
            keepalive_interval: Some(endpoint.keepalive_interval).filter(|interval| !interval.is_zero()),
            keepalive_max: endpoint.keepalive_max,
            ..client::Config::default()
        };
        let client = Client { trust: Arc::clone(trust), state: Arc::clone(&state) };
        let mut handle = client::connect_stream(Arc::new(config), wire, client)
            .await
            .map_err(|error| explain(&error, &state, &greeting, endpoint))?;
        progress.store(2, Ordering::Relaxed);
        authenticate(&mut handle, endpoint, &self.identities).await.map_err(Hitch::Final)?;
        Ok(Session { handle, state, quirks: Quirks::of(&greeting.shown()) })
    }
}

/// An SSH session that has logged in.
pub(super) struct Session {
    pub(super) handle: Handle<Client>,
    pub(super) state: Arc<State>,
    pub(super) quirks: Quirks,
}

const STAGES: [&str; 3] = ["connecting", "exchanging keys", "logging in"];

/// Why one call came to nothing.
enum Hitch {
    /// The server hung up before its greeting: worth another call.
    HungUp(Fault),
    /// Another call would end the same way.
    Final(Fault),
}

impl From<Fault> for Hitch {
    fn from(fault: Fault) -> Self {
        Self::Final(fault)
    }
}

async fn dial(endpoint: &Endpoint, via: Option<&Connection>) -> Result<Link, Fault> {
    if let Some(via) = via {
        let channel = via.open_tunnel(&endpoint.address, endpoint.port).await?;
        return Ok(Link::Jump(Box::new(channel.into_stream())));
    }
    if let Some(command) = &endpoint.proxy_command {
        return spawn_proxy(command);
    }
    let stream = dial_tcp(&endpoint.address, endpoint.port, endpoint.connect_timeout).await?;
    Ok(Link::Tcp(stream))
}

/// Opens a TCP connection, trying each address of the name in turn within `limit`.
#[expect(clippy::disallowed_methods, reason = "the gate's permit is what led here")]
pub(crate) async fn dial_tcp(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Fault> {
    let shown = format!("{host}:{port}");
    let until = Instant::now() + limit;
    let addresses: Vec<_> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| Fault::Unreachable { reason: format!("`{host}`: {error}") })?
        .collect();
    let mut last = Fault::Unreachable { reason: format!("`{host}` has no address") };
    for (index, address) in addresses.iter().enumerate() {
        // The first of several addresses must not use up the time of the others.
        let left = until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                Fault::Refused { address: shown.clone() }
            }
            Ok(Err(error)) => Fault::Unreachable { reason: format!("{shown}: {error}") },
            Err(_) => Fault::Unreachable { reason: format!("no answer from {shown} within {limit:?}") },
        };
    }
    Err(last)
}

#[expect(clippy::disallowed_methods, reason = "the proxy command is part of the host's address")]
fn spawn_proxy(command: &str) -> Result<Link, Fault> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("exec {command}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Fault::Unreachable { reason: format!("proxy command `{command}`: {error}") })?;
    let stdin = child.stdin.take().expect("standard input is piped");
    let stdout = child.stdout.take().expect("standard output is piped");
    Ok(Link::Proxy(Box::new(Proxy { _child: child, stdin, stdout })))
}

fn explain(error: &russh::Error, state: &State, greeting: &Greeting, endpoint: &Endpoint) -> Hitch {
    if let Some(reason) = state.refused.lock().take() {
        return Hitch::Final(Fault::HostKey { reason });
    }
    if !greeting.is_ssh() {
        return explain_greeting(error, &greeting.shown(), endpoint);
    }
    Hitch::Final(match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            let kind = match kind {
                AlgorithmKind::Kex => "key exchange",
                AlgorithmKind::Key => "host key",
                AlgorithmKind::Cipher => "cipher",
                AlgorithmKind::Compression => "compression",
                AlgorithmKind::Mac => "message authentication",
            };
            let hint = if endpoint.legacy { "" } else { " (`legacy: true` allows old ones)" };
            let reason = format!("no common {kind} algorithm, the server offers {}{hint}", theirs.join(", "));
            Fault::Protocol { reason }
        }
        russh::Error::IO(_) | russh::Error::Disconnect | russh::Error::HUP => {
            Fault::Unreachable { reason: "the server hung up during the key exchange".to_owned() }
        }
        other => Fault::Protocol { reason: format!("key exchange: {other}") },
    })
}

fn explain_greeting(error: &russh::Error, shown: &str, endpoint: &Endpoint) -> Hitch {
    // sshd since 8.x names the reason in plain text before it hangs up.
    let is_busy =
        shown.is_empty() || shown.contains("MaxStartups") || shown.contains("Not allowed at this time");
    if is_busy && !matches!(error, russh::Error::Version) {
        let said = if shown.is_empty() { String::new() } else { format!(" (`{shown}`)") };
        let who = if endpoint.proxy_command.is_some() { "the proxy command" } else { "the server" };
        return Hitch::HungUp(Fault::Unreachable {
            reason: format!("{who} hung up before its greeting{said}"),
        });
    }
    Hitch::Final(Fault::Protocol { reason: format!("`{shown}` is no SSH greeting") })
}

/// A random number from 0 to 1.
fn random_share() -> f64 {
    let mut byte = [0_u8; 1];
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte);
    f64::from(byte[0]) / 255.0
}

/// What the session's task tells the connection.
#[derive(Debug, Default)]
pub(super) struct State {
    refused: Mutex<Option<String>>,
    end: Mutex<Option<String>>,
    tunnel: Mutex<Option<String>>,
    /// What to ask on the first channel before the server has told its number.
    pub(super) first: Mutex<Option<Request>>,
    /// What its link has carried.
    pub(super) traffic: Arc<Traffic>,
    /// Cancelled when the session has ended.
    pub(super) ended: CancellationToken,
}

impl State {
    /// Why the session ended.
    pub(super) fn end(&self) -> String {
        self.end.lock().clone().unwrap_or_else(|| "the connection was closed".to_owned())
    }

    /// What the server said when it last refused a channel.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.tunnel.lock().take().filter(|text| !text.is_empty())
    }
}

/// Our side of a session's callbacks.
pub(super) struct Client {
    trust: Arc<Trust>,
    state: Arc<State>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.state.ended.cancel();
    }
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        match self.trust.check(offered) {
            Ok(()) => Ok(true),
            Err(reason) => {
                *self.state.refused.lock() = Some(reason);
                Ok(false)
            }
        }
    }

    async fn channel_open_failure(
        &mut self,
        _channel: ChannelId,
        _reason: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _session: &mut client::Session,
    ) -> Result<(), Self::Error> {
        *self.state.tunnel.lock() = Some(description.to_owned());
        Ok(())
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        _keys: Vec<russh::keys::PublicKey>,
        session: &mut client::Session,
    ) -> Result<(), Self::Error> {
        match &*self.state.first.lock() {
            Some(request) => request.send_on_first(session),
            None => Ok(()),
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                (format!("the server said goodbye: {}", info.message), Ok(()))
            }
            DisconnectReason::Error(error) => {
                let text = match &error {
                    russh::Error::KeepaliveTimeout => "no answer to keep-alives".to_owned(),
                    russh::Error::Disconnect | russh::Error::HUP => "the connection was cut".to_owned(),
                    russh::Error::IO(error) => format!("the connection was cut ({error})"),
                    other => other.to_string(),
                };
                (text, Err(error))
            }
        };
        *self.state.end.lock() = Some(text);
        result
    }
}
