//! `nlrun lab`: a newcomer's first minutes, and what is left of them.
#![expect(clippy::disallowed_methods, reason = "tests speak to the lab's servers themselves")]

mod network;
mod sync;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::project::{Output, Project, until};

/// A lab that runs; it ends with this value.
struct Lab {
    child: Child,
    told: Value,
}

/// Starts a lab in `lab` below the project's folder and waits until it is ready.
///
/// `None`, with a line on standard error, where this machine lets no host start.
fn start(project: &Project, words: &[&str]) -> Option<Lab> {
    let lab = start_without_hosts(project, words);
    if let Some(reason) = lab.told["without_hosts"].as_str() {
        eprintln!("skipped: this machine starts no hosts of the lab: {reason}");
        return None;
    }
    Some(lab)
}

/// Starts a lab whose hosts nobody needs.
fn start_without_hosts(project: &Project, words: &[&str]) -> Lab {
    let mut all = vec!["lab", "--json"];
    all.extend(words);
    if !project.path("lab").exists() {
        all.extend(["--port-base", "0", "--hosts", "2"]);
    }
    let mut child = project.spawn(all);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    if line.is_empty() {
        let mut text = String::new();
        child.stderr.as_mut().unwrap().read_to_string(&mut text).unwrap();
        panic!("the lab does not start: {text}");
    }
    Lab { child, told: serde_json::from_str(&line).unwrap() }
}

impl Lab {
    fn port(&self, name: &str) -> u16 {
        let places = self.told["places"].as_array().unwrap();
        let place = places.iter().find(|place| place["name"] == name);
        u16::try_from(place.unwrap_or_else(|| panic!("no {name}"))["port"].as_u64().unwrap()).unwrap()
    }

    fn ports(&self) -> Vec<u64> {
        let places = self.told["places"].as_array().unwrap();
        places.iter().map(|place| place["port"].as_u64().unwrap()).collect()
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end and returns the exit code.
    fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
    }
}

fn is_open(port: u64) -> bool {
    TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).is_ok()
}

fn run(project: &Project, words: &[&str]) -> Output {
    project.args([&["--project", "lab"], words].concat())
}

/// The processes on this machine whose command line names this folder.
fn processes(project: &Project) -> Vec<String> {
    let folder = project.path("lab").display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&folder) {
            found.push(line);
        }
    }
    found
}

#[test]
fn a_newcomer_takes_a_certificate_to_the_hosts() {
    let project = Project::new();
    let Some(lab) = start(&project, &[]) else { return };
    run(&project, &["check", "--strict"]).success();
    let hello = run(&project, &["run", "hello"]).success();
    assert_eq!(hello.stdout.matches("nginx is active").count(), 2, "{hello:?}");
    let plan = run(&project, &["plan", "certs/sync", "--exit-code"]).ends(2);
    assert!(!plan.stdout.contains("PRIVATE KEY"), "{plan:?}");
    let first = run(&project, &["run", "certs/sync"]).success();
    run(&project, &["plan", "certs/sync", "--exit-code"]).success();
    // The certificate comes from the secret store, and is public; its key is not.
    let again = run(&project, &["replay", "3"]).success();
    let rows = |output: &Output| -> Vec<String> {
        output.stdout.lines().filter(|line| line.contains(" web ")).map(str::to_owned).collect()
    };
    assert_eq!(rows(&again), rows(&first));
    assert_eq!(rows(&first).len(), 6, "{first:?}");
    let log = run(&project, &["log", "3", "--json"]).success().stdout;
    let lines = |name: &str| -> Vec<String> {
        let text = project.read(&format!("lab/certificates/{name}"));
        text.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect()
    };
    assert!(lines("new.pem").iter().all(|line| log.contains(line)), "{log}");
    assert!(!lines("new.key").iter().take(2).any(|line| log.contains(line)), "{log}");
    for name in ["web-1 nginx", "web-2 nginx"] {
        let address = format!("127.0.0.1:{}", lab.port(name));
        let seen = run(&project, &["cert", "check", &address, "--ca", "lab/certificates/ca.pem"]);
        assert_eq!(seen.code, 0, "{seen:?}");
    }
    let expiry = run(&project, &["run", "certs/expiry"]).ends(1);
    for words in [
        "soon (127.0.0.1:",
        "ends soon",
        "expired (127.0.0.1:",
        "stranger (127.0.0.1:",
        "a client would not trust it",
    ] {
        assert!(expiry.stderr.contains(words) || expiry.stdout.contains(words), "{words}: {expiry:?}");
    }
    for right in ["web-1", "npm", "pve01", "nas", "unifi"] {
        let line = expiry.stdout.lines().find(|line| line.contains(right)).unwrap_or_default();
        assert!(line.contains(" ok "), "{right}: {expiry:?}");
    }
}

