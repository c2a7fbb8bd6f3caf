//! When a schedule fires: a cron entry in a zone, every so often, or at given instants.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::cron::{Cron, LONGEST_GAP};
use super::zone::Zone;
use crate::model::duration;

/// What a cron entry means on a day on which the clock is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dst {
    /// A spacing: nothing is made up after a gap, and both passes of a fold count.
    Elapsed,
    /// A time of day: what falls into a gap fires once right after it, and a fold counts once.
    Wall,
}

/// When a schedule fires, without its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// At the civil times that a cron entry names.
    Cron {
        /// The entry.
        cron: Cron,
        /// Whose civil time.
        tz: Zone,
        /// What it means on days on which the clock is moved.
        dst: Dst,
    },
    /// At whole multiples of a length of time from an anchor, in elapsed time.
    Every {
        /// The length, at least a second.
        #[serde(with = "duration")]
        every: Duration,
        /// An instant of the series; it goes on before and after it.
        anchor: Timestamp,
    },
    /// At given instants, sorted.
    At {
        /// The instants.
        at: Vec<Timestamp>,
    },
}

/// How far back a transition may still make the clock show a time again: no clock was ever moved by more than a day.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(50);

impl When {
    /// Makes a cron entry's `When`; what it means on days with moved clocks follows from its first two fields.
    pub fn cron(cron: Cron, tz: Zone, dst: Option<Dst>) -> Self {
        let dst = dst.unwrap_or(if cron.is_interval_like() { Dst::Elapsed } else { Dst::Wall });
        Self::Cron { cron, tz, dst }
    }

    /// Returns the first instant after another at which it fires, to the second or, with `every`, the millisecond.
    ///
    /// A pure function of the definition, the tz database and the instant; strictly increasing. `None` when nothing
    /// follows: after the last of the given instants, and at the end of time.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { cron, tz, dst } => next_civil(cron, tz, *dst, after),
            Self::Every { every, anchor } => next_multiple(*every, *anchor, after),
            Self::At { at } => at.get(at.partition_point(|instant| *instant <= after)).copied(),
        }
    }

    /// Returns the time from the instant after `after` to the one behind it.
    pub fn period(&self, after: Timestamp) -> Option<Duration> {
        if let Self::Every { every, .. } = self {
            return Some(*every);
        }
        let first = self.next(after)?;
        Duration::try_from(self.next(first)?.duration_since(first)).ok()
    }
}

fn next_multiple(every: Duration, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
    let length = i128::try_from(every.as_nanos()).ok().filter(|length| *length > 0)?;
    let passed = after.as_nanosecond() - anchor.as_nanosecond();
    let next = anchor.as_nanosecond() + (passed.div_euclid(length) + 1) * length;
    Timestamp::from_nanosecond(next).ok()
}

/// Walks the stretches between two transitions of the zone, in each of which civil time runs evenly.
///
/// `seen` is the greatest civil time that a clock on the wall has shown before the stretch. An entry that means a time
/// of day fires where the clock shows it for the first time, and at the start of a stretch where the clock jumped over it.
fn next_civil(cron: &Cron, zone: &Zone, dst: Dst, after: Timestamp) -> Option<Timestamp> {
    let zone = zone.time_zone();
    let mut offset = zone.to_offset(after);
    let mut start = whole_second(offset.to_datetime(after))?;
    let limit = start.date().checked_add(jiff::Span::new().days(LONGEST_GAP)).ok()?.to_datetime(start.time());
    let mut seen = match dst {
        Dst::Elapsed => DateTime::MIN,
        Dst::Wall => seen_before(zone, after),
    };
    let mut transitions = zone.following(after);
    loop {
        let transition = transitions.next();
        let end = transition
            .as_ref()
            .map_or(limit, |transition| offset.to_datetime(transition.timestamp()).min(limit));
        if let Some(found) = cron.first(start.max(seen), end) {
            return offset.to_timestamp(found).ok();
        }
        let transition = transition.filter(|_| end < limit)?;
        let at = transition.timestamp();
        let moved = transition.offset();
        let shown = moved.to_datetime(at);
        if dst == Dst::Wall {
            seen = seen.max(end);
            if seen < shown && cron.first(seen, shown).is_some() {
                return Some(at);
            }
        }
        (offset, start) = (moved, shown);
    }
}

/// Returns the first whole second after a civil time.
fn whole_second(at: DateTime) -> Option<DateTime> {
    at.with().subsec_nanosecond(0).build().ok()?.checked_add(jiff::Span::new().seconds(1)).ok()
}

/// Returns the greatest civil time that was shown before the stretch of an instant, as far as it can matter.
fn seen_before(zone: &jiff::tz::TimeZone, at: Timestamp) -> DateTime {
    let mut seen = DateTime::MIN;
    // A transition at this very instant is behind it, too.
    let from = at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at);
    for transition in zone.preceding(from) {
        let when = transition.timestamp();
        if at.duration_since(when) > LOOK_BACK {
            break;
        }
        let before: Option<Offset> =
            when.checked_sub(SignedDuration::from_nanos(1)).ok().map(|before| zone.to_offset(before));
        if let Some(before) = before {
            seen = seen.max(before.to_datetime(when));
        }
    }
    seen
}

#[cfg(test)]
#[path = "when_tests.rs"]
mod tests;
