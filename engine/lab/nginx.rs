//! The web server of a host of the lab: it reads `nginx.conf`, tests it, and shows the certificates of its last reload.
//!
//! It runs on the host as `nginx`, a process like others; `nlrun lab-nginx` is its program.

mod config;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, setsid};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::config::Server;
use super::tls::{self, Face};
use crate::world::files;

/// What it reads unless it is told otherwise.
const CONFIG: &str = "/etc/nginx/nginx.conf";
/// Where its process id stands while it runs.
const PID: &str = "/run/nginx.pid";
/// Where it says what becomes of a reload.
const LOG: &str = "/var/log/nginx/error.log";
/// The word that makes it the server itself.
const SERVE: &str = "--serve";

/// Does what the words say and returns the exit code; it speaks to `out` as nginx does.
pub fn main(words: &[String], out: &mut impl std::io::Write) -> u8 {
    let mut config = CONFIG.to_owned();
    let (mut order, mut is_test) = (None, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-c" => config = words.next().cloned().unwrap_or_default(),
            "-s" => order = Some(words.next().cloned().unwrap_or_default()),
            "-t" | "-T" => is_test = true,
            "-q" => {}
            "-v" | "-V" => {
                let _ = writeln!(
                    out,
                    "nginx version: nginx/1.22.1 (of the lab of nlrun {})",
                    env!("CARGO_PKG_VERSION")
                );
                return 0;
            }
            SERVE => return serve(&config),
            other => {
                let _ = writeln!(out, "nginx: invalid option: \"{other}\"");
                return 1;
            }
        }
    }
    let read = config::read(Path::new(&config));
    if is_test {
        return match read {
            Ok(_) => {
                let _ = writeln!(out, "nginx: the configuration file {config} syntax is ok");
                let _ = writeln!(out, "nginx: configuration file {config} test is successful");
                0
            }
            Err(reason) => {
                let _ =
                    writeln!(out, "nginx: [emerg] {reason}\nnginx: configuration file {config} test failed");
                1
            }
        };
    }
    let done = read.and_then(|_| match order.as_deref() {
        None => start(&config),
        Some("reload") => send(Signal::HUP),
        Some("stop" | "quit") => send(Signal::TERM),
        Some(other) => Err(format!("invalid option: \"-s {other}\"")),
    });
    match done {
        Ok(()) => 0,
        Err(reason) => {
            let _ = writeln!(out, "nginx: [emerg] {reason}");
            1
        }
    }
}

/// Sends the running server a signal.
fn send(signal: Signal) -> Result<(), String> {
    let text = std::fs::read_to_string(PID)
        .map_err(|_| format!("open() \"{PID}\" failed (2: No such file or directory)"))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| format!("invalid PID number \"{}\" in \"{PID}\"", text.trim()))?;
    kill_process(pid, signal).map_err(|error| format!("kill({}, {signal:?}) failed ({error})", text.trim()))
}

/// Starts the server and waits until it listens.
#[expect(clippy::disallowed_methods, reason = "the server of a host of the lab is a process")]
fn start(config: &str) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["lab-nginx", "--", "-c", config, SERVE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    let said = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
    match (said, line.trim()) {
        (Some(Ok(_)), "ready") => Ok(()),
        (_, "") => Err("the server ended before it listened".to_owned()),
        (_, reason) => Err(reason.to_owned()),
    }
}

/// Is the server, until it is told to stop.
fn serve(config: &str) -> u8 {
    // The session of whoever started it ends before it does.
    let _ = setsid();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 1 };
    runtime.block_on(async {
        let mut doors = Doors::default();
        let begun = match config::read(Path::new(config)) {
            Ok(servers) => doors.open(servers).await,
            Err(reason) => Err(reason),
        };
        let signals = (signal(SignalKind::hangup()), signal(SignalKind::terminate()));
        let (begun, (Ok(mut hangup), Ok(mut terminate))) = (begun, signals) else { return 1 };
        let pid = format!("{}\n", std::process::id());
        let begun = begun.and_then(|()| files::replace(Path::new(PID), pid.as_bytes(), 0o644).map_err(|e| e.to_string()));
        let mut stdout = std::io::stdout();
        if let Err(reason) = begun {
            let _ = writeln!(stdout, "{reason}");
            return 1;
        }
        let _ = writeln!(stdout, "ready");
        let _ = stdout.flush();
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    let reloaded = match config::read(Path::new(config)) {
                        Ok(servers) => doors.open(servers).await,
                        Err(reason) => Err(reason),
                    };
                    log(&reloaded.err().map_or("[notice] reloaded".to_owned(), |reason| format!("[emerg] {reason}")));
                }
                _ = terminate.recv() => {
                    let _ = std::fs::remove_file(PID);
                    return 0;
                }
            }
        }
    })
}

fn log(line: &str) {
    let file = std::fs::OpenOptions::new().append(true).create(true).open(LOG);
    if let Ok(mut file) = file {
        let _ = writeln!(file, "{line}");
    }
}

/// The ports that are open.
#[derive(Default)]
struct Doors {
    open: BTreeMap<u16, (watch::Sender<Face>, JoinHandle<()>)>,
}

impl Doors {
    /// Opens the ports of these servers and closes all others; ports that stay open get the new face.
    async fn open(&mut self, servers: Vec<Server>) -> Result<(), String> {
        let mut new = Vec::new();
        for server in &servers {
            if !self.open.contains_key(&server.port) {
                let at = ("127.0.0.1", server.port);
                let listener = TcpListener::bind(at).await.map_err(|error| {
                    let code = error.raw_os_error().unwrap_or_default();
                    format!("bind() to 127.0.0.1:{} failed ({code}: {})", server.port, error.kind())
                })?;
                new.push((server.port, listener));
            }
        }
        self.open.retain(|port, (_, door)| {
            let stays = servers.iter().any(|server| server.port == *port);
            if !stays {
                door.abort();
            }
            stays
        });
        for server in servers {
            match new.iter().position(|(port, _)| *port == server.port) {
                Some(at) => {
                    let (port, listener) = new.swap_remove(at);
                    let (sender, face) = watch::channel(server.face);
                    self.open.insert(port, (sender, tokio::spawn(tls::serve(listener, face))));
                }
                None => {
                    if let Some((sender, _)) = self.open.get(&server.port) {
                        sender.send_replace(server.face);
                    }
                }
            }
        }
        Ok(())
    }
}