#[test]
fn a_key_of_another_certificate_goes_nowhere() {
    let project = Project::new();
    let Some(lab) = start(&project, &[]) else { return };
    let read = |name: &str| project.read(&format!("lab/{name}"));
    let body = serde_json::json!({ "data": { "certificate": read("certificates/new.pem"), "key": read("certificates/old.key") } });
    let (status, _) =
        ask(lab.port("store"), &read(".lab/root_token"), "POST", "secret/data/certs/web", &body);
    assert_eq!(status, 200);
    let refused = run(&project, &["run", "certs/sync"]).ends(4);
    assert_eq!(refused.stdout.matches("certificate web: ").count(), 12, "{refused:?}");
    assert!(refused.stdout.contains("is not that of the certificate"), "{refused:?}");
    // Past the check of the runbook, the host's own server refuses the pair, and goes on with the old one.
    let pair = format!("{}{}", read("certificates/new.pem"), read("certificates/old.key"));
    project.write("lab/pair.pem", &pair);
    project.write(
        "lab/runbooks/wrong.rhai",
        "const NEEDS = [\"file.put:@web:/etc/nginx/tls/web.pem\", \"ssh.exec:@web\"];\n\
         file_put(\"web-1\", \"/etc/nginx/tls/web.pem\", #{ source: \"pair.pem\" });\n\
         print(ssh_exec(\"web-1\", \"nginx -t\", #{ ok: [0, 1] }).err);\n\
         ssh_exec(\"web-1\", [\"systemctl\", \"reload\", \"nginx\"]);",
    );
    let wrong = run(&project, &["run", "wrong"]).ends(1);
    assert!(format!("{wrong:?}").contains("key values mismatch"), "{wrong:?}");
    let hello = run(&project, &["run", "hello"]).success();
    assert_eq!(hello.stdout.matches("nginx is active").count(), 2, "{hello:?}");
}

#[test]
fn a_host_cannot_reach_what_is_not_its_own() {
    let project = Project::new();
    let Some(_lab) = start(&project, &[]) else { return };
    let folder = project.root().display().to_string();
    let lines = [
        "touch /usr/nlrun-lab-test",
        &format!("ls {folder}"),
        "mount -o remount,rw /usr",
        "umount /usr",
        "echo 1 > /proc/sys/kernel/sysrq",
        "unshare -Urm mount -o remount,bind,rw /usr",
        "mknod /tmp/x b 8 0",
        "false",
    ];
    let calls: Vec<String> = lines
        .iter()
        .map(|line| {
            format!("print(`${{ssh_exec(\"web-1\", \"{line}\", #{{ ok: \"any\" }}).code == 0}} {line}`);\n")
        })
        .collect();
    let text = format!(
        "const NEEDS = [\"ssh.exec:@web\"];\n{}ssh_exec(\"web-1\", \"touch /etc/own /tmp/own\");\n",
        calls.concat()
    );
    project.write("lab/runbooks/escape.rhai", &text);
    let output = run(&project, &["run", "escape"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(!output.stdout.contains("true "), "{output:?}");
    assert_eq!(output.stdout.matches("false ").count(), lines.len(), "{output:?}");
}

#[test]
fn what_was_written_outlives_a_kill_and_nothing_else_does() {
    let project = Project::new();
    let Some(lab) = start(&project, &[]) else { return };
    let ports = lab.ports();
    let put = run(&project, &["run", "motd", "--set", "text=kept"]).success();
    assert!(put.stderr.contains("+kept") || put.stdout.contains("kept"), "{put:?}");
    lab.send(Signal::KILL);
    assert_eq!(lab.ended(), None);
    until("its hosts have ended", || processes(&project).is_empty());
    let edited = format!("{}# mine\n", project.read("lab/runbooks/hello.rhai"));
    project.write("lab/runbooks/hello.rhai", &edited);
    let lab = start(&project, &[]).unwrap();
    assert_eq!(lab.ports(), ports);
    assert_eq!(lab.told["kept"], serde_json::json!(["runbooks/hello.rhai"]));
    assert_eq!(project.read("lab/runbooks/hello.rhai"), edited);
    run(&project, &["plan", "motd", "--set", "text=kept", "--exit-code"]).success();
    lab.send(Signal::INT);
    assert_eq!(lab.ended(), Some(0));
    assert!(!ports.iter().any(|port| is_open(*port)), "a port is left");
    assert_eq!(processes(&project), Vec::<String>::new());
}

#[test]
fn a_folder_is_one_labs_and_its_keys_are_nobody_elses() {
    let project = Project::new();
    let Some(_lab) = start(&project, &[]) else { return };
    let second = project.args(["lab", "--port-base", "0"]).ends(64);
    assert!(second.stderr.contains("a lab runs in `"), "{second:?}");
    assert!(second.stderr.contains("process "), "{second:?}");
    let foreign = project.args(["lab", "--dir", "."]).ends(64);
    assert!(foreign.stderr.contains("is no lab, and it is not empty"), "{foreign:?}");
    let mode = |name: &str| std::fs::metadata(project.path(name)).unwrap().permissions().mode() & 0o777;
    for name in ["id_ed25519", "root_token", "secret_id", "store.json", "keys/web-1"] {
        assert_eq!(mode(&format!("lab/.lab/{name}")), 0o600, "{name}");
    }
    assert_eq!((mode("lab/.lab"), mode("lab/certificates/new.key")), (0o700, 0o600));
    // Nothing but the folder was written.
    let names = |folder: PathBuf| -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(project.root()), ["lab", "nlrun.yaml"]);
    assert_eq!(names(project.home()), Vec::<String>::new());
}

#[test]
fn a_run_that_is_killed_goes_on() {
    let project = Project::new();
    let Some(_lab) = start(&project, &[]) else { return };
    let mut killed = project.spawn(["--project", "lab", "run", "slow"]);
    until("the first file is there", || project.path("lab/.lab/hosts/web-1/srv/slow").exists());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!project.path("lab/.lab/hosts/web-2/srv/slow").exists(), "it was killed in the middle");
    run(&project, &["resume", "last"]).success();
    assert_eq!(project.read("lab/.lab/hosts/web-2/srv/slow"), "part 3\n");
}

