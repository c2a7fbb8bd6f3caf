//! `secret_write` on a real OpenBao.

use serde_json::{Value, json};

use super::super::secrets::leaves_nothing_of;
use super::{HOSTS, call, finish};
use crate::support::bao::{self, Bao, ROOT};
use crate::support::project::{Output, Project};

const FIRST: &str = "correct horse battery";
const SECOND: &str = "staple of the second time";

/// A project whose runbook `writes` has these lines; its secrets are `first` and `second`.
fn writes(address: &str, auth: &str, body: &str) -> Project {
    let text = format!("const NEEDS = [\"secret.*\", \"project.read\"];\n{body}");
    let env = "    - env: {prefix: S_}\n";
    let config = format!(
        "secrets:\n  sources:\n{env}    - bao: {{address: '{address}', mount: secret, auth: {auth}}}\n"
    );
    Project::new()
        .inventory(HOSTS)
        .file("nlrun.yaml", &config)
        .runbook("writes", &text)
        .variable("S_FIRST", FIRST)
        .variable("S_SECOND", SECOND)
        .variable("BAO_TOKEN", ROOT)
}

/// What is at a path: its fields, and which version that is.
fn held(bao: &Bao, path: &str) -> (Value, u64) {
    let answer = bao.does("GET", &format!("secret/data/{path}"), Value::Null);
    (answer["data"]["data"].clone(), answer["data"]["metadata"]["version"].as_u64().unwrap())
}

