//! Why a server gave no secret, told apart as operators need it.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::key;
use crate::model::nearest::nearest;
use crate::world::http;

/// Why a server gave no secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where the server is.
    #[error("no address of OpenBao is known")]
    NoAddress,
    /// An address is none.
    #[error("`{address}` is no address of OpenBao: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The authorities cannot be read.
    #[error("the certificate authorities in `{path}` cannot be read")]
    Ca {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The hash is none, or stands beside authorities.
    #[error("{0}")]
    Trust(String),
    /// A place names a source that is not there, or does not say which.
    #[error("{0}")]
    Which(String),
    /// A path that leads out of its mount.
    #[error("`{0}` is no path of OpenBao")]
    Path(String),
    /// No connection, or none that is trusted, or one that ended early.
    #[error("OpenBao at `{address}` does not answer: {fault}")]
    Unreachable {
        /// Which server.
        address: String,
        /// What was in the way.
        fault: http::Fault,
    },
    /// The server has no key to its storage.
    #[error("OpenBao at `{0}` is sealed")]
    Sealed(String),
    /// Another server is active.
    #[error("OpenBao at `{0}` is a standby")]
    Standby(String),
    /// The server has never been set up.
    #[error("OpenBao at `{0}` is not initialised")]
    Uninitialised(String),
    /// None of several servers can be used.
    #[error("no server of OpenBao can be used: {}", each(.0))]
    NoneActive(Vec<Error>),
    /// Something between here and the server has no answer from it.
    #[error("before OpenBao at `{address}` something answers {status} {}", http::status_words(*status))]
    Gateway {
        /// Which server.
        address: String,
        /// The status.
        status: u16,
    },
    /// The answer leads elsewhere; no token is sent there.
    #[error("OpenBao at `{address}` answers {status} and leads to `{to}`, where no token is sent")]
    Redirected {
        /// Which server.
        address: String,
        /// The status.
        status: u16,
        /// Where to.
        to: String,
    },
    /// What answers is something else.
    #[error("what answers at `{address}` ({status}, {media}) is not OpenBao: {reason}")]
    Stranger {
        /// Which server.
        address: String,
        /// The status.
        status: u16,
        /// What it says to be.
        media: String,
        /// What is odd.
        reason: String,
    },
    /// The server gives no more answers for a while.
    #[error("OpenBao at `{0}` limits how often it is asked, and the limit is reached")]
    Limited(String),
    /// The namespace is not there.
    #[error("OpenBao has no namespace `{0}`")]
    Namespace(String),
    /// Nothing is mounted there.
    #[error("OpenBao has no secrets engine at `{0}` that this login may see")]
    NoMount(String),
    /// The policies do not allow it.
    #[error("OpenBao denies {verb} `{path}` to this login")]
    Denied {
        /// The capability that is missing.
        verb: &'static str,
        /// Which path.
        path: String,
    },
    /// There is nothing at the path.
    #[error("OpenBao has nothing at `{0}`")]
    NoPath(String),
    /// The newest version was deleted.
    #[error("version {version} of `{path}` in OpenBao was deleted ({at})")]
    Deleted {
        /// Which path.
        path: String,
        /// Which version.
        version: u64,
        /// When.
        at: String,
    },
    /// The newest version was destroyed.
    #[error("version {version} of `{path}` in OpenBao was destroyed for good")]
    Destroyed {
        /// Which path.
        path: String,
        /// Which version.
        version: u64,
    },
    /// Somebody else wrote meanwhile.
    #[error(
        "somebody else wrote to `{path}` in OpenBao after version {version} was looked at; nothing was written"
    )]
    Overtaken {
        /// Which path.
        path: String,
        /// The version that was looked at.
        version: u64,
    },
    /// The engine keeps no versions, so that nobody can tell whether somebody else wrote meanwhile.
    #[error("`{0}` in OpenBao is not in KV 2, and nothing else is written to")]
    NoVersions(String),
    /// What is there lacks the field.
    #[error("`{path}` in OpenBao has no field `{field}`{}", listed(known))]
    NoField {
        /// Which path.
        path: String,
        /// Which field.
        field: String,
        /// The fields that are there.
        known: Vec<String>,
    },
    /// The field holds nothing.
    #[error("field `{field}` of `{path}` in OpenBao is null or empty")]
    Null {
        /// Which path.
        path: String,
        /// Which field.
        field: String,
    },
    /// The server refuses otherwise.
    #[error("OpenBao answers {status} to {verb} `{path}`{}", said(words))]
    Refused {
        /// The status.
        status: u16,
        /// What was asked.
        verb: &'static str,
        /// Which path.
        path: String,
        /// What the server said.
        words: String,
    },
    /// What a login needs is not there.
    #[error("{what} for OpenBao cannot be read")]
    Credential {
        /// What is missing.
        what: &'static str,
        /// Why.
        source: key::Error,
    },
    /// The variable that a login needs is not set.
    #[error("{what} for OpenBao is in the variable `{name}`, which is not set")]
    Unset {
        /// What is missing.
        what: &'static str,
        /// Which variable.
        name: String,
    },
    /// What a login needs is not text.
    #[error("{0} for OpenBao is not UTF-8 text")]
    NotText(&'static str),
    /// There is no token.
    #[error("no token for OpenBao: neither `BAO_TOKEN` nor `VAULT_TOKEN` nor `~/.vault-token` has one")]
    NoToken,
    /// The token is not valid.
    #[error(
        "OpenBao does not know the token that it was given: it has expired, was revoked, or is of another server"
    )]
    BadToken,
    /// The login is refused.
    #[error("OpenBao refuses the login by `auth/{mount}`{}", said(words))]
    Login {
        /// Where the method is mounted.
        mount: String,
        /// The status.
        status: u16,
        /// What the server said.
        words: String,
    },
    /// The login wants a second factor.
    #[error("the login by `auth/{0}` wants a second factor, which nobody can give here")]
    SecondFactor(String),
    /// The wrapped secret was taken already.
    #[error("ALARM: the wrapped secret_id was unwrapped before, or has expired: somebody else may have it")]
    Unwrapped,
    /// The wrapped secret is of somebody else.
    #[error("ALARM: the wrapped secret_id was made by `{found}` and not by `{wanted}`; it was not unwrapped")]
    Forged {
        /// Where it comes from.
        found: String,
        /// Where it should come from.
        wanted: String,
    },
    /// An answer lacks what it must have.
    #[error("the answer of OpenBao to `{path}` has no `{lacks}`")]
    Lacks {
        /// Which path.
        path: String,
        /// What is not there.
        lacks: &'static str,
    },
    /// What another question has met a moment ago.
    #[error(transparent)]
    Again(Arc<Error>),
    /// A thread that asked ended early.
    #[error("the question to OpenBao was interrupted")]
    Interrupted,
}

