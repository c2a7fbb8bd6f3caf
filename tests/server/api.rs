//! The API: all of it described, all of it answering in problems, lists in pages.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::project::Project;
use crate::support::server::{Answer, Caller, Server, token};

const SYNC: &str = r#"
    //! Syncs certificates.
    //!
    //! From here to there.
    const PARAMS = #{ host: #{ type: "host", required: true, doc: "where to" }, level: #{ type: "choice", choices: ["a", "b"], default: "a" } };
    const NEEDS = ["ssh.exec:localhost", "file.put:localhost"];
    const LIMITS = #{ timeout: "5m", locks: ["certs"] };
    step "Write" {
        file_put("localhost", `${params.host}-${params.level}`, "/tmp/nlrun-never-there");
    }
"#;

fn project() -> Project {
    Project::new()
        .runbook("certs/sync", SYNC)
        .runbook(
            "write",
            r#"
            //! Writes a file.
            const PARAMS = #{ path: #{ type: "string", required: true } };
            const NEEDS = ["file.put:localhost", "ssh.exec:localhost"];
            file_put("localhost", params.path, "one\ntwo\n");
            ssh_exec("localhost", "echo out; echo err >&2");
            artifact("report <b>.html", "<script>alert(1)</script>");
            "#,
        )
        .runbook("quiet", "//! Does nothing.\nconst NEEDS = [];\nprint(1);\n")
        .runbook("slow", "//! Waits.\nconst NEEDS = [];\nconst LIMITS = #{ locks: [\"one\"] };\nsleep(\"30s\");\n")
        .inventory("all:\n  hosts:\n    edge-1: {ansible_host: 192.0.2.1}\n    edge-2: {ansible_host: 192.0.2.2, ansible_port: 2222}\n  children:\n    web:\n      hosts: {edge-1: {}}\n")
        .file(
            "schedules/certs.yaml",
            "runbook: certs/sync\ncron: 30 2 * * *\ntz: Europe/Amsterdam\nparams: {host: localhost}\nstale_after: 26h\n",
        )
        .file("nlrun.yaml", "server: {queues: {default: 1}}\n")
}

fn problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let media = answer.headers.get("content-type").unwrap();
    assert_eq!(media, "application/problem+json", "{answer:?}");
    let problem = answer.json();
    assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!(format!("/problems/{kind}"))));
    assert!(problem["detail"].as_str().is_some_and(|text| !text.is_empty()), "{answer:?}");
}

/// Fills the parts of a path in.
fn filled(path: &str, with: &str) -> String {
    let mut text = path.to_owned();
    while let (Some(begin), Some(end)) = (text.find('{'), text.find('}')) {
        text.replace_range(begin..=end, with);
    }
    text
}

/// Every operation of the document: path, method, operation.
fn operations(description: &Value) -> Vec<(String, String, Value)> {
    let paths = description["paths"].as_object().unwrap();
    let of = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().unwrap().clone();
        let path = path.clone();
        methods.into_iter().map(move |(method, operation)| (path.clone(), method.to_uppercase(), operation))
    };
    paths.iter().flat_map(of).collect()
}

fn resolve<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        None => schema,
        Some(reference) => {
            let found = description.pointer(reference.trim_start_matches('#'));
            resolve(description, found.unwrap_or_else(|| panic!("{reference} is not there")))
        }
    }
}

/// Says where a value is not what the schema says.
fn misfit(description: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let schema = resolve(description, schema);
    for key in ["oneOf", "anyOf"] {
        if let Some(options) = schema[key].as_array() {
            let fits = options.iter().any(|one| misfit(description, one, value, at).is_none());
            return (!fits).then(|| format!("{at}: none of {key}"));
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().find_map(|one| misfit(description, one, value, at));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return Some(format!("{at}: {kind} is none of {kinds:?}: {value}"));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        return values.iter().find_map(|one| misfit(description, items, one, &format!("{at}[]")));
    }
    let map = value.as_object()?;
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            return Some(format!("{at}.{name} is missing"));
        }
    }
    let properties = schema["properties"].as_object()?;
    map.iter().find_map(|(name, value)| {
        let found = properties.get(name);
        match found {
            None => Some(format!("{at}.{name} is not described")),
            Some(schema) => misfit(description, schema, value, &format!("{at}.{name}")),
        }
    })
}

