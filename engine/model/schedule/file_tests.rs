//! Definitions as people write them, and what is wrong with them.

use super::*;

fn one(text: &str) -> Schedule {
    let mut read =
        read(text, "schedules/nightly.yaml", "nightly").unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(read.len(), 1);
    read.remove(0).schedule
}

const SHORT: &str = "runbook: health\ncron: 30 4 * * *\ntz: Europe/Amsterdam\n";

#[test]
fn a_short_one_has_its_defaults() {
    let schedule = one(SHORT);
    assert_eq!((schedule.id.as_str(), schedule.runbook.as_str()), ("nightly", "health"));
    assert_eq!(
        (schedule.mode, schedule.enabled, schedule.misfire, schedule.overlap),
        (Mode::Apply, true, Misfire::Skip, Overlap::Skip)
    );
    assert_eq!(
        (schedule.grace, schedule.queue.as_str(), schedule.priority),
        (Duration::from_secs(60), "default", 50)
    );
    assert_eq!(schedule.grants, None);
    let next = schedule.next("2027-06-01T00:00:00Z".parse().unwrap());
    assert_eq!(next, Some("2027-06-01T02:30:00Z".parse().unwrap()));
    // A daily schedule may be caught up for an hour, one of every ten minutes for five.
    let at = "2027-06-01T02:30:00Z".parse().unwrap();
    assert_eq!(schedule.deadline(at), Duration::from_secs(3600));
    assert_eq!(one("runbook: a\nevery: 10m\ntz: UTC\n").deadline(at), Duration::from_secs(300));
}

