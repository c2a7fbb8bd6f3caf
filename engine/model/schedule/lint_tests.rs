//! What is warned of, and what is not.

use super::*;
use crate::model::schedule::Calendar;
use crate::model::schedule::calendar::read as read_calendar;
use crate::model::schedule::file::read;

fn now() -> Timestamp {
    "2027-01-10T12:00:00Z".parse().unwrap()
}

fn findings(text: &str, recorded: &BTreeMap<String, Recorded>) -> Vec<Diagnostic> {
    let read = read(text, "schedules/s.yaml", "s").unwrap_or_else(|errors| panic!("{errors:?}"));
    let always: Calendar =
        read_calendar("tz: UTC\nwindows:\n  - {cron: 0 0 * * *, for: 1d}\n", "c.yaml").unwrap().calendar;
    lint(&read, now(), &Calendars::from([("always".to_owned(), always)]), recorded)
}

#[test]
fn what_is_probably_not_meant() {
    let slow = Recorded { typical: Duration::from_secs(720), longest: Duration::from_secs(900) };
    let recorded = BTreeMap::from([("s".to_owned(), slow)]);
    for (more, code, line, message) in [
        (
            "cron: '*/5 2 * * *'",
            "moved-clock",
            3,
            "`*/5 2 * * *` runs 0 times on 2027-03-28, 24 times on 2027-10-31",
        ),
        (
            "cron: '* 1-3 * * *'\noverlap: allow",
            "moved-clock",
            3,
            "`* 1-3 * * *` runs 120 times on 2027-03-28, 240 times on 2027-10-31",
        ),
        (
            "every: 1d",
            "elapsed-days",
            3,
            "`every: 1d` is 86400 s, so its time of day shifts when the clock is moved",
        ),
        ("cron: 0 4 13 * FRI", "either-day", 3, "`0 4 13 * FRI` fires on days 13 and also on every FRI"),
        (
            "cron: 0 4 */2 * FRI",
            "both-days",
            3,
            "`0 4 */2 * FRI` fires only where day */2 and weekday FRI both fit",
        ),
        (
            "cron: '*/25 * * * *'",
            "uneven-step",
            3,
            "`*/25 * * * *` is uneven: after the last minute the next comes after 10m, not 25m",
        ),
        (
            "cron: 0 */5 * * *",
            "uneven-step",
            3,
            "`0 */5 * * *` is uneven: after the last hour the next comes after 4h, not 5h",
        ),
        ("at: 2026-01-01", "over", 3, "is over: its last instant has passed"),
        ("cron: 0 4 * * *\nuntil: 2026-06-01", "over", 4, "is over since 2026-05-31T22:00:00Z"),
        (
            "cron: 0 4 * * MON\nfrom: 2027-06-01\nuntil: 2027-06-02",
            "over",
            5,
            "never fires within its bounds",
        ),
        ("cron: 0 4 29 2 *", "rare", 3, "fires not before 2028-02-29T03:00:00Z"),
        ("cron: '*/10 * * * *'", "slow", 3, "a run takes 12m as a rule, and the next is due after 10m"),
        ("every: 20m\njitter: 1h", "jitter", 4, "a jitter of 1h is cut to the period of 20m"),
        (
            "cron: 0 4 * * MON-FRI\nstale_after: 26h",
            "stale",
            4,
            "is stale after 1d2h without success, and fires only every 3d1h at times",
        ),
        (
            "cron: 0 4 * * *\nnot_in: [always]",
            "blocked",
            4,
            "its calendars block each of the next 50 instants",
        ),
    ] {
        let found = findings(&format!("runbook: a\ntz: Europe/Amsterdam\n{more}\n"), &recorded);
        let found: Vec<_> = found.iter().filter(|finding| finding.code == code).collect();
        assert_eq!(found.len(), 1, "{more}: {found:?}");
        assert_eq!(
            (found[0].line, found[0].message.as_str()),
            (line, format!("schedule `s`: {message}").as_str()),
            "{more}"
        );
        assert_eq!(found[0].file, "schedules/s.yaml");
    }
}

#[test]
fn good_schedules_are_left_alone() {
    let recorded = BTreeMap::from([(
        "s".to_owned(),
        Recorded { typical: Duration::from_secs(60), longest: Duration::from_secs(90) },
    )]);
    for more in [
        "cron: 30 2 * * *\nstale_after: 26h",
        "cron: '*/15 * * * *'",
        "cron: '*/5 2 * * *'\ndst: wall",
        "cron: '*/5 8-18 * * *'",
        "cron: 0 4 1 * *",
        "cron: 0 4 * * FRI#2",
        "every: 6h",
        "cron: 0 4 13 * FRI\nenabled: false\nmisfire: once",
    ] {
        let found = findings(&format!("runbook: a\ntz: Europe/Amsterdam\n{more}\n"), &recorded);
        let found: Vec<_> = found.iter().filter(|finding| finding.code != "either-day").collect();
        assert!(found.is_empty(), "{more}: {found:?}");
    }
    // In UTC no clock is moved.
    assert!(findings("runbook: a\ntz: UTC\ncron: '*/5 2 * * *'\n", &BTreeMap::new()).is_empty());
}

#[test]
fn a_crowd_is_seen() {
    let mut text = "schedules:\n".to_owned();
    for id in ["a", "b", "c", "d"] {
        text += &format!("  {id}: {{runbook: a, cron: 0 4 * * *, tz: UTC}}\n");
    }
    assert!(findings(&text, &BTreeMap::new()).is_empty());
    text += "  e: {runbook: a, cron: '*/30 * * * *', tz: UTC}\n";
    let found = findings(&text, &BTreeMap::new());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message, "5 schedules fire in the minute of 2027-01-11T04:00:00Z: a, b, c, d, e");
    // Spread, they are none.
    assert!(findings(&text.replace("tz: UTC", "tz: UTC, jitter: 25m"), &BTreeMap::new()).is_empty());
}
