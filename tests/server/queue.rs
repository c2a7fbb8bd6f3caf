//! Runs are asked for, run in processes of their own, and end.
#![expect(clippy::disallowed_methods, reason = "a test waits, and looks for processes")]

use serde_json::json;

use crate::support::project::{Project, until};
use crate::support::server::{Server, token};

const HELLO: &str = r#"
    //! Says hello.
    const PARAMS = #{ name: #{ type: "string" }, wait: #{ type: "duration", default: "0s" } };
    const NEEDS = ["ssh.exec:localhost"];
    print(`hello ${params.name}`);
    ssh_exec("localhost", "echo done");
    sleep(params.wait);
"#;

fn project() -> Project {
    Project::new().runbook("hello", HELLO).runbook(
        "ask",
        r#"
        //! Asks.
        const NEEDS = ["ssh.exec:localhost"];
        approve("Go on?");
        ssh_exec("localhost", "echo yes");
        "#,
    )
}

#[test]
fn a_run_is_asked_for_followed_and_over() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "hello", "params": { "name": "you" } }));
    let shown = op.wait(run, &["done"]);
    assert_eq!(shown["by"], "token op");
    assert_eq!(shown["runbook"], "runbooks/hello.rhai");
    let events = op.get(&format!("/api/v1/runs/{run}/events?output=true")).text;
    for part in [
        "event: event\ndata: ",
        "\"queued\"",
        "\"started\"",
        "hello you",
        "\"text\":\"done\\n\"",
        "event: end",
    ] {
        assert!(events.contains(part), "{part} is missing in {events}");
    }
    // Taken up again after the third event, the stream goes on with the fourth.
    let rest = op.send("GET", &format!("/api/v1/runs/{run}/events"), &[("last-event-id", "3")], None).text;
    assert!(rest.starts_with("id: 4\n"), "{rest}");
    assert_eq!(server.stop(), Some(0));
    // What the server did is in the same run log that the command line reads.
    let listed = project.args(["runs", "--json"]);
    assert!(listed.stdout.contains("\"status\":\"done\""), "{listed:?}");
    assert_eq!(project.args(["verify", &run.to_string()]).code, 0);
}

#[test]
fn what_cannot_begin_is_over_with_its_reason() {
    let project = project();
    let server_token = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&server_token);
    let missing = op.post("/api/v1/runs", &json!({ "runbook": "helo", "params": {} }));
    assert_eq!((missing.status, missing.json()["type"].as_str()), (404, Some("/problems/not-found")));
    let run = op.run(&json!({ "runbook": "hello", "params": { "nam": "you" } }));
    let shown = op.wait(run, &["stopped", "failed"]);
    assert!(shown["summary"]["error"]["message"].as_str().unwrap().contains("no parameter `nam`"), "{shown}");
    project.write("runbooks/broken.rhai", "//! Broken.\nconst NEEDS = [];\nprnt(1);\n");
    let run = op.run(&json!({ "runbook": "broken" }));
    let shown = op.wait(run, &["stopped", "failed"]);
    assert_eq!(shown["summary"]["error"]["line"], 3, "{shown}");
}

#[test]
fn a_question_waits_for_its_answer() {
    let project = project();
    let (operator, viewer) = (token(&project, "op", "operator"), token(&project, "see", "viewer"));
    let server = Server::start(&project);
    let op = server.caller(&operator);
    for (yes, status) in [(true, "done"), (false, "failed")] {
        let run = op.run(&json!({ "runbook": "ask" }));
        let question = loop {
            let open = op.get("/api/v1/questions").json();
            if let Some(one) = open["items"].as_array().unwrap().iter().find(|one| one["run"] == run) {
                assert_eq!(one["text"], "Go on?");
                break one["question"].as_i64().unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(30));
        };
        let path = format!("/api/v1/questions/{question}");
        assert_eq!(server.caller(&viewer).post(&path, &json!({ "yes": yes })).status, 403);
        assert_eq!(op.post(&path, &json!({ "yes": yes })).status, 204);
        assert_eq!(op.post(&path, &json!({ "yes": yes })).status, 409);
        let shown = op.wait(run, &["done", "failed", "stopped"]);
        assert!(shown["status"] == status || (!yes && shown["status"] == "stopped"), "{shown}");
    }
}

