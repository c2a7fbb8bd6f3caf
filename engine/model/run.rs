//! A run and its summary: a pure fold over its events.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::effect::Kind;
use crate::model::event::{Event, InDoubt, Level, Verdict};

/// A run's number in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An event's number in its run, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub i64);

/// Whether a run may change the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Reads, forecasts ensures, lists acts.
    Plan,
    /// Performs.
    Apply,
}

impl Mode {
    /// Returns the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
        }
    }
}

/// Who or what queued a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Trigger {
    /// A person at a terminal.
    Person {
        /// The login name.
        user: String,
    },
    /// A pipeline: standard input was no terminal and `CI` was set.
    Pipeline {
        /// The login name.
        user: String,
        /// The pipeline's own id, where known.
        job: Option<String>,
    },
    /// A schedule of the server.
    Schedule {
        /// The schedule's name.
        schedule: String,
        /// The instant that it was due, without jitter: microseconds since 1970, UTC.
        scheduled_at: i64,
        /// How many instants before this one became no run.
        #[serde(default)]
        missed: u64,
        /// The version of the tables of time zones that the instant was found by; empty in runs that are older than this.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        tzdata: String,
    },
    /// A person who is signed in at the server.
    User {
        /// The user's name there.
        user: String,
    },
    /// A token of the server's API.
    Token {
        /// The token's name.
        token: String,
    },
    /// A pipeline of GitLab that has shown its ID token.
    Job {
        /// The project's path.
        project: String,
        /// The job's number.
        job: String,
        /// Who started it.
        user: String,
    },
    /// An event that GitLab has reported.
    Webhook {
        /// The project's path.
        project: String,
        /// `push`, `merge_request`, `pipeline` or `note`.
        event: String,
        /// Who caused it.
        user: String,
        /// The number of its merge request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        merge_request: Option<i64>,
    },
}

impl Trigger {
    /// Returns the person, the schedule or the token behind it.
    pub fn who(&self) -> &str {
        match self {
            Self::Person { user }
            | Self::Pipeline { user, .. }
            | Self::User { user }
            | Self::Job { user, .. }
            | Self::Webhook { user, .. } => user,
            Self::Schedule { schedule, .. } => schedule,
            Self::Token { token } => token,
        }
    }
}

/// Says it in a few words, as lists of runs do.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person { user } if user.is_empty() => f.write_str("somebody"),
            Self::Person { user } | Self::User { user } => f.write_str(user),
            Self::Pipeline { job: Some(job), .. } => write!(f, "pipeline {job}"),
            Self::Pipeline { job: None, .. } => f.write_str("pipeline"),
            Self::Schedule { schedule, .. } => write!(f, "schedule {schedule}"),
            Self::Token { token } => write!(f, "token {token}"),
            Self::Job { project, job, .. } => write!(f, "job {job} of {project}"),
            Self::Webhook { project, merge_request: Some(number), .. } => write!(f, "{project}!{number}"),
            Self::Webhook { project, event, .. } => write!(f, "{event} to {project}"),
        }
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for its turn.
    Queued,
    /// A process runs it.
    Running,
    /// Its process is gone; `resume` goes on.
    Interrupted,
    /// An act may or may not have happened; a person decides, then `resume` goes on.
    InDoubt,
    /// Everything was done.
    Done,
    /// Some hosts failed or were unreachable.
    Partial,
    /// It failed.
    Failed,
    /// The gate refused: denied, diverged, or not approved.
    Stopped,
    /// Somebody cancelled it.
    Cancelled,
    /// It took longer than its limit.
    TimedOut,
}

impl Status {
    /// Every status, in the order people meet them.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Running,
        Self::Interrupted,
        Self::InDoubt,
        Self::Done,
        Self::Partial,
        Self::Failed,
        Self::Stopped,
        Self::Cancelled,
        Self::TimedOut,
    ];

    /// Returns the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::InDoubt => "in_doubt",
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether nothing more happens to the run unless somebody asks.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether `resume` can go on from here.
    pub fn is_resumable(self) -> bool {
        matches!(self, Self::Running | Self::Interrupted | Self::InDoubt)
    }

    /// Returns the process exit code (design, section 5).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed | Self::Queued | Self::Running | Self::Interrupted => 1,
            Self::Stopped | Self::InDoubt => 3,
            Self::Partial => 4,
            Self::Cancelled | Self::TimedOut => 5,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_str().replace('_', " "))
    }
}

/// How many effects of each sort a run has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Reads.
    pub reads: u64,
    /// Ensures.
    pub ensures: u64,
    /// Acts.
    pub acts: u64,
    /// Effects that changed something; in plan mode, that would.
    pub changed: u64,
    /// Effects that failed.
    pub failed: u64,
    /// Bytes of output.
    pub output: u64,
    /// Failed checks.
    pub checks: u64,
    /// Warnings.
    pub warnings: u64,
}

/// A problem that `show` names without reading the events again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The event's number.
    pub seq: Seq,
    /// What happened.
    pub text: String,
    /// Where in the runbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

/// How many problems, steps and artifacts a summary keeps; the events hold all of them.
pub const SUMMARY_LIMIT: usize = 200;

