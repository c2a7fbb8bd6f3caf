//! What `server:` in `nlrun.yaml` says of who may come in, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::model::bucket::Rate;
use crate::model::capability::Capability;
use crate::model::duration;
use crate::model::role::Role;
use crate::model::secret::SecretName;

/// The certificate that the server shows, as files of PEM; a change of them is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, with those that vouch for it behind it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How long people stay signed in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lifetimes {
    /// How long a session lives that nobody uses.
    #[serde(deserialize_with = "time")]
    pub idle: Duration,
    /// How long a session lives at most.
    #[serde(deserialize_with = "time")]
    pub absolute: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { idle: Duration::from_secs(8 * 3600), absolute: Duration::from_secs(7 * 86_400) }
    }
}

/// How much one caller may ask for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// Requests at once after a quiet time.
    pub burst: u32,
    /// Requests a second in the long run.
    pub per_second: u32,
}

impl Default for Requests {
    fn default() -> Self {
        Self { burst: 1000, per_second: 100 }
    }
}

impl Requests {
    /// Returns it as a rate.
    pub fn rate(&self) -> Rate {
        Rate { burst: f64::from(self.burst.max(1)), per_second: f64::from(self.per_second.max(1)) }
    }
}

/// What somebody may run, where nothing more is said of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleGrants {
    /// Capabilities of their runs; all when empty.
    #[serde(deserialize_with = "capabilities")]
    pub grants: Vec<String>,
    /// Globs of runbooks; all when empty.
    #[serde(deserialize_with = "globs")]
    pub runbooks: Vec<String>,
}

/// An OpenID Connect provider that people sign in at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// The provider, exactly as its tokens name it.
    pub issuer: String,
    /// How the provider calls this server.
    pub client_id: String,
    /// The name of the secret that this server shows there; none for a public client.
    #[serde(default)]
    pub client_secret: Option<SecretName>,
    /// What is asked for; `openid profile email` by default.
    #[serde(default = "usual_scopes")]
    pub scopes: Vec<String>,
    /// A file with the authorities whose certificates are accepted there; the machine's by default.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What makes somebody what they are here.
    pub roles: OidcRoles,
}

fn usual_scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(str::to_owned).to_vec()
}

/// Which role a claim gives. Who has none of them does not come in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcRoles {
    /// The claim, such as `groups`, or `realm_access.roles` where it is nested.
    pub claim: String,
    /// Roles by the values of the claim; who has several gets the one that may most.
    pub map: BTreeMap<String, Role>,
}

/// Which ID tokens of pipelines are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdTokenSettings {
    /// The GitLab, exactly as its tokens name it.
    pub issuer: String,
    /// What the tokens must be meant for: `aud` of `id_tokens` in `.gitlab-ci.yml`.
    pub audience: String,
    /// A file with the authorities whose certificates are accepted there; the machine's by default.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The first one that fits decides; without one that fits nobody comes in.
    #[serde(deserialize_with = "rules")]
    pub rules: Vec<IdTokenRule>,
}

/// Who comes in with an ID token, and what they may do. All that is named must fit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdTokenRule {
    /// The project's number: a path can be given away.
    #[serde(default)]
    pub project_id: Option<u64>,
    /// The number of the group that the project is in.
    #[serde(default)]
    pub namespace_id: Option<u64>,
    /// Whether the branch or tag must be protected; where it need not be, only plans may be asked for.
    #[serde(default = "yes")]
    pub ref_protected: bool,
    /// A glob over the branch or tag.
    #[serde(default, rename = "ref", deserialize_with = "glob")]
    pub reference: Option<String>,
    /// `branch` or `tag`.
    #[serde(default)]
    pub ref_type: Option<String>,
    /// A glob over the environment that the job deploys to.
    #[serde(default, deserialize_with = "glob")]
    pub environment: Option<String>,
    /// Whether that environment must be protected.
    #[serde(default)]
    pub environment_protected: bool,
    /// What started the pipeline, such as `push` or `schedule`.
    #[serde(default)]
    pub pipeline_source: Option<String>,
    /// What they may do; `operator` by default.
    #[serde(default = "operator")]
    pub role: Role,
    /// Capabilities of their runs; those of the role when empty.
    #[serde(default, deserialize_with = "capabilities")]
    pub grants: Vec<String>,
    /// Globs of runbooks; those of the role when empty.
    #[serde(default, deserialize_with = "globs")]
    pub runbooks: Vec<String>,
}

fn yes() -> bool {
    true
}

fn operator() -> Role {
    Role::Operator
}

fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IdTokenRule>, D::Error> {
    let rules = Vec::<IdTokenRule>::deserialize(deserializer)?;
    if rules.iter().any(|rule| rule.project_id.is_none() && rule.namespace_id.is_none()) {
        let wrong = "a rule for ID tokens needs `project_id` or `namespace_id`; else any project of that GitLab \
            would fit";
        return Err(D::Error::custom(wrong));
    }
    Ok(rules)
}

fn capabilities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let found = Vec::<Capability>::deserialize(deserializer)?;
    Ok(found.into_iter().map(String::from).collect())
}

fn globs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let found = Vec::<String>::deserialize(deserializer)?;
    for text in &found {
        globset::Glob::new(text).map_err(D::Error::custom)?;
    }
    Ok(found)
}

fn glob<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    globset::Glob::new(&text).map_err(D::Error::custom)?;
    Ok(Some(text))
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration::parse(&text).map_err(D::Error::custom)
}
