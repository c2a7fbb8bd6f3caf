//! Why there is no answer, told apart as operators need it.

use std::error::Error;
use std::io;

use rustls::CertificateError;
use serde::{Deserialize, Serialize};
use url::Url;

use super::tls::OtherPin;
use super::{CONNECT_TIMEOUT, TlsCause};
use crate::world::tls::judged;

/// Why there is no answer. Each variant is a different result for the operator.
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
    #[error("connection refused by {address}")]
    Refused {
        /// `host:port`.
        address: String,
    },
    /// There is no trusted connection.
    #[error("TLS: {reason}")]
    Tls {
        /// Which part failed, for scripts.
        cause: TlsCause,
        /// What was seen, for people.
        reason: String,
    },
    /// The answer, with all that led to it, took longer than allowed.
    #[error("timed out after {seconds} s")]
    TimedOut {
        /// The limit, in seconds.
        seconds: f64,
    },
    /// The body is longer than allowed.
    #[error("the answer has more than {limit} bytes; `max_bytes` allows no more")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The connection ended in the middle: nobody knows what the server did.
    #[error("connection lost: {reason}")]
    Lost {
        /// What was seen last.
        reason: String,
    },
    /// What answers does not speak HTTP, or not as it should.
    #[error("protocol: {reason}")]
    Protocol {
        /// Which part failed.
        reason: String,
    },
    /// The request cannot be sent as it is.
    #[error("{reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Fault {
    /// Reads the client's error, whose own text would show the URL's query.
    pub(super) fn of(error: &reqwest::Error, url: &Url) -> Self {
        if let Some(found) = find::<rustls::Error>(error) {
            return of_tls(found);
        }
        if error.is_timeout() && error.is_connect() {
            return Self::Unreachable { reason: format!("no connection in {} s", CONNECT_TIMEOUT.as_secs()) };
        }
        let reason = innermost(error);
        let io = find::<io::Error>(error).map(io::Error::kind);
        if error.is_connect() {
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or_default();
            return match io {
                Some(io::ErrorKind::ConnectionRefused) => Self::Refused { address: format!("{host}:{port}") },
                Some(io::ErrorKind::UnexpectedEof) if url.scheme() == "https" => Self::Tls {
                    cause: TlsCause::Handshake,
                    reason: "the server ended the connection during the handshake".to_owned(),
                },
                _ => Self::Unreachable { reason: format!("{host}:{port}: {reason}") },
            };
        }
        if find::<hyper::Error>(error).is_some_and(|hyper| hyper.is_incomplete_message() || hyper.is_closed())
        {
            return Self::Lost { reason };
        }
        match io {
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::TimedOut,
            ) => Self::Lost { reason },
            _ => Self::Protocol { reason },
        }
    }
}

pub(in crate::world) fn of_tls(error: &rustls::Error) -> Fault {
    if let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error
        && other.0.downcast_ref::<OtherPin>().is_some()
    {
        return Fault::Tls { cause: TlsCause::OtherPin, reason: other.0.to_string() };
    }
    let (cause, reason) = judged(error);
    Fault::Tls { cause, reason }
}

/// Finds an error of one type among the causes; those that an `io::Error` carries count, too.
pub(in crate::world) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match carried {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Returns the text of the last cause, which is the one that says something.
pub(in crate::world) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
