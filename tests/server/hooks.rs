//! Webhooks of GitLab: proved, taken in once, and what comes of them, against a real repository and the lab's strict GitLab.
#![expect(clippy::disallowed_methods, reason = "a signature holds the time")]

use base64::Engine as _;
use ring::hmac;
use serde_json::{Value, json};

use crate::support::gitlab::{GitLab, PROJECT, TOKEN};
use crate::support::origin::Origin;
use crate::support::project::{Project, until};
use crate::support::server::{Answer, Caller, Server, token};

pub(super) const SECRET: &str = "hook-secret-1";
const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const WEB: &str = r#"//! Changes a file.
const PARAMS = #{ path: #{ type: "string" }, text: "one", from: "", to: "" };
const NEEDS = ["file.put:localhost", "ssh.exec:localhost"];
print(`from ${params.from} to ${params.to}`);
file_put("localhost", params.path, params.text + "\n/merge @all </details>\n");
"#;

pub(super) struct World {
    pub(super) origin: Origin,
    pub(super) gitlab: GitLab,
    pub(super) project: Project,
    pub(super) operator: String,
}

impl World {
    /// A repository, a GitLab that has it, and a server that follows it.
    pub(super) fn new(triggers: &str, more: &str) -> Self {
        let origin = Origin::new("//! x\n1\n");
        origin.write("runbooks/web.rhai", WEB);
        origin.write("docker/a/compose.yaml", "1\n");
        if !triggers.is_empty() {
            origin.write("triggers/all.yaml", triggers);
        }
        let main = origin.commit("Triggers");
        origin.push("main");
        let gitlab = GitLab::start(&main);
        let config = format!(
            "{}server:\n  url: https://nlrun.example.net\n  project: {{url: {}, every: 1h}}\n  gitlab:\n    project: {PROJECT}\n    \
             webhook_token: gitlab/hook\n    signing_token: gitlab/signing\n{more}",
            gitlab.config(),
            origin.path().display()
        );
        let project = Project::new()
            .variable("NLRUN_SECRET_GITLAB_API", TOKEN)
            .variable("NLRUN_SECRET_GITLAB_HOOK", SECRET)
            .variable("NLRUN_SECRET_GITLAB_SIGNING", SIGNING)
            .file("nlrun.yaml", &config);
        let operator = token(&project, "op", "operator");
        Self { origin, gitlab, project, operator }
    }

    pub(super) fn server(&self) -> (Server, Caller) {
        let server = Server::start(&self.project);
        let op = server.caller(&self.operator);
        (server, op)
    }

    /// Where `web` writes its file.
    pub(super) fn file(&self) -> String {
        self.project.path("written").display().to_string()
    }

    pub(super) fn push(&self, before: &str, after: &str) -> Value {
        json!({
            "object_kind": "push", "ref": "refs/heads/main", "before": before, "after": after, "user_id": 7, "user_username": "ada",
            "project": { "path_with_namespace": PROJECT },
        })
    }

    pub(super) fn note(&self, number: u64, id: i64, user: (&str, i64), text: &str) -> Value {
        let state = self.gitlab.state().at(PROJECT).unwrap().merge_requests[&number].clone();
        json!({
            "object_kind": "note", "user": { "id": user.1, "username": user.0 }, "project": { "path_with_namespace": PROJECT },
            "object_attributes": { "id": id, "note": text, "noteable_type": "MergeRequest", "action": "create" },
            "merge_request": { "iid": number, "state": "opened", "source_branch": state.source, "target_branch": "main",
                "source_project_id": 1, "target_project_id": 1, "last_commit": { "id": state.head } },
        })
    }

    /// Pushes a branch with a change, opens its merge request, and returns its number and head.
    pub(super) fn merge_request(&self, branch: &str, text: &str) -> (u64, String) {
        self.origin.git(&["checkout", "--quiet", "-B", branch, "main"]);
        self.origin.write("runbooks/web.rhai", &WEB.replace("one", text));
        let head = self.origin.commit("Change it");
        self.origin.push(branch);
        let number = self.gitlab.merge_request(branch, &head);
        self.origin.push_merge_request(number);
        (number, head)
    }

