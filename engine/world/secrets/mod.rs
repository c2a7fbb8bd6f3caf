//! Where secret values come from: environment, files, our encrypted file, Ansible Vault, commands, OpenBao.

pub mod ansible_vault;
pub mod bao;
pub mod command;
pub mod config;
pub mod ear;
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

use self::bao::Bao;
pub use self::config::Config;
use self::config::{Explicit, Source};
use self::ear::{Ear, Learn};
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
    /// A server was asked and gives no value.
    #[error("secret `{name}`")]
    Refused {
        /// Which secret.
        name: SecretName,
        /// What the server said.
        source: Box<bao::Error>,
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
            Self::Refused { source, .. } => source.hint(),
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
    /// The server gives nothing.
    #[error(transparent)]
    Bao(#[from] bao::Error),
    /// A thread that derived a key ended early.
    #[error("the derivation of a key was interrupted")]
    Interrupted,
}

impl Fault {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bao(error) => error.hint(),
            Self::Read(_)
            | Self::Key(_)
            | Self::Encrypted(_)
            | Self::AnsibleVault(_)
            | Self::Command(_)
            | Self::Interrupted => None,
        }
    }
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
    fetched: Mutex<BTreeMap<SecretName, Fetched>>,
    ear: Ear,
}

/// A secret with a value, and what its source says of it.
#[derive(Clone)]
pub struct Fetched {
    /// The secret.
    pub secret: Secret,
    /// Which version, where its source counts them.
    pub version: Option<u64>,
    /// What it is in JSON, if it is no text there.
    pub form: Option<&'static str>,
}

/// A value as its source gave it.
struct Value {
    bytes: Vec<u8>,
    version: Option<u64>,
    form: Option<&'static str>,
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, version: None, form: None }
    }
}

impl From<bao::Value> for Value {
    fn from(value: bao::Value) -> Self {
        Self { bytes: value.bytes, version: value.version, form: value.form }
    }
}

/// A source and what was decrypted of it.
struct Opened {
    source: Source,
    encrypted: OnceCell<Arc<encrypted::Unlocked>>,
    vault: OnceCell<(Arc<ansible_vault::Vault>, Zeroizing<Vec<u8>>)>,
    bao: Option<Arc<Bao>>,
}

impl Secrets {
    /// Takes the configuration and where to look; nothing is read yet.
    pub fn new(config: Config, place: Place) -> Self {
        let ear = Ear::default();
        let opened = |source| {
            let bao = match &source {
                Source::Bao(config) => {
                    Some(Arc::new(Bao::new(config.as_ref().clone(), place.clone(), ear.clone())))
                }
                Source::Env { .. }
                | Source::File { .. }
                | Source::Encrypted(_)
                | Source::AnsibleVault(_)
                | Source::Command { .. } => None,
            };
            Opened { source, encrypted: OnceCell::new(), vault: OnceCell::new(), bao }
        };
        let sources = config.sources.into_iter().map(opened).collect();
        Self { place, sources, names: config.names, fetched: Mutex::default(), ear }
    }

    /// Says who learns each credential that a source uses, before it is used.
    pub fn listen(&self, learn: Learn) {
        self.ear.listen(learn);
    }

    /// Takes what an operator should know of the sources and was not told yet.
    pub fn warnings(&self) -> Vec<String> {
        self.ear.take()
    }

    /// Gives back logins and leases, within seconds; returns, in words, what could not be given back.
    pub async fn close(&self) -> Vec<String> {
        let servers = self.sources.iter().filter_map(|opened| opened.bao.as_ref());
        // All at once, so that the limit is one for all.
        futures_util::future::join_all(servers.map(|bao| bao.close())).await.concat()
    }

    /// Fetches a secret from its own place, or from the first source that has it.
    pub async fn get(&self, name: &SecretName) -> Result<Secret, SecretError> {
        Ok(self.fetch(name).await?.secret)
    }

    /// Does what [`Secrets::get`] does, and tells what the source says of the value.
    pub async fn fetch(&self, name: &SecretName) -> Result<Fetched, SecretError> {
        if let Some(fetched) = self.fetched.lock().get(name) {
            return Ok(fetched.clone());
        }
        let mut asked = Vec::new();
        let value = match self.names.get(name) {
            Some(explicit) => self.ask_explicit(name, explicit).await?,
            None => self.ask_sources(name, &mut asked).await?,
        };
        let Some(Value { bytes, version, form }) = value else {
            return Err(SecretError::Missing {
                name: name.clone(),
                asked: if asked.is_empty() { self.places(name) } else { asked.join(", ") },
                nearest: nearest(name.as_str(), &self.known_names()),
            });
        };
        if let Some(form) = form {
            self.ear.warn(format!("secret `{name}` is {form} in OpenBao: its JSON text is taken"));
        }
        // When two ask at once, both get the value that came first.
        let fetched = || Fetched { secret: Secret::new(name.clone(), bytes), version, form };
        Ok(self.fetched.lock().entry(name.clone()).or_insert_with(fetched).clone())
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
            Some(Explicit::Command(_) | Explicit::Bao(_)) => return Presence::Unknown,
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
    ) -> Result<Option<Value>, SecretError> {
        match explicit {
            Explicit::Env(variable) => Ok(self.place.variable(variable).map(Value::from)),
            Explicit::File(path) => Ok(read_file(name, &self.place.path(path))?.map(Value::from)),
            Explicit::Command(words) => self
                .ask_command(name, words)
                .await
                .map(|value| value.map(Value::from))
                .map_err(|fault| unreachable(name, command_in_words(words), fault)),
            Explicit::Bao(entry) => {
                let read = async { self.server(entry.source.as_deref())?.read(entry).await };
                read.await.map(|value| Some(value.into())).map_err(|error| refused(name, error))
            }
        }
    }

