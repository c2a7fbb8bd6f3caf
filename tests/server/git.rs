//! Projects from Git: real bare repositories, in a folder and over a real SSH.
#![expect(clippy::disallowed_methods, reason = "trees that no work tree could hold are made by Git itself")]

use serde_json::{Value, json};

use crate::support::origin::Origin;
use crate::support::project::{Project, until};
use crate::support::server::{Caller, Server, token};
use crate::support::sshd::{Sshd, keygen};

const HELLO: &str = r#"//! Says hello.
const PARAMS = #{ wait: #{ type: "duration", default: "0s" } };
const NEEDS = ["ssh.exec:localhost", "project.read"];
print(`hello one`);
sleep(params.wait);
print(project_read("note.txt"));
ssh_exec("localhost", "true");
"#;

pub(super) fn origin() -> Origin {
    let origin = Origin::new(HELLO);
    origin.write("note.txt", "note one\n");
    origin.commit("Add a note");
    origin.push("main");
    origin
}

/// A project that follows a repository.
pub(super) fn follows(url: &str, more: &str) -> Project {
    Project::new().file("nlrun.yaml", &format!("server:\n  project:\n    url: {url}\n    every: 1h\n{more}"))
}

pub(super) fn at(origin: &Origin, more: &str) -> Project {
    follows(origin.path().to_str().unwrap(), more)
}

/// Has the server fetch, and returns what it says of the project.
pub(super) fn sync(op: &Caller) -> Value {
    let answer = op.post("/api/v1/project/sync", &Value::Null);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

pub(super) fn output(op: &Caller, run: i64) -> String {
    op.get(&format!("/api/v1/runs/{run}/events?output=true")).text
}

pub(super) fn reason(shown: &Value) -> &str {
    shown["summary"]["error"]["message"].as_str().unwrap_or_default()
}

#[test]
fn a_run_keeps_its_commit_whatever_becomes_of_the_branch() {
    let origin = origin();
    let project = at(&origin, "");
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let first = origin.head();
    let slow = op.run(&json!({ "runbook": "hello", "params": { "wait": "3s" } }));
    op.wait(slow, &["running"]);
    // The branch begins anew, without the commit that runs.
    origin.git(&["checkout", "--quiet", "--orphan", "other"]);
    origin.write("note.txt", "note two\n");
    origin.write("runbooks/hello.rhai", &HELLO.replace("one", "two"));
    let second = origin.commit("Begin again");
    origin.push("main");
    origin.at(&["reflog", "expire", "--expire=now", "--all"]);
    origin.at(&["gc", "--quiet", "--prune=now"]);
    assert_eq!(sync(&op)["commit"], second.as_str());
    let fast = op.run(&json!({ "runbook": "hello" }));
    let shown = op.wait(fast, &["done"]);
    assert_eq!(shown["commit"], second.as_str());
    assert!(output(&op, fast).contains("note two"), "{}", output(&op, fast));
    let shown = op.wait(slow, &["done"]);
    assert_eq!(shown["commit"], first.as_str());
    let said = output(&op, slow);
    assert!(said.contains("hello one") && said.contains("note one"), "{said}");
    // What a run has used stays, but it is not on the branch any more.
    let again = op.run(&json!({ "runbook": "hello", "revision": first, "mode": "plan" }));
    op.wait(again, &["done"]);
    let again = op.run(&json!({ "runbook": "hello", "revision": first }));
    assert!(reason(&op.wait(again, &["stopped"])).contains("can be planned only"));
}

#[test]
fn folders_hold_a_commit_and_nothing_else_and_go_when_nobody_uses_them() {
    let origin = origin();
    let project = at(&origin, "");
    let operator = token(&project, "op", "operator");
    let first = origin.head();
    let server = Server::start(&project);
    let folder = project.path(&format!(".nlrun/project/commits/{first}"));
    assert_eq!(std::fs::read_to_string(folder.join("note.txt")).unwrap(), "note one\n");
    assert!(!folder.join(".git").exists());
    for path in [folder.clone(), folder.join("runbooks"), folder.join("note.txt")] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o222, 0, "{path:?} can be written");
    }
    assert_eq!(server.caller(&operator).get("/api/v1/project").json()["commit"], first.as_str());
    assert_eq!(server.stop(), Some(0));
    origin.write("note.txt", "note two\n");
    let second = origin.commit("Another note");
    origin.push("main");
    // This one may have handed the old folder out as it began, and then keeps it for a while; the next one does not.
    let server = Server::start(&project);
    assert_eq!(sync(&server.caller(&operator))["commit"], second.as_str());
    assert_eq!(server.stop(), Some(0));
    std::fs::create_dir(project.path(".nlrun/project/commits/.new-x")).unwrap();
    let server = Server::start(&project);
    assert_eq!(sync(&server.caller(&operator))["commit"], second.as_str());
    let left: Vec<_> =
        std::fs::read_dir(folder.parent().unwrap()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left, [second.as_str()]);
}

