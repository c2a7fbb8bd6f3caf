//! A real Chromium, driven by the tests of `tests/browser/`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "the test drives a browser by a program of its own")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::Server;

/// The password of the users that the browser signs in.
pub const PASSWORD: &str = "seven lamps over a quiet harbour";

/// Runs the tests of a file in `tests/browser/` against a server, and demands that at least `least` of them are there and go well.
///
/// Without a browser it says that it is skipped.
pub fn tests_of(file: &str, server: &Server, token: &str, more: &[(&str, &OsStr)], least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    let Some(chromium) =
        chromium().filter(|_| has_node && folder.join("node_modules/playwright-core").is_dir())
    else {
        eprintln!(
            "skipped: node, chromium or tests/browser/node_modules is not here; `.ci/run` installs them"
        );
        return;
    };
    let output = Command::new("timeout")
        .args(["400", "node", file])
        .current_dir(&folder)
        .env("NLRUN_URL", &server.url)
        .env("NLRUN_TOKEN", token)
        .env("NLRUN_PASSWORD", PASSWORD)
        .env("NLRUN_CHROMIUM", chromium)
        .envs(more.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() >= least, "{said}");
}

fn chromium() -> Option<PathBuf> {
    let wanted = std::env::var_os("NLRUN_CHROMIUM").map(PathBuf::from);
    let usual =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    wanted.into_iter().chain(usual).find(|path| path.is_file())
}
