//! Lengths of time as operators write them: `250ms`, `90s`, `5m`, `1h30m`, `2d`, or a number of seconds.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// The longest length of time that is understood: 100 years keep every sum of two far from overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was given.
    #[error("a length of time is empty; write `90s`, `5m`, `1h30m` or a number of seconds")]
    Empty,
    /// The text does not follow the form.
    #[error(
        "`{0}` is not a length of time; write `250ms`, `90s`, `5m`, `1h30m`, `2d` or a number of seconds"
    )]
    Form(String),
    /// Negative, or not a number.
    #[error("`{0}` seconds is not a length of time")]
    Number(String),
    /// Beyond 100 years.
    #[error("`{0}` is longer than 100 years")]
    TooLong(String),
}

/// Parses a length of time; units are `ms`, `s`, `m`, `h`, `d`, from large to small, each at most once.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let whole = text.trim();
    if whole.is_empty() {
        return Err(DurationError::Empty);
    }
    if whole.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let seconds: f64 = whole.parse().map_err(|_| DurationError::Form(whole.to_owned()))?;
        return from_seconds(seconds);
    }
    let form = || DurationError::Form(whole.to_owned());
    let too_long = || DurationError::TooLong(whole.to_owned());
    let (mut rest, mut total, mut last) = (whole, Duration::ZERO, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(form()),
        };
        if number.is_empty() || milliseconds >= last {
            return Err(form());
        }
        last = milliseconds;
        let count: u64 = number.parse().map_err(|_| too_long())?;
        let part = Duration::from_millis(count.checked_mul(milliseconds).ok_or_else(too_long)?);
        total = total.checked_add(part).ok_or_else(too_long)?;
        rest = tail;
    }
    if total > LONGEST { Err(too_long()) } else { Ok(total) }
}

/// Turns a number of seconds into a length of time.
pub fn from_seconds(seconds: f64) -> Result<Duration, DurationError> {
    if seconds > LONGEST.as_secs_f64() {
        return Err(DurationError::TooLong(seconds.to_string()));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| DurationError::Number(seconds.to_string()))
}

/// Writes a length of time so that [`parse`] reads the same one, down to milliseconds: `1h30m`, `250ms`, `0s`.
pub fn text(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut words = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= size {
            words += &(rest / size).to_string();
            words += unit;
            rest %= size;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words }
}

/// Writes a length of time as text, for `#[serde(with = "duration")]`.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*duration))
}

/// Reads a length of time from text, for `#[serde(with = "duration")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_operators_write() {
        let cases = [
            ("250ms", 250),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90", 90_000),
            ("0.5", 500),
            (" 1s ", 1_000),
            ("0s", 0),
        ];
        for (written, milliseconds) in cases {
            assert_eq!(parse(written), Ok(Duration::from_millis(milliseconds)), "{written}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for written in ["", "m", "5", "5x", "5m5h", "5m5m", "-5s", "1e9", "5 m", "١s", "."] {
            let parsed = parse(written);
            assert_eq!(parsed.is_err(), written != "5", "{written}: {parsed:?}");
        }
        assert!(matches!(parse("99999999999999999999d"), Err(DurationError::TooLong(_))));
        assert!(matches!(parse("99999999999d"), Err(DurationError::TooLong(_))));
        assert!(matches!(from_seconds(f64::NAN), Err(DurationError::Number(_))));
        assert!(matches!(from_seconds(-1.0), Err(DurationError::Number(_))));
        assert!(matches!(from_seconds(1e300), Err(DurationError::TooLong(_))));
    }

    #[test]
    fn writes_what_it_reads() {
        for milliseconds in [0, 1, 999, 1_000, 61_000, 5_400_000, 93_784_005] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(&text(duration)), Ok(duration));
        }
    }
}
