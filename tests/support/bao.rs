//! A real OpenBao on loopback: in memory, or on a disk and sealed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start servers and write their configuration")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::project::until;
use super::sshd::free_port;
use super::web::{Web, hold};

/// The token that may do everything on a server in memory.
pub const ROOT: &str = "root-of-the-tests";

/// A running server; it ends with this value.
pub struct Bao {
    child: Child,
    /// The loopback port it listens on.
    pub port: u16,
    folder: tempfile::TempDir,
}

/// The server that the tests of a process share: each uses mounts and roles of its own.
///
/// It ends with the process: it is told to do so when its standard input ends.
static SHARED: LazyLock<Option<Bao>> = LazyLock::new(|| Bao::in_memory(&[]));

/// Returns the shared server; `None`, with a line on standard error, where OpenBao is not installed.
pub fn shared() -> Option<&'static Bao> {
    SHARED.as_ref()
}

/// Where `bao` is: what `NLRUN_BAO` names, what is on the path, or what `.ci/run` has installed.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("NLRUN_BAO").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("bao"));
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/openbao/bao");
    let found = named.into_iter().chain(on_path).chain([installed]).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: OpenBao is not installed");
    }
    found
}

impl Bao {
    /// Starts a server that keeps everything in memory, unsealed.
    pub fn in_memory(arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("nlrun-bao-").tempdir().unwrap();
        let port = free_port();
        let listen = format!("-dev-listen-address=127.0.0.1:{port}");
        let root = format!("-dev-root-token-id={ROOT}");
        let mut words = vec!["server", "-dev", "-dev-no-store-token", &root, &listen];
        words.extend(arguments);
        Self::start(port, folder, &words)
    }

    /// Starts a server that keeps everything on a disk; nobody has set it up.
    pub fn on_disk() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("nlrun-bao-").tempdir().unwrap();
        let port = free_port();
        let at = folder.path().display();
        let text = format!(
            "storage \"raft\" {{\n path = \"{at}\"\n node_id = \"one\"\n}}\n\
             listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n tls_disable = true\n}}\n\
             api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\n",
            cluster = free_port()
        );
        let path = folder.path().join("server.hcl");
        std::fs::write(&path, text).unwrap();
        Self::start(port, folder, &["server", "-config", path.to_str().unwrap()])
    }

    fn start(port: u16, folder: tempfile::TempDir, words: &[&str]) -> Option<Self> {
        let program = program()?;
        // Whoever is killed takes the server along: `read` ends when nobody holds the other end of its pipe.
        let script = "\"$@\" > log 2>&1 < /dev/null & server=$!; read -r _; kill $server; wait $server";
        let child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(program)
            .args(words)
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bao = Self { child, port, folder };
        until("OpenBao answers", || {
            let log = std::fs::read_to_string(bao.folder.path().join("log")).unwrap_or_default();
            ["development mode", "server started!"].iter().any(|words| log.contains(words))
        });
        Some(bao)
    }

    /// The address of the server.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts something between a client and the server that hears all, and holds the requests that it is told to hold.
    pub fn between(&self, holds: impl Fn(&str) -> bool + Send + Sync + 'static) -> Web {
        let port = self.port;
        Web::start(move |request, _, stream| {
            if holds(request) {
                return hold(stream);
            }
            let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            server.write_all(request.as_bytes()).unwrap();
            let _ = std::io::copy(&mut server, stream);
        })
    }

    /// Asks the server with the root token; returns status and answer.
    pub fn ask(&self, verb: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask_as(ROOT, &[], verb, path, body)
    }

    /// Does with the root token what must succeed.
    #[track_caller]
    pub fn does(&self, verb: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(verb, path, &body);
        assert!(status < 300, "{verb} {path}: {status} {answer}");
        answer
    }

    /// Asks the server with any token and more headers.
    pub fn ask_as(
        &self,
        token: &str,
        headers: &[(&str, &str)],
        verb: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let more =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let head = format!(
            "{verb} /v1/{path} HTTP/1.1\r\nHost: bao\r\nConnection: close\r\nX-Vault-Token: {token}\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
            joined(body)
        } else {
            body.to_owned()
        };
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// Makes an AppRole whose tokens have this policy; returns role and secret.
    pub fn role(&self, name: &str, policy: &str, more: &Value) -> (String, String) {
        self.method("approle", "approle");
        self.does("PUT", &format!("sys/policies/acl/{name}"), json!({ "policy": policy }));
        let mut role: BTreeMap<String, Value> = serde_json::from_value(more.clone()).unwrap_or_default();
        role.insert("token_policies".to_owned(), json!(name));
        self.does("POST", &format!("auth/approle/role/{name}"), json!(role));
        let id = self.does("GET", &format!("auth/approle/role/{name}/role-id"), Value::Null);
        let secret = self.does("POST", &format!("auth/approle/role/{name}/secret-id"), json!({}));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&id["data"]["role_id"]), text(&secret["data"]["secret_id"]))
    }

    /// Mounts a method of logging in, unless another test has.
    pub fn method(&self, path: &str, kind: &str) {
        let (status, answer) = self.ask("POST", &format!("sys/auth/{path}"), &json!({ "type": kind }));
        assert!(status < 300 || answer.to_string().contains("in use"), "{status} {answer}");
    }

    /// Mounts a secrets engine.
    pub fn engine(&self, path: &str, body: Value) {
        self.does("POST", &format!("sys/mounts/{path}"), body);
    }

    /// Writes a secret of KV 2, in the mount that a server in memory has.
    pub fn put(&self, path: &str, data: Value) {
        self.does("POST", &format!("secret/data/{path}"), json!({ "data": data }));
    }

    /// How many login tokens have a policy.
    pub fn tokens_of(&self, policy: &str) -> usize {
        let list = self.does("LIST", "auth/token/accessors", Value::Null);
        let accessors = list["data"]["keys"].as_array().cloned().unwrap_or_default();
        let has = |accessor: &&Value| {
            let (status, found) =
                self.ask("POST", "auth/token/lookup-accessor", &json!({ "accessor": accessor }));
            status == 200
                && found["data"]["policies"].as_array().is_some_and(|all| all.contains(&json!(policy)))
        };
        accessors.iter().filter(has).count()
    }
}

/// Joins the parts of a body that came in chunks.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 || rest.len() < length {
            break;
        }
        whole += &rest[..length];
        body = rest[length..].trim_start_matches("\r\n");
    }
    whole
}

impl Drop for Bao {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
