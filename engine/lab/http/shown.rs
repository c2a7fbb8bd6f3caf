//! Certificates with their keys, and which of them a server shows for which name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::x509::{Bundle, Certificate};

/// A certificate with its chain, and its key, both in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate first, then its chain.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Identity {
    /// Loads the pair as a server does; one whose key is another's is refused.
    pub(super) fn load(&self) -> Result<Arc<CertifiedKey>, String> {
        let bundle = Bundle::read(self.certificate.as_bytes()).map_err(|error| error.to_string())?;
        // The first certificate of the file, wherever the right one stands.
        let leaf = bundle.certificates.first().ok_or("no certificate")?;
        let key =
            Bundle::read(self.key.as_bytes()).and_then(Bundle::key).map_err(|error| error.to_string())?;
        if !leaf.has_key(&key) {
            return Err("key values mismatch".to_owned());
        }
        let chain = bundle.certificates.iter().map(|one| CertificateDer::from(one.der.clone())).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| error.to_string())?;
        let key = ring::sign::any_supported_type(&key).map_err(|error| error.to_string())?;
        Ok(Arc::new(CertifiedKey::new(chain, key)))
    }
}

/// Reads the first certificate of a text.
pub(super) fn first(pem: &str) -> Option<Certificate> {
    Bundle::read(pem.as_bytes()).ok()?.certificates.into_iter().next()
}

/// What a server shows now, by the name that it is asked for.
#[derive(Clone)]
pub(super) struct Shown {
    now: Arc<RwLock<Now>>,
}

struct Now {
    names: BTreeMap<String, Arc<CertifiedKey>>,
    fallback: Arc<CertifiedKey>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("names", &self.now.read().names.keys()).finish_non_exhaustive()
    }
}

impl Shown {
    /// Shows one certificate for every name.
    pub(super) fn new(fallback: Arc<CertifiedKey>) -> Self {
        Self { now: Arc::new(RwLock::new(Now { names: BTreeMap::new(), fallback })) }
    }

    /// Takes what is shown for each name from now on.
    pub(super) fn replace(&self, names: BTreeMap<String, Arc<CertifiedKey>>) {
        self.now.write().names = names;
    }

    /// Takes what is shown for all other names from now on.
    pub(super) fn fall_back(&self, fallback: Arc<CertifiedKey>) {
        self.now.write().fallback = fallback;
    }

    /// Returns the settings of a server.
    pub(super) fn server(&self) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.with_no_client_auth().with_cert_resolver(Arc::new(self.clone())))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.now.read();
        let named = hello.server_name().and_then(|name| {
            let above = || name.split_once('.').and_then(|(_, rest)| now.names.get(&format!("*.{rest}")));
            now.names.get(name).or_else(above)
        });
        Some(named.unwrap_or(&now.fallback).clone())
    }
}