#[test]
fn branches_and_merge_requests_are_planned_with_the_configuration_of_the_followed_branch() {
    let origin = origin();
    let project = at(&origin, "");
    let (operator, marker) = (token(&project, "op", "operator"), project.path("ran-it"));
    let server = Server::start(&project);
    let op = server.caller(&operator);
    origin.git(&["checkout", "--quiet", "-b", "feature"]);
    let run = format!("sources: [{{command: {{run: [touch, \"{}\"]}}}}]", marker.display());
    origin.write("nlrun.yaml", &format!("secrets: {{{run}}}\n"));
    origin.write("runbooks/new.rhai", "//! New.\nconst NEEDS = [\"secret.read\"];\ntry { secret(\"x/y\") } catch (e) { print(e.message) }\nprint(`planned it`);\n");
    let tip = origin.commit("Try something");
    origin.push("feature");
    origin.push_merge_request(7);
    for revision in ["feature", "!7", &tip] {
        let run = op.run(&json!({ "runbook": "new", "revision": revision, "mode": "plan" }));
        let shown = op.wait(run, &["done"]);
        assert_eq!(shown["commit"], tip.as_str(), "{shown}");
        assert!(output(&op, run).contains("planned it"));
        let run = op.run(&json!({ "runbook": "new", "revision": revision }));
        let shown = op.wait(run, &["stopped"]);
        assert!(reason(&shown).contains("can be planned only"), "{shown}");
    }
    assert!(!marker.exists(), "a branch has run a program on the server");
    // A plan of it cannot be applied either, until it is merged.
    let plan = op.run(&json!({ "runbook": "new", "revision": "feature", "mode": "plan" }));
    op.wait(plan, &["done"]);
    let applied = op.run(&json!({ "plan": plan }));
    assert!(reason(&op.wait(applied, &["stopped"])).contains("can be planned only"));
    origin.push("main");
    sync(&op);
    let applied = op.run(&json!({ "plan": plan }));
    let shown = op.wait(applied, &["done", "failed", "stopped"]);
    assert_eq!(shown["commit"], tip.as_str(), "{shown}");
    // What is not there is refused before it is queued.
    for revision in
        ["nothing", "!99", "--upload-pack=id", "main:note.txt", "0123456789abcdef0123456789abcdef01234567"]
    {
        let answer =
            op.post("/api/v1/runs", &json!({ "runbook": "hello", "revision": revision, "mode": "plan" }));
        assert_eq!(answer.status, 422, "{revision}: {answer:?}");
    }
}

