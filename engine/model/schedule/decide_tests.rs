//! One rule after the other, on instants that can be counted on fingers.

use super::*;
use crate::model::schedule::Calendar;
use crate::model::schedule::calendar::{Span, read as read_calendar};
use crate::model::schedule::file::read;

fn at(text: &str) -> Timestamp {
    match text.len() {
        5 => format!("2027-06-01T{text}:00Z").parse().expect(text),
        8 => format!("2027-06-01T{text}Z").parse().expect(text),
        _ => text.parse().expect(text),
    }
}

/// An hourly schedule in UTC with more keys.
fn hourly(more: &str) -> Schedule {
    schedule(&format!("cron: 0 * * * *\n{more}"))
}

fn schedule(more: &str) -> Schedule {
    let text = format!("runbook: a\ntz: UTC\n{more}\n");
    read(&text, "s.yaml", "s").unwrap_or_else(|errors| panic!("{errors:?}")).remove(0).schedule
}

fn active(runs: &[(i64, bool)]) -> Facts {
    let active = runs.iter().map(|(run, is_waiting)| Active { run: RunId(*run), is_waiting: *is_waiting });
    Facts { active: active.collect(), ..Facts::default() }
}

/// Tells decisions in short words: `run 02:00`, `missed 02:00 Late`.
fn words(decided: &Decided) -> Vec<String> {
    let clock = |at: Timestamp| at.strftime("%H:%M").to_string();
    let word = |decision: &Decision| match decision {
        Decision::Run(run) => {
            let mut words = format!("run {}", clock(run.scheduled_at));
            for (flag, word) in [(run.catch_up, " catch-up"), (run.behind, " behind")] {
                words += if flag { word } else { "" };
            }
            for (runs, word) in [(&run.replaces, "replaces"), (&run.cancels, "cancels")] {
                for run in runs {
                    words += &format!(" {word} {run}");
                }
            }
            words
        }
        Decision::Undelivered(row) => {
            let reason = format!("{:?}", row.reason);
            let reason = reason.split([' ', '{']).next().unwrap_or_default().to_owned();
            match row.count {
                1 => format!("{} {} {reason}", row.state.as_str(), clock(row.first)),
                count => format!(
                    "{} {}-{} x{count} {reason}",
                    row.state.as_str(),
                    clock(row.first),
                    clock(row.last)
                ),
            }
        }
        Decision::Pause { why } => format!("pause: {why}"),
    };
    decided.decisions.iter().map(word).collect()
}

fn decided(schedule: &Schedule, cursor: &str, now: &str, facts: &Facts) -> Decided {
    let cursor = Cursor::new(schedule, at(cursor));
    decide(schedule, Some(&cursor), at(now), facts, &Calendars::new())
}

#[test]
fn a_new_or_edited_schedule_begins_now() {
    let schedule = hourly("");
    let first = decide(&schedule, None, at("02:30"), &Facts::default(), &Calendars::new());
    assert_eq!((words(&first), first.cursor.at, first.wake), (vec![], at("02:30"), Some(at("03:00"))));
    // Edited while the server was down: the past is not made up.
    let edited = hourly("misfire: all\nstart_deadline: 10h");
    let later = decide(&edited, Some(&first.cursor), at("06:30"), &Facts::default(), &Calendars::new());
    assert_eq!((words(&later), later.cursor.at), (vec![], at("06:30")));
    assert_eq!(later.cursor.revision, *edited.revision());
    // Nor where the clock went back at the same time.
    let back = decide(&schedule, Some(&later.cursor), at("06:28"), &Facts::default(), &Calendars::new());
    assert_eq!(back.cursor.at, at("06:30"));
    let off = hourly("enabled: false");
    let still = decided(&off, "02:00", "06:30", &Facts::default());
    assert_eq!((words(&still), still.cursor.at, still.wake), (vec![], at("06:30"), None));
}

