//! Repositories that break, hang or mean harm.
#![expect(clippy::disallowed_methods, reason = "tests end processes that they have started, and break files")]

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::git::{at, origin, output, sync};
use crate::support::server::{Server, token};

#[test]
fn a_server_that_is_killed_while_it_fetches_goes_on_with_the_next_start() {
    let origin = origin();
    // Large enough for a fetch to be seen, and not to be made small.
    let mut noise = 1_u64;
    for number in 0..24 {
        let mut bytes = Vec::new();
        while bytes.len() < 1 << 20 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&noise.to_be_bytes());
        }
        std::fs::create_dir_all(origin.file("files")).unwrap();
        std::fs::write(origin.file(&format!("files/{number}.bin")), bytes).unwrap();
    }
    let tip = origin.commit("Noise");
    origin.push("main");
    let project = at(&origin, "");
    let operator = token(&project, "op", "operator");
    for wait in [40, 80, 120, 160, 220, 300, 400] {
        let mut command = project.command(["serve", "--listen", "127.0.0.1:0"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let mut shown = Value::Null;
    // A Git that has outlived its server may still be at work.
    crate::support::project::until("it is fetched", || {
        shown = sync(&op);
        shown["trouble"].is_null()
    });
    assert_eq!(shown["commit"], tip.as_str(), "{shown}");
    op.wait(op.run(&json!({ "runbook": "hello" })), &["done"]);
    let folder = project.path(&format!(".nlrun/project/commits/{tip}/files"));
    for number in 0..24 {
        let name = format!("{number}.bin");
        assert!(
            std::fs::read(folder.join(&name)).unwrap()
                == std::fs::read(origin.file(&format!("files/{name}"))).unwrap()
        );
    }
}

#[test]
fn what_a_crash_has_left_of_a_mirror_is_removed_or_fetched_anew() {
    let origin = origin();
    let project = at(&origin, "");
    let operator = token(&project, "op", "operator");
    Server::start(&project).stop();
    let mirror = project.path(".nlrun/project/mirror.git");
    let start = |what: &str, again: &str| {
        origin.write("note.txt", again);
        let tip = origin.commit(again);
        origin.push("main");
        let server = Server::start(&project);
        let op = server.caller(&operator);
        let shown = sync(&op);
        assert_eq!(
            (shown["commit"].as_str(), &shown["trouble"]),
            (Some(&*tip), &Value::Null),
            "{what}: {shown}"
        );
        let run = op.run(&json!({ "runbook": "hello" }));
        op.wait(run, &["done"]);
        assert!(output(&op, run).contains(again), "{what}");
        server.stop();
    };
    for name in ["packed-refs.lock", "refs/heads/main.lock", "HEAD.lock", "config.lock", "shallow.lock"] {
        std::fs::write(mirror.join(name), "").unwrap();
    }
    start("locks", "after locks");
    std::fs::remove_dir_all(mirror.join("objects")).unwrap();
    start("no objects", "after no objects");
    // Every object is cut short, as after a power failure.
    let mut folders = vec![mirror.join("objects")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let half = std::fs::read(entry.path()).unwrap();
                std::fs::remove_file(entry.path()).unwrap();
                std::fs::write(entry.path(), &half[..half.len() / 2]).unwrap();
            }
        }
    }
    start("half objects", "after half objects");
    std::fs::write(mirror.join("HEAD"), "").unwrap();
    start("no HEAD", "after no HEAD");
    std::fs::remove_dir_all(&mirror).unwrap();
    std::fs::write(&mirror, "").unwrap();
    let output = project.args(["serve", "--listen", "127.0.0.1:0"]);
    assert!(output.code != 0 && output.stderr.contains("mirror.git"), "{output:?}");
}

#[test]
fn nothing_that_a_repository_brings_along_is_run() {
    let origin = origin();
    let project = at(&origin, "");
    let operator = token(&project, "op", "operator");
    let marker = project.path("ran-it");
    let touch = format!("touch {}", marker.display());
    let script = format!("#!/bin/sh\n{touch}\n");
    // As a bare repository in the tree, and as what Git reads of a work tree.
    for (name, text) in [
        (
            ".gitattributes",
            "* filter=evil diff=evil merge=evil ident export-subst\nhidden.txt export-ignore\n".to_owned(),
        ),
        (
            ".gitmodules",
            format!("[submodule \"a\"]\n\tpath = a\n\turl = ext::sh -c '{touch}'\n\tupdate = !{touch}\n"),
        ),
        (
            ".gitconfig",
            format!(
                "[filter \"evil\"]\n\tsmudge = {touch}\n\tprocess = {touch}\n[core]\n\tfsmonitor = {touch}\n"
            ),
        ),
        ("config", format!("[core]\n\tbare = true\n\tfsmonitor = {touch}\n\tsshCommand = {touch}\n")),
        ("HEAD", "ref: refs/heads/main\n".to_owned()),
        ("hooks/post-checkout", script.clone()),
        ("hooks/reference-transaction", script.clone()),
        ("hidden.txt", "$Id$ $Format:%H$\n".to_owned()),
    ] {
        origin.write(name, &text);
    }
    origin.git(&["add", "--all"]);
    origin.git(&["update-index", "--chmod=+x", "hooks/post-checkout", "hooks/reference-transaction"]);
    let tip = origin.commit("Evil");
    // The server of the repository has hooks and a configuration of its own; ours does not take them over.
    for name in ["post-checkout", "reference-transaction", "post-merge", "pre-auto-gc"] {
        let hook = project.path(&format!(".nlrun/project/mirror.git/hooks/{name}"));
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, &script).unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    origin.push("main");
    origin.git(&["update-ref", "refs/heads/--upload-pack=evil", &tip]);
    origin.git(&["push", "--quiet", "origin", "refs/heads/--upload-pack=evil"]);
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let shown = sync(&op);
    assert_eq!((shown["commit"].as_str(), &shown["trouble"]), (Some(&*tip), &Value::Null), "{shown}");
    assert!(shown["branches"].to_string().contains("--upload-pack=evil"), "{shown}");
    let run = op.run(&json!({ "runbook": "hello" }));
    op.wait(run, &["done"]);
    // The name of such a branch is a name; what could be more is refused.
    let run = op.run(&json!({ "runbook": "hello", "mode": "plan", "revision": "--upload-pack=evil" }));
    assert_eq!(op.wait(run, &["done"])["commit"], tip.as_str());
    for revision in
        ["--upload-pack=other", "-x", "--all", "main --upload-pack=x", "refs/heads/--upload-pack=x"]
    {
        let body = json!({ "runbook": "hello", "mode": "plan", "revision": revision });
        let answer = op.post("/api/v1/runs", &body);
        assert_eq!(answer.status, 422, "{revision}: {answer:?}");
    }
    // What a file holds is what was committed: no filter, no keyword, nothing left out.
    let folder = project.path(&format!(".nlrun/project/commits/{tip}"));
    assert_eq!(std::fs::read_to_string(folder.join("hidden.txt")).unwrap(), "$Id$ $Format:%H$\n");
    assert!(!marker.exists(), "the repository has run a program on the server");
}
