//! The certificate that a server of ours shows, from files that may be replaced at any time.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::PROVIDER;

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file cannot be read.
    #[error("`{path}`: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{path}` {reason}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A certificate and its key by file.
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    seen: Stamps,
}

/// What tells the state of the two files from another one.
type Stamps = [Option<(i64, i64, u64, u64)>; 2];

impl Files {
    /// Reads both files.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, FilesError> {
        let seen = stamps(&certificate, &key);
        let config = load(&certificate, &key)?;
        Ok(Self { certificate, key, state: Mutex::new(State { config, seen }) })
    }

    /// Returns the settings for the next connection, read again when a file has changed.
    ///
    /// Two files do not change at once: while they do not fit each other, the certificate before goes on.
    pub fn config(&self) -> Arc<ServerConfig> {
        let now = stamps(&self.certificate, &self.key);
        let mut state = self.state.lock();
        if state.seen != now {
            state.seen = now;
            match load(&self.certificate, &self.key) {
                Ok(config) => {
                    tracing::info!(file = %self.certificate.display(), "the certificate was read again");
                    state.config = config;
                }
                Err(error) => tracing::error!(%error, "the certificate before goes on"),
            }
        }
        state.config.clone()
    }
}

fn stamps(certificate: &Path, key: &Path) -> Stamps {
    [certificate, key].map(|path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
    })
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, FilesError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| FilesError::Read { path: path.to_owned(), source })
    };
    let wrong = |path: &Path, reason: String| FilesError::Content { path: path.to_owned(), reason };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.map_err(|error| wrong(certificate, format!("holds no certificate: {error}")))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "holds no `BEGIN CERTIFICATE`".to_owned()));
    }
    let bytes = zeroize::Zeroizing::new(read(key)?);
    let pair = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| wrong(key, format!("holds no private key: {error}")))?;
    let config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, pair));
    let mut config = config.map_err(|error| wrong(key, format!("is no key of the certificate: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes its files")]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_pair_that_does_not_fit_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let pair = || {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let (first, second) = (pair(), pair());
        std::fs::write(&certificate, &first.0).unwrap();
        std::fs::write(&key, &second.1).unwrap();
        assert!(Files::open(certificate.clone(), key.clone()).is_err(), "the key is of another certificate");
        std::fs::write(&key, &first.1).unwrap();
        let files = Files::open(certificate.clone(), key.clone()).unwrap();
        let before = files.config();
        assert!(Arc::ptr_eq(&before, &files.config()), "nothing has changed");
        std::fs::write(&certificate, &second.0).unwrap();
        assert!(Arc::ptr_eq(&before, &files.config()), "the new key is not there yet");
        std::fs::write(&key, &second.1).unwrap();
        let after = files.config();
        assert!(!Arc::ptr_eq(&before, &after));
        std::fs::remove_file(&key).unwrap();
        assert!(Arc::ptr_eq(&after, &files.config()), "a file that is gone ends nothing");
    }
}
