//! A host of the lab: real processes of this machine in namespaces of their own, which see nothing of it but its programs.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::world::files;

/// Rights that no process of a host has: with them it could undo what keeps it in.
const DROPPED: &str = "-sys_admin,-sys_module,-sys_rawio,-sys_ptrace,-mknod,-sys_boot,-sys_time";
/// Where a host finds its programs: those of the lab come before this machine's.
const PATH: &str = "/opt/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a host may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is this machine's own on a host, by name.
const PROGRAMS: [(&str, &str); 3] = [
    ("systemctl", include_str!("host/systemctl")),
    ("nginx", include_str!("host/nginx")),
    ("sudo", include_str!("host/sudo")),
];

/// A running host; its processes end with it.
#[derive(Debug)]
pub struct Host {
    first: Child,
    pid: u32,
}

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The file system says no.
    #[error("cannot write `{path}`")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program of util-linux is missing.
    #[error("cannot start `unshare`, which is in the package util-linux")]
    Program(#[source] io::Error),
    /// The machine allows no namespaces, or the host's folder is damaged.
    #[error("this machine does not let it start: {0}")]
    Refused(String),
}

/// Writes the programs of the lab's hosts, which all of them see.
pub fn equip(parts: &Path) -> Result<(), HostError> {
    let bin = parts.join("bin");
    let fail = |path: &Path| {
        let path = path.to_owned();
        |source| HostError::Write { path, source }
    };
    std::fs::create_dir_all(&bin).map_err(fail(&bin))?;
    for (name, text) in PROGRAMS {
        let path = bin.join(name);
        files::replace(&path, text.as_bytes(), 0o755).map_err(fail(&path))?;
    }
    // A place for the engine itself, which is mounted here.
    let program = parts.join("nlrun");
    files::replace(&program, b"", 0o755).map_err(fail(&program))
}

/// Makes the disk of a host, unless it has one: what it holds from then on is the host's.
pub fn furnish(root: &Path, contents: &[(&str, String, u32)]) -> Result<(), HostError> {
    if root.exists() {
        return Ok(());
    }
    let new = root.with_extension("new");
    let fail = |path: &Path| {
        let path = path.to_owned();
        |source| HostError::Write { path, source }
    };
    if new.exists() {
        std::fs::remove_dir_all(&new).map_err(fail(&new))?;
    }
    for folder in [
        "etc",
        "root",
        "home",
        "opt",
        "srv",
        "proc",
        "dev",
        "run",
        "sys",
        "tmp",
        "var/log/nginx",
        "var/lib/lab",
    ] {
        let path = new.join(folder);
        std::fs::create_dir_all(&path).map_err(fail(&path))?;
    }
    let home = new.join("root");
    std::fs::set_permissions(&home, Permissions::from_mode(0o700)).map_err(fail(&home))?;
    for (name, text, mode) in contents {
        let path = new.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fail(folder))?;
        }
        files::replace(&path, text.as_bytes(), *mode).map_err(fail(&path))?;
    }
    std::fs::rename(&new, root).map_err(fail(root))
}

impl Host {
    /// Starts a host on its disk.
    #[expect(clippy::disallowed_methods, reason = "a host of the lab is made of processes")]
    pub async fn start(name: &str, root: &Path, parts: &Path, program: &Path) -> Result<Self, HostError> {
        let words: [&OsStr; 7] = [
            "-c".as_ref(),
            include_str!("host/machine.sh").as_ref(),
            "machine.sh".as_ref(),
            root.as_ref(),
            name.as_ref(),
            parts.as_ref(),
            program.as_ref(),
        ];
        let mut first = Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--uts",
                "--ipc",
                "--",
                "sh",
            ])
            .args(words)
            .env_clear()
            .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("DROPPED", DROPPED)])
            // A Ctrl-C at the terminal is for the lab to hear.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(HostError::Program)?;
        let pid = first.id().expect("it has not been waited for");
        let mut lines = BufReader::new(first.stdout.take().expect("it is piped")).lines();
        let mut errors = first.stderr.take().expect("it is piped");
        match timeout(PATIENCE, lines.next_line()).await {
            Ok(Ok(Some(line))) if line == "ready" => Ok(Self { first, pid }),
            Ok(_) => {
                let mut text = String::new();
                let _ = timeout(PATIENCE, errors.read_to_string(&mut text)).await;
                let text: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                Err(HostError::Refused(text.join("; ")))
            }
            Err(_) => Err(HostError::Refused(format!("it is not ready after {} s", PATIENCE.as_secs()))),
        }
    }

    /// Prepares a login shell of the host that runs this line, as `sshd` does.
    #[expect(clippy::disallowed_methods, reason = "a host of the lab is made of processes")]
    pub fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        for space in ["user", "mnt", "uts", "ipc"] {
            let option = if space == "mnt" { "mount" } else { space };
            command.arg(format!("--{option}=/proc/{}/ns/{space}", self.pid));
        }
        // The shell that we started waits outside for the first process inside.
        command.arg(format!("--pid=/proc/{}/ns/pid_for_children", self.pid));
        command
            .args(["--preserve-credentials", "--", "setpriv"])
            .arg(format!("--bounding-set={DROPPED}"))
            .args(["--inh-caps=-all", "setsid", "sh", "-c", "cd && exec sh -c \"$1\"", "sh", line])
            .env_clear()
            .envs([
                ("PATH", PATH),
                ("HOME", "/root"),
                ("USER", "root"),
                ("LOGNAME", "root"),
                ("SHELL", "/bin/sh"),
            ])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Ends all that runs on the host.
    pub async fn end(mut self) {
        drop(self.first.stdin.take());
        if timeout(Duration::from_secs(5), self.first.wait()).await.is_err() {
            let _ = self.first.kill().await;
        }
    }
}
