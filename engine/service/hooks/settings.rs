//! `server.gitlab` in `nlrun.yaml`: whose webhooks are taken, and who may order what in a merge request.

use serde::Deserialize;

use crate::model::capability::Capability;
use crate::model::hook::Access;
use crate::model::order::DEFAULT_QUEUE;
use crate::model::secret::SecretName;

/// Whose webhooks are taken, and what they may cause.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The path of the project whose events are taken, such as `infra/nl`.
    pub project: String,
    /// The secret token of the webhook, which GitLab sends along.
    pub webhook_token: Option<SecretName>,
    /// The signing token of the webhook, by which GitLab signs.
    pub signing_token: Option<SecretName>,
    /// Whether an event without a signature is refused.
    #[serde(default)]
    pub require_signature: bool,
    /// What notes of merge requests may order; nothing when absent.
    pub notes: Option<Notes>,
}

/// What `nlrun plan` and `nlrun apply` may do in a note of a merge request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notes {
    /// The least access level of whoever asks for a plan.
    #[serde(default = "developer")]
    pub plan: Access,
    /// The least access level of whoever has a plan applied.
    #[serde(default = "maintainer")]
    pub apply: Access,
    /// Globs of the runbooks that may be named; all when empty.
    #[serde(default)]
    pub runbooks: Vec<String>,
    /// What plans and their runs may do. The runbooks are those of the branch, and nobody has reviewed them.
    pub grants: Vec<Capability>,
    /// The queue.
    #[serde(default = "usual")]
    pub queue: String,
}

fn developer() -> Access {
    Access::Developer
}

fn maintainer() -> Access {
    Access::Maintainer
}

fn usual() -> String {
    DEFAULT_QUEUE.to_owned()
}
