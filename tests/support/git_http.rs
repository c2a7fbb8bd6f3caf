//! A server of repositories by HTTPS: `git http-backend` of this machine behind TLS on loopback, with a certificate of an authority of its own.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    reason = "a test fails by panicking, says what it skips, and each uses a part of it"
)]
#![expect(clippy::disallowed_methods, reason = "tests start servers and write their configuration")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::web::certificates;

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// A server of every bare repository in a folder, for who shows one user and token.
pub struct GitHttp {
    /// The loopback port it listens on.
    pub port: u16,
    folder: tempfile::TempDir,
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    /// What `Authorization` has to be, and the token in it.
    login: (String, String),
    /// Where requests are sent on to instead.
    elsewhere: Mutex<Option<String>>,
    seen: Mutex<Vec<(String, Option<String>)>>,
    leaks: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl GitHttp {
    /// Starts a server; `None`, with a line on standard error, where Git has no part for HTTP.
    pub fn start(root: &Path, user: &str, token: &str) -> Option<Self> {
        let path = Command::new("git").arg("--exec-path").output().unwrap().stdout;
        let path = PathBuf::from(String::from_utf8(path).unwrap().trim());
        if !path.join("git-http-backend").exists() || !path.join("git-remote-https").exists() {
            eprintln!("skipped: this Git speaks no HTTP");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("nlrun-githttp-").tempdir().unwrap();
        certificates(folder.path());
        Some(Self::with(folder, root, user, token))
    }

    /// Starts another server of the same repositories, with the same certificate.
    pub fn twin(&self, user: &str, token: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("nlrun-githttp-").tempdir().unwrap();
        for name in ["ca.pem", "right.pem", "right.key"] {
            std::fs::copy(self.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        Self::with(folder, &self.inner.root, user, token)
    }

    fn with(folder: tempfile::TempDir, root: &Path, user: &str, token: &str) -> Self {
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let certificate = CertificateDer::from_pem_slice(&read("right.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&read("right.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let inner = Arc::new(Inner {
            root: root.to_owned(),
            login: (format!("Basic {}", STANDARD.encode(format!("{user}:{token}"))), token.to_owned()),
            elsewhere: Mutex::default(),
            seen: Mutex::default(),
            leaks: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = inner.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (stream, config, inner) = (stream.unwrap(), config.clone(), shared.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    let connection = ServerConnection::new(config).unwrap();
                    inner.serve(BufReader::new(StreamOwned::new(connection, stream)));
                });
            }
        });
        Self { port, folder, inner }
    }

    /// The address of a repository here.
    pub fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/{name}", self.port)
    }

    /// The file with the authority that signed the server's certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Sends every request on to another server from now on.
    pub fn send_on(&self, to: &Self) {
        *self.inner.elsewhere.lock() = Some(format!("https://127.0.0.1:{}", to.port));
    }

    /// Every request so far: its line, and what it showed.
    pub fn seen(&self) -> Vec<(String, Option<String>)> {
        self.inner.seen.lock().clone()
    }

    /// Processes that had the token in their words or, being Git's, in their environment, while a request was answered.
    pub fn leaks(&self) -> Vec<String> {
        self.inner.leaks.lock().clone()
    }
}

impl Drop for GitHttp {
    fn drop(&mut self) {
        self.inner.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Inner {
    fn serve(&self, mut stream: Stream) {
        // Who does not trust the certificate ends the connection before that.
        let Some(request) = read(&mut stream) else { return };
        let shown = request.headers.get("authorization").cloned();
        self.seen.lock().push((format!("{} {}", request.method, request.target), shown.clone()));
        self.leaks.lock().extend(leaks(&self.login.1));
        if let Some(elsewhere) = self.elsewhere.lock().clone() {
            reply(&mut stream, "302 Found", &format!("Location: {elsewhere}{}\r\n", request.target), b"");
        } else if shown.as_ref() == Some(&self.login.0) {
            let (status, headers, body) = self.backend(&request);
            reply(&mut stream, &status, &headers, &body);
        } else {
            reply(&mut stream, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\"\r\n", b"");
        }
    }

    /// Has Git answer, by CGI (RFC 3875).
    fn backend(&self, request: &Request) -> (String, String, Vec<u8>) {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
        let mut child = Command::new("git")
            .arg("http-backend")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REMOTE_USER", "ada")
            .env("REMOTE_ADDR", "127.0.0.1")
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("HTTP_GIT_PROTOCOL", header("git-protocol"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, body) = (child.stdin.take().unwrap(), request.body.clone());
        let writing = std::thread::spawn(move || input.write_all(&body));
        let output = child.wait_with_output().unwrap().stdout;
        let _ = writing.join().unwrap();
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let (mut status, mut headers) = ("200 OK".to_owned(), String::new());
        for line in String::from_utf8_lossy(&output[..end]).lines() {
            match line.strip_prefix("Status: ") {
                Some(other) => other.clone_into(&mut status),
                None => headers += &format!("{line}\r\n"),
            }
        }
        (status, headers, output[end + 4..].to_vec())
    }
}

fn read(stream: &mut Stream) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    if headers.contains_key("expect") {
        stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut body = Vec::new();
    if headers.contains_key("transfer-encoding") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).ok()?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            std::io::copy(&mut stream.by_ref().take(size), &mut body).ok()?;
            stream.read_line(&mut String::new()).ok()?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        std::io::copy(&mut stream.by_ref().take(length.parse().ok()?), &mut body).ok()?;
    }
    Some(Request { method, target, headers, body })
}

fn reply(stream: &mut Stream, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    let stream = stream.get_mut();
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

/// Looks at every process of this machine.
fn leaks(token: &str) -> Vec<String> {
    let has = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(token.len()).any(|part| part == token.as_bytes())
    };
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
        let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
        if has(process.join("cmdline")) {
            found.push(format!("words of {}", name.trim()));
        }
        if name.starts_with("git") && has(process.join("environ")) {
            found.push(format!("environment of {}", name.trim()));
        }
    }
    found
}
