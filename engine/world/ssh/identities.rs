//! Private keys and certificates from files, read and decrypted once for all hosts of a run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Keys that were read, by path.
#[derive(Debug, Default)]
pub(super) struct Identities(Mutex<HashMap<PathBuf, Arc<PrivateKey>>>);

impl Identities {
    /// Returns the private key in `path`; an error is the sentence for the operator.
    ///
    /// The lock is held while a key is decrypted: its key derivation is slow on purpose, and 200 hosts share it.
    pub(super) async fn load(
        &self,
        path: &Path,
        passphrase: Option<&Zeroizing<String>>,
    ) -> Result<Arc<PrivateKey>, String> {
        let mut keys = self.0.lock().await;
        if let Some(key) = keys.get(path) {
            return Ok(Arc::clone(key));
        }
        let key = read(path, passphrase).await?;
        keys.insert(path.to_owned(), Arc::clone(&key));
        Ok(key)
    }
}

async fn read(path: &Path, passphrase: Option<&Zeroizing<String>>) -> Result<Arc<PrivateKey>, String> {
    let refused = |reason: String| format!("{} ({reason})", path.display());
    let text =
        std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| refused(error.to_string()))?;
    // Without a passphrase first: an encrypted key must say that it is one.
    let key = match (russh::keys::decode_secret_key(&text, None), passphrase.cloned()) {
        (Err(russh::keys::Error::KeyIsEncrypted), Some(passphrase)) => {
            let decrypt = move || russh::keys::decode_secret_key(&text, Some(&passphrase));
            tokio::task::spawn_blocking(decrypt)
                .await
                .map_err(|error| refused(error.to_string()))?
                .map_err(|error| refused(format!("its passphrase does not fit: {error}")))?
        }
        (Err(russh::keys::Error::KeyIsEncrypted), None) => {
            return Err(refused("it is encrypted and no passphrase is set".to_owned()));
        }
        // One P-256 key in 512 begins with a zero byte and is refused by the `ssh-key` crate (0.7.0-rc.11).
        (key, _) => key.map_err(|error| refused(format!("{error}; an agent may be able to read it")))?,
    };
    if matches!(key.algorithm(), Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256) {
        return Err(refused(format!(
            "it is on a security key, which an agent must ask: `ssh-add {}`",
            path.display()
        )));
    }
    Ok(Arc::new(key))
}

/// Returns the certificates for `endpoint`'s keys: those named, and `KEY-cert.pub` beside each key.
pub(super) fn certificates(files: &[PathBuf], identity_files: &[PathBuf]) -> Vec<(PathBuf, Certificate)> {
    let beside = identity_files.iter().map(|path| with_suffix(path, "-cert.pub"));
    let mut found: Vec<(PathBuf, Certificate)> = Vec::new();
    for path in files.iter().cloned().chain(beside) {
        if let Ok(certificate) = russh::keys::load_openssh_certificate(&path)
            && !found.iter().any(|(_, other)| *other == certificate)
        {
            found.push((path, certificate));
        }
    }
    found
}

/// Returns the public half of an identity file, without its passphrase: from `KEY.pub`, or from the file itself.
pub(super) fn public_half(path: &Path) -> Option<PublicKey> {
    russh::keys::load_public_key(with_suffix(path, ".pub"))
        .or_else(|_| russh::keys::load_public_key(path))
        .ok()
        .or_else(|| PrivateKey::read_openssh_file(path).ok().map(|key| key.public_key().clone()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
