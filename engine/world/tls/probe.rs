//! Looks at what a TLS server shows: it accepts everything and trusts nothing, and sends no data.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, Error};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::TlsCause;
use super::handshake::{Broken, flush, no_tls, refusal, shake};
pub use super::starttls::StartTls;
use super::witness::{Asked, Witness};
use crate::model::port::Port;
use crate::world::cancel::unless;

/// How long a TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server has to refuse a client after the handshake; one that accepts it ends the connection at once.
const REFUSAL: Duration = Duration::from_secs(2);

/// What is to be looked at.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to.
    pub port: Port,
    /// The name that the server is asked for; the host's own by default, and an address asks for none.
    pub server_name: Option<String>,
    /// What is said in clear before TLS.
    pub starttls: Option<StartTls>,
    /// Protocols to offer (RFC 7301), the best one first; with none, the extension is not sent.
    pub alpn: Vec<String>,
    /// Who is trusted, in PEM; this machine's authorities by default.
    pub ca: Option<Arc<[u8]>>,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The address that answered.
    pub address: SocketAddr,
    /// The certificates as they were sent, in DER; never empty.
    pub chain: Vec<Vec<u8>>,
    /// The version: `TLSv1.3`.
    pub protocol: Option<String>,
    /// The cipher suite: `TLS13_AES_256_GCM_SHA384`.
    pub cipher: Option<String>,
    /// What was chosen of the protocols offered.
    pub alpn: Option<String>,
    /// Whether the server asked for a client's certificate.
    pub wants_client: bool,
    /// Why there is no connection in spite of the chain.
    pub handshake_error: Option<String>,
    /// Whether it is the server that ended it, for want of a client's certificate.
    pub is_refusal: bool,
    /// Whether a client would trust the chain for this name.
    pub trust: Verified,
}

/// Whether a chain is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// It leads to an authority, and names and dates are right.
    Yes,
    /// It is not, and why.
    No(TlsCause, String),
    /// Nobody can tell: this machine has no authorities, for instance.
    Unknown(String),
}