#[test]
fn a_script_sees_why_it_runs_and_when_it_was_due() {
    let project = Project::new()
        .runbook(
            "why",
            r#"
            //! Says why it runs.
            const NEEDS = [];
            let why = run();
            let due = if why.scheduled_at == () { "never due" } else { why.scheduled_at.text };
            let began = why.started_at.ms - (why.lateness_ms ?? 0);
            print(`${why.trigger}|${due}|${began}|${why.missed_count}`);
            "#,
        )
        .file("schedules/often.yaml", "runbook: why\nevery: 1s\ntz: UTC\n");
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let said = |run: i64| {
        let shown = op.wait(run, &["done", "failed", "stopped"]);
        assert_eq!(shown["status"], "done", "{shown}");
        let text = op.get(&format!("/api/v1/runs/{run}/events")).text;
        let line =
            text.lines().find(|line| line.contains("\"message\"")).expect("it prints a line").to_owned();
        let line = serde_json::from_str::<serde_json::Value>(line.trim_start_matches("data: ")).unwrap();
        (shown, line["text"].as_str().unwrap().to_owned())
    };
    let (shown, text) = said(op.run(&json!({ "runbook": "why" })));
    let began = shown["started"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    assert_eq!(text, format!("token op|never due|{began}|0"));
    let mut fired = None;
    until("the schedule fires", || {
        let listed = op.get("/api/v1/runs?status=done").json();
        let items = listed["items"].as_array().unwrap();
        fired = items.iter().find(|one| one["by"] == "schedule often").and_then(|one| one["run"].as_i64());
        fired.is_some()
    });
    let (shown, text) = said(fired.unwrap());
    let at = shown["trigger"]["scheduled_at"].as_i64().unwrap();
    let due = jiff::Timestamp::from_microsecond(at).unwrap();
    assert_eq!(text, format!("schedule often|{}|{}|0", due.strftime("%Y-%m-%dT%H:%M:%SZ"), at / 1000));
    assert_eq!(at % 1_000_000, 0, "{shown}");
    // The tables that told the instant are those of this program.
    assert_eq!(shown["trigger"]["tzdata"], nlrun::model::schedule::zone::version(), "{shown}");
}

#[test]
fn a_run_that_wants_more_than_it_may_have_ends_alone() {
    let project = Project::new()
        .file("nlrun.yaml", "server: { limits: { memory: 600MiB, files: 300 } }\n")
        .runbook(
            "looks",
            "//! Looks at its limits.\nconst NEEDS = [\"ssh.read:localhost\"];\n\
             print(ssh_read(\"localhost\", \"ulimit -v; ulimit -n; ulimit -c\").out);\n",
        )
        .runbook(
            "eats",
            r#"
            //! Takes more memory with every round.
            const NEEDS = [];
            const LIMITS = #{ memory: "8GiB" };
            let text = "x";
            while text.len() < 4000000 { text += text }
            let rows = #{};
            let i = 0;
            loop { i += 1; rows[`k${i}`] = text + i.to_string(); }
            "#,
        );
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let eats = op.run(&json!({ "runbook": "eats" }));
    let looks = op.run(&json!({ "runbook": "looks" }));
    op.wait(looks, &["done"]);
    let said = op.get(&format!("/api/v1/runs/{looks}/events")).text;
    assert!(said.contains(r"614400\n300\n0"), "{said}");
    let shown = op.wait(eats, &["failed", "stopped", "interrupted"]);
    assert!(shown["summary"]["error"]["message"].is_string(), "{shown}");
    assert_eq!(op.get("/readyz").json()["ready"], true);
    op.wait(op.run(&json!({ "runbook": "looks" })), &["done"]);
}

/// A calendar of the days around now.
fn freeze() -> String {
    let day = |hours: i64| {
        let at = nlrun::world::clock::now() + jiff::SignedDuration::from_hours(hours);
        at.strftime("%Y-%m-%d 00:00").to_string()
    };
    format!("tz: UTC\nwindows:\n  - {{ from: \"{}\", until: \"{}\" }}\n", day(-48), day(48))
}

#[test]
fn a_calendar_warns_people_and_stops_them_where_it_is_hard() {
    let project = project().file("calendars/freeze.yaml", &freeze());
    let nightly = "runbook: hello\ncron: 0 3 * * *\ntz: UTC\nnot_in: [freeze]\nparams: { name: you }\n";
    let operator = token(&project, "op", "operator");
    let body = json!({ "runbook": "hello", "params": { "name": "you" } });
    for (more, status) in [("", 202), ("hard: true\n", 409)] {
        project.write("schedules/nightly.yaml", &format!("{nightly}{more}"));
        if status == 409 {
            // One that only warns does not hide one that is hard.
            project.write("schedules/early.yaml", nightly);
        }
        // One of two leads; the other one sees the schedules as well, and either does so from its first moment on.
        let (server, other) = (Server::start(&project), Server::start(&project));
        let op = server.caller(&operator);
        for one in [&server, &other] {
            let asker = one.caller(&operator);
            let answer = asker.post("/api/v1/runs", &body);
            assert_eq!(answer.status, status, "{answer:?}");
            assert!(answer.text.contains("schedule `nightly` would not run now"), "{answer:?}");
            let listed = asker.get("/api/v1/schedules").json();
            assert!(listed.to_string().contains("\"nightly\""), "{listed}");
        }
        // A plan changes nothing, and is nobody's business.
        let plan = json!({ "runbook": "hello", "params": { "name": "you" }, "mode": "plan" });
        assert_eq!(op.post("/api/v1/runs", &plan).status, 202);
    }
}

#[test]
fn what_has_waited_since_an_earlier_server_asks_its_calendar_again() {
    let project = project().file("nlrun.yaml", "server: { queues: { default: 1 } }\n");
    let once = "runbook: hello\nevery: 1s\ntz: UTC\nmax_runs: 1\nparams: { name: you }\n";
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let slow = op.run(&json!({ "runbook": "hello", "params": { "name": "slow", "wait": "60s" } }));
    op.wait(slow, &["running"]);
    project.write("schedules/once.yaml", once);
    let mut waits = None;
    until("the schedule has a run in the queue", || {
        let queued = op.get("/api/v1/runs?status=queued").json();
        waits = queued["items"][0]["run"].as_i64();
        waits.is_some()
    });
    assert_eq!(server.stop(), Some(0));
    project.write("calendars/freeze.yaml", &freeze());
    project.write("schedules/once.yaml", &format!("{once}not_in: [freeze]\n"));
    assert_eq!(project.args(["cancel", &slow.to_string(), "--now"]).code, 0);
    let server = Server::start(&project);
    let shown = server.caller(&operator).wait(waits.unwrap(), &["stopped", "cancelled", "failed", "done"]);
    assert!(shown.to_string().contains("while it waited its time passed: in calendar `freeze`"), "{shown}");
    assert_ne!(shown["status"], "done");
}

#[test]
fn one_key_is_one_run_however_often_it_is_asked_for_at_once() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let body = json!({ "runbook": "hello", "params": { "name": "you" } });
    let runs: Vec<i64> = std::thread::scope(|scope| {
        let ask = || {
            let answer = server.caller(&operator).send(
                "POST",
                "/api/v1/runs",
                &[("idempotency-key", "pipeline-7")],
                Some(&body),
            );
            assert!([200, 202].contains(&answer.status), "{answer:?}");
            answer.json()["run"].as_i64().unwrap()
        };
        let all: Vec<_> = (0..100).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
    server.caller(&operator).wait(runs[0], &["done"]);
    let listed = server.caller(&operator).get("/api/v1/runs").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn a_run_outlives_its_server_and_the_next_one_takes_it_up() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "hello", "params": { "name": "you", "wait": "3s" } }));
    op.wait(run, &["running"]);
    let waiting = op.run(&json!({ "runbook": "hello", "params": { "name": "me" } }));
    server.kill();
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let shown = op.wait(run, &["done"]);
    assert_eq!(shown["summary"]["counts"]["acts"], 1, "{shown}");
    op.wait(waiting, &["done"]);
}