/// The state of a run, folded from its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How far it has come.
    pub status: Status,
    /// Plan or apply.
    pub mode: Mode,
    /// The runbook.
    pub runbook: String,
    /// Effects and events so far.
    pub counts: Counts,
    /// The last verdict of each host of a fan-out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, Verdict>,
    /// Steps of the script's own thread, with verdict and milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<(String, Option<Verdict>, u64)>,
    /// The first problems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Names of kept files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// What could not be undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<String>,
    /// Every act that a person has to decide about before the run can go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_doubt: Vec<InDoubt>,
    /// The line from which a plan could not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
    /// What went wrong at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// What the script returned.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            status: Status::Running,
            mode: Mode::Apply,
            runbook: String::new(),
            counts: Counts::default(),
            hosts: BTreeMap::new(),
            steps: Vec::new(),
            problems: Vec::new(),
            artifacts: Vec::new(),
            left_behind: Vec::new(),
            in_doubt: Vec::new(),
            incomplete: None,
            error: None,
            result: Value::Null,
        }
    }
}

impl Summary {
    /// Folds one event in.
    pub fn apply(&mut self, seq: Seq, event: &Event) {
        self.counts.events += 1;
        match event {
            Event::Queued(order) => {
                self.status = Status::Queued;
                self.mode = order.mode;
                self.runbook.clone_from(&order.runbook);
            }
            Event::Started(start) => {
                self.status = Status::Running;
                self.mode = start.mode;
                self.runbook.clone_from(&start.runbook);
            }
            Event::Resumed { .. } => {
                self.status = Status::Running;
                self.in_doubt.clear();
            }
            Event::Interrupted { .. } => self.status = Status::Interrupted,
            Event::StepBegan { branch, name, .. } => {
                if branch.is_root() && self.steps.len() < SUMMARY_LIMIT {
                    self.steps.push((name.clone(), None, 0));
                }
            }
            Event::StepEnded { branch, name, verdict, ms } => {
                if branch.is_root()
                    && let Some(step) = self.steps.iter_mut().rev().find(|s| s.0 == *name && s.1.is_none())
                {
                    step.1 = Some(*verdict);
                    step.2 = *ms;
                }
            }
            Event::Intent { request, .. } => self.count(request.kind),
            Event::Outcome { verdict, failure, .. } => match verdict {
                Verdict::Changed => self.counts.changed += 1,
                Verdict::Failed | Verdict::Unreachable => {
                    self.counts.failed += 1;
                    if let Some(failure) = failure {
                        let text = match &failure.host {
                            Some(host) => format!("{host}: {}", failure.message),
                            None => failure.message.clone(),
                        };
                        self.problem(seq, text, failure.site.as_ref().map(ToString::to_string));
                    }
                }
                Verdict::Ok | Verdict::Skipped => {}
            },
            Event::Forecast { request, changes, .. } => {
                self.count(request.kind);
                self.counts.changed += u64::from(*changes);
            }
            Event::Output { chunk, .. } => self.counts.output += chunk.bytes,
            Event::BranchEnded { host, verdict, reason, .. } => {
                // What failed in the script and not in an effect is told here only.
                if matches!(verdict, Verdict::Failed | Verdict::Unreachable)
                    && let Some(reason) = reason
                    && !self.problems.iter().rev().any(|problem| problem.text.ends_with(reason))
                {
                    self.problem(seq, format!("{host}: {reason}"), None);
                }
                let worst = self.hosts.entry(host.clone()).or_insert(*verdict);
                if rank(*verdict) > rank(*worst) {
                    *worst = *verdict;
                }
            }
            Event::Message { level, text, site, .. } => match level {
                Level::Info => {}
                Level::Warn => self.counts.warnings += 1,
                Level::Fail => {
                    self.counts.checks += 1;
                    self.problem(seq, text.clone(), site.as_ref().map(ToString::to_string));
                }
            },
            Event::CleanedUp { failure, site, .. } => {
                if let Some(failure) = failure {
                    let text = format!("clean-up failed: {failure}");
                    self.problem(seq, text, site.as_ref().map(ToString::to_string));
                }
            }
            Event::Artifact { name, .. } => {
                if self.artifacts.len() < SUMMARY_LIMIT && !self.artifacts.contains(name) {
                    self.artifacts.push(name.clone());
                }
            }
            Event::Ended { status, error, left_behind, in_doubt, incomplete, result } => {
                self.status = *status;
                self.error.clone_from(error);
                self.left_behind.clone_from(left_behind);
                self.in_doubt.clone_from(in_doubt);
                self.incomplete.clone_from(incomplete);
                self.result.clone_from(result);
            }
            Event::BranchBegan { .. }
            | Event::Deferred { .. }
            | Event::Lock { .. }
            | Event::CancelAsked { .. } => {}
        }
    }

    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Read => self.counts.reads += 1,
            Kind::Ensure => self.counts.ensures += 1,
            Kind::Act => self.counts.acts += 1,
        }
    }

    fn problem(&mut self, seq: Seq, text: String, site: Option<String>) {
        if self.problems.len() < SUMMARY_LIMIT {
            self.problems.push(Problem { seq, text, site });
        }
    }
}

/// Orders verdicts so that the worst one of a host stays.
fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Skipped => 0,
        Verdict::Ok => 1,
        Verdict::Changed => 2,
        Verdict::Failed => 3,
        Verdict::Unreachable => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::Branch;

    #[test]
    fn the_worst_verdict_of_a_host_stays() {
        let mut summary = Summary::default();
        for verdict in [Verdict::Ok, Verdict::Unreachable, Verdict::Changed] {
            let branch = Branch::root().arm(1, "a");
            let event = Event::BranchEnded { branch, host: "a".into(), verdict, reason: None };
            summary.apply(Seq(1), &event);
        }
        assert_eq!(summary.hosts["a"], Verdict::Unreachable);
    }

    #[test]
    fn statuses_read_back_and_give_the_documented_exit_codes() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        let codes: Vec<u8> = Status::ALL.iter().map(|s| s.exit_code()).collect();
        assert_eq!(codes, [1, 1, 1, 3, 0, 4, 1, 3, 5, 5]);
    }
}
