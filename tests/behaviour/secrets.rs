//! A secret is nowhere but at its place: not in the log, its WAL, streams, plans, reports, errors, panics.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;

use super::call;
use crate::support::bao;
use crate::support::project::{Output, Project};
use crate::support::web::{Web, reply};

/// Two lines, with characters that every encoding has to do something about.
const PASSWORD: &str = "Tr0ub4dor&3/\"quoted\"+ümlaut";
/// Of an answer that declares nothing secret.
const COOKIE: &str = "c00kie-of-a-session";
const KEY: &str = "-----BEGIN KEY-----\nc2VjcmV0IG1hdGVyaWFsIGlu\nIHR3byBsb25nIGxpbmVz\n-----END KEY-----\n";

/// The forms in which a value may turn up.
fn forms(value: &str) -> Vec<String> {
    let base64 = base64::engine::general_purpose::STANDARD.encode(value);
    let json = serde_json::to_string(value).unwrap();
    let mut url = String::new();
    let mut hex = String::new();
    for byte in value.bytes() {
        write!(hex, "{byte:02x}").unwrap();
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            _ => write!(url, "%{byte:02X}").unwrap(),
        }
    }
    let mut forms = vec![
        value.trim().to_owned(),
        base64.clone(),
        json[1..json.len() - 1].to_owned(),
        url,
        hex.clone(),
        hex.to_uppercase(),
    ];
    // A longer text shifts the letters of base64: look for the middle.
    forms.push(base64[4..base64.len() - 6].to_owned());
    forms.extend(value.lines().filter(|line| line.len() >= 16 && !line.starts_with('-')).map(str::to_owned));
    forms
}

fn search(text: &[u8], needle: &str) -> bool {
    text.windows(needle.len()).any(|window| window == needle.as_bytes())
}

fn clean(place: &str, text: &[u8], script: &str, values: &[&str]) {
    for value in values {
        for form in forms(value) {
            assert!(
                !search(text, &form),
                "`{form}` is in {place} after\n{script}\n{}",
                String::from_utf8_lossy(text)
            );
        }
    }
}

/// Looks through everything that a run leaves behind, chunks of the log unpacked.
fn leaves_nothing(project: &Project, output: &Output, script: &str) {
    leaves_nothing_of(&[PASSWORD, KEY, COOKIE], project, output, script);
}

pub(super) fn leaves_nothing_of(values: &[&str], project: &Project, output: &Output, script: &str) {
    clean("stdout", output.stdout.as_bytes(), script, values);
    clean("stderr", output.stderr.as_bytes(), script, values);
    let mut folders = vec![project.root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.starts_with(project.path("vault")) && !path.starts_with(project.path("runbooks"))
            {
                clean(&path.display().to_string(), &std::fs::read(&path).unwrap(), script, values);
            }
            let name = entry.file_name();
            clean("a file's name", name.as_encoded_bytes(), script, values);
        }
    }
    unpacked(&project.path(".nlrun"), script, values);
}

fn unpacked(state: &Path, script: &str, values: &[&str]) {
    use nlrun::store::{Filter, Options, Store};
    let reader = Store::open(state, &Options::default()).unwrap().reader().unwrap();
    for row in reader.runs(&Filter::default()).unwrap() {
        for record in reader.events(row.id, nlrun::model::run::Seq(0), 100_000).unwrap() {
            clean("an event", record.body.as_bytes(), script, values);
            let bytes = reader.bytes(row.id, record.seq).unwrap_or_default();
            clean("kept bytes", &bytes, script, values);
        }
    }
}

fn project(body: &str) -> Project {
    let text = format!("const NEEDS = [\"ssh.read\", \"ssh.exec\", \"secret.read\", \"http.*:**\"];\n{body}");
    let project = Project::new()
        .file("nlrun.yaml", "secrets: {sources: [env: {prefix: SECRET_}, file: {path: vault}]}\n")
        .file("vault/site/key", KEY)
        .variable("SECRET_DB_ROOT", PASSWORD)
        .inventory(super::HOSTS)
        .runbook("knows", &text);
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(project.path("vault/site/key"), private).unwrap();
    project
}

