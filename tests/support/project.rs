//! A project in a temporary folder and the real binary in it, with nothing of the caller's environment.
#![expect(clippy::disallowed_methods, reason = "tests write the project's files and start the binary")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test module uses a part of the builder")]

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The binary under test.
pub const NLRUN: &str = env!("CARGO_BIN_EXE_nlrun");

/// A project, with a home folder of its own beside it.
pub struct Project {
    folder: tempfile::TempDir,
    variables: Vec<(OsString, OsString)>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
}

impl Project {
    /// Makes an empty project: `nlrun.yaml` and nothing else.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("nlrun-project-").tempdir().unwrap();
        for name in ["project", "home"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let project = Self { folder, variables: Vec::new() };
        project.write("nlrun.yaml", "");
        project
    }

    /// The project's folder.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    /// The home folder of the person who calls.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The path of something in the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes a file of the project; folders above it are made.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Reads a file of the project.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    /// Adds a runbook, by its name below `runbooks/` without the ending.
    #[must_use]
    pub fn runbook(self, name: &str, text: &str) -> Self {
        self.file(&format!("runbooks/{name}.rhai"), text)
    }

    /// Adds an inventory in YAML.
    #[must_use]
    pub fn inventory(self, text: &str) -> Self {
        self.file("inventory/hosts.yaml", text)
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Puts a script for `sh` before this machine's program of that name, for `nlrun` and what it runs here.
    #[must_use]
    pub fn program(self, name: &str, script: &str) -> Self {
        let path = format!("bin/{name}");
        self.write(&path, &format!("#!/bin/sh\n{script}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(self.path(&path), mode).unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display());
        self.variable("PATH", &path)
    }

    /// Prepares a call; streams are the caller's to set.
    pub fn command<I: AsRef<str>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(NLRUN);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("USER", "tester")
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.root());
        for argument in arguments {
            command.arg(argument.as_ref());
        }
        command
    }

    /// Calls `nlrun` with nothing on standard input, and waits.
    pub fn args<I: AsRef<str>>(&self, arguments: impl IntoIterator<Item = I>) -> Output {
        self.args_with_input(arguments, b"")
    }

    /// Calls `nlrun` with these bytes on standard input, and waits.
    pub fn args_with_input<I: AsRef<str>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
        input: &[u8],
    ) -> Output {
        let mut child = self.spawn(arguments);
        // A program that does not read its input may end before it is written.
        let _ = child.stdin.take().unwrap().write_all(input);
        Output::of(child)
    }

    /// Starts `nlrun` with all three streams piped.
    pub fn spawn<I: AsRef<str>>(&self, arguments: impl IntoIterator<Item = I>) -> Child {
        self.command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The database of the project's run log.
    pub fn database(&self) -> PathBuf {
        self.path(".nlrun/nlrun.db")
    }
}

impl Output {
    /// Waits for a started command.
    pub fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// Demands this exit code; a failure shows both streams.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Demands success.
    #[track_caller]
    pub fn success(self) -> Self {
        self.ends(0)
    }

    /// Standard output as JSON, one value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in `{line}`"));
        self.stdout.lines().map(parse).collect()
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in `{}`", self.stdout))
    }
}

/// Waits until a condition holds, at most half a minute.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < end, "waited in vain until {what}");
        std::thread::yield_now();
    }
}
