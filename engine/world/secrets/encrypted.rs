//! Our own encrypted file: names in clear, one AES-256-GCM record a secret.
//!
//! JSON with one record a line in the order of names, so that Git shows and merges changes secret by secret. Each record
//! is `base64(nonce ‖ ciphertext ‖ tag)` with the format and the secret's name as associated data, so that records
//! cannot be exchanged.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, pbkdf2};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::Key;
use crate::model::secret::SecretName;

const VERSION: u32 = 1;

/// What the record `check` holds; it tells a wrong key from a changed record.
const CHECK: &[u8] = b"nlrun secrets";

/// OWASP's advice of 2023 for PBKDF2-HMAC-SHA256; tests derive many keys and prove nothing about its cost.
const ROUNDS: u32 = if cfg!(test) { 1_000 } else { 600_000 };

/// A file that asks for more would only hang the run.
const MOST_ROUNDS: u32 = 10_000_000;

/// Why an encrypted file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the encrypted file `{path}` cannot be read")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written; it is as it was.
    #[error("the encrypted file `{path}` cannot be written")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is not what this program writes.
    #[error("`{path}` is not an encrypted file of nlrun")]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// Where the text goes wrong.
        source: serde_json::Error,
    },
    /// A later format.
    #[error("`{path}` has format {version}, and only format {VERSION} can be read")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The key does not fit.
    #[error("the key does not open `{path}`")]
    WrongKey {
        /// Which file.
        path: PathBuf,
    },
    /// The key fits, and this record does not: it was changed, cut off or moved from another name.
    #[error("the record `{name}` in `{path}` was changed by something else than nlrun")]
    Tampered {
        /// Which file.
        path: PathBuf,
        /// Which secret.
        name: SecretName,
    },
    /// Someone else wrote the file after it was read.
    #[error("`{path}` was changed meanwhile; nothing was written")]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The file is there already.
    #[error("`{0}` exists already")]
    Exists(PathBuf),
    /// The system's random generator failed.
    #[error("the system gives no random bytes")]
    Random,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    nlrun_secrets: u32,
    derivation: Derivation,
    salt: String,
    check: String,
    secrets: BTreeMap<SecretName, String>,
}

impl Content {
    fn written(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("strings and numbers are always JSON");
        text.push(b'\n');
        text
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Derivation {
    HkdfSha256,
    Pbkdf2Sha256 { rounds: u32 },
}

/// An encrypted file whose names can be read.
pub struct Locked {
    path: PathBuf,
    text: Option<Vec<u8>>,
    content: Content,
}

/// An encrypted file with its key: values can be read and changed, then saved.
pub struct Unlocked {
    file: Locked,
    key: LessSafeKey,
}

impl Locked {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let text = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let version: Result<Version, _> = serde_json::from_slice(&text);
        if let Ok(Version { nlrun_secrets: version }) = version
            && version != VERSION
        {
            return Err(Error::Version { path, version });
        }
        match serde_json::from_slice(&text) {
            Ok(content) => Ok(Self { path, text: Some(text), content }),
            Err(source) => Err(Error::NotOurs { path, source }),
        }
    }

    /// Returns the names of all secrets.
    pub fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.content.secrets.keys()
    }

    /// Derives the file's key and makes sure that it fits.
    pub fn unlock(self, key: &Key) -> Result<Unlocked, Error> {
        let wrong = || Error::WrongKey { path: self.path.clone() };
        let salt = STANDARD.decode(&self.content.salt).map_err(|_| wrong())?;
        let key = derive(key, self.content.derivation, &salt).ok_or_else(wrong)?;
        match open(&key, None, &self.content.check) {
            Some(check) if check.as_slice() == CHECK => {}
            _ => return Err(wrong()),
        }
        Ok(Unlocked { file: self, key })
    }
}

#[derive(Deserialize)]
struct Version {
    nlrun_secrets: u32,
}

