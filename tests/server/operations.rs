//! What operators rely on: numbers, health, messages that are neither lost nor doubled, backup and retention while it runs.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start the programs of others, and know what time it is"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use crate::support::mailbox::Mailbox;
use crate::support::project::{Project, until};
use crate::support::prometheus::program;
use crate::support::server::{Caller, Server, token};
use crate::support::web::{Web, reply};

/// Fails while a file is not there.
const FRAGILE: &str = r#"
    //! Fails while the file is not there.
    const PARAMS = #{ path: #{ type: "string", required: true } };
    const NEEDS = ["file.stat:localhost"];
    if !file_stat("localhost", params.path).exists { fail("the backup is missing") }
"#;

pub(super) fn with_schedule(settings: &str, schedule: &str) -> Project {
    let project = Project::new()
        .runbook("fragile", FRAGILE)
        .runbook("quiet", "//! Quiet.\nconst NEEDS = [];\nprint(1);\n");
    let path = project.path("there").display().to_string();
    project.file("nlrun.yaml", settings).file(
        "schedules/backup.yaml",
        &format!("runbook: fragile\ntz: UTC\nparams: {{path: {path}}}\n{schedule}"),
    )
}

/// The messages that a webhook was sent, as JSON, with its headers.
fn told(web: &Web) -> Vec<(String, Value)> {
    let parts = |request: String| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
    };
    web.requests().into_iter().map(parts).collect()
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")))
        .unwrap_or_else(|| panic!("{name}: {head}"))
}

pub(super) fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

pub(super) fn messages(caller: &Caller) -> Vec<Value> {
    caller.get("/api/v1/messages").json()["items"].as_array().unwrap().clone()
}

#[test]
fn a_failure_is_told_once_and_so_is_the_recovery() {
    let web = Web::says("204 No Content", "");
    let settings = "server:\n  url: https://nlrun.example.net/\n  notify:\n    default: [hook]\n    targets:\n      hook: {webhook: {url_secret: hook-url, secret: hook-key}}\nsecrets:\n  sources: [{env: {prefix: NLRUN_SECRET_}}]\n";
    let project = with_schedule(settings, "every: 1s\n")
        .variable("NLRUN_SECRET_HOOK_URL", &web.url("/in?token=s3cr3t-in-url"))
        .variable("NLRUN_SECRET_HOOK_KEY", &format!("whsec_{}", STANDARD.encode("0123456789abcdef")));
    let viewer = token(&project, "see", "viewer");
    let server = Server::start(&project);
    let see = server.caller(&viewer);
    until("the failure is told", || !web.requests().is_empty());
    // More runs fail meanwhile, and nobody is told again.
    until("it failed a few times", || {
        see.get("/api/v1/schedules/backup").json()["failures"].as_i64() > Some(2)
    });
    project.write("there", "");
    until("the recovery is told", || web.requests().len() > 1);
    until("both are delivered", || messages(&see).iter().all(|one| one["delivered"].is_string()));
    let told = told(&web);
    let occasions: Vec<&str> = told.iter().map(|(_, body)| body["occasion"].as_str().unwrap()).collect();
    assert_eq!(occasions, ["failure", "recovery"], "{told:?}");
    let (head, failure) = &told[0];
    assert!(head.starts_with("POST /in?token=s3cr3t-in-url "), "{head}");
    assert_eq!(failure["subject"], "[nlrun] backup failed");
    let run = failure["run"].as_i64().unwrap();
    assert_eq!(failure["link"], format!("https://nlrun.example.net/runs/{run}"));
    assert!(failure["what"].as_str().unwrap().ends_with(": the backup is missing"), "{failure}");
    assert!(failure["place"].as_str().unwrap().starts_with("runbooks/fragile.rhai:5"), "{failure}");
    assert_eq!(
        (&failure["last_good"], &failure["next"]),
        (&json!("never"), &json!(format!("`nlrun log {run} --failed`")))
    );
    assert!(told[1].1["what"].as_str().unwrap().contains("in a row had failed"), "{told:?}");
    // The signature of Standard Webhooks, by the bytes that came.
    let requests = web.requests();
    let body = requests[0].split_once("\r\n\r\n").unwrap().1;
    let signed = format!("{}.{}.{body}", header(head, "webhook-id"), header(head, "webhook-timestamp"));
    let tag = STANDARD.decode(header(head, "webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef"), signed.as_bytes(), &tag).unwrap();
    let everything = format!("{:?}{:?}", server.said(), messages(&see));
    assert!(!everything.contains("s3cr3t"), "{everything}");
}

