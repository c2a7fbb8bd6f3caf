//! Servers that do not answer as they should, each told apart.

use serde_json::{Value, json};

use super::{call, project, takes, trouble};
use crate::support::bao::{self, Bao, ROOT};
use crate::support::project::{Project, until};
use crate::support::web::{Web, reply};

#[test]
fn a_server_that_cannot_answer_says_why_and_what_to_do() {
    let Some(fresh) = Bao::on_disk() else { return };
    let project = |more: &str| project(&fresh.address(), more, "").variable("BAO_TOKEN", "s.any");
    let text = trouble(&project(""), "a/b");
    assert!(text.contains("is not initialised / is it the right server?"), "{text}");
    let (status, keys) = fresh.ask("POST", "sys/init", &json!({ "secret_shares": 1, "secret_threshold": 1 }));
    assert_eq!(status, 200, "{keys}");
    let text = trouble(&project(""), "a/b");
    assert!(text.contains("is sealed / somebody with the keys has to unseal it"), "{text}");

    // What is out of reach is an error, unless the configuration says otherwise; then it is a warning.
    let next = takes(Project::new().inventory(super::super::HOSTS), &["a/b"])
        .variable("BAO_TOKEN", "s.any")
        .variable("S_A_B", "of-the-next");
    for (policy, code) in [("fail", 1), ("next", 0)] {
        let sources = format!(
            "secrets: {{sources: [{{bao: {{address: '{}', on_unreachable: {policy}}}}}, {{env: {{prefix: S_}}}}]}}\n",
            fresh.address()
        );
        next.write("nlrun.yaml", &sources);
        let output = call(&next, ["run", "takes"]).ends(code);
        let is_told = output.stdout.contains("is sealed; the next source is asked for secret `a/b`");
        assert_eq!(is_told, code == 0, "{output:?}");
        assert_eq!(next.path("done").exists(), code == 0);
    }
    fresh.ask("POST", "sys/unseal", &json!({ "key": keys["keys"][0] }));
    until("the server is active", || fresh.ask("GET", "sys/health", &Value::Null).0 == 200);
    let text = trouble(&project(""), "a/b");
    assert!(text.contains("OpenBao does not know the token"), "{text}");
    let root = keys["root_token"].as_str().unwrap();
    let text = trouble(
        &project("namespace: nobody").variable("VAULT_TOKEN", root).variable("BAO_TOKEN", root),
        "a/b",
    );
    assert!(text.contains("OpenBao has no namespace `nobody`"), "{text}");
}

const HEALTHY: &str = r#"{"initialized":true,"sealed":false,"standby":false}"#;

/// A server that says to be well and answers everything else with these bytes.
fn answers(answer: &'static [u8]) -> Web {
    Web::start(move |request, _, stream| {
        if request.starts_with("GET /v1/sys/health ") {
            reply(stream, "200 OK", "", HEALTHY.as_bytes());
        } else {
            let _ = std::io::Write::write_all(stream, answer);
        }
    })
}

