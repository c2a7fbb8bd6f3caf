//! `server.gitlab` in `nlrun.yaml`: whose pipelines come in, whose webhooks are taken, and who may order what in a merge request.

use serde::Deserialize;

use crate::model::capability::Capability;
use crate::model::hook::Access;
use crate::model::order::DEFAULT_QUEUE;
use crate::model::secret::SecretName;
use crate::service::identity::settings::IdTokenSettings;

/// GitLab: its pipelines, and what its events may cause. Every key is optional.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whose pipelines may come in with an ID token.
    pub id_tokens: Option<IdTokenSettings>,
    /// The path of the project whose events are taken, such as `infra/nl`; without one there are no webhooks.
    pub project: Option<String>,
    /// The secret token of the webhook, which GitLab sends along.
    pub webhook_token: Option<SecretName>,
    /// The signing token of the webhook, by which GitLab signs.
    pub signing_token: Option<SecretName>,
    /// Whether an event without a signature is refused.
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