    /// Pushes one more commit to a merge request.
    pub(super) fn move_on(&self, number: u64, text: &str) -> String {
        self.origin.write("runbooks/web.rhai", &WEB.replace("one", text));
        let head = self.origin.commit("Change it again");
        self.origin.push_merge_request(number);
        let mut state = self.gitlab.state();
        state.at(PROJECT).unwrap().merge_requests.get_mut(&number).unwrap().head.clone_from(&head);
        head
    }
}

pub(super) fn report(caller: &Caller, event: &Value) -> Answer {
    caller.send("POST", "/hooks/gitlab", &[("x-gitlab-token", SECRET)], Some(event))
}

pub(super) fn runs(op: &Caller) -> Vec<Value> {
    op.get("/api/v1/runs").json()["items"].as_array().unwrap().clone()
}

/// What has become of the events, the newest first.
pub(super) fn outcomes(op: &Caller) -> Vec<(String, String)> {
    let listed = op.get("/api/v1/hooks").json();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    listed["items"].as_array().unwrap().iter().map(|one| (text(one, "state"), text(one, "result"))).collect()
}

/// Reports an event and waits until it was worked on; returns what came of it.
#[track_caller]
pub(super) fn worked(op: &Caller, event: &Value) -> (String, String) {
    let before = outcomes(op).len();
    let answer = report(op, event);
    assert_eq!(answer.status, 202, "{answer:?}");
    let mut newest = (String::new(), String::new());
    until("the event is worked on", || {
        let all = outcomes(op);
        newest = all.first().cloned().unwrap_or_default();
        all.len() > before && newest.0 != "waiting"
    });
    newest
}

fn sign(id: &str, at: i64, body: &str) -> String {
    let key = base64::engine::general_purpose::STANDARD.decode(&SIGNING[6..]).unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(tag))
}

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

#[test]
fn an_event_is_proved_by_token_or_signature_and_taken_in_once() {
    let world = World::new("", "");
    let (server, op) = world.server();
    let event = world.push("a1", "b2");
    let nobody = server.nobody();
    for (headers, status) in [
        (vec![], 401),
        (vec![("x-gitlab-token", "wrong")], 401),
        (vec![("x-gitlab-token", "")], 401),
        (
            vec![
                ("x-gitlab-token", SECRET),
                ("webhook-signature", "v1,AAAA"),
                ("webhook-id", "1"),
                ("webhook-timestamp", "1"),
            ],
            401,
        ),
        (vec![("x-gitlab-token", SECRET), ("idempotency-key", "first")], 202),
        (vec![("x-gitlab-token", SECRET), ("idempotency-key", "first")], 200),
    ] {
        let answer = nobody.send("POST", "/hooks/gitlab", &headers, Some(&event));
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert!(!answer.text.contains(SECRET));
    }
    let body = event.to_string();
    let signed = |id: &str, at: i64, of: &str| {
        let (at_text, signature) = (at.to_string(), sign(id, at, of));
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", at_text.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        nobody.send("POST", "/hooks/gitlab", &headers, Some(&event)).status
    };
    assert_eq!(signed("msg_1", now(), &body), 202);
    assert_eq!(signed("msg_1", now(), &body), 200, "a replay is known");
    assert_eq!(signed("msg_2", now() - 301, &body), 401);
    assert_eq!(signed("msg_3", now() + 320, &body), 401);
    assert_eq!(signed("msg_4", now(), "{}"), 401);
    // Neither what is no JSON nor what is too long does any harm.
    let raw =
        |body: &Value| nobody.send("POST", "/hooks/gitlab", &[("x-gitlab-token", SECRET)], Some(body)).status;
    assert_eq!(raw(&json!([1, 2])), 422);
    assert_eq!(raw(&json!({ "x": "y".repeat(5 << 20) })), 413);
    assert_eq!(nobody.get("/hooks/gitlab").status, 405);
    until("all are worked on", || outcomes(&op).iter().all(|(state, _)| state != "waiting"));
    assert_eq!(outcomes(&op).len(), 2, "{:?}", outcomes(&op));
    assert!(runs(&op).is_empty());
    drop(server);
    let strict = World::new("", "    require_signature: true\n");
    let (server, _) = strict.server();
    let answer = report(&server.nobody(), &event);
    assert!(answer.status == 401 && answer.text.contains("it is not signed"), "{answer:?}");
}