#[test]
fn on_time_is_within_the_grace() {
    let schedule = hourly("");
    for (now, expected, wake) in [
        ("02:59:59", vec![], "03:00"),
        ("03:00:00", vec!["run 03:00"], "04:00"),
        ("03:01:00", vec!["run 03:00"], "04:00"),
        ("03:01:01", vec!["missed 03:00 Late"], "04:00"),
    ] {
        let decided = decided(&schedule, "02:00", now, &Facts::default());
        assert_eq!(
            (words(&decided), decided.wake),
            (expected.into_iter().map(str::to_owned).collect(), Some(at(wake))),
            "{now}"
        );
        // Deciding again decides nothing, not even when the clock goes back.
        for again in [now, "02:59:59", "02:30:00"] {
            let again =
                decide(&schedule, Some(&decided.cursor), at(again), &Facts::default(), &Calendars::new());
            assert_eq!((words(&again), &again.cursor), (vec![], &decided.cursor));
        }
    }
    let run = decided(&schedule, "02:00", "03:00:30", &Facts::default());
    let Decision::Run(run) = &run.decisions[0] else { panic!("{run:?}") };
    assert_eq!(
        (run.lateness, run.due_at, &run.key),
        (Duration::from_secs(30), at("03:00"), &schedule.key(at("03:00")))
    );
}

#[test]
fn late_instants_follow_the_policy() {
    let idle = Facts::default();
    for (more, cursor, now, expected) in [
        ("", "00:00", "03:30", "missed 01:00 Late, missed 02:00 Late, missed 03:00 Late"),
        // Half the period by default: what is older is missed whatever the policy is.
        ("misfire: once", "00:00", "03:20", "missed 01:00 TooLate, missed 02:00 TooLate, run 03:00 catch-up"),
        (
            "misfire: once",
            "00:00",
            "03:31",
            "missed 01:00 TooLate, missed 02:00 TooLate, missed 03:00 TooLate",
        ),
        (
            "misfire: once\nstart_deadline: 5h",
            "00:00",
            "03:30",
            "missed 01:00 Newer, missed 02:00 Newer, run 03:00 catch-up",
        ),
        // An instant that is on time runs in the place of those that are not.
        (
            "misfire: once\nstart_deadline: 5h",
            "00:00",
            "03:00",
            "missed 01:00 Newer, missed 02:00 Newer, run 03:00",
        ),
        (
            "misfire: all\nstart_deadline: 5h",
            "00:00",
            "03:30",
            "run 01:00 catch-up, run 02:00 catch-up behind, run 03:00 catch-up behind",
        ),
        (
            "misfire: all\nstart_deadline: 5h",
            "00:00",
            "03:00",
            "run 01:00 catch-up, run 02:00 catch-up behind, run 03:00 behind",
        ),
        (
            "misfire: all\nstart_deadline: 100m",
            "00:00",
            "03:30",
            "missed 01:00 TooLate, run 02:00 catch-up, run 03:00 catch-up behind",
        ),
        (
            "misfire: skip\ngrace: 2h",
            "00:00",
            "03:30",
            "missed 01:00 Late, run 02:00, skipped_overlap 03:00 Overlap",
        ),
    ] {
        let decided = decided(&hourly(more), cursor, now, &idle);
        assert_eq!(words(&decided).join(", "), expected, "{more} at {now}");
    }
}

#[test]
fn a_hundred_are_caught_up_and_the_rest_is_a_row() {
    let schedule = schedule("cron: '* * * * *'\nmisfire: all\nstart_deadline: 12h");
    let decided = decided(&schedule, "00:00", "05:00", &Facts::default());
    let words = words(&decided);
    assert_eq!(words.len(), 103);
    assert_eq!((words[0].as_str(), words[99].as_str()), ("run 00:01 catch-up", "run 01:40 catch-up behind"));
    assert_eq!(words[100], "missed 01:41-04:58 x198 TooMany");
    assert_eq!(words[101..], ["run 04:59 behind", "run 05:00 behind"]);
    assert_eq!(decided.cursor.at, at("05:00"));
}

#[test]
fn rows_become_one_from_a_hundred_on() {
    let schedule = schedule("cron: '* * * * *'");
    let counts = |now: &str| decided(&schedule, "00:00", now, &Facts::default()).decisions.len();
    assert_eq!(counts("01:41:30"), 101);
    assert_eq!(
        words(&decided(&schedule, "00:00", "01:42:30", &Facts::default())),
        ["missed 00:01-01:41 x101 Late", "run 01:42"]
    );
}

