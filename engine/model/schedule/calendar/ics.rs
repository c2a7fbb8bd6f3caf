//! Reads iCalendar files (RFC 5545), as Outlook, Google, Nextcloud and others export them.
//!
//! Every event that is not cancelled is a stretch of time. Whether it makes its owner "busy" does not count: whole days
//! are exported as "free" by default. What is not understood and would change the stretches is an error.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

use super::recurrence::{Recurrence, civil};
use super::span::{Length, Recurring, Series, Span};
use super::windows_zones::iana;
use crate::model::nearest::nearest;
use crate::model::schedule::zone::{self, Zone};

/// The longest event.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 3_660);

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IcsError {
    pub(super) line: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl IcsError {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A line of content: `NAME;PARAM=value:value`.
#[derive(Debug, Clone)]
struct Property {
    line: usize,
    name: String,
    params: Vec<(String, String)>,
    value: String,
}

impl Property {
    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn error(&self, message: impl Into<String>) -> IcsError {
        IcsError::new(self.line, message)
    }

    /// Returns its text, with escapes taken back.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut chars = self.value.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n' | 'N') | None => text.push(' '),
                    Some(other) => text.push(other),
                },
                c => text.push(c),
            }
        }
        text.trim().to_owned()
    }
}

/// The properties of an event.
#[derive(Debug, Default)]
struct Event {
    line: usize,
    properties: Vec<Property>,
}

impl Event {
    fn get(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(move |property| property.name == name)
    }

    fn is_cancelled(&self) -> bool {
        self.get("STATUS").is_some_and(|status| status.value.eq_ignore_ascii_case("CANCELLED"))
    }
}

/// A date or a date and time as it is written.
#[derive(Debug, Clone)]
struct Moment {
    civil: DateTime,
    is_day: bool,
    zone: Zone,
}

impl Moment {
    fn instant(&self, property: &Property) -> Result<Timestamp, IcsError> {
        self.zone
            .instant(self.civil)
            .ok_or_else(|| property.error(format!("`{}` is out of range", property.value)))
    }
}

/// Reads the name and the stretches of a calendar.
pub(super) fn read(text: &str, given: Option<&Zone>) -> Result<(String, Vec<Span>), IcsError> {
    let (calendar, events) = events(text)?;
    let own = calendar.get("X-WR-TIMEZONE").map(|property| zone_of(property, &property.value)).transpose()?;
    let floating = given.or(own.as_ref());
    let mut moved: BTreeMap<&str, BTreeSet<Timestamp>> = BTreeMap::new();
    for event in &events {
        if let (Some(uid), Some(instance)) = (event.get("UID"), event.get("RECURRENCE-ID")) {
            if instance.param("RANGE").is_some() {
                return Err(instance
                    .error("a change of this and all following events is not read")
                    .hint("end the series in the calendar and begin a new one"));
            }
            let at = moment(instance, &instance.value, floating)?.instant(instance)?;
            moved.entry(uid.value.as_str()).or_default().insert(at);
        }
    }
    let mut spans = Vec::new();
    for event in events.iter().filter(|event| !event.is_cancelled()) {
        let moved = event
            .get("UID")
            .and_then(|uid| moved.get(uid.value.as_str()))
            .filter(|_| event.get("RECURRENCE-ID").is_none());
        spans.push(span(event, moved, floating)?);
    }
    let name = calendar.get("X-WR-CALNAME").or(calendar.get("NAME")).map(Property::text);
    Ok((name.unwrap_or_default(), spans))
}

