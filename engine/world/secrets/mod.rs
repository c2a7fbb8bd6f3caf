//! Where secret values come from: environment, files, our encrypted file, Ansible Vault, commands.

pub mod ansible_vault;
pub mod command;
pub mod config;
pub mod edit;
pub mod encrypted;
pub mod key;
mod place;
pub mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

pub use self::config::Config;
use self::config::{Explicit, Source};
pub use self::place::Place;
use crate::model::secret::{Secret, SecretName};

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No source has it.
    #[error("secret `{name}` is not known to {asked}")]
    Missing {
        /// Which secret.
        name: SecretName,
        /// The sources that were asked, in words.
        asked: String,
        /// The known name that looks most like it.
        nearest: Option<String>,
    },
    /// A source could not be asked, so that nobody knows whether it has the secret.
    #[error("{place} cannot be asked for secret `{name}`")]
    Unreachable {
        /// Which secret.
        name: SecretName,
        /// The source, in words.
        place: String,
        /// What was in the way.
        source: Box<Fault>,
    },
    /// Others can read the file.
    #[error("secret `{name}`: `{path}` can be read by others (mode {mode:04o}): run `chmod 600 {path}`")]
    Exposed {
        /// Which secret.
        name: SecretName,
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl SecretError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::Missing { .. } => {
                Some("add it with `nlrun secrets edit`, or name its source in nlrun.yaml".to_owned())
            }
            Self::Unreachable { .. } => {
                Some("the next source is not asked, for it might hold an older value".to_owned())
            }
            Self::Exposed { .. } => None,
        }
    }
}

/// What was in the way of asking a source.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file or folder cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// There is no key or password.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// The encrypted file cannot be used.
    #[error(transparent)]
    Encrypted(#[from] encrypted::Error),
    /// The Ansible Vault file cannot be used.
    #[error(transparent)]
    AnsibleVault(#[from] ansible_vault::Error),
    /// The command failed.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// A thread that derived a key ended early.
    #[error("the derivation of a key was interrupted")]
    Interrupted,
}

/// Whether a name has a value, as far as can be told without decrypting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A source lists it.
    Present,
    /// No source has it.
    Absent,
    /// A source cannot tell without a key or a command.
    Unknown,
}

/// The secrets of a project. Each is fetched once and stays the same for the life of this value.
pub struct Secrets {
    place: Place,
    sources: Vec<Opened>,
    names: BTreeMap<SecretName, Explicit>,
    fetched: Mutex<BTreeMap<SecretName, Secret>>,
}

/// A source and what was decrypted of it.
struct Opened {
    source: Source,
    encrypted: OnceCell<Arc<encrypted::Unlocked>>,
    vault: OnceCell<(Arc<ansible_vault::Vault>, Zeroizing<Vec<u8>>)>,
}

impl Secrets {
    /// Takes the configuration and where to look; nothing is read yet.
    pub fn new(config: Config, place: Place) -> Self {
        let opened = |source| Opened { source, encrypted: OnceCell::new(), vault: OnceCell::new() };
        Self {
            place,
            sources: config.sources.into_iter().map(opened).collect(),
            names: config.names,
            fetched: Mutex::default(),
        }
    }

    /// Fetches a secret from its own place, or from the first source that has it.
    pub async fn get(&self, name: &SecretName) -> Result<Secret, SecretError> {
        if let Some(secret) = self.fetched.lock().get(name) {
            return Ok(secret.clone());
        }
        let value = match self.names.get(name) {
            Some(explicit) => self.ask_explicit(name, explicit).await?,
            None => self.ask_sources(name).await?,
        };
        let Some(value) = value else {
            return Err(SecretError::Missing {
                name: name.clone(),
                asked: self.places(name),
                nearest: nearest(name.as_str(), &self.known_names()),
            });
        };
        // When two ask at once, both get the value that came first.
        Ok(self
            .fetched
            .lock()
            .entry(name.clone())
            .or_insert_with(|| Secret::new(name.clone(), value))
            .clone())
    }