#[test]
fn what_cannot_be_delivered_is_kept_and_delivered_by_the_next_server() {
    let works = Arc::new(AtomicBool::new(false));
    let switch = works.clone();
    let web = Web::start(move |_, _, stream| {
        if switch.load(Ordering::Relaxed) {
            reply(stream, "200 OK", "", b"{}");
        } else {
            reply(stream, "503 Service Unavailable", "", b"out of order s3cr3t");
        }
    });
    let settings = format!(
        "server:\n  notify:\n    default: [room]\n    targets:\n      room: {{matrix: {{homeserver: \"http://127.0.0.1:{}\", room: \"!abc:example.org\", token: room-token}}}}\nsecrets:\n  sources: [{{env: {{prefix: NLRUN_SECRET_}}}}]\n",
        web.port
    );
    let project = with_schedule(&settings, "every: 1s\npause_after_failures: 1\n")
        .variable("NLRUN_SECRET_ROOM_TOKEN", "s3cr3t");
    let viewer = token(&project, "see", "viewer");
    let server = Server::start(&project);
    let see = server.caller(&viewer);
    until("the failure and the pause are kept, and one was tried", || {
        messages(&see).len() == 2 && messages(&see).iter().any(|one| one["error"].is_string())
    });
    let kept = messages(&see);
    let occasions: Vec<&str> = kept.iter().map(|one| one["occasion"].as_str().unwrap()).collect();
    assert!(occasions.contains(&"failure") && occasions.contains(&"paused"), "{kept:?}");
    let error = kept.iter().find_map(|one| one["error"].as_str()).unwrap().to_owned();
    assert!(error.starts_with("Matrix answers 503: out of order "), "{error}");
    assert!(!format!("{kept:?}{:?}", server.said()).contains("s3cr3t"), "{kept:?}");
    server.kill();
    works.store(true, Ordering::Relaxed);
    let before = web.requests().len();
    // Nobody waits for the pause between two attempts here.
    let database = rusqlite::Connection::open(project.database()).unwrap();
    database.execute("UPDATE outbox SET due_at = 0", []).unwrap();
    let server = Server::start(&project);
    let see = server.caller(&viewer);
    until("all is delivered", || messages(&see).iter().all(|one| one["delivered"].is_string()));
    let after: Vec<String> = web.requests()[before..].to_vec();
    assert_eq!((after.len(), messages(&see).len()), (2, 2), "{after:?}");
    for request in &after {
        let line = request.lines().next().unwrap();
        assert!(
            line.starts_with("PUT /_matrix/client/v3/rooms/!abc:example.org/send/m.room.message/nlrun-"),
            "{line}"
        );
        assert!(
            request.contains("authorization: Bearer s3cr3t\r\n") && request.contains("\"formatted_body\""),
            "{request}"
        );
    }
    // The same message has the same number in each attempt, so that the room has it once.
    let number = |request: &String| {
        request.lines().next().unwrap().rsplit('/').nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    let first: Vec<String> = web.requests()[..before].iter().map(number).collect();
    assert!(first.iter().all(|one| after.iter().map(number).any(|other| other == *one)), "{first:?}");
}

#[test]
fn a_schedule_without_success_is_stale_and_says_so_in_every_place() {
    let web = Web::says("200 OK", "");
    let settings = format!(
        "server:\n  metrics: {{open: true}}\n  notify:\n    targets:\n      hook: {{webhook: {{url: \"{}\"}}}}\n",
        web.url("/")
    );
    // It is due once a year: that it never ran is all that is wrong.
    let project = with_schedule(&settings, "cron: 0 0 1 1 *\nstale_after: 1s\nnotify: {stale: [hook]}\n");
    let viewer = token(&project, "see", "viewer");
    let server = Server::start(&project);
    let see = server.caller(&viewer);
    until("it is told", || !web.requests().is_empty());
    let body = &told(&web)[0].1;
    assert_eq!((&body["occasion"], &body["last_good"]), (&json!("stale"), &json!("never")), "{body}");
    assert!(body["what"].as_str().unwrap().contains("it has not run yet"), "{body}");
    let stale = see.get("/api/v1/schedules?stale=true").json();
    assert!(stale["items"][0]["stale_since"].is_string(), "{stale}");
    let text = server.nobody().get("/metrics").text;
    assert_eq!(metric(&text, "nlrun_schedule_stale{schedule=\"backup\"}"), 1.0);
    let listed = project.args(["schedule", "status", "--stale"]).success();
    assert!(listed.stdout.contains("stale since"), "{listed:?}");
    let doctor = project.args(["doctor"]);
    assert!(doctor.stdout.contains("`backup` is stale"), "{doctor:?}");
    assert_eq!(told(&web).len(), 1);
}

#[test]
fn in_quiet_hours_only_what_is_urgent_is_told() {
    let web = Web::says("200 OK", "");
    let settings = format!(
        "server:\n  notify:\n    default: [hook]\n    quiet: {{from: \"00:00\", until: \"23:59:59.999\", tz: UTC, urgent: [stale]}}\n    targets:\n      hook: {{webhook: {{url: \"{}\"}}}}\n",
        web.url("/")
    );
    let project = with_schedule(&settings, "every: 1s\npause_after_failures: 1\nstale_after: 1s\n");
    let viewer = token(&project, "see", "viewer");
    let server = Server::start(&project);
    let see = server.caller(&viewer);
    until("all is kept", || messages(&see).len() == 3);
    until("what is urgent is told", || messages(&see).iter().any(|one| one["delivered"].is_string()));
    let occasions: Vec<Value> = told(&web).into_iter().map(|(_, body)| body["occasion"].clone()).collect();
    assert_eq!(occasions, ["stale"]);
    let waiting: Vec<Value> = messages(&see).into_iter().filter(|one| one["occasion"] != "stale").collect();
    for one in waiting {
        let due = one["due"].as_str().unwrap_or_else(|| panic!("{one}"));
        assert!(due.contains("T23:59:59.999Z"), "{one}");
    }
}

#[test]
fn mail_goes_by_starttls_and_by_tls_with_a_login() {
    for (mode, tls) in [("starttls", "starttls"), ("tls", "tls"), ("none", "none")] {
        let Some(mailbox) = Mailbox::start(mode) else { return };
        let login = if mode == "none" { "" } else { "user: nlrun, password: mail-password, ca: ca.pem," };
        let settings = format!(
            "server:\n  notify:\n    targets:\n      ops: {{mail: {{to: [\"On Call <ops@example.org>\"], from: nlrun@example.net, host: localhost, port: {}, tls: {tls}, {login}}}}}\nsecrets:\n  sources: [{{env: {{prefix: NLRUN_SECRET_}}}}]\n",
            mailbox.port
        );
        let project = Project::new()
            .file("nlrun.yaml", &settings)
            .file("ca.pem", &mailbox.ca())
            .variable("NLRUN_SECRET_MAIL_PASSWORD", "correct horse");
        let sent = project.args(["notify", "test", "ops"]).success();
        assert!(sent.stderr.contains("has taken the message"), "{sent:?}");
        let mails = mailbox.mails();
        assert_eq!(mails.len(), 1, "{mode}");
        for part in [
            "From nlrun@example.net to ops@example.org",
            "Auto-Submitted: auto-generated",
            "Message-ID: <nlrun-test-",
            "Subject: [nlrun] a test of notifications",
        ] {
            assert!(mails[0].contains(part), "{part}: {}", mails[0]);
        }
        if mode == "none" {
            continue;
        }
        let wrong = project.variable("NLRUN_SECRET_MAIL_PASSWORD", "wrong horse");
        let refused = wrong.args(["notify", "test", "ops"]).ends(1);
        assert!(refused.stderr.contains("535") && !refused.stderr.contains("wrong horse"), "{refused:?}");
        // A server that nobody vouches for gets no password.
        wrong.write("ca.pem", &Mailbox::start(mode).unwrap().ca());
        let refused = wrong.args(["notify", "test", "ops"]).ends(1);
        assert!(refused.stderr.to_lowercase().contains("certificate"), "{refused:?}");
    }
}

#[test]
fn targets_that_are_not_right_are_told_before_they_are_needed() {
    let settings = "server:\n  notify:\n    default: [opps]\n    targets:\n      ops: {mail: {to: [nobody], from: a@b.example, host: localhost}}\n      two: {webhook: {}}\n";
    let project = with_schedule(settings, "every: 1h\nnotify: {failure: [pager]}\n");
    let listed = project.args(["notify", "list"]).success();
    assert!(listed.stdout.contains("`nobody` is no mail address"), "{listed:?}");
    let server = Server::start(&project);
    let said = server.said();
    for part in [
        "names the target `opps`",
        "schedule `backup` names the target `pager`",
        "target `two`: a webhook has one of",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let doctor = project.args(["doctor"]).ends(1);
    assert!(doctor.stdout.contains("names the target `pager`"), "{doctor:?}");
    let unknown = project.args(["notify", "test", "op"]).ends(64);
    assert!(unknown.stderr.contains("did you mean `ops`?"), "{unknown:?}");
    let wrong = Project::new()
        .file("nlrun.yaml", "server:\n  notify:\n    quiet: {from: 25h, until: \"07:00\", tz: UTC}\n");
    assert!(wrong.args(["doctor"]).ends(1).stdout.contains("`25h` is no time of day"), "a time that is none");
}

#[test]
fn metrics_are_as_prometheus_wants_them() {
    let project = with_schedule("server: {metrics: {listen: \"127.0.0.1:0\"}}\n", "every: 1s\n");
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    assert_eq!(server.nobody().get("/metrics").status, 401);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "quiet" }));
    op.wait(run, &["done"]);
    until("a run of the schedule has failed", || {
        op.get("/api/v1/schedules/backup").json()["failures"].as_i64() > Some(0)
    });
    let answer = op.get("/metrics");
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = answer.text;
    assert_eq!(metric(&text, "nlrun_runs_total{runbook=\"runbooks/quiet.rhai\",status=\"done\"}"), 1.0);
    assert_eq!(metric(&text, "nlrun_run_duration_seconds_count{runbook=\"runbooks/quiet.rhai\"}"), 1.0);
    assert!(metric(&text, "nlrun_runs_total{runbook=\"runbooks/fragile.rhai\",status=\"failed\"}") >= 1.0);
    assert!(metric(&text, "nlrun_schedule_failures{schedule=\"backup\"}") >= 1.0);
    assert!(metric(&text, "nlrun_schedule_lateness_seconds_count") >= 1.0, "{text}");
    assert!(metric(&text, "nlrun_queue_wait_seconds_count") >= 2.0);
    assert_eq!(metric(&text, "nlrun_leader"), 1.0);
    assert!(metric(&text, "nlrun_database_bytes") > 4096.0);
    // Counters outlive the server.
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(&project);
    let text = server.caller(&operator).get("/metrics").text;
    assert_eq!(metric(&text, "nlrun_runs_total{runbook=\"runbooks/quiet.rhai\",status=\"done\"}"), 1.0);
    let Some(promtool) = program("promtool") else { return };
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = child.wait_with_output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn a_server_says_whether_it_lives_and_whether_it_can_work() {
    let project = with_schedule("", "every: 1h\n");
    let server = Server::start(&project);
    assert_eq!(server.nobody().get("/healthz").text, "ok\n");
    until("it leads", || server.nobody().get("/readyz").json()["leads"] == true);
    let ready = server.nobody().get("/readyz");
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)), "{ready:?}");
    // The clock is set back: the newest run is of tomorrow.
    let database = rusqlite::Connection::open(project.database()).unwrap();
    let tomorrow = (jiff::Timestamp::now().as_second() + 86_400) * 1_000_000;
    database
        .execute(
            "INSERT INTO runs (runbook, status, mode, started_at, last_seq, last_hash, summary) VALUES ('x', 'done', 'apply', ?1, 1, x'', ?2)",
            rusqlite::params![tomorrow, json!({ "status": "done", "mode": "apply", "runbook": "x", "counts": { "events": 1, "reads": 0, "ensures": 0, "acts": 0, "changed": 0, "failed": 0, "output": 0, "checks": 0, "warnings": 0 } }).to_string()],
        )
        .unwrap();
    let ready = server.nobody().get("/readyz");
    assert_eq!(
        (ready.status, &ready.json()["faults"][0]),
        (503, &json!("the clock is before the newest run")),
        "{ready:?}"
    );
}

