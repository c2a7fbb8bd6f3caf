//! Cookies of a session, from one answer to the next request (RFC 6265): their names and values, and nothing about where they belong.
//!
//! Whom they are sent to, the author of a runbook says each time.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// Adds what an answer set to what was sent, as the value of a header `Cookie`; `None` where nothing is left.
pub(super) fn after(sent: &[String], set: &[String], now: Timestamp) -> Option<String> {
    let mut jar: Vec<(&str, &str)> = Vec::new();
    for pair in sent.iter().flat_map(|header| header.split(';')) {
        put(&mut jar, pair, true);
    }
    for header in set {
        let (pair, attributes) = header.split_once(';').unwrap_or((header, ""));
        put(&mut jar, pair, !is_over(attributes, now));
    }
    let pairs: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

/// Returns the values in a header `Cookie`.
pub(super) fn values(header: &str) -> impl Iterator<Item = &str> {
    header.split("; ").filter_map(|pair| pair.split_once('=')).map(|(_, value)| value)
}

fn put<'a>(jar: &mut Vec<(&'a str, &'a str)>, pair: &'a str, is_kept: bool) {
    let Some((name, value)) = pair.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
        return;
    };
    if name.is_empty() {
        return;
    }
    let known = jar.iter().position(|(other, _)| *other == name);
    match (known, is_kept) {
        (Some(at), true) => jar[at].1 = value,
        (Some(at), false) => drop(jar.remove(at)),
        (None, true) => jar.push((name, value)),
        (None, false) => {}
    }
}

/// Whether a server takes a cookie back: `Max-Age` counts before `Expires` (RFC 6265, 5.3).
fn is_over(attributes: &str, now: Timestamp) -> bool {
    let attribute = |wanted: &str| {
        let pairs = attributes.split(';').filter_map(|one| one.split_once('='));
        let mut found = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.next_back().map(|(_, value)| value.trim())
    };
    if let Some(seconds) = attribute("max-age").and_then(|value| value.parse::<i64>().ok()) {
        return seconds <= 0;
    }
    // Old servers write `01-Jan-1970`.
    let at = attribute("expires").map(|value| value.replace('-', " "));
    at.and_then(|at| DateTimeParser::new().parse_timestamp(&at).ok()).is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_replaces_what_was_sent() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (sent, set, expected) in [
            (&[][..], &["sid=a1; Path=/; HttpOnly", "csrf=x==; Secure"][..], Some("sid=a1; csrf=x==")),
            (&["sid=a1; lang=de"], &["sid=b2"], Some("sid=b2; lang=de")),
            (&["sid=a1", "lang=de"], &[], Some("sid=a1; lang=de")),
            (&["sid=a1"], &["sid=; Max-Age=0"], None),
            (&["sid=a1"], &["sid=gone; expires=Thu, 01-Jan-1970 00:00:00 GMT"], None),
            (&["sid=a1"], &["sid=b2; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], Some("sid=b2")),
            (&["sid=a1"], &["sid=b2; Expires=Wed, 01 Jan 2031 00:00:00 GMT"], Some("sid=b2")),
            (&["sid=a1"], &["sid=b2; Expires=soon"], Some("sid=b2")),
            (&[], &["nonsense", "=x", "other=; Max-Age=-1"], None),
        ] {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            assert_eq!(after(&owned(sent), &owned(set), now).as_deref(), expected, "{sent:?} {set:?}");
        }
        assert_eq!(values("sid=a1; csrf=x==; empty=").collect::<Vec<_>>(), ["a1", "x==", ""]);
    }
}
