//! The SSH side of the world against a real sshd, and against a faulty server where a fault must be provoked.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod clerk;
mod config;
mod dropbear;
mod exec;
mod faults;
mod login;
mod old;
mod pool;
mod request;
mod routes;
mod security_key;
mod stop;
mod sudo;
mod trust;

use std::sync::Arc;

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::{Command, Exit, Fault, Line, Sink, SinkClosed, Stream};
use tokio_util::sync::CancellationToken;

/// Keeps all output.
#[derive(Default)]
pub struct Kept {
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: Vec<u8>,
}

impl Kept {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }
}

impl Sink for Kept {
    async fn take(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SinkClosed> {
        assert!(bytes.len() <= 65536);
        match stream {
            Stream::Out => self.out.extend_from_slice(bytes),
            Stream::Err => self.err.extend_from_slice(bytes),
        }
        Ok(())
    }
}

/// A line for the remote shell.
pub fn shell(line: &str) -> Command {
    command(Line::Shell(line.to_owned()))
}

/// Exact words.
pub fn words(words: &[&str]) -> Command {
    command(Line::Words(words.iter().map(|word| (*word).to_owned()).collect()))
}

fn command(line: Line) -> Command {
    Command {
        line,
        stdin: Arc::from([]),
        env: Vec::new(),
        cwd: None,
        sudo: None,
        timeout: None,
        detach: false,
    }
}

/// Runs a command to its end and keeps its output.
pub async fn run(hosts: &Hosts, endpoint: &Arc<Endpoint>, command: &Command) -> (Result<Exit, Fault>, Kept) {
    let mut kept = Kept::default();
    let result = hosts.run(endpoint, command, &mut kept, &CancellationToken::new()).await;
    (result, kept)
}

/// Logs in, and says why that was refused.
pub async fn enters(endpoint: Endpoint) -> Result<(), Fault> {
    let hosts = Hosts::new(Limits::default());
    let (result, kept) = run(&hosts, &Arc::new(endpoint), &shell("echo in")).await;
    hosts.close().await;
    result.map(|_| assert_eq!(kept.out(), "in\n"))
}
