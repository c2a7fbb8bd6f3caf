//! The source `bao` of `nlrun.yaml`, and the places of names in it.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::config::{OneOrigin, at_most_one};
use super::super::key::Origin;

/// A server of secrets: OpenBao, or Vault, which speaks the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What `names` call it, where there are several.
    pub name: Option<String>,
    /// Where it is [default: `BAO_ADDR`, `VAULT_ADDR`].
    pub address: Option<String>,
    /// Its servers, where there are several: the first that is active is asked.
    pub addresses: Vec<String>,
    /// Authorities in PEM, or the file that holds them [default: `BAO_CACERT`, `VAULT_CACERT`].
    pub ca: Option<String>,
    /// The SHA-256 of its certificate.
    pub pin: Option<String>,
    /// The namespace [default: `BAO_NAMESPACE`, `VAULT_NAMESPACE`].
    pub namespace: Option<String>,
    /// What stands before every path that does not begin with `/`: the mount of a secrets engine.
    pub mount: Option<String>,
    /// The version of its KV, where it cannot be asked: 1 or 2.
    pub kv: Option<Kv>,
    /// What stands between the mount and the rest of a path.
    pub prefix: Option<String>,
    /// How to log in.
    pub auth: Auth,
    /// What happens when no server can be used.
    pub on_unreachable: OnUnreachable,
}

/// A version of the engine KV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub enum Kv {
    /// One value a path.
    One,
    /// Versions, and `data/` in every path.
    Two,
}

/// What happens when no server can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnreachable {
    /// The secret has no value.
    #[default]
    Fail,
    /// The next source is asked, with a warning.
    Next,
}

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawAuth")]
pub struct Auth {
    /// With what.
    pub method: Method,
    /// Whether each request carries the login, so that no token is made.
    pub inline: bool,
}

/// With what to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// A token that exists already [default: `BAO_TOKEN`, `VAULT_TOKEN`, `~/.vault-token`].
    Token(Option<Origin>),
    /// A role and its secret.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// Which role.
        role: RoleId,
        /// Its secret; `None` for roles without.
        secret: Option<Origin>,
        /// The path that must have made the secret, if it comes wrapped.
        wrapped: Option<CreationPath>,
    },
    /// A signed token of somebody whom the server trusts, such as GitLab.
    Jwt {
        /// Where the method is mounted.
        mount: String,
        /// Which role; the method's own default when there is none.
        role: Option<String>,
        /// Where the token is.
        token: Origin,
    },
    /// The token of a service account.
    Kubernetes {
        /// Where the method is mounted.
        mount: String,
        /// Which role.
        role: String,
        /// Where the token is.
        token: Origin,
    },
}

/// A role of AppRole: not secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleId {
    /// As it is.
    Plain(String),
    /// Where it is kept.
    Kept(Origin),
}

/// Which path a wrapped secret must come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreationPath {
    /// The `secret-id` of any role of the method.
    OfMethod,
    /// This one.
    Exactly(String),
}

/// The place of one secret: a path, and a field of what is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawEntry")]
pub struct Entry {
    /// Which source, where there are several.
    pub source: Option<String>,
    /// Below mount and prefix; from the top if it begins with `/`.
    pub path: String,
    /// Which field.
    pub field: String,
    /// What is sent to the path, for one that is written to: `pki/issue/web`.
    pub with: Option<Map<String, Value>>,
}