#[test]
fn a_backup_is_whole_while_runs_go_on_and_what_is_old_goes() {
    let project = Project::new()
        .runbook("busy", "//! Busy.\nconst NEEDS = [];\nfor i in 0..200 { print(`line ${i}`); }\n")
        .file("nlrun.yaml", "retention: {runs: 3}\n");
    let operator = token(&project, "op", "operator");
    for _ in 0..6 {
        project.args(["run", "busy", "--quiet"]).success();
    }
    let server = Server::start(&project);
    let op = server.caller(&operator);
    until("old runs are gone", || op.get("/api/v1/runs").json()["items"].as_array().unwrap().len() == 3);
    let runs: Vec<i64> = (0..8).map(|_| op.run(&json!({ "runbook": "busy" }))).collect();
    project.args(["db", "backup", "copy/nlrun.db"]).ends(1);
    std::fs::create_dir(project.path("copy")).unwrap();
    project.args(["db", "backup", "copy/nlrun.db"]).success();
    for run in runs {
        op.wait(run, &["done"]);
    }
    project.args(["--state", "copy", "db", "check"]).success();
    assert!(!project.path("copy/nlrun.db.partial").exists());
}

#[test]
fn the_servers_own_log_has_numbers_of_requests_and_no_tokens() {
    let project = with_schedule("", "every: 1h\n");
    let viewer = token(&project, "see", "viewer");
    let server = Server::start_with(&project, &["--log-format", "json"]);
    let headers = [("x-request-id", "of-the-proxy-1")];
    let answer = server.caller(&viewer).send("GET", "/api/v1/runs/77?after=secret-in-query", &headers, None);
    assert_eq!((answer.status, answer.headers["x-request-id"].to_str().unwrap()), (404, "of-the-proxy-1"));
    let own = server.caller("nlr_wrong").get("/api/v1/runs");
    assert!(!own.headers["x-request-id"].is_empty());
    assert_eq!(own.headers["nlrun-version"], env!("CARGO_PKG_VERSION"));
    until("both are logged", || {
        server.said().lines().filter(|line| line.contains("\"refused\"")).count() == 2
    });
    let said = server.said();
    let line = said.lines().find(|line| line.contains("of-the-proxy-1")).unwrap();
    let event: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&event["status"], &event["route"]), (&json!(404), &json!("/api/v1/runs/{run}")), "{event}");
    for secret in [viewer.as_str(), "nlr_wrong", "secret-in-query"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    // What no proxy of ours would give is not taken over.
    let answer = server.caller(&viewer).send("GET", "/api/v1/runs", &[("x-request-id", "a b; c")], None);
    assert!(!answer.headers["x-request-id"].to_str().unwrap().contains(' '));
}