pub(super) const TRIGGERS: &str = r#"
triggers:
  web:
    on: push
    branches: [main]
    paths: ["docker/**"]
    runbook: web
    params: { path: PATH, from: "{{ before }}", to: "{{ commit }}" }
    grants: ["file.put:localhost", "ssh.exec:localhost"]
  look:
    on: merge_request
    paths: ["runbooks/**"]
    runbook: web
    params: { path: PATH }
    grants: ["file.put:localhost"]
  after:
    on: pipeline
    branches: [main]
    status: [success]
    runbook: hello
  deploy:
    on: note
    says: deploy web
    runbook: web
    params: { path: PATH }
"#;

pub(super) fn triggers(world: &World) -> String {
    world.origin.write("triggers/all.yaml", &TRIGGERS.replace("PATH", &world.file()));
    let tip = world.origin.commit("Triggers");
    world.origin.push("main");
    tip
}

#[test]
fn a_push_runs_what_its_files_concern_at_its_own_commit() {
    let world = World::new("", "");
    let before = triggers(&world);
    let (_server, op) = world.server();
    world.origin.write("docs/readme.md", "docs\n");
    let docs = world.origin.commit("Docs");
    world.origin.push("main");
    let (state, result) = worked(&op, &world.push(&before, &docs));
    assert!(state == "ignored" && result.contains("none of its files has changed"), "{state}: {result}");
    world.origin.write("docker/a/compose.yaml", "2\n");
    let changed = world.origin.commit("Change a service");
    world.origin.push("main");
    let (state, result) = worked(&op, &world.push(&docs, &changed));
    assert!(state == "done" && result.contains("`web`: run 1"), "{state}: {result}");
    let shown = op.wait(1, &["done"]);
    assert_eq!(
        (shown["commit"].as_str(), shown["by"].as_str()),
        (Some(&*changed), Some("push to infra/nl")),
        "{shown}"
    );
    assert_eq!((&shown["params"]["from"], &shown["params"]["to"]), (&json!(docs), &json!(changed)));
    // Reported again under another name it is the same run.
    let (_, result) = worked(
        &op,
        &json!({ "again": 1, "object_kind": "push", "ref": "refs/heads/main", "before": docs, "after": changed,
        "user_username": "ada", "project": { "path_with_namespace": PROJECT } }),
    );
    assert!(result.contains("run 1"), "{result}");
    // There and back again changes nothing; nor does a branch that is gone, or a project of somebody else.
    world.origin.write("docker/a/compose.yaml", "3\n");
    world.origin.commit("There");
    world.origin.write("docker/a/compose.yaml", "2\n");
    let back = world.origin.commit("And back again");
    world.origin.push("main");
    assert_eq!(worked(&op, &world.push(&changed, &back)).0, "ignored");
    assert!(worked(&op, &world.push(&back, &"0".repeat(40))).1.contains("is gone"));
    let mut other = world.push(&docs, &changed);
    other["project"]["path_with_namespace"] = "evil/nl".into();
    assert!(worked(&op, &other).1.contains("it is about evil/nl"));
    // From a commit that nobody knows, everything may have changed.
    let (_, result) = worked(&op, &world.push(&"1".repeat(40), &back));
    assert!(result.contains("`web`: run 2"), "{result}");
    let pipeline = |status: &str| {
        json!({ "object_kind": "pipeline", "user": { "id": 7, "username": "ada" }, "project": { "path_with_namespace": PROJECT },
            "object_attributes": { "id": 9, "ref": "main", "sha": back, "status": status, "tag": false } })
    };
    assert_eq!(worked(&op, &pipeline("failed")).0, "ignored");
    assert!(worked(&op, &pipeline("success")).1.contains("`after`: run 3"));
    op.wait(3, &["done"]);
}