#[test]
fn the_document_is_whole_and_says_what_is_there() {
    let description = serde_json::to_value(nlrun::server::openapi()).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&description) {
        let at = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{at} has no id"));
        ids.insert((id.to_owned(), operation["tags"][0].as_str().unwrap_or_default().to_owned()));
        assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{at} has no summary");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{at}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path: BTreeSet<&str> = parameters
            .iter()
            .filter(|one| one["in"] == "path")
            .filter_map(|one| one["name"].as_str())
            .collect();
        let declared: BTreeSet<&str> =
            path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        assert_eq!(in_path, declared, "{at}");
        for parameter in &parameters {
            assert!(
                parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{at}: {parameter}"
            );
        }
        let mut schemas: Vec<&Value> = parameters.iter().map(|one| &one["schema"]).collect();
        for content in responses.values().chain([&operation["requestBody"]]) {
            schemas.extend(
                content["content"].as_object().into_iter().flatten().map(|(_, media)| &media["schema"]),
            );
        }
        for schema in schemas {
            known(&description, schema, &at, 0);
        }
    }
    assert!(ids.len() > 20);
}

/// Follows a schema to its ends: every reference is there, every type is one of JSON Schema.
fn known(description: &Value, schema: &Value, at: &str, depth: usize) {
    assert!(depth < 40, "{at}: a schema without end");
    let schema = resolve(description, schema);
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.clone()],
        Value::Array(kinds) => kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    for kind in kinds {
        let all = ["null", "boolean", "object", "array", "number", "string", "integer"];
        assert!(all.contains(&kind.as_str()), "{at}: {kind}");
    }
    let lists = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
    let properties = schema["properties"].as_object().into_iter().flatten().map(|(_, schema)| schema);
    for inner in lists.chain(properties).chain(schema.get("items")) {
        known(description, inner, at, depth + 1);
    }
}

#[test]
fn every_route_of_the_code_is_in_the_document() {
    let description = serde_json::to_value(nlrun::server::openapi()).unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/server");
    let mut folders = vec![root.clone()];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // What is described is routed by `routes!`; by hand there are only pages and what the document itself needs.
            let described = text.matches("#[utoipa::path(").count();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let router = std::fs::read_to_string(root.join("api/mod.rs")).unwrap();
            if path.parent() == Some(&root.join("api")) && name != "mod" {
                let routed: usize = router
                    .lines()
                    .filter(|line| line.contains("routes!("))
                    .map(|line| line.matches(&format!("{name}::")).count())
                    .sum();
                assert_eq!(described, routed, "{}: what is described and what is routed", path.display());
            }
            found += described;
            for part in text.split(".route(\"/").skip(1) {
                let route = format!("/{}", part.split('"').next().unwrap());
                let is_page = !route.starts_with("/api/");
                assert!(is_page || description["paths"][&route].is_object(), "{route} is not described");
            }
        }
    }
    assert_eq!(found, operations(&description).len());
}

#[test]
fn every_operation_asks_who_asks_and_refuses_nonsense_with_a_problem() {
    let project = project();
    let admin = token(&project, "all", "admin");
    let server = Server::start(&project);
    let description = server.nobody().get("/openapi.json").json();
    let all = server.caller(&admin);
    for (path, method, operation) in operations(&description) {
        if operation["tags"][0] == "health" && path != "/metrics" {
            continue;
        }
        let refused = server.nobody().send(&method, &filled(&path, "1"), &[], Some(&json!({})));
        // Signing in is for those who are nobody yet.
        if path != "/api/v1/session" {
            problem(&refused, 401, "unauthorized");
        }
        let takes_number = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["in"] == "path" && one["schema"]["type"] == "integer");
        if takes_number {
            for nonsense in ["abc", "1e3", "9223372036854775808", "1%00", "-"] {
                let answer = all.send(&method, &filled(&path, nonsense), &[], Some(&json!({})));
                assert!([404, 422].contains(&answer.status), "{method} {path} {nonsense}: {answer:?}");
                assert_eq!(answer.headers["content-type"], "application/problem+json");
            }
            let nothing = all.send(&method, &filled(&path, "999999"), &[], Some(&json!({})));
            assert!(nothing.status >= 400 && nothing.status < 500, "{method} {path}: {nothing:?}");
        }
    }
    problem(&all.get("/api/v1/nothing"), 404, "not-found");
    problem(&all.send("DELETE", "/api/v1/runs", &[], None), 405, "method");
}