#[test]
fn a_backup_taken_under_load_opens_and_verifies() {
    let project = Project::new()
        .runbook(
            "busy",
            "//! Busy.\nconst NEEDS = [];\nfor i in 0..60 { print(`line ${i}`); sleep(\"5ms\"); }\n",
        )
        .file("nlrun.yaml", "server: {queues: {default: 4}}\n");
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let runs: Vec<i64> = (0..24).map(|_| op.run(&json!({ "runbook": "busy" }))).collect();
    op.wait(runs[2], &["running", "done"]);
    for copy in ["one", "two", "three"] {
        std::fs::create_dir(project.path(copy)).unwrap();
        project.args(["db", "backup", &format!("{copy}/nlrun.db")]).success();
    }
    // Between one run that ends and the next one that begins none may be running.
    let left = op.get("/api/v1/runs?status=queued,running").json();
    assert_ne!(left["items"], json!([]), "the copies were taken while runs went on");
    for copy in ["one", "two", "three"] {
        project.args(["--state", copy, "db", "check"]).success();
        let copied =
            project.args(["--state", copy, "runs", "--json", "--limit", "100"]).success().json_lines();
        assert!(copied.len() >= runs.len(), "what was asked for before is in the copy: {copied:?}");
    }
    for run in runs {
        op.wait(run, &["done"]);
    }
    // A copy in the place of the log is where things go on from, what went on then included.
    server.kill();
    let server = Server::start_with(&project, &["--state", "two"]);
    let op = server.caller(&operator);
    until("everything that the copy had is done", || {
        op.get("/api/v1/runs?status=queued,running,interrupted").json()["items"] == json!([])
    });
    let failed = op.get("/api/v1/runs?status=failed,stopped,in_doubt").json();
    assert_eq!(failed["items"], json!([]), "{failed}");
}

