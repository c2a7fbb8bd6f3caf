//! What becomes of instants: the rows that the store keeps, and why.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::definition::RunKey;
use crate::model::duration;
use crate::model::run::RunId;

/// What becomes of one instant, or of many with the same fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// A run is queued.
    Run(Queued),
    /// No run, now or ever, or not yet.
    Undelivered(Undelivered),
    /// The schedule stands still from here on; somebody has to look.
    Pause {
        /// Why.
        why: String,
    },
}

/// A run to queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// What makes it unique; a store refuses a second run with it.
    pub key: RunKey,
    /// The instant, before any jitter.
    pub scheduled_at: Timestamp,
    /// When it was to fire: the instant with its jitter, or the end of what blocked it.
    pub due_at: Timestamp,
    /// How much later than that it is queued.
    #[serde(with = "duration")]
    pub lateness: Duration,
    /// Whether it makes up for time in which nothing was decided: such runs are limited over all schedules.
    pub catch_up: bool,
    /// How many instants before it did not become a run, since the last one that did.
    pub missed_count: u64,
    /// Whether it waits until every run before it with the same overlap key has ended.
    pub behind: bool,
    /// Waiting runs whose place it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<RunId>,
    /// Runs that are cancelled for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancels: Vec<RunId>,
}

/// Instants that did not become a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// What they are instead.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them; the same when it is one.
    pub last: Timestamp,
    /// How many; an estimate with [`Reason::NotCounted`].
    pub count: u64,
}

/// What an instant without a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody was there in time.
    Missed,
    /// Another run had not ended.
    SkippedOverlap,
    /// A run had succeeded recently.
    SkippedSuccess,
    /// A calendar said no.
    BlockedCalendar,
    /// The schedule stood still.
    Paused,
    /// A calendar says not yet; another decision about the same instant follows.
    Deferred,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Missed,
        Self::SkippedOverlap,
        Self::SkippedSuccess,
        Self::BlockedCalendar,
        Self::Paused,
        Self::Deferred,
    ];

    /// Returns the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::SkippedOverlap => "skipped_overlap",
            Self::SkippedSuccess => "skipped_success",
            Self::BlockedCalendar => "blocked_calendar",
            Self::Paused => "paused",
            Self::Deferred => "deferred",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_str().replace('_', " "))
    }
}

/// Why an instant did not become a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Late, and the policy makes up for nothing.
    Late {
        /// What would have been on time.
        #[serde(with = "duration")]
        grace: Duration,
    },
    /// Too late even to be made up for.
    TooLate {
        /// What would have been early enough.
        #[serde(with = "duration")]
        deadline: Duration,
    },
    /// A newer instant runs, and one run makes up for all.
    Newer,
    /// More than are caught up.
    TooMany {
        /// How many are.
        most: u64,
    },
    /// The time without a decision was so long that the instants in it were not looked at one by one.
    NotCounted,
    /// A calendar was edited or a schedule was, so that the instant has no place any more.
    Edited,
    /// Another run with the same overlap key had not ended.
    Overlap {
        /// The key.
        key: String,
    },
    /// As many as may were waiting.
    QueueFull {
        /// How many.
        most: u32,
    },
    /// A newer instant took its place in the queue.
    Replaced,
    /// Inside of a calendar.
    Inside {
        /// Its name.
        calendar: String,
        /// What the calendar says; may be empty.
        what: String,
        /// When it ends, where that is in sight.
        until: Option<Timestamp>,
    },
    /// Outside of all calendars in which it may run.
    Outside {
        /// When one of them begins, where that is in sight.
        until: Option<Timestamp>,
    },
    /// A calendar that the schedule names is not there.
    NoCalendar {
        /// Its name.
        calendar: String,
    },
    /// A run had succeeded recently.
    Successful {
        /// How recently is recent.
        #[serde(with = "duration")]
        within: Duration,
    },
    /// The schedule stood still.
    Paused {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until =
            |until: &Option<Timestamp>| until.map(|until| format!(" until {until}")).unwrap_or_default();
        match self {
            Self::Late { grace } => write!(f, "later than {}", duration::text(*grace)),
            Self::TooLate { deadline } => {
                write!(f, "later than {}, too late to catch up", duration::text(*deadline))
            }
            Self::Newer => write!(f, "a newer instant runs in its place"),
            Self::TooMany { most } => write!(f, "only {most} are caught up"),
            Self::NotCounted => write!(f, "too long ago to be looked at one by one"),
            Self::Edited => write!(f, "the definition has changed"),
            Self::Overlap { key } => write!(f, "a run of `{key}` had not ended"),
            Self::QueueFull { most } => write!(f, "{most} runs were waiting"),
            Self::Replaced => write!(f, "a newer instant took its place in the queue"),
            Self::Inside { calendar, what, until: end } if what.is_empty() => {
                write!(f, "in calendar `{calendar}`{}", until(end))
            }
            Self::Inside { calendar, what, until: end } => {
                write!(f, "in calendar `{calendar}` ({what}){}", until(end))
            }
            Self::Outside { until: begin } => write!(f, "outside of its calendars{}", until(begin)),
            Self::NoCalendar { calendar } => write!(f, "there is no calendar `{calendar}`"),
            Self::Successful { within } => write!(f, "a run succeeded within {}", duration::text(*within)),
            Self::Paused { why } => write!(f, "paused: {why}"),
        }
    }
}
