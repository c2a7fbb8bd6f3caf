//! A disk that is full under a server: requests are told so, the server lives on, and nothing is lost when there is room again.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::project::{Project, until};
use crate::support::server::{Server, token};
use crate::support::small::Small;

const STEPS: usize = 30;

#[test]
fn a_full_disk_is_told_and_everything_goes_on_when_there_is_room() {
    let project = Project::new()
        .file("nlrun.yaml", "server: {queues: {default: 1}}\n")
        .runbook(
            "steps",
            &format!(
                r#"
                //! Writes files, and output that random letters keep from being packed small.
                const PARAMS = #{{ folder: #{{ type: "string", required: true }} }};
                const NEEDS = ["ssh.read:localhost", "file.put:localhost"];
                for i in 0..{STEPS} {{
                    file_put("localhost", `${{params.folder}}/step-${{i}}`, "x");
                    ssh_read("localhost", "head -c 30000 /dev/urandom | base64");
                    sleep("50ms");
                }}
                "#
            ),
        )
        .runbook("quick", "//! Quick.\nconst NEEDS = [];\nprint(1);\n")
        .file("schedules/often.yaml", "runbook: quick\nevery: 1s\ntz: UTC\nqueue: often\n");
    let Some(disk) = Small::mount(&project.path(".nlrun")) else { return };
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let folder = project.root().display().to_string();
    let long = op.run(&json!({ "runbook": "steps", "params": { "folder": folder } }));
    let is_there = |number: usize| project.path(&format!("step-{number}")).exists();
    until("it has begun", || is_there(2));
    disk.leave(150_000);
    let mut asked = BTreeSet::from([long]);
    until("the server has no room for another run", || {
        let answer = op.post("/api/v1/runs", &json!({ "runbook": "quick", "params": {} }));
        match answer.status {
            202 => {
                asked.insert(answer.json()["run"].as_i64().unwrap());
            }
            507 => {
                assert_eq!(answer.headers["content-type"], "application/problem+json");
                assert_eq!(answer.json()["type"], "/problems/full", "{answer:?}");
                return true;
            }
            _ => panic!("{answer:?}"),
        }
        false
    });
    // It still answers, and says what is wrong.
    assert_eq!(op.get("/healthz").text, "ok\n");
    assert_eq!(op.get("/api/v1/runs").status, 200);
    assert_eq!(op.get(&format!("/api/v1/runs/{long}")).status, 200);
    let ready = op.get("/readyz");
    assert!(ready.status == 503 && ready.text.contains("are free on the disk"), "{ready:?}");
    until("the run found no room either", || server.said().contains("full"));
    disk.grow();
    until("runs are taken again", || {
        let answer = op.post("/api/v1/runs", &json!({ "runbook": "quick" }));
        answer.status == 202 && asked.insert(answer.json()["run"].as_i64().unwrap())
    });
    for run in asked {
        let shown = op.wait(run, &["done", "failed", "stopped", "in_doubt", "cancelled"]);
        assert_eq!(shown["status"], "done", "{shown}");
    }
    assert!((0..STEPS).all(is_there), "every step was made");
    let last = op.get("/api/v1/fates?schedule=often&limit=1").json()["items"][0]["at"].clone();
    until("the schedule goes on", || {
        op.get("/api/v1/fates?schedule=often&limit=1").json()["items"][0]["at"] != last
    });
    assert_eq!(server.stop(), Some(0));
    project.args(["db", "check"]).success();
    drop(disk);
}