    /// Reads a path of OpenBao with all its fields, as it is now.
    pub async fn stored(&self, source: Option<&str>, path: &str) -> Result<bao::Stored, bao::Error> {
        self.server(source)?.stored(path).await
    }

    /// Writes all fields of a path over a version; secrets there that were read before are read anew when they are next asked for.
    pub async fn store(
        &self,
        source: Option<&str>,
        path: &str,
        fields: serde_json::Map<String, serde_json::Value>,
        version: u64,
    ) -> Result<u64, bao::Error> {
        let server = self.server(source)?;
        let written = server.store(path, fields, version).await;
        self.fetched.lock().retain(|name, _| match self.names.get(name) {
            Some(Explicit::Bao(entry)) => !server.is_at(entry, path),
            Some(Explicit::Env(_) | Explicit::File(_) | Explicit::Command(_)) => true,
            None => !server.entry(name).is_some_and(|entry| server.is_at(&entry, path)),
        });
        written
    }

    /// Finds the server of a name; it need not be named where there is only one.
    fn server(&self, wanted: Option<&str>) -> Result<&Arc<Bao>, bao::Error> {
        let servers: Vec<&Arc<Bao>> = self.sources.iter().filter_map(|opened| opened.bao.as_ref()).collect();
        let mut found = servers.iter().filter(|bao| wanted.is_none() || bao.name() == wanted);
        let which = |text: String| Err(bao::Error::Which(text));
        match (found.next(), found.next(), wanted) {
            (Some(only), None, _) => Ok(only),
            (None, _, None) => which("`sources` in nlrun.yaml names no OpenBao: add `- bao: {}`".to_owned()),
            (None, _, Some(wanted)) => which(format!("no source in nlrun.yaml has `name: {wanted}`")),
            (Some(_), Some(_), None) => {
                which("there are several sources of OpenBao: say which by `source`".to_owned())
            }
            (Some(_), Some(_), Some(wanted)) => which(format!("several sources have `name: {wanted}`")),
        }
    }

    /// Asks one source after the other; each that has no value is noted in words.
    async fn ask_sources(
        &self,
        name: &SecretName,
        asked: &mut Vec<String>,
    ) -> Result<Option<Value>, SecretError> {
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
                Source::Bao(_) => {
                    match self.ask_server(opened, name, asked).await? {
                        Some(found) => return Ok(Some(found)),
                        None => continue,
                    };
                }
            };
            match value {
                Ok(None) => asked.push(in_words(&opened.source, name)),
                Ok(Some(found)) => return Ok(Some(found.into())),
                Err(fault) => return Err(unreachable(name, in_words(&opened.source, name), fault)),
            }
        }
        Ok(None)
    }

    /// Asks a server; one that is out of reach counts as one without the secret only where it is told to.
    async fn ask_server(
        &self,
        opened: &Opened,
        name: &SecretName,
        asked: &mut Vec<String>,
    ) -> Result<Option<Value>, SecretError> {
        let Some(bao) = &opened.bao else { return Ok(None) };
        let Some(entry) = bao.entry(name) else {
            asked.push(format!("{} (a name there has a path before its field)", bao.in_words()));
            return Ok(None);
        };
        match bao.read(&entry).await {
            Ok(value) => Ok(Some(value.into())),
            // The only source says best itself what is not there.
            Err(error) if error.is_absence() && self.sources.len() > 1 => {
                asked.push(format!("{} ({error})", bao.in_words()));
                Ok(None)
            }
            Err(error) if error.is_out_of_reach() && bao.yields() => {
                self.ear.warn(format!("{error}; the next source is asked for secret `{name}`"));
                asked.push(format!("{} ({error})", bao.in_words()));
                Ok(None)
            }
            Err(error) => Err(refused(name, error)),
        }
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
            Source::Command { .. } | Source::Bao(_) => None,
        }
    }

    fn places(&self, name: &SecretName) -> String {
        match self.names.get(name) {
            Some(Explicit::Env(variable)) => format!("the variable `{variable}`"),
            Some(Explicit::File(path)) => format!("the file `{}`", path.display()),
            Some(Explicit::Command(words)) => command_in_words(words),
            Some(Explicit::Bao(entry)) => format!("`{}#{}` of OpenBao", entry.path, entry.field),
            None if self.sources.is_empty() => "any source: none is configured".to_owned(),
            None => String::new(),
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
        Source::Bao(_) => "OpenBao".to_owned(),
    }
}

fn command_in_words(words: &[String]) -> String {
    format!("the command `{}`", words.first().map_or("", String::as_str))
}

fn refused(name: &SecretName, source: bao::Error) -> SecretError {
    SecretError::Refused { name: name.clone(), source: Box::new(source) }
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
