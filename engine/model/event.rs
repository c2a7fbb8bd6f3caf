//! An event is an immutable fact of a run. The stream of a run's events is the only truth about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::address::{Address, Branch};
use crate::model::effect::{Kind, Target};
use crate::model::order::Order;
use crate::model::run::{Mode, Status, Trigger};

/// A place in a runbook.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Site {
    /// The file, relative to the project.
    pub file: Arc<str>,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub column: u32,
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a run was started with: everything that decides what it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The runbook's path, relative to the project.
    pub runbook: String,
    /// SHA-256 (hex) of every script, by path; the texts are in the store.
    pub sources: BTreeMap<String, String>,
    /// Git commit of the project, when it is a checkout.
    pub commit: Option<String>,
    /// Whether the checkout had uncommitted changes.
    pub dirty: bool,
    /// The parameters as bound; secrets by name.
    pub params: Value,
    /// SHA-256 (hex) of the inventory snapshot; the snapshot is in the store.
    pub inventory: String,
    /// What the trigger was allowed.
    pub grants: Vec<String>,
    /// Capabilities that were granted ahead or by answers, for a runbook without `NEEDS`.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Who or what queued the run.
    pub trigger: Trigger,
    /// Plan or apply.
    pub mode: Mode,
    /// SHA-256 (hex) of the plan that is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Whether the run may go on past the end of an incomplete plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beyond: bool,
    /// Version of nlrun.
    pub version: String,
}

/// Severity of a message from the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `print`.
    Info,
    /// `warn`.
    Warn,
    /// A failed `check`.
    Fail,
}

/// How an effect, a host of a fan-out or a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Ran, and nothing was changed.
    Ok,
    /// Ran, and something was changed.
    Changed,
    /// Ran and failed.
    Failed,
    /// The script chose to leave it out.
    Skipped,
    /// Was never reached; nothing is known about it.
    Unreachable,
}

impl Verdict {
    /// Returns the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Unreachable => "unreachable",
        }
    }
}

/// An ordinary failure: a script can catch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A word to branch on: `unreachable refused host_key authentication timed_out lost cancelled failed invalid …`.
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// The host, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where the runbook asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Site>,
    /// Details for scripts, such as the code and the output of a command.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// What an effect asked for, as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The effect's name (`ssh.exec`).
    pub effect: String,
    /// Read, ensure or act.
    pub kind: Kind,
    /// What it touches.
    pub target: Target,
    /// The request, secrets replaced by names.
    pub request: Value,
    /// Where the runbook asks for it.
    pub site: Option<Site>,
}

impl Request {
    /// Returns what tells it from others of its effect, for a line that people read: the beginning of a command.
    pub fn about(&self) -> Option<String> {
        let text = match self.request.get("command")? {
            Value::String(line) => line.clone(),
            Value::Array(words) => {
                let words = words.iter().map(|word| word.as_str().unwrap_or_default());
                words.map(quoted).collect::<Vec<_>>().join(" ")
            }
            _ => return None,
        };
        let line = text.lines().next().unwrap_or_default();
        let short: String = line.chars().take(80).collect();
        Some(if short.len() < text.len() { format!("{short}…") } else { short })
    }
}

fn quoted(word: &str) -> String {
    let plain =
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// An act that was begun before a crash, and of which nobody knows whether it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InDoubt {
    /// Its place.
    pub address: Address,
    /// The effect's name.
    pub effect: String,
    /// Its target in words.
    pub target: String,
    /// The beginning of its command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Where the runbook asks for it.
    pub site: Option<Site>,
}

impl InDoubt {
    /// Takes from a request what a person must know to decide.
    pub fn new(address: &Address, request: &Request) -> Self {
        Self {
            address: address.clone(),
            effect: request.effect.clone(),
            target: request.target.to_string(),
            about: request.about(),
            site: request.site.clone(),
        }
    }
}

