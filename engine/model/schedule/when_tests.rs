//! The table of the specification, and what belongs beside it.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn entry(text: &str, zone: &str, dst: Option<Dst>) -> When {
    When::cron(text.parse().expect(text), zone.parse().expect(zone), dst)
}

/// Returns all instants after one and up to another.
fn fires(when: &When, after: &str, until: &str) -> Vec<String> {
    let (mut last, until, mut found) = (at(after), at(until), Vec::new());
    while let Some(next) = when.next(last).filter(|next| *next <= until) {
        assert!(next > last, "{next} does not follow {last}");
        found.push(next.to_string());
        last = next;
    }
    found
}

#[test]
fn the_vectors_of_the_specification() {
    for (zone, text, after, until, expected) in [
        // The gap of Amsterdam: 02:00 becomes 03:00 at 01:00Z.
        (
            "Europe/Amsterdam",
            "30 2 * * *",
            "2027-03-27T02:00:00Z",
            "2027-03-28T12:00:00Z",
            &["2027-03-28T01:00:00Z"][..],
        ),
        (
            "Europe/Amsterdam",
            "15,45 2 * * *",
            "2027-03-27T02:00:00Z",
            "2027-03-28T12:00:00Z",
            &["2027-03-28T01:00:00Z"],
        ),
        (
            "Europe/Amsterdam",
            "*/30 * * * *",
            "2027-03-28T00:00:00Z",
            "2027-03-28T02:00:00Z",
            &["2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z", "2027-03-28T02:00:00Z"],
        ),
        (
            "Europe/Amsterdam",
            "0 3 * * *",
            "2027-03-27T03:00:00Z",
            "2027-03-28T12:00:00Z",
            &["2027-03-28T01:00:00Z"],
        ),
        // Its fold: 03:00 becomes 02:00 at 01:00Z.
        (
            "Europe/Amsterdam",
            "30 2 * * *",
            "2027-10-30T02:00:00Z",
            "2027-10-31T12:00:00Z",
            &["2027-10-31T00:30:00Z"],
        ),
        (
            "Europe/Amsterdam",
            "*/30 * * * *",
            "2027-10-30T23:59:00Z",
            "2027-10-31T01:30:00Z",
            &["2027-10-31T00:00:00Z", "2027-10-31T00:30:00Z", "2027-10-31T01:00:00Z", "2027-10-31T01:30:00Z"],
        ),
        (
            "Europe/Amsterdam",
            "0 * * * *",
            "2027-10-30T23:59:00Z",
            "2027-10-31T01:59:00Z",
            &["2027-10-31T00:00:00Z", "2027-10-31T01:00:00Z"],
        ),
        (
            "America/New_York",
            "30 2 * * *",
            "2027-03-13T08:00:00Z",
            "2027-03-14T18:00:00Z",
            &["2027-03-14T07:00:00Z"],
        ),
        (
            "America/New_York",
            "30 1 * * *",
            "2027-11-06T08:00:00Z",
            "2027-11-07T18:00:00Z",
            &["2027-11-07T05:30:00Z"],
        ),
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2027-10-01T16:00:00Z",
            "2027-10-03T03:00:00Z",
            &["2027-10-02T15:30:00Z"],
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2027-04-02T15:00:00Z",
            "2027-04-04T03:00:00Z",
            &["2027-04-03T14:45:00Z"],
        ),
        (
            "America/Santiago",
            "0 0 * * *",
            "2027-09-04T05:00:00Z",
            "2027-09-05T20:00:00Z",
            &["2027-09-05T04:00:00Z"],
        ),
        (
            "America/Santiago",
            "30 23 * * *",
            "2027-04-03T03:00:00Z",
            "2027-04-04T20:00:00Z",
            &["2027-04-04T02:30:00Z"],
        ),
        (
            "Africa/Cairo",
            "15 0 * * *",
            "2027-04-29T00:00:00Z",
            "2027-04-30T12:00:00Z",
            &["2027-04-29T22:00:00Z"],
        ),
        (
            "Pacific/Chatham",
            "0 3 * * *",
            "2027-09-24T16:00:00Z",
            "2027-09-26T03:00:00Z",
            &["2027-09-25T14:00:00Z"],
        ),
    ] {
        assert_eq!(fires(&entry(text, zone, None), after, until), expected, "{text} in {zone}");
    }
}