#[test]
fn years_of_downtime_are_told_and_not_walked() {
    let schedule = schedule("cron: '* * * * * *'\nmisfire: once\nstart_deadline: 10s\ngrace: 0s");
    let cursor = Cursor::new(&schedule, at("2017-06-01T00:00:00Z"));
    let decided = decide(&schedule, Some(&cursor), at("12:00:00"), &Facts::default(), &Calendars::new());
    let [Decision::Undelivered(seen), Decision::Undelivered(leapt), .., Decision::Run(run)] =
        &decided.decisions[..]
    else {
        panic!("{:?}", words(&decided))
    };
    assert_eq!((seen.count, &seen.first), (100_000, &at("2017-06-01T00:00:01Z")));
    assert_eq!((&leapt.reason, leapt.last), (&Reason::NotCounted, at("11:59:50")));
    let ten_years = at("12:00:00").duration_since(at("2017-06-01T00:00:00Z")).as_secs() as u64;
    assert!(leapt.count.abs_diff(ten_years - 100_000) < 100, "{}", leapt.count);
    assert_eq!((run.scheduled_at, run.missed_count > 100_000), (at("12:00:00"), true));
    assert_eq!(decided.cursor.at, at("12:00:00"));
}

#[test]
fn overlap_follows_the_policy() {
    for (more, runs, expected) in [
        ("", &[][..], "run 03:00"),
        ("", &[(7, false)], "skipped_overlap 03:00 Overlap"),
        ("", &[(7, true)], "skipped_overlap 03:00 Overlap"),
        ("overlap: allow", &[(7, false), (8, true)], "run 03:00"),
        ("overlap: queue_one", &[], "run 03:00"),
        ("overlap: queue_one", &[(7, false)], "run 03:00 behind"),
        ("overlap: queue_one", &[(7, false), (8, true)], "run 03:00 behind replaces 8"),
        ("overlap: queue_all", &[(7, false), (8, true)], "run 03:00 behind"),
        ("overlap: queue_all\nqueue_limit: 1", &[(7, false)], "run 03:00 behind"),
        ("overlap: queue_all\nqueue_limit: 1", &[(7, false), (8, true)], "skipped_overlap 03:00 QueueFull"),
        ("overlap: cancel_running", &[], "run 03:00"),
        ("overlap: cancel_running", &[(7, false), (8, true)], "run 03:00 behind replaces 8 cancels 7"),
    ] {
        let decided = decided(&hourly(more), "02:00", "03:00", &active(runs));
        assert_eq!(words(&decided).join(", "), expected, "{more} beside {runs:?}");
    }
    // Several at once, all on time: woken late, or fired by the second.
    let seconds = "cron: '*/10 * * * * *'\n";
    for (more, runs, expected) in [
        ("", &[][..], "run 00:00, skipped_overlap 00:00 Overlap, skipped_overlap 00:00 Overlap"),
        ("overlap: allow", &[], "run 00:00, run 00:00, run 00:00"),
        ("overlap: queue_one", &[], "run 00:00, skipped_overlap 00:00 Replaced, run 00:00 behind"),
        (
            "overlap: queue_one",
            &[(7, false), (8, true)],
            "skipped_overlap 00:00 Replaced, skipped_overlap 00:00 Replaced, run 00:00 behind replaces 8",
        ),
        (
            "overlap: queue_all\nqueue_limit: 1",
            &[],
            "run 00:00, run 00:00 behind, skipped_overlap 00:00 QueueFull",
        ),
        (
            "overlap: cancel_running",
            &[(7, false)],
            "skipped_overlap 00:00 Replaced, skipped_overlap 00:00 Replaced, run 00:00 behind cancels 7",
        ),
        ("max_runs: 2\noverlap: allow", &[], "run 00:00, run 00:00"),
    ] {
        let decided = decided(&schedule(&format!("{seconds}{more}")), "00:00:00", "00:00:30", &active(runs));
        assert_eq!(words(&decided).join(", "), expected, "{more} beside {runs:?}");
    }
}

fn calendars() -> Calendars {
    let freeze = Calendar::new("", vec![Span::once("no changes", at("02:30"), at("04:30"))]);
    let nights =
        read_calendar("tz: UTC\nwindows:\n  - {cron: 0 0 * * *, for: 2h30m}\n", "c.yaml").unwrap().calendar;
    let ever =
        read_calendar("tz: UTC\nwindows:\n  - {cron: 0 0 * * *, for: 1d}\n", "c.yaml").unwrap().calendar;
    Calendars::from([("freeze".to_owned(), freeze), ("nights".to_owned(), nights), ("ever".to_owned(), ever)])
}

/// Decides at every given time, and returns all words.
fn at_times(schedule: &Schedule, cursor: &str, times: &[&str]) -> (Vec<String>, Cursor) {
    let calendars = calendars();
    let mut cursor = Cursor::new(schedule, at(cursor));
    let mut found = Vec::new();
    for now in times {
        let decided = decide(schedule, Some(&cursor), at(now), &Facts::default(), &calendars);
        found.extend(words(&decided));
        cursor = decided.cursor;
    }
    (found, cursor)
}

