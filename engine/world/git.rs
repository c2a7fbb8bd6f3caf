//! The Git checkout that a project may be: its commit, and whether the pinned scripts differ from it.

use std::path::Path;
use std::process::Stdio;

/// The state of a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The commit, in hex.
    pub commit: String,
    /// Whether one of the scripts is not as committed.
    pub dirty: bool,
}

/// Returns the state of the checkout around `root`; `None` when there is none or Git is not installed.
pub fn state<'a>(root: &Path, scripts: impl Iterator<Item = &'a str>) -> Option<State> {
    root.ancestors().find(|folder| folder.join(".git").exists())?;
    let commit = git(root, &["rev-parse", "--verify", "HEAD"])?;
    let mut arguments = vec!["status", "--porcelain", "--untracked-files=all", "--"];
    arguments.extend(scripts.filter(|path| !path.contains(':')));
    let status = git(root, &arguments)?;
    Some(State { commit: commit.trim().to_owned(), dirty: !status.is_empty() })
}

/// Asks Git without letting the repository run anything: no hooks, no external programs, no prompt.
#[expect(clippy::disallowed_methods, reason = "one of the true homes of processes")]
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.pager=cat"])
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns what `git --version` says; `None` when Git is not installed.
pub fn version() -> Option<String> {
    git(Path::new("."), &["--version"]).map(|text| text.trim().to_owned())
}
