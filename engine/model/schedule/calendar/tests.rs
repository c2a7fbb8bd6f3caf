//! Calendars as people write them and as programs export them.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn ics(body: &str) -> String {
    let body =
        body.trim().lines().map(|line| line.trim_start().replace("\\_", " ") + "\r\n").collect::<String>();
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{body}END:VCALENDAR\r\n")
}

fn event(body: &str) -> String {
    ics(&format!("BEGIN:VEVENT\n{body}\nEND:VEVENT"))
}

fn stretches(calendar: &Calendar, from: &str, until: &str) -> Vec<(String, String)> {
    let found = calendar.stretches(at(from), at(until)).into_iter();
    found.map(|(start, end, _)| (start.to_string(), end.to_string())).collect()
}

fn amsterdam() -> Zone {
    "Europe/Amsterdam".parse().unwrap()
}

#[test]
fn windows_in_yaml_cover_what_they_say() {
    let text = "tz: Europe/Amsterdam
windows:
  - {from: 2027-12-20, until: 2028-01-04, doc: turn of the year}
  - {cron: '0 18 * * FRI', for: 60h, doc: weekend}
";
    let calendar = read(text, "calendars/freeze.yaml").unwrap().calendar;
    for (instant, expected) in [
        ("2027-12-17T16:59:59Z", None),
        ("2027-12-19T23:00:00Z", Some(("turn of the year", "2028-01-03T23:00:00Z"))),
        ("2028-01-03T22:59:59Z", Some(("turn of the year", "2028-01-03T23:00:00Z"))),
        ("2028-01-03T23:00:00Z", None),
        // Friday 18:00 in summer is 16:00Z, and 60 hours are 60 hours.
        ("2027-06-04T15:59:59Z", None),
        ("2027-06-04T16:00:00Z", Some(("weekend", "2027-06-07T04:00:00Z"))),
        ("2027-06-07T03:59:59Z", Some(("weekend", "2027-06-07T04:00:00Z"))),
        ("2027-06-07T04:00:00Z", None),
        // A weekend that begins before the freeze ends inside of it.
        ("2027-12-17T17:00:00Z", Some(("weekend", "2028-01-03T23:00:00Z"))),
    ] {
        let cover = calendar.covers(at(instant));
        let found = cover.as_ref().map(|cover| (cover.what.as_str(), cover.until.unwrap().to_string()));
        let found = found.as_ref().map(|(what, until)| (*what, until.as_str()));
        assert_eq!(found, expected, "{instant}");
    }
    assert_eq!(calendar.opens(at("2027-06-02T00:00:00Z")), Some(at("2027-06-04T16:00:00Z")));
    assert_eq!(
        stretches(&calendar, "2027-06-01T00:00:00Z", "2027-06-12T00:00:00Z"),
        [
            ("2027-06-04T16:00:00Z".to_owned(), "2027-06-07T04:00:00Z".to_owned()),
            ("2027-06-11T16:00:00Z".to_owned(), "2027-06-12T00:00:00Z".to_owned()),
        ]
    );
}

#[test]
fn what_never_ends_has_no_end() {
    let text = "tz: UTC\nwindows:\n  - {cron: '0 0 * * *', for: 1d}\n";
    let calendar = read(text, "calendars/always.yaml").unwrap().calendar;
    assert_eq!(calendar.covers(at("2027-06-01T12:00:00Z")).unwrap().until, None);
}

