//! What events of GitLab may cause, and for whom: every decision is in the audit.
#![expect(clippy::disallowed_methods, reason = "a client that says what no library would")]

use serde_json::{Value, json};

use super::hooks::{NOTES, SECRET, World, report, runs, triggers, worked};
use crate::support::gitlab::PROJECT;
use crate::support::project::until;
use crate::support::server::{Caller, token};
use crate::support::sshd::keygen;

/// Decisions of the audit about an action: who, of what, allowed or not, and why not; the newest first.
fn decisions(admin: &Caller, query: &str) -> Vec<(String, String, bool, String)> {
    let listed = admin.get(&format!("/api/v1/audit?limit=500&{query}")).json();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let items = listed["items"].as_array().unwrap().iter();
    items
        .map(|one| (text(one, "who"), text(one, "target"), one["allowed"] == true, text(one, "reason")))
        .collect()
}

#[test]
fn runs_of_events_and_what_was_refused_are_in_the_audit() {
    let world =
        World::new("", "    notes: {grants: [\"file.put:localhost\"], runbooks: [\"runbooks/web*\"]}\n");
    let before = triggers(&world);
    let admin = token(&world.project, "root", "admin");
    let (server, op) = world.server();
    let admin = server.caller(&admin);
    world.origin.write("docker/a/compose.yaml", "2\n");
    let changed = world.origin.commit("Change a service");
    world.origin.push("main");
    assert_eq!(worked(&op, &world.push(&before, &changed)).0, "done");
    op.wait(1, &["done"]);
    let (number, _) = world.merge_request("feature", "two");
    let (ada, dev) = (world.gitlab.member("ada", 40), world.gitlab.member("dev", 30));
    let say = |id: i64, user: (&str, i64), text: &str| worked(&op, &world.note(number, id, user, text)).1;
    assert!(say(1, ("dev", dev), "nlrun apply").contains("dev is no maintainer"));
    assert!(say(2, ("ada", ada), "nlrun plan hello").contains("may not run `runbooks/hello.rhai`"));
    assert!(say(3, ("dev", dev), "deploy web").contains("dev is no maintainer"));
    // The same event again is the same run, and no other decision.
    let (_, result) = worked(
        &op,
        &json!({ "again": 1, "object_kind": "push", "ref": "refs/heads/main", "before": before,
        "after": changed, "user_username": "ada", "project": { "path_with_namespace": PROJECT } }),
    );
    assert!(result.contains("run 1"), "{result}");
    let mut found = decisions(&admin, "action=runs.create");
    found.reverse();
    let expected = [
        ("gitlab ada", "runs/1 apply runbooks/web.rhai by push to infra/nl", true, ""),
        ("gitlab dev", "infra/nl!1: nlrun apply", false, "dev is no maintainer of infra/nl, and may not"),
        ("gitlab ada", "plan hello", false, "infra/nl!1 may not run `runbooks/hello.rhai`"),
        ("gitlab dev", "trigger deploy", false, "dev is no maintainer of infra/nl"),
    ];
    let expected =
        expected.map(|(who, what, allowed, why)| (who.to_owned(), what.to_owned(), allowed, why.to_owned()));
    assert_eq!(found, expected);
    // Who cannot prove an event is there as well, and what was proved.
    let forged =
        server.nobody().send("POST", "/hooks/gitlab", &[("x-gitlab-token", "guess")], Some(&json!({})));
    assert_eq!(forged.status, 401);
    let received = decisions(&admin, "action=hooks.receive");
    assert_eq!(received[0].0, "webhook gitlab");
    assert!(!received[0].2 && received[0].3.contains("secret token is wrong"), "{received:?}");
    assert!(received[1..].iter().all(|one| one.2) && received.len() == 6, "{received:?}");
}

#[test]
fn whoever_guesses_secrets_of_the_webhook_is_slowed_down() {
    let world = World::new("", "");
    let (server, op) = world.server();
    let nobody = server.nobody();
    let guess = |secret: &str| {
        nobody.send("POST", "/hooks/gitlab", &[("x-gitlab-token", secret)], Some(&json!({}))).status
    };
    let mut tried = 0;
    until("guesses are refused", || {
        tried += 1;
        guess(&format!("guess {tried}")) == 429
    });
    // What GitLab sends from the same address goes on.
    assert_eq!(worked(&op, &world.push("a1", &"0".repeat(40))).0, "ignored");
    assert_eq!(guess(SECRET), 202);
}

