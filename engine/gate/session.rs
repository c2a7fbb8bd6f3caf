//! A session: the gate as one thread of script sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::gate::Gate;
use crate::gate::effect::Effect;
use crate::gate::passage::{Placed, recorded_target};
use crate::gate::permit::invalid;
use crate::gate::{Halt, Stop};
use crate::model::address::Branch;
use crate::model::event::{Event, Level, Request, Site, Verdict};

/// A clean-up that waits for the end of its branch; the body belongs to the script engine.
#[derive(Clone)]
pub struct Deferred {
    /// Its number in the branch, from 1.
    pub number: u32,
    /// Where it was registered.
    pub site: Option<Site>,
    /// What to call.
    pub body: Arc<dyn std::any::Any + Send + Sync>,
}

/// What an effect came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered<O> {
    /// It was performed, or recorded before; in plan mode, promised.
    Known(O, Verdict),
    /// Plan mode only lists it; or a person decided that it happened before a crash, and its answer is lost.
    Unplanned,
}

/// The kind of the failure that stands for the answer of an act that a person says happened.
pub const UNKNOWN_OUTCOME: &str = "unknown_outcome";

/// One thread of script at the gate. Cheap to clone.
#[derive(Clone)]
pub struct Session(Arc<Thread>);

struct Thread {
    gate: Arc<Gate>,
    branch: Branch,
    is_arm: bool,
    parent: Option<Session>,
    next: AtomicU32,
    notes: AtomicU32,
    deferrals: AtomicU32,
    deferred: Mutex<Vec<Deferred>>,
    changed: AtomicBool,
    unplanned: AtomicBool,
}

impl Session {
    /// Returns the session of the script's own thread.
    pub fn root(gate: Arc<Gate>) -> Self {
        Self::thread(gate, Branch::root(), false, None)
    }

    fn thread(gate: Arc<Gate>, branch: Branch, is_arm: bool, parent: Option<Session>) -> Self {
        Self(Arc::new(Thread {
            gate,
            branch,
            is_arm,
            parent,
            next: AtomicU32::new(1),
            notes: AtomicU32::new(0),
            deferrals: AtomicU32::new(0),
            deferred: Mutex::default(),
            changed: AtomicBool::new(false),
            unplanned: AtomicBool::new(false),
        }))
    }