#[test]
fn bodies_and_queries_that_do_not_fit_are_told_apart() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let raw =
        |body: &str, media: &str| op.send_text("POST", "/api/v1/runs", &[], Some((media, body.to_owned())));
    problem(&raw("{\"runbook\": ", "application/json"), 400, "syntax");
    problem(&raw("{\"runbook\": \"quiet\", \"runbok\": 1}", "application/json"), 422, "invalid");
    problem(&raw("{\"runbook\": 1}", "application/json"), 422, "invalid");
    problem(&raw("", "application/json"), 422, "invalid");
    problem(&raw("runbook=quiet", "application/x-www-form-urlencoded"), 415, "media-type");
    let huge = format!("{{\"runbook\": \"{}\"}}", "x".repeat(5 << 20));
    problem(&raw(&huge, "application/json"), 413, "too-large");
    for path in [
        "runs?limit=many",
        "runs?limt=3",
        "runs?status=happy",
        "runs?since=yesterday",
        "hosts?pattern=[",
        "fates?before=x",
    ] {
        problem(&op.get(&format!("/api/v1/{path}")), 422, "invalid");
    }
    let key = "k".repeat(201);
    let body = json!({ "runbook": "quiet" });
    problem(&op.send("POST", "/api/v1/runs", &[("idempotency-key", &key)], Some(&body)), 422, "invalid");
}

#[test]
fn a_key_is_for_one_thing_of_one_caller() {
    let project = project();
    let (operator, other) = (token(&project, "op", "operator"), token(&project, "other", "operator"));
    let server = Server::start(&project);
    let (op, other) = (server.caller(&operator), server.caller(&other));
    let path = project.path("written").display().to_string();
    let body = json!({ "runbook": "write", "params": { "path": path } });
    let ask = |caller: &Caller, body: &Value| {
        caller.send("POST", "/api/v1/runs", &[("idempotency-key", "deploy 7")], Some(body))
    };
    let first = ask(&op, &body);
    assert_eq!((first.status, &first.json()["known"]), (202, &json!(false)));
    let run = first.json()["run"].clone();
    // The same in other words: by the path of the runbook, and with the usual mode.
    let again =
        ask(&op, &json!({ "runbook": "runbooks/write.rhai", "mode": "apply", "params": { "path": path } }));
    assert_eq!((again.status, &again.json()["known"], &again.json()["run"]), (200, &json!(true), &run));
    for something_else in [
        json!({ "runbook": "quiet" }),
        json!({ "runbook": "write", "params": { "path": "/tmp/nlrun-never-there" } }),
        json!({ "runbook": "write", "mode": "plan", "params": { "path": path } }),
    ] {
        let refused = ask(&op, &something_else);
        problem(&refused, 422, "key-used");
        assert!(refused.text.contains(&format!("run {run}")), "{refused:?}");
    }
    let of_other = ask(&other, &json!({ "runbook": "quiet" }));
    assert_eq!((of_other.status, &of_other.json()["known"]), (202, &json!(false)), "callers share no keys");
    assert_eq!(op.get("/api/v1/runs").json()["items"].as_array().unwrap().len(), 2);
}

