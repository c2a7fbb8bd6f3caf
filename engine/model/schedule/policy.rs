//! What a schedule does with an instant that cannot simply become a run.

use serde::{Deserialize, Serialize};

/// What becomes of instants that are later than `grace`, because the server was down or its clock was wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// They are missed.
    #[default]
    Skip,
    /// One run for the newest of them, unless an instant that is on time runs anyway.
    Once,
    /// A run for each, oldest first, one after the other; the first hundred of them.
    All,
}

/// What happens when an instant comes while a run of the same overlap key has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The instant is skipped.
    #[default]
    Skip,
    /// It waits; a newer one takes its place.
    QueueOne,
    /// It waits behind the others, up to `queue_limit` of them.
    QueueAll,
    /// What runs is cancelled, and then it starts.
    CancelRunning,
    /// It starts beside the others.
    Allow,
}

/// What becomes of an instant that a calendar blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocked {
    /// It is not run.
    #[default]
    Skip,
    /// The newest one runs when the calendar allows it again.
    DeferToEnd,
}

/// How the shift of `jitter` is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JitterMode {
    /// The same for every instant of a schedule.
    #[default]
    Stable,
    /// Another one for every instant.
    Fresh,
}

/// What happens when the project was not fetched for longer than `max_sync_age`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaleSync {
    /// The run fails.
    #[default]
    Fail,
    /// The last known commit runs.
    RunLastGood,
}

/// Who is told what: names of targets of notifications, by occasion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// A run failed.
    pub failure: Vec<String>,
    /// A run succeeded after one that failed.
    pub recovery: Vec<String>,
    /// An instant did not become a run.
    pub missed: Vec<String>,
    /// There was no success for `stale_after`.
    pub stale: Vec<String>,
}