/// Bytes kept outside the event row: the store has them under the same run and number as the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// Length in bytes before compression.
    pub bytes: u64,
    /// SHA-256 (hex) of the bytes.
    pub sha256: String,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run was asked for, and waits for its turn.
    Queued(Box<Order>),
    /// The run began.
    Started(Box<Start>),
    /// The run goes on in another process.
    Resumed {
        /// The process that continues it.
        pid: u32,
        /// Who asked.
        by: String,
        /// What a person decided about acts in doubt: address to `done` or `again`.
        decisions: BTreeMap<Address, String>,
    },
    /// The process that ran it is gone; it can be resumed.
    Interrupted {
        /// How that was seen.
        reason: String,
    },
    /// A step began.
    StepBegan {
        /// The thread of script.
        branch: Branch,
        /// The step's name.
        name: String,
        /// Where it stands.
        site: Option<Site>,
    },
    /// A step ended.
    StepEnded {
        /// The thread of script.
        branch: Branch,
        /// The step's name.
        name: String,
        /// How.
        verdict: Verdict,
        /// Wall time in milliseconds.
        ms: u64,
    },
    /// An effect is about to be performed. On disk before an ensure or act touches the world.
    Intent {
        /// Its place.
        address: Address,
        /// What it asks.
        #[serde(flatten)]
        request: Box<Request>,
        /// The state seen before, for an ensure; also what an act noted for its probe.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        pre: Value,
    },
    /// An effect was performed.
    Outcome {
        /// Its place.
        address: Address,
        /// How.
        verdict: Verdict,
        /// What it gave.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        value: Value,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Box<Failure>>,
        /// Wall time in milliseconds.
        ms: u64,
        /// A unified diff of what changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
        /// Whether a secret was replaced in what is recorded, so that it cannot answer a resumed run.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        redacted: bool,
    },
    /// What plan mode promises of an ensure, or lists of an act.
    Forecast {
        /// Its place.
        address: Address,
        /// What it asks.
        #[serde(flatten)]
        request: Box<Request>,
        /// The state seen now.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        pre: Value,
        /// Whether it would change something; always true for an act.
        changes: bool,
        /// A unified diff of what would change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diff: Option<String>,
    },
    /// Output of a command arrived.
    Output {
        /// The effect it belongs to.
        address: Address,
        /// `out` or `err`.
        stream: String,
        /// Where the bytes are.
        #[serde(flatten)]
        chunk: ChunkRef,
    },
    /// One arm of a fan-out began.
    BranchBegan {
        /// Its place.
        branch: Branch,
        /// The host's name, or that of the item that the arm is for.
        host: String,
    },
    /// One arm of a fan-out ended.
    BranchEnded {
        /// Its place.
        branch: Branch,
        /// The host's name, or that of the item.
        host: String,
        /// How.
        verdict: Verdict,
        /// Why, when failed, skipped or unreachable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The script says something.
    Message {
        /// How loud.
        level: Level,
        /// The text.
        text: String,
        /// Where.
        site: Option<Site>,
        /// The thread of script.
        branch: Branch,
    },
    /// A clean-up was registered.
    Deferred {
        /// Where its effects will stand.
        branch: Branch,
        /// Where it stands in the runbook.
        site: Option<Site>,
    },
    /// A clean-up ran.
    CleanedUp {
        /// Which.
        branch: Branch,
        /// Why it failed, if it did: something is left behind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
        /// Where it stands in the runbook.
        site: Option<Site>,
    },
    /// A lock was taken or given back.
    Lock {
        /// Its name.
        name: String,
        /// True when taken.
        held: bool,
        /// How long the run waited for it, in milliseconds.
        waited_ms: u64,
    },
    /// A file that the run keeps.
    Artifact {
        /// Its name.
        name: String,
        /// Media type.
        media: String,
        /// Where the bytes are.
        #[serde(flatten)]
        chunk: ChunkRef,
    },
    /// Somebody asked the run to end.
    CancelAsked {
        /// Who, or which limit.
        by: String,
        /// True for the second request: no clean-up.
        now: bool,
    },
    /// The run ended, or waits for a person.
    Ended {
        /// How.
        status: Status,
        /// What went wrong, as shown to people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Value>,
        /// What could not be undone.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_behind: Vec<String>,
        /// Every act that a person has to decide about before the run can go on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        in_doubt: Vec<InDoubt>,
        /// The line from which a plan could not go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incomplete: Option<String>,
        /// What the script returned.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        result: Value,
    },
}

impl Event {
    /// Returns the address of the effect it is about.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Intent { address, .. }
            | Self::Outcome { address, .. }
            | Self::Forecast { address, .. }
            | Self::Output { address, .. } => Some(address),
            Self::Queued(_)
            | Self::Started(_)
            | Self::Resumed { .. }
            | Self::Interrupted { .. }
            | Self::StepBegan { .. }
            | Self::StepEnded { .. }
            | Self::BranchBegan { .. }
            | Self::BranchEnded { .. }
            | Self::Message { .. }
            | Self::Deferred { .. }
            | Self::CleanedUp { .. }
            | Self::Lock { .. }
            | Self::Artifact { .. }
            | Self::CancelAsked { .. }
            | Self::Ended { .. } => None,
        }
    }
}