#[test]
fn moved_clocks_beyond_the_table() {
    let amsterdam = "Europe/Amsterdam";
    for (zone, text, dst, after, until, expected) in [
        // `*/5 2` has no run in the gap and two hours of them in the fold, unless told that it is a time of day.
        (amsterdam, "*/20 2 * * *", None, "2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z", &[][..]),
        (
            amsterdam,
            "*/20 2 * * *",
            Some(Dst::Wall),
            "2027-03-27T12:00:00Z",
            "2027-03-28T12:00:00Z",
            &["2027-03-28T01:00:00Z"],
        ),
        (
            amsterdam,
            "*/20 2 * * *",
            None,
            "2027-10-30T12:00:00Z",
            "2027-10-31T12:00:00Z",
            &[
                "2027-10-31T00:00:00Z",
                "2027-10-31T00:20:00Z",
                "2027-10-31T00:40:00Z",
                "2027-10-31T01:00:00Z",
                "2027-10-31T01:20:00Z",
                "2027-10-31T01:40:00Z",
            ],
        ),
        (
            amsterdam,
            "*/20 2 * * *",
            Some(Dst::Wall),
            "2027-10-30T12:00:00Z",
            "2027-10-31T12:00:00Z",
            &["2027-10-31T00:00:00Z", "2027-10-31T00:20:00Z", "2027-10-31T00:40:00Z"],
        ),
        (amsterdam, "30 2 * * *", Some(Dst::Elapsed), "2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z", &[]),
        (
            amsterdam,
            "30 2 * * *",
            Some(Dst::Elapsed),
            "2027-10-30T12:00:00Z",
            "2027-10-31T12:00:00Z",
            &["2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"],
        ),
        // An instant in the second pass of the fold: what the first pass had does not come back.
        (
            amsterdam,
            "30 2 * * *",
            None,
            "2027-10-31T01:10:00Z",
            "2027-11-01T02:00:00Z",
            &["2027-11-01T01:30:00Z"],
        ),
        (amsterdam, "45 2 * * *", None, "2027-10-31T01:00:00Z", "2027-10-31T12:00:00Z", &[]),
        // An hour list runs once in the fold, too.
        (
            amsterdam,
            "15 2,3 * * *",
            None,
            "2027-10-30T12:00:00Z",
            "2027-10-31T12:00:00Z",
            &["2027-10-31T00:15:00Z", "2027-10-31T02:15:00Z"],
        ),
        // Two entries in one gap and one at its end are one run.
        (
            amsterdam,
            "0,30 2,3 * * *",
            None,
            "2027-03-27T12:00:00Z",
            "2027-03-28T12:00:00Z",
            &["2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z"],
        ),
        // Samoa had no 30 December 2011; Kuala Lumpur no 23:45 on the last day of 1981.
        (
            "Pacific/Apia",
            "30 2 * * *",
            None,
            "2011-12-29T12:00:00Z",
            "2012-01-01T00:00:00Z",
            &["2011-12-29T12:30:00Z", "2011-12-30T10:00:00Z", "2011-12-30T12:30:00Z", "2011-12-31T12:30:00Z"],
        ),
        (
            "Pacific/Apia",
            "0 0 * * *",
            None,
            "2011-12-29T12:00:00Z",
            "2011-12-31T00:00:00Z",
            &["2011-12-30T10:00:00Z"],
        ),
        (
            "Asia/Kuala_Lumpur",
            "45 23 * * *",
            None,
            "1981-12-31T00:00:00Z",
            "1982-01-01T20:00:00Z",
            &["1981-12-31T16:00:00Z", "1982-01-01T15:45:00Z"],
        ),
        // Seconds, and an offset that is no whole minute.
        (
            "UTC",
            "*/30 59 23 * * *",
            None,
            "2027-01-01T23:59:15Z",
            "2027-01-02T23:59:00Z",
            &["2027-01-01T23:59:30Z", "2027-01-02T23:59:00Z"],
        ),
        (
            "Africa/Monrovia",
            "0 12 * * *",
            None,
            "1971-06-01T00:00:00Z",
            "1971-06-01T23:00:00Z",
            &["1971-06-01T12:44:30Z"],
        ),
        // Before 1970, and between seconds.
        (
            "UTC",
            "0 0 * * *",
            None,
            "1969-12-30T23:59:59.5Z",
            "1970-01-01T00:00:00Z",
            &["1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"],
        ),
        (
            "UTC",
            "0 0 29 2 *",
            None,
            "2096-02-29T00:00:00Z",
            "2104-02-29T00:00:00Z",
            &["2104-02-29T00:00:00Z"],
        ),
    ] {
        assert_eq!(fires(&entry(text, zone, dst), after, until), expected, "{text} in {zone}, {dst:?}");
    }
}