#[test]
fn wrong_calendars_say_where() {
    for (text, line, column, message, hint) in [
        ("tz: UTC\n", 1, 1, "the calendar has neither `windows` nor `ics`", None),
        ("windows: []\n", 1, 1, "missing key `tz`", None),
        (
            "tz: Amsterdam\nics: a.ics\n",
            1,
            5,
            "there is no time zone `Amsterdam` in the tz database",
            Some("did you mean `Europe/Amsterdam`?"),
        ),
        ("tz: UTC\nwindos: []\n", 2, 1, "unknown key `windos`", Some("did you mean `windows`?")),
        (
            "tz: UTC\nwindows:\n  - {cron: '0 24 * * *', for: 1h}\n",
            3,
            15,
            "hour: `24` is not from 0 to 23",
            Some("midnight is hour 0"),
        ),
        (
            "tz: UTC\nwindows:\n  - {cron: '0 2 * * *'}\n",
            3,
            5,
            "a window has `from` and `until`, or `cron` and `for`",
            None,
        ),
        (
            "tz: UTC\nwindows:\n  - {from: 2027-01-02, until: 2027-01-02}\n",
            3,
            31,
            "the window ends at 2027-01-02, before it begins",
            None,
        ),
        (
            "tz: UTC\nwindows:\n  - {from: soon, until: 2027-01-02}\n",
            3,
            12,
            "`soon` is no instant",
            Some("write a date, a date and time, or RFC 3339 (`2027-12-20T18:00:00Z`)"),
        ),
        (
            "tz: UTC\nwindows:\n  - {cron: 0 2 * * *, for: 0s}\n",
            3,
            28,
            "a window of no length covers nothing",
            None,
        ),
    ] {
        let error = &read(text, "calendars/x.yaml").unwrap_err()[0];
        assert_eq!(
            (error.line, error.column, error.message.as_str(), error.hint.as_deref()),
            (line, column, message, hint),
            "{text}"
        );
    }
}

/// As Outlook exports it: a Windows time zone, folded lines, whole days as free time.
const OUTLOOK: &str = "
    METHOD:PUBLISH
    X-WR-CALNAME:Change freeze\\, Europe
    BEGIN:VTIMEZONE
    TZID:W. Europe Standard Time
    BEGIN:STANDARD
    DTSTART:16011028T030000
    RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
    TZOFFSETFROM:+0200
    TZOFFSETTO:+0100
    END:STANDARD
    END:VTIMEZONE
    BEGIN:VEVENT
    CLASS:PUBLIC
    DTSTART;TZID=\"W. Europe Standard Time\":20270326T180000
    DTEND;TZID=\"W. Europe Standard Time\":20270329T070000
    SUMMARY;LANGUAGE=en-us:Easter\\, no
    \\_\\_changes
    TRANSP:OPAQUE
    UID:1
    BEGIN:VALARM
    TRIGGER:-PT15M
    DTSTART:nonsense
    END:VALARM
    END:VEVENT
    BEGIN:VEVENT
    DTSTART;TZID=\"W. Europe Standard Time\":20270105T220000
    DURATION:PT4H
    RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1;UNTIL=20270401T000000Z
    EXDATE;TZID=\"W. Europe Standard Time\":20270201T220000
    UID:2
    TRANSP:TRANSPARENT
    END:VEVENT
";

#[test]
fn outlook_is_read() {
    let text = ics(OUTLOOK);
    let calendar = Calendar::from_ics(&text, "calendars/freeze.ics", None).unwrap();
    assert_eq!(calendar.doc, "Change freeze, Europe");
    assert_eq!(
        stretches(&calendar, "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"),
        [
            ("2027-01-05T21:00:00Z", "2027-01-06T01:00:00Z"),
            // February's is left out; March begins on a Monday.
            ("2027-03-01T21:00:00Z", "2027-03-02T01:00:00Z"),
            ("2027-03-26T17:00:00Z", "2027-03-29T05:00:00Z"),
        ]
        .map(|(start, end)| (start.to_owned(), end.to_owned()))
    );
    assert_eq!(calendar.covers(at("2027-03-27T00:00:00Z")).unwrap().what, "Easter, no changes");
}