/// A source that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The version of KV is none.
    #[error("`kv` is 1 or 2, not {0}")]
    Kv(u8),
    /// Several ways to log in, or none.
    #[error("give one of `token`, `approle`, `jwt` and `kubernetes`")]
    Methods,
    /// A token needs no login.
    #[error("`inline` goes with `approle`, `jwt` or `kubernetes`")]
    Inline,
    /// Several origins, or none.
    #[error(transparent)]
    Origin(#[from] OneOrigin),
    /// No role, or several.
    #[error("give exactly one of `role_id`, `role_id_file`, `role_id_env` and `role_id_command`")]
    RoleId,
    /// A path for a secret that is not wrapped.
    #[error("`creation_path` goes with `secret_id_wrapped: true`")]
    NotWrapped,
    /// A place without a field.
    #[error("`{0}` is no place: write `PATH#FIELD`")]
    Place(String),
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RawAuth {
    token: Option<RawToken>,
    approle: Option<RawAppRole>,
    jwt: Option<RawJwt>,
    kubernetes: Option<RawKubernetes>,
    inline: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    token_command: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAppRole {
    mount: Option<String>,
    role_id: Option<String>,
    role_id_file: Option<PathBuf>,
    role_id_env: Option<String>,
    role_id_command: Option<Vec<String>>,
    secret_id_file: Option<PathBuf>,
    secret_id_env: Option<String>,
    secret_id_command: Option<Vec<String>>,
    #[serde(default)]
    secret_id_wrapped: bool,
    creation_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJwt {
    mount: Option<String>,
    role: Option<String>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    token_command: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKubernetes {
    mount: Option<String>,
    role: String,
    token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawEntry {
    Short(String),
    Long(LongEntry),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongEntry {
    source: Option<String>,
    path: String,
    field: String,
    with: Option<Map<String, Value>>,
}

impl Config {
    /// Returns the addresses of the configuration, in order.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.address.iter().chain(&self.addresses).map(String::as_str)
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self { method: Method::Token(None), inline: false }
    }
}

impl TryFrom<u8> for Kv {
    type Error = Wrong;

    fn try_from(version: u8) -> Result<Self, Wrong> {
        match version {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            other => Err(Wrong::Kv(other)),
        }
    }
}

impl TryFrom<RawAuth> for Auth {
    type Error = Wrong;

    fn try_from(raw: RawAuth) -> Result<Self, Wrong> {
        let inline = raw.inline;
        let method =
            match (raw.token, raw.approle, raw.jwt, raw.kubernetes) {
                (None, None, None, None) => Method::Token(None),
                (Some(raw), None, None, None) => {
                    Method::Token(at_most_one("token", raw.token_file, raw.token_env, raw.token_command)?)
                }
                (None, Some(raw), None, None) => approle(raw)?,
                (None, None, Some(raw), None) => {
                    let origin = at_most_one("token", raw.token_file, raw.token_env, raw.token_command)?;
                    Method::Jwt {
                        mount: raw.mount.unwrap_or_else(|| "jwt".to_owned()),
                        role: raw.role,
                        token: origin.unwrap_or_else(|| Origin::Env("VAULT_ID_TOKEN".to_owned())),
                    }
                }
                (None, None, None, Some(raw)) => Method::Kubernetes {
                    mount: raw.mount.unwrap_or_else(|| "kubernetes".to_owned()),
                    role: raw.role,
                    token: Origin::File(raw.token_file.unwrap_or_else(|| {
                        PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount/token")
                    })),
                },
                _ => return Err(Wrong::Methods),
            };
        if inline && matches!(method, Method::Token(_)) {
            return Err(Wrong::Inline);
        }
        Ok(Self { method, inline })
    }
}

fn approle(raw: RawAppRole) -> Result<Method, Wrong> {
    let kept = at_most_one("role_id", raw.role_id_file, raw.role_id_env, raw.role_id_command)?;
    let role = match (raw.role_id, kept) {
        (Some(plain), None) => RoleId::Plain(plain),
        (None, Some(origin)) => RoleId::Kept(origin),
        (None, None) | (Some(_), Some(_)) => return Err(Wrong::RoleId),
    };
    let wrapped = match (raw.secret_id_wrapped, raw.creation_path) {
        (true, Some(path)) => Some(CreationPath::Exactly(path)),
        (true, None) => Some(CreationPath::OfMethod),
        (false, None) => None,
        (false, Some(_)) => return Err(Wrong::NotWrapped),
    };
    Ok(Method::AppRole {
        mount: raw.mount.unwrap_or_else(|| "approle".to_owned()),
        role,
        secret: at_most_one("secret_id", raw.secret_id_file, raw.secret_id_env, raw.secret_id_command)?,
        wrapped,
    })
}

impl TryFrom<RawEntry> for Entry {
    type Error = Wrong;

    fn try_from(raw: RawEntry) -> Result<Self, Wrong> {
        match raw {
            RawEntry::Short(text) => match text.rsplit_once('#') {
                Some((path, field)) if !path.is_empty() && !field.is_empty() => {
                    Ok(Self { source: None, path: path.to_owned(), field: field.to_owned(), with: None })
                }
                _ => Err(Wrong::Place(text)),
            },
            RawEntry::Long(LongEntry { source, path, field, with }) => Ok(Self { source, path, field, with }),
        }
    }
}
