//! `nlrun serve` of a project on loopback, and a caller with a token.
#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and each uses a part of it")]
#![expect(clippy::disallowed_methods, reason = "a client of its own, which waits")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::project::Project;

/// No test waits longer than this for a server.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server in the foreground of a process of its own; it ends with this value.
pub struct Server {
    child: Child,
    said: Arc<Mutex<String>>,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Somebody with a token, at a server.
#[derive(Clone)]
pub struct Caller {
    url: String,
    token: Option<String>,
}

/// Makes a token of this role in the project.
pub fn token(project: &Project, name: &str, role: &str) -> String {
    let output = project.args(["token", "add", name, "--role", role]);
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout.trim().to_owned()
}

impl Server {
    /// Starts a server of the project on a free port, and waits until it answers.
    pub fn start(project: &Project) -> Self {
        Self::start_with(project, &[])
    }

    /// Starts a server with more options.
    pub fn start_with(project: &Project, more: &[&str]) -> Self {
        Self::start_at(project, "127.0.0.1:0", more)
    }

    /// Starts a server that listens here, with more options.
    pub fn start_at(project: &Project, listen: &str, more: &[&str]) -> Self {
        let words = ["serve", "--listen", listen].into_iter().chain(more.iter().copied());
        let mut command = project.command(words);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let all = said.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("server: {line}");
                *all.lock() += &format!("{line}\n");
                let _ = sender.send(line);
            }
        });
        let url = loop {
            let line = lines.recv_timeout(PATIENCE).expect("the server says where it listens");
            if let Some((_, address)) = line.split_once("serves ") {
                break address.split_whitespace().next().unwrap().to_owned();
            }
        };
        Self { child, said, url }
    }

    /// What it has said so far, on standard error.
    pub fn said(&self) -> String {
        self.said.lock().clone()
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Somebody with this token.
    pub fn caller(&self, token: &str) -> Caller {
        Caller { url: self.url.clone(), token: Some(token.to_owned()) }
    }

    /// Somebody who shows nothing.
    pub fn nobody(&self) -> Caller {
        Caller { url: self.url.clone(), token: None }
    }

    /// Ends the process at once, as a crash does.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the process to end and waits for it; returns its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let id = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Caller {
    /// Somebody at any server, with a token or without one.
    pub fn at(url: &str, token: Option<&str>) -> Self {
        Self { url: url.to_owned(), token: token.map(str::to_owned) }
    }

    /// Sends a request; `body` is JSON.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let body = body.map(|body| ("application/json", body.to_string()));
        self.send_text(method, path, headers, body)
    }

    /// Sends a request; `body` is a media type and a text.
    pub fn send_text(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, String)>,
    ) -> Answer {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(PATIENCE)
                .build()
                .unwrap();
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let mut request = client.request(method, format!("{}{path}", self.url));
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some((media, body)) = body {
                request = request.header("content-type", media).body(body);
            }
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Answer { status, headers, text: response.text().await.unwrap() }
        })
    }

    /// Gets something.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], Some(body))
    }

    /// Asks for a run and returns its number.
    pub fn run(&self, body: &Value) -> i64 {
        let answer = self.post("/api/v1/runs", body);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["run"].as_i64().unwrap()
    }

    /// Waits until a run has one of these statuses, and returns it as the API shows it.
    pub fn wait(&self, run: i64, statuses: &[&str]) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let shown = self.get(&format!("/api/v1/runs/{run}")).json();
            if statuses.iter().any(|status| shown["status"] == *status) {
                return shown;
            }
            assert!(Instant::now() < end, "run {run} is still {}, not {statuses:?}", shown["status"]);
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}
