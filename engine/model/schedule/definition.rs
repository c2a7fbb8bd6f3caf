//! A schedule as the rest of the program sees it: everything is read, checked and has its default.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::policy::{Blocked, JitterMode, Misfire, Notify, Overlap, StaleSync};
use super::when::When;
use super::zone::Zone;
use crate::model::capability::Capability;
use crate::model::duration;
use crate::model::run::Mode;

/// The longest that an instant may be late by default and still be caught up.
const START_DEADLINE: Duration = Duration::from_secs(3600);

/// One schedule.
///
/// Its serialised form is the canonical one: defaults are written out, and comments, order and notation of the file are
/// gone. [`Revision`] is its hash.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schedule {
    /// Its name in the project: the key in its file, or the file's name.
    pub id: String,
    /// What it is for; may be empty.
    pub doc: String,
    /// The runbook, as `nlrun run` takes it.
    pub runbook: String,
    /// When it fires.
    pub when: When,
    /// The zone of its local times.
    pub tz: Zone,
    /// Parameters of the runbook.
    pub params: BTreeMap<String, Value>,
    /// The inventory, relative to the project, when not the project's own.
    pub inventory: Option<String>,
    /// Plan or apply.
    pub mode: Mode,
    /// Whether it fires at all.
    pub enabled: bool,
    /// What becomes of late instants.
    pub misfire: Misfire,
    /// How late is on time.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// How late an instant may be caught up; by default an hour or half the period, whichever is less.
    #[serde(with = "optional")]
    pub start_deadline: Option<Duration>,
    /// What happens while another run goes on.
    pub overlap: Overlap,
    /// Which runs count as another run; the schedule's own when nothing is written.
    pub overlap_key: Option<String>,
    /// How many may wait with `overlap: queue_all`.
    pub queue_limit: u32,
    /// The queue.
    pub queue: String,
    /// Which run of a queue starts first: 0 to 100, the higher before the lower.
    pub priority: u8,
    /// Locks that a run holds besides those of its runbook, in the order in which they are taken.
    pub locks: Vec<String>,
    /// Up to how much later than the instant it fires.
    #[serde(with = "duration")]
    pub jitter: Duration,
    /// How the shift is chosen.
    pub jitter_mode: JitterMode,
    /// Calendars in which it does not fire.
    pub not_in: Vec<String>,
    /// Calendars outside of which it does not fire.
    pub only_in: Vec<String>,
    /// What becomes of a blocked instant.
    pub blocked: Blocked,
    /// Whether calendars block manual runs, too.
    pub hard: bool,
    /// The first instant that counts.
    pub from: Option<Timestamp>,
    /// The instant from which on none counts.
    pub until: Option<Timestamp>,
    /// It is over after this many runs.
    pub max_runs: Option<u64>,
    /// It is over after this many successes.
    pub max_successes: Option<u64>,
    /// It pauses after this many failures in a row.
    pub pause_after_failures: Option<u64>,
    /// An instant is skipped when a run succeeded no longer ago than this.
    #[serde(with = "optional")]
    pub skip_if_successful_since: Option<Duration>,
    /// The branch, tag or commit of the project.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// How old the last fetch of the project may be.
    #[serde(with = "optional")]
    pub max_sync_age: Option<Duration>,
    /// What happens when it is older.
    pub stale_sync: StaleSync,
    /// What its runs may do, within the runbook's `NEEDS`; all of these when nothing is written.
    pub grants: Option<Vec<Capability>>,
    /// How long it may go without success.
    #[serde(with = "optional")]
    pub stale_after: Option<Duration>,
    /// Who is told what.
    pub notify: Notify,
    #[serde(skip)]
    pub(super) revision: Revision,
}

/// A hash of a definition, in lower-case hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub String);

/// What makes a run of a schedule unique: a hash of the schedule, its revision and the instant, in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunKey(pub String);

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Schedule {
    /// Computes the revision anew.
    pub(super) fn sealed(mut self) -> Self {
        let text = serde_json::to_string(&self).expect("a definition is plain data");
        self.revision = Revision(hex(&Sha256::digest(text)));
        self
    }

    /// Returns the hash of the definition.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Returns the key of the run of an instant: at most one run has it, across restarts and processes.
    pub fn key(&self, instant: Timestamp) -> RunKey {
        let Self { id, revision, .. } = self;
        RunKey(hex(&Sha256::digest(format!("{id}\n{revision}\n{}", instant.as_nanosecond()))))
    }

    /// Returns the first instant after another within `from` and `until`, before any jitter.
    ///
    /// Strictly increasing, and pure: what the scheduler fires at and what a preview shows are the same.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let before_first = self.from.and_then(|from| from.checked_sub(SignedDuration::from_nanos(1)).ok());
        let after = before_first.map_or(after, |first| first.max(after));
        self.when.next(after).filter(|next| self.until.is_none_or(|until| *next < until))
    }

    /// Returns when an instant fires: shifted by the jitter, but not as far as the next instant.
    pub fn due(&self, instant: Timestamp) -> Timestamp {
        if self.jitter.is_zero() {
            return instant;
        }
        let gap =
            self.when.next(instant).and_then(|next| Duration::try_from(next.duration_since(instant)).ok());
        let span = gap.map_or(self.jitter, |gap| gap.min(self.jitter));
        let seed = match self.jitter_mode {
            JitterMode::Stable => self.id.clone(),
            JitterMode::Fresh => format!("{}\n{}", self.id, instant.as_nanosecond()),
        };
        let hash = Sha256::digest(seed);
        let share = hash.iter().take(8).fold(0_u128, |share, byte| share << 8 | u128::from(*byte));
        let milliseconds = (share * span.as_millis()) >> 64;
        instant.checked_add(SignedDuration::from_millis(milliseconds as i64)).unwrap_or(instant)
    }

    /// Returns how late an instant may be and still be caught up.
    pub fn deadline(&self, instant: Timestamp) -> Duration {
        self.start_deadline.unwrap_or_else(|| {
            let next = self.when.next(instant);
            let period = next.and_then(|next| Duration::try_from(next.duration_since(instant)).ok());
            period.map_or(START_DEADLINE, |period| (period / 2).min(START_DEADLINE))
        })
    }

    /// Returns the name under which runs overlap.
    pub fn overlap_key(&self) -> &str {
        self.overlap_key.as_deref().unwrap_or(&self.id)
    }

    /// Returns the next instants after one, each with the time at which it fires.
    pub fn upcoming(&self, after: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let first = if self.enabled { self.next(after) } else { None };
        std::iter::successors(first, |last| self.next(*last)).map(|instant| (instant, self.due(instant)))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

/// Optional lengths of time as text.
mod optional {
    use std::time::Duration;

    use serde::Serializer;

    use crate::model::duration;

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        length: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match length {
            None => serializer.serialize_none(),
            Some(length) => serializer.serialize_some(&duration::text(*length)),
        }
    }
}
