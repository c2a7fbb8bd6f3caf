//! Acts in doubt that a resumed run has met: while there is one, nothing new happens.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::gate::Stop;
use crate::model::address::Address;
use crate::model::event::InDoubt;

/// The acts that wait for a person.
#[derive(Default)]
pub struct Doubts(Mutex<BTreeMap<Address, InDoubt>>);

impl Doubts {
    /// Notes an act that nothing could decide.
    pub(super) fn add(&self, act: InDoubt) -> Stop {
        let stop = Stop::of(&act);
        self.0.lock().insert(act.address.clone(), act);
        stop
    }

    /// Returns why nothing new may happen: the first act that waits.
    pub fn stop(&self) -> Option<Stop> {
        self.0.lock().values().next().map(Stop::of)
    }

    /// Returns all of them, by address.
    pub fn all(&self) -> Vec<InDoubt> {
        self.0.lock().values().cloned().collect()
    }
}

impl Stop {
    fn of(act: &InDoubt) -> Self {
        Self::InDoubt { address: act.address.clone(), effect: act.effect.clone(), target: act.target.clone() }
    }
}