#[test]
fn calendars_block_or_put_off() {
    for (more, times, expected) in [
        (
            "not_in: [freeze]",
            &["02:00", "03:00", "04:00", "05:00"][..],
            "run 02:00, blocked_calendar 03:00 Inside, blocked_calendar 04:00 Inside, run 05:00",
        ),
        // The newest one runs once, when the window ends; a later decision about an instant takes the place of an earlier one.
        (
            "not_in: [freeze]\nblocked: defer_to_end",
            &["03:00", "04:00", "04:29", "04:30", "05:00"],
            "deferred 03:00 Inside, blocked_calendar 03:00 Newer, deferred 04:00 Inside, run 04:00, run 05:00",
        ),
        // Down while the window ended, and longer than the grace after it.
        (
            "not_in: [freeze]\nblocked: defer_to_end",
            &["03:00", "04:40"],
            "deferred 03:00 Inside, blocked_calendar 03:00 Newer, missed 04:00 Late",
        ),
        (
            "not_in: [freeze]\nblocked: defer_to_end\nmisfire: once",
            &["03:00", "04:40"],
            "deferred 03:00 Inside, blocked_calendar 03:00 Newer, run 04:00 catch-up",
        ),
        ("only_in: [nights]", &["02:00", "03:00"], "run 02:00, blocked_calendar 03:00 Outside"),
        (
            "only_in: [nights, freeze]",
            &["02:00", "03:00", "04:00", "05:00"],
            "run 02:00, run 03:00, run 04:00, blocked_calendar 05:00 Outside",
        ),
        ("not_in: [ever]\nblocked: defer_to_end", &["02:00"], "blocked_calendar 02:00 Inside"),
        ("not_in: [gone]", &["02:00"], "blocked_calendar 02:00 NoCalendar"),
    ] {
        let (found, _) = at_times(&hourly(more), "01:00", times);
        let found: Vec<&str> = found
            .iter()
            .map(String::as_str)
            .filter(|word| !word.starts_with("run 01") && !word.starts_with("missed 02"))
            .collect();
        assert_eq!(found.join(", "), expected, "{more} at {times:?}");
    }
    let schedule = hourly("not_in: [freeze]\nblocked: defer_to_end");
    let (_, cursor) = at_times(&schedule, "02:00", &["03:00"]);
    assert_eq!(cursor.deferred, Some(Deferred { scheduled_at: at("03:00"), until: at("04:30") }));
    let wake = decide(&schedule, Some(&cursor), at("03:10"), &Facts::default(), &calendars()).wake;
    assert_eq!(wake, Some(at("04:00")));
    // The calendar grew meanwhile; or the schedule was edited.
    let mut longer = calendars();
    longer.insert("freeze".to_owned(), Calendar::new("", vec![Span::once("", at("02:30"), at("09:30"))]));
    let later = decide(
        &schedule,
        Some(&Cursor { at: at("04:00"), ..cursor.clone() }),
        at("04:30"),
        &Facts::default(),
        &longer,
    );
    assert_eq!(
        (words(&later), later.cursor.deferred.map(|deferred| deferred.until)),
        (vec![], Some(at("09:30")))
    );
    let edited = decide(&hourly("grace: 2m"), Some(&cursor), at("03:10"), &Facts::default(), &calendars());
    assert_eq!(
        (words(&edited), edited.cursor.deferred),
        (vec!["blocked_calendar 03:00 Edited".to_owned()], None)
    );
}

#[test]
fn the_queue_asks_the_calendar_again() {
    let schedule = hourly("not_in: [freeze]");
    assert_eq!(blocked(&schedule, at("02:29"), &calendars()), None);
    let (reason, until) = blocked(&schedule, at("02:30"), &calendars()).unwrap();
    assert_eq!(reason.to_string(), "in calendar `freeze` (no changes) until 2027-06-01T04:30:00Z");
    assert_eq!(until, Some(at("04:30")));
    // Where the freeze ends the night has not begun.
    let both = hourly("not_in: [freeze]\nonly_in: [nights]");
    assert_eq!(blocked(&both, at("02:45"), &calendars()).unwrap().1, Some(at("2027-06-02T00:00:00Z")));
}