impl Unlocked {
    /// Begins a new file, which [`Unlocked::save`] writes.
    pub fn create(path: &Path, key: &Key) -> Result<Self, Error> {
        if path.exists() {
            return Err(Error::Exists(path.to_owned()));
        }
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).map_err(|_| Error::Random)?;
        let derivation = match key {
            Key::Random(_) => Derivation::HkdfSha256,
            Key::Passphrase(_) => Derivation::Pbkdf2Sha256 { rounds: ROUNDS },
        };
        let key = derive(key, derivation, &salt).ok_or_else(|| Error::WrongKey { path: path.to_owned() })?;
        let content = Content {
            nlrun_secrets: VERSION,
            derivation,
            salt: STANDARD.encode(salt),
            check: seal(&key, None, CHECK)?,
            secrets: BTreeMap::new(),
        };
        Ok(Self { file: Locked { path: path.to_owned(), text: None, content }, key })
    }

    /// Returns the names of all secrets.
    pub fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.file.names()
    }

    /// Decrypts one secret's value.
    pub fn get(&self, name: &SecretName) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let Some(record) = self.file.content.secrets.get(name) else { return Ok(None) };
        match open(&self.key, Some(name), record) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::Tampered { path: self.file.path.clone(), name: name.clone() }),
        }
    }

    /// Encrypts a value; the record of a value that stays equal stays as it is.
    pub fn set(&mut self, name: &SecretName, value: &[u8]) -> Result<(), Error> {
        // A record that cannot be read is replaced: this is how a damaged one is repaired.
        if let Ok(Some(old)) = self.get(name)
            && old.as_slice() == value
        {
            return Ok(());
        }
        let record = seal(&self.key, Some(name), value)?;
        self.file.content.secrets.insert(name.clone(), record);
        Ok(())
    }

    /// Removes a secret and returns whether it was there.
    pub fn remove(&mut self, name: &SecretName) -> bool {
        self.file.content.secrets.remove(name).is_some()
    }

    /// Writes the file with mode 0600: whole or not at all, and only if nobody else wrote it meanwhile.
    pub fn save(&mut self) -> Result<(), Error> {
        let path = self.file.path.clone();
        let text = self.file.content.written();
        self.write(&text)
            .map_err(|source| Error::Write { path: path.clone(), source })?
            .map_err(|()| Error::Changed { path })?;
        self.file.text = Some(text);
        Ok(())
    }

    fn write(&self, text: &[u8]) -> io::Result<Result<(), ()>> {
        let path = &self.file.path;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut beside = tempfile::NamedTempFile::new_in(folder)?;
        beside.write_all(text)?;
        beside.as_file().sync_all()?;
        let present = match std::fs::read(path) {
            Ok(present) => Some(present),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if present != self.file.text {
            return Ok(Err(()));
        }
        beside.persist(path)?;
        std::fs::File::open(folder)?.sync_all()?;
        Ok(Ok(()))
    }
}

fn derive(key: &Key, derivation: Derivation, salt: &[u8]) -> Option<LessSafeKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    match (key, derivation) {
        (Key::Random(key), Derivation::HkdfSha256) => {
            let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&**key);
            let expanded = extracted.expand(&[CHECK], hkdf::HKDF_SHA256).ok()?;
            expanded.fill(&mut *bytes).ok()?;
        }
        (Key::Passphrase(words), Derivation::Pbkdf2Sha256 { rounds }) if rounds <= MOST_ROUNDS => {
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, NonZeroU32::new(rounds)?, salt, words, &mut *bytes);
        }
        (Key::Random(_) | Key::Passphrase(_), Derivation::HkdfSha256 | Derivation::Pbkdf2Sha256 { .. }) => {
            return None;
        }
    }
    UnboundKey::new(&AES_256_GCM, &*bytes).ok().map(LessSafeKey::new)
}

fn bound(name: Option<&SecretName>) -> Aad<String> {
    Aad::from(format!("nlrun secrets {VERSION}\0{}", name.map_or("", SecretName::as_str)))
}

fn seal(key: &LessSafeKey, name: Option<&SecretName>, value: &[u8]) -> Result<String, Error> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| Error::Random)?;
    let mut sealed = Zeroizing::new(Vec::with_capacity(value.len() + AES_256_GCM.tag_len()));
    sealed.extend_from_slice(value);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound(name), &mut *sealed)
        .map_err(|_| Error::Random)?;
    Ok(STANDARD.encode([&nonce[..], &sealed].concat()))
}

fn open(key: &LessSafeKey, name: Option<&SecretName>, record: &str) -> Option<Zeroizing<Vec<u8>>> {
    let record = STANDARD.decode(record).ok()?;
    let (nonce, sealed) = record.split_at_checked(NONCE_LEN)?;
    let mut value = Zeroizing::new(sealed.to_vec());
    let length =
        key.open_in_place(Nonce::try_assume_unique_for_key(nonce).ok()?, bound(name), &mut value).ok()?.len();
    value.truncate(length);
    Some(value)
}

/// Sets one secret in a file, which is made if it is not there.
pub fn set(path: &Path, key: &Key, name: &SecretName, value: &[u8]) -> Result<(), Error> {
    let mut file =
        if path.exists() { Locked::load(path)?.unlock(key)? } else { Unlocked::create(path, key)? };
    file.set(name, value)?;
    file.save()
}

/// Removes one secret from a file and returns whether it was there.
pub fn remove(path: &Path, key: &Key, name: &SecretName) -> Result<bool, Error> {
    let mut file = Locked::load(path)?.unlock(key)?;
    let was_there = file.remove(name);
    if was_there {
        file.save()?;
    }
    Ok(was_there)
}

