//! How far a schedule has been decided: the one thing about it that must outlive a crash.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::definition::{Revision, Schedule};

/// How far a schedule has been decided.
///
/// It moves in the transaction that records the decisions, and only there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last instant that was decided: run, skipped, missed or blocked. Nothing at or before it is decided again.
    pub at: Timestamp,
    /// The definition that it belongs to.
    pub revision: Revision,
    /// How many runs it has queued.
    #[serde(default)]
    pub runs: u64,
    /// How many instants in a row did not become a run.
    #[serde(default)]
    pub missed: u64,
    /// Why it stands still, when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// When somebody let it go on: failures before that do not count towards the next pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Timestamp>,
    /// An instant that a calendar has put off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<Deferred>,
}

/// Why a schedule stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Why: who paused it, or how often it failed.
    pub why: String,
}

/// An instant that a calendar has put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferred {
    /// The instant.
    pub scheduled_at: Timestamp,
    /// When it may run.
    pub until: Timestamp,
}

impl Cursor {
    /// Makes the cursor of a schedule that is new: nothing fires for the past.
    pub fn new(schedule: &Schedule, now: Timestamp) -> Self {
        Self {
            at: now,
            revision: schedule.revision().clone(),
            runs: 0,
            missed: 0,
            paused: None,
            resumed: None,
            deferred: None,
        }
    }

    /// Sets it to an instant, because a person said so or the clock jumped; nothing up to there fires.
    #[must_use]
    pub fn set(self, at: Timestamp) -> Self {
        Self { at, deferred: None, ..self }
    }

    /// Makes the schedule stand still.
    #[must_use]
    pub fn pause(self, since: Timestamp, why: impl Into<String>) -> Self {
        Self { paused: Some(Pause { since, why: why.into() }), ..self }
    }

    /// Lets the schedule go on from now: nothing fires for the time in which it stood still.
    #[must_use]
    pub fn resume(self, now: Timestamp) -> Self {
        Self { at: self.at.max(now), paused: None, resumed: Some(now), ..self }
    }
}
