//! Whose certificates are accepted: the machine's authorities, given ones, or one certificate by its hash.

use std::fmt;
use std::sync::{Arc, LazyLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};

use super::{Fault, TlsCause, Trust};

/// The one provider of cryptography, named wherever one is wanted, so that no other can become the default.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// Returns the settings for a connection; without trust, for plain HTTP, none is made.
pub(super) fn config(trust: Option<&Trust>) -> Result<ClientConfig, Fault> {
    let setup = |error: Error| Fault::Tls { cause: TlsCause::Setup, reason: error.to_string() };
    let builder = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .map_err(setup)?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Some(Trust::System) => {
            Arc::new(rustls_platform_verifier::Verifier::new(PROVIDER.clone()).map_err(setup)?)
        }
        Some(Trust::Roots(pem)) => roots(pem)?,
        Some(Trust::Pin(hash)) => Arc::new(Pinned(*hash)),
        None => return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()),
    };
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(pem: &[u8]) -> Result<Arc<WebPkiServerVerifier>, Fault> {
    let wrong =
        |reason: String| Fault::Invalid { reason: format!("`ca` holds no certificate authority: {reason}") };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        store.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(wrong("no `BEGIN CERTIFICATE` in it".to_owned()));
    }
    WebPkiServerVerifier::builder_with_provider(store.into(), PROVIDER.clone())
        .build()
        .map_err(|error| wrong(error.to_string()))
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
        verify_tls12_signature(message, certificate, signed, &PROVIDER.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &PROVIDER.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
