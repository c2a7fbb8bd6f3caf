//! How long to wait before an exchange is tried again.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use ring::rand::{SecureRandom as _, SystemRandom};

/// No pause of our own is longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in the form that RFC 9110, 5.6.7 prefers.
///
/// The two forms that it calls obsolete count as no answer.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits is as good as never.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let at = DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// Returns the pause after this many tries: it doubles each time and is between half and all of that, by chance, so
/// that fifty clients that failed together do not come back together.
pub fn pause(first: Duration, tries: u32) -> Duration {
    let whole = first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST);
    let mut random = [0_u8; 4];
    let part = match SystemRandom::new().fill(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    };
    whole.mul_f64(0.5 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let now: Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:20 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now).map(|pause| pause.as_secs()), expected, "{value}");
        }
    }

    #[test]
    fn pauses_double_and_vary() {
        for tries in 1..40 {
            let whole = Duration::from_millis(100).saturating_mul(1 << (tries - 1).min(16)).min(LONGEST);
            let pause = pause(Duration::from_millis(100), tries);
            assert!(pause >= whole / 2 && pause <= whole, "{tries}: {pause:?}");
        }
    }
}
