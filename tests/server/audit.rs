//! What the audit says that a decision was about: whoever reads it later must know which thing, and what became of it.

use serde_json::{Value, json};

use crate::support::project::{Project, until};
use crate::support::server::{Server, token};

#[test]
fn each_change_names_what_it_was_about() {
    let project = Project::new()
        .runbook("ask", "//! Asks.\nconst NEEDS = [];\napprove(\"Go on?\");\n")
        .runbook("slow", "//! Takes its time.\nconst NEEDS = [];\nsleep(\"60s\");\n")
        .runbook("web/a", "//! Is edited.\n")
        .file("schedules/nightly.yaml", "runbook: ask\ncron: 0 4 * * *\ntz: UTC\n");
    let [root, viewer] =
        [("root", "admin"), ("see", "viewer")].map(|(name, role)| token(&project, name, role));
    let server = Server::start(&project);
    let (op, see) = (server.caller(&root), server.caller(&viewer));
    let file = "/api/v1/file?path=runbooks/web/a.rhai";
    let hash = op.get(file).json()["hash"].as_str().unwrap().to_owned();
    let text = |text: &str, before: &str| json!({ "text": text, "before": before });
    assert_eq!(see.send("PUT", file, &[], Some(&text("//! x\n", &hash))).status, 403);
    let saved = op.send("PUT", file, &[], Some(&text("//! Is another one.\n", &hash))).json();
    let gone = format!("{file}&before={}", saved["hash"].as_str().unwrap());
    assert_eq!(see.send("DELETE", &gone, &[], None).status, 403);
    assert_eq!(op.send("DELETE", &gone, &[], None).status, 200);

    let run = op.run(&json!({ "runbook": "ask" }));
    let mut question = Value::Null;
    until("the question", || {
        question = op.get("/api/v1/questions").json()["items"][0]["question"].clone();
        !question.is_null()
    });
    assert_eq!(op.post(&format!("/api/v1/questions/{question}"), &json!({ "yes": false })).status, 204);
    op.wait(run, &["failed", "stopped"]);
    let slow = op.run(&json!({ "runbook": "slow" }));
    op.wait(slow, &["running"]);
    assert_eq!(op.post(&format!("/api/v1/runs/{slow}/cancel"), &json!({ "now": true })).status, 202);
    let at = "/api/v1/schedules/nightly";
    let why = json!({ "reason": "the site moves" });
    assert_eq!(op.post(&format!("{at}/pause"), &why).status, 200);
    assert_eq!(op.post(&format!("{at}/resume"), &why).status, 200);
    let to = json!({ "at": "2099-01-31T03:00:00Z", "reason": "not this century" });
    assert_eq!(op.send("PUT", &format!("{at}/cursor"), &[], Some(&to)).status, 200);

    let told = op.get("/api/v1/audit?limit=100").json();
    let rows: Vec<String> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .filter(|row| row["address"] != "terminal")
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default();
            let verdict = if row["allowed"] == true { "allowed" } else { "refused" };
            format!("{}: {} {verdict}", text("action"), text("target"))
        })
        .collect();
    assert_eq!(
        rows,
        [
            "files.save: file runbooks/web/a.rhai refused".to_owned(),
            "files.save: file runbooks/web/a.rhai allowed".to_owned(),
            "files.remove: file runbooks/web/a.rhai refused".to_owned(),
            "files.remove: file runbooks/web/a.rhai allowed".to_owned(),
            format!("runs.create: runs/{run} apply runbooks/ask.rhai allowed"),
            format!("questions.answer: questions/{question} of run {run}: no allowed"),
            format!("runs.create: runs/{slow} apply runbooks/slow.rhai allowed"),
            format!("runs.cancel: runs/{slow}/cancel without clean-ups allowed"),
            "schedules.pause: schedules/nightly/pause: the site moves allowed".to_owned(),
            "schedules.resume: schedules/nightly/resume: the site moves allowed".to_owned(),
            "schedules.set: schedules/nightly/cursor 2099-01-31T03:00:00Z: not this century allowed"
                .to_owned(),
        ]
    );
}
