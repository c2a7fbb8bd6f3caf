//! Pipelines of GitLab, by the ID tokens of their jobs: right ones, and every wrong one.

use serde_json::{Value, json};

use crate::support::issuer::{Issuer, Key, now, sign_shared, unsigned};
use crate::support::project::Project;
use crate::support::server::Server;

const AUDIENCE: &str = "https://nlrun.example.net";

fn project(issuer: &Issuer) -> Project {
    let rules = "      - { project_id: 42, grants: ['ssh.exec'], runbooks: ['runbooks/*'] }\n\
        \x20     - { project_id: 42, ref_protected: false, pipeline_source: merge_request_event }\n\
        \x20     - { namespace_id: 8, role: viewer }\n";
    let yaml = format!(
        "server:\n  gitlab:\n    id_tokens:\n      issuer: {}\n      audience: {AUDIENCE}\n      rules:\n{}",
        issuer.url(),
        rules.replace("      -", "        -")
    );
    Project::new()
        .file("nlrun.yaml", &yaml)
        .runbook("hello", "//! Says hello.\nconst NEEDS = [];\nprint(\"hello\");\n")
        .runbook("deep/hello", "//! Says hello.\nconst NEEDS = [];\nprint(\"hello\");\n")
}

fn claims(issuer: &Issuer, jti: &str) -> Value {
    json!({
        "iss": issuer.url(), "aud": AUDIENCE, "sub": "project_path:infra/nl:ref_type:branch:ref:main", "jti": jti,
        "exp": now() + 300, "iat": now(), "nbf": now() - 5, "namespace_id": "7", "namespace_path": "infra",
        "project_id": "42", "project_path": "infra/nl", "user_login": "ann", "pipeline_id": "11", "pipeline_source": "push",
        "job_id": "1001", "ref": "main", "ref_type": "branch", "ref_protected": "true", "sha": "0".repeat(40),
    })
}

fn with(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn hello() -> Value {
    json!({ "runbook": "hello" })
}

#[test]
fn a_job_runs_what_its_rule_allows_once_a_token() {
    let issuer = Issuer::start();
    let project = project(&issuer);
    let server = Server::start(&project);
    let job = server.caller(&issuer.sign(&claims(&issuer, "a")));
    let who = job.get("/api/v1/session").json();
    assert_eq!(
        (&who["by"], &who["role"], &who["grants"]),
        (&json!("id_token"), &json!("operator"), &json!(["ssh.exec"]))
    );
    assert_eq!(job.post("/api/v1/runs", &json!({ "runbook": "deep/hello" })).status, 403);
    let run = job.run(&hello());
    let shown = job.wait(run, &["done"]);
    assert_eq!(shown["by"], "job 1001 of infra/nl", "{shown}");
    assert_eq!(shown["trigger"], json!({ "by": "job", "project": "infra/nl", "job": "1001", "user": "ann" }));
    let again = job.post("/api/v1/runs", &hello());
    assert_eq!(again.status, 403, "{again:?}");
    assert!(again.json()["detail"].as_str().unwrap().contains("asked for a run before"), "{again:?}");
    // What did not become a run leaves the token as it was.
    let job = server.caller(&issuer.sign(&claims(&issuer, "b")));
    assert_eq!(job.post("/api/v1/runs", &json!({ "runbook": "helo" })).status, 404);
    // A job that heard no answer asks again with the same key, and with no other.
    let ask = |key: &str| job.send("POST", "/api/v1/runs", &[("idempotency-key", key)], Some(&hello()));
    let (first, second) = (ask("k"), ask("k"));
    assert_eq!((first.status, second.status), (202, 200), "{first:?} {second:?}");
    assert_eq!(first.json()["run"], second.json()["run"]);
    assert_eq!(ask("other").status, 403);
    // Twenty at once are one.
    let token = issuer.sign(&claims(&issuer, "c"));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| server.caller(&token).post("/api/v1/runs", &hello()).status))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 19, "{statuses:?}");
    // The token outlives no server: what it has asked for is in the run log.
    drop(server);
    let server = Server::start(&project);
    assert_eq!(server.caller(&token).post("/api/v1/runs", &hello()).status, 403);
}