#[test]
fn runbooks_tell_what_they_take_and_how_they_went() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "quiet" }));
    op.wait(run, &["done"]);
    let all = op.get("/api/v1/runbooks").json();
    let names: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|one| one["runbook"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["runbooks/certs/sync.rhai", "runbooks/quiet.rhai", "runbooks/slow.rhai", "runbooks/write.rhai"]
    );
    let pick = |query: &str| -> Vec<String> {
        let page = op.get(&format!("/api/v1/runbooks?{query}")).json();
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["runbook"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(pick("unscheduled=true&never_run=true"), ["runbooks/slow.rhai", "runbooks/write.rhai"]);
    assert_eq!(pick("limit=2"), names[..2]);
    assert_eq!(pick("limit=2&after=runbooks/quiet.rhai"), names[2..]);
    let sync = op.get("/api/v1/runbooks/certs%2Fsync").json();
    assert_eq!(sync["params"]["properties"]["host"]["x-nlrun-type"], "host", "{sync}");
    assert_eq!((&sync["params"]["required"], &sync["schedules"]), (&json!(["host"]), &json!(["certs"])));
    assert_eq!((&sync["summary"], &sync["limits"]["timeout"]), (&json!("Syncs certificates."), &json!("5m")));
    assert_eq!(sync["needs"], json!(["ssh.exec:localhost", "file.put:localhost"]));
    let quiet = op.get("/api/v1/runbooks/quiet").json();
    assert_eq!((&quiet["runs"][0]["run"], &quiet["last"]["status"]), (&json!(run), &json!("done")));
    for name in [
        "..%2F..%2Fetc%2Fpasswd",
        "%2Fetc%2Fpasswd",
        "nlrun.yaml",
        "..%2Fnlrun.yaml",
        ".nlrun%2Fnlrun.db",
        "nothing",
    ] {
        let answer = op.get(&format!("/api/v1/runbooks/{name}"));
        problem(&answer, 404, "not-found");
        assert!(!answer.text.contains("root:"), "{answer:?}");
        let name = name.replace("%2F", "/");
        let asked = op.post("/api/v1/runs", &json!({ "runbook": name }));
        assert!(
            asked.status == 404 || name == "nlrun.yaml" || name.ends_with(".db") || name == "../nlrun.yaml",
            "{asked:?}"
        );
    }
}

#[test]
fn a_schedule_is_shown_stopped_moved_and_let_go_on() {
    let project = project();
    let (operator, viewer) = (token(&project, "op", "operator"), token(&project, "see", "viewer"));
    let editor = token(&project, "ed", "editor");
    let server = Server::start(&project);
    let (op, see, ed) = (server.caller(&operator), server.caller(&viewer), server.caller(&editor));
    let path = "/api/v1/schedules/certs";
    let cursor = |caller: &Caller| caller.get(path).json()["cursor"]["by"].clone();
    crate::support::project::until("the scheduler has seen it", || cursor(&see) == "scheduler");
    let shown = see.get(&format!("{path}?count=3&after=2027-03-27T12:00:00Z")).json();
    // The night in which the clock is set forward (scheduler.md, vectors): 02:30 is not there.
    let at: Vec<&str> =
        shown["next"].as_array().unwrap().iter().map(|one| one["at"].as_str().unwrap()).collect();
    assert_eq!(at, ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z", "2027-03-30T00:30:00Z"]);
    assert_eq!((&shown["when"], &shown["stale_after"]), (&json!("cron 30 2 * * *"), &json!("1d2h")));
    assert!(shown["stale_since"].is_null(), "{shown}");
    let because = json!({ "reason": "the registrar is down" });
    assert_eq!(see.post(&format!("{path}/pause"), &because).status, 403);
    problem(&op.post(&format!("{path}/pause"), &json!({ "reason": " " })), 422, "invalid");
    let paused = op.post(&format!("{path}/pause"), &because).json();
    assert_eq!(paused["paused"]["why"], "token op: the registrar is down", "{paused}");
    let listed = see.get("/api/v1/schedules?paused=true").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let back = op.post(&format!("{path}/resume"), &json!({ "reason": "it is back" })).json();
    assert!(back["paused"].is_null(), "{back}");
    assert_eq!(
        (&back["cursor"]["by"], &back["cursor"]["reason"]),
        (&json!("token op"), &json!("it is back"))
    );
    let to = json!({ "at": "2027-01-01T00:00:00Z", "reason": "not before the new year" });
    assert_eq!(op.send("PUT", &format!("{path}/cursor"), &[], Some(&to)).status, 403);
    let moved = ed.send("PUT", &format!("{path}/cursor"), &[], Some(&to)).json();
    assert_eq!(moved["cursor"]["at"], "2027-01-01T00:00:00Z", "{moved}");
    problem(&see.get("/api/v1/schedules/other"), 404, "not-found");
    let played = see.get("/api/v1/simulation?from=2027-03-27T00:00:00Z&until=2027-03-30T00:00:00Z").json();
    assert_eq!(
        (played["runs"].as_array().unwrap().len(), &played["moved"][0]["seconds"]),
        (3, &json!(3600)),
        "{played}"
    );
    problem(
        &see.get("/api/v1/simulation?from=2027-03-27T00:00:00Z&until=2028-03-30T00:00:00Z"),
        422,
        "invalid",
    );
}

#[test]
fn hosts_have_their_groups_and_last_result() {
    let project = project().runbook(
        "touch",
        "//! Fans out.\nconst NEEDS = [\"ssh.exec:localhost\"];\neach([\"localhost\"], |h| { ssh_exec(h, \"true\"); });\n",
    );
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "touch" }));
    op.wait(run, &["done"]);
    let hosts = op.get("/api/v1/hosts").json();
    let of = |name: &str| {
        hosts["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["host"] == name)
            .unwrap_or_else(|| panic!("{hosts}"))
            .clone()
    };
    let edge = of("edge-2");
    assert_eq!(
        (&edge["address"], &edge["port"], &edge["groups"]),
        (&json!("192.0.2.2"), &json!(2222), &json!(["ungrouped"]))
    );
    assert_eq!(of("edge-1")["groups"], json!(["web"]));
    assert_eq!(of("localhost")["last"]["run"], run, "{hosts}");
    let picked = op.get("/api/v1/hosts?pattern=edge-*&limit=1").json();
    assert_eq!((&picked["items"][0]["host"], &picked["next"]), (&json!("edge-1"), &json!("edge-1")));
    let rest = op.get("/api/v1/hosts?pattern=edge-*&limit=1&after=edge-1").json();
    assert_eq!((&rest["items"][0]["host"], &rest["next"]), (&json!("edge-2"), &Value::Null));
    let groups = op.get("/api/v1/groups").json();
    assert!(groups["items"].as_array().unwrap().iter().any(|one| one["group"] == "web"), "{groups}");
}