#[test]
fn without_the_branch_or_the_remote_the_last_good_commit_runs_until_it_is_too_old() {
    let origin = origin();
    let project = at(&origin, "    max_sync_age: 1h\n");
    let operator = token(&project, "op", "operator");
    let first = origin.head();
    let server = Server::start(&project);
    let op = server.caller(&operator);
    origin.at(&["update-ref", "-d", "refs/heads/main"]);
    let shown = sync(&op);
    assert!(shown["trouble"].as_str().unwrap().contains("there is no branch `main`"), "{shown}");
    let run = op.run(&json!({ "runbook": "hello" }));
    assert_eq!(op.wait(run, &["done"])["commit"], first.as_str());
    std::fs::rename(origin.path(), origin.path().with_extension("away")).unwrap();
    let shown = sync(&op);
    assert!(
        shown["trouble"]
            .as_str()
            .unwrap()
            .contains("does not appear to be a git repository; look at the path"),
        "{shown}"
    );
    server.stop();
    // As if it had been fetched long ago.
    project.write(".nlrun/project/synced", "2020-01-01T00:00:00Z\n");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "hello" }));
    let shown = op.wait(run, &["stopped"]);
    assert!(reason(&shown).contains("`max_sync_age`"), "{shown}");
    server.stop();
    project.write("nlrun.yaml", &format!("{}    stale_sync: run_last_good\n", project.read("nlrun.yaml")));
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "hello" }));
    assert_eq!(op.wait(run, &["done"])["commit"], first.as_str());
}

#[test]
fn a_schedule_may_demand_a_fresher_project_than_others() {
    let origin = origin();
    let often = "runbook: hello\nevery: 1s\ntz: UTC\n";
    origin.write("schedules/strict.yaml", &format!("{often}max_sync_age: 1h\n"));
    origin.write("schedules/lax.yaml", often);
    origin.commit("Often");
    origin.push("main");
    let project = at(&origin, "");
    let operator = token(&project, "op", "operator");
    assert_eq!(Server::start(&project).stop(), Some(0));
    std::fs::rename(origin.path(), origin.path().with_extension("away")).unwrap();
    // As if it had been fetched long ago.
    project.write(".nlrun/project/synced", "2020-01-01T00:00:00Z\n");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let newest = |by: &str, status: &str| {
        let listed = op.get(&format!("/api/v1/runs?status={status}&limit=100")).json();
        listed["items"].as_array().unwrap().iter().find(|one| one["by"] == by).cloned()
    };
    let mut refused = Value::Null;
    until("the strict one is refused", || {
        refused = newest("schedule strict", "stopped").unwrap_or_default();
        !refused.is_null()
    });
    assert!(reason(&refused).contains("`max_sync_age`"), "{refused}");
    until("the other one runs all the same", || {
        newest("schedule lax", "done").is_some_and(|one| one["run"].as_i64() > refused["run"].as_i64())
    });
}

#[test]
fn without_a_project_from_the_start_every_run_is_told_why() {
    let project = follows("/nonexistent/nl.git", "");
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let answer = server.caller(&operator).post("/api/v1/runs", &json!({ "runbook": "hello" }));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(
        answer.text.contains("there is no project yet") && answer.text.contains("does not appear"),
        "{answer:?}"
    );
}