#[test]
fn what_a_command_prints_of_its_input_is_recorded_as_a_name() {
    let commands = [
        "cat",
        "base64 -w0",
        "base64",
        "xxd -p -c 1000 || od -An -v -tx1 | tr -d ' \\\\n'",
        "od -An -v -tx1 | tr -d ' \\\\n' | tr a-f A-F",
        "python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.stdin.read(), safe=\\\"\\\"))'",
        "python3 -c 'import sys, json; print(json.dumps(sys.stdin.read()))'",
        "(printf '{\\\"Authorization\\\": \\\"'; (printf user:; cat) | base64 -w0; echo '\\\"}')",
        "cat >&2; exit 3",
        // In pieces, with a pause between them.
        "dd bs=7 2>/dev/null | while IFS= read -r line; do printf %s \\\"$line\\\" | dd bs=5 2>/dev/null; echo; done",
    ];
    for name in ["db/root", "site/key"] {
        for command in commands {
            let body = format!(
                "let s = secret(\"{name}\"); ssh_exec(\"h1\", \"{command}\", #{{ stdin: s, ok: \"any\" }});
                 ssh_read(hosts(\"web\"), \"{command}\", #{{ stdin: s, ok: \"any\" }});"
            );
            let project = project(&body);
            let output = call(&project, ["run", "knows", "--json"]).success();
            leaves_nothing(&project, &output, &body);
            if !command.contains('|') {
                let seen = output.stdout.contains(&format!("«secret:{name}»"));
                assert!(seen, "{body}\n{}", output.stdout);
            }
        }
    }
}

#[test]
fn what_the_script_does_with_printed_secrets_is_recorded_as_a_name() {
    for body in [
        "print(told);",
        "warn(`it is ${told}`);",
        "throw told;",
        "throw #{ why: told };",
        "fail(`no: ${told}`);",
        "check(false, told);",
        "step told { print(1) }",
        "report(#{ told: told, list: [told] });",
        "artifact(\"notes.txt\", `x${told}x`);",
        "lock(told, || 1);",
        "each(hosts(\"web\"), |h| fail(told));",
        "each(hosts(\"web\"), |h| skip_host(told));",
        "each(hosts(\"web\"), |h| { defer(|| fail(told)); 1 });",
        "defer(|| fail(told));",
        "ssh_exec(\"h1\", [\"printf\", \"%s\", told]);",
        "ssh_exec(\"h1\", `exit 7 # ${told}`);",
        "ssh_exec(\"h1\", \"env\", #{ env: #{ GIVEN: told } });",
        "ssh_exec(\"h1\", \"pwd\", #{ cwd: `/${told}` });",
        "ssh_exec(told, \"true\");",
        "retry(#{ times: 2, delay: \"1ms\" }, || fail(told));",
        "let m = #{}; m[told];",
        "told.no_such_function();",
        "told + [1] - 1;",
        "param(told);",
        "approve(told);",
        "secret(told);",
        "hosts(told);",
        "told",
    ] {
        let whole = format!(
            "let s = secret(\"db/root\"); let told = ssh_read(\"h1\", \"cat\", #{{ stdin: s }}).out;\n{body}"
        );
        for arguments in [vec!["run", "knows"], vec!["run", "knows", "--json", "--junit", "junit.xml"]] {
            let project = project(&whole);
            let output = call(&project, arguments);
            leaves_nothing(&project, &output, body);
        }
        let project = project(&whole);
        let output = call(&project, ["plan", "knows", "-o", "plan.json"]);
        leaves_nothing(&project, &output, body);
    }
}

#[test]
fn a_secret_has_no_text_form() {
    for (body, word) in [
        ("print(`${s}`);", "no text form"),
        ("print(\"x\" + s);", "no text form"),
        ("print(s);", "no text form"),
        ("print([1, s]);", "no text form"),
        ("try { let t = `${s}`; print(t) } catch { }", "no text form"),
        ("ssh_exec(\"h1\", `echo ${s} >> done`);", "no text form"),
        ("defer(|| ssh_exec(\"h1\", \"echo cleaned >> cleaned\")); print(`${s}`);", "no text form"),
        ("each(hosts(\"web\"), |h| `${s}`);", "no text form"),
        ("`${s}`", "no text form"),
        ("s == \"x\";", "cannot be compared"),
        ("\"x\" != s;", "cannot be compared"),
        ("ssh_exec(\"h1\", [\"echo\", s]);", "stdin"),
        ("ssh_exec(\"h1\", \"true\", #{ env: #{ A: s } });", "stdin"),
        ("report(#{ s: s });", ""),
        ("s.to_string();", ""),
        ("debug(s);", ""),
    ] {
        let project = project(&format!("let s = secret(\"db/root\");\n{body}"));
        let output = call(&project, ["run", "knows"]);
        assert!(output.code == 1 || output.code == 64 || word.is_empty(), "{body}\n{output:?}");
        assert!(output.stderr.contains(word), "{body}\n{}", output.stderr);
        assert!(super::ledger(&project).is_empty(), "{body}");
        assert!(!body.contains("cleaned") || project.path("cleaned").exists());
        leaves_nothing(&project, &output, body);
    }
}

#[test]
fn a_missing_or_short_secret_is_told_by_name() {
    for (name, words) in [("nowhere", "nowhere"), ("short", "short")] {
        let project = project(&format!("secret(\"{name}\");")).variable("SECRET_SHORT", "abc");
        let output = call(&project, ["run", "knows"]);
        assert!(output.code == 1 || output.code == 64, "{output:?}");
        assert!(output.stderr.contains(words) && !output.stderr.contains("abc"), "{}", output.stderr);
    }
}

#[test]
fn an_interrupted_run_reads_its_secrets_again_and_leaves_none() {
    let body = "let s = secret(\"db/root\"); let told = ssh_read(\"h1\", \"cat\", #{ stdin: s }).out;
        ssh_exec(\"h1\", \"cat > /dev/null; echo act >> done\", #{ stdin: s });
        check(told.contains(\"r0ub4dor\"), \"the resumed run sees a placeholder\");";
    for kill in 2..12 {
        let project = project(body);
        let mut command = project.command(["run", "knows"]);
        let child =
            command.env("NLRUN_TEST_KILL_AFTER", kill.to_string()).stdout(std::process::Stdio::null());
        super::finish(child.spawn().unwrap());
        let mut output = call(&project, ["resume", "1"]);
        if output.code == 3 && output.stderr.contains("--done 3") {
            let decision = if super::ledger(&project).is_empty() { "--again" } else { "--done" };
            output = call(&project, ["resume", "1", decision, "3"]);
        }
        assert!(output.code == 0 || output.stderr.contains("nothing to resume"), "{kill}\n{output:?}");
        assert_eq!(super::ledger(&project)["act"], 1, "{kill}");
        leaves_nothing(&project, &output, body);
    }
}

/// Answers with all that it was asked, as it came, and with a token of its own.
fn mirror() -> Web {
    Web::start(|request, _, stream| {
        let status = if request.contains("refuses ") { "403 Forbidden" } else { "200 OK" };
        let header = format!("X-Token: {PASSWORD}\r\nSet-Cookie: session={COOKIE}; Path=/; HttpOnly\r\n");
        let key = if request.contains(" /keyed") { KEY } else { "none" };
        let body = serde_json::json!({ "token": PASSWORD, "list": [{ "key": key }], "request": request });
        reply(stream, status, &header, body.to_string().as_bytes());
    })
}

#[test]
fn what_is_sent_and_answered_over_http_is_recorded_as_a_name() {
    let web = mirror();
    for body in [
        "http_get(url, #{ bearer: s });",
        "http_get(url, #{ basic: [\"op\", s], query: #{ q: s }, headers: #{ \"X-Key\": s } });",
        "http_post(url, #{ json: #{ deep: [#{ password: s, list: [s, 1] }] } });",
        "http_put(url, #{ form: #{ password: s, user: \"op\" } });",
        "http_patch(url, #{ multipart: #{ a: s, f: #{ content: s, name: \"n\" } } });",
        "http_post(url, #{ body: s });",
        "http_delete(`${url}refuses`, #{ bearer: s });",
        "http_read(\"POST\", `${url}refuses`, #{ json: s });",
        "if http_ok(`${url}refuses`, #{ bearer: s }) { fail(\"no\") }",
        "wait_http(`${url}refuses`, #{ bearer: s, timeout: \"300ms\" });",
        "try { http_get(`${url}refuses`, #{ bearer: s }) } catch (e) { print(e.message); print(e.body); report(e) }",
        "let told = http_get(url, #{ bearer: s }).json.token; http_get(`${url}${told}?q=${told}`); print(told);",
        "print(http_get(url).headers); try { http_get(`${url}refuses`) } catch (e) { report(e.headers) }",
        "let told = http_get(url, #{ bearer: s }).json.token; http_post(`${url}${told}`, #{ json: told, headers: #{ a: told } });",
    ] {
        let whole = format!("let s = secret(\"db/root\"); let url = \"{}\";\n{body}", web.url("/"));
        for arguments in
            [vec!["run", "knows"], vec!["run", "knows", "--json"], vec!["plan", "knows", "-o", "plan.json"]]
        {
            let project = project(&whole);
            let output = call(&project, arguments);
            assert!([0, 1].contains(&output.code), "{body}\n{output:?}");
            leaves_nothing(&project, &output, body);
        }
    }
    assert!(web.requests().len() > 20);
}

#[test]
fn what_an_answer_declares_secret_is_one_before_it_is_recorded() {
    let web = mirror();
    for body in [
        "let a = http_get(url, SECRETS); http_post(url, #{ bearer: a.json.token, json: a.json.list });
         print(a.body); report(a); print(a.json.token.name);",
        "try { http_get(`${url}refuses`, SECRETS) } catch (e) { print(e.body); print(e.message); report(e) }",
        "let a = http_post(url, SECRETS); http_post(url, #{ bearer: a.json.token }); print(a.body);",
        "print(`${http_get(url, SECRETS).json.token}`);",
    ] {
        let body = body.replace("SECRETS", "#{ secrets: [\"/token\", \"/list\"] }");
        let whole = format!("let url = \"{}\";\n{body}", web.url("/keyed"));
        for arguments in [vec!["run", "knows"], vec!["run", "knows", "--json"]] {
            let project = project(&whole);
            let output = call(&project, arguments);
            leaves_nothing(&project, &output, &body);
            let expected = i32::from(body.contains("${http_get"));
            assert_eq!(output.code, expected, "{body}\n{output:?}");
        }
    }
    let bearer = format!("authorization: Bearer {PASSWORD}");
    assert!(web.requests().iter().any(|request| request.contains(&bearer)), "the token is sent as it is");
}

#[test]
fn a_refused_url_is_told_without_what_is_secret_in_it() {
    let web = mirror();
    let url = web.url("/");
    let project = project("");
    for request in ["http_get(`${url}${told}/x`);", "http_post(`${url}${told}/x`, #{ json: told });"] {
        let text = format!(
            "const NEEDS = [\"ssh.read\", \"secret.read\", \"http.get:{url}\", \"http.post:{url}\"];
             let url = \"{url}\"; let s = secret(\"db/root\");
             let told = http_get(url, #{{ bearer: s }}).json.token;\n{request}"
        );
        project.write("runbooks/knows.rhai", &text);
        for arguments in [vec!["run", "knows"], vec!["plan", "knows"]] {
            let output = call(&project, arguments);
            assert!(output.code == 3, "{request}\n{output:?}");
            assert!(output.stderr.contains("«secret:db/root»/x"), "{output:?}");
            leaves_nothing(&project, &output, request);
        }
    }
}

#[test]
fn what_a_server_of_secrets_gives_and_takes_is_recorded_as_a_name() {
    let Some(bao) = bao::shared() else { return };
    bao.put("leaks/db", serde_json::json!({ "root": PASSWORD, "key": KEY, "number": 4_815_162_342_u64 }));
    let policy = "path \"secret/data/leaks/*\" { capabilities = [\"read\"] }";
    let (role, secret) = bao.role("leaks", policy, &serde_json::json!({}));
    for auth in ["", ", inline: true"] {
        for body in [
            "print(told); report(#{ told: told }); throw told;",
            "fail(`no: ${told}`);",
            "ssh_exec(\"h1\", [\"printf\", \"%s\", told]);",
            "print(ssh_read(\"h1\", \"base64 -w0\", #{ stdin: secret(\"leaks/db/key\") }).out);",
            "print(ssh_read(\"h1\", \"cat\", #{ stdin: secret(\"leaks/db/number\") }).out);",
            "print(`${s}`);",
            "secret(\"leaks/db/rot\");",
            "secret(\"leaks/none/x\");",
        ] {
            // It hears the tokens that nobody else knows.
            let between = bao.between(|_| false);
            let text = format!(
                "const NEEDS = [\"ssh.*\", \"secret.read\"];\n\
                 let s = secret(\"leaks/db/root\"); let told = ssh_read(\"h1\", \"cat\", #{{ stdin: s }}).out;\n{body}"
            );
            let project =
                Project::new().inventory(super::HOSTS).runbook("knows", &text).variable("SID", &secret);
            let config = format!(
                "secrets: {{sources: [bao: {{address: '{}', mount: secret, auth: {{approle: {{role_id: {role}, secret_id_env: SID}}{auth}}}}}]}}\n",
                between.url("")
            );
            project.write("nlrun.yaml", &config);
            for arguments in [
                vec!["run", "knows"],
                vec!["run", "knows", "--json"],
                vec!["secrets", "test", "leaks/db/root"],
            ] {
                let output = call(&project, arguments);
                assert!([0, 1].contains(&output.code), "{output:?}");
                let heard = between.requests().join("\n");
                let mut values = vec![PASSWORD, KEY, &secret, "4815162342"];
                values.extend(heard.lines().filter_map(|line| line.strip_prefix("x-vault-token: ")));
                assert!(values.len() > 4 || auth.contains("inline"), "no token was heard");
                leaves_nothing_of(&values, &project, &output, body);
            }
        }
    }
}

#[test]
fn a_server_that_repeats_what_it_was_sent_gives_nothing_away() {
    const TOKEN: &str = "s.0123456789-of-the-login";
    const SENT: &str = "c5b1f5d0-of-the-secret-id";
    const WRAPPED: &str = "s.9876543210-of-the-wrapping";
    let server = Web::start(|request, _, stream| {
        let mut found = |status: &str, body: serde_json::Value| {
            reply(stream, status, "", body.to_string().as_bytes());
        };
        if request.starts_with("GET /v1/sys/health ") {
            found("200 OK", serde_json::json!({ "sealed": false }));
        } else if request.contains("sys/wrapping/lookup") {
            found(
                "200 OK",
                serde_json::json!({ "data": { "creation_path": "auth/approle/role/r/secret-id" }, "warnings": [request] }),
            );
        } else if request.contains("sys/wrapping/unwrap") {
            found("200 OK", serde_json::json!({ "data": { "secret_id": SENT }, "warnings": [request] }));
        } else if request.contains("/login") && !request.contains("refuse-me") {
            found("200 OK", serde_json::json!({ "auth": { "client_token": TOKEN }, "warnings": [request] }));
        } else if request.contains("sys/internal/ui/mounts") {
            found(
                "200 OK",
                serde_json::json!({ "data": { "path": "secret/", "type": "kv", "options": { "version": "2" } }, "warnings": [request, TOKEN] }),
            );
        } else {
            found("400 Bad Request", serde_json::json!({ "errors": [request] }));
        }
    });
    for (auth, given) in [
        ("approle: {role_id: r, secret_id_env: G}", SENT),
        ("approle: {role_id: refuse-me, secret_id_env: G}", SENT),
        ("approle: {role_id: refuse-me, secret_id_env: G}, inline: true", SENT),
        ("approle: {role_id: r, secret_id_env: G, secret_id_wrapped: true}", WRAPPED),
        ("jwt: {role: r, token_env: G}", SENT),
        ("jwt: {role: refuse-me, token_env: G}", SENT),
        ("token: {token_env: G}", TOKEN),
    ] {
        let project = Project::new().inventory(super::HOSTS).variable("G", given);
        let project = project.runbook("knows", "const NEEDS = [\"secret.read\"];\nsecret(\"secret/a/b\");");
        let address = server.url("");
        project.write(
            "nlrun.yaml",
            &format!("secrets: {{sources: [bao: {{address: '{address}', auth: {{{auth}}}}}]}}\n"),
        );
        for arguments in [vec!["run", "knows"], vec!["secrets", "test", "secret/a/b", "--json"]] {
            let output = call(&project, arguments).ends(1);
            assert!(
                output.stdout.contains("«secret:bao/") || output.stderr.contains("«secret:bao/"),
                "{auth}: {output:?}"
            );
            leaves_nothing_of(&[TOKEN, SENT, WRAPPED], &project, &output, auth);
        }
    }
}