#[test]
fn a_long_one_keeps_every_word() {
    let text = "
schedules:
  second: {runbook: b, every: 90, tz: UTC, anchor: 2027-01-01T00:00:30Z}
  first:
    doc: brings certificates
    runbook: certs/sync
    cron: \"*/5 2 * * *\"
    dst: wall
    tz: Europe/Amsterdam
    params: {table: certs.json, days: 21, deep: {b: 1, a: [2]}}
    inventory: inventory/edge
    mode: plan
    enabled: false
    misfire: all
    grace: 30s
    start_deadline: 2h
    overlap: queue_all
    overlap_key: certs
    queue_limit: 5
    queue: slow
    priority: 80
    locks: [b, a, b]
    jitter: 5m
    jitter_mode: fresh
    not_in: [freeze]
    only_in: [nights]
    blocked: defer_to_end
    hard: true
    from: 2027-01-01
    until: 2027-12-31 12:00
    max_runs: 10
    max_successes: 3
    pause_after_failures: 2
    skip_if_successful_since: 20h
    ref: main
    max_sync_age: 1h
    stale_sync: run_last_good
    grants: [\"ssh.exec:@edge\"]
    stale_after: 26h
    notify: {failure: [ops], stale: [ops, mail]}
";
    let read = read(text, "schedules/all.yaml", "all").unwrap();
    // In the order of the file.
    assert_eq!(read.iter().map(|one| one.schedule.id.as_str()).collect::<Vec<_>>(), ["second", "first"]);
    assert_eq!((read[0].origin.line(), read[1].origin.line()), (3, 5));
    let schedule = serde_json::to_value(&read[1].schedule).unwrap();
    assert_eq!(
        schedule,
        serde_json::from_str::<Value>(r#"{
            "id": "first", "doc": "brings certificates", "runbook": "certs/sync",
            "when": { "cron": { "cron": "*/5 2 * * *", "tz": "Europe/Amsterdam", "dst": "wall" } },
            "tz": "Europe/Amsterdam", "params": { "table": "certs.json", "days": 21, "deep": { "a": [2], "b": 1 } },
            "inventory": "inventory/edge", "mode": "plan", "enabled": false, "misfire": "all", "grace": "30s",
            "start_deadline": "2h", "overlap": "queue_all", "overlap_key": "certs", "queue_limit": 5, "queue": "slow",
            "priority": 80, "locks": ["a", "b"], "jitter": "5m", "jitter_mode": "fresh", "not_in": ["freeze"],
            "only_in": ["nights"], "blocked": "defer_to_end", "hard": true, "from": "2026-12-31T23:00:00Z",
            "until": "2027-12-31T11:00:00Z", "max_runs": 10, "max_successes": 3, "pause_after_failures": 2,
            "skip_if_successful_since": "20h", "ref": "main", "max_sync_age": "1h", "stale_sync": "run_last_good",
            "grants": ["ssh.exec:@edge"], "stale_after": "1d2h",
            "notify": { "failure": ["ops"], "recovery": [], "missed": [], "stale": ["ops", "mail"] }
        }"#).unwrap()
    );
    assert_eq!(
        read[0].schedule.when,
        When::Every { every: Duration::from_secs(90), anchor: "2027-01-01T00:00:30Z".parse().unwrap() }
    );
}

#[test]
fn given_instants_are_sorted() {
    let schedule =
        one("runbook: a\ntz: Europe/Amsterdam\nat: [2027-10-31 02:30, 2027-03-28T02:30, 2027-03-28 03:00]\n");
    let at = ["2027-03-28T01:00:00Z", "2027-10-31T00:30:00Z"].map(|text| text.parse().unwrap()).to_vec();
    assert_eq!(schedule.when, When::At { at });
    let schedule = one("runbook: a\ntz: UTC\nat: 2027-03-28T02:30:00+02:00\n");
    assert_eq!(schedule.when, When::At { at: vec!["2027-03-28T00:30:00Z".parse().unwrap()] });
}

#[test]
fn the_revision_is_of_the_meaning() {
    let revision = |text: &str| one(text).revision().clone();
    let first = revision("runbook: a\ncron: '0 4 * * mon'\ntz: UTC\nparams: {b: 1, a: {d: 2, c: 3}}\n");
    let same = revision(
        "# other notation\nparams:\n  a: {c: 3, d: 2}\n  b: 1\ntz: utc\ncron: \"0  4 * * MON\"\ngrace: 1m\nrunbook: a\n",
    );
    assert_eq!(first, same);
    assert_eq!(first.0.len(), 64);
    for other in [
        "runbook: a\ncron: '0 5 * * mon'\ntz: UTC\nparams: {b: 1, a: {d: 2, c: 3}}\n",
        "runbook: a\ncron: '0 4 * * mon'\ntz: UTC\nparams: {b: 2, a: {d: 2, c: 3}}\n",
        "runbook: a\ncron: '0 4 * * mon'\ntz: Europe/London\nparams: {b: 1, a: {d: 2, c: 3}}\n",
        "runbook: a\ncron: '0 4 * * mon'\ntz: UTC\nparams: {b: 1, a: {d: 2, c: 3}}\ngrants: []\n",
    ] {
        assert_ne!(first, revision(other), "{other}");
    }
    let schedule = one(SHORT);
    let (first, second) = (Timestamp::UNIX_EPOCH, "2027-06-01T02:30:00Z".parse().unwrap());
    assert_eq!(schedule.key(first), schedule.key(first));
    assert_ne!(schedule.key(first), schedule.key(second));
    assert_ne!(
        schedule.key(second),
        one("runbook: health\ncron: 30 4 * * *\ntz: Europe/Amsterdam\ngrace: 5m\n").key(second)
    );
}

#[test]
fn jitter_is_stable_and_stays_before_the_next_instant() {
    let at: Timestamp = "2027-06-01T00:00:00Z".parse().unwrap();
    let schedule = |id: &str, more: &str| {
        let text = format!("schedules:\n  {id}: {{runbook: a, cron: '*/10 * * * *', tz: UTC, {more}}}\n");
        read(&text, "s.yaml", "s").unwrap().remove(0).schedule
    };
    let mut shifts = Vec::new();
    for id in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let long = schedule(id, "jitter: 3h");
        let mut last = at;
        for (instant, due) in long.upcoming(at).take(50) {
            let next = long.next(instant).unwrap();
            assert!(instant <= due && due < next && due > last, "{instant} fires at {due}");
            assert_eq!(due.duration_since(instant), long.due(at).duration_since(at), "the same every time");
            last = due;
        }
        shifts.push(schedule(id, "jitter: 5m").due(at).duration_since(at).as_secs());
    }
    assert!(shifts.iter().all(|shift| (0..300).contains(shift)), "{shifts:?}");
    shifts.sort_unstable();
    shifts.dedup();
    assert!(shifts.len() > 5, "they are spread: {shifts:?}");
    let fresh = schedule("a", "jitter: 5m, jitter_mode: fresh");
    let mut shifts: Vec<_> = fresh.upcoming(at).take(10).map(|(at, due)| due.duration_since(at)).collect();
    shifts.dedup();
    assert!(shifts.len() > 5, "{shifts:?}");
    assert_eq!(schedule("a", "grace: 1s").due(at), at);
}