#[test]
fn failures_pause_and_people_resume() {
    let schedule = hourly("pause_after_failures: 3");
    let facts = |failures| Facts { failures, ..Facts::default() };
    assert_eq!(words(&decided(&schedule, "02:00", "03:00", &facts(2))), ["run 03:00"]);
    let paused = decided(&schedule, "02:00", "03:00", &facts(3));
    assert_eq!(words(&paused), ["pause: 3 failures in a row", "paused 03:00 Paused"]);
    assert_eq!(paused.wake, Some(at("04:00")), "each instant becomes a row");
    let more = decide(&schedule, Some(&paused.cursor), at("04:30"), &facts(3), &Calendars::new());
    assert_eq!(words(&more), ["paused 04:00 Paused"], "it pauses once");
    let cursor = more.cursor.resume(at("05:30"));
    assert_eq!(cursor.resumed, Some(at("05:30")));
    let on = decide(&schedule, Some(&cursor), at("06:00"), &facts(0), &Calendars::new());
    assert_eq!(words(&on), ["run 06:00"], "05:00 is not made up");
    let Decision::Run(run) = &on.decisions[0] else { panic!("{on:?}") };
    assert_eq!((run.missed_count, on.cursor.missed), (2, 0));
}

#[test]
fn bounds_end_a_schedule() {
    let schedule = hourly("max_runs: 2");
    let first = decided(&schedule, "00:00", "01:00", &Facts::default());
    assert_eq!((words(&first), first.wake), (vec!["run 01:00".to_owned()], Some(at("02:00"))));
    let second = decide(&schedule, Some(&first.cursor), at("02:00"), &Facts::default(), &Calendars::new());
    assert_eq!((words(&second), second.wake), (vec!["run 02:00".to_owned()], None));
    let third = decide(&schedule, Some(&second.cursor), at("09:00"), &Facts::default(), &Calendars::new());
    assert_eq!((words(&third), third.wake), (vec![], None));
    let facts = Facts { successes: 1, ..Facts::default() };
    assert_eq!(words(&decided(&hourly("max_successes: 1"), "00:00", "01:00", &facts)), Vec::<String>::new());
    let until = decided(&hourly("until: 2027-06-01 02:00"), "01:00", "05:00", &Facts::default());
    assert_eq!((words(&until), until.wake), (vec![], None));
}

#[test]
fn a_recent_success_is_enough() {
    let schedule = hourly("skip_if_successful_since: 90m");
    for (last, expected) in [
        ("00:00", "run 03:00"),
        ("01:29", "run 03:00"),
        ("01:30", "skipped_success 03:00 Successful"),
        ("03:00", "skipped_success 03:00 Successful"),
    ] {
        let facts = Facts { last_success: Some(at(last)), ..Facts::default() };
        assert_eq!(words(&decided(&schedule, "02:00", "03:00", &facts)), [expected], "{last}");
    }
}

#[test]
fn jitter_moves_the_run_and_not_the_instant() {
    let schedule = hourly("jitter: 30m");
    let due = schedule.due(at("03:00"));
    assert!(due > at("03:00") && due < at("03:30"));
    let before = due - SignedDuration::from_millis(1);
    let cursor = Cursor::new(&schedule, at("02:00"));
    let early = decide(&schedule, Some(&cursor), before, &Facts::default(), &Calendars::new());
    assert_eq!((words(&early), early.wake), (vec![], Some(due)));
    let run = decide(&schedule, Some(&cursor), due, &Facts::default(), &Calendars::new());
    let Decision::Run(run) = &run.decisions[0] else { panic!("{run:?}") };
    assert_eq!((run.scheduled_at, run.due_at, run.lateness), (at("03:00"), due, Duration::ZERO));
    assert_eq!(run.key, schedule.key(at("03:00")));
}

#[test]
fn reasons_are_sentences() {
    for (reason, expected) in [
        (Reason::Late { grace: Duration::from_secs(60) }, "later than 1m"),
        (Reason::TooMany { most: 100 }, "only 100 are caught up"),
        (Reason::Inside { calendar: "x".into(), what: String::new(), until: None }, "in calendar `x`"),
        (Reason::Outside { until: Some(at("03:00")) }, "outside of its calendars until 2027-06-01T03:00:00Z"),
        (Reason::Overlap { key: "certs".into() }, "a run of `certs` had not ended"),
    ] {
        assert_eq!(reason.to_string(), expected);
        let text = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), reason, "{text}");
    }
    for state in State::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}