/// Reads an event; `moved` are starts of its series that other events stand for.
fn span(
    event: &Event,
    moved: Option<&BTreeSet<Timestamp>>,
    floating: Option<&Zone>,
) -> Result<Span, IcsError> {
    let begin = event.get("DTSTART").ok_or_else(|| IcsError::new(event.line, "an event has no DTSTART"))?;
    let start = moment(begin, &begin.value, floating)?;
    let length = length(event, begin, &start, floating)?;
    let mut rule = match event.get("RRULE") {
        None => Recurrence::once(start.civil),
        Some(property) => Recurrence::parse(&property.value, start.civil).map_err(|message| {
            property
                .error(message)
                .hint("write the days as windows of a calendar in YAML, or as single events")
        })?,
    };
    if let Some(property) = event.all("RRULE").nth(1).or(event.get("EXRULE")) {
        return Err(property.error("an event has more than one rule"));
    }
    let what = event.get("SUMMARY").map(Property::text).unwrap_or_default();
    let (mut except, mut except_days) = (moved.cloned().unwrap_or_default(), BTreeSet::<Date>::new());
    for property in event.all("EXDATE") {
        for value in property.value.split(',') {
            let moment = moment(property, value, floating)?;
            if moment.is_day && !start.is_day {
                except_days.insert(moment.civil.date());
            } else {
                except.insert(moment.instant(property)?);
            }
        }
    }
    for property in event.all("RDATE") {
        if property.param("VALUE") == Some("PERIOD") {
            return Err(property.error("RDATE with periods is not read").hint("write them as events"));
        }
        for value in property.value.split(',') {
            let at = moment(property, value, floating)?.instant(property)?;
            rule.more.push(start.zone.civil(at));
        }
    }
    let series = Recurring { rule, zone: start.zone, length, except, except_days };
    Ok(Span { what, series: Series::Recurring(Box::new(series)) })
}

fn length(
    event: &Event,
    begin: &Property,
    start: &Moment,
    floating: Option<&Zone>,
) -> Result<Length, IcsError> {
    let length = match (event.get("DTEND"), event.get("DURATION")) {
        (Some(end), _) => {
            let until = moment(end, &end.value, floating)?;
            if until.is_day != start.is_day {
                return Err(end.error("DTSTART and DTEND are not both days or both times"));
            }
            if start.is_day {
                Length::Days((until.civil.date() - start.civil.date()).get_days())
            } else {
                Length::Elapsed(until.instant(end)?.duration_since(start.instant(begin)?))
            }
        }
        (None, Some(duration)) => {
            let wrong = || duration.error(format!("`{}` is no length of time", duration.value));
            let span: jiff::Span = duration.value.parse().map_err(|_| wrong())?;
            let days = span.get_weeks() * 7 + span.get_days();
            let rest = SignedDuration::try_from(span.weeks(0).days(0)).map_err(|_| wrong())?;
            if start.is_day && rest.is_zero() {
                Length::Days(days)
            } else {
                Length::Elapsed(SignedDuration::from_hours(24 * i64::from(days)).saturating_add(rest))
            }
        }
        (None, None) if start.is_day => Length::Days(1),
        (None, None) => Length::Elapsed(SignedDuration::ZERO),
    };
    let at_most = length.at_most();
    let wrong = match at_most {
        length if length < SignedDuration::ZERO => Some("an event ends before it begins"),
        length if length > LONGEST => Some("an event is longer than ten years"),
        _ => None,
    };
    match (event.get("DTEND").or(event.get("DURATION")), wrong) {
        (Some(end), Some(wrong)) => Err(end.error(wrong)),
        _ => Ok(length),
    }
}

/// Reads a date or a date and time with its zone.
fn moment(property: &Property, value: &str, floating: Option<&Zone>) -> Result<Moment, IcsError> {
    let value = value.trim();
    let wrong = || property.error(format!("`{value}` in {} is no date", property.name));
    let is_utc = value.ends_with('Z');
    let at = civil(value.trim_end_matches('Z')).ok_or_else(wrong)?;
    let is_day = !value.contains('T');
    let zone = match property.param("TZID") {
        _ if is_utc => Zone::utc(),
        Some(name) if !is_day => zone_of(property, name)?,
        _ => floating.cloned().ok_or_else(|| {
            let what = if is_day { "whole days have" } else { "a time has" };
            property
                .error(format!("{what} no time zone in this file"))
                .hint("name the file in a calendar in YAML: `tz: Europe/Amsterdam` and `ics: FILE.ics`")
        })?,
    };
    Ok(Moment { civil: at, is_day, zone })
}