#[test]
fn multiples_count_elapsed_time_from_their_anchor() {
    let every = |length: &str, anchor: &str| When::Every {
        every: crate::model::duration::parse(length).unwrap(),
        anchor: at(anchor),
    };
    for (length, anchor, after, expected) in [
        ("1d", "1970-01-01T00:00:00Z", "2027-03-28T12:00:00Z", "2027-03-29T00:00:00Z"),
        ("90m", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T01:30:00Z"),
        ("90m", "2027-01-01T00:10:00Z", "2027-01-01T00:09:59Z", "2027-01-01T00:10:00Z"),
        ("90m", "2027-01-01T00:10:00Z", "2026-12-31T22:39:00Z", "2026-12-31T22:40:00Z"),
        ("1h", "1970-01-01T00:00:00Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z"),
        ("1s500ms", "1970-01-01T00:00:00Z", "1970-01-01T00:00:01.6Z", "1970-01-01T00:00:03Z"),
    ] {
        assert_eq!(
            every(length, anchor).next(at(after)),
            Some(at(expected)),
            "{length} from {anchor} after {after}"
        );
    }
    assert_eq!(every("1d", "1970-01-01T00:00:00Z").next(Timestamp::MAX), None);
    assert_eq!(
        every("1h", "1970-01-01T00:00:00Z").period(Timestamp::UNIX_EPOCH),
        Some(Duration::from_secs(3600))
    );
}

#[test]
fn given_instants_come_once() {
    let when = When::At { at: vec![at("2027-01-01T00:00:00Z"), at("2027-06-01T00:00:00Z")] };
    assert_eq!(
        fires(&when, "2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
        ["2027-01-01T00:00:00Z", "2027-06-01T00:00:00Z"]
    );
    assert_eq!(fires(&when, "2027-01-01T00:00:00Z", "2030-01-01T00:00:00Z"), ["2027-06-01T00:00:00Z"]);
}

#[test]
fn the_end_of_time_is_an_end() {
    for (text, zone) in
        [("* * * * *", "Europe/Amsterdam"), ("0 0 29 2 *", "UTC"), ("0 0 1 1 *", "Pacific/Kiritimati")]
    {
        let when = entry(text, zone, None);
        let mut last = Timestamp::MAX.checked_sub(SignedDuration::from_hours(24 * 366 * 9)).unwrap();
        for _ in 0..20 {
            let Some(next) = when.next(last) else { break };
            assert!(next > last);
            last = next;
        }
        assert_eq!(when.next(Timestamp::MAX), None, "{text}");
        assert!(when.next(Timestamp::MIN).is_some_and(|next| next > Timestamp::MIN), "{text}");
    }
}