#[test]
fn the_queue_says_who_waits_for_what_and_who_holds_it() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let first = op.run(&json!({ "runbook": "slow" }));
    op.wait(first, &["running"]);
    let second = op.run(&json!({ "runbook": "quiet" }));
    let other = op.run(&json!({ "runbook": "slow", "queue": "other" }));
    let queue = || op.get("/api/v1/queue").json();
    crate::support::project::until("both wait", || {
        let queue = queue();
        let waiting = queue["waiting"].as_array().unwrap();
        waiting.len() == 2
            && waiting.iter().all(|one| one["waits_for"].is_string())
            && queue["locks"].as_array().unwrap().len() == 2
    });
    let queue = queue();
    let waiting =
        |run: i64| queue["waiting"].as_array().unwrap().iter().find(|one| one["run"] == run).unwrap().clone();
    assert_eq!(waiting(second)["waits_for"], "slot");
    assert_eq!((&waiting(other)["waits_for"], &waiting(other)["lock"]), (&json!("lock"), &json!("one")));
    let lock = queue["locks"].as_array().unwrap().iter().find(|one| one["lock"] == "one").unwrap();
    assert_eq!(lock["run"], first, "{queue}");
    assert!(lock["age_seconds"].as_i64().unwrap() >= 0);
    let slots = queue["queues"].as_array().unwrap().iter().find(|one| one["queue"] == "default").unwrap();
    assert_eq!((&slots["slots"], &slots["taken"], &slots["waiting"]), (&json!(1), &json!(1), &json!(1)));
    for run in [second, other, first] {
        assert_eq!(op.post(&format!("/api/v1/runs/{run}/cancel"), &json!({ "now": true })).status, 202);
    }
    op.wait(first, &["cancelled"]);
}

