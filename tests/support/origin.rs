//! A bare repository, as a server of repositories has it, and somebody who pushes to it.
#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and each uses a part of it")]
#![expect(clippy::disallowed_methods, reason = "tests start Git and write files")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A bare repository with a clone beside it; gone when dropped.
pub struct Origin {
    folder: tempfile::TempDir,
}

impl Origin {
    /// Makes a repository whose branch `main` has one commit: a project with this runbook.
    pub fn new(runbook: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("nlrun-origin-").tempdir().unwrap();
        let origin = Self { folder };
        git(origin.folder.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "origin.git"]);
        git(origin.folder.path(), &["clone", "--quiet", "origin.git", "work"]);
        for (key, value) in [
            ("user.name", "Ada"),
            ("user.email", "ada@example.net"),
            ("commit.gpgsign", "false"),
            ("core.autocrlf", "false"),
            ("protocol.file.allow", "always"),
        ] {
            git(&origin.work(), &["config", key, value]);
        }
        git(&origin.work(), &["checkout", "--quiet", "-B", "main"]);
        origin.write("nlrun.yaml", "");
        origin.write("runbooks/hello.rhai", runbook);
        origin.commit("Begin");
        origin.push("main");
        origin
    }

    /// The bare repository.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("origin.git")
    }

    /// The clone.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Something in the clone.
    pub fn file(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// Writes a file of the clone.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Calls Git in the clone.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.work(), arguments)
    }

    /// Commits everything in the clone; returns the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.head()
    }

    /// The commit of the clone.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes the clone's commit as a branch, with force.
    pub fn push(&self, branch: &str) {
        self.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:refs/heads/{branch}")]);
    }

    /// Pushes the clone's commit as the head of a merge request, as GitLab shows it.
    pub fn push_merge_request(&self, number: u64) {
        self.git(&[
            "push",
            "--quiet",
            "--force",
            "origin",
            &format!("HEAD:refs/merge-requests/{number}/head"),
        ]);
    }

    /// Calls Git in the bare repository.
    pub fn at(&self, arguments: &[&str]) -> String {
        git(&self.path(), arguments)
    }
}

/// Calls Git with nothing of the caller's configuration.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", "2027-01-01T00:00:00Z")
        .env("GIT_COMMITTER_DATE", "2027-01-01T00:00:00Z")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