#[test]
fn what_is_no_answer_of_a_server_is_told_apart() {
    const TOKEN: &str = "s.sent-to-strangers";
    let health = |status: &'static str, body: &'static str| Web::says(status, body);
    let whole = |text: &'static str| answers(text.as_bytes());
    let cases: Vec<(Web, &str)> = vec![
        (
            health("429 Too Many Requests", r#"{"sealed":false,"standby":true}"#),
            "is a standby / name the other servers",
        ),
        (health("473 Standby", r#"{"sealed":false,"standby":true}"#), "is a standby"),
        (health("503 Service Unavailable", "<html>no</html>"), "something answers 503 Service Unavailable"),
        (health("200 OK", "<html>login</html>"), "is not OpenBao: it does not tell its health as JSON"),
        (health("200 OK", "[]"), "is not OpenBao"),
        (health("302 Found", ""), "answers 302 and leads to `nowhere`"),
        (
            whole("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"),
            "something answers 502 Bad Gateway",
        ),
        (
            whole(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 13\r\n\r\n<html></html>",
            ),
            "(200, text/html) is not OpenBao: its answer is not JSON",
        ),
        (
            whole("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{\"data\":{}"),
            "its answer ends in the middle",
        ),
        (
            whole("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{\"data\""),
            "does not answer: connection lost",
        ),
        (whole("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"), "has no `path`"),
        (
            whole("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 14\r\n\r\n{\"lease_id\":1}"),
            "its answer has other parts",
        ),
        (
            whole("HTTP/1.1 429 Too Many\r\nConnection: close\r\nContent-Length: 13\r\n\r\n{\"errors\":[]}"),
            "limits how often it is asked",
        ),
        (
            whole(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://b.example.net/v1?x=1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            ),
            "leads to `https://b.example.net/v1`, where no token is sent",
        ),
    ];
    for (web, says) in &cases {
        let project = project(&web.url(""), "mount: secret", "").variable("BAO_TOKEN", TOKEN);
        let text = trouble(&project, "a/b");
        assert!(text.contains(says), "{says}: {text}");
        assert!(!text.contains(TOKEN), "{text}");
    }
    let project = |source: &str| project(&cases[0].0.url(""), source, "").variable("BAO_TOKEN", TOKEN);
    for (source, says) in [
        ("pin: abc", "`pin` is a SHA-256 in hex"),
        ("ca: nowhere.pem", "/nowhere.pem` cannot be read"),
        ("ca: a, pin: b", "by `ca` or by `pin`, not both"),
        ("addresses: ['ftp://x']", "it begins with `https://` or `http://`"),
        ("addresses: ['https://op:hidden@x']", "a user or a password has no place in it"),
    ] {
        let text = trouble(&project(source), "a/b");
        assert!(text.contains(says) && !text.contains("hidden"), "{text}");
    }
    let nowhere = trouble(&super::project("http://127.0.0.1:1", "", "").variable("BAO_TOKEN", TOKEN), "a/b");
    assert!(nowhere.contains("connection refused by 127.0.0.1:1"), "{nowhere}");
}

#[test]
fn the_first_active_server_of_several_is_asked() {
    let Some(bao) = bao::shared() else { return };
    bao.put("several/db", json!({ "password": "of-the-active" }));
    let standby = Web::says("429 Too Many Requests", r#"{"initialized":true,"sealed":false,"standby":true}"#);
    let sealed = Web::says("503 Service Unavailable", r#"{"initialized":true,"sealed":true,"standby":true}"#);
    let others = format!("addresses: ['{}', '{}', '{}']", standby.url(""), sealed.url(""), bao.address());
    let project = takes(
        project("http://127.0.0.1:1", &format!("mount: secret, {others}"), ""),
        &["several/db/password"],
    )
    .variable("BAO_TOKEN", ROOT);
    let output = call(&project, ["run", "takes"]).success();
    for word in ["connection refused by 127.0.0.1:1; `", "is a standby; `", "is sealed; `"] {
        assert!(output.stdout.contains(word), "{word}: {output:?}");
    }
    for web in [&standby, &sealed] {
        assert!(
            web.requests().iter().all(|request| !request.contains(ROOT)),
            "a token went to a server that is not active"
        );
    }
    // One that is sealed while the run lives is left for the next.
    let sealing = Web::start(|request, number, stream| match number {
        1 => reply(stream, "200 OK", "", HEALTHY.as_bytes()),
        _ if request.contains("sys/health") => {
            reply(stream, "503 Service Unavailable", "", br#"{"sealed":true}"#);
        }
        _ => reply(stream, "503 Service Unavailable", "", br#"{"errors":["Vault is sealed"]}"#),
    });
    let source = format!("mount: secret, addresses: ['{}']", bao.address());
    let project = takes(super::project(&sealing.url(""), &source, ""), &["several/db/password"])
        .variable("BAO_TOKEN", ROOT);
    let output = call(&project, ["run", "takes"]).success();
    assert!(output.stdout.contains("is sealed; `http://127.0.0.1:"), "{output:?}");
}

#[test]
fn a_server_with_tls_is_trusted_by_its_authority_or_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let Some(bao) = Bao::in_memory(&["-dev-tls", &format!("-dev-tls-cert-dir={}", folder.path().display())])
    else {
        return;
    };
    let ca = folder.path().join("vault-ca.pem").display().to_string();
    let address = bao.address().replace("http:", "https:");
    let tested = |source: &str, variable: &str| {
        let project = project(&address, source, "").variable("BAO_TOKEN", ROOT).variable(variable, &ca);
        call(&project, ["secrets", "test", "--json"]).json_lines().swap_remove(0)
    };
    for (source, variable) in
        [(format!("ca: '{ca}'"), "UNUSED"), (String::new(), "BAO_CACERT"), (String::new(), "VAULT_CACERT")]
    {
        let source = tested(&source, variable);
        assert_eq!(source["ok"], true, "{source}");
    }
    let other = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).unwrap().cert.pem();
    let other = other.trim().replace('\n', "\\n");
    for source in [String::new(), format!("ca: \"{other}\"")] {
        let source = tested(&source, "UNUSED");
        let text = source["error"].as_str().unwrap();
        assert!(text.contains("nobody who is trusted signed the server's certificate"), "{text}");
        assert!(source["hint"].as_str().unwrap().contains("`ca` names the authority"), "{source}");
    }
    let source = tested(&format!("pin: '{}'", "00".repeat(32)), "UNUSED");
    let text = source["error"].as_str().unwrap();
    let (_, seen) = text.split_once("its SHA-256 is ").unwrap();
    assert_eq!(tested(&format!("pin: '{seen}'"), "UNUSED")["ok"], true);
}

#[test]
fn a_server_that_refuses_or_is_gone_is_not_asked_again_for_each_secret() {
    let count =
        |web: &Web, start: &str| web.requests().iter().filter(|request| request.starts_with(start)).count();
    let names = ["secrets", "test", "a/b", "c/d", "e/f", "--json"];
    let standby = Web::says("429 Too Many Requests", r#"{"sealed":false,"standby":true}"#);
    let gone = project(&standby.url(""), "", "").variable("BAO_TOKEN", "s.any");
    let output = call(&gone, names).ends(1);
    assert!(output.json_lines().iter().all(|line| line["error"].as_str().unwrap().contains("is a standby")));
    assert_eq!(count(&standby, "GET"), 1);

    let refuses = answers(
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 40\r\n\r\n{\"errors\":[\"invalid role or secret ID\"]}",
    );
    let auth = "mount: secret, auth: {approle: {role_id: r, secret_id_env: SID}}";
    let locked = project(&refuses.url(""), auth, "").variable("SID", "wrong-secret-id");
    let output = call(&locked, names).ends(1);
    assert!(
        output
            .json_lines()
            .iter()
            .all(|line| line["error"].as_str().unwrap().contains("invalid role or secret ID"))
    );
    assert_eq!(count(&refuses, "POST"), 1);
}