#[test]
fn doctor_knows_the_port_and_the_certificate() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let project = with_schedule(&format!("server: {{listen: \"{address}\"}}\n"), "every: 1h\n");
    let doctor = || project.args(["doctor"]).stdout;
    assert!(doctor().contains(&format!("another program listens at {address}")), "{}", doctor());
    drop(taken);
    assert!(doctor().contains(&format!("{address} is free")), "{}", doctor());
    project.write("nlrun.yaml", "server: {listen: \"192.0.2.1:7766\", url: \"https://nlrun.example.net\"}\n");
    assert!(doctor().contains("nobody can listen at 192.0.2.1:7766"), "{}", doctor());
    project.write("nlrun.yaml", "server: {listen: \"0.0.0.0:7766\"}\n");
    assert!(doctor().contains("without TLS, so it does not start"), "{}", doctor());
    project.write("nlrun.yaml", "server: {tls: {certificate: c.pem, key: k.pem}}\n");
    let missing = project.args(["doctor"]).ends(1);
    assert!(missing.stdout.contains("c.pem"), "{missing:?}");
    let folder = tempfile::tempdir().unwrap();
    crate::support::web::certificates(folder.path());
    let bring = |name: &str, key: &str| {
        project.write("c.pem", &std::fs::read_to_string(folder.path().join(format!("{name}.pem"))).unwrap());
        project.write("k.pem", &std::fs::read_to_string(folder.path().join(format!("{key}.key"))).unwrap());
    };
    bring("right", "right");
    assert!(doctor().contains("c.pem` is good for"), "{}", doctor());
    assert!(doctor().contains("everybody on this machine may read"), "{}", doctor());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(project.path("k.pem"), mode).unwrap();
    assert!(!doctor().contains("everybody on this machine may read"), "{}", doctor());
    bring("expired", "expired");
    let ended = project.args(["doctor"]).ends(1);
    assert!(ended.stdout.contains("c.pem` has ended "), "{ended:?}");
    bring("right", "other");
    let other = project.args(["doctor"]).ends(1);
    assert!(other.stdout.contains("k.pem"), "{other:?}");
}