/// A server that is stopped, and one whose configuration is wrong, are told as `systemctl` and nginx tell it.
#[test]
fn a_service_stops_starts_and_fails() {
    let project = Project::new();
    let Some(lab) = start(&project, &[]) else { return };
    let text = "const NEEDS = [\"ssh.exec:@web\"];\n\
        print(ssh_exec(\"web-1\", \"systemctl stop nginx; systemctl is-active nginx\", #{ ok: \"any\" }).out);\n\
        print(ssh_exec(\"web-2\", \"echo junk >> /etc/nginx/nginx.conf; nginx -t; systemctl reload nginx || systemctl is-active nginx; \
        systemctl restart nginx; systemctl is-active nginx; systemctl start other\", #{ ok: \"any\" }).err);";
    project.write("lab/runbooks/stop.rhai", text);
    let told = run(&project, &["run", "stop"]).success();
    for words in [
        "inactive",
        "unexpected end of file, expecting",
        "test failed",
        "Job for nginx.service failed",
        "Unit other.service not found",
    ] {
        assert!(told.stdout.contains(words), "{words}: {told:?}");
    }
    let [first, second] = ["web-1 nginx", "web-2 nginx"].map(|name| is_open(u64::from(lab.port(name))));
    assert!(!first && !second, "neither listens");
    drop(lab);
    // What was stopped stays so; the other one cannot start.
    let _lab = start(&project, &[]).unwrap();
    let hello = run(&project, &["run", "hello"]).success();
    assert!(
        hello.stdout.contains("web-1: nginx is inactive") && hello.stdout.contains("web-2: nginx is failed"),
        "{hello:?}"
    );
}

/// The commands of the section of the README that promises two minutes, with ports that are free.
#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, section) =
        readme.split_once("## Try it in two minutes: the lab").expect("the README has the section");
    let section = section.split("\n## ").next().unwrap();
    let commands: Vec<Vec<&str>> = section
        .lines()
        .filter_map(|line| line.strip_prefix("    cargo run -- "))
        .map(|line| line.split('#').next().unwrap().split_whitespace().collect())
        .collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    let project = Project::new();
    let Some(_lab) = start(&project, &commands[0][1..]) else { return };
    assert_eq!(commands[0][0], "lab");
    project.args(&commands[1]).success();
    run(&project, &["plan", "certs/sync", "--exit-code"]).success();
}

#[test]
fn a_command_inside_gives_its_exit_code() {
    let project = Project::new();
    let Some(lab) = start(&project, &[]) else { return };
    drop(lab);
    let inside = project.args(["lab", "--", "run", "hello"]).success();
    assert_eq!(inside.stdout.matches("nginx is active").count(), 2, "{inside:?}");
    project.args(["lab", "--", "run", "nothing"]).ends(64);
    assert_eq!(processes(&project), Vec::<String>::new());
}

