//! Calendars: named stretches of time in which schedules must not fire, or only there.
//!
//! A calendar is `calendars/NAME.yaml`, with windows of its own or naming an iCalendar file, or `calendars/NAME.ics`.

mod ics;
mod recurrence;
mod rules;
mod span;
mod windows_zones;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use rules::{Rules, read};
pub use span::Span;

use super::zone::Zone;
use crate::model::diagnostic::Diagnostic;

/// A named set of stretches of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    /// What it is for; may be empty.
    pub doc: String,
    spans: Vec<Span>,
}

/// All calendars of a project, by name.
pub type Calendars = BTreeMap<String, Calendar>;

/// A stretch of a calendar around an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// What the calendar says about it; may be empty.
    pub what: String,
    /// The first instant that no stretch covers any more; `None` when that is not in sight.
    pub until: Option<Timestamp>,
}

/// How many stretches may follow each other without a break before their end counts as out of sight.
const CHAIN: usize = 1_000;

impl Calendar {
    /// Makes a calendar of stretches.
    pub fn new(doc: impl Into<String>, spans: Vec<Span>) -> Self {
        Self { doc: doc.into(), spans }
    }

    /// Reads an iCalendar file (RFC 5545): its events are the stretches.
    ///
    /// `zone` is for whole days and for times without a zone; without it the file must name one (`X-WR-TIMEZONE`).
    pub fn from_ics(text: &str, file: &str, zone: Option<&Zone>) -> Result<Self, Diagnostic> {
        let (doc, spans) = ics::read(text, zone).map_err(|error| {
            Diagnostic::error("calendar", error.message)
                .at(file, text, error.line, 1, 1)
                .maybe_hint(error.hint)
        })?;
        Ok(Self { doc, spans })
    }

    /// Returns the stretch that covers an instant: its start belongs to it, its end does not.
    pub fn covers(&self, at: Timestamp) -> Option<Cover> {
        let (end, what) = self.end(at)?;
        let mut until = Some(end);
        for _ in 0..CHAIN {
            let Some(next) = until.and_then(|until| self.end(until)) else {
                return Some(Cover { what: what.to_owned(), until });
            };
            until = Some(next.0);
        }
        Some(Cover { what: what.to_owned(), until: None })
    }

    /// Returns the first instant after another at which a stretch begins, within 8 years.
    pub fn opens(&self, after: Timestamp) -> Option<Timestamp> {
        self.spans.iter().filter_map(|span| span.next_start(after)).min()
    }

    /// Returns the stretches that overlap a period, each from its start or the period's, joined where they touch.
    pub fn stretches(&self, from: Timestamp, until: Timestamp) -> Vec<(Timestamp, Timestamp, String)> {
        let mut found = Vec::new();
        let mut at = from;
        while at < until && found.len() < CHAIN {
            if let Some(cover) = self.covers(at) {
                let end = cover.until.unwrap_or(until).min(until);
                found.push((at, end, cover.what));
                at = end;
            } else {
                match self.opens(at) {
                    Some(next) => at = next,
                    None => break,
                }
            }
        }
        found
    }

    /// Returns the latest end of what covers an instant, and what is said about it.
    fn end(&self, at: Timestamp) -> Option<(Timestamp, &str)> {
        let ends = self.spans.iter().filter_map(|span| Some((span.end(at)?, span.what.as_str())));
        ends.max_by_key(|(end, _)| *end)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
