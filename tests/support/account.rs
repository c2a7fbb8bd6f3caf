//! A user of this machine with a rule for sudo, gone when dropped; only root can make one.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start processes and write files")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The account database has one lock, and `useradd` does not wait for it.
static DATABASE: Mutex<()> = Mutex::new(());

/// A user, who can log in and whose password is known.
pub struct Account {
    /// The login name.
    pub name: String,
    /// The password.
    pub password: String,
    rule: PathBuf,
}

impl Account {
    /// Makes a user whom sudoers allows `rule` (`ALL=(ALL) NOPASSWD: ALL`); `None`, with a line, where that cannot be.
    pub fn create(rule: &str) -> Option<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        if !rustix::process::getuid().is_root() {
            eprintln!("skipped: only root can make users");
            return None;
        }
        if Command::new("sudo").arg("-V").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: sudo is not installed");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nlrun-t{}-{number}", std::process::id());
        let account = Self {
            rule: PathBuf::from(format!("/etc/sudoers.d/{name}")),
            password: format!("Pa'ss \"{number}\" $wörd"),
            name,
        };
        let lock = DATABASE.lock().unwrap();
        let made =
            Command::new("useradd").args(["-M", "-d", "/tmp", "-s", "/bin/sh", &account.name]).status();
        assert!(made.unwrap().success());
        let mut chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn().unwrap();
        let line = format!("{}:{}\n", account.name, account.password);
        chpasswd.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        assert!(chpasswd.wait().unwrap().success());
        drop(lock);
        std::fs::write(&account.rule, format!("{} {rule}\n", account.name)).unwrap();
        Some(account)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.rule);
        let _lock = DATABASE.lock();
        let _ = Command::new("userdel").arg(&self.name).stderr(Stdio::null()).status();
    }
}
