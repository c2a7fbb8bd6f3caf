//! TLS: the one provider of cryptography, whose certificates are trusted, and probes that trust nothing.

mod distrust;
pub mod files;
mod handshake;
pub mod probe;
mod starttls;
mod witness;

use std::sync::{Arc, LazyLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, WantsVerifier,
};

pub use distrust::TlsCause;
pub(super) use distrust::judged;

/// The one provider of cryptography, named wherever one is wanted, so that no other can become the default.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// Begins the settings of a client.
pub(super) fn client() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(PROVIDER.clone()).with_safe_default_protocol_versions()
}

/// Trusts this machine's authorities; they are read each time.
pub(super) fn system() -> Result<Arc<dyn ServerCertVerifier>, Error> {
    Ok(Arc::new(rustls_platform_verifier::Verifier::new(PROVIDER.clone())?))
}

/// Trusts these authorities, in PEM, and no others.
pub(super) fn roots(pem: &[u8]) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let wrong = |reason: String| format!("`ca` holds no certificate authority: {reason}");
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        store.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(wrong("no `BEGIN CERTIFICATE` in it".to_owned()));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), PROVIDER.clone()).build();
    let verifier: Arc<dyn ServerCertVerifier> = verifier.map_err(|error| wrong(error.to_string()))?;
    Ok(verifier)
}

/// Checks the proof that a server holds its certificate's key, in TLS 1.2.
pub(super) fn proved12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    crypto::verify_tls12_signature(message, certificate, signed, &PROVIDER.signature_verification_algorithms)
}

/// Checks the proof that a server holds its certificate's key, in TLS 1.3.
pub(super) fn proved13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    crypto::verify_tls13_signature(message, certificate, signed, &PROVIDER.signature_verification_algorithms)
}

/// Returns the kinds of signatures that can be checked.
pub(super) fn schemes() -> Vec<SignatureScheme> {
    PROVIDER.signature_verification_algorithms.supported_schemes()
}
