//! What ends a script: a `Stop` cannot be caught, a `Failure` can.

use crate::model::address::Address;
use crate::model::effect::Kind;
use crate::model::event::{Failure, Site};
use crate::model::run::Status;

/// A refusal by the gate. Scripts cannot catch it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// No need or no grant covers the effect.
    #[error("runbook `{runbook}` may not run `{effect}` on `{target}`")]
    Denied {
        /// The runbook.
        runbook: String,
        /// The effect's name.
        effect: String,
        /// Its target.
        target: String,
        /// What to add, and where.
        hint: String,
    },
    /// The effect is not what the journal or the plan has at this address.
    #[error("{expected} at {address}, but the runbook now asks for {found}")]
    Diverged {
        /// The place.
        address: Address,
        /// What the record says.
        expected: String,
        /// What the script wants.
        found: String,
        /// What to do.
        hint: String,
    },
    /// What an ensure would write to is not as the plan saw it.
    #[error("`{target}` is not as the plan saw it, so `{effect}` ({address}) wrote nothing: {differences}")]
    OtherState {
        /// The place.
        address: Address,
        /// The effect's name.
        effect: String,
        /// Its target.
        target: String,
        /// What was planned for and what is there.
        differences: String,
        /// The runbook.
        runbook: String,
        /// Whether the plan has an act on the same host, which may have brought it.
        after_act: bool,
    },
    /// An act was begun before a crash, and nobody knows whether it happened.
    #[error(
        "`{effect}` on `{target}` ({address}) was begun before the run was interrupted; it may have happened"
    )]
    InDoubt {
        /// The place.
        address: Address,
        /// The effect's name.
        effect: String,
        /// Its target.
        target: String,
    },
    /// Somebody cancelled the run.
    #[error("cancelled by {by}")]
    Cancelled {
        /// Who.
        by: String,
    },
    /// The run took longer than its limit.
    #[error("the run took longer than {limit}")]
    TimedOut {
        /// The limit, as people write it.
        limit: String,
    },
    /// The script used more than its limits.
    #[error("{0}")]
    Limit(String),
    /// A value that has no text form was made part of a text.
    #[error("{0}")]
    NoText(String),
    /// Plan mode cannot know what an act will answer.
    #[error("everything after {site} depends on what `{effect}` will answer")]
    PlanEnds {
        /// Where the answer is read.
        site: Site,
        /// The act.
        effect: String,
    },
    /// The plan was incomplete, and the run has come to its end.
    #[error("the plan ends here: it was incomplete from {from} on")]
    BeyondPlan {
        /// The line that the plan named.
        from: String,
    },
    /// The run log cannot be written, so nothing more may happen.
    #[error("the run log cannot be written: {0}")]
    Unrecorded(String),
    /// A person said no, or nobody could be asked.
    #[error("{question}: {answer}")]
    NotApproved {
        /// What was asked.
        question: String,
        /// Why it did not go on.
        answer: String,
    },
    /// The recorded run ends here.
    #[error("the recorded run has no effect at {0}")]
    ReplayEnds(Address),
}

impl Stop {
    /// Returns how a run ends that was stopped by it.
    pub fn status(&self) -> Status {
        match self {
            Self::Denied { .. }
            | Self::Diverged { .. }
            | Self::OtherState { .. }
            | Self::BeyondPlan { .. }
            | Self::NotApproved { .. } => Status::Stopped,
            Self::InDoubt { .. } => Status::InDoubt,
            Self::Cancelled { .. } => Status::Cancelled,
            Self::TimedOut { .. } => Status::TimedOut,
            Self::Limit(_) | Self::NoText(_) => Status::Failed,
            Self::PlanEnds { .. } | Self::ReplayEnds(_) => Status::Done,
            Self::Unrecorded(_) => Status::Interrupted,
        }
    }

    /// Whether the run goes on later from where this ended it.
    pub fn suspends(&self) -> bool {
        matches!(self.status(), Status::InDoubt | Status::Interrupted)
    }

    /// Returns what to do about it, where that is not obvious.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { hint, .. } | Self::Diverged { hint, .. } => Some(hint.clone()),
            Self::OtherState { runbook, after_act, .. } => {
                let whence = if *after_act {
                    "an act of this plan may have brought that, as a package brings its configuration; else somebody \
                     else did"
                } else {
                    "somebody changed it since the plan was made"
                };
                Some(format!(
                    "{whence}. What stands before it is done and stays: a new plan (`nlrun plan {runbook} -o FILE` with \
                     the same parameters) shows what is left, and applying that goes on from here"
                ))
            }
            Self::InDoubt { address, .. } => Some(format!(
                "look at the target, then `nlrun resume RUN --done {0}` if it happened, or `--again {0}`",
                address.typed()
            )),
            Self::BeyondPlan { .. } => Some(
                "make a new plan now that more is known, or apply with `--beyond` to go on without one"
                    .to_owned(),
            ),
            Self::Unrecorded(_) => Some("make room, then `nlrun resume RUN`".to_owned()),
            Self::Cancelled { .. }
            | Self::TimedOut { .. }
            | Self::Limit(_)
            | Self::NoText(_)
            | Self::PlanEnds { .. }
            | Self::NotApproved { .. }
            | Self::ReplayEnds(_) => None,
        }
    }
}

/// Why an effect gave nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Halt {
    /// The gate refuses.
    Stop(Box<Stop>),
    /// The world said no; scripts may catch it.
    Failure(Box<Failure>),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(Box::new(stop))
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

/// Describes an effect for a sentence: `act ssh.exec on edge-1`.
pub(super) fn describe(kind: Kind, effect: &str, target: &str) -> String {
    if target.is_empty() { format!("{kind} `{effect}`") } else { format!("{kind} `{effect}` on `{target}`") }
}