/// Asks a server of secrets; returns status and answer.
fn ask(port: u16, token: &str, verb: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "{verb} /v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Vault-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// The same requests to the real server and to the lab's: the same statuses, the same fields, the same errors.
#[test]
fn the_store_answers_as_the_real_one() {
    use crate::support::bao::{Bao, ROOT};
    use serde_json::json;
    let Some(real) = Bao::in_memory(&[]) else { return };
    let (role, secret) = real.role(
        "lab",
        "path \"secret/*\" { capabilities = [\"read\", \"list\"] }",
        &json!({ "token_ttl": "1h" }),
    );
    let project = Project::new();
    let Some(lab) = start(&project, &[]) else { return };
    let own = |name: &str| project.read(&format!("lab/.lab/{name}"));
    let logins = [
        (json!({ "role_id": role, "secret_id": secret }), ROOT.to_owned()),
        (json!({ "role_id": own("role_id"), "secret_id": own("secret_id") }), own("root_token")),
    ];
    let ports = [real.port, lab.port("store")];
    let both = |tokens: &[String; 2], verb: &str, path: &str, bodies: [Value; 2]| {
        let answers = [0, 1].map(|at| ask(ports[at], &tokens[at], verb, path, &bodies[at]));
        let shapes = [shape(&answers[0].1), shape(&answers[1].1)];
        assert_eq!((answers[0].0, &shapes[0]), (answers[1].0, &shapes[1]), "{verb} {path}: {answers:?}");
        answers
    };
    let root = logins.each_ref().map(|(_, token)| token.clone());
    let nobody = ["nobody".to_owned(), "nobody".to_owned()];
    let same = |body: Value| [body.clone(), body];
    for (tokens, verb, path, body) in [
        (&root, "GET", "secret/data/x", Value::Null),
        (&root, "POST", "secret/data/x", json!({ "data": { "a": "1" } })),
        (&root, "POST", "secret/data/x", json!({})),
        (&root, "POST", "secret/data/x", json!({ "data": {}, "options": { "cas": 0 } })),
        (&root, "GET", "secret/data/x", Value::Null),
        (&root, "GET", "secret/data/x?version=9", Value::Null),
        (&root, "LIST", "secret/metadata/none", Value::Null),
        (&root, "DELETE", "secret/data/x", Value::Null),
        (&root, "GET", "secret/data/x", Value::Null),
        (&root, "GET", "secret/metadata/x", Value::Null),
        (&root, "GET", "secret/x", Value::Null),
        (&root, "GET", "nope/x", Value::Null),
        (&root, "GET", "sys/internal/ui/mounts/secret/x", Value::Null),
        (&root, "GET", "sys/internal/ui/mounts/nope/x", Value::Null),
        (&root, "GET", "auth/token/lookup-self", Value::Null),
        (&root, "POST", "auth/token/renew-self", json!({})),
        (&nobody, "GET", "secret/data/x", Value::Null),
        (&nobody, "GET", "auth/token/lookup-self", Value::Null),
        (&nobody, "POST", "auth/approle/login", json!({})),
        (&nobody, "POST", "auth/approle/login", json!({ "role_id": "x", "secret_id": "y" })),
        (&nobody, "PUT", "sys/health", Value::Null),
    ] {
        both(tokens, verb, path, same(body));
    }
    let refused =
        logins.each_ref().map(|(login, _)| json!({ "role_id": login["role_id"], "secret_id": "no" }));
    both(&nobody, "POST", "auth/approle/login", refused);
    let missing = logins.each_ref().map(|(login, _)| json!({ "role_id": login["role_id"] }));
    both(&nobody, "POST", "auth/approle/login", missing);
    let answers =
        both(&nobody, "POST", "auth/approle/login", logins.each_ref().map(|(login, _)| login.clone()));
    let tokens = answers.map(|(_, answer)| answer["auth"]["client_token"].as_str().unwrap().to_owned());
    for (verb, path, body) in [
        ("GET", "auth/token/lookup-self", Value::Null),
        ("POST", "auth/token/renew-self", json!({})),
        ("GET", "secret/data/none", Value::Null),
        ("POST", "secret/data/x", json!({ "data": {} })),
        ("GET", "nope/x", Value::Null),
        ("POST", "auth/token/revoke-self", Value::Null),
        ("GET", "auth/token/lookup-self", Value::Null),
    ] {
        both(&tokens, verb, path, same(body));
    }
}

/// The names and types of all that a value holds; errors as they stand.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            // What a mount or a cluster is like is each server's own.
            let own = ["config", "versions"];
            let told = fields.iter().map(|(name, value)| {
                let is_told = name == "errors" || name == "warnings";
                let value = if is_told {
                    value.clone()
                } else if own.contains(&name.as_str()) {
                    Value::Null
                } else {
                    shape(value)
                };
                (name.clone(), value)
            });
            Value::Object(told.collect())
        }
        Value::Array(_) => "array".into(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => Value::Null,
    }
}