#[test]
fn a_run_whose_process_is_killed_is_gone_on_with() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "hello", "params": { "name": "you", "wait": "2s" } }));
    op.wait(run, &["running"]);
    std::thread::sleep(std::time::Duration::from_millis(400));
    let listing =
        std::process::Command::new("pgrep").args(["-f", &format!("execute {run} ")]).output().unwrap();
    let id = String::from_utf8(listing.stdout).unwrap();
    let ids: Vec<i32> = id.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    let state = project.path(".nlrun");
    let own = ids.into_iter().find(|id| {
        std::fs::read(format!("/proc/{id}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(state.to_str().unwrap()))
    });
    let id = rustix::process::Pid::from_raw(own.expect("the run has a process")).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    let shown = op.wait(run, &["done", "in_doubt", "failed"]);
    assert_eq!(shown["status"], "done", "{shown}");
    let events = op.get(&format!("/api/v1/runs/{run}/events")).text;
    assert!(events.contains("\"interrupted\"") && events.contains("\"resumed\""), "{events}");
}

#[test]
fn who_may_not_is_told_so() {
    let project = project();
    let viewer = token(&project, "see", "viewer");
    let narrow = project.args(["token", "add", "n", "--role", "operator", "--runbook", "runbooks/other/*"]);
    let server = Server::start(&project);
    assert_eq!(server.nobody().get("/api/v1/runs").status, 401);
    assert_eq!(server.caller("nlr_0000").get("/api/v1/runs").status, 401);
    let body = json!({ "runbook": "hello", "params": { "name": "you" } });
    assert_eq!(server.caller(&viewer).post("/api/v1/runs", &body).status, 403);
    assert_eq!(server.caller(&viewer).get("/api/v1/runs").status, 200);
    let refused = server.caller(narrow.stdout.trim()).post("/api/v1/runs", &body);
    assert_eq!(refused.status, 403, "{refused:?}");
}
