//! `nlrun schedule` through the real binary.

use serde_json::{Value, json};

use crate::support::project::Project;

const RUNBOOK: &str = "//! Does little.\nconst PARAMS = #{ name: \"you\", times: 1 };\nconst NEEDS = [];\n\
    const LIMITS = #{ locks: [\"db\"] };\nprint(params.name);\n";

const SCHEDULES: &str = "
schedules:
  nightly:
    runbook: greet
    cron: 30 2 * * *
    tz: Europe/Amsterdam
    params: {name: ada}
    not_in: [freeze]
    stale_after: 26h
  often: {runbook: greet, every: 6h, tz: UTC}
  off: {runbook: greet, cron: 0 4 * * *, tz: UTC, enabled: false}
  once: {runbook: greet, at: 2020-01-01, tz: UTC, enabled: false}
";

const FREEZE: &str = "BEGIN:VCALENDAR\r\nX-WR-TIMEZONE:Europe/Amsterdam\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20270329\r\n\
    RRULE:FREQ=YEARLY\r\nSUMMARY:no changes\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn project() -> Project {
    Project::new()
        .runbook("greet", RUNBOOK)
        .file("schedules/all.yaml", SCHEDULES)
        .file("calendars/freeze.ics", FREEZE)
}

#[test]
fn the_list_tells_what_is_next() {
    let project = project().runbook("spare", "//! Nobody runs it.\nconst NEEDS = [];\n");
    let text = project.args(["schedule", "list"]).success();
    for (schedule, when) in
        [("nightly", "30 2 * * *"), ("often", "every 6h"), ("off", "0 4 * * *"), ("once", "once")]
    {
        let line = text.stdout.lines().find(|line| line.starts_with(&format!("{schedule} "))).unwrap();
        assert!(line.contains(when) && line.contains("greet"), "{line}");
        assert_eq!(line.ends_with("off"), ["off", "once"].contains(&schedule), "{line}");
    }
    assert!(text.stderr.contains("runbooks without a schedule: spare\n4 schedules"), "{}", text.stderr);
    let listed = project.args(["schedule", "list", "--json"]).success().json_lines();
    assert_eq!(listed.len(), 4);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["line"], &listed[0]["stale_after"]),
        (&json!("nightly"), &json!(4), &json!("1d2h"))
    );
    assert_eq!(listed[0]["when"]["cron"]["dst"], "wall");
    assert!(listed[1]["next"].as_str().unwrap().ends_with(":00:00Z") && listed[2]["next"].is_null());
    let empty = Project::new();
    assert!(empty.args(["schedule", "list"]).success().stderr.contains("there are no schedules"));
}

#[test]
fn the_preview_is_the_scheduler_s_own() {
    let project = project();
    let words = ["schedule", "next", "nightly", "--after", "2027-03-27 03:00", "-n", "3", "--json"];
    let found = project.args(words).success().json_lines();
    let fields = |field: &str| found.iter().map(|one| one[field].clone()).collect::<Vec<Value>>();
    assert_eq!(
        fields("scheduled_at"),
        ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z", "2027-03-30T00:30:00Z"]
    );
    assert_eq!(fields("local")[..2], ["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"]);
    assert_eq!(fields("moved")[..2], [json!("clock goes forward by 1h to 03:00"), Value::Null]);
    assert_eq!(fields("blocked")[1], "in calendar `freeze` (no changes) until 2027-03-29T22:00:00Z");
    let entry = [
        "schedule",
        "next",
        "--cron",
        "*/30 * * * *",
        "--tz",
        "Europe/Amsterdam",
        "--after",
        "2027-10-31T00:00:00Z",
        "-n",
        "3",
    ];
    let text = project.args(entry).success().stdout;
    let utc: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split("  ").nth(1)).collect();
    assert_eq!(utc, ["2027-10-31 00:30:00Z", "2027-10-31 01:00:00Z", "2027-10-31 01:30:00Z"]);
    let off = project.args(["schedule", "next", "off", "-n", "1"]).success();
    assert!(off.stderr.contains("is off") && off.stdout.lines().count() == 2);
    let over = project.args(["schedule", "next", "once"]).success();
    assert!(over.stderr.contains("nothing is due after") && over.stdout.is_empty());
}

