//! OpenBao as a source of secrets: a real server, and what stands in its place when things go wrong.

mod end;
mod faults;
mod login;
mod write;

use serde_json::{Value, json};

use super::{HOSTS, call, finish};
use crate::support::bao::{self, ROOT};
use crate::support::project::{Project, until};

/// A project with these lines of nlrun.yaml below `bao:` and below `names:`.
pub fn project(address: &str, bao: &str, names: &str) -> Project {
    Project::new().inventory(HOSTS).file(
        "nlrun.yaml",
        &format!("secrets:\n  sources:\n  - bao: {{address: '{address}', {bao}}}\n  names: {{{names}}}\n"),
    )
}

/// A runbook that gives secrets to a command; what it gets is found in the file `done`.
pub fn takes(project: Project, names: &[&str]) -> Project {
    let mut text = "const NEEDS = [\"ssh.*\", \"secret.read\"];\n".to_owned();
    for name in names {
        text +=
            &format!("ssh_exec(\"h1\", \"cat >> done; echo >> done\", #{{ stdin: secret(\"{name}\") }});\n");
    }
    project.runbook("takes", &text)
}

pub fn done(project: &Project) -> Vec<String> {
    project.read("done").lines().map(str::to_owned).collect()
}

/// What `secrets test` says of one name, and its hint.
#[track_caller]
pub fn trouble(project: &Project, name: &str) -> String {
    let output = call(project, ["secrets", "test", name, "--json"]).ends(1);
    let lines = output.json_lines();
    let line = lines.iter().find(|line| line["name"] == name).unwrap();
    format!("{} / {}", line["error"].as_str().unwrap_or_default(), line["hint"].as_str().unwrap_or_default())
}

/// Reads what stands below a path of KV 2.
pub fn reads(path: &str) -> String {
    format!("path \"secret/data/{path}/*\" {{ capabilities = [\"read\"] }}")
}

#[test]
fn both_versions_of_kv_are_read_by_path_and_field() {
    let Some(bao) = bao::shared() else { return };
    bao.put("kv/db", json!({ "password": "first-of-two", "user": "root" }));
    bao.put(
        "kv/db",
        json!({ "password": "second-of-two", "user": "root", "port": 5432, "map": { "a": [1] } }),
    );
    bao.engine("old", json!({ "type": "kv", "options": { "version": "1" } }));
    bao.does("POST", "old/team/x", json!({ "token": "of-version-1", "Weird Field": "weird-value" }));
    let project = takes(
        project(
            &bao.address(),
            "mount: secret, prefix: kv",
            "weird: {bao: '/old/team/x#Weird Field'}, port: {vault: 'db#port'}, map: {bao: {path: db, field: map}}",
        ),
        &["db/password", "db/user", "weird", "port", "map"],
    )
    .variable("BAO_TOKEN", ROOT);
    let output = call(&project, ["run", "takes"]).success();
    assert_eq!(done(&project), ["second-of-two", "root", "weird-value", "5432", r#"{"a":[1]}"#]);
    assert!(
        output.stdout.contains("warning: secret `port` is a number in OpenBao: its JSON text is taken"),
        "{output:?}"
    );

    let output = call(&project, ["secrets", "test", "db/password", "port", "weird", "--json"]).success();
    let lines = output.json_lines();
    let source = &lines[0];
    assert_eq!((&source["ok"], &source["identity"]["name"]), (&json!(true), &json!("token")), "{source}");
    assert_eq!(source["identity"]["policies"], json!(["root"]));
    let of = |name: &str| lines.iter().find(|line| line["name"] == name).unwrap();
    assert_eq!((&of("db/password")["bytes"], &of("db/password")["version"]), (&json!(13), &json!(2)));
    assert_eq!(of("port")["form"], "a number");
    assert_eq!((&of("weird")["ok"], &of("weird")["version"]), (&json!(true), &Value::Null));
    let words = call(&project, ["secrets", "test"]).success();
    assert!(words.stdout.contains("as `token`, policies root, valid without end"), "{words:?}");
    assert!(!format!("{words:?}{output:?}").contains("of-two"));
}

#[test]
fn each_thing_that_is_not_there_is_told_apart() {
    let Some(bao) = bao::shared() else { return };
    bao.put("gone/a", json!({ "password": "is-deleted" }));
    bao.does("DELETE", "secret/data/gone/a", Value::Null);
    bao.put("gone/b", json!({ "password": "is-destroyed" }));
    bao.does("POST", "secret/destroy/gone/b", json!({ "versions": [1] }));
    bao.put("gone/c", json!({ "password": "is-there", "nothing": null, "empty": "" }));
    let project = project(
        &bao.address(),
        "mount: secret",
        "mount: {bao: '/nowhere/a#b'}, out: {bao: '../sys/health#a'}, data: {bao: '/secret/data/gone/c#password'}",
    )
    .variable("VAULT_TOKEN", ROOT);
    for (name, says) in [
        ("gone/none/x", "OpenBao has nothing at `secret/data/gone/none` / `bao kv list`"),
        ("gone/a/password", "version 1 of `secret/data/gone/a` in OpenBao was deleted (20"),
        ("gone/a/password", "/ `bao kv undelete -versions=1 secret/gone/a` brings it back"),
        ("gone/b/password", "version 1 of `secret/data/gone/b` in OpenBao was destroyed for good"),
        (
            "gone/c/pasword",
            "has no field `pasword`: it has `empty`, `nothing`, `password` / did you mean the field `password`?",
        ),
        ("gone/c/nothing", "field `nothing` of `secret/data/gone/c` in OpenBao is null or empty"),
        ("gone/c/empty", "field `empty` of `secret/data/gone/c` in OpenBao is null or empty"),
        ("mount", "OpenBao has no secrets engine at `nowhere` that this login may see"),
        ("out", "`../sys/health` is no path of OpenBao"),
        ("data", "leave out `data/`"),
        ("single", "a name there has a path before its field"),
    ] {
        let text = trouble(&project, name);
        assert!(text.contains(says), "{name}: {text}");
    }
    // A runbook gets the same words, and its log no value.
    let project = takes(project, &["gone/c/pasword"]);
    let output = call(&project, ["run", "takes"]).ends(1);
    assert!(output.stderr.contains("(did you mean the field `password`?)"), "{output:?}");
}

#[test]
fn a_namespace_holds_its_own_secrets() {
    let Some(bao) = bao::shared() else { return };
    bao.does("POST", "sys/namespaces/team", json!({}));
    let within = [("X-Vault-Namespace", "team")];
    let (status, _) = bao.ask_as(ROOT, &within, "POST", "sys/mounts/kv", &json!({ "type": "kv-v2" }));
    assert_eq!(status, 204);
    until("the mount is ready", || {
        bao.ask_as(ROOT, &within, "POST", "kv/data/db", &json!({ "data": { "x": "of-the-team" } })).0 == 200
    });
    for (source, variable) in
        [("namespace: team/", "UNUSED"), ("prefix: ''", "BAO_NAMESPACE"), ("", "VAULT_NAMESPACE")]
    {
        let project = takes(project(&bao.address(), source, ""), &["kv/db/x"])
            .variable("BAO_TOKEN", ROOT)
            .variable(variable, "team");
        call(&project, ["run", "takes"]).success();
        assert_eq!(done(&project), ["of-the-team"]);
    }
}