    /// Returns the names that can be listed without decrypting, in order.
    pub fn known_names(&self) -> Vec<String> {
        let mut names: BTreeSet<String> = self.names.keys().map(ToString::to_string).collect();
        for opened in &self.sources {
            // A source that cannot be read has no names to offer; asking it says why.
            names.extend(self.list(&opened.source).unwrap_or_default());
        }
        names.into_iter().collect()
    }

    /// Returns the names of all secrets; `None` when a source cannot tell, so that a name not listed proves nothing.
    pub fn all_names(&self) -> Option<Vec<String>> {
        let can_tell = self.sources.iter().all(|opened| self.list(&opened.source).is_some());
        can_tell.then(|| self.known_names())
    }

    /// Tells whether a secret exists, without decrypting or running anything.
    pub fn presence(&self, name: &SecretName) -> Presence {
        match self.names.get(name) {
            Some(Explicit::Env(variable)) => {
                return if self.place.variable(variable).is_some() {
                    Presence::Present
                } else {
                    Presence::Absent
                };
            }
            Some(Explicit::File(path)) => {
                return if self.place.path(path).exists() { Presence::Present } else { Presence::Absent };
            }
            Some(Explicit::Command(_)) => return Presence::Unknown,
            None => {}
        }
        let mut presence = Presence::Absent;
        for opened in &self.sources {
            let has = match &opened.source {
                Source::Env { prefix } => Some(self.place.variable(&variable(prefix, name)).is_some()),
                source => self.list(source).map(|names| names.contains(name.as_str())),
            };
            match has {
                Some(true) => return Presence::Present,
                Some(false) => {}
                None => presence = Presence::Unknown,
            }
        }
        presence
    }

    async fn ask_explicit(
        &self,
        name: &SecretName,
        explicit: &Explicit,
    ) -> Result<Option<Vec<u8>>, SecretError> {
        match explicit {
            Explicit::Env(variable) => Ok(self.place.variable(variable)),
            Explicit::File(path) => read_file(name, &self.place.path(path)),
            Explicit::Command(words) => self
                .ask_command(name, words)
                .await
                .map_err(|fault| unreachable(name, command_in_words(words), fault)),
        }
    }

    async fn ask_sources(&self, name: &SecretName) -> Result<Option<Vec<u8>>, SecretError> {
        for opened in &self.sources {
            let value = match &opened.source {
                Source::Env { prefix } => Ok(self.place.variable(&variable(prefix, name))),
                Source::File { path } => {
                    let folder = self.place.path(path);
                    // A folder that is not there may be one that is not mounted.
                    match std::fs::metadata(&folder) {
                        Ok(_) => Ok(read_file(name, &folder.join(name.as_str()))?),
                        Err(error) => Err(error.into()),
                    }
                }
                Source::Encrypted(file) => self.ask_encrypted(opened, file, name).await,
                Source::AnsibleVault(file) => self.ask_vault(opened, file, name).await,
                Source::Command { run } => self.ask_command(name, run).await,
            };
            match value {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(fault) => return Err(unreachable(name, in_words(&opened.source, name), fault)),
            }
        }
        Ok(None)
    }

    async fn ask_encrypted(
        &self,
        opened: &Opened,
        file: &config::Encrypted,
        name: &SecretName,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let unlock = || async {
            let key = key::Key::parse(&file.key.read(&self.place).await?)?;
            let path = self.place.path(&file.path);
            // Deriving a key from a passphrase takes a good part of a second.
            let unlocked =
                tokio::task::spawn_blocking(move || encrypted::Locked::load(&path)?.unlock(&key)).await;
            Ok::<_, Fault>(Arc::new(unlocked.map_err(|_| Fault::Interrupted)??))
        };
        let value = opened.encrypted.get_or_try_init(unlock).await?.get(name)?;
        Ok(value.map(|mut value| std::mem::take(&mut *value)))
    }

    async fn ask_vault(
        &self,
        opened: &Opened,
        file: &config::AnsibleVault,
        name: &SecretName,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let read = || async {
            let password = file.password.read(&self.place).await?;
            let text = Zeroizing::new(std::fs::read_to_string(self.place.path(&file.path))?);
            Ok::<_, Fault>((Arc::new(ansible_vault::Vault::read(&text, &password)?), password))
        };
        let (vault, password) = opened.vault.get_or_try_init(read).await?;
        Ok(vault.get(name.as_str(), password)?)
    }

