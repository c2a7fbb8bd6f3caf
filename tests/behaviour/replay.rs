//! Replay: a recorded run again, from its journal alone.

use nlrun::model::run::{RunId, Status};
use serde_json::Value;

use super::{HOSTS, call, ledger, of, store, verified};
use crate::support::project::Project;

const RUNBOOK: &str = r#"
const NEEDS = ["ssh.read", "ssh.exec"];
let stamp = ssh_read("h1", "cat input").out;
let number = random(1000000);
step "act" {
    ssh_exec("h1", `echo act >> done`);
    print(`${stamp} ${number} ${now().ms}`);
}
each(hosts("web"), |h| {
    if h.name == "h2" { fail("not this one") }
    ssh_exec(h, `echo ${h.name} >> done`);
});
number
"#;

/// What a stream says, without what a replay cannot know: numbers, times, output kept in the log.
fn said(lines: &[Value]) -> Vec<String> {
    let mut said: Vec<String> = of(lines, "message").map(|line| line["text"].to_string()).collect();
    said.extend(of(lines, "step_began").map(|line| format!("step {}", line["name"])));
    said.extend(of(lines, "branch_ended").map(|line| format!("{} {}", line["host"], line["verdict"])));
    said.sort();
    said
}

#[test]
fn a_finished_run_replays_without_its_world_and_adds_nothing() {
    let project = Project::new().inventory(HOSTS).runbook("acts", RUNBOOK).file("input", "stamp");
    let lines = call(&project, ["run", "acts", "--json"]).ends(4).json_lines();
    let done = ledger(&project);
    for gone in ["input", "inventory/hosts.yaml", "runbooks/acts.rhai", "done"] {
        std::fs::remove_file(project.path(gone)).unwrap();
    }
    let events = store(&project).reader().unwrap().run(RunId(1)).unwrap().last_seq;
    let again = call(&project, ["replay", "1", "--json"]).ends(4).json_lines();
    assert_eq!(said(&again), said(&lines));
    let result = |lines: &[Value]| of(lines, "ended").map(|line| line["result"].clone()).collect::<Vec<_>>();
    assert_eq!(result(&again), result(&lines));
    assert!(ledger(&project).is_empty() && !done.is_empty());
    let store = store(&project);
    assert_eq!(store.reader().unwrap().run(RunId(1)).unwrap().last_seq, events);
    assert!(store.reader().unwrap().run(RunId(2)).is_err());
    assert_eq!(verified(&store, 1), Status::Partial);
}

#[test]
fn a_record_that_the_script_does_not_follow_is_reported() {
    for (from, to) in [
        // Another command at the same place, and an act that the script never asks for.
        ("echo act >> done", "echo was >> done"),
        ("\"address\":\"3\"", "\"address\":\"33\""),
    ] {
        let project = Project::new().inventory(HOSTS).runbook("acts", RUNBOOK).file("input", "stamp");
        call(&project, ["run", "acts"]).ends(4);
        let database = rusqlite::Connection::open(project.database()).unwrap();
        let changed = database.execute("UPDATE events SET body = replace(body, ?1, ?2)", [from, to]).unwrap();
        assert!(changed > 0);
        drop(database);
        let output = call(&project, ["replay", "1"]);
        assert_ne!(output.code, 4, "{to}\n{}", output.stderr);
        let told = ["the journal has", "no effect at"].iter().any(|words| output.stderr.contains(words));
        assert!(told, "{to}\n{}", output.stderr);
        // The chain tells that it was not nlrun who wrote this.
        let broken = store(&project).reader().unwrap().verify(RunId(1)).unwrap().broken;
        assert!(broken.is_some());
    }
}

#[test]
fn a_plan_replays_as_a_plan() {
    let project = Project::new().inventory(HOSTS).runbook("acts", RUNBOOK).file("input", "stamp");
    call(&project, ["plan", "acts"]);
    std::fs::remove_file(project.path("input")).unwrap();
    let plan = store(&project).reader().unwrap().run(RunId(1)).unwrap();
    let output = call(&project, ["replay", "1"]);
    assert_eq!(output.code, i32::from(plan.summary.status.exit_code()), "{}", output.stderr);
    assert!(ledger(&project).is_empty());
}

#[test]
fn an_unknown_run_is_wrong_usage_and_an_interrupted_one_replays_as_far_as_it_came() {
    let project = Project::new().inventory(HOSTS).runbook("acts", RUNBOOK).file("input", "stamp");
    call(&project, ["replay", "7"]).ends(64);
    let mut command = project.command(["run", "acts"]);
    let child = command.env("NLRUN_TEST_KILL_AFTER", "9").stdout(std::process::Stdio::null()).spawn();
    assert_eq!(super::finish(child.unwrap()).code, -1);
    let done = ledger(&project);
    let output = call(&project, ["replay", "1"]);
    assert!(output.stderr.contains("no effect at"), "{}", output.stderr);
    assert_eq!(ledger(&project), done);
}

#[test]
fn output_that_the_log_has_lost_is_never_an_empty_text() {
    let project = Project::new().inventory(HOSTS).runbook("acts", RUNBOOK).file("input", "stamp");
    call(&project, ["run", "acts"]).ends(4);
    let database = rusqlite::Connection::open(project.database()).unwrap();
    assert!(database.execute("DELETE FROM chunks", []).unwrap() > 0);
    drop(database);
    let output = call(&project, ["replay", "1"]).ends(1);
    assert!(output.stderr.contains("runbooks/acts.rhai:3"), "{}", output.stderr);
}