    /// Returns the shared part.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.0.gate
    }

    /// Returns the branch.
    pub fn branch(&self) -> &Branch {
        &self.0.branch
    }

    /// Whether this thread runs in the arm of a fan-out.
    pub fn is_arm(&self) -> bool {
        self.0.is_arm
    }

    /// Takes the next number of this branch: for an effect or a fan-out.
    pub fn number(&self) -> u32 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the session for the arm with this label of the fan-out with this number.
    pub fn arm(&self, number: u32, label: &str) -> Self {
        Self::thread(self.0.gate.clone(), self.0.branch.arm(number, label), true, Some(self.clone()))
    }

    /// Returns the session in which a registered clean-up runs.
    pub fn clean_up(&self, deferred: &Deferred) -> Self {
        let branch = self.0.branch.deferred(deferred.number);
        Self::thread(self.0.gate.clone(), branch, self.0.is_arm, Some(self.clone()))
    }

    /// Registers a clean-up for the end of this branch.
    pub fn defer(&self, site: Option<Site>, body: Arc<dyn std::any::Any + Send + Sync>) -> Result<(), Stop> {
        let number = self.0.deferrals.fetch_add(1, Ordering::Relaxed) + 1;
        let branch = self.0.branch.deferred(number);
        self.note(Event::Deferred { branch, site: site.clone() })?;
        self.0.deferred.lock().push(Deferred { number, site, body });
        Ok(())
    }

    /// Takes the registered clean-ups, last one first.
    pub fn take_deferred(&self) -> Vec<Deferred> {
        let mut deferred = std::mem::take(&mut *self.0.deferred.lock());
        deferred.reverse();
        deferred
    }

    /// Returns the stop of a run that waits for a person, unless it has begun this branch before: what is recorded of
    /// it may end with an act in doubt, too.
    pub fn waits(&self) -> Option<Stop> {
        self.0.gate.doubts.stop().filter(|_| !self.0.gate.journal.has_begun(&self.0.branch))
    }

    /// Whether something was changed in this branch.
    pub fn has_changed(&self) -> bool {
        self.0.changed.load(Ordering::Relaxed)
    }

    /// Whether plan mode listed an act in this branch, so that nobody knows how it would end.
    pub fn is_unplanned(&self) -> bool {
        self.0.unplanned.load(Ordering::Relaxed)
    }

    /// Waits for something asynchronous on this thread of script.
    pub fn block<F: Future>(&self, future: F) -> F::Output {
        self.0.gate.runtime.block_on(future)
    }

    /// Writes something that is not an effect, unless the run did so before it was interrupted.
    pub fn note(&self, event: Event) -> Result<(), Stop> {
        if self.is_noted(&event) { Ok(()) } else { self.0.gate.recorder.append_blocking(event) }
    }

    /// Does what [`Session::note`] does, from asynchronous code.
    pub async fn note_async(&self, event: Event) -> Result<(), Stop> {
        if self.is_noted(&event) { Ok(()) } else { self.0.gate.recorder.append(event).await }
    }

    fn is_noted(&self, event: &Event) -> bool {
        // What belongs to a clean-up as a whole does not count among the notes of a thread.
        let counts = !matches!(event, Event::Deferred { .. } | Event::CleanedUp { .. });
        let number = if counts { self.0.notes.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        self.0.gate.journal.has(event, &self.0.branch, number)
    }

    /// Says something in the name of the script.
    pub fn say(&self, level: Level, text: &str, site: Option<Site>) -> Result<(), Stop> {
        let text = self.0.gate.redactor.text(text).into_owned();
        if level == Level::Fail {
            self.0.gate.checks.lock().push(text.clone());
        }
        self.note(Event::Message { level, text, site, branch: self.0.branch.clone() })
    }

    /// Performs an effect on this thread of script.
    pub fn perform<E: Effect>(&self, site: Option<Site>, effect: &E) -> Result<Answered<E::Output>, Halt> {
        self.block(self.perform_async(site, effect))
    }

    /// Performs an effect: address, compare, authorise, record intent, settle, record outcome.
    pub async fn perform_async<E: Effect>(
        &self,
        site: Option<Site>,
        effect: &E,
    ) -> Result<Answered<E::Output>, Halt> {
        let gate = &self.0.gate;
        let address = self.0.branch.effect(self.number());
        if let Some(stop) = gate.cancellation.reason() {
            return Err(stop.into());
        }
        let target = effect.target();
        let mut body = serde_json::to_value(effect).map_err(|error| invalid(error.to_string()))?;
        gate.redactor.json(&mut body);
        let request = Request {
            effect: E::NAME.to_owned(),
            kind: E::KIND,
            target: recorded_target(&target, &gate.redactor),
            request: body,
            site: site.clone(),
        };
        let placed = Placed { session: self, effect, address, target, request, site, is_begun: false };

        match gate.journal.take(&placed.address) {
            Some(recorded) => placed.recall(recorded).await,
            None if gate.replay => Err(Stop::ReplayEnds(placed.address).into()),
            None => {
                if let Some(stop) = gate.cancelled_before().or_else(|| gate.doubts.stop()) {
                    return Err(stop.into());
                }
                placed.live().await
            }
        }
    }

    pub(super) fn mark_changed(&self) {
        let mut thread = Some(self);
        while let Some(session) = thread {
            session.0.changed.store(true, Ordering::Relaxed);
            thread = session.0.parent.as_ref();
        }
    }

    pub(super) fn mark_unplanned(&self) {
        let mut thread = Some(self);
        while let Some(session) = thread {
            session.0.unplanned.store(true, Ordering::Relaxed);
            thread = session.0.parent.as_ref();
        }
    }
}
