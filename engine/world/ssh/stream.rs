//! The bytes under an SSH connection: a socket, a jump host's channel or a proxy command.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use russh::ChannelStream;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::Notify;

/// What carries the bytes.
pub(super) enum Link {
    /// A TCP socket, with Nagle off.
    Tcp(TcpStream),
    /// A `direct-tcpip` channel through a jump host.
    Jump(Box<ChannelStream<Msg>>),
    /// A proxy command's standard input and output; the process ends with the link.
    Proxy(Box<Proxy>),
}

/// A running proxy command.
pub(super) struct Proxy {
    /// Kept so that it is killed when the link is dropped.
    pub _child: Child,
    /// To the server.
    pub stdin: ChildStdin,
    /// From the server.
    pub stdout: ChildStdout,
}

/// The first bytes a server sent, kept until it has proved to speak SSH.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    text: Mutex<Vec<u8>>,
    is_done: AtomicBool,
}

/// As much of a greeting as is worth showing.
const SHOWN: usize = 160;

impl Greeting {
    /// Whether a line that begins with `SSH-` came.
    pub(super) fn is_ssh(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }

    /// What came instead, made printable.
    pub(super) fn shown(&self) -> String {
        let text = self.text.lock();
        String::from_utf8_lossy(&text).trim().chars().flat_map(char::escape_default).collect()
    }

    fn take(&self, bytes: &[u8]) {
        if self.is_ssh() {
            return;
        }
        let mut text = self.text.lock();
        let room = SHOWN.saturating_sub(text.len());
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if text.starts_with(b"SSH-") || text.windows(5).any(|window| window == b"\nSSH-") {
            self.is_done.store(true, Ordering::Relaxed);
        }
    }
}

/// A link that remembers the greeting and has each small packet acknowledged at once.
///
/// sshd leaves Nagle on until a command starts, so that its second small packet would wait 40 ms for our delayed
/// acknowledgement.
pub(super) struct Wire {
    link: Link,
    greeting: Arc<Greeting>,
    traffic: Arc<Traffic>,
}

/// What a link has carried, for those who send much, and what its other end is like by now.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    sent: AtomicU64,
    more: Notify,
    is_prompt: AtomicBool,
}

impl Traffic {
    /// Returns the bytes that the link has taken so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Waits until the link has taken this many bytes.
    pub(super) async fn reached(&self, bytes: u64) {
        loop {
            let mut more = std::pin::pin!(self.more.notified());
            more.as_mut().enable();
            if self.sent() >= bytes {
                return;
            }
            more.await;
        }
    }

    /// Notes that a command runs: from then on sshd sends at once, and acknowledgements may take their time.
    pub(super) fn settle(&self) {
        self.is_prompt.store(true, Ordering::Relaxed);
    }

    fn add(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::AcqRel);
        self.more.notify_waiters();
    }
}

/// Reads longer than this belong to a flow that is acknowledged without being asked.
const SMALL: usize = 2048;

impl Wire {
    /// Wraps `link`.
    pub(super) fn new(link: Link, greeting: Arc<Greeting>, traffic: Arc<Traffic>) -> Self {
        Self { link, greeting, traffic }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let poll = match &mut this.link {
            Link::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Link::Jump(channel) => Pin::new(channel).poll_read(cx, buf),
            Link::Proxy(proxy) => Pin::new(&mut proxy.stdout).poll_read(cx, buf),
        };
        if poll.is_ready() {
            let read = &buf.filled()[before..];
            this.greeting.take(read);
            if let Link::Tcp(tcp) = &this.link
                && read.len() <= SMALL
                && !this.traffic.is_prompt.load(Ordering::Relaxed)
            {
                // Only a matter of speed, and only Linux knows it.
                let _ = rustix::net::sockopt::set_tcp_quickack(tcp, true);
            }
        }
        poll
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = match &mut this.link {
            Link::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Link::Jump(channel) => Pin::new(channel).poll_write(cx, bytes),
            Link::Proxy(proxy) => Pin::new(&mut proxy.stdin).poll_write(cx, bytes),
        };
        if let Poll::Ready(Ok(bytes)) = poll {
            this.traffic.add(bytes);
        }
        poll
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().link {
            Link::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Link::Jump(channel) => Pin::new(channel).poll_flush(cx),
            Link::Proxy(proxy) => Pin::new(&mut proxy.stdin).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().link {
            Link::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Link::Jump(channel) => Pin::new(channel).poll_shutdown(cx),
            Link::Proxy(proxy) => Pin::new(&mut proxy.stdin).poll_shutdown(cx),
        }
    }
}