#[track_caller]
fn shows(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

/// Demands that an output and all that the run left hold no value.
#[track_caller]
fn clean(project: &Project, output: &Output, more: &[&str]) {
    leaves_nothing_of(
        &[&[FIRST, SECOND, "old-value-of-the-store"], more].concat(),
        project,
        output,
        "secret_write",
    );
}

const BODY: &str = "print(`before ${secret_is(\"AT/api\")}`);
    let w = secret_write(\"AT\", #{ user: \"app\", api: secret(\"first\"), gone: () }, #{ random: #{ password: 40 } });
    print(`${w.changed} ${w.version} ${w.fields}`);
    print(`after ${secret_is(\"AT/api\")}`);
    fn secret_is(name) { try { secret(name); return \"there\" } catch (e) { return e.kind } }";

#[test]
fn fields_are_written_once_compared_and_never_shown() {
    let Some(bao) = bao::shared() else { return };
    for auth in ["{token: {}}", "{approle: {role_id: ROLE, secret_id_env: SID}, inline: true}"] {
        let at = if auth.contains("inline") { "write/inline" } else { "write/token" };
        let policy =
            "path \"secret/data/write/inline\" { capabilities = [\"read\", \"create\", \"update\"] }";
        let (role, sid) = bao.role("writer", policy, &json!({}));
        let project = writes(&bao.address(), &auth.replace("ROLE", &role), &BODY.replace("AT", at))
            .variable("SID", &sid);

        let plan = call(&project, ["plan", "writes", "--exit-code"]).ends(2);
        for line in [
            format!("+{at}#api: secret `first`"),
            format!("+{at}#password: 40 random characters"),
            format!("+{at}#user: a text of the runbook"),
        ] {
            shows(&plan.stdout, &line);
        }
        assert!(!plan.stdout.contains("#gone"), "{plan:?}");
        clean(&project, &plan, &[]);
        assert_eq!(bao.ask("GET", &format!("secret/data/{at}"), &Value::Null).0, 404);

        let output = call(&project, ["run", "writes"]).success();
        shows(&output.stdout, "before secret");
        shows(&output.stdout, "true 1 [\"api\", \"password\", \"user\"]");
        shows(&output.stdout, "after there");
        let (fields, version) = held(bao, at);
        let password = fields["password"].as_str().unwrap().to_owned();
        assert_eq!((&fields["user"], &fields["api"], version), (&json!("app"), &json!(FIRST), 1));
        assert!(password.len() == 40 && password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        clean(&project, &output, &[&password]);

        let output = call(&project, ["run", "writes"]).success();
        shows(&output.stdout, "false 1 []");
        assert_eq!(held(bao, at).0["password"], json!(password));

        // Fields of others stay, one is taken away, one has another value; none is told.
        let mut fields = fields;
        for (name, value) in
            [("gone", "old-value-of-the-store"), ("api", "old-value-of-the-store"), ("theirs", "kept")]
        {
            fields[name] = value.into();
        }
        bao.put(at, fields.clone());
        let output = call(&project, ["run", "writes"]).success();
        for line in [
            format!("-{at}#api: another value"),
            format!("+{at}#api: secret `first`"),
            format!("-{at}#gone: a value"),
        ] {
            shows(&output.stdout, &line);
        }
        shows(&output.stdout, "true 3 [\"api\", \"gone\"]");
        let (now, _) = held(bao, at);
        assert_eq!(now, json!({ "user": "app", "api": FIRST, "password": password, "theirs": "kept" }));
        clean(&project, &output, &[&password]);
        call(&project, ["replay", "last"]).success();
    }
}

#[test]
fn what_was_read_before_is_read_anew() {
    let Some(bao) = bao::shared() else { return };
    bao.put("write/anew", json!({ "key": FIRST }));
    let body = "let old = secret(\"write/anew/key\");
        secret_write(\"write/anew\", #{ copy: old });
        secret_write(\"write/anew\", #{ key: secret(\"second\") });
        secret_write(\"write/anew\", #{ seen: secret(\"write/anew/key\"), also: secret(\"named\") });";
    let project = writes(&bao.address(), "{token: {}}", body);
    let config = project.read("nlrun.yaml") + "  names: {named: {bao: 'write/anew#copy'}}\n";
    project.write("nlrun.yaml", &config);
    call(&project, ["run", "writes"]).success();
    let expected = json!({ "key": SECOND, "copy": FIRST, "seen": SECOND, "also": FIRST });
    assert_eq!(held(bao, "write/anew"), (expected, 4));
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_not_written_over() {
    let Some(bao) = bao::shared() else { return };
    let body = "try { secret_write(\"write/race\", #{ a: secret(\"first\") }) } catch (e) { print(`${e.kind}: ${e.message}`) }";
    // Whoever is first at the server when we write is somebody else.
    let rival = bao.between(move |request| {
        if request.starts_with("POST ") {
            bao.put("write/race", json!({ "theirs": "kept" }));
        }
        false
    });
    for version in [1, 2] {
        let project = writes(&rival.url(""), "{token: {}}", body);
        let output = call(&project, ["run", "writes"]).success();
        shows(
            &output.stdout,
            "conflict: somebody else wrote to `secret/data/write/race` in OpenBao after version",
        );
        assert_eq!(held(bao, "write/race"), (json!({ "theirs": "kept" }), version));
        clean(&project, &output, &[]);
    }
    let project = writes(&bao.address(), "{token: {}}", body);
    let file = project.path("w.plan").display().to_string();
    call(&project, ["plan", "writes", "-o", &file]).success();
    bao.put("write/race", json!({ "theirs": "later" }));
    call(&project, ["apply", &file]).ends(3);
    assert_eq!(held(bao, "write/race").1, 3);
    call(&project, ["run", "writes"]).success();
    assert_eq!(held(bao, "write/race").0, json!({ "theirs": "later", "a": FIRST }));
}

#[test]
fn what_cannot_be_written_is_told() {
    let Some(bao) = bao::shared() else { return };
    let (status, _) =
        bao.ask("POST", "sys/mounts/first-kv", &json!({ "type": "kv", "options": { "version": "1" } }));
    assert!(status < 300);
    bao.put("write/readable", json!({ "a": "old-value-of-the-store" }));
    let policy = "path \"secret/data/write/*\" { capabilities = [\"read\"] }\npath \"first-kv/*\" { capabilities = [\"read\", \"update\"] }";
    let (role, sid) = bao.role("reader-only", policy, &json!({}));
    let auth = format!("{{approle: {{role_id: {role}, secret_id_env: SID}}}}");
    for (text, expected) in [
        (
            "secret_write(\"write/readable\", #{ a: secret(\"first\") })",
            "secret: OpenBao denies update `secret/data/write/readable`",
        ),
        (
            "secret_write(\"write/new\", #{ a: secret(\"first\") })",
            "secret: OpenBao denies create `secret/data/write/new`",
        ),
        ("secret_write(\"other/x\", #{ a: secret(\"first\") })", "secret: OpenBao denies read"),
        (
            "secret_write(\"/first-kv/x\", #{ a: secret(\"first\") })",
            "is not in KV 2, and nothing else is written to",
        ),
        ("secret_write(\"/nowhere/x\", #{ a: 1 })", "no secrets engine at"),
        ("secret_write(\"a/../b\", #{ a: 1 })", "is no path of OpenBao"),
        (
            "secret_write(\"write/x\", #{ a: 1 }, #{ source: \"east\" })",
            "no source in nlrun.yaml has `name: east`",
        ),
        ("secret_write(\"write/x\", #{})", "wants at least one field"),
        ("secret_write(\"write/x\", #{ a: \"\" })", "field `a` is empty"),
        ("secret_write(\"write/x\", #{ a: [1] })", "wants a map of texts, secrets and `()`"),
        (
            "secret_write(\"write/x\", #{ a: 1 }, #{ random: #{ a: 20 } })",
            "field `a` has a value and a random one",
        ),
        ("secret_write(\"write/x\", #{}, #{ random: #{ a: 8 } })", "16 to 4096"),
    ] {
        let body = format!("try {{ {text} }} catch (e) {{ print(`${{e.kind}}: ${{e.message}}`) }}");
        let project = writes(&bao.address(), &auth, &body).variable("SID", &sid);
        let output = call(&project, ["run", "writes"]).success();
        shows(&output.stdout, expected);
        clean(&project, &output, &[&sid]);
    }
    assert_eq!(held(bao, "write/readable").1, 1);
    // Another path than the need's, and a path that was deleted.
    let project =
        writes(&bao.address(), "{token: {}}", "secret_write(\"write/gone\", #{ a: secret(\"first\") });");
    bao.put("write/gone", json!({ "a": "old-value-of-the-store" }));
    bao.does("DELETE", "secret/data/write/gone", Value::Null);
    call(&project, ["run", "writes"]).success();
    assert_eq!(held(bao, "write/gone"), (json!({ "a": FIRST }), 2));
    let text = project
        .read("runbooks/writes.rhai")
        .replace("\"secret.*\"", "\"secret.read\", \"secret.write:other/*\"");
    project.write("runbooks/writes.rhai", &text);
    shows(&call(&project, ["check", "writes"]).ends(1).stderr, "secret.write:write/gone");
}

#[test]
fn killed_after_every_event_a_write_ends_the_same_and_its_random_value_is_made_once() {
    let Some(bao) = bao::shared() else { return };
    let mut ended = false;
    for kill in 1.. {
        let path = format!("write/kill-{kill}");
        let body = format!(
            "secret_write(\"{path}\", #{{ a: secret(\"first\") }}, #{{ random: #{{ b: 32 }} }}); secret(\"{path}/b\");"
        );
        let project = writes(&bao.address(), "{token: {}}", &body);
        let mut command = project.command(["run", "writes"]);
        command.env("NLRUN_TEST_KILL_AFTER", kill.to_string()).stdout(std::process::Stdio::null());
        ended = finish(command.spawn().unwrap()).code == 0;
        let output = call(&project, ["resume", "last"]);
        ended |= output.stderr.contains("is done: there is nothing to resume");
        if ended {
            break;
        }
        let output = output.success();
        let (fields, version) = held(bao, &path);
        assert_eq!((&fields["a"], version), (&json!(FIRST), 1), "{kill}");
        clean(&project, &output, &[fields["b"].as_str().unwrap()]);
    }
    assert!(ended);
}