#[test]
fn links_and_submodules_are_left_out_and_what_is_too_large_or_hostile_is_not_used() {
    let origin = origin();
    let project = at(&origin, "");
    let operator = token(&project, "op", "operator");
    let outside = project.root().parent().unwrap().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, origin.file(name)).unwrap();
    std::fs::create_dir_all(origin.file("a/b")).unwrap();
    link("note.txt", "good");
    link("../../note.txt", "a/b/deep");
    link(outside.to_str().unwrap(), "absolute");
    link("../outside", "up");
    link("nowhere", "dangling");
    // Inside by its words, outside for real.
    link("../..", "a/b/top");
    link("top/../outside", "a/b/sly");
    let tip = origin.head();
    origin.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{tip},vendor/lib")]);
    origin.git(&["add", "good", "a", "absolute", "up", "dangling"]);
    origin.git(&["commit", "--quiet", "-m", "Links"]);
    let tip = origin.head();
    origin.push("main");
    let shown = sync(&op);
    assert_eq!((shown["commit"].as_str(), &shown["trouble"]), (Some(&*tip), &Value::Null), "{shown}");
    let warnings = shown["warnings"].to_string();
    assert!(warnings.contains("vendor/lib"), "{warnings}");
    let folder = project.path(&format!(".nlrun/project/commits/{tip}"));
    for name in ["absolute", "up", "dangling", "a/b/sly"] {
        assert!(warnings.contains(&format!("`{name}`")), "{name}: {warnings}");
        assert!(folder.join(name).symlink_metadata().is_err(), "{name}");
    }
    for name in ["good", "a/b/deep"] {
        assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), "note one\n", "{name}");
    }
    // None of these is put in force, and the last good commit stays.
    let blob = origin.git(&["hash-object", "-w", "note.txt"]);
    let config = origin.git(&["hash-object", "-w", "nlrun.yaml"]);
    let commit_of = |entries: &str| {
        origin.write("../entries", entries);
        let output = std::process::Command::new("sh")
            .args(["-c", "git mktree --missing < ../entries"])
            .current_dir(origin.work())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let tree = String::from_utf8(output.stdout).unwrap();
        origin.git(&["commit-tree", tree.trim(), "-m", "Hostile", "-p", &tip])
    };
    let inner = |name: &str| {
        origin.write("../entries", &format!("100644 blob {blob}\t{name}\n"));
        let output = std::process::Command::new("sh")
            .args(["-c", "git mktree < ../entries"])
            .current_dir(origin.work())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let base = format!("100644 blob {config}\tnlrun.yaml\n");
    let up = format!("{base}040000 tree {}\t..\n", inner("evil"));
    let dot_git = format!("{base}040000 tree {}\t.git\n", inner("config"));
    for (entries, part) in [
        (up.as_str(), "holds the path `../evil`"),
        (&dot_git, "holds the path `.git/config`"),
        (&format!("100644 blob {blob}\tnote.txt\n"), "has no `nlrun.yaml`"),
    ] {
        let commit = commit_of(entries);
        origin.git(&["push", "--quiet", "--force", "origin", &format!("{commit}:refs/heads/main")]);
        let shown = sync(&op);
        assert_eq!(shown["commit"], tip.as_str(), "{shown}");
        assert!(shown["trouble"].as_str().unwrap().contains(part), "{shown}");
    }
    std::fs::File::create(origin.file("huge")).unwrap().set_len(65 << 20).unwrap();
    origin.commit("A dump");
    origin.push("main");
    let shown = sync(&op);
    assert_eq!(shown["commit"], tip.as_str());
    let trouble = shown["trouble"].as_str().unwrap();
    assert!(trouble.contains("`huge` has 68157440 bytes") && trouble.contains("keep images"), "{trouble}");
    origin.git(&["checkout", "--quiet", &tip]);
    origin.push("main");
    assert_eq!(sync(&op)["trouble"], Value::Null);
    assert!(std::fs::read_dir(&outside).unwrap().next().is_none());
}

#[test]
fn only_signed_commits_run_where_that_is_demanded() {
    let origin = origin();
    let project = at(&origin, "    verify: signed\n    allowed_signers: signers\n");
    let operator = token(&project, "op", "operator");
    let (own, foreign) = (project.home().join("own"), project.home().join("foreign"));
    for key in [&own, &foreign] {
        keygen(key, &["-t", "ed25519"]);
    }
    let public = std::fs::read_to_string(own.with_extension("pub")).unwrap();
    project.write("signers", &format!("ada@example.net namespaces=\"git\" {public}"));
    let signed = |key: &std::path::Path, text: &str| {
        origin.write("note.txt", text);
        origin.git(&["add", "--all"]);
        let key = format!("user.signingkey={}", key.display());
        origin.git(&["-c", "gpg.format=ssh", "-c", &key, "commit", "--quiet", "-S", "-m", text]);
        origin.push("main");
        origin.head()
    };
    let good = signed(&own, "signed\n");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let shown = op.get("/api/v1/project").json();
    assert_eq!((shown["commit"].as_str(), &shown["trouble"]), (Some(&*good), &Value::Null), "{shown}");
    signed(&foreign, "by somebody else\n");
    let shown = sync(&op);
    assert_eq!(shown["commit"], good.as_str());
    assert!(shown["trouble"].as_str().unwrap().contains("belongs to nobody who may sign"), "{shown}");
    origin.write("note.txt", "unsigned\n");
    let unsigned = origin.commit("Unsigned");
    origin.push("main");
    let shown = sync(&op);
    assert_eq!(shown["commit"], good.as_str());
    let trouble = shown["trouble"].as_str().unwrap();
    assert!(trouble.contains("it is not signed; sign the commit"), "{trouble}");
    // It is not on the branch as far as it is in force, so it cannot be applied by its number either.
    let run = op.run(&json!({ "runbook": "hello", "revision": unsigned }));
    assert!(reason(&op.wait(run, &["stopped"])).contains("can be planned only"));
    let better = signed(&own, "signed again\n");
    assert_eq!(sync(&op)["commit"], better.as_str());
    // That the newest one is signed says nothing of those before it.
    let refused = op.post("/api/v1/runs", &json!({ "runbook": "hello", "revision": unsigned }));
    assert!(refused.status == 422 && refused.text.contains("it is not signed"), "{refused:?}");
}

