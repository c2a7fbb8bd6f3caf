//! `server:` in `nlrun.yaml`: what `nlrun serve` needs to know.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::model::duration;
use crate::model::network::Network;
use crate::model::role::Role;
use crate::model::schedule::Limits;
use crate::service::identity::settings::{Lifetimes, OidcSettings, Requests, RoleGrants, TlsFiles};
use crate::service::{Allowance, GitLabSettings, parse_size};

/// Where the server listens when nothing is said: only this machine reaches it.
pub const LISTEN: &str = "127.0.0.1:7766";

/// What the server needs to know; every key is optional, unknown keys are errors.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address and port to listen on; `127.0.0.1:7766` by default.
    pub listen: Option<String>,
    /// How people reach the server, such as `https://nlrun.example.net`; links in messages begin with it.
    pub url: Option<String>,
    /// Queues by name, with the number of runs that run at once in each.
    pub queues: BTreeMap<String, usize>,
    /// Locks that several runs may hold at once, with how many.
    pub locks: BTreeMap<String, usize>,
    /// What one run may use.
    pub limits: RunLimits,
    /// The repository that the server follows; without one it runs the folder that it was started in.
    pub project: Option<crate::world::repository::Settings>,
    /// Who is told what needs somebody.
    pub notify: crate::world::notify::config::Config,
    /// Who may read `/metrics`, and where.
    pub metrics: Metrics,
    /// The certificate that the server shows; without one it speaks HTTP, for a proxy or for this machine.
    pub tls: Option<TlsFiles>,
    /// Addresses of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<Network>,
    /// How long people stay signed in.
    pub sessions: Lifetimes,
    /// How much one caller may ask for.
    pub requests: Requests,
    /// How long a client may take.
    pub patience: Patience,
    /// What each role may run, where nothing more is said of somebody.
    pub roles: BTreeMap<Role, RoleGrants>,
    /// An OpenID Connect provider that people sign in at.
    pub oidc: Option<OidcSettings>,
    /// GitLab: whose pipelines come in, whose webhooks are taken, and who may order what in a merge request.
    pub gitlab: GitLabSettings,
}

/// Who may read `/metrics`, and where.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Whether anybody may who reaches it; otherwise a token of a viewer is asked for.
    pub open: bool,
    /// Address and port of a listener of its own, where no token is asked for; it also has `/healthz` and `/readyz`.
    pub listen: Option<String>,
}

/// How long a client may take; one that takes longer loses its connection.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Patience {
    /// Until the head of a request is there, also of the next one on the same connection; 30 s by default.
    #[serde(deserialize_with = "time")]
    pub head: Duration,
    /// Until the body of a request is there; 60 s by default.
    #[serde(deserialize_with = "time")]
    pub body: Duration,
    /// Until it takes more of an answer that waits for it; 60 s by default.
    #[serde(deserialize_with = "time")]
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { head: minute / 2, body: minute, answer: minute }
    }
}

/// What one run may use.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunLimits {
    /// Memory that its process may reserve, in bytes.
    #[serde(deserialize_with = "bytes")]
    pub memory: u64,
    /// Open files.
    pub files: u64,
    /// How long it waits for locks of other runs.
    #[serde(deserialize_with = "time")]
    pub lock_wait: Duration,
}

impl Default for RunLimits {
    fn default() -> Self {
        let usual = Allowance::default();
        Self {
            memory: usual.memory << 20,
            files: usual.files,
            lock_wait: Duration::from_secs(usual.lock_wait),
        }
    }
}

impl Settings {
    /// Returns what runs may use.
    pub fn allowance(&self) -> Allowance {
        Allowance {
            limits: Limits { slots: self.queues.clone(), locks: self.locks.clone(), ..Limits::default() },
            memory: self.limits.memory >> 20,
            files: self.limits.files,
            lock_wait: self.limits.lock_wait.as_secs(),
        }
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_size(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not a size such as `4GiB`")))
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration::parse(&text).map_err(D::Error::custom)
}