#[test]
fn what_a_run_did_is_told_piece_by_piece() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let path = project.path("written").display().to_string();
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let planned = op.run(&json!({ "runbook": "write", "mode": "plan", "params": { "path": path } }));
    op.wait(planned, &["done"]);
    let plan = op.get(&format!("/api/v1/runs/{planned}/plan")).json();
    assert_eq!((&plan["run"], plan["effects"].as_array().unwrap().len()), (&json!(planned), 2), "{plan}");
    let run = op.run(&json!({ "plan": planned }));
    let shown = op.wait(run, &["done"]);
    assert!(shown["plan"].is_string(), "{shown}");
    problem(&op.get(&format!("/api/v1/runs/{run}/plan")), 409, "conflict");
    let effects = op.get(&format!("/api/v1/runs/{run}/effects")).json();
    let names: Vec<&str> =
        effects["items"].as_array().unwrap().iter().map(|one| one["effect"].as_str().unwrap()).collect();
    assert_eq!(names, ["file.put", "ssh.exec", "run.artifact"], "{effects}");
    let first = op.get(&format!("/api/v1/runs/{run}/effects?limit=1")).json();
    let next = first["next"].as_i64().unwrap();
    let rest = op.get(&format!("/api/v1/runs/{run}/effects?limit=9&after={next}")).json();
    assert_eq!((&rest["items"][0]["effect"], &rest["next"]), (&json!("ssh.exec"), &Value::Null));
    let diffs = op.get(&format!("/api/v1/runs/{run}/effects?diff=true")).json();
    assert!(diffs["items"][0]["diff"].as_str().unwrap().contains("+two"), "{diffs}");
    let address = effects["items"][1]["address"].as_str().unwrap();
    for (stream, text) in [("out", "out\n"), ("err", "err\n")] {
        let output = op.get(&format!("/api/v1/runs/{run}/output?address={address}&stream={stream}"));
        assert_eq!(output.text, text);
        assert_eq!(output.headers["x-content-type-options"], "nosniff");
        assert!(output.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    }
    problem(&op.get(&format!("/api/v1/runs/{run}/output?address=99")), 404, "not-found");
    let source = op.get(&format!("/api/v1/runs/{run}/source")).json();
    assert!(source["text"].as_str().unwrap().contains("//! Writes a file."), "{source}");
    problem(&op.get(&format!("/api/v1/runs/{run}/source?path=../../etc/passwd")), 404, "not-found");
}

#[test]
fn answers_are_what_the_document_says() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let path = project.path("written").display().to_string();
    let planned = op.run(&json!({ "runbook": "write", "mode": "plan", "params": { "path": path } }));
    op.wait(planned, &["done"]);
    let description = op.get("/openapi.json").json();
    for (path, method, operation) in operations(&description) {
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        if method != "GET" || schema.is_null() {
            continue;
        }
        let with = match path.as_str() {
            path if path.contains("{runbook}") => "write".to_owned(),
            path if path.contains("{schedule}") => "certs".to_owned(),
            _ => planned.to_string(),
        };
        let answer = op.get(&filled(&path, &with));
        if answer.status != 200 {
            // What needs more than a path: a query that must be there, or another role.
            assert!([403, 422].contains(&answer.status), "{path}: {answer:?}");
            continue;
        }
        if resolve(&description, schema)["properties"].is_object() {
            assert_eq!(misfit(&description, schema, &answer.json(), "body"), None, "{path}: {}", answer.text);
        }
    }
}

#[test]
fn the_reference_page_has_nothing_from_elsewhere() {
    let project = project();
    let server = Server::start(&project);
    let page = server.nobody().get("/reference");
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for source in page.text.split(['"', '\'']).filter(|part| part.starts_with('/') && part.len() > 1) {
        assert_eq!(server.nobody().get(source).status, 200, "{source}");
    }
    assert!(
        !page.text.contains("://") && !page.text.contains("<script>") && !page.text.contains("onload"),
        "{}",
        page.text
    );
    let script = server.nobody().get("/reference/reference.js").text;
    assert!(!script.contains("innerHTML") && !script.contains("://"), "the script puts in text only");
}
