//! Real Debian hosts on this machine, which `tests/hosts/hosts.sh` makes; see the README beside it.
#![expect(clippy::disallowed_methods, reason = "tests start programs")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::project::Project;

/// Hosts that are up; they end with this value.
pub struct Hosts {
    folder: tempfile::TempDir,
}

/// The repository's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `hosts.sh`.
pub fn script(arguments: &[&str]) -> Output {
    Command::new(repository().join("tests/hosts/hosts.sh"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

impl Hosts {
    /// Starts `N` Debian hosts, or `N+M` with M that have dnf.
    ///
    /// Nothing, with the reason on standard error, where this machine cannot, and with `NLRUN_TEST_HOSTS=0`.
    pub fn start(count: &str) -> Option<Self> {
        // Past the capture of the test's output: a test that is skipped looks like one that passed.
        let skipped = |reason: &str| {
            let line = format!("skipped: {reason}\n");
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
        };
        if std::env::var("NLRUN_TEST_HOSTS").is_ok_and(|value| value == "0") {
            skipped("NLRUN_TEST_HOSTS=0");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("nlrun-hosts-").tempdir().unwrap();
        let hosts = Self { folder };
        let up = script(&["up", count, &hosts.place("")]);
        if up.status.code() == Some(77) {
            let said = String::from_utf8_lossy(&up.stderr).trim().to_owned();
            skipped(said.lines().last().unwrap_or_default());
            return None;
        }
        assert!(up.status.success(), "{up:?}");
        Some(hosts)
    }

    /// Lets a project's user log in, by the configuration of SSH.
    pub fn admit(&self, project: &Project) {
        let folder: PathBuf = project.home().join(".ssh");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(self.place("ssh_config"), folder.join("config")).unwrap();
    }

    /// Returns the path of something in the folder of the hosts: `inventory.yaml`, `password`; all of it for no name.
    pub fn place(&self, name: &str) -> String {
        self.folder.path().join("lab").join(name).display().to_string()
    }

    /// Runs a line on a host beside nlrun, and returns what it printed.
    pub fn on(&self, host: &str, line: &str) -> String {
        let output = self.ssh(&[host, line]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Calls `ssh`.
    pub fn ssh(&self, arguments: &[&str]) -> Output {
        let config = self.place("ssh_config");
        Command::new("ssh").args(["-F", &config]).args(arguments).stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = script(&["down", &self.place("")]);
    }
}
