//! The journal: effect events by address. Resume and replay are look-ups in it.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use serde_json::Value;

use crate::model::address::{Address, Branch};
use crate::model::effect::Kind;
use crate::model::event::{Event, Failure, Request, Verdict};
use crate::model::run::Seq;

/// What is recorded of one effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What it asked.
    pub request: Request,
    /// The state seen before.
    pub pre: Value,
    /// How it ended; `None` when it was begun only.
    pub answer: Option<Answer>,
    /// The events that hold its output, by stream.
    pub output: Vec<(String, Seq)>,
}

/// The recorded end of an effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// How.
    pub verdict: Verdict,
    /// What it gave.
    pub value: Value,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Whether a secret is missing from what was recorded.
    pub redacted: bool,
}

/// All that a run has recorded so far.
#[derive(Debug, Default)]
pub struct Journal {
    effects: Mutex<HashMap<Address, Recorded>>,
    notes: HashMap<Branch, u32>,
    deferred: HashSet<Branch>,
    cleaned: HashSet<Branch>,
    began: HashSet<Branch>,
    left_out: HashSet<Branch>,
    cancelled: Option<String>,
}

impl Journal {
    /// Folds one more event in; events come in order.
    pub fn apply(&mut self, seq: Seq, event: Event) {
        self.note(&event);
        let effects = self.effects.get_mut();
        match event {
            Event::Intent { address, request, pre } => {
                effects
                    .insert(address, Recorded { request: *request, pre, answer: None, output: Vec::new() });
            }
            Event::Outcome { address, verdict, value, failure, redacted, .. } => {
                if let Some(recorded) = effects.get_mut(&address) {
                    let failure = failure.map(|failure| *failure);
                    recorded.answer = Some(Answer { verdict, value, failure, redacted });
                }
            }
            Event::Forecast { address, request, pre, .. } => {
                // A planned effect was not performed; replaying a plan answers as the plan did.
                effects
                    .insert(address, Recorded { request: *request, pre, answer: None, output: Vec::new() });
            }
            Event::Output { address, stream, .. } => {
                if let Some(recorded) = effects.get_mut(&address) {
                    recorded.output.push((stream, seq));
                }
            }
            Event::Queued(_)
            | Event::Started(_)
            | Event::StepBegan { .. }
            | Event::StepEnded { .. }
            | Event::Message { .. }
            | Event::BranchBegan { .. }
            | Event::BranchEnded { .. }
            | Event::Deferred { .. }
            | Event::CleanedUp { .. }
            | Event::Resumed { .. }
            | Event::Interrupted { .. }
            | Event::Lock { .. }
            | Event::Artifact { .. }
            | Event::Ended { .. } => {}
            Event::CancelAsked { by, .. } => self.cancelled = Some(by),
        }
    }

    /// Folds in what is not an effect.
    fn note(&mut self, event: &Event) {
        let branch = match event {
            Event::StepBegan { branch, .. }
            | Event::StepEnded { branch, .. }
            | Event::Message { branch, .. } => branch,
            Event::BranchBegan { branch, .. } => {
                self.began.insert(branch.clone());
                branch
            }
            Event::BranchEnded { branch, .. } => {
                // An arm that ended without having begun is one whose turn never came.
                if !self.began.contains(branch) {
                    self.left_out.insert(branch.clone());
                }
                branch
            }
            Event::Deferred { branch, .. } => {
                self.deferred.insert(branch.clone());
                return;
            }
            Event::CleanedUp { branch, .. } => {
                self.cleaned.insert(branch.clone());
                return;
            }
            Event::Queued(_)
            | Event::Started(_)
            | Event::Intent { .. }
            | Event::Outcome { .. }
            | Event::Forecast { .. }
            | Event::Resumed { .. }
            | Event::Interrupted { .. }
            | Event::Output { .. }
            | Event::Lock { .. }
            | Event::Artifact { .. }
            | Event::CancelAsked { .. }
            | Event::Ended { .. } => return,
        };
        *self.notes.entry(branch.clone()).or_insert(0) += 1;
    }

    /// Whether the run has begun this arm of a fan-out before: then it begins again, whatever failed meanwhile.
    pub fn has_begun(&self, branch: &Branch) -> bool {
        self.began.contains(branch)
    }

    /// Whether the run has left out this arm of a fan-out before: then its turn does not come now, either.
    pub fn has_left_out(&self, branch: &Branch) -> bool {
        self.left_out.contains(branch)
    }

    /// Returns who asked the run to end before it was interrupted: where its record ends, only clean-ups go on.
    pub fn cancelled(&self) -> Option<&str> {
        self.cancelled.as_deref()
    }

    /// Takes what is recorded at an address. Each address is asked for once, so memory shrinks as a resumed run goes on.
    pub fn take(&self, address: &Address) -> Option<Recorded> {
        self.effects.lock().remove(address)
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.effects.lock().is_empty() && self.notes.is_empty() && self.deferred.is_empty()
    }

    /// Forgets the notes, so that a replay shows all of them again.
    #[must_use]
    pub fn without_notes(self) -> Self {
        Self { effects: self.effects, began: self.began, left_out: self.left_out, ..Self::default() }
    }

    /// Whether the run has recorded this note (a step, a message and the like), the `number`th of its branch.
    pub fn has(&self, event: &Event, branch: &Branch, number: u32) -> bool {
        match event {
            Event::Deferred { branch, .. } => self.deferred.contains(branch),
            Event::CleanedUp { branch, .. } => self.cleaned.contains(branch),
            _ => number <= self.notes.get(branch).copied().unwrap_or(0),
        }
    }

    /// Whether this is an act that was begun and whose end is not recorded.
    pub fn is_in_doubt(&self, address: &Address) -> bool {
        let effects = self.effects.lock();
        effects.get(address).is_some_and(|found| found.request.kind == Kind::Act && found.answer.is_none())
    }

    /// Returns recorded effects that nobody has asked for yet, in no order.
    pub fn left(&self) -> Vec<(Address, Kind, String)> {
        let effects = self.effects.lock();
        effects.iter().map(|(a, r)| (a.clone(), r.request.kind, r.request.effect.clone())).collect()
    }
}