#[test]
fn what_a_run_has_pushed_makes_nothing_run_unless_somebody_has_changed_it() {
    let world = World::new("", "");
    let before = triggers(&world);
    let (_server, op) = world.server();
    let commit = |text: &str, run: bool, tree: Option<&str>| {
        world.origin.write("docker/a/compose.yaml", text);
        world.origin.git(&["add", "--all"]);
        let own = world.origin.git(&["write-tree"]);
        let trailers = format!("Sync\n\nNlrun-Run: 7\nNlrun-Content: {}\n", tree.unwrap_or(&own));
        world.origin.git(&["commit", "--quiet", "-m", if run { &trailers } else { "Mine" }]);
        let head = world.origin.head();
        world.origin.push("main");
        (head, own)
    };
    let (own, tree) = commit("own\n", true, None);
    let (state, result) = worked(&op, &world.push(&before, &own));
    assert!(state == "ignored" && result.contains("made by a run"), "{state}: {result}");
    // The message was copied, and the content is another one.
    let (copied, _) = commit("copied\n", true, Some(&tree));
    assert_eq!(worked(&op, &world.push(&own, &copied)).0, "done");
    // One of several is a person's.
    let (_, _) = commit("mine\n", false, None);
    let (last, _) = commit("own again\n", true, None);
    assert_eq!(worked(&op, &world.push(&copied, &last)).0, "done");
}

pub(super) const NOTES: &str = "    notes: {grants: [\"file.put:localhost\"]}\n";

#[test]
fn a_merge_request_is_planned_told_and_applied_exactly() {
    let world = World::new("", NOTES);
    triggers(&world);
    let (_server, op) = world.server();
    let (number, head) = world.merge_request("feature", "two");
    let ada = world.gitlab.member("ada", 40);
    let opened = json!({
        "object_kind": "merge_request", "user": { "id": ada, "username": "ada" }, "project": { "path_with_namespace": PROJECT },
        "object_attributes": { "iid": number, "action": "open", "state": "opened", "source_branch": "feature", "target_branch": "main",
            "source_project_id": 1, "target_project_id": 1, "last_commit": { "id": head } },
    });
    let (state, result) = worked(&op, &opened);
    assert!(state == "done" && result.contains("`look`: run 1"), "{state}: {result}");
    let shown = op.wait(1, &["done"]);
    assert_eq!(
        (shown["mode"].as_str(), shown["commit"].as_str(), shown["by"].as_str()),
        (Some("plan"), Some(&*head), Some("infra/nl!1"))
    );
    assert!(!world.project.path("written").exists(), "a plan has written");
    until("the merge request is told", || {
        world.gitlab.notes(number).iter().any(|note| note.contains("**1 to change**"))
    });
    let notes = world.gitlab.notes(number);
    assert_eq!(notes.len(), 1);
    for part in [
        "[run 1](https://nlrun.example.net/runs/1)",
        "<summary>localhost (1)</summary>",
        "+two",
        "`nlrun apply` does exactly this",
    ] {
        assert!(notes[0].contains(part), "{part} is missing in {}", notes[0]);
    }
    until("the status is told", || {
        world.gitlab.history("nlrun/plan/web").last().is_some_and(|state| state == "success")
    });
    // What is there changes after the plan: nothing is applied blindly.
    let say = |id: i64, text: &str| world.note(number, id, ("ada", ada), text);
    let (state, result) = worked(&op, &say(1, "nlrun apply"));
    assert!(state == "done" && result.contains("run 2 applies plan 1"), "{state}: {result}");
    let shown = op.wait(2, &["done"]);
    assert_eq!((shown["mode"].as_str(), shown["commit"].as_str()), (Some("apply"), Some(&*head)), "{shown}");
    assert!(world.project.read("written").starts_with("two\n"));
    until("the merge request is told", || world.gitlab.notes(number)[0].contains("1 changed"));
    until("the status is told", || {
        world.gitlab.history("nlrun/apply/web").last().is_some_and(|state| state == "success")
    });
    let notes = world.gitlab.notes(number);
    assert!(notes.len() == 1 && notes[0].contains("ada: nlrun apply: run 2 applies plan 1"), "{notes:?}");
    // A plan is used once, and the note says so.
    let (_, result) = worked(&op, &say(2, "nlrun apply"));
    assert!(result.contains("was applied by run 2 already"), "{result}");
    // The same note again, and the same event again, are nothing new.
    let again = report(&op, &say(1, "nlrun apply"));
    assert_eq!(again.status, 200);
    assert_eq!(runs(&op).len(), 2);
    until("the answer is told", || world.gitlab.notes(number)[0].contains("was applied by run 2 already"));
}