    async fn ask_command(&self, name: &SecretName, words: &[String]) -> Result<Option<Vec<u8>>, Fault> {
        let words: Vec<String> = words.iter().map(|word| word.replace("{name}", name.as_str())).collect();
        let mut out = command::run(&words, &self.place).await?;
        let value = without_line_end(std::mem::take(&mut *out));
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// Lists what a source has; `None` when it takes a key or a command, or cannot be read.
    fn list(&self, source: &Source) -> Option<BTreeSet<String>> {
        match source {
            Source::Env { prefix } => {
                let names = self
                    .place
                    .variables()
                    .keys()
                    .filter_map(|key| key.to_str()?.strip_prefix(prefix.as_str()));
                Some(names.map(str::to_lowercase).collect())
            }
            Source::File { path } => {
                let mut names = BTreeSet::new();
                list_folder(&self.place.path(path), "", &mut names).ok()?;
                Some(names)
            }
            Source::Encrypted(file) => {
                let names = encrypted::list(&self.place.path(&file.path)).ok()?;
                Some(names.iter().map(ToString::to_string).collect())
            }
            Source::AnsibleVault(file) => {
                let text = Zeroizing::new(std::fs::read_to_string(self.place.path(&file.path)).ok()?);
                if ansible_vault::is_sealed(&text) {
                    return None;
                }
                let vault = ansible_vault::Vault::read(&text, b"").ok()?;
                Some(vault.names().map(str::to_owned).collect())
            }
            Source::Command { .. } => None,
        }
    }

    fn places(&self, name: &SecretName) -> String {
        match self.names.get(name) {
            Some(Explicit::Env(variable)) => format!("the variable `{variable}`"),
            Some(Explicit::File(path)) => format!("the file `{}`", path.display()),
            Some(Explicit::Command(words)) => command_in_words(words),
            None if self.sources.is_empty() => "any source: none is configured".to_owned(),
            None => self
                .sources
                .iter()
                .map(|opened| in_words(&opened.source, name))
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

fn variable(prefix: &str, name: &SecretName) -> String {
    format!("{prefix}{}", name.as_variable())
}

fn in_words(source: &Source, name: &SecretName) -> String {
    match source {
        Source::Env { prefix } => format!("the variable `{}`", variable(prefix, name)),
        Source::File { path } => format!("the folder `{}`", path.display()),
        Source::Encrypted(file) => format!("the encrypted file `{}`", file.path.display()),
        Source::AnsibleVault(file) => format!("the Ansible Vault `{}`", file.path.display()),
        Source::Command { run } => command_in_words(run),
    }
}

fn command_in_words(words: &[String]) -> String {
    format!("the command `{}`", words.first().map_or("", String::as_str))
}

fn unreachable(name: &SecretName, place: String, source: Fault) -> SecretError {
    SecretError::Unreachable { name: name.clone(), place, source: Box::new(source) }
}

fn read_file(name: &SecretName, path: &Path) -> Result<Option<Vec<u8>>, SecretError> {
    let fail = |error: io::Error| unreachable(name, format!("the file `{}`", path.display()), error.into());
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(None),
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(fail(error)),
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { name: name.clone(), path: path.to_owned(), mode });
    }
    std::fs::read(path).map(|value| Some(without_line_end(value))).map_err(fail)
}

/// Drops one line end, which editors and `echo` add.
fn without_line_end(mut value: Vec<u8>) -> Vec<u8> {
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    value
}

fn list_folder(folder: &Path, before: &str, names: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list_folder(&entry.path(), &format!("{name}/"), names)?;
        } else if name.parse::<SecretName>().is_ok() {
            names.insert(name);
        }
    }
    Ok(())
}

fn nearest(name: &str, known: &[String]) -> Option<String> {
    let likeness = |other: &String| strsim::jaro_winkler(name, other);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8).then(|| best.clone())
}

#[cfg(test)]
mod tests;