/// As Google exports it: the zone of the whole calendar, whole days, a moved instance.
const GOOGLE: &str = "
    X-WR-TIMEZONE:Europe/Amsterdam
    BEGIN:VEVENT
    DTSTART;VALUE=DATE:20261224
    DTEND;VALUE=DATE:20261227
    RRULE:FREQ=YEARLY
    UID:3@google.com
    SUMMARY:Christmas
    TRANSP:TRANSPARENT
    END:VEVENT
    BEGIN:VEVENT
    DTSTART;TZID=Europe/Amsterdam:20270107T090000
    DTEND;TZID=Europe/Amsterdam:20270107T100000
    RRULE:FREQ=WEEKLY;WKST=MO;COUNT=3;BYDAY=TH
    UID:4@google.com
    END:VEVENT
    BEGIN:VEVENT
    DTSTART;TZID=Europe/Amsterdam:20270115T120000
    DTEND;TZID=Europe/Amsterdam:20270115T130000
    RECURRENCE-ID;TZID=Europe/Amsterdam:20270114T090000
    UID:4@google.com
    END:VEVENT
    BEGIN:VEVENT
    DTSTART:20270110T120000Z
    DTEND:20270110T130000Z
    STATUS:CANCELLED
    UID:5@google.com
    END:VEVENT
";

#[test]
fn google_is_read() {
    let text = ics(GOOGLE);
    let calendar = Calendar::from_ics(&text, "calendars/freeze.ics", None).unwrap();
    assert_eq!(
        stretches(&calendar, "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"),
        [
            ("2027-01-07T08:00:00Z", "2027-01-07T09:00:00Z"),
            ("2027-01-15T11:00:00Z", "2027-01-15T12:00:00Z"),
            ("2027-01-21T08:00:00Z", "2027-01-21T09:00:00Z"),
            ("2027-12-23T23:00:00Z", "2027-12-26T23:00:00Z"),
        ]
        .map(|(start, end)| (start.to_owned(), end.to_owned()))
    );
    assert!(calendar.covers(at("2035-12-25T00:00:00Z")).is_some());
    // The zone that a calendar in YAML gives comes first.
    let tokyo = "Asia/Tokyo".parse().unwrap();
    let calendar = Calendar::from_ics(&text, "calendars/freeze.ics", Some(&tokyo)).unwrap();
    assert!(calendar.covers(at("2027-12-23T15:00:00Z")).is_some());
}

/// The days on which an event of an hour at noon UTC begins, up to a number of them.
fn days(rule: &str, start: &str, count: usize) -> Vec<String> {
    let text = event(&format!("DTSTART:{start}\nDURATION:PT1H\n{rule}"));
    let calendar = Calendar::from_ics(&text, "x.ics", None).unwrap();
    let mut found = Vec::new();
    let mut last = at("2026-01-01T00:00:00Z");
    while let Some(next) = calendar.opens(last).filter(|_| found.len() < count) {
        found.push(next.strftime("%m-%d").to_string());
        last = next;
    }
    found
}