/// Returns the names in a file, without a key.
pub fn list(path: &Path) -> Result<Vec<SecretName>, Error> {
    Ok(Locked::load(path)?.names().cloned().collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    fn random() -> Key {
        Key::Random(Zeroizing::new([7; 32]))
    }

    fn words(text: &str) -> Key {
        Key::Passphrase(text.as_bytes().to_vec().into())
    }

    #[test]
    fn what_is_set_is_read_back_with_the_same_key_only() {
        for (key, other) in
            [(random(), words("x")), (words("correct horse"), words("wrong horse")), (words("x"), random())]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("secrets.enc");
            set(&path, &key, &name("db/root"), b"hunter2").unwrap();
            set(&path, &key, &name("blob"), b"\0\xff").unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(!std::fs::read_to_string(&path).unwrap().contains("hunter2"));
            assert_eq!(list(&path).unwrap(), [name("blob"), name("db/root")]);
            let file = Locked::load(&path).unwrap().unlock(&key).unwrap();
            assert_eq!(file.get(&name("db/root")).unwrap().unwrap().as_slice(), b"hunter2");
            assert_eq!(file.get(&name("blob")).unwrap().unwrap().as_slice(), b"\0\xff");
            assert!(file.get(&name("none")).unwrap().is_none());
            assert!(matches!(Locked::load(&path).unwrap().unlock(&other), Err(Error::WrongKey { .. })));
            assert!(remove(&path, &key, &name("blob")).unwrap());
            assert!(!remove(&path, &key, &name("blob")).unwrap());
            assert_eq!(list(&path).unwrap(), [name("db/root")]);
        }
    }

    #[test]
    fn equal_values_keep_their_record_and_differ_from_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        set(&path, &random(), &name("a"), b"same").unwrap();
        set(&path, &random(), &name("b"), b"same").unwrap();
        let before = std::fs::read(&path).unwrap();
        set(&path, &random(), &name("a"), b"same").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let content = Locked::load(&path).unwrap().content;
        assert_ne!(content.secrets[&name("a")], content.secrets[&name("b")]);
    }

    #[test]
    fn changed_and_exchanged_records_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        set(&path, &random(), &name("a"), b"first").unwrap();
        set(&path, &random(), &name("b"), b"second").unwrap();
        let content = Locked::load(&path).unwrap().content;
        let attempt = |change: &dyn Fn(&mut Content)| {
            let mut content = content.clone();
            change(&mut content);
            let mut file = std::fs::File::create(&path).unwrap();
            file.write_all(&serde_json::to_vec(&content).unwrap()).unwrap();
            let result = Locked::load(&path)?.unlock(&random())?.get(&name("a"));
            result.map(|value| value.unwrap().to_vec())
        };
        assert_eq!(attempt(&|_| ()).unwrap(), b"first");
        let exchanged = content.secrets[&name("b")].clone();
        for change in [
            exchanged,
            String::new(),
            "AAAA".to_owned(),
            "!".to_owned(),
            content.secrets[&name("a")].replace(['A', 'B'], "C").replace(['a', 'b', 'c'], "d"),
        ] {
            let error = attempt(&|content| {
                content.secrets.insert(name("a"), change.clone());
            })
            .unwrap_err();
            assert!(error.to_string().contains("`a`"), "{error}");
            assert!(matches!(error, Error::Tampered { .. }));
        }
        let check = content.secrets[&name("a")].clone();
        assert!(matches!(attempt(&|content| content.check.clone_from(&check)), Err(Error::WrongKey { .. })));
        assert!(matches!(
            attempt(&|content| content.nlrun_secrets = 2),
            Err(Error::Version { version: 2, .. })
        ));
        assert!(matches!(
            attempt(&|content| content.derivation = Derivation::Pbkdf2Sha256 { rounds: u32::MAX }),
            Err(Error::WrongKey { .. })
        ));
    }

    #[test]
    fn a_file_changed_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        set(&path, &random(), &name("a"), b"first").unwrap();
        let mut mine = Locked::load(&path).unwrap().unlock(&random()).unwrap();
        set(&path, &random(), &name("b"), b"theirs").unwrap();
        mine.set(&name("a"), b"mine").unwrap();
        assert!(matches!(mine.save(), Err(Error::Changed { .. })));
        assert_eq!(list(&path).unwrap().len(), 2);
        assert!(matches!(Locked::load(Path::new("/nonexistent")), Err(Error::Read { .. })));
        assert!(matches!(Locked::load(Path::new("/dev/null")), Err(Error::NotOurs { .. })));
    }
}