/// Why nothing was seen. Each variant is a different result for the operator.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize, PartialEq)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// No route, no name, or no connection within the connect time-out.
    #[error("unreachable: {reason}")]
    Unreachable {
        /// What the network said.
        reason: String,
    },
    /// The port answered with a refusal.
    #[error("connection refused")]
    Refused {
        /// The address and the port.
        address: String,
    },
    /// What answers does not speak TLS, or found no common way with us before it showed a certificate.
    #[error("TLS: {reason}")]
    Tls {
        /// `handshake` or `setup`.
        cause: TlsCause,
        /// What was seen, for people.
        reason: String,
    },
    /// No certificate came in time.
    #[error("timed out after {seconds} s")]
    TimedOut {
        /// The limit, in seconds.
        seconds: f64,
    },
    /// The connection ended before a certificate came.
    #[error("connection lost: {reason}")]
    Lost {
        /// What was seen last.
        reason: String,
    },
    /// What answers does not speak the protocol that begins in clear, or offers no TLS.
    #[error("protocol: {reason}")]
    Protocol {
        /// Which part failed.
        reason: String,
    },
    /// The request makes no sense.
    #[error("{reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Request {
    /// Looks; a cancelled run does not wait for the end.
    pub async fn look(&self, cancel: &CancellationToken) -> Result<Sight, Fault> {
        unless(cancel, Fault::Cancelled, self.observe()).await
    }

    async fn observe(&self) -> Result<Sight, Fault> {
        let deadline = Instant::now() + self.timeout;
        let late = || Fault::TimedOut { seconds: self.timeout.as_secs_f64() };
        let setup = |error: Error| Fault::Tls { cause: TlsCause::Setup, reason: error.to_string() };
        let name = self.name()?;
        // Before anything is sent: a wrong `ca` is known without the server.
        let authorities = match &self.ca {
            Some(pem) => Some(super::roots(pem).map_err(|reason| Fault::Invalid { reason })?),
            None => None,
        };
        let (witness, asked) = (Arc::new(Witness::default()), Arc::new(Asked::default()));
        let config = self.config(witness.clone(), asked.clone()).map_err(setup)?;
        let mut connection = ClientConnection::new(Arc::new(config), name.clone()).map_err(setup)?;

        let mut stream = self.connect(deadline).await?;
        let address = stream.peer_addr().map_err(|error| Fault::Lost { reason: error.to_string() })?;
        if let Some(protocol) = self.starttls {
            timeout_at(deadline, protocol.begin(&mut stream)).await.map_err(|_| late())??;
        }
        let mut first = Vec::new();
        let shaken = timeout_at(deadline, shake(&mut stream, &mut connection, &mut first)).await;
        let broken = match shaken {
            Ok(Ok(())) if asked.is_set() => {
                let left = deadline.saturating_duration_since(Instant::now()).min(REFUSAL);
                timeout(left, refusal(&mut stream, &mut connection)).await.unwrap_or_default()
            }
            Ok(Ok(())) => {
                connection.send_close_notify();
                let _ = timeout(REFUSAL, flush(&mut stream, &mut connection)).await;
                None
            }
            Ok(Err(broken)) => Some(broken),
            Err(_) => Some(Broken::Late),
        };
        let chain = witness.take();
        if chain.is_empty() {
            return Err(match broken {
                Some(Broken::Late) => late(),
                Some(Broken::Lost(reason)) => Fault::Lost { reason },
                Some(Broken::Tls(error)) => {
                    Fault::Tls { cause: TlsCause::Handshake, reason: no_tls(&error, &first) }
                }
                None => {
                    let reason = "the server shows no certificate".to_owned();
                    Fault::Tls { cause: TlsCause::Handshake, reason }
                }
            });
        }
        Ok(Sight {
            address,
            trust: verify(authorities, &chain, &name),
            chain: chain.into_iter().map(|certificate| certificate.to_vec()).collect(),
            protocol: connection.protocol_version().and_then(|version| version.as_str()).map(words),
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str().map(str::to_owned)),
            alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            wants_client: asked.is_set(),
            is_refusal: asked.is_set()
                && matches!(broken, Some(Broken::Lost(_) | Broken::Tls(Error::AlertReceived(_)))),
            handshake_error: broken.map(|broken| match broken {
                Broken::Tls(error) => super::judged(&error).1,
                Broken::Lost(reason) => reason,
                Broken::Late => late().to_string(),
            }),
        })
    }

    fn name(&self) -> Result<ServerName<'static>, Fault> {
        let name = self.server_name.as_ref().unwrap_or(&self.port.host);
        ServerName::try_from(name.clone())
            .map_err(|_| Fault::Invalid { reason: format!("`{name}` cannot be the name of a TLS server") })
    }

    fn config(&self, witness: Arc<Witness>, asked: Arc<Asked>) -> Result<ClientConfig, Error> {
        let mut config = super::client()?
            .dangerous()
            .with_custom_certificate_verifier(witness)
            .with_client_cert_resolver(asked);
        // A resumed session shows no certificate.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = self.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        Ok(config)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where probes connect")]
    async fn connect(&self, deadline: Instant) -> Result<TcpStream, Fault> {
        let limit = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let connected =
            timeout_at(limit, TcpStream::connect((self.port.host.as_str(), self.port.number))).await;
        match connected {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(Fault::Refused { address: self.port.name() })
            }
            Ok(Err(error)) => Err(Fault::Unreachable { reason: error.to_string() }),
            Err(_) => {
                let seconds = self.timeout.min(CONNECT_TIMEOUT).as_secs_f64();
                Err(Fault::Unreachable { reason: format!("no connection in {seconds} s") })
            }
        }
    }
}

fn words(version: &str) -> String {
    // The name of the constant is `TLSv1_3`.
    version.replace('_', ".")
}

fn verify(
    authorities: Option<Arc<dyn ServerCertVerifier>>,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> Verified {
    let authorities = match authorities.map_or_else(super::system, Ok) {
        Ok(authorities) => authorities,
        Err(error) => return Verified::Unknown(error.to_string()),
    };
    let [leaf, rest @ ..] = chain else { return Verified::Unknown("there is no certificate".to_owned()) };
    match authorities.verify_server_cert(leaf, rest, name, &[], UnixTime::now()) {
        Ok(_) => Verified::Yes,
        Err(error) => {
            let (cause, reason) = super::judged(&error);
            Verified::No(cause, reason)
        }
    }
}
