//! A file system in memory that is really full when a test wants it to be.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    dead_code,
    reason = "a test fails by panicking, and says what it skips"
)]

/// A file system in memory with a size of its own, gone when dropped.
pub struct Small(std::path::PathBuf);

impl Small {
    /// Mounts one of 20 MiB; `None`, with a line on standard error, where that is not allowed.
    pub fn mount(path: &std::path::Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        if !rustix::process::getuid().is_root() {
            eprintln!("skipped: only root can mount a small file system");
            return None;
        }
        let mounted = Self::run("mount", &["-t", "tmpfs", "-o", "size=20m", "tmpfs"], path);
        if !mounted {
            eprintln!("skipped: this machine does not let us mount a small file system");
        }
        mounted.then(|| Self(path.to_owned()))
    }

    /// Leaves room for so many bytes.
    pub fn leave(&self, bytes: u64) {
        let about = rustix::fs::statvfs(&self.0).unwrap();
        let size = (about.f_blocks - about.f_bfree) * about.f_frsize + bytes;
        assert!(Self::run("mount", &["-o", &format!("remount,size={size}")], &self.0));
    }

    /// Makes it as large as it was.
    pub fn grow(&self) {
        assert!(Self::run("mount", &["-o", "remount,size=20m"], &self.0));
    }

    #[expect(clippy::disallowed_methods, reason = "the test makes a disk that is really full")]
    fn run(program: &str, arguments: &[&str], path: &std::path::Path) -> bool {
        let mut command = std::process::Command::new(program);
        command.args(arguments).arg(path).stderr(std::process::Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Self::run("umount", &[], &self.0);
    }
}
