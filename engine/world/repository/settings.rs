//! `server.project` in `nlrun.yaml`: the repository that the project comes from, and that a server follows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::model::duration;
use crate::model::schedule::StaleSync;
use crate::model::secret::{Secret, SecretName};
use crate::world::repository::{Author, Login, Remote, Scheme, Sealed};
use crate::world::secrets::Place;

/// The shortest time between two fetches.
const LEAST: Duration = Duration::from_secs(5);
/// The usual time between two fetches.
const USUAL: Duration = Duration::from_secs(60);
/// How long one fetch or push may take, unless `timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The repository that the project comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Settings {
    /// Where it is.
    pub remote: Remote,
    /// The branch whose newest commit runs, and whose schedules are in force.
    pub branch: String,
    /// The time between two fetches.
    pub every: Duration,
    /// How long one fetch or push may take.
    pub timeout: Duration,
    /// Who asks.
    pub login: LoginSettings,
    /// The file with the server's host keys, for SSH; `~/.ssh/known_hosts` by default.
    pub known_hosts: Option<PathBuf>,
    /// A file with the authorities whose certificates are accepted, for HTTPS; the machine's by default.
    pub ca: Option<PathBuf>,
    /// How long ago the last fetch that went well may be.
    pub max_sync_age: Option<Duration>,
    /// What happens to a run when it is longer ago.
    pub stale_sync: StaleSync,
    /// Whether a commit has to be signed.
    pub verify: Verify,
    /// The keys that may sign, as `ssh-keygen` reads them (its manual: ALLOWED SIGNERS).
    pub allowed_signers: Option<PathBuf>,
    /// In whose name commits are made.
    pub committer: Author,
}

/// Who asks the remote repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginSettings {
    /// Nobody in particular.
    None,
    /// The holder of a key for SSH, in a file.
    KeyFile(PathBuf),
    /// The holder of a key for SSH, which is a secret.
    Key(SecretName),
    /// A user with a token, which is a secret.
    Token {
        /// The user; GitLab takes any name.
        user: String,
        /// The secret.
        token: SecretName,
    },
}

impl LoginSettings {
    /// Returns the secret that it takes.
    pub fn secret(&self) -> Option<&SecretName> {
        match self {
            Self::Key(name) | Self::Token { token: name, .. } => Some(name),
            Self::None | Self::KeyFile(_) => None,
        }
    }

    /// Returns who asks, with what the secret is now.
    pub fn with(&self, secret: Option<&Secret>, place: &Place) -> Result<Login, String> {
        let sealed = |result: std::io::Result<Sealed>| result.map_err(|error| error.to_string());
        Ok(match (self, secret) {
            (Self::None, _) => Login::None,
            (Self::KeyFile(path), _) => Login::KeyFile(place.path(path)),
            (Self::Key(_), Some(secret)) => Login::Key(sealed(Sealed::key(secret.expose()))?),
            (Self::Token { user, .. }, Some(secret)) => {
                let text = secret.expose_str().map_err(|error| error.to_string())?;
                Login::Token(sealed(Sealed::login(user, text.trim_end()))?)
            }
            (Self::Key(name) | Self::Token { token: name, .. }, None) => {
                return Err(format!("the secret `{name}` is not there"));
            }
        })
    }
}

impl Settings {
    /// Returns the file that says which servers are the right ones: host keys for SSH, authorities for HTTPS.
    pub fn trusted(&self, place: &Place, home: &Path) -> Option<PathBuf> {
        match self.remote.scheme() {
            Scheme::Ssh => {
                let own = self.known_hosts.as_ref().map(|path| place.path(path));
                Some(own.unwrap_or_else(|| home.join(".ssh/known_hosts")))
            }
            Scheme::Https => self.ca.as_ref().map(|path| place.path(path)),
            Scheme::Http | Scheme::File => None,
        }
    }
}

/// Whether a commit has to be signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// It need not.
    #[default]
    None,
    /// By a key of `allowed_signers`, or by one that this user's keys of GnuPG vouch for.
    Signed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: String,
    branch: Option<String>,
    #[serde(default, deserialize_with = "time")]
    every: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    timeout: Option<Duration>,
    key_file: Option<PathBuf>,
    key: Option<SecretName>,
    user: Option<String>,
    token: Option<SecretName>,
    known_hosts: Option<PathBuf>,
    ca: Option<PathBuf>,
    #[serde(default, deserialize_with = "time")]
    max_sync_age: Option<Duration>,
    #[serde(default)]
    stale_sync: StaleSync,
    #[serde(default)]
    verify: Verify,
    allowed_signers: Option<PathBuf>,
    committer: Option<String>,
}