#[test]
fn wrong_words_are_told() {
    let project = project();
    for (words, expected) in [
        (&["nightl"][..], "did you mean `nightly`?"),
        (&["--cron", "61 * * * *", "--tz", "UTC"], "minute: `61` is not from 0 to 59"),
        (&["--cron", "0 0 30 2 *", "--tz", "UTC"], "never fires"),
        (&["--cron", "0 4 * * *", "--tz", "Amsterdam"], "did you mean `Europe/Amsterdam`?"),
        (&["--cron", "0 4 * * *"], "--tz"),
        (&["--cron", "0 4 * * *", "--tz", "UTC", "--dst", "summer"], "`--dst` is `wall` or `elapsed`"),
        (&["--every", "0s", "--tz", "UTC"], "at least a second"),
        (&["nightly", "--after", "yesterday"], "`yesterday` is no instant"),
        (&[], "SCHEDULE"),
    ] {
        let output = project.args(["schedule", "next"].iter().chain(words)).ends(64);
        assert!(output.stderr.contains(expected), "{words:?}: {}", output.stderr);
    }
    project.args(["schedule", "simulate", "--from", "2027-01-02", "--to", "2027-01-01"]).ends(64);
}

#[test]
fn lint_finds_what_is_wrong_and_what_is_odd() {
    let project = project();
    let clean = project.args(["schedule", "lint", "--strict"]).success();
    assert!(clean.stderr.contains("4 schedules: 0 errors, 0 warnings"), "{}", clean.stderr);
    assert!(!project.path(".nlrun").exists(), "it makes no run log");
    project.write("schedules/odd.yaml", "runbook: greet\ncron: '*/5 2 * * *'\ntz: Europe/Amsterdam\n");
    let odd = project.args(["schedule", "lint", "--json"]).success().json_lines();
    assert_eq!(
        (odd.len(), &odd[0]["code"], &odd[0]["severity"]),
        (1, &json!("moved-clock"), &json!("warning"))
    );
    project.args(["schedule", "lint", "--strict"]).ends(1);
    // Runbooks and parameters are looked at, too.
    for (text, code, column, expected) in [
        ("runbook: gret\nevery: 1h\ntz: UTC\n", "runbook", 10, "there is no runbook `gret`"),
        ("runbook: greet\nevery: 1h\ntz: UTC\nparams: {nam: x}\n", "parameter", 9, "nam"),
        ("runbook: greet\nevery: 1h\ntz: UTC\nparams: {times: x}\n", "parameter", 9, "times"),
        (
            "runbook: greet\nevery: 1h\ntz: UTC\nnot_in: [freez]\n",
            "calendar",
            9,
            "there is no calendar `freez`",
        ),
        ("runbook: greet\nevery: 1h\n", "schedule", 1, "missing key `tz`"),
        ("runbook: greet\nevery: 1h\ntz: UTC\novrlap: skip\n", "yaml", 1, "unknown key `ovrlap`"),
    ] {
        project.write("schedules/odd.yaml", text);
        let found = project.args(["schedule", "lint", "--json"]).ends(1).json_lines();
        assert_eq!(
            (found.len(), &found[0]["code"], &found[0]["column"]),
            (1, &json!(code), &json!(column)),
            "{found:?}"
        );
        assert!(found[0]["message"].as_str().unwrap().contains(expected), "{found:?}");
        assert_eq!(found[0]["file"], "schedules/odd.yaml");
    }
    // What cannot be read keeps the other verbs from guessing.
    let refused = project.args(["schedule", "list"]).ends(64);
    assert!(refused.stderr.contains("schedules/odd.yaml:4:1"), "{}", refused.stderr);
    project.write("schedules/odd.yaml", "schedules:\n  nightly: {runbook: greet, every: 1h, tz: UTC}\n");
    let twice = project.args(["schedule", "lint"]).ends(1);
    assert!(twice.stderr.contains("there are two schedules `nightly`"), "{}", twice.stderr);
}

