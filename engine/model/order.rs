//! An order: what somebody asked for when a run was queued, before anything of it is read or checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::given::Given;
use crate::model::run::{Mode, RunId, Trigger};

/// The queue of what names none.
pub const DEFAULT_QUEUE: &str = "default";

/// The priority of what names none.
pub const USUAL_PRIORITY: u8 = 50;

fn usual() -> u8 {
    USUAL_PRIORITY
}

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The runbook: its path in the project, or its name.
    pub runbook: String,
    /// Parameters as they came; secrets by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Given>,
    /// Plan or apply.
    pub mode: Mode,
    /// Who or what asks.
    pub trigger: Trigger,
    /// What the trigger may do, as capabilities; nothing when empty.
    pub grants: Vec<String>,
    /// The queue that it waits in; each has its slots.
    pub queue: String,
    /// Which of those that wait goes first: 0 to 100, the higher before the lower.
    #[serde(default = "usual")]
    pub priority: u8,
    /// Whether it waits for every run before it with the same overlap key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
    /// Whether it makes up for time in which the server did nothing: few such runs go on at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub catch_up: bool,
    /// Branch, tag or commit of the project; the one that the server follows when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The planned run that is applied exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<RunId>,
    /// Locks that it holds from start to end, besides those of the runbook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<String>,
    /// When it is given up, if it was not started by then: microseconds since 1970, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<i64>,
}