#[test]
fn a_run_of_a_trigger_gets_what_both_the_trigger_and_the_runbook_name() {
    let world = World::new("", "");
    let text = format!(
        "triggers:\n  some:\n    on: push\n    runbook: web\n    params: {{path: {}}}\n    grants: [\"ssh.exec:localhost\"]\n",
        world.file()
    );
    world.origin.write("triggers/all.yaml", &text);
    let before = world.origin.commit("A trigger that may not write files");
    world.origin.write("x", "x");
    let after = world.origin.commit("Anything");
    world.origin.push("main");
    let (_server, op) = world.server();
    let (state, result) = worked(&op, &world.push(&before, &after));
    assert_eq!((state.as_str(), result.as_str()), ("done", "`some`: run 1"));
    let shown = op.wait(1, &["stopped", "failed", "done"]);
    assert_eq!(shown["status"], "stopped", "{shown}");
    assert!(shown["summary"]["error"].to_string().contains("file.put"), "{shown}");
    assert!(!world.project.path("written").exists());
}

#[test]
fn a_plan_of_a_commit_that_is_not_signed_is_not_applied_where_signatures_are_demanded() {
    let world = World::new("", NOTES);
    let key = world.project.home().join("own");
    keygen(&key, &["-t", "ed25519"]);
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    world.project.write("signers", &format!("ada@example.net namespaces=\"git\" {public}"));
    let config = world.project.read("nlrun.yaml");
    let config = config.replace("every: 1h}", "every: 1h, verify: signed, allowed_signers: signers}");
    world.project.write("nlrun.yaml", &config);
    let sign = |on: bool| {
        world.origin.git(&["config", "gpg.format", "ssh"]);
        world.origin.git(&["config", "user.signingkey", key.to_str().unwrap()]);
        world.origin.git(&["config", "commit.gpgsign", if on { "true" } else { "false" }]);
    };
    sign(true);
    triggers(&world);
    let (_server, op) = world.server();
    let ada = world.gitlab.member("ada", 40);
    let say = |number: u64, id: i64, text: &str| worked(&op, &world.note(number, id, ("ada", ada), text)).1;
    let plan = format!("nlrun plan web --set 'path={}'", world.file());
    sign(false);
    let (number, _) = world.merge_request("unsigned", "two");
    assert!(say(number, 1, &plan).contains("run 1 makes the plan"));
    op.wait(1, &["done"]);
    say(number, 2, "nlrun apply web");
    let shown = op.wait(2, &["stopped", "done", "failed"]);
    assert_eq!(shown["status"], "stopped", "{shown}");
    assert!(shown["summary"]["error"].to_string().contains("it is not signed"), "{shown}");
    assert!(!world.project.path("written").exists());
    sign(true);
    let (number, _) = world.merge_request("signed", "three");
    assert!(say(number, 3, &plan).contains("run 3 makes the plan"));
    op.wait(3, &["done"]);
    say(number, 4, "nlrun apply web");
    op.wait(4, &["done"]);
    assert!(world.project.read("written").starts_with("three\n"));
    assert_eq!(runs(&op).len(), 4);
}

#[test]
fn an_oversized_or_broken_event_is_refused_before_anything_is_kept() {
    let world = World::new("", "    require_signature: false\n");
    let (server, op) = world.server();
    let raw = |body: String, more: &[(&str, &str)]| {
        use std::io::{Read as _, Write as _};
        let address = server.url.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let mut head = format!(
            "POST /hooks/gitlab HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-gitlab-token: {SECRET}\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in more {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // The server may answer, and hang up, before it has all of it.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(4 << 20));
    for (body, more, status) in [
        (large, &[][..], "413"),
        ("{".to_owned(), &[], "422"),
        ("\u{0}".to_owned(), &[], "422"),
        ("[".repeat(100_000), &[], "422"),
        ("null".to_owned(), &[], "422"),
        ("{}".to_owned(), &[("idempotency-key", "one")], "202"),
        // A name that is none is not taken over.
        ("{\"a\":1}".to_owned(), &[("idempotency-key", "a b")], "202"),
    ] {
        let shown: String = body.chars().take(20).collect();
        let answer = raw(body, more);
        // A connection that was reset before the answer was read shows nothing.
        assert!(answer == status || (status == "413" && answer.is_empty()), "{shown}: {answer}");
    }
    until("all are worked on", || {
        op.get("/api/v1/hooks").json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["state"] == "ignored")
    });
    let kept = op.get("/api/v1/hooks").json();
    assert_eq!(kept["items"].as_array().unwrap().len(), 2, "{kept}");
    assert_eq!(report(&op, &json!({ "object_kind": 7, "project": [] })).status, 202);
}
