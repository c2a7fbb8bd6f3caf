//! A real Prometheus on loopback, with a configuration of the test's own.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start servers and write their configuration")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::server::Caller;
use super::sshd::{answers, free_port};

/// A running Prometheus; it ends with this value.
pub struct Prometheus {
    child: Child,
    /// Somebody who asks it.
    pub caller: Caller,
    _folder: tempfile::TempDir,
}

/// Finds a program of the package: where `.ci/run` has unpacked it, or on the path; `None`, with a line on standard error, where it is not.
pub fn program(name: &str) -> Option<PathBuf> {
    let unpacked =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("target/prometheus/usr/bin/{name}"));
    let on_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    let found = unpacked.is_file().then_some(unpacked).or(on_path);
    if found.is_none() {
        eprintln!("skipped: {name} is not installed");
    }
    found
}

impl Prometheus {
    /// Starts one with this `prometheus.yml` and files beside it.
    pub fn start(configuration: &str, files: &[(&str, &str)]) -> Option<Self> {
        let program = program("prometheus")?;
        let folder = tempfile::Builder::new().prefix("nlrun-prometheus-").tempdir().unwrap();
        let at = folder.path();
        std::fs::write(at.join("prometheus.yml"), configuration).unwrap();
        for (name, text) in files {
            std::fs::write(at.join(name), text).unwrap();
        }
        let port = free_port();
        let mut child = Command::new(program)
            .arg(format!("--config.file={}", at.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(at)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let is_there = answers(&mut child, port);
        let caller = Caller::at(&format!("http://127.0.0.1:{port}"), None);
        let prometheus = Self { child, caller, _folder: folder };
        assert!(is_there, "Prometheus does not start");
        Some(prometheus)
    }

    /// The value of an expression now, by its series' labels; empty where there is none.
    pub fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let coded: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let answer = self.caller.get(&format!("/api/v1/query?query={coded}"));
        let Ok(answer) = serde_json::from_str::<Value>(&answer.text) else { return Vec::new() };
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |one: &Value| one["value"][1].as_str().unwrap().parse().unwrap();
        series.iter().map(|one| (one["metric"].clone(), value(one))).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
