//! One live connection: hands out channels, keeps one opened ahead, and ends politely.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, Disconnect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::connect::{Client, Session, Shared, State};
use super::quirks::Quirks;
use super::request::Request;
use super::stream::Traffic;
use crate::world::clerk::Idle;
use crate::world::host::Endpoint;
use crate::world::transport::Fault;

/// Commands being ended at once: what sshd's MaxSessions of 10 leaves beside our 8.
const ENDS: usize = 2;

/// An authenticated connection to one host.
pub(crate) struct Connection {
    handle: Handle<Client>,
    state: Arc<State>,
    /// What its server does differently.
    pub(super) quirks: Quirks,
    permits: Arc<Semaphore>,
    running: AtomicUsize,
    ahead: Mutex<Option<oneshot::Receiver<Lease>>>,
    clerks: Idle,
    opens_ahead: bool,
    /// How many commands were begun.
    commands: AtomicUsize,
    /// Whether a channel was opened before.
    is_used: AtomicBool,
    patience: Duration,
    ends: Semaphore,
    shared: Arc<Shared>,
    /// The jump host's connection, which this one lives in.
    via: Option<Arc<Connection>>,
}

/// A channel, and the right to have it open.
pub(crate) struct Lease {
    /// The channel, on which nothing has been asked yet.
    pub(super) channel: Channel<Msg>,
    /// Returned to the connection when dropped.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Wraps a session that has logged in.
    pub(super) fn new(
        session: Session,
        endpoint: &Endpoint,
        via: Option<Arc<Self>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            handle: session.handle,
            state: session.state,
            quirks: session.quirks,
            permits: Arc::new(Semaphore::new(shared.channels.min(session.quirks.commands))),
            ends: Semaphore::new(ENDS),
            shared,
            running: AtomicUsize::new(0),
            ahead: Mutex::new(None),
            clerks: Idle::default(),
            // Network gear often allows one session, and an unused one can lock others out.
            opens_ahead: endpoint.posix && !endpoint.legacy,
            commands: AtomicUsize::new(0),
            is_used: AtomicBool::new(false),
            patience: endpoint.connect_timeout,
            via,
        }
    }

    /// Whether the session is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed() || self.state.ended.is_cancelled()
    }

    /// Returns what its link has carried.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.state.traffic
    }

    /// The fault of a command that was on this connection when it ended.
    pub(super) fn lost(&self) -> Fault {
        Fault::Lost { reason: self.state.end() }
    }

    /// Takes the channel that was opened ahead, or opens one when fewer than the limit are in use.
    ///
    /// On the connection's first channel the request may be on its way when this returns.
    pub(crate) async fn lease(&self, request: &Request) -> Result<Lease, Fault> {
        let ahead = self.ahead.lock().take();
        if let Some(ahead) = ahead
            && let Ok(mut lease) = ahead.await
            && is_open(&mut lease.channel).await
        {
            return Ok(lease);
        }
        if self.permits.available_permits() == 0 {
            self.clerks.dismiss();
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        if self.opens_ahead && !self.is_used.swap(true, Ordering::Relaxed) {
            *self.state.first.lock() = Some(request.clone());
        }
        let opened = self.open(request).await;
        self.state.first.lock().take();
        Ok(Lease { channel: opened?, permit })
    }

    /// Returns the clerks that have nothing to do.
    pub(crate) fn clerks(&self) -> &Idle {
        &self.clerks
    }

    /// Whether a clerk may keep its channel: not where commands are few, nor while one waits for its turn.
    pub(crate) fn keeps_clerks(&self) -> bool {
        self.opens_ahead && self.quirks.commands > 1 && self.permits.available_permits() > 0
    }

    /// Counts a command that uses a channel, until the guard is dropped.
    pub(super) fn run(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(&self.running)
    }

    /// Opens the next channel while a command runs, so that the next command costs one round trip instead of two.
    ///
    /// Not for the first command: most hosts of a fan-out are sent only one.
    pub(super) async fn open_ahead(self: &Arc<Self>) {
        if !self.opens_ahead || self.commands.fetch_add(1, Ordering::Relaxed) == 0 {
            return;
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return };
        let (sender, receiver) = oneshot::channel();
        {
            let mut ahead = self.ahead.lock();
            if ahead.is_some() {
                return;
            }
            *ahead = Some(receiver);
        }
        let this = Arc::clone(self);
        let mut opening = Box::pin(async move {
            if let Ok(channel) = this.handle.channel_open_session().await
                && let Err(lease) = sender.send(Lease { channel, permit })
            {
                let _ = lease.channel.close().await;
            }
        });
        // Begun at once, so that it leaves in one packet with the request.
        if futures_util::poll!(opening.as_mut()).is_pending() {
            tokio::spawn(opening);
        }
    }

    /// Opens a channel beyond the limit of commands, for ending what runs on another one; waits for its turn.
    pub(super) async fn open_for_end(&self) -> Result<(Channel<Msg>, SemaphorePermit<'_>), Fault> {
        let turn = self.ends.acquire().await.expect("the semaphore is never closed");
        self.is_used.store(true, Ordering::Relaxed);
        let opened = self.handle.channel_open_session().await;
        opened.map(|channel| (channel, turn)).map_err(|error| self.explain(&error))
    }

    /// Makes another connection to the same host, for when this one can take no more sessions.
    pub(super) async fn again(&self, endpoint: &Endpoint) -> Result<Arc<Self>, Fault> {
        Shared::connect(&self.shared, endpoint, self.via.clone()).await.map(Arc::new)
    }

    async fn open(&self, request: &Request) -> Result<Channel<Msg>, Fault> {
        let until = Instant::now() + self.patience;
        let mut pause = Duration::from_millis(5);
        loop {
            let error = match self.handle.channel_open_session().await {
                Ok(channel) => return Ok(channel),
                Err(error) => error,
            };
            // sshd's MaxSessions: it says "connect failed", and frees a session only some time after its end.
            let is_full = matches!(
                error,
                russh::Error::ChannelOpenFailure(
                    ChannelOpenFailure::ConnectFailed | ChannelOpenFailure::ResourceShortage
                )
            );
            let may_wait = self.running.load(Ordering::Relaxed) > 0 || Instant::now() < until;
            if !is_full || !may_wait || request.is_sent() {
                return Err(self.explain(&error));
            }
            self.clerks.dismiss();
            self.close_ahead().await;
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    async fn close_ahead(&self) {
        let ahead = self.ahead.lock().take();
        if let Some(ahead) = ahead
            && let Ok(lease) = ahead.await
        {
            let _ = lease.channel.close().await;
        }
    }

    /// Opens a tunnel to `address`:`port` as seen from this host.
    pub(super) async fn open_tunnel(&self, address: &str, port: u16) -> Result<Channel<Msg>, Fault> {
        self.is_used.store(true, Ordering::Relaxed);
        let opened = self.handle.channel_open_direct_tcpip(address, u32::from(port), "127.0.0.1", 0).await;
        opened.map_err(|error| match (&error, self.state.take_refusal()) {
            (russh::Error::ChannelOpenFailure(_), Some(text)) if text.contains("refused") => {
                Fault::Refused { address: format!("{address}:{port}") }
            }
            (russh::Error::ChannelOpenFailure(_), text) => Fault::Unreachable {
                reason: format!(
                    "{address}:{port} through the jump host: {}",
                    text.unwrap_or_else(|| error.to_string())
                ),
            },
            _ => self.explain(&error),
        })
    }

    /// Whether a TCP port answers this host.
    pub(crate) async fn reaches(&self, address: &str, port: u16) -> bool {
        match self.open_tunnel(address, port).await {
            Ok(channel) => {
                let _ = channel.close().await;
                true
            }
            Err(_) => false,
        }
    }

    fn explain(&self, error: &russh::Error) -> Fault {
        match error {
            russh::Error::ChannelOpenFailure(_) => {
                let said = self.state.take_refusal().map(|text| format!(": {text}")).unwrap_or_default();
                Fault::Protocol { reason: format!("the server opens no channel{said}") }
            }
            _ => self.lost(),
        }
    }

    /// Says goodbye and waits a little for the session's end.
    pub(crate) async fn close(&self) {
        self.ahead.lock().take();
        self.clerks.dismiss();
        let goodbye = async {
            let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
            self.state.ended.cancelled().await;
        };
        let _ = timeout(Duration::from_secs(1), goodbye).await;
    }
}

/// Counts one running command while it lives.
pub(super) struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a channel that waited was not closed by the server meanwhile.
async fn is_open(channel: &mut Channel<Msg>) -> bool {
    loop {
        tokio::select! {
            biased;
            message = channel.wait() => match message {
                None | Some(ChannelMsg::Close | ChannelMsg::Eof) => return false,
                Some(_) => {}
            },
            () = std::future::ready(()) => return true,
        }
    }
}
