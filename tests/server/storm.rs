//! A server that is killed at any moment under load: nothing is lost, nothing is doubled, nothing stays running.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "a test waits, and reads how long it may")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::project::Project;
use crate::support::server::{Server, token};

/// How often the server is killed; `NLRUN_STORMS` makes it more.
fn storms() -> u32 {
    std::env::var("NLRUN_STORMS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

const COUNTED: &str = r#"
    //! Leaves a mark for each run, once.
    const PARAMS = #{ mark: #{ type: "string", default: "scheduled" } };
    const NEEDS = ["ssh.exec:localhost"];
    sleep("200ms");
    ssh_exec("localhost", `echo ${params.mark} >> marks`);
    sleep("100ms");
"#;

#[test]
fn a_server_killed_under_load_loses_and_doubles_nothing() {
    let mut project = Project::new()
        .file("nlrun.yaml", "server:\n  queues: {default: 20, scheduled: 20}\n")
        .runbook("counted", COUNTED);
    for number in 0..50 {
        project = project.file(
            &format!("schedules/s{number}.yaml"),
            &format!("runbook: counted\nevery: {}s\ntz: UTC\nqueue: scheduled\noverlap: allow\nmisfire: all\nparams: {{mark: s{number}}}\n", 4 + number % 5),
        );
    }
    let operator = token(&project, "op", "operator");
    let mut server = Server::start(&project);
    let mut asked = BTreeMap::new();
    for storm in 0..storms() {
        let op = server.caller(&operator);
        for number in 0..25 {
            let mark = format!("asked-{storm}-{number}");
            let key = mark.clone();
            let body = json!({ "runbook": "counted", "params": { "mark": mark } });
            let run =
                op.send("POST", "/api/v1/runs", &[("idempotency-key", &key)], Some(&body)).json()["run"]
                    .as_i64()
                    .unwrap();
            asked.insert(mark, run);
        }
        std::thread::sleep(Duration::from_millis(150 + 370 * u64::from(storm % 5)));
        server.kill();
        server = Server::start(&project);
    }
    let op = server.caller(&operator);
    for (mark, run) in &asked {
        let shown = op.wait(*run, &["done", "failed", "stopped", "in_doubt", "cancelled"]);
        assert_eq!(shown["status"], "done", "{mark}: {shown}");
    }
    // No new instants: what is left comes to its end.
    for number in 0..50 {
        project.write(
            &format!("schedules/s{number}.yaml"),
            "runbook: counted\nevery: 1d\ntz: UTC\nenabled: false\n",
        );
    }
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let busy = op.get("/api/v1/runs?status=queued,running,interrupted&limit=500").json();
        if busy["items"].as_array().unwrap().is_empty() {
            break;
        }
        assert!(Instant::now() < end, "still busy: {busy}");
        std::thread::sleep(Duration::from_millis(200));
    }
    server.stop();
    let mut marks: BTreeMap<String, usize> = BTreeMap::new();
    for mark in project.read("marks").lines() {
        *marks.entry(mark.to_owned()).or_default() += 1;
    }
    for mark in asked.keys() {
        assert_eq!(marks.get(mark), Some(&1), "{mark} happened another number of times");
    }
    // Each instant of each schedule is one run, with one mark; or a row that says why not.
    let store =
        nlrun::store::Store::open(&project.path(".nlrun"), &nlrun::store::Options::default()).unwrap();
    let reader = store.reader().unwrap();
    for number in 0..50 {
        let name = format!("s{number}");
        let fates = reader.fates(Some(&name), None, 1000).unwrap();
        let mut instants: Vec<i64> = fates.iter().map(|fate| fate.instant).collect();
        let runs = fates.iter().filter(|fate| fate.state == "run").count();
        instants.sort_unstable();
        instants.dedup();
        assert_eq!(instants.len(), fates.len(), "an instant of {name} was decided twice: {fates:?}");
        let period = (4 + number % 5) * 1_000_000;
        for pair in instants.windows(2) {
            assert_eq!(pair[1] - pair[0], period, "an instant of {name} is lost: {fates:?}");
        }
        assert_eq!(marks.get(&name).copied().unwrap_or(0), runs, "{name}: {fates:?}");
    }
}

#[test]
fn of_two_servers_one_leads_and_the_other_follows_it() {
    let project = Project::new()
        .runbook("counted", COUNTED)
        .file("schedules/s.yaml", "runbook: counted\nevery: 2s\ntz: UTC\noverlap: allow\n");
    let operator = token(&project, "op", "operator");
    let first = Server::start(&project);
    let second = Server::start(&project);
    // What the follower is asked for, the leader starts.
    let run = second.caller(&operator).run(&json!({ "runbook": "counted", "params": { "mark": "asked" } }));
    second.caller(&operator).wait(run, &["done"]);
    std::thread::sleep(Duration::from_secs(4));
    first.kill();
    let run = second.caller(&operator).run(&json!({ "runbook": "counted", "params": { "mark": "after" } }));
    second.caller(&operator).wait(run, &["done"]);
    std::thread::sleep(Duration::from_secs(3));
    second.stop();
    let store =
        nlrun::store::Store::open(&project.path(".nlrun"), &nlrun::store::Options::default()).unwrap();
    let fates = store.reader().unwrap().fates(Some("s"), None, 100).unwrap();
    let mut instants: Vec<i64> = fates.iter().map(|fate| fate.instant).collect();
    instants.sort_unstable();
    assert!(instants.len() >= 3, "{fates:?}");
    assert!(instants.windows(2).all(|pair| pair[1] - pair[0] == 2_000_000), "{fates:?}");
}
