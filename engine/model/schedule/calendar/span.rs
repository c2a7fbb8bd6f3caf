//! Stretches of time that a calendar names: one, or a series of them.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

use super::recurrence::Recurrence;
use crate::model::schedule::when::When;
use crate::model::schedule::zone::Zone;

/// One stretch of time, or a series of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What is said about it; may be empty.
    pub what: String,
    pub(super) series: Series,
}

/// Where stretches begin and end.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Series {
    /// One.
    Once { start: Timestamp, end: Timestamp },
    /// One from each instant of a cron entry on.
    Cron { when: When, length: Duration },
    /// Those of a recurrence rule.
    Recurring(Box<Recurring>),
}

/// A recurring event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recurring {
    pub(super) rule: Recurrence,
    pub(super) zone: Zone,
    pub(super) length: Length,
    /// Starts that are left out.
    pub(super) except: BTreeSet<Timestamp>,
    /// Days on which every start is left out.
    pub(super) except_days: BTreeSet<Date>,
}

/// How long an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// In elapsed time.
    Elapsed(SignedDuration),
    /// Whole days of its zone.
    Days(i32),
}

impl Length {
    /// Returns the instant at which an event ends that begins at a civil time.
    fn end(self, zone: &Zone, start: DateTime) -> Option<Timestamp> {
        match self {
            Self::Elapsed(length) => zone.instant(start)?.checked_add(length).ok(),
            Self::Days(days) => zone.instant(start.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?),
        }
    }

    /// Returns a length that no event of this length exceeds.
    pub(super) fn at_most(self) -> SignedDuration {
        match self {
            Self::Elapsed(length) => length,
            Self::Days(days) if days < 0 => SignedDuration::from_hours(-24),
            Self::Days(days) => SignedDuration::from_hours(24 * (i64::from(days) + 1)),
        }
    }
}

/// How far ahead the next start is looked for.
const AHEAD: SignedDuration = SignedDuration::from_hours(24 * 366 * 8);

impl Span {
    /// Makes a single stretch.
    pub fn once(what: impl Into<String>, start: Timestamp, end: Timestamp) -> Self {
        Self { what: what.into(), series: Series::Once { start, end } }
    }

    /// Makes a stretch from each instant on.
    pub fn series(what: impl Into<String>, when: When, length: Duration) -> Self {
        Self { what: what.into(), series: Series::Cron { when, length } }
    }

    /// Returns the latest end of those that cover an instant.
    pub(super) fn end(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.series {
            Series::Once { start, end } => (*start <= at && at < *end).then_some(*end),
            Series::Cron { when, length } => {
                let length = SignedDuration::try_from(*length).ok()?;
                // Starts after this are still on at the instant.
                let mut start = when.next(at.checked_sub(length).ok()?).filter(|start| *start <= at)?;
                while let Some(next) = when.next(start).filter(|next| *next <= at) {
                    start = next;
                }
                start.checked_add(length).ok()
            }
            Series::Recurring(event) => {
                let from = at.checked_sub(event.length.at_most()).ok()?;
                let covering = event
                    .starts(from, at)
                    .into_iter()
                    .filter_map(|(_, start)| event.length.end(&event.zone, start));
                covering.filter(|end| at < *end).max()
            }
        }
    }

    /// Returns the first start after an instant, within 8 years.
    pub(super) fn next_start(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.series {
            Series::Once { start, end } => (*start > after && end > start).then_some(*start),
            Series::Cron { when, .. } => when.next(after),
            Series::Recurring(event) => {
                let limit = after.checked_add(AHEAD).ok()?;
                let mut from = after;
                let mut width = SignedDuration::from_hours(24 * 40);
                while from < limit {
                    let until = from.checked_add(width).ok()?;
                    let found = event
                        .starts(from, until)
                        .into_iter()
                        .map(|(start, _)| start)
                        .find(|start| *start > after);
                    if found.is_some() {
                        return found;
                    }
                    (from, width) = (until, width.checked_mul(2)?);
                }
                None
            }
        }
    }
}

impl Recurring {
    /// Returns the starts from one instant to another, both included, as instants and civil times, sorted.
    fn starts(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, DateTime)> {
        // A moved clock shifts civil times by less than a day or two.
        let slack = jiff::Span::new().days(2);
        let civil = |at: Timestamp| self.zone.civil(at);
        let (Ok(first), Ok(last)) = (civil(from).checked_sub(slack), civil(to).checked_add(slack)) else {
            return Vec::new();
        };
        let starts = self.rule.starts(first, last).into_iter();
        let starts = starts.filter_map(|start| Some((self.zone.instant(start)?, start)));
        starts
            .filter(|(at, start)| {
                (from..=to).contains(at)
                    && self.rule.is_before_end(*at, *start)
                    && !self.except.contains(at)
                    && !self.except_days.contains(&start.date())
            })
            .collect()
    }
}