#[test]
fn a_plan_is_refused_when_the_head_has_moved_and_by_whom_may_not() {
    let world = World::new("", NOTES);
    triggers(&world);
    let (_server, op) = world.server();
    let (number, _) = world.merge_request("feature", "two");
    let (ada, dev, guest) =
        (world.gitlab.member("ada", 40), world.gitlab.member("dev", 30), world.gitlab.member("guest", 10));
    let mallory = world.gitlab.member("mallory", 0);
    let path = world.file();
    let plan = format!("nlrun plan web --set 'path={path}' --set text=three");
    let say = |id: i64, user: (&str, i64), text: &str| worked(&op, &world.note(number, id, user, text)).1;
    assert!(say(1, ("ada", ada), "nlrun apply").contains("there is no plan to apply"));
    assert!(say(2, ("guest", guest), &plan).contains("guest is no developer of infra/nl"));
    assert!(say(3, ("mallory", mallory), &plan).contains("mallory is no developer"));
    assert!(say(4, ("dev", dev), &plan).contains("run 1 makes the plan"));
    op.wait(1, &["done"]);
    assert!(say(5, ("dev", dev), "nlrun apply").contains("dev is no maintainer of infra/nl"));
    let moved = world.move_on(number, "four");
    let refused = say(6, ("ada", ada), "nlrun apply web");
    assert!(
        refused.contains("the merge request has moved from") && refused.contains(&moved[..8]),
        "{refused}"
    );
    assert!(say(7, ("ada", ada), "nlrun aply").contains("did you mean `apply`?"));
    assert!(say(8, ("ada", ada), "nlrun plan nothing").contains("there is no runbook `nothing`"));
    assert!(say(9, ("ada", ada), "nlrun").contains("write `nlrun plan"));
    assert!(say(10, ("nlrun", world.gitlab.bot), "nlrun apply").contains("nlrun's own"));
    assert!(say(11, ("ada", ada), "looks good").contains("it is no order"));
    assert_eq!(runs(&op).len(), 1);
    // What was planned with parameters is planned and applied with them; the file has changed meanwhile, so nothing is written.
    assert!(say(12, ("ada", ada), &plan).contains("run 2 makes the plan"));
    op.wait(2, &["done"]);
    world.project.write("written", "somebody else's\n");
    assert!(say(13, ("ada", ada), "nlrun apply web").contains("run 3 applies plan 2"));
    let shown = op.wait(3, &["stopped", "done", "failed"]);
    assert_eq!(
        (shown["status"].as_str(), world.project.read("written").as_str()),
        (Some("stopped"), "somebody else's\n"),
        "{shown}"
    );
    until("the merge request is told", || {
        world.gitlab.history("nlrun/apply/web").last().is_some_and(|state| state == "failed")
    });
    // `nlrun plan` alone plans what the triggers name, as often as it is asked for.
    for (id, run) in [(14, 4), (15, 5)] {
        let said = say(id, ("dev", dev), "nlrun plan");
        assert!(said.contains(&format!("`look`: run {run}")), "{said}");
        op.wait(run, &["done"]);
    }
    // Words of a trigger count from maintainers on, and what runs is what the followed branch has.
    assert!(say(16, ("dev", dev), "deploy web").contains("dev is no maintainer"));
    assert!(say(17, ("ada", ada), "deploy web").contains("`deploy`: run 6"));
    op.wait(6, &["done"]);
    assert!(world.project.read("written").starts_with("one\n"));
    // Of a fork nothing is planned.
    world.gitlab.state().at(PROJECT).unwrap().merge_requests.get_mut(&number).unwrap().source_project = 999;
    assert!(say(18, ("ada", ada), "nlrun plan web").contains("what is in forks is not run here"));
    let notes = world.gitlab.notes(number);
    until("the answer is told", || world.gitlab.notes(number)[0].contains("in forks"));
    assert_eq!(notes.len(), 1);
}