#[test]
fn a_repository_over_ssh_is_followed_with_a_key_from_a_file_or_a_secret() {
    let Some(sshd) = Sshd::start() else { return };
    let origin = origin();
    let url = format!("ssh://{}@127.0.0.1:{}{}", sshd.user, sshd.port, origin.path().display());
    let (key, known) = (sshd.client_key(), sshd.known_hosts());
    let known = format!("    known_hosts: {}\n", known.display());
    let by_file = follows(&url, &format!("    key_file: {}\n{known}", key.display()));
    let secret = std::fs::read_to_string(&key).unwrap();
    let by_secret =
        follows(&url, &format!("    key: git/key\n{known}")).variable("NLRUN_SECRET_GIT_KEY", &secret);
    let file = "/api/v1/file?path=runbooks/over.txt&branch=main";
    for project in [by_file, by_secret] {
        let editor = token(&project, "ed", "editor");
        let server = Server::start(&project);
        let op = server.caller(&editor);
        let run = op.run(&json!({ "runbook": "hello" }));
        assert_eq!(op.wait(run, &["done"])["commit"], origin.at(&["rev-parse", "main"]).as_str());
        let edit =
            json!({ "text": format!("over: {}\n", server.url), "before": op.get(file).json()["hash"] });
        let saved = op.send("PUT", file, &[], Some(&edit));
        assert_eq!(saved.status, 200, "{saved:?}");
        assert_eq!(origin.at(&["rev-parse", "main"]), saved.json()["commit"].as_str().unwrap());
    }
    // Nothing is trusted that nobody has written down, and what is wrong is said with what to do.
    let other = sshd.keygen("other", &["-t", "ed25519"]);
    for (more, part) in [
        (format!("    key_file: {}\n", key.display()), "Host key verification failed"),
        (format!("    key_file: {}\n{known}", other.display()), "Permission denied"),
    ] {
        let project = follows(&url, &more);
        let viewer = token(&project, "see", "viewer");
        let server = Server::start(&project);
        let shown = server.caller(&viewer).get("/api/v1/project").json();
        let trouble = shown["trouble"].as_str().unwrap();
        assert!(trouble.contains(part) && trouble.contains("; "), "{trouble}");
    }
}

#[test]
fn schedules_are_those_of_the_newest_commit() {
    let origin = origin();
    let project = at(&origin, "");
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    origin.write("schedules/often.yaml", "runbook: hello\nevery: 1s\ntz: UTC\n");
    let tip = origin.commit("Often");
    origin.push("main");
    sync(&op);
    let mut found = Value::Null;
    until("a schedule fires", || {
        let listed = op.get("/api/v1/runs?status=done").json();
        found = listed["items"][0].clone();
        !found.is_null()
    });
    assert_eq!(
        (found["by"].as_str(), found["commit"].as_str()),
        (Some("schedule often"), Some(&*tip)),
        "{found}"
    );
    // And gone with the next one.
    origin.git(&["rm", "--quiet", "schedules/often.yaml"]);
    origin.commit("Never");
    origin.push("main");
    sync(&op);
}
