//! Whose certificates are accepted: the machine's authorities, given ones, or one certificate by its hash.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};

use super::{Fault, TlsCause, Trust};
use crate::world::tls;

/// Returns the settings for a connection; without trust, for plain HTTP, none is made.
pub(super) fn config(trust: Option<&Trust>) -> Result<ClientConfig, Fault> {
    let setup = |error: Error| Fault::Tls { cause: TlsCause::Setup, reason: error.to_string() };
    let builder = tls::client().map_err(setup)?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Some(Trust::System) => tls::system().map_err(setup)?,
        Some(Trust::Roots(pem)) => tls::roots(pem).map_err(|reason| Fault::Invalid { reason })?,
        Some(Trust::Pin(hash)) => Arc::new(Pinned(*hash)),
        None => return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()),
    };
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts one certificate, whoever signed it, whatever names and dates it holds.
#[derive(Debug)]
struct Pinned([u8; 32]);

/// The server showed another certificate than the pinned one.
#[derive(Debug)]
pub(super) struct OtherPin {
    found: String,
}

impl fmt::Display for OtherPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server's certificate is not the pinned one; its SHA-256 is {}", self.found)
    }
}

impl std::error::Error for OtherPin {}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Sha256::digest(certificate);
        if found.as_slice() == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherPin { found: crate::store::hex(&found) };
        Err(CertificateError::Other(OtherError(Arc::new(other))).into())
    }

    // That the server holds the certificate's key is proved here as with any other trust.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls::proved12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls::proved13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::schemes()
    }
}
