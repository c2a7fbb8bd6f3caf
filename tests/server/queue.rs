//! Runs are asked for, run in processes of their own, and end.
#![expect(clippy::disallowed_methods, reason = "a test waits, and looks for processes")]

use serde_json::json;

use crate::support::project::Project;
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