#[test]
fn the_unit_and_the_container_name_what_there_is() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations");
    let unit = std::fs::read_to_string(format!("{folder}/nlrun.service")).unwrap();
    let container = std::fs::read_to_string(format!("{folder}/Containerfile")).unwrap();
    let project = Project::new();
    let words = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/nlrun ")).unwrap();
    project.args(words.split_whitespace().chain(["--help"])).success();
    let help = project.args(["serve", "--help"]).success().stdout;
    let names = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map(str::to_owned);
        words.filter(|word| word.starts_with("NLRUN_") && word != "NLRUN_SECRET_").collect()
    };
    assert!(names(&unit).len() + names(&container).len() > 3);
    for name in names(&unit).into_iter().chain(names(&container)) {
        assert!(help.contains(&name), "{name} is no variable of `nlrun serve`: {help}");
    }
    // The paths of this machine in place of those of a server.
    let here = unit
        .replace("/usr/local/bin/nlrun", crate::support::project::NLRUN)
        .replace("User=nlrun\n", "User=root\n")
        .replace("/srv/nlrun", project.root().to_str().unwrap());
    project.write("nlrun.service", &here);
    let path = project.path("nlrun.service").display().to_string();
    for arguments in [vec!["verify", &path], vec!["security", "--offline=true", "--threshold=30", &path]] {
        let Ok(found) = Command::new("systemd-analyze").args(&arguments).output() else {
            eprintln!("skipped: systemd-analyze is not installed");
            return;
        };
        let said =
            String::from_utf8_lossy(&found.stdout).into_owned() + &String::from_utf8_lossy(&found.stderr);
        // What `verify` only warns of is a line that begins with the file.
        let is_quiet = arguments[0] != "verify" || !said.contains("nlrun.service:");
        assert!(found.status.success() && is_quiet, "{arguments:?}: {said}");
    }
}
