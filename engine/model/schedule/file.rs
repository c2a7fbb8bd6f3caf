//! Reads `schedules/*.yaml`: one schedule a file, which has the file's name, or several below `schedules:`.
//!
//! ```yaml
//! schedules:
//!   certs-sync:
//!     runbook: certs/sync
//!     cron: "15 4 * * *"
//!     tz: Europe/Amsterdam
//!     stale_after: 26h
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::definition::{Revision, Schedule};
use super::policy::{Blocked, JitterMode, Misfire, Notify, Overlap, StaleSync};
use super::source::Source;
use super::when::{Dst, When};
use super::zone::Zone;
use crate::model::capability::Capability;
use crate::model::diagnostic::Diagnostic;
use crate::model::duration;
use crate::model::run::Mode;
use crate::model::yaml::{self, Content};

/// A schedule and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// What was written.
    pub schedule: Schedule,
    /// Where.
    pub origin: Origin,
}

/// Where a schedule was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The file, relative to the project.
    pub file: String,
    text: Arc<str>,
    place: (usize, usize),
    keys: BTreeMap<String, (usize, usize)>,
}

impl Origin {
    /// Returns the line of the schedule, from 1.
    pub fn line(&self) -> usize {
        self.place.0
    }

    /// Makes a finding point at a key of the schedule, or at the schedule where the key is not written.
    pub fn place(&self, finding: Diagnostic, key: &str) -> Diagnostic {
        let (line, column) = *self.keys.get(key).unwrap_or(&self.place);
        finding.at(&self.file, &self.text, line, column, 1)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Several {
    schedules: BTreeMap<String, Raw>,
}

/// The keys as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    doc: String,
    runbook: String,
    cron: Option<String>,
    every: Option<Length>,
    anchor: Option<String>,
    at: Option<OneOrMore>,
    tz: Option<String>,
    dst: Option<Dst>,
    #[serde(default)]
    params: BTreeMap<String, Value>,
    inventory: Option<String>,
    mode: Option<Mode>,
    enabled: Option<bool>,
    #[serde(default)]
    misfire: Misfire,
    grace: Option<Length>,
    start_deadline: Option<Length>,
    #[serde(default)]
    overlap: Overlap,
    overlap_key: Option<String>,
    queue_limit: Option<u32>,
    queue: Option<String>,
    priority: Option<u8>,
    #[serde(default)]
    locks: Vec<String>,
    jitter: Option<Length>,
    #[serde(default)]
    jitter_mode: JitterMode,
    #[serde(default)]
    not_in: Vec<String>,
    #[serde(default)]
    only_in: Vec<String>,
    #[serde(default)]
    blocked: Blocked,
    #[serde(default)]
    hard: bool,
    from: Option<String>,
    until: Option<String>,
    max_runs: Option<u64>,
    max_successes: Option<u64>,
    pause_after_failures: Option<u64>,
    skip_if_successful_since: Option<Length>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    max_sync_age: Option<Length>,
    #[serde(default)]
    stale_sync: StaleSync,
    grants: Option<Vec<String>>,
    stale_after: Option<Length>,
    #[serde(default)]
    notify: Notify,
}

/// A length of time, as text or as a number of seconds.
#[derive(Debug, Clone, Copy)]
struct Length(Duration);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as `90s` or `1h30m`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Length, E> {
                duration::parse(text).map(Length).map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Length, E> {
                self.visit_f64(seconds as f64)
            }

            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Length, E> {
                self.visit_f64(seconds as f64)
            }

            fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Length, E> {
                duration::from_seconds(seconds).map(Length).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// A text, or several.
#[derive(Debug, Clone)]
struct OneOrMore(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date and time, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<OneOrMore, A::Error> {
                let items = Vec::deserialize(SeqAccessDeserializer::new(items))?;
                if items.is_empty() {
                    return Err(A::Error::custom("an empty list of instants"));
                }
                Ok(OneOrMore(items))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

/// Reads a file of schedules; `stem` is its name without folder and ending. Returns everything that is wrong.
pub fn read(text: &str, file: &str, stem: &str) -> Result<Vec<Definition>, Vec<Diagnostic>> {
    let source = Source::new(text, file).map_err(|error| vec![error])?;
    let is_several = match &source.root().content {
        Content::Map(entries) => entries.iter().any(|(key, _)| key.text == "schedules"),
        Content::Scalar(Value::Null) => return Ok(Vec::new()),
        _ => return Err(vec![source.error(&[], "schedule", "a file of schedules is a mapping")]),
    };
    let wrong = |error: yaml::Error| vec![source.yaml(&error)];
    let raw = if is_several {
        yaml::from_str::<Several>(text, file).map_err(wrong)?.schedules
    } else {
        BTreeMap::from([(stem.to_owned(), yaml::from_str::<Raw>(text, file).map_err(wrong)?)])
    };
    let shared: Arc<str> = text.into();
    let (mut definitions, mut errors) = (Vec::new(), Vec::new());
    for (id, raw) in raw {
        let base = if is_several { vec!["schedules", id.as_str()] } else { Vec::new() };
        let reader = Reader { source: &source, base: &base, errors: Vec::new() };
        match reader.schedule(&id, raw) {
            Ok(schedule) => {
                let origin = Origin {
                    file: file.to_owned(),
                    text: shared.clone(),
                    place: source.place(&base),
                    keys: source.keys(&base),
                };
                definitions.push(Definition { schedule, origin });
            }
            Err(more) => errors.extend(more),
        }
    }
    definitions.sort_by_key(|definition| definition.origin.place);
    if errors.is_empty() { Ok(definitions) } else { Err(errors) }
}

/// Turns what is written into a schedule, and collects what is wrong.
struct Reader<'a> {
    source: &'a Source<'a>,
    base: &'a [&'a str],
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn path<'b>(&'b self, key: &'b str) -> Vec<&'b str> {
        self.base.iter().copied().chain([key]).collect()
    }

    fn wrong(&mut self, key: &str, message: impl Into<String>, hint: Option<&str>) {
        let error = self.source.error(&self.path(key), "schedule", message);
        self.errors.push(error.maybe_hint(hint.map(str::to_owned)));
    }

    fn schedule(mut self, id: &str, raw: Raw) -> Result<Schedule, Vec<Diagnostic>> {
        if let Err(message) = is_name(id) {
            self.wrong("", format!("`{id}` is no name of a schedule: {message}"), None);
        }
        let tz = self.zone(raw.tz.as_deref());
        let when = self.when(&raw, tz.as_ref());
        let grants = raw.grants.as_ref().map(|grants| self.grants(grants));
        let from = self.instant("from", raw.from.as_deref(), tz.as_ref());
        let until = self.instant("until", raw.until.as_deref(), tz.as_ref());
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            self.wrong("until", "the schedule is over before it begins", None);
        }
        for (key, count) in [
            ("max_runs", raw.max_runs),
            ("max_successes", raw.max_successes),
            ("pause_after_failures", raw.pause_after_failures),
            ("queue_limit", raw.queue_limit.map(u64::from)),
        ] {
            if count == Some(0) {
                self.wrong(
                    key,
                    format!("`{key}` is at least 1"),
                    Some("`enabled: false` keeps a schedule from firing"),
                );
            }
        }
        if raw.priority.is_some_and(|priority| priority > 100) {
            self.wrong("priority", "a priority is from 0 to 100", None);
        }
        if raw.runbook.trim().is_empty() {
            self.wrong("runbook", "a schedule needs a runbook", None);
        }
        if raw.jitter.is_some_and(|jitter| jitter.0 > Duration::from_secs(7 * 86_400)) {
            self.wrong("jitter", "a jitter is at most 7d", None);
        }
        if let Some(calendar) = raw.not_in.iter().find(|name| raw.only_in.contains(name)) {
            self.wrong(
                "only_in",
                format!("`{calendar}` is in both `not_in` and `only_in`: it would never fire"),
                None,
            );
        }
        let mut locks = raw.locks;
        locks.sort();
        locks.dedup();
        let (Some(tz), Some(when), true) = (tz, when, self.errors.is_empty()) else {
            return Err(self.errors);
        };
        let length = |length: Option<Length>| length.map(|length| length.0);
        let schedule = Schedule {
            id: id.to_owned(),
            doc: raw.doc,
            runbook: raw.runbook,
            when,
            tz,
            params: raw.params.into_iter().map(|(name, value)| (name, sorted(value))).collect(),
            inventory: raw.inventory,
            mode: raw.mode.unwrap_or(Mode::Apply),
            enabled: raw.enabled.unwrap_or(true),
            misfire: raw.misfire,
            grace: length(raw.grace).unwrap_or(Duration::from_secs(60)),
            start_deadline: length(raw.start_deadline),
            overlap: raw.overlap,
            overlap_key: raw.overlap_key,
            queue_limit: raw.queue_limit.unwrap_or(100),
            queue: raw.queue.unwrap_or_else(|| "default".to_owned()),
            priority: raw.priority.unwrap_or(50),
            locks,
            jitter: length(raw.jitter).unwrap_or_default(),
            jitter_mode: raw.jitter_mode,
            not_in: raw.not_in,
            only_in: raw.only_in,
            blocked: raw.blocked,
            hard: raw.hard,
            from,
            until,
            max_runs: raw.max_runs,
            max_successes: raw.max_successes,
            pause_after_failures: raw.pause_after_failures,
            skip_if_successful_since: length(raw.skip_if_successful_since),
            reference: raw.reference,
            max_sync_age: length(raw.max_sync_age),
            stale_sync: raw.stale_sync,
            grants,
            stale_after: length(raw.stale_after),
            notify: raw.notify,
            revision: Revision::default(),
        };
        Ok(schedule.sealed())
    }

    fn zone(&mut self, name: Option<&str>) -> Option<Zone> {
        let Some(name) = name else {
            let hint = "a schedule says whose clock it means: `tz: Europe/Amsterdam`, or `tz: UTC`";
            self.wrong("", "missing key `tz`", Some(hint));
            return None;
        };
        name.parse().map_err(|error| self.errors.push(self.source.zone(&self.path("tz"), &error))).ok()
    }

    fn when(&mut self, raw: &Raw, tz: Option<&Zone>) -> Option<When> {
        if raw.dst.is_some() && raw.cron.is_none() {
            self.wrong("dst", "`dst` says what `cron` means, and there is none", None);
        }
        if raw.anchor.is_some() && raw.every.is_none() {
            self.wrong("anchor", "`anchor` is where `every` counts from, and there is none", None);
        }
        match (&raw.cron, raw.every, &raw.at) {
            (Some(cron), None, None) => match cron.parse() {
                Ok(entry) => Some(When::cron(entry, tz?.clone(), raw.dst)),
                Err(error) => {
                    self.errors.push(self.source.cron(&self.path("cron"), &error));
                    None
                }
            },
            (None, Some(Length(every)), None) => {
                if every < Duration::from_secs(1) {
                    self.wrong("every", "`every` is at least a second", None);
                }
                let anchor = self.instant("anchor", raw.anchor.as_deref(), tz);
                Some(When::Every { every, anchor: anchor.unwrap_or(Timestamp::UNIX_EPOCH) })
            }
            (None, None, Some(texts)) => {
                let mut at: Vec<Timestamp> =
                    texts.0.iter().filter_map(|text| self.instant("at", Some(text), tz)).collect();
                at.sort_unstable();
                at.dedup();
                Some(When::At { at })
            }
            (None, None, None) => {
                let hint = "write `cron: \"30 4 * * *\"`, `every: 15m` or `at: 2027-03-01 04:00`";
                self.wrong("", "it is not said when the schedule fires", Some(hint));
                None
            }
            _ => {
                self.wrong("", "only one of `cron`, `every` and `at` says when a schedule fires", None);
                None
            }
        }
    }

    fn instant(&mut self, key: &str, text: Option<&str>, tz: Option<&Zone>) -> Option<Timestamp> {
        let (text, tz) = (text?, tz?);
        let found = tz.parse(text);
        if found.is_none() {
            let hint = "write a date, a date and time, or RFC 3339 (`2027-03-01T04:00:00Z`)";
            self.wrong(key, format!("`{text}` is no instant"), Some(hint));
        }
        found
    }

    fn grants(&mut self, texts: &[String]) -> Vec<Capability> {
        let mut grants = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(grant) => grants.push(grant),
                Err(error) => self.wrong("grants", format!("{error}"), None),
            }
        }
        grants
    }
}

/// A name that stands in files, URLs and logs alike.
fn is_name(id: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match id {
        _ if id.len() > 100 => Err("it is longer than 100 characters"),
        _ if !id.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            Err("it begins with a letter or a digit")
        }
        _ if !id.chars().all(allowed) => Err("it consists of letters, digits, `-`, `_` and `.`"),
        _ => Ok(()),
    }
}

/// Orders the keys of all maps in a value, so that their order in the file does not matter.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(map.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        plain => plain,
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