#[test]
fn bounds_cut_the_series() {
    let schedule =
        one("runbook: a\ncron: 0 * * * *\ntz: UTC\nfrom: 2027-06-01 02:00\nuntil: 2027-06-01 04:00\n");
    let found: Vec<String> =
        schedule.upcoming("2027-01-01T00:00:00Z".parse().unwrap()).map(|(at, _)| at.to_string()).collect();
    assert_eq!(found, ["2027-06-01T02:00:00Z", "2027-06-01T03:00:00Z"]);
    let off = one("runbook: a\ncron: 0 * * * *\ntz: UTC\nenabled: false\n");
    assert_eq!(off.upcoming(Timestamp::UNIX_EPOCH).count(), 0);
}

#[test]
fn what_is_wrong_has_its_place() {
    for (text, line, column, message, hint) in [
        (
            "runbook: a\ncron: 0 24 * * *\ntz: UTC\n",
            2,
            9,
            "hour: `24` is not from 0 to 23",
            Some("midnight is hour 0"),
        ),
        (
            "runbook: a\ncron: \"0 24 * * *\"\ntz: UTC\n",
            2,
            10,
            "hour: `24` is not from 0 to 23",
            Some("midnight is hour 0"),
        ),
        (
            "runbook: a\ncron: 0 0 30 2 *\ntz: UTC\n",
            2,
            7,
            "`0 0 30 2 *` never fires: no month has such a day",
            Some("the last day of a month is `L`"),
        ),
        (
            "runbook: a\ncron: 0 4 * * *\n",
            1,
            1,
            "missing key `tz`",
            Some("a schedule says whose clock it means: `tz: Europe/Amsterdam`, or `tz: UTC`"),
        ),
        (
            "schedules:\n  x: {runbook: a, cron: 0 4 * * *}\n",
            2,
            6,
            "missing key `tz`",
            Some("a schedule says whose clock it means: `tz: Europe/Amsterdam`, or `tz: UTC`"),
        ),
        (
            "runbook: a\ncron: 0 4 * * *\ntz: Europe/Amsterdm\n",
            3,
            5,
            "there is no time zone `Europe/Amsterdm` in the tz database",
            Some("did you mean `Europe/Amsterdam`?"),
        ),
        (
            "runbook: a\ntz: UTC\n",
            1,
            1,
            "it is not said when the schedule fires",
            Some("write `cron: \"30 4 * * *\"`, `every: 15m` or `at: 2027-03-01 04:00`"),
        ),
        (
            "runbook: a\ntz: UTC\ncron: 0 4 * * *\nevery: 5m\n",
            1,
            1,
            "only one of `cron`, `every` and `at` says when a schedule fires",
            None,
        ),
        ("runbook: a\ntz: UTC\nevery: 100ms\n", 3, 8, "`every` is at least a second", None),
        (
            "runbook: a\ntz: UTC\nevery: 5m\ndst: wall\n",
            4,
            6,
            "`dst` says what `cron` means, and there is none",
            None,
        ),
        (
            "runbook: a\ntz: UTC\ncron: 0 4 * * *\nanchor: 2027-01-01\n",
            4,
            9,
            "`anchor` is where `every` counts from, and there is none",
            None,
        ),
        (
            "runbook: a\ntz: UTC\nat: soon\n",
            3,
            5,
            "`soon` is no instant",
            Some("write a date, a date and time, or RFC 3339 (`2027-03-01T04:00:00Z`)"),
        ),
        (
            "runbook: a\ntz: UTC\nevery: 5m\nmisfire: onec\n",
            4,
            10,
            "unknown value `onec`",
            Some("did you mean `once`?"),
        ),
        (
            "runbook: a\ntz: UTC\nevery: 5m\noverlapp: skip\n",
            4,
            1,
            "unknown key `overlapp`",
            Some("did you mean `overlap`?"),
        ),
        (
            "runbook: a\ntz: UTC\nevery: 5m\nnotify: {failures: [x]}\n",
            4,
            10,
            "unknown key `failures`",
            Some("did you mean `failure`?"),
        ),
        ("tz: UTC\nevery: 5m\n", 2, 1, "missing key `runbook`", None),
        (
            "runbook: a\ntz: UTC\nevery: 5m\nfrom: 2027-01-02\nuntil: 2027-01-01\n",
            5,
            8,
            "the schedule is over before it begins",
            None,
        ),
        (
            "runbook: a\ntz: UTC\nevery: 5m\nmax_runs: 0\n",
            4,
            11,
            "`max_runs` is at least 1",
            Some("`enabled: false` keeps a schedule from firing"),
        ),
        ("runbook: a\ntz: UTC\nevery: 5m\npriority: 101\n", 4, 11, "a priority is from 0 to 100", None),
        ("runbook: a\ntz: UTC\nevery: 5m\njitter: 30d\n", 4, 9, "a jitter is at most 7d", None),
        ("runbook: a\ntz: UTC\nevery: 5m\ngrants: [':x']\n", 4, 9, "capability `:x` has no verb", None),
        (
            "runbook: a\ntz: UTC\nevery: 5m\nnot_in: [x]\nonly_in: [x]\n",
            5,
            10,
            "`x` is in both `not_in` and `only_in`: it would never fire",
            None,
        ),
        ("runbook: a\ntz: UTC\nevery: 5m\nevery: 6m\n", 4, 1, "duplicate key `every`", None),
        (
            "schedules:\n  \"a b\": {runbook: a, tz: UTC, every: 5m}\n",
            2,
            10,
            "`a b` is no name of a schedule: it consists of letters, digits, `-`, `_` and `.`",
            None,
        ),
        ("- runbook: a\n", 1, 1, "a file of schedules is a mapping", None),
    ] {
        let errors = read(text, "schedules/nightly.yaml", "nightly").unwrap_err();
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        let error = &errors[0];
        assert_eq!(
            (error.line, error.column, error.message.as_str(), error.hint.as_deref()),
            (line, column, message, hint),
            "{text}"
        );
        assert_eq!(error.file, "schedules/nightly.yaml");
    }
    let two = read(
        "schedules:\n  a: {runbook: a, tz: X, every: 5m}\n  b: {runbook: b, tz: UTC, at: x}\n",
        "s.yaml",
        "s",
    );
    assert_eq!(two.unwrap_err().len(), 2, "all of them at once");
    assert_eq!(read("# nothing yet\n", "s.yaml", "s"), Ok(Vec::new()));
    let length = read("runbook: a\ntz: UTC\nevery: soon\n", "s.yaml", "s").unwrap_err().remove(0);
    assert!(length.message.contains("`soon` is not a length of time") && length.line == 3, "{length:?}");
}