#[test]
fn calendars_are_read_from_both_kinds_of_files() {
    let project = project();
    project.write(
        "schedules/all.yaml",
        "runbook: greet\ncron: 0 12 * * *\ntz: UTC\nnot_in: [freeze, weekend]\n",
    );
    project.write("calendars/weekend.yaml", "tz: UTC\nwindows:\n  - {cron: 0 0 * * SAT, for: 2d}\n");
    let blocked = |project: &Project| -> Vec<bool> {
        let words = ["schedule", "next", "all", "--after", "2027-03-26", "-n", "5", "--json"];
        project.args(words).success().json_lines().iter().map(|one| !one["blocked"].is_null()).collect()
    };
    // Friday to Tuesday: the weekend and the day of the file.
    assert_eq!(blocked(&project), [false, true, true, true, false]);
    // A calendar in YAML that names the file gives its days another zone.
    project.write("calendars/freeze.yaml", "tz: Pacific/Kiritimati\nics: freeze.ics\n");
    assert_eq!(blocked(&project), [false, true, true, false, false]);
    project.write("calendars/freeze.yaml", "tz: UTC\nics: gone.ics\n");
    let gone = project.args(["schedule", "list"]).ends(64);
    assert!(gone.stderr.contains("there is no file `calendars/gone.ics`"), "{}", gone.stderr);
    project.write("calendars/freeze.yaml", "tz: UTC\nwindows: [{cron: 0 0 * * *, for: 1h}]\n");
    let two = project.args(["schedule", "list"]).ends(64);
    assert!(two.stderr.contains("there are two calendars `freeze`"), "{}", two.stderr);
}

#[test]
fn a_simulation_uses_the_log_and_the_locks() {
    let project = project();
    project.write(
        "schedules/all.yaml",
        "schedules:\n  a: {runbook: greet, cron: 0 2 * * *, tz: Europe/Amsterdam, not_in: [freeze]}\n  \
         b: {runbook: slow, cron: 0 2 * * *, tz: Europe/Amsterdam, locks: [db]}\n",
    );
    project.write("runbooks/slow.rhai", "//! Does nothing.\nconst NEEDS = [];\n");
    let words = [
        "schedule",
        "simulate",
        "--from",
        "2027-03-27",
        "--to",
        "2027-03-30",
        "--assume",
        "10m",
        "--tz",
        "Europe/Amsterdam",
    ];
    let text = project.args(words).success();
    let lines: Vec<&str> = text.stdout.lines().skip(1).collect();
    let expected = [
        "Sat 2027-03-27 02:00:00 +01:00  a         runs about 10m",
        "Sat 2027-03-27 02:10:00 +01:00  b         runs about 10m    after waiting 10m for lock db",
        "Sun 2027-03-28 03:00:00 +02:00  a         runs about 10m",
        "Sun 2027-03-28 03:00:00 +02:00            clock             Europe/Amsterdam: clock goes forward by 1h to 03:00",
        "Sun 2027-03-28 03:10:00 +02:00  b         runs about 10m    after waiting 10m for lock db",
        "Mon 2027-03-29 00:00:00 +02:00            calendar          `freeze` (no changes) until Tue 2027-03-30 00:00:00 +02:00",
        "Mon 2027-03-29 02:00:00 +02:00  b         runs about 10m",
        "Mon 2027-03-29 02:00:00 +02:00  a         blocked calendar  in calendar `freeze` (no changes) until 2027-03-29T22:00:00Z",
    ];
    assert_eq!(lines, expected);
    assert!(text.stderr.contains("5 runs, 1 instant without"), "{}", text.stderr);
    // What has run once is known.
    project.args(["run", "greet"]).success();
    let lines = project.args(words.iter().chain(&["--json"])).success().json_lines();
    let run = &lines[0]["run"];
    assert_eq!(
        (&run["schedule"], &run["known"], &run["waited_for"]),
        (&json!("a"), &json!(true), &Value::Null)
    );
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(
        (&summary["runs"], &summary["undelivered"], &summary["is_cut"]),
        (&json!(5), &json!(1), &json!(false))
    );
    assert!(summary["tzdata"].as_str().unwrap().starts_with("20"));
}

#[test]
fn the_schedules_of_this_project_are_right() {
    let root = concat!("--project=", env!("CARGO_MANIFEST_DIR"));
    let project = Project::new();
    project.args([root, "schedule", "lint", "--strict"]).success();
    assert!(project.args([root, "schedule", "list", "--json"]).success().json_lines().len() >= 3);
}
