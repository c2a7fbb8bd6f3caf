//! Why a server is not trusted, told apart as operators need it.

use rustls::CertificateError;
use serde::{Deserialize, Serialize};

/// Which part of a trusted connection failed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TlsCause {
    /// Nobody who is trusted signed the certificate.
    UnknownIssuer,
    /// The certificate is no longer valid.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for other names.
    NameMismatch,
    /// The certificate is not the pinned one.
    OtherPin,
    /// The certificate is wrong in another way.
    Certificate,
    /// The two sides found no common way, or the other does not speak TLS.
    Handshake,
    /// This side could not be prepared: no authorities on this machine, for instance.
    Setup,
}

/// Returns which part failed, and a sentence.
pub(in crate::world) fn judged(error: &rustls::Error) -> (TlsCause, String) {
    use CertificateError as C;
    let rustls::Error::InvalidCertificate(wrong) = error else {
        return (TlsCause::Handshake, error.to_string());
    };
    match wrong {
        C::UnknownIssuer => (
            TlsCause::UnknownIssuer,
            "nobody who is trusted signed the server's certificate (`ca` names another authority)".to_owned(),
        ),
        C::Expired | C::ExpiredContext { .. } => (TlsCause::Expired, told("has expired", wrong)),
        C::NotValidYet | C::NotValidYetContext { .. } => {
            (TlsCause::NotYetValid, told("is not valid yet", wrong))
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            (TlsCause::NameMismatch, told("is for other names", wrong))
        }
        C::Other(other) => {
            // The verifier has names for these, and no sentences.
            let reason = match other.0.to_string().as_str() {
                "CaUsedAsEndEntity" => "it is that of an authority, not of a server".to_owned(),
                "UnsupportedCertVersion" => {
                    "it is of an old version, which clients no longer read".to_owned()
                }
                name => name.to_owned(),
            };
            (TlsCause::Certificate, format!("the server's certificate is not accepted: {reason}"))
        }
        other => (TlsCause::Certificate, told("is not accepted", other)),
    }
}

fn told(what: &str, wrong: &CertificateError) -> String {
    format!("the server's certificate {what}: {wrong}")
}
