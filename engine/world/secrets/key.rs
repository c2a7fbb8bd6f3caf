//! Where keys and passwords come from: a file, a variable or a command.

use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::command;
use super::place::Place;

const MARK: &str = "NLRUN-KEY-";

/// Names the origin of a key or password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The content of a file that only its owner can read.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// What a command prints.
    Command(Vec<String>),
}

/// Opens an encrypted file: 32 random bytes, or a passphrase.
pub enum Key {
    /// Made by [`init`].
    Random(Zeroizing<[u8; 32]>),
    /// Typed by a person.
    Passphrase(Zeroizing<Vec<u8>>),
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the key file `{path}` cannot be read")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read the file.
    #[error("the key file `{path}` can be read by others (mode {mode:04o}): run `chmod 600 {path}`")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Ansible runs such a file; here a command is named as one.
    #[error("the key file `{path}` is executable: name it as a command instead")]
    Script {
        /// Which file.
        path: PathBuf,
    },
    /// The variable is not set.
    #[error("the environment variable `{0}`, which should hold the key, is not set")]
    Variable(String),
    /// The command failed.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// Nothing was found where the key should be.
    #[error("the key is empty")]
    Empty,
    /// A key file that was cut off.
    #[error("the key begins with `NLRUN-KEY-` but is damaged")]
    Damaged,
    /// A key exists already, and overwriting it would lose every secret encrypted with it.
    #[error("the key file `{0}` exists already")]
    Exists(PathBuf),
    /// The file cannot be made.
    #[error("the key file `{path}` cannot be written")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Origin {
    /// Reads the key material, without the white space at its end.
    pub async fn read(&self, place: &Place) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut bytes = match self {
            Self::File(path) => read_file(&place.path(path))?,
            Self::Env(name) => {
                place.variable(name).map(Zeroizing::new).ok_or_else(|| Error::Variable(name.clone()))?
            }
            Self::Command(words) => command::run(words, place).await?,
        };
        let length = bytes.trim_ascii_end().len();
        bytes.truncate(length);
        if bytes.is_empty() { Err(Error::Empty) } else { Ok(bytes) }
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let fail = |source| Error::File { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(fail)?.permissions().mode() & 0o7777;
    if mode & 0o111 != 0 {
        return Err(Error::Script { path: path.to_owned() });
    }
    if mode & 0o077 != 0 {
        return Err(Error::Exposed { path: path.to_owned(), mode });
    }
    std::fs::read(path).map(Zeroizing::new).map_err(fail)
}

impl Key {
    /// Recognises a key made by [`init`]; anything else is a passphrase.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Some(encoded) = bytes.trim_ascii().strip_prefix(MARK.as_bytes()) else {
            return if bytes.is_empty() {
                Err(Error::Empty)
            } else {
                Ok(Self::Passphrase(bytes.to_vec().into()))
            };
        };
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Error::Damaged)?);
        let key: [u8; 32] = decoded.as_slice().try_into().map_err(|_| Error::Damaged)?;
        Ok(Self::Random(Zeroizing::new(key)))
    }
}

/// Makes a new random key in a file that only the owner can read; an existing file is left alone.
pub fn init(path: &Path) -> Result<Key, Error> {
    let fail = |source| Error::Write { path: path.to_owned(), source };
    let mut key = Zeroizing::new([0; 32]);
    SystemRandom::new()
        .fill(&mut *key)
        .map_err(|_| fail(io::Error::other("the system gives no random bytes")))?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => fail(error),
    })?;
    let text = Zeroizing::new(format!("{MARK}{}\n", URL_SAFE_NO_PAD.encode(*key)));
    io::Write::write_all(&mut file, text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    Ok(Key::Random(key))
}