impl TryFrom<Raw> for Settings {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let remote = Remote::parse(&raw.url).map_err(|error| error.to_string())?;
        let is_ssh = remote.scheme() == Scheme::Ssh;
        let login = match (raw.key_file, raw.key, raw.token, raw.user) {
            (None, None, None, None) => LoginSettings::None,
            (Some(file), None, None, None) if is_ssh => LoginSettings::KeyFile(file),
            (None, Some(key), None, None) if is_ssh => LoginSettings::Key(key),
            (None, None, Some(token), user) if matches!(remote.scheme(), Scheme::Https | Scheme::Http) => {
                LoginSettings::Token { user: user.unwrap_or_else(|| "oauth2".to_owned()), token }
            }
            _ => {
                return Err("a repository by SSH takes `key` (a secret) or `key_file`, one by HTTPS `token` (a secret) with `user`, \
                            and one in a folder none of them"
                    .to_owned());
            }
        };
        if raw.every.is_some_and(|every| every < LEAST) {
            return Err(format!("`every` is at least {}", duration::text(LEAST)));
        }
        if raw.allowed_signers.is_some() && raw.verify == Verify::None {
            return Err("`allowed_signers` says nothing without `verify: signed`".to_owned());
        }
        if raw.known_hosts.is_some() && !is_ssh {
            return Err("`known_hosts` is for a repository by SSH".to_owned());
        }
        if raw.ca.is_some() && remote.scheme() != Scheme::Https {
            return Err("`ca` is for a repository by HTTPS".to_owned());
        }
        let committer = raw.committer.as_deref().unwrap_or("nlrun <nlrun@localhost>");
        Ok(Self {
            remote,
            branch: raw.branch.unwrap_or_else(|| "main".to_owned()),
            every: raw.every.unwrap_or(USUAL),
            timeout: raw.timeout.unwrap_or(TIMEOUT),
            login,
            known_hosts: raw.known_hosts,
            ca: raw.ca,
            max_sync_age: raw.max_sync_age,
            stale_sync: raw.stale_sync,
            verify: raw.verify,
            allowed_signers: raw.allowed_signers,
            committer: author(committer).ok_or_else(|| {
                format!("`{committer}` is no name with an address, such as `nlrun <nlrun@example.net>`")
            })?,
        })
    }
}

/// Reads `NAME <MAIL>`.
pub fn author(text: &str) -> Option<Author> {
    let (name, rest) = text.split_once('<')?;
    let mail = rest.trim_end().strip_suffix('>')?;
    let (name, mail) = (name.trim(), mail.trim());
    (!name.is_empty() && !mail.contains(['<', '>']))
        .then(|| Author { name: name.to_owned(), mail: mail.to_owned() })
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| duration::parse(&text).map_err(D::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::yaml;

    fn read(text: &str) -> Result<Settings, String> {
        yaml::from_str(text, "nlrun.yaml").map_err(|error| error.message)
    }

    #[test]
    fn a_login_fits_its_address() {
        let ssh = read(
            "url: git@host:nl.git\nkey: git/key\nevery: 30s\nmax_sync_age: 1h\nstale_sync: run_last_good",
        )
        .unwrap();
        assert_eq!(ssh.login, LoginSettings::Key("git/key".parse().unwrap()));
        assert_eq!((ssh.branch.as_str(), ssh.every), ("main", Duration::from_secs(30)));
        assert_eq!(ssh.stale_sync, StaleSync::RunLastGood);
        let https = read("url: https://host/nl.git\ntoken: git/token").unwrap();
        assert_eq!(
            https.login,
            LoginSettings::Token { user: "oauth2".to_owned(), token: "git/token".parse().unwrap() }
        );
        for (text, part) in [
            ("branch: main", "url"),
            ("url: https://host/nl.git\nkey: git/key", "HTTPS `token`"),
            ("url: git@host:nl.git\nkey: git/key\nkey_file: x", "`key`"),
            ("url: git@host:nl.git\nevery: 1s", "`every`"),
            ("url: ext::sh -c id", "is not the address"),
            ("url: git@host:nl.git\nallowed_signers: x", "`verify: signed`"),
            ("url: git@host:nl.git\nca: x", "`ca` is for a repository by HTTPS"),
            ("url: git@host:nl.git\nbrnch: main", "brnch"),
            ("url: git@host:nl.git\ncommitter: me", "is no name with an address"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