impl Error {
    /// Whether no server could be used, so that nobody knows what it would have said.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Again(error) => error.is_out_of_reach(),
            Self::Unreachable { fault, .. } => {
                !matches!(fault, http::Fault::Tls { .. } | http::Fault::Invalid { .. })
            }
            Self::NoneActive(errors) => errors.iter().all(Self::is_out_of_reach),
            Self::Sealed(_)
            | Self::Standby(_)
            | Self::Uninitialised(_)
            | Self::Gateway { .. }
            | Self::Limited(_) => true,
            _ => false,
        }
    }

    /// Whether the server has answered that there is no such secret.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NoPath(_) | Self::NoField { .. })
    }

    /// Returns what to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Again(error) => return error.hint(),
            Self::NoAddress => "give `address` in nlrun.yaml, or set BAO_ADDR",
            Self::Unreachable {
                fault: http::Fault::Tls { cause: http::TlsCause::Handshake, .. }, ..
            } => "does that port speak TLS? an address without begins with `http://`",
            Self::Unreachable { fault: http::Fault::Tls { .. }, .. } => {
                "`ca` names the authority that signed the server's certificate, `pin` the certificate"
            }
            Self::Unreachable { .. } => "is the address right, and may this machine reach it?",
            Self::Sealed(_) => "somebody with the keys has to unseal it: `bao operator unseal`",
            Self::Standby(_) => {
                "name the other servers in `addresses`, or the address that leads to the active one"
            }
            Self::Uninitialised(_) => "is it the right server? a new one is set up with `bao operator init`",
            Self::NoneActive(_) => "look at each server with `bao status`",
            Self::Gateway { .. } => "the proxy or load balancer before OpenBao does not reach it",
            Self::Redirected { .. } => "if that is the server, give its address in nlrun.yaml",
            Self::Stranger { .. } => "is it the right address and port, or does a proxy answer in its place?",
            Self::Limited(_) => "try again later, or raise the quota: `bao read sys/quotas/rate-limit/NAME`",
            Self::Namespace(_) => "`namespace` in nlrun.yaml, BAO_NAMESPACE and VAULT_NAMESPACE name one",
            Self::NoMount(_) => {
                "`bao secrets list` shows the mounts; a path begins with one, or `mount` names it"
            }
            Self::Denied { verb, path } => {
                return Some(format!(
                    "a policy of the login has to say `path \"{path}\" {{ capabilities = [\"{verb}\"] }}`"
                ));
            }
            Self::NoPath(path) if path.contains("/data/data/") => {
                "leave out `data/` in the path: it is put in where the version of KV wants it"
            }
            Self::NoPath(_) => "`bao kv list` shows what is there",
            Self::Overtaken { .. } => "the next run looks at what is there now",
            Self::NoVersions(_) => "`bao kv enable-versioning MOUNT` makes it KV 2",
            Self::Deleted { path, version, .. } => {
                let path = path.replacen("/data/", "/", 1);
                return Some(format!("`bao kv undelete -versions={version} {path}` brings it back"));
            }
            Self::Destroyed { .. } => "write it anew, or go back to an older one with `bao kv rollback`",
            Self::NoField { field, known, .. } => {
                let near = nearest(field, known.iter().map(String::as_str))?;
                return Some(format!("did you mean the field `{near}`?"));
            }
            Self::Credential { .. } | Self::NotText(_) | Self::Unset { .. } => {
                "`auth` in nlrun.yaml says where it comes from"
            }
            Self::NoToken => "log in with `bao login`, or name another way in `auth`",
            Self::BadToken => "get a new one with `bao login`",
            Self::Login { words, .. } if words == "permission denied" => {
                "is the method mounted there (`bao auth list`), in this namespace, and may the login come from here?"
            }
            Self::Login { words, .. } if words.contains("audience") => {
                "the role's `bound_audiences` must hold the `aud` of the token (GitLab: `id_tokens: … aud:`)"
            }
            Self::Login { words, .. } if words.contains("not yet valid") => {
                "do the clocks of the two machines agree?"
            }
            Self::Login { words, .. } if words.contains("expired") => "the token is too old: get a new one",
            Self::Login { .. } => "is the role spelled as on the server, and may it log in from here?",
            Self::Unwrapped => {
                "take it for stolen: destroy that secret_id on the server and deliver a new one"
            }
            Self::Forged { .. } => {
                "somebody may have replaced it: ask whoever delivered it, or correct `creation_path`"
            }
            Self::Address { .. }
            | Self::Ca { .. }
            | Self::Trust(_)
            | Self::Which(_)
            | Self::Path(_)
            | Self::Null { .. }
            | Self::Refused { .. }
            | Self::SecondFactor(_)
            | Self::Lacks { .. }
            | Self::Interrupted => return None,
        };
        Some(hint.to_owned())
    }
}

fn each(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn listed(known: &[String]) -> String {
    match known {
        [] => ": it has none".to_owned(),
        [only] => format!(": it has only `{only}`"),
        many => format!(": it has `{}`", many.join("`, `")),
    }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}
