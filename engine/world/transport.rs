//! What a host's transport offers, whether it is SSH or this machine: run a command, tell faults apart.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which output stream bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Receives output as it arrives; awaiting it applies back-pressure to the remote side.
///
/// Calls come in order; a chunk is at most 64 KiB and may end in the middle of a line or a character.
pub trait Sink: Send {
    /// Takes one chunk.
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> impl Future<Output = Result<(), SinkClosed>> + Send;

    /// Is called about ten times a second while a command runs, also when it says nothing.
    fn pause(&mut self) -> impl Future<Output = Result<(), SinkClosed>> + Send {
        std::future::ready(Ok(()))
    }
}

/// Returns the clock by which a transport calls [`Sink::pause`].
pub(super) fn pauses() -> tokio::time::Interval {
    const EVERY: Duration = Duration::from_millis(100);
    let mut pauses = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    pauses.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pauses
}

/// The receiver of output is gone (the run log cannot be written): the command must be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the output can no longer be recorded")]
pub struct SinkClosed;

/// What to run: exact arguments, or a line for the remote shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Quoted exactly for a POSIX shell, one word an argument.
    Words(Vec<String>),
    /// Given to the login shell as it stands.
    Shell(String),
}

/// Who runs the command on the host, when not the user who logged in.
#[derive(Clone, PartialEq, Eq)]
pub struct Sudo {
    /// The user to become; `root` when `None`.
    pub user: Option<String>,
    /// Sent through standard input (`sudo -S`), never in the arguments. `None` demands `sudo -n` to work.
    pub password: Option<zeroize::Zeroizing<String>>,
}

/// One command for one host.
#[derive(Clone)]
pub struct Command {
    /// What to run.
    pub line: Line,
    /// Bytes for standard input; the stream is closed after them. Empty: closed at once.
    pub stdin: Arc<[u8]>,
    /// Environment, set on the command line of the remote shell (servers refuse `SetEnv`).
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: Option<String>,
    /// Another user to run as.
    pub sudo: Option<Sudo>,
    /// How long the command may take from the moment the channel is open.
    pub timeout: Option<Duration>,
    /// Leave the command running on the host and return when it has been started.
    pub detach: bool,
}

/// How a command that ran ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal's name without `SIG` (`KILL`), when one ended it.
    pub signal: Option<String>,
    /// Wall time on the channel, in milliseconds.
    pub ms: u64,
}

/// Why no exit code exists. Each variant is a different result for the operator.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// No route, no name, or no answer within the connect time-out.
    #[error("unreachable: {reason}")]
    Unreachable {
        /// What the network said.
        reason: String,
    },
    /// The port answered with a refusal.
    #[error("connection refused by {address}")]
    Refused {
        /// `host:port`.
        address: String,
    },
    /// The host key is unknown, changed or revoked.
    #[error("host key: {reason}")]
    HostKey {
        /// Which, with file and line of the entry and the fingerprint offered.
        reason: String,
    },
    /// No offered credential was accepted.
    #[error("authentication failed for `{user}`: {reason}")]
    Authentication {
        /// The login name.
        user: String,
        /// What was tried and what the server still accepts.
        reason: String,
    },
    /// The command, not the connection, took longer than allowed; its process group was ended.
    #[error("timed out after {seconds} s")]
    TimedOut {
        /// The limit, in seconds.
        seconds: u64,
    },
    /// The connection ended while the command ran: nobody knows how the command ended.
    #[error("connection lost: {reason}")]
    Lost {
        /// What was seen last.
        reason: String,
    },
    /// The run was cancelled; the remote process group was ended.
    #[error("cancelled")]
    Cancelled,
    /// The server speaks, but not what we need (no common algorithm, exec refused, garbage).
    #[error("protocol: {reason}")]
    Protocol {
        /// Which part failed.
        reason: String,
    },
    /// The output could not be recorded, so the command was stopped.
    #[error("output could not be recorded")]
    Unrecorded,
}

impl Fault {
    /// Whether the host was never reached, so that nothing can have happened on it.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Refused { .. }
                | Self::HostKey { .. }
                | Self::Authentication { .. }
        )
    }
}
