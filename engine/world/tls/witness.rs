//! What stands in for trust and for a client's certificate in a probe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Notes the certificates that a server shows, and lets every one pass.
#[derive(Debug, Default)]
pub(super) struct Witness(Mutex<Vec<CertificateDer<'static>>>);

impl Witness {
    /// Returns what was shown so far, the leaf first.
    pub(super) fn take(&self) -> Vec<CertificateDer<'static>> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(rest).map(|certificate| certificate.clone().into_owned());
        *self.0.lock() = chain.collect();
        Ok(ServerCertVerified::assertion())
    }

    // A server that cannot prove that it holds the key of what it shows is told of as a handshake that failed.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        super::proved12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        super::proved13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        super::schemes()
    }
}

/// Has no certificate for a server, and notes that it was asked for one.
#[derive(Debug, Default)]
pub(super) struct Asked(AtomicBool);

impl Asked {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
