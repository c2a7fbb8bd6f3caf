//! Edits through the API: commits on branches of a real repository, and files of a plain folder.
#![expect(clippy::disallowed_methods, reason = "a hook of the remote repository is written by hand")]

use serde_json::{Value, json};

use super::git::{at, origin, sync};
use crate::support::project::Project;
use crate::support::server::{Answer, Caller, Server, token};

/// The address of a file, on a branch or on the caller's own.
fn address(path: &str, branch: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("path", path);
    if let Some(branch) = branch {
        query.append_pair("branch", branch);
    }
    format!("/api/v1/file?{}", query.finish())
}

fn read(caller: &Caller, path: &str) -> Value {
    let answer = caller.get(&address(path, None));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn put(caller: &Caller, path: &str, branch: Option<&str>, text: &str, before: &Value) -> Answer {
    let edit = json!({ "text": text, "before": before, "message": "Say more" });
    caller.send("PUT", &address(path, branch), &[], Some(&edit))
}

#[track_caller]
fn saved(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

const PATH: &str = "runbooks/hello.rhai";
const OWN: &str = "edit/token-ed/runbooks/hello.rhai";

fn text(word: &str) -> String {
    format!("//! Says {word}.\nprint(\"{word}\");\n")
}

#[test]
fn an_edit_is_a_commit_on_a_branch_of_its_own_until_it_is_merged() {
    let origin = origin();
    let project = at(&origin, "    committer: nlrun <bot@example.net>\n");
    let [ed, other, op, admin] =
        [("ed", "editor"), ("other", "editor"), ("op", "operator"), ("root", "admin")]
            .map(|(name, role)| token(&project, name, role));
    let server = Server::start(&project);
    let [ed, other, op, admin] = [ed, other, op, admin].map(|token| server.caller(&token));
    let main = origin.head();
    let file = read(&ed, PATH);
    assert!(file["text"].as_str().unwrap().contains("hello one") && file["branch"].is_null(), "{file}");
    assert_eq!(file["saves"], json!({ "branch": OWN, "into": "main", "opens": false }));
    let on_main = ed.get(&address(PATH, Some("main"))).json();
    assert_eq!(on_main["saves"], json!({ "branch": "main", "opens": false }), "{on_main}");
    assert_eq!(put(&op, PATH, None, &text("two"), &file["hash"]).status, 403);
    let first = saved(&put(&ed, PATH, None, &text("two"), &file["hash"]));
    assert_eq!((first["branch"].as_str(), first["link"].is_null()), (Some(OWN), true), "{first}");
    assert_eq!(first["place"], format!("branch `{OWN}`"));
    let told = origin.at(&["log", "-1", "--format=%H|%an <%ae>|%cn <%ce>|%s|%P", OWN]);
    let commit = first["commit"].as_str().unwrap();
    assert_eq!(told, format!("{commit}|token ed <bot@example.net>|nlrun <bot@example.net>|Say more|{main}"));
    assert_eq!(origin.at(&["rev-parse", "main"]), main);
    // The author goes on with it, and everybody else sees what is in force.
    let mine = read(&ed, PATH);
    assert_eq!((&mine["hash"], mine["branch"].as_str()), (&first["hash"], Some(OWN)), "{mine}");
    assert_eq!(read(&other, PATH)["hash"], file["hash"]);
    assert_eq!(put(&ed, PATH, None, &text("three"), &file["hash"]).status, 409, "it is another one by now");
    let second = saved(&put(&ed, PATH, None, &text("three"), &mine["hash"]));
    assert_eq!(origin.at(&["rev-parse", &format!("{OWN}^")]), commit);
    let same = saved(&put(&ed, PATH, None, &text("three"), &second["hash"]));
    assert_eq!((&same["commit"], same["branch"].is_null()), (&second["commit"], true), "{same}");
    // Merged as it is: the next edit begins at what is in force, and so it does after it was merged as another commit.
    origin.git(&["fetch", "--quiet"]);
    origin.git(&["reset", "--quiet", "--hard", &format!("origin/{OWN}")]);
    origin.write("note.txt", "note two\n");
    let merged = origin.commit("Merge it");
    origin.push("main");
    sync(&op);
    let now = read(&ed, PATH);
    assert_eq!((&now["hash"], now["branch"].is_null()), (&second["hash"], true), "{now}");
    saved(&put(&ed, PATH, None, &text("four"), &now["hash"]));
    assert_eq!(origin.at(&["rev-parse", &format!("{OWN}^")]), merged);
    origin.write(PATH, &text("four"));
    let squashed = origin.commit("Squash it");
    origin.push("main");
    sync(&op);
    let now = read(&ed, PATH);
    assert!(now["branch"].is_null(), "{now}");
    saved(&put(&ed, PATH, None, &text("five"), &now["hash"]));
    assert_eq!(origin.at(&["rev-parse", &format!("{OWN}^")]), squashed);
    let audit = admin.get("/api/v1/audit?action=files.*&limit=500").json();
    let count = |allowed: bool| {
        let items = audit["items"].as_array().unwrap().iter();
        items.filter(|one| one["who"] != "token root" && one["allowed"] == allowed).count()
    };
    assert_eq!((count(true), count(false)), (5, 1), "{audit}");
    let told = format!("file {PATH} on {OWN}: {commit}");
    assert!(audit["items"].as_array().unwrap().iter().any(|one| one["target"] == told.as_str()), "{audit}");
}

#[test]
fn on_a_branch_that_is_named_what_others_have_pushed_stays() {
    let origin = origin();
    let project = at(&origin, "");
    let (ed, op) = (token(&project, "ed", "editor"), token(&project, "op", "operator"));
    let server = Server::start(&project);
    let (ed, op) = (server.caller(&ed), server.caller(&op));
    let hash = read(&ed, PATH)["hash"].clone();
    // Nobody has fetched this yet.
    origin.write("runbooks/other.rhai", "print(1);\n");
    let pushed = origin.commit("Meanwhile");
    origin.push("main");
    let first = saved(&put(&ed, PATH, Some("main"), &text("two"), &hash));
    assert_eq!(origin.at(&["rev-parse", "main^"]), pushed);
    assert_eq!(first["place"], "branch `main`");
    // What somebody has pushed to the same file does, too.
    origin.git(&["fetch", "--quiet"]);
    origin.git(&["reset", "--quiet", "--hard", "origin/main"]);
    origin.write(PATH, &text("theirs"));
    let theirs = origin.commit("Faster");
    origin.push("main");
    let refused = put(&ed, PATH, Some("main"), &text("mine"), &first["hash"]);
    assert!(refused.status == 409 && refused.text.contains("has changed since you opened it"), "{refused:?}");
    assert_eq!(origin.at(&["rev-parse", "main"]), theirs);
    // A new file, which the next run uses; and one that goes.
    saved(&put(&ed, "runbooks/new.rhai", Some("main"), &text("new"), &json!("")));
    sync(&op);
    op.wait(op.run(&json!({ "runbook": "new" })), &["done"]);
    let new = read(&ed, "runbooks/new.rhai");
    let gone = |before: &str| {
        let address = format!("{}&before={before}", address("runbooks/new.rhai", Some("main")));
        ed.send("DELETE", &address, &[], None)
    };
    assert_eq!(gone("0123").status, 409);
    assert_eq!(saved(&gone(new["hash"].as_str().unwrap()))["hash"], "");
    sync(&op);
    assert_eq!(op.post("/api/v1/runs", &json!({ "runbook": "new" })).status, 404);
    assert!(!op.get("/api/v1/files").text.contains("new.rhai"));
}

#[test]
fn what_is_wrong_with_an_edit_is_said_and_nothing_is_pushed() {
    let origin = origin();
    origin.write("runbooks/web/a.rhai", &text("a"));
    // Links of the repository lead nowhere.
    std::os::unix::fs::symlink("../..", origin.file("runbooks/out")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", origin.file("runbooks/link.rhai")).unwrap();
    origin.commit("Links");
    origin.push("main");
    let project = at(&origin, "");
    let ed = token(&project, "ed", "editor");
    let few = project.args(["token", "add", "few", "--role", "editor", "--runbook", "runbooks/web/*"]);
    let server = Server::start(&project);
    let (ed, few) = (server.caller(&ed), server.caller(few.stdout.trim()));
    let refs = origin.at(&["for-each-ref"]);
    let new = json!("");
    for path in [
        "../x.rhai",
        "runbooks/../nlrun.yaml",
        "runbooks/../../x.rhai",
        "/etc/cron.d/x.conf",
        "nlrun.yaml",
        ".git/config",
        "runbooks/.git/x.rhai",
        "runbooks//x.rhai",
        "runbooks/./x.rhai",
        "runbooks/a\\..\\x.rhai",
        "runbooks/x.rhai\0.txt",
        "runbooks/x\n.rhai",
        "runbooks",
        "",
    ] {
        let answer = put(&ed, path, None, "print(1);", &new);
        assert_eq!(answer.status, 404, "{path:?}: {answer:?}");
        assert_eq!(ed.get(&address(path, None)).status, 404, "{path:?}");
    }
    for branch in ["-x", "--upload-pack=id", "a..b", "HEAD~1", "refs/../x", "a b", "x.lock", "a//b", "@{u}"] {
        let answer = put(&ed, "runbooks/x.rhai", Some(branch), "print(1);", &new);
        assert_eq!(answer.status, 422, "{branch}: {answer:?}");
    }
    // Below a link there is nothing, and a link is no text.
    assert_eq!(put(&ed, "runbooks/out/x.rhai", Some("main"), "print(1);", &new).status, 422);
    assert_eq!(read(&ed, "runbooks/link.rhai")["text"], "");
    let wrong = put(&ed, "runbooks/x.rhai", None, "let x = ;\n", &new);
    assert!(wrong.status == 422 && wrong.json()["errors"][0]["line"] == 1, "{wrong:?}");
    let wrong = put(&ed, "triggers/x.yaml", None, "on: push\n", &new);
    assert!(wrong.status == 422 && wrong.text.contains("runbook"), "{wrong:?}");
    let long = "x".repeat((512 << 10) + 1);
    assert_eq!(put(&ed, "runbooks/x.txt", None, &long, &new).status, 422);
    let answer = put(&few, PATH, None, &text("x"), &read(&few, PATH)["hash"]);
    assert!(answer.status == 403 && answer.text.contains("may not run"), "{answer:?}");
    assert_eq!(origin.at(&["for-each-ref"]), refs, "something was pushed");
    saved(&put(&few, "runbooks/web/b.rhai", None, &text("b"), &new));
    // A remote that does not take it: nothing is there, and the next try is made anew.
    let hook = origin.path().join("hooks/pre-receive");
    std::fs::write(
        &hook,
        "#!/bin/sh\necho 'GitLab: You are not allowed to push code to protected branches'; exit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let answer = put(&ed, "runbooks/x.rhai", Some("main"), &text("x"), &new);
    assert!(answer.status == 422 && answer.text.contains("not allowed to push"), "{answer:?}");
    assert_eq!(read(&ed, "runbooks/x.rhai")["text"], "");
    std::fs::remove_file(&hook).unwrap();
    saved(&put(&ed, "runbooks/x.rhai", Some("main"), &text("x"), &new));
}

#[test]
fn in_a_plain_folder_an_edit_is_in_force_at_once() {
    let project = Project::new().runbook("hello", &text("one"));
    let ed = token(&project, "ed", "editor");
    let server = Server::start(&project);
    let ed = server.caller(&ed);
    let file = read(&ed, PATH);
    let first = saved(&put(&ed, PATH, None, &text("two"), &file["hash"]));
    assert_eq!((first["place"].as_str(), first["branch"].is_null()), (Some("the project's folder"), true));
    assert_eq!(project.read(PATH), text("two"));
    assert_eq!(put(&ed, PATH, None, &text("three"), &file["hash"]).status, 409);
    assert_eq!(put(&ed, PATH, Some("main"), &text("three"), &first["hash"]).status, 422);
    assert_eq!(project.read(PATH), text("two"));
}
