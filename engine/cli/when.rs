//! Instants as people write and read them.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

use crate::model::duration;

/// Reads an instant: RFC 3339, a date or a local time, or how long ago (`90m`, `2h ago`, `3d`); microseconds since 1970.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    parse_at(text, crate::world::clock::now(), &TimeZone::system())
}

fn parse_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<i64, String> {
    let text = text.trim();
    let length: String = text.trim_end_matches("ago").split_whitespace().collect();
    if length.ends_with(|c: char| c.is_ascii_alphabetic())
        && let Ok(ago) = duration::parse(&length)
    {
        return Ok(now.as_microsecond() - i64::try_from(ago.as_micros()).unwrap_or(i64::MAX));
    }
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let local = text.parse::<civil::DateTime>().ok()?;
        Some(local.to_zoned(zone.clone()).ok()?.timestamp())
    });
    at.map(Timestamp::as_microsecond).ok_or_else(|| {
        "write how long ago (`90m`, `2h ago`, `3d`), a date, a local time or RFC 3339 (`2026-11-23T07:30:00Z`)"
            .to_owned()
    })
}

/// Writes an instant in local time: `2026-11-23 07:30:00`.
pub(crate) fn local(at: i64) -> String {
    let Ok(at) = Timestamp::from_microsecond(at) else { return at.to_string() };
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Writes an instant in local time to the minute, without the year when it is this one: for narrow columns.
pub(crate) fn minute(at: i64) -> String {
    let zoned = |at: Timestamp| at.to_zoned(TimeZone::system());
    let Ok(at) = Timestamp::from_microsecond(at).map(zoned) else { return at.to_string() };
    let is_this_year = at.year() == zoned(crate::world::clock::now()).year();
    at.strftime(if is_this_year { "%m-%d %H:%M" } else { "%Y-%m-%d %H:%M" }).to_string()
}

/// Writes an instant for programs, in UTC (RFC 3339).
pub(crate) fn utc(at: i64) -> String {
    Timestamp::from_microsecond(at).map(|at| at.to_string()).unwrap_or_default()
}

/// Writes how long ago an instant is, in one unit: `12s ago`, `3h ago`, `2d ago`.
pub(crate) fn age(at: i64) -> String {
    ago((crate::world::clock::now().as_microsecond() - at) / 1_000_000)
}

fn ago(seconds: i64) -> String {
    match seconds {
        ..0 => "in the future".to_owned(),
        0..=59 => format!("{seconds}s ago"),
        60..=3_599 => format!("{}m ago", seconds / 60),
        3_600..=86_399 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_read_as_people_write_them() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (text, expected) in [
            ("2h ago", Some("2026-11-23T10:00:00Z")),
            ("90m", Some("2026-11-23T10:30:00Z")),
            ("3d", Some("2026-11-20T12:00:00Z")),
            ("1h 30m ago", Some("2026-11-23T10:30:00Z")),
            ("2026-11-23T07:30:00Z", Some("2026-11-23T07:30:00Z")),
            ("2026-11-23T07:30:00+02:00", Some("2026-11-23T05:30:00Z")),
            ("2026-11-23", Some("2026-11-22T23:00:00Z")),
            ("2026-11-23 08:00", Some("2026-11-23T07:00:00Z")),
            ("90", None),
            ("soon", None),
            ("", None),
        ] {
            let found = parse_at(text, now, &zone).ok().map(utc);
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn ages_have_one_unit() {
        for (seconds, expected) in
            [(0, "0s ago"), (61, "1m ago"), (7_300, "2h ago"), (200_000, "2d ago"), (-5, "in the future")]
        {
            assert_eq!(ago(seconds), expected);
        }
    }
}
