//! The project: the nearest folder upwards with `nlrun.yaml`, and what that file says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::model::{duration, yaml};
use crate::store::Keep;
use crate::world::endpoint::Person;
use crate::world::{k8s, secrets};

/// The file that marks a project.
pub const FILE: &str = "nlrun.yaml";

/// `nlrun.yaml`; every key is optional, unknown keys are errors.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The inventory, a file or a folder; `inventory/` by default.
    pub inventory: Option<PathBuf>,
    /// Where the run log lives; `.nlrun/` by default.
    pub state: Option<StateConfig>,
    /// The configuration of SSH, instead of the user's and the system's, as with `ssh -F`.
    pub ssh_config: Option<PathBuf>,
    /// Kubernetes clusters, by the names that runbooks use.
    pub clusters: BTreeMap<String, k8s::Config>,
    /// Where GitLab is, and who asks it.
    pub gitlab: Option<crate::world::gitlab::Config>,
    /// Where secrets come from.
    pub secrets: secrets::Config,
    /// What `nlrun db prune` keeps.
    pub retention: Retention,
    /// What `nlrun serve` needs to know.
    pub server: crate::service::Settings,
}

/// Where the run log lives: a folder, or a map with a size limit.
#[derive(Debug, Clone)]
pub enum StateConfig {
    /// The folder.
    Folder(PathBuf),
    /// The folder and more.
    Full(State),
}

// By hand: of an untagged enum that fits nothing, serde tells only its name.
impl<'de> Deserialize<'de> for StateConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = StateConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a folder, or a mapping with `dir` and `max_size`")
            }

            fn visit_str<E: Error>(self, folder: &str) -> Result<StateConfig, E> {
                Ok(StateConfig::Folder(folder.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StateConfig, A::Error> {
                State::deserialize(MapAccessDeserializer::new(map)).map(StateConfig::Full)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The long form of `state:`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The folder.
    #[serde(default)]
    dir: Option<PathBuf>,
    /// The size beyond which the log may not grow, such as `2GiB`.
    #[serde(default, deserialize_with = "size")]
    max_size: Option<u64>,
}

/// What `nlrun db prune` keeps.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Runs begun longer ago go, such as `90d`.
    #[serde(deserialize_with = "age")]
    pub age: Option<Duration>,
    /// Older runs beyond this many go.
    pub runs: Option<u64>,
    /// The oldest runs go until the rest takes at most this, such as `2GiB`.
    #[serde(deserialize_with = "size")]
    pub size: Option<u64>,
}

impl Retention {
    /// Returns the limits for the store.
    pub fn keep(&self) -> Keep {
        Keep { age: self.age.map(|age| age.as_secs()), count: self.runs, bytes: self.size }
    }
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| duration::parse(&text).map_err(Error::custom)).transpose()
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Size;
    impl Visitor<'_> for Size {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size such as `500MiB`")
        }

        fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
            Ok(None)
        }

        fn visit_u64<E: Error>(self, bytes: u64) -> Result<Option<u64>, E> {
            Ok(Some(bytes))
        }

        fn visit_i64<E: Error>(self, bytes: i64) -> Result<Option<u64>, E> {
            u64::try_from(bytes).map(Some).map_err(|_| E::custom(format!("`{bytes}` is not a size")))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<u64>, E> {
            let wrong = || E::custom(format!("`{text}` is not a size such as `500MiB`"));
            parse_size(text).map(Some).ok_or_else(wrong)
        }
    }
    deserializer.deserialize_any(Size)
}

/// Reads a size: bytes, or with `KiB MiB GiB` (also `K M G`, which mean the same).
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim() {
        "" | "B" => 0,
        "K" | "KiB" | "KB" => 10,
        "M" | "MiB" | "MB" => 20,
        "G" | "GiB" | "GB" => 30,
        "T" | "TiB" | "TB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Where a command was called, and by whom.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The working directory.
    pub cwd: PathBuf,
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Who runs it, as far as SSH cares.
    pub person: Person,
}

impl Place {
    /// Returns a variable of the environment as text.
    pub fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(key, _)| key.to_str() == Some(name));
        found.and_then(|(_, value)| value.to_str()).map(str::to_owned)
    }
}

/// A project.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    config: Config,
}

/// Why a project cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// `nlrun.yaml` is wrong.
    #[error("{}", .0.message)]
    Config(yaml::Error),
    /// The file system says no.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No such runbook.
    #[error("there is no runbook `{name}`")]
    NoRunbook {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        tried: Vec<String>,
        /// The runbook that was probably meant.
        near: Option<String>,
    },
    /// The runbook is not in the project.
    #[error("`{0}` is not in the project `{1}`")]
    Outside(PathBuf, PathBuf),
}

