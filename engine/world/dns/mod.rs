//! DNS: one question to one server after another, over UDP, and over TCP where the answer does not fit (RFC 7766).
//!
//! No cache, no search list, no recursion: what a server says is what comes back.

mod message;
mod resolvers;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::message::Message;
pub use self::message::{Kind, Record, UnknownKind};
use crate::world::cancel::unless;

/// The port of servers.
pub const PORT: u16 = 53;
/// How long a server has before the next one, or the same one again, is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer over UDP without extensions (RFC 1035, 4.2.1), and some more for servers that do not keep to it.
const DATAGRAM: usize = 4096;

/// One question.
#[derive(Debug, Clone)]
pub struct Question {
    /// The name, or an address for `PTR`.
    pub name: String,
    /// What is asked for.
    pub kind: Kind,
    /// Who is asked; those of `/etc/resolv.conf` by default.
    pub server: Option<SocketAddr>,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `NOERROR`, `NXDOMAIN`, `SERVFAIL` …
    pub code: String,
    /// In the order in which they came.
    pub answers: Vec<Record>,
    /// Whether the server has the zone itself.
    pub is_authoritative: bool,
    /// Who answered.
    pub server: SocketAddr,
}

/// Why there is no answer. Each variant is a different result for the operator.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize, PartialEq)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// No route to any server.
    #[error("unreachable: {reason}")]
    Unreachable {
        /// What the network said.
        reason: String,
    },
    /// Nothing listens at any server's port.
    #[error("refused by {server}: no server listens there")]
    Refused {
        /// The last one that was asked.
        server: String,
    },
    /// No server answered in time.
    #[error("timed out after {seconds} s: {servers} did not answer")]
    TimedOut {
        /// The limit, in seconds.
        seconds: f64,
        /// Who was asked.
        servers: String,
    },
    /// A server answered with something else than an answer.
    #[error("protocol: {reason}")]
    Protocol {
        /// What is wrong with it.
        reason: String,
    },
    /// The question makes no sense.
    #[error("{reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// How one server failed to answer.
enum Silence {
    Late,
    Refused,
    Unreachable(String),
    Protocol(String),
}

impl From<io::Error> for Silence {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

impl Question {
    /// Asks; a cancelled run does not wait for the answer.
    pub async fn ask(&self, cancel: &CancellationToken) -> Result<Reply, Fault> {
        unless(cancel, Fault::Cancelled, self.asked()).await
    }

    async fn asked(&self) -> Result<Reply, Fault> {
        let message = Message::new(&self.name, self.kind).map_err(|reason| Fault::Invalid { reason })?;
        let servers = match self.server {
            Some(server) => vec![server],
            None => resolvers::system(),
        };
        let deadline = Instant::now() + self.timeout;
        let mut open = servers.clone();
        let mut last = None;
        let mut poor = None;
        // Round and round: datagrams get lost, and the second server may be up where the first is not.
        while !open.is_empty() && Instant::now() < deadline {
            for server in std::mem::take(&mut open) {
                let until = deadline.min(Instant::now() + PATIENCE);
                match exchange(&message, server, until, deadline).await {
                    // Another server may know better than one that cannot or will not answer.
                    Ok(reply)
                        if servers.len() > 1 && matches!(reply.code.as_str(), "SERVFAIL" | "REFUSED") =>
                    {
                        poor.get_or_insert(reply);
                    }
                    Ok(reply) => return Ok(reply),
                    Err(Silence::Late) => open.push(server),
                    Err(silence) => last = Some((server, silence)),
                }
            }
        }
        if let Some(reply) = poor {
            return Ok(reply);
        }
        match last {
            Some((server, Silence::Refused)) if open.is_empty() => {
                Err(Fault::Refused { server: server.to_string() })
            }
            Some((_, Silence::Unreachable(reason))) if open.is_empty() => Err(Fault::Unreachable { reason }),
            Some((_, Silence::Protocol(reason))) if open.is_empty() => Err(Fault::Protocol { reason }),
            _ => Err(Fault::TimedOut {
                seconds: self.timeout.as_secs_f64(),
                servers: servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

/// Asks one server once; what it says over TCP has until the deadline.
async fn exchange(
    message: &Message,
    server: SocketAddr,
    until: Instant,
    deadline: Instant,
) -> Result<Reply, Silence> {
    let Some(bytes) = timeout_at(until, datagram(message, server)).await.map_err(|_| Silence::Late)?? else {
        let stream = timeout_at(deadline, stream(message, server)).await.map_err(|_| Silence::Late)??;
        return message.read(&stream, server).map_err(Silence::Protocol);
    };
    message.read(&bytes, server).map_err(Silence::Protocol)
}

/// Asks over UDP; `None` where the answer was cut.
async fn datagram(message: &Message, server: SocketAddr) -> Result<Option<Vec<u8>>, Silence> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From here on the kernel drops what others send, and tells when nobody listens there.
    socket.connect(server).await?;
    socket.send(&message.bytes).await?;
    let mut bytes = vec![0; DATAGRAM];
    loop {
        let count = socket.recv(&mut bytes).await?;
        // Late answers to other questions, and forged ones.
        if !message.is_answered_by(&bytes[..count]) {
            continue;
        }
        if message::is_cut(&bytes[..count]) {
            return Ok(None);
        }
        bytes.truncate(count);
        return Ok(Some(bytes));
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where DNS servers are asked")]
async fn stream(message: &Message, server: SocketAddr) -> Result<Vec<u8>, Silence> {
    let cut = |error: io::Error| {
        Silence::Protocol(format!("{server} cut its answer short, and gives it over TCP neither: {error}"))
    };
    let mut stream = TcpStream::connect(server).await.map_err(cut)?;
    let mut framed = (message.bytes.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&message.bytes);
    stream.write_all(&framed).await.map_err(cut)?;
    let length = stream.read_u16().await.map_err(cut)?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await.map_err(cut)?;
    if message.is_answered_by(&bytes) {
        Ok(bytes)
    } else {
        Err(Silence::Protocol(format!("{server} answers another question")))
    }
}
