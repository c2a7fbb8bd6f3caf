//! Calendars in YAML: windows of their own, and the name of an iCalendar file.
//!
//! ```yaml
//! tz: Europe/Amsterdam
//! doc: no changes
//! windows:
//!   - {from: 2027-12-20, until: 2028-01-04, doc: turn of the year}   # until the beginning of that day
//!   - {cron: "0 18 * * FRI", for: 60h, doc: weekend}
//! ics: freeze.ics                                                    # beside this file
//! ```

use serde::Deserialize;

use super::Calendar;
use super::span::Span;
use crate::model::diagnostic::Diagnostic;
use crate::model::duration;
use crate::model::schedule::source::Source;
use crate::model::schedule::when::{Dst, When};
use crate::model::schedule::zone::Zone;
use crate::model::yaml;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    tz: String,
    #[serde(default)]
    doc: String,
    #[serde(default)]
    windows: Vec<RawWindow>,
    ics: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWindow {
    from: Option<String>,
    until: Option<String>,
    cron: Option<String>,
    #[serde(rename = "for")]
    length: Option<String>,
    #[serde(default)]
    doc: String,
}

/// A calendar in YAML as it is read, before its iCalendar file is.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The zone of its windows, and of whole days in the iCalendar file.
    pub zone: Zone,
    /// The iCalendar file, relative to the calendar's folder.
    pub ics: Option<String>,
    /// What its own windows make.
    pub calendar: Calendar,
}

impl Rules {
    /// Adds what the iCalendar file says.
    pub fn with(mut self, ics: Calendar) -> Calendar {
        self.calendar.spans.extend(ics.spans);
        if self.calendar.doc.is_empty() {
            self.calendar.doc = ics.doc;
        }
        self.calendar
    }
}

/// Reads a calendar in YAML; returns everything that is wrong.
pub fn read(text: &str, file: &str) -> Result<Rules, Vec<Diagnostic>> {
    let source = Source::new(text, file).map_err(|error| vec![error])?;
    let raw: Raw = yaml::from_str(text, file).map_err(|error| vec![source.yaml(&error)])?;
    let zone = raw.tz.parse::<Zone>().map_err(|error| vec![source.zone(&["tz"], &error)])?;
    let mut errors = Vec::new();
    let mut spans = Vec::new();
    for (index, window) in raw.windows.iter().enumerate() {
        match span(window, &zone, &source, &index.to_string()) {
            Ok(span) => spans.push(span),
            Err(error) => errors.push(*error),
        }
    }
    if raw.windows.is_empty() && raw.ics.is_none() {
        errors.push(source.error(&[], "calendar", "the calendar has neither `windows` nor `ics`"));
    }
    if errors.is_empty() {
        Ok(Rules { zone, ics: raw.ics, calendar: Calendar::new(raw.doc, spans) })
    } else {
        Err(errors)
    }
}

fn span(window: &RawWindow, zone: &Zone, source: &Source, index: &str) -> Result<Span, Box<Diagnostic>> {
    let error =
        |key: &str, message: String| Box::new(source.error(&["windows", index, key], "calendar", message));
    let instant = |key: &str, text: &str| {
        zone.parse(text).ok_or_else(|| {
            let hint = "write a date, a date and time, or RFC 3339 (`2027-12-20T18:00:00Z`)";
            Box::new((*error(key, format!("`{text}` is no instant"))).hint(hint))
        })
    };
    match (&window.from, &window.until, &window.cron, &window.length) {
        (Some(from), Some(until), None, None) => {
            let (start, end) = (instant("from", from)?, instant("until", until)?);
            if end <= start {
                return Err(error("until", format!("the window ends at {until}, before it begins")));
            }
            Ok(Span::once(window.doc.as_str(), start, end))
        }
        (None, None, Some(cron), Some(length)) => {
            let entry =
                cron.parse().map_err(|error| Box::new(source.cron(&["windows", index, "cron"], &error)))?;
            let length = duration::parse(length).map_err(|cause| error("for", cause.to_string()))?;
            if length.is_zero() {
                return Err(error("for", "a window of no length covers nothing".to_owned()));
            }
            Ok(Span::series(window.doc.as_str(), When::cron(entry, zone.clone(), Some(Dst::Wall)), length))
        }
        _ => Err(error("", "a window has `from` and `until`, or `cron` and `for`".to_owned())),
    }
}
