//! What a run gives back at its end: logins and leases, however it ends.

use serde_json::{Value, json};

use super::{call, finish, project, reads, takes};
use crate::support::bao::{self, ROOT};
use crate::support::project::until;
use crate::support::web::{Web, reply};

#[test]
fn a_login_ends_with_its_run_however_that_ends() {
    let Some(bao) = bao::shared() else { return };
    bao.put("ends/db", json!({ "password": "of-the-ends" }));
    let (role, secret) = bao.role("ends", &reads("ends"), &json!({ "token_ttl": "1h" }));
    let source = format!(
        "mount: secret, prefix: ends, auth: {{approle: {{role_id: {role}, secret_id_env: SECRET_ID}}}}"
    );
    for (body, code) in [("print(1);", 0), ("fail(\"no\");", 1), ("ssh_exec(\"h1\", \"sleep 20\");", 5)] {
        let project = project(&bao.address(), &source, "").variable("SECRET_ID", &secret).runbook(
            "ends",
            &format!(
                "const NEEDS = [\"ssh.*\", \"secret.read\"];\n\
                 ssh_exec(\"h1\", \"cat > done\", #{{ stdin: secret(\"db/password\") }});\n{body}"
            ),
        );
        if code == 5 {
            let child = project.spawn(["run", "ends"]);
            until("the secret was read", || project.path("done").exists());
            assert_eq!(bao.tokens_of("ends"), 1, "the run has logged in");
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            finish(child).ends(code);
        } else {
            call(&project, ["run", "ends"]).ends(code);
        }
        assert_eq!(project.read("done").trim(), "of-the-ends");
        assert_eq!(bao.tokens_of("ends"), 0, "{body}");
    }
    // A test and a look log in, too.
    let project = project(&bao.address(), &source, "").variable("SECRET_ID", &secret);
    let tested = call(&project, ["secrets", "test", "db/password"]).success();
    assert!(tested.stdout.contains("as `approle`, policies default ends, valid for "), "{tested:?}");
    let looked = call(&project, ["doctor"]);
    assert!(looked.stdout.contains("asked by name as `approle`"), "{looked:?}");
    assert_eq!(bao.tokens_of("ends"), 0);
}

#[test]
fn leases_are_renewed_and_end_with_the_run() {
    let Some(bao) = bao::shared() else { return };
    // What the server asks of RabbitMQ: to make a user, and to remove it.
    let broker = Web::start(|request, _, stream| {
        let status = if request.starts_with("DELETE") { "204 No Content" } else { "201 Created" };
        reply(stream, status, "", b"");
    });
    bao.engine("rabbitmq", json!({ "type": "rabbitmq" }));
    let connection = json!({ "connection_uri": broker.url(""), "username": "op", "password": "x", "verify_connection": false });
    bao.does("POST", "rabbitmq/config/connection", connection);
    bao.does("POST", "rabbitmq/config/lease", json!({ "ttl": 6, "max_ttl": 600 }));
    bao.does(
        "POST",
        "rabbitmq/roles/app",
        json!({ "vhosts": "{\"/\": {\"write\": \".*\", \"read\": \".*\"}}" }),
    );
    bao.engine("pki", json!({ "type": "pki" }));
    bao.does("POST", "pki/root/generate/internal", json!({ "common_name": "root", "ttl": "20h" }));
    bao.does(
        "POST",
        "pki/roles/web",
        json!({ "allow_any_name": true, "generate_lease": true, "ttl": "10m" }),
    );
    let policy = "path \"rabbitmq/creds/app\" { capabilities = [\"read\"] } path \"pki/issue/web\" { capabilities = [\"update\"] }";
    let (role, secret) = bao.role("leases", policy, &json!({}));
    let login = format!("approle: {{role_id: {role}, secret_id_env: SECRET_ID}}");
    let names = "user: {bao: 'rabbitmq/creds/app#username'}, pass: {bao: 'rabbitmq/creds/app#password'}, \
                 key: {bao: {path: pki/issue/web, field: private_key, with: {common_name: a.example.net}}}";
    let of_broker =
        |start: &str| broker.requests().iter().filter(|request| request.starts_with(start)).count();
    let live = |prefix: &str| {
        bao.ask("LIST", &format!("sys/leases/lookup/{prefix}"), &Value::Null).1["data"]["keys"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let mut text = "const NEEDS = [\"ssh.*\", \"secret.read\"];\n".to_owned();
    // The first run lives longer than the lease would without renewal; each ends when it is told to.
    for (name, then) in [
        ("user", "true"),
        ("pass", "test -e short || sleep 7"),
        ("key", "until test -e go; do sleep 0.1; done"),
    ] {
        text += &format!(
            "ssh_exec(\"h1\", \"cat >> done; echo >> done; {then}\", #{{ stdin: secret(\"{name}\") }});\n"
        );
    }
    // Each way to be logged in ends them: by its own token, by somebody's, and by none to begin with.
    for (number, auth) in
        [login.clone(), format!("{login}, inline: true"), "token: {token_env: ROOT}".to_owned()]
            .into_iter()
            .enumerate()
    {
        let project = project(&bao.address(), &format!("auth: {{{auth}}}"), names)
            .variable("SECRET_ID", &secret)
            .variable("ROOT", ROOT)
            .runbook("leases", &text);
        if number > 0 {
            project.write("short", "");
        }
        let child = project.spawn(["run", "leases"]);
        until("the user was made", || of_broker("PUT /api/users/") == number + 1);
        until("the certificate was made", || live("pki/issue/web") == 1);
        assert_eq!(of_broker("DELETE /api/users/"), number, "the lease lives as long as the run");
        project.write("go", "");
        let output = finish(child).success();
        assert!(project.read("done").contains("BEGIN RSA PRIVATE KEY"), "{output:?}");
        assert!(!output.stdout.contains("warning"), "{output:?}");
        until("the user was removed", || of_broker("DELETE /api/users/") == number + 1);
        until("the certificate's lease has ended", || live("pki/issue/web") == 0);
        assert_eq!(of_broker("PUT /api/users/"), number + 1, "both fields are of one lease");
    }
    assert_eq!(bao.tokens_of("leases"), 0);
}

#[test]
fn a_server_that_is_gone_at_the_end_holds_nobody_up() {
    let Some(bao) = bao::shared() else { return };
    bao.put("held/db", json!({ "password": "of-the-held" }));
    let (role, secret) = bao.role("held", &reads("held"), &json!({ "token_ttl": "1h" }));
    let between = bao.between(|request| request.contains("revoke-self"));
    let source = format!("mount: secret, auth: {{approle: {{role_id: {role}, secret_id_env: SECRET_ID}}}}");
    let project =
        takes(project(&between.url(""), &source, ""), &["held/db/password"]).variable("SECRET_ID", &secret);
    let output = call(&project, ["run", "takes"]).success();
    let says = "the login token of OpenBao is not revoked (no answer within 5 s); it ends by itself in 59m";
    assert!(output.stdout.contains(says), "{output:?}");
    assert_eq!(bao.tokens_of("held"), 1);
}