#[test]
fn rules_of_recurrence() {
    for (rule, start, expected) in [
        ("RRULE:FREQ=DAILY;COUNT=3", "20270228T120000Z", "02-28 03-01 03-02"),
        ("RRULE:FREQ=DAILY;INTERVAL=10;UNTIL=20270321T120000Z", "20270301T120000Z", "03-01 03-11 03-21"),
        ("RRULE:FREQ=DAILY;INTERVAL=10;UNTIL=20270321T115959Z", "20270301T120000Z", "03-01 03-11"),
        ("RRULE:FREQ=DAILY;UNTIL=20270302", "20270301T120000Z", "03-01 03-02"),
        ("RRULE:FREQ=DAILY;BYDAY=SA,SU;BYMONTH=3", "20270306T120000Z", "03-06 03-07 03-13 03-14"),
        ("RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR", "20270301T120000Z", "03-01 03-05 03-15 03-19"),
        ("RRULE:FREQ=WEEKLY", "20270303T120000Z", "03-03 03-10 03-17 03-24"),
        // Weeks begin on Monday or Sunday, which counts where every second one does (RFC 5545's own example).
        (
            "RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
            "20270803T120000Z",
            "08-03 08-08 08-17 08-22",
        ),
        (
            "RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
            "20270803T120000Z",
            "08-03 08-15 08-17 08-29",
        ),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=31", "20270131T120000Z", "01-31 03-31 05-31 07-31"),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=-1", "20270131T120000Z", "01-31 02-28 03-31 04-30"),
        ("RRULE:FREQ=MONTHLY;BYDAY=2TU", "20270112T120000Z", "01-12 02-09 03-09 04-13"),
        ("RRULE:FREQ=MONTHLY;BYDAY=-1FR", "20270129T120000Z", "01-29 02-26 03-26 04-30"),
        ("RRULE:FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "20270813T120000Z", "08-13 10-13 04-13 07-13"),
        (
            "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            "20270129T120000Z",
            "01-29 02-26 03-31 04-30",
        ),
        ("RRULE:FREQ=MONTHLY;INTERVAL=3", "20270131T120000Z", "01-31 07-31 10-31 01-31"),
        ("RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU", "20270328T120000Z", "03-28 03-26 03-25 03-31"),
        ("RRULE:FREQ=YEARLY;BYMONTH=12,1;BYMONTHDAY=24", "20270124T120000Z", "01-24 12-24 01-24 12-24"),
        ("RRULE:FREQ=YEARLY", "20280229T120000Z", "02-29 02-29 02-29 02-29"),
        // A rule that names no day at all has its first start.
        ("RRULE:FREQ=MONTHLY;INTERVAL=5;BYMONTH=2;BYMONTHDAY=30;COUNT=9", "20270101T120000Z", "01-01"),
        ("RRULE:FREQ=YEARLY;BYMONTHDAY=1;COUNT=3", "20270101T120000Z", "01-01 02-01 03-01"),
        // The first start counts though the rule does not name it; further ones, and left out ones.
        ("RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=3", "20270302T120000Z", "03-02 03-08 03-15"),
        (
            "RRULE:FREQ=WEEKLY;COUNT=2\nRDATE:20270304T120000Z,20270305T120000Z\nEXDATE:20270310T120000Z",
            "20270303T120000Z",
            "03-03 03-04 03-05",
        ),
    ] {
        let expected: Vec<&str> = expected.split(' ').collect();
        let found = days(rule, start, 4);
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn absurd_lengths_are_refused() {
    for (length, message) in [
        ("P3650D", ""),
        ("P4000D", "an event is longer than ten years"),
        ("P7000000D", "an event is longer than ten years"),
        ("P1000000W7000000D", "an event is longer than ten years"),
        ("PT170000000H", "an event is longer than ten years"),
        ("-P1D", "an event ends before it begins"),
    ] {
        let text = event(&format!("DTSTART;VALUE=DATE:20270328\nDURATION:{length}\nRRULE:FREQ=DAILY"));
        let read = Calendar::from_ics(&text, "x.ics", Some(&amsterdam()));
        assert_eq!(read.err().map(|error| error.message).unwrap_or_default(), message, "{length}");
    }
}

#[test]
fn days_are_as_long_as_the_clock_makes_them() {
    let text = event("DTSTART;VALUE=DATE:20270328\nRRULE:FREQ=DAILY;COUNT=1");
    let calendar = Calendar::from_ics(&text, "x.ics", Some(&amsterdam())).unwrap();
    assert_eq!(
        stretches(&calendar, "2027-03-01T00:00:00Z", "2027-04-01T00:00:00Z"),
        [("2027-03-27T23:00:00Z".to_owned(), "2027-03-28T22:00:00Z".to_owned())]
    );
}

#[test]
fn wrong_files_say_where() {
    for (text, line, message, hint) in [
        ("hello\r\n".to_owned(), 1, "this is no line of an iCalendar file: it has no `:`", None),
        (String::new(), 1, "this is no iCalendar file: it does not begin with BEGIN:VCALENDAR", None),
        (
            "VERSION:2.0\n".to_owned(),
            1,
            "this is no iCalendar file: it does not begin with BEGIN:VCALENDAR",
            None,
        ),
        ("BEGIN:VCARD\nEND:VCARD\n".to_owned(), 1, "`VCARD` is outside of a VCALENDAR", None),
        (ics("BEGIN:VEVENT\nDTSTART:20270101T000000Z"), 5, "`VEVENT` of line 3 ends as `VCALENDAR`", None),
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20270101T000000Z\n".to_owned(),
            2,
            "`VEVENT` does not end: the file is cut",
            None,
        ),
        (event("SUMMARY:x"), 3, "an event has no DTSTART", None),
        (event("DTSTART:2027-01-01"), 4, "`2027-01-01` in DTSTART is no date", None),
        (event("DTSTART:20270230T000000Z"), 4, "`20270230T000000Z` in DTSTART is no date", None),
        (
            event("DTSTART;VALUE=DATE:20270101"),
            4,
            "whole days have no time zone in this file",
            Some("name the file in a calendar in YAML: `tz: Europe/Amsterdam` and `ics: FILE.ics`"),
        ),
        (
            event("DTSTART:20270101T100000"),
            4,
            "a time has no time zone in this file",
            Some("name the file in a calendar in YAML: `tz: Europe/Amsterdam` and `ics: FILE.ics`"),
        ),
        (
            event("DTSTART;TZID=Europe/Amsterdm:20270101T100000"),
            4,
            "there is no time zone `Europe/Amsterdm` in the tz database",
            Some("did you mean `Europe/Amsterdam`?"),
        ),
        (
            event("DTSTART;TZID=Customized Time Zone:20270101T100000"),
            4,
            "there is no time zone `Customized Time Zone` in the tz database",
            Some("set the calendar's own time zone in the program that it comes from, and export it again"),
        ),
        (
            event("DTSTART:20270101T000000Z\nDTEND:20261231T000000Z"),
            5,
            "an event ends before it begins",
            None,
        ),
        (event("DTSTART:20270101T000000Z\nDURATION:soon"), 5, "`soon` is no length of time", None),
        (
            event("DTSTART:20270101T000000Z\nRRULE:FREQ=HOURLY"),
            5,
            "recurrence by `HOURLY` is not read; DAILY, WEEKLY, MONTHLY and YEARLY are",
            Some("write the days as windows of a calendar in YAML, or as single events"),
        ),
        (
            event("DTSTART:20270101T000000Z\nRRULE:FREQ=YEARLY;BYWEEKNO=1"),
            5,
            "`BYWEEKNO` in a recurrence rule is not read",
            Some("write the days as windows of a calendar in YAML, or as single events"),
        ),
        (
            event("DTSTART:20270101T000000Z\nRRULE:FREQ=DAILY;INTERVAL=0"),
            5,
            "`INTERVAL=0` in `FREQ=DAILY;INTERVAL=0` is not understood",
            Some("write the days as windows of a calendar in YAML, or as single events"),
        ),
        (
            event("DTSTART:20270101T000000Z\nRDATE;VALUE=PERIOD:20270101T000000Z/PT1H"),
            5,
            "RDATE with periods is not read",
            Some("write them as events"),
        ),
        (
            event("DTSTART:20270101T000000Z\nRECURRENCE-ID;RANGE=THISANDFUTURE:20270101T000000Z\nUID:1"),
            5,
            "a change of this and all following events is not read",
            Some("end the series in the calendar and begin a new one"),
        ),
    ] {
        let error = Calendar::from_ics(&text, "calendars/x.ics", None).unwrap_err();
        assert_eq!(
            (error.line, error.message.as_str(), error.hint.as_deref()),
            (line, message, hint),
            "{text}"
        );
        assert_eq!(error.file, "calendars/x.ics");
    }
}

#[test]
fn vendors_write_zones_in_their_own_way() {
    for name in
        ["/freeassociation.sourceforge.net/Europe/Amsterdam", "W. Europe Standard Time", "europe/amsterdam"]
    {
        let text = event(&format!("DTSTART;TZID={name}:20270601T100000\nDURATION:PT1H"));
        let calendar = Calendar::from_ics(&text, "x.ics", None).unwrap();
        assert_eq!(calendar.opens(at("2027-01-01T00:00:00Z")), Some(at("2027-06-01T08:00:00Z")), "{name}");
    }
}