/// Finds a zone by its IANA name, also behind a vendor's prefix, or by the name that Windows has for it.
fn zone_of(property: &Property, name: &str) -> Result<Zone, IcsError> {
    let name = name.trim();
    // `/freeassociation.sourceforge.net/Europe/Amsterdam`
    let tails = std::iter::successors(Some(name), |rest| rest.split_once('/').map(|(_, tail)| tail));
    for tail in tails.filter(|tail| !tail.is_empty()) {
        if let Ok(zone) = tail.parse::<Zone>() {
            return Ok(zone);
        }
    }
    if let Some(zone) = iana(name).and_then(|name| name.parse().ok()) {
        return Ok(zone);
    }
    let known = zone::names();
    let near = nearest(name, known.iter().map(String::as_str));
    Err(property.error(format!("there is no time zone `{name}` in the tz database")).hint(near.map_or_else(
        || {
            "set the calendar's own time zone in the program that it comes from, and export it again"
                .to_owned()
        },
        |near| format!("did you mean `{near}`?"),
    )))
}

/// Takes a file apart: the properties of the calendar itself, and its events.
fn events(text: &str) -> Result<(Event, Vec<Event>), IcsError> {
    let mut stack: Vec<(String, usize)> = Vec::new();
    let (mut calendar, mut events, mut is_closed) = (Event::default(), Vec::new(), false);
    for property in properties(text)? {
        let name = property.value.trim().to_ascii_uppercase();
        match property.name.as_str() {
            "BEGIN" => {
                if stack.is_empty() && name != "VCALENDAR" {
                    return Err(property.error(format!("`{name}` is outside of a VCALENDAR")));
                }
                if name == "VEVENT" && stack.len() == 1 {
                    events.push(Event { line: property.line, properties: Vec::new() });
                }
                stack.push((name, property.line));
            }
            "END" => match stack.pop() {
                Some((open, _)) if open == name => is_closed |= stack.is_empty(),
                Some((open, line)) => {
                    return Err(property.error(format!("`{open}` of line {line} ends as `{name}`")));
                }
                None => return Err(property.error(format!("`{name}` ends without a beginning"))),
            },
            _ => match stack.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()[..] {
                [_] => calendar.properties.push(property),
                [_, "VEVENT"] => events
                    .last_mut()
                    .into_iter()
                    .for_each(|event: &mut Event| event.properties.push(property.clone())),
                [] => {
                    return Err(
                        property.error("this is no iCalendar file: it does not begin with BEGIN:VCALENDAR")
                    );
                }
                _ => {}
            },
        }
    }
    match stack.last() {
        Some((open, line)) => Err(IcsError::new(*line, format!("`{open}` does not end: the file is cut"))),
        None if is_closed => Ok((calendar, events)),
        None => Err(IcsError::new(1, "this is no iCalendar file: it does not begin with BEGIN:VCALENDAR")),
    }
}

/// Joins folded lines and takes each apart.
fn properties(text: &str) -> Result<Vec<Property>, IcsError> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, last))) => last.push_str(rest),
            _ if line.trim().is_empty() => {}
            _ => lines.push((index + 1, line.to_owned())),
        }
    }
    lines.into_iter().map(|(line, text)| property(line, &text)).collect()
}

fn property(line: usize, text: &str) -> Result<Property, IcsError> {
    let wrong = || IcsError::new(line, "this is no line of an iCalendar file: it has no `:`");
    // A colon or a semicolon in quotes is part of a parameter.
    let (mut parts, mut quoted, mut begin, mut colon) = (Vec::new(), false, 0, None);
    for (index, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ';' | ':' if !quoted => {
                parts.push(&text[begin..index]);
                begin = index + 1;
                if c == ':' {
                    colon = Some(index);
                    break;
                }
            }
            _ => {}
        }
    }
    let value = text[colon.ok_or_else(wrong)? + 1..].to_owned();
    let mut parts = parts.into_iter();
    let name = parts.next().unwrap_or_default().trim().to_ascii_uppercase();
    let params = parts.filter_map(|part| {
        let (key, value) = part.split_once('=')?;
        Some((key.trim().to_ascii_uppercase(), value.trim().trim_matches('"').to_owned()))
    });
    Ok(Property { line, name, params: params.collect(), value })
}