#[test]
fn what_waits_is_worked_on_by_the_next_server_and_a_gitlab_that_is_away_is_told_later() {
    let world = World::new("", NOTES);
    triggers(&world);
    let (number, _) = world.merge_request("feature", "two");
    let ada = world.gitlab.member("ada", 40);
    let (server, op) = world.server();
    world.gitlab.state().broken = 6;
    let event = world.note(number, 1, ("ada", ada), &format!("nlrun plan web --set path={}", world.file()));
    assert_eq!(report(&op, &event).status, 202);
    server.kill();
    let (_server, op) = world.server();
    until("the plan is made", || !runs(&op).is_empty());
    op.wait(1, &["done"]);
    until("the merge request is told", || {
        world.gitlab.notes(number).iter().any(|note| note.contains("to change**"))
    });
    assert_eq!((runs(&op).len(), world.gitlab.notes(number).len()), (1, 1));
}

#[test]
fn an_edit_on_a_branch_opens_its_merge_request() {
    let world = World::new("", "");
    let editor = token(&world.project, "ed", "editor");
    let server = Server::start(&world.project);
    let ed = server.caller(&editor);
    let branch = "edit/token-ed/lib/x.rhai";
    world.gitlab.state().at(PROJECT).unwrap().branches.insert(branch.to_owned(), world.origin.head());
    let edit = |text: &str, before: &Value| {
        let edit = json!({ "text": text, "before": before, "message": "Add x\n\nFor y." });
        let saved = ed.send("PUT", "/api/v1/file?path=lib/x.rhai", &[], Some(&edit));
        assert_eq!(saved.status, 200, "{saved:?}");
        saved.json()
    };
    let first = edit("fn x() { 1 }\n", &json!(""));
    let url = "https://gitlab.example.net/infra/nl/-/merge_requests/1";
    assert_eq!((first["link"].as_str(), first["branch"].as_str()), (Some(url), Some(branch)), "{first}");
    // The next edit goes into the same one.
    assert_eq!(edit("fn x() { 2 }\n", &first["hash"])["link"], url);
    // Where GitLab refuses, the commit is there all the same, and its author is told.
    let other = json!({ "text": "fn y() { 1 }\n", "before": "" });
    let saved = ed.send("PUT", "/api/v1/file?path=lib/y.rhai", &[], Some(&other)).json();
    assert!(saved["trouble"].as_str().unwrap_or_default().contains("no merge request was opened"), "{saved}");
    assert_eq!(
        world.origin.at(&["rev-parse", "edit/token-ed/lib/y.rhai"]),
        saved["commit"].as_str().unwrap()
    );
    let mut state = world.gitlab.state();
    let requests = &state.at(PROJECT).unwrap().merge_requests;
    let one = &requests[&1];
    assert_eq!((one.title.as_str(), one.source.as_str(), one.target.as_str()), ("Add x", branch, "main"));
    assert_eq!(requests.len(), 1);
}

#[test]
fn a_configuration_that_cannot_work_is_refused_at_the_start() {
    for (text, part) in [
        ("server:\n  gitlab: {webhook_token: x}\n", "needs `project`"),
        ("server:\n  gitlab: {project: a/b, webhook_token: x}\n", "needs `gitlab:`"),
        (
            "gitlab: {url: https://x, token: y}\nserver:\n  gitlab: {project: a/b, webhook_token: x}\n",
            "needs `server.project`",
        ),
        (
            "gitlab: {url: https://x, token: y}\nserver:\n  project: {url: /nowhere}\n  gitlab: {project: a/b}\n",
            "needs `webhook_token`",
        ),
        (
            "gitlab: {url: https://x, token: y}\nserver:\n  project: {url: /nowhere}\n  gitlab: {project: a/b, webhook_token: x, require_signature: true}\n",
            "needs `signing_token`",
        ),
    ] {
        let project = Project::new().file("nlrun.yaml", text);
        let output = project.args(["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(output.code, 64, "{output:?}");
        assert!(output.stderr.contains(part), "{output:?}");
    }
}