impl Project {
    /// Finds the project of a folder: itself or the nearest one above with `nlrun.yaml`, else the folder alone.
    pub fn find(from: &Path) -> Result<Self, ProjectError> {
        let read = |source| ProjectError::Read { path: from.to_owned(), source };
        let from = from.canonicalize().map_err(read)?;
        let Some(root) = from.ancestors().find(|folder| folder.join(FILE).is_file()) else {
            return Ok(Self { root: from, config: Config::default() });
        };
        let path = root.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| ProjectError::Read { path, source })?;
        let config = if text.trim().is_empty() || text.lines().all(|line| line.trim_start().starts_with('#'))
        {
            Config::default()
        } else {
            yaml::from_str(&text, FILE).map_err(ProjectError::Config)?
        };
        Ok(Self { root: root.to_owned(), config })
    }

    /// Whether there is an `nlrun.yaml`; else the project is just a folder.
    pub fn is_marked(&self) -> bool {
        self.root.join(FILE).is_file()
    }

    /// Returns the root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns what `nlrun.yaml` says.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the folder of the run log: the given one, or `state:`, or `.nlrun/`.
    pub fn state(&self, given: Option<&Path>, cwd: &Path) -> PathBuf {
        let configured = match &self.config.state {
            None => None,
            Some(StateConfig::Folder(folder)) => Some(folder),
            Some(StateConfig::Full(state)) => state.dir.as_ref(),
        };
        match (given, configured) {
            (Some(given), _) => cwd.join(given),
            (None, Some(folder)) => self.root.join(folder),
            (None, None) => self.root.join(".nlrun"),
        }
    }

    /// Returns how the store is opened.
    pub fn store_options(&self) -> crate::store::Options {
        let max_size = match &self.config.state {
            Some(StateConfig::Full(state)) => state.max_size,
            Some(StateConfig::Folder(_)) | None => None,
        };
        crate::store::Options { max_size }
    }

    /// Returns the inventory's path, when there is one.
    pub fn inventory(&self, given: Option<&Path>, cwd: &Path) -> Option<PathBuf> {
        match (given, &self.config.inventory) {
            (Some(given), _) => Some(cwd.join(given)),
            (None, Some(path)) => Some(self.root.join(path)),
            (None, None) => Some(self.root.join("inventory")).filter(|path| path.exists()),
        }
    }

    /// Finds a runbook by path, or by name below `runbooks/`; returns its path relative to the project.
    pub fn runbook(&self, name: &str, cwd: &Path) -> Result<String, ProjectError> {
        let mut tried = Vec::new();
        let below = self.root.join("runbooks");
        let mut places =
            [cwd.join(name), self.root.join(name), below.join(name), below.join(format!("{name}.rhai"))];
        if !name.contains(['/', '.']) {
            // A bare word is a name: some other file here may be called the same.
            places.reverse();
        }
        for path in places {
            if path.is_file() {
                let read = |source| ProjectError::Read { path: path.clone(), source };
                let real = path.canonicalize().map_err(read)?;
                let inside = real.strip_prefix(&self.root);
                let inside = inside.map_err(|_| ProjectError::Outside(real.clone(), self.root.clone()))?;
                return Ok(inside.to_string_lossy().into_owned());
            }
            tried.push(path.strip_prefix(&self.root).unwrap_or(&path).display().to_string());
        }
        tried.dedup();
        let names: Vec<String> = self.runbooks();
        let stems = names.iter().map(|path| path.trim_start_matches("runbooks/").trim_end_matches(".rhai"));
        let stem = name.trim_start_matches("runbooks/").trim_end_matches(".rhai");
        let near = crate::model::nearest::nearest(stem, stems).map(str::to_owned);
        Err(ProjectError::NoRunbook { name: name.to_owned(), tried, near })
    }

    /// Lists the scripts below `runbooks/`, relative to the project, sorted.
    pub fn runbooks(&self) -> Vec<String> {
        scripts(&self.root, &self.root.join("runbooks"))
    }
}

/// Lists the scripts below a folder, relative to `root`, sorted.
pub fn scripts(root: &Path, folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rhai") {
                found.push(path.strip_prefix(root).unwrap_or(&path).display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("12", Some(12)),
            ("2GiB", Some(2 << 30)),
            ("500 M", Some(500 << 20)),
            ("x", None),
            ("5 bananas", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