#[test]
fn a_wrong_token_is_nobody() {
    let issuer = Issuer::start();
    let project = project(&issuer);
    let server = Server::start(&project);
    let right = claims(&issuer, "a");
    let key = issuer.state.lock().signer.clone();
    let head = json!({ "alg": "RS256", "kid": "first" });
    let signed = |changes: Value| key.sign(&with(right.clone(), changes));
    let without = |name: &str| {
        let mut claims = right.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.sign(&claims)
    };
    let cut = |token: &str, part: usize| {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let middle = parts[part].len() / 2;
        let other = if &parts[part][middle..=middle] == "A" { "B" } else { "A" };
        parts[part].replace_range(middle..=middle, other);
        parts.join(".")
    };
    let forged = Key::new("first");
    let cases = [
        ("signed by somebody else", forged.sign(&right)),
        ("changed", cut(&key.sign(&right), 1)),
        ("with another signature", cut(&key.sign(&right), 2)),
        ("without a signature", format!("{}.", unsigned(&head, &right))),
        ("alg none", format!("{}.", unsigned(&json!({ "alg": "none", "kid": "first" }), &right))),
        ("alg none, signed", key.sign_with(&json!({ "alg": "none", "kid": "first" }), &right)),
        ("alg None", format!("{}.", unsigned(&json!({ "alg": "None" }), &right))),
        (
            "HS256 with the public key",
            sign_shared(&json!({ "alg": "HS256", "kid": "first" }), &right, &key.public_pem),
        ),
        (
            "HS256 with the modulus",
            sign_shared(
                &json!({ "alg": "HS256", "kid": "first" }),
                &right,
                key.listed()["n"].as_str().unwrap().as_bytes(),
            ),
        ),
        ("RS512 in its head", key.sign_with(&json!({ "alg": "RS512", "kid": "first" }), &right)),
        (
            "with a key in its head",
            forged.sign_with(&json!({ "alg": "RS256", "jwk": forged.listed() }), &right),
        ),
        (
            "with extensions",
            key.sign_with(&json!({ "alg": "RS256", "kid": "first", "crit": ["b64"], "b64": false }), &right),
        ),
        ("expired", signed(json!({ "exp": now() - 90, "iat": now() - 900 }))),
        ("not yet valid", signed(json!({ "nbf": now() + 120 }))),
        ("from the future", signed(json!({ "iat": now() + 120 }))),
        ("without an end", without("exp")),
        ("for another audience", signed(json!({ "aud": "https://other.example.net" }))),
        ("for part of the audience", signed(json!({ "aud": "https://nlrun.example.net.evil.example" }))),
        ("for nobody", without("aud")),
        ("of another issuer", signed(json!({ "iss": "https://gitlab.example.com" }))),
        ("of no issuer", without("iss")),
        ("without a number", without("jti")),
        ("of an unprotected branch", signed(json!({ "ref_protected": "false" }))),
        ("of another project", signed(json!({ "project_id": "43" }))),
        (
            "of a fork with the path of the project",
            signed(json!({ "project_id": "99", "namespace_id": "9" })),
        ),
        ("of a fork's merge request", signed(json!({ "job_project_id": "41" }))),
        ("with numbers for texts", signed(json!({ "project_id": 42 }))),
        ("no token", "a.b.c".to_owned()),
    ];
    for (what, token) in &cases {
        let answer = server.caller(token).post("/api/v1/runs", &hello());
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        let signature = token.rsplit('.').next().unwrap();
        assert!(signature.len() < 8 || !answer.text.contains(signature), "{what}");
        assert!(!server.said().contains(token.as_str()), "{what} is logged");
    }
    let right = server.caller(&key.sign(&right));
    assert_eq!(right.post("/api/v1/runs", &hello()).status, 202, "after all these the right one still is");
    let refused = project.args(["audit", "--json", "--refused", "-n", "100"]).json_lines();
    assert_eq!(refused.len(), cases.len(), "{refused:?}");
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let issuer = Issuer::start();
    let server_project = project(&issuer);
    let server = Server::start(&server_project);
    for changes in [json!({ "exp": now() - 20 }), json!({ "nbf": now() + 20 }), json!({ "iat": now() + 20 })]
    {
        let token = issuer.sign(&with(claims(&issuer, "a"), changes.clone()));
        assert_eq!(server.caller(&token).get("/api/v1/session").status, 200, "{changes}");
    }
}

#[test]
fn new_keys_are_found_and_unknown_ones_are_not_asked_for_without_end() {
    let issuer = Issuer::start();
    let server_project = project(&issuer);
    let server = Server::start(&server_project);
    let status = |token: &str| server.caller(token).get("/api/v1/session").status;
    assert_eq!(status(&issuer.sign(&claims(&issuer, "a"))), 200);
    assert_eq!(status(&issuer.sign(&claims(&issuer, "b"))), 200);
    assert_eq!(issuer.state.lock().keys_asked, 1, "keys are kept");
    let old = issuer.sign(&claims(&issuer, "c"));
    issuer.rotate("second");
    assert_eq!(status(&issuer.sign(&claims(&issuer, "d"))), 200, "the new key is asked for");
    assert_eq!(status(&old), 401, "and the old one is forgotten");
    let stranger = Key::new("unknown");
    for _ in 0..20 {
        assert_eq!(status(&stranger.sign(&claims(&issuer, "e"))), 401);
    }
    assert!(issuer.state.lock().keys_asked <= 5, "{}", issuer.state.lock().keys_asked);
    assert_eq!(status(&issuer.sign(&claims(&issuer, "f"))), 200, "who has a known key does not wait for it");
}

#[test]
fn an_unprotected_branch_may_plan_and_change_nothing() {
    let issuer = Issuer::start();
    let server_project = project(&issuer);
    let server = Server::start(&server_project);
    let merge =
        json!({ "ref": "feature", "ref_protected": "false", "pipeline_source": "merge_request_event" });
    let job = |jti: &str| server.caller(&issuer.sign(&with(claims(&issuer, jti), merge.clone())));
    assert_eq!(job("a").get("/api/v1/session").json()["plans_only"], true);
    assert_eq!(job("a").post("/api/v1/runs", &hello()).status, 403);
    let run = job("b").run(&json!({ "runbook": "hello", "mode": "plan" }));
    job("b").wait(run, &["done"]);
    for path in [
        format!("/api/v1/runs/{run}/cancel"),
        format!("/api/v1/runs/{run}/resume"),
        "/api/v1/questions/1".into(),
    ] {
        assert_eq!(job("c").post(&path, &json!({ "yes": true })).status, 403, "{path}");
    }
    let viewer = with(claims(&issuer, "d"), json!({ "project_id": "50", "namespace_id": "8" }));
    assert_eq!(server.caller(&issuer.sign(&viewer)).post("/api/v1/runs", &hello()).status, 403);
}
