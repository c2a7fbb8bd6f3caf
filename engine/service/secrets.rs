//! The secrets of a project as its keeper works with them: list, test, set, remove, edit, begin.

use std::path::{Path, PathBuf};

use crate::gate::redactor::Redactor;
use crate::gate::sentence;
use crate::model::secret::{InvalidName, Secret, SecretName};
use crate::service::{Place, Project};
use crate::world::secrets::bao::Identity;
use crate::world::secrets::config::{Encrypted, Source};
use crate::world::secrets::edit::{self, Changes};
use crate::world::secrets::key::{self, Key, Origin};
use crate::world::secrets::probe::Probe;
use crate::world::secrets::{Fetched, Place as Where, Secrets};
use crate::world::secrets::{Presence, SecretError, encrypted};

/// Why nothing was done with a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It has no value.
    #[error(transparent)]
    Unknown(Box<SecretError>),
    /// There is no encrypted file to write to.
    #[error("nlrun.yaml names no encrypted file for secrets")]
    NoFile,
    /// There are several, or none of this name.
    #[error("nlrun.yaml names other encrypted files for secrets: {0}")]
    Which(String),
    /// The secret is not there.
    #[error("there is no secret `{name}` in `{path}`")]
    Missing {
        /// Which secret.
        name: SecretName,
        /// Which file.
        path: PathBuf,
    },
    /// There is no key.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// The encrypted file cannot be used.
    #[error(transparent)]
    File(#[from] encrypted::Error),
    /// An edit changed nothing.
    #[error(transparent)]
    Edit(#[from] edit::Error),
    /// The machine gives no thread or no descriptor.
    #[error("the asynchronous runtime does not start")]
    Runtime(#[source] std::io::Error),
}

/// What was made for a new encrypted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The encrypted file, relative to the project.
    pub file: PathBuf,
    /// The key file.
    pub key: PathBuf,
    /// Whether nlrun.yaml already names them.
    pub is_configured: bool,
}

/// What sources and secrets answered.
#[derive(Debug)]
pub struct Tested {
    /// Each source, in order.
    pub sources: Vec<SourceAnswer>,
    /// Each secret that was asked for.
    pub secrets: Vec<SecretAnswer>,
    /// What was odd.
    pub warnings: Vec<String>,
}

/// What a source said.
#[derive(Debug)]
pub struct SourceAnswer {
    /// The source, in words.
    pub place: String,
    /// Who it takes us for, where one logs in.
    pub identity: Option<Identity>,
    /// How many names it lists; `None` when it is asked by name.
    pub answer: Result<Option<usize>, Trouble>,
}

/// What was said of a secret.
#[derive(Debug)]
pub struct SecretAnswer {
    /// Which secret.
    pub name: SecretName,
    /// What can be told of it, or why it has no value.
    pub answer: Result<Told, Trouble>,
}

/// What can be told of a value.
#[derive(Debug)]
pub struct Told {
    /// Its length.
    pub bytes: usize,
    /// Which version, where its source counts them.
    pub version: Option<u64>,
    /// What it is in JSON, if it is no text there.
    pub form: Option<&'static str>,
}

/// What went wrong, in words, and what to do about it.
#[derive(Debug)]
pub struct Trouble {
    /// What went wrong.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Project {
    /// Reads a secret for the server itself, as its source gives it now.
    pub(crate) fn secret_now(&self, place: &Place, name: &SecretName) -> Result<Secret, String> {
        let secrets = self.secrets(place);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let fetched = runtime.block_on(async {
            let fetched = secrets.fetch(name).await;
            secrets.close().await;
            fetched
        });
        fetched.map(|fetched| fetched.secret).map_err(|error| match error.hint() {
            Some(hint) => format!("{}; {hint}", sentence(&error)),
            None => sentence(&error),
        })
    }

    /// Returns every name that can be listed, and whether it has a value as far as that can be told.
    pub fn list_secrets(&self, place: &Place) -> Vec<(String, Presence)> {
        let secrets = self.secrets(place);
        let presence = |name: &String| {
            name.parse::<SecretName>().map_or(Presence::Unknown, |name| secrets.presence(&name))
        };
        secrets.known_names().into_iter().map(|name| (name.clone(), presence(&name))).collect()
    }

    /// Asks sources and secrets as a run would, and tells what it saw but no value.
    pub fn test_secrets(&self, place: &Place, names: &[SecretName]) -> Result<Tested, SecretsError> {
        let secrets: Secrets = self.secrets(place);
        let redactor = Redactor::default();
        let hidden = redactor.clone();
        secrets.listen(Box::new(move |secret| drop(hidden.add(secret))));
        wait(async {
            let mut answers = Vec::with_capacity(names.len());
            let probes = secrets.probe().await;
            for name in names {
                answers.push(secrets.fetch(name).await);
            }
            let mut warnings = secrets.warnings();
            warnings.extend(secrets.close().await);
            let clean = |text: String| redactor.text(&text).into_owned();
            let trouble = |text: String, hint: Option<String>| Trouble { text: clean(text), hint };
            let source = |probe: Probe| SourceAnswer {
                place: probe.place,
                identity: probe.identity,
                answer: probe.answer.map_err(|fault| trouble(sentence(&fault), fault.hint())),
            };
            let secret = |(name, answer): (&SecretName, Result<Fetched, SecretError>)| SecretAnswer {
                name: name.clone(),
                answer: answer
                    .map(|fetched| Told {
                        bytes: fetched.secret.expose().len(),
                        version: fetched.version,
                        form: fetched.form,
                    })
                    .map_err(|error| trouble(sentence(&error), error.hint())),
            };
            Tested {
                sources: probes.into_iter().map(source).collect(),
                secrets: names.iter().zip(answers).map(secret).collect(),
                warnings: warnings.into_iter().map(clean).collect(),
            }
        })
    }

    /// Fetches one secret for the server itself; the thread waits.
    pub fn secret(&self, place: &Place, name: &SecretName) -> Result<Secret, SecretsError> {
        let secrets = self.secrets(place);
        wait(async {
            let found = secrets.get(name).await;
            secrets.close().await;
            found
        })?
        .map_err(|error| SecretsError::Unknown(Box::new(error)))
    }

    /// Opens each source of secrets without asking for a value.
    pub fn probe_secrets(&self, place: &Place) -> Result<Vec<Probe>, SecretsError> {
        let secrets: Secrets = self.secrets(place);
        wait(async {
            let probes = secrets.probe().await;
            // What is left of a look ends by itself, and says nothing of the project.
            secrets.close().await;
            probes
        })
    }

    /// Sets a secret in the encrypted file; the file is made when its key is there.
    pub fn set_secret(
        &self,
        place: &Place,
        file: Option<&Path>,
        name: &SecretName,
        value: &[u8],
    ) -> Result<PathBuf, SecretsError> {
        let (path, key) = self.open(place, file)?;
        encrypted::set(&path, &key, name, value)?;
        Ok(path)
    }

    /// Removes a secret from the encrypted file.
    pub fn remove_secret(
        &self,
        place: &Place,
        file: Option<&Path>,
        name: &SecretName,
    ) -> Result<PathBuf, SecretsError> {
        let (path, key) = self.open(place, file)?;
        if encrypted::remove(&path, &key, name)? {
            Ok(path)
        } else {
            Err(SecretsError::Missing { name: name.clone(), path })
        }
    }

    /// Lets an editor change all secrets of the encrypted file, as text that exists in memory only.
    pub fn edit_secrets(
        &self,
        place: &Place,
        file: Option<&Path>,
        editor: impl FnMut(&Path, Option<&str>) -> std::io::Result<()>,
    ) -> Result<Changes, SecretsError> {
        let (path, key) = self.open(place, file)?;
        let folder = edit::memory_folder(&self.place(place))?;
        Ok(edit::edit(&path, &key, &folder, editor)?)
    }

    /// Makes a key and an empty encrypted file; what exists is left alone.
    pub fn begin_secrets(
        &self,
        place: &Place,
        file: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Begun, SecretsError> {
        let configured = match self.encrypted(file) {
            Ok(found) => Some(found),
            Err(SecretsError::NoFile) => None,
            Err(error) => return Err(error),
        };
        let is_configured = configured.is_some();
        let (file, key) = match (configured, key) {
            (Some(Encrypted { path, key: Origin::File(key) }), None) => (path, key),
            (Some(Encrypted { path, .. }), Some(key)) => (path, key.to_owned()),
            (Some(_), None) => return Err(SecretsError::Which("their key is not in a file".to_owned())),
            (None, key) => {
                let name = self.root().file_name().map_or("project".into(), |name| name.to_string_lossy());
                let default = PathBuf::from(format!("~/.config/nlrun/{name}.key"));
                let file = file.map_or_else(|| PathBuf::from("secrets.json"), Path::to_owned);
                (file, key.map_or(default, Path::to_owned))
            }
        };
        let at = self.place(place);
        let path = at.path(&file);
        if path.exists() {
            return Err(encrypted::Error::Exists(path).into());
        }
        let made = key::init(&at.path(&key))?;
        encrypted::Unlocked::create(&path, &made)?.save()?;
        Ok(Begun { file, key, is_configured })
    }

    /// Finds the encrypted file and reads its key.
    fn open(&self, place: &Place, file: Option<&Path>) -> Result<(PathBuf, Key), SecretsError> {
        let found = self.encrypted(file)?;
        let at = self.place(place);
        let bytes = wait(found.key.read(&at))??;
        Ok((at.path(&found.path), Key::parse(&bytes)?))
    }

    fn encrypted(&self, file: Option<&Path>) -> Result<Encrypted, SecretsError> {
        let files = self.config().secrets.sources.iter().filter_map(|source| match source {
            Source::Encrypted(file) => Some(file),
            Source::Env { .. }
            | Source::File { .. }
            | Source::AnsibleVault(_)
            | Source::Command { .. }
            | Source::Bao(_) => None,
        });
        let mut files: Vec<&Encrypted> = files.collect();
        if files.is_empty() {
            return Err(SecretsError::NoFile);
        }
        let all = files.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>().join(", ");
        files.retain(|found| file.is_none_or(|file| found.path == file));
        match files.as_slice() {
            [one] => Ok((*one).clone()),
            _ => Err(SecretsError::Which(all)),
        }
    }

    fn place(&self, place: &Place) -> Where {
        Where::new(self.root(), place.variables.iter().cloned())
    }
}

/// Waits for sources.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, SecretsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(SecretsError::Runtime)?.block_on(work))
}
