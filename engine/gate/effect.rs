//! An effect: one request to the world, and how it is observed, performed and found again after a crash.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::gate::Permit;
use crate::model::effect::{Kind, Target};
use crate::model::event::{Failure, Verdict};

/// One request to the world; its serialised form is what the journal compares.
#[expect(async_fn_in_trait, reason = "effects run on the thread of their script; they need not be Send")]
pub trait Effect: Serialize {
    /// The effect's name: also the capability's verb (`ssh.exec`).
    const NAME: &'static str;
    /// What it does to the world.
    const KIND: Kind;
    /// What it answers; written to the journal and read back from it.
    type Output: Serialize + DeserializeOwned;

    /// Returns what a grant must cover.
    fn target(&self) -> Target;

    /// Looks at the world without changing it.
    ///
    /// An ensure must say whether it would change something, and how. An act may note what its probe needs later.
    async fn observe(&self, _permit: &Permit<'_>) -> Result<Seen<Self::Output>, Failure> {
        Ok(Seen::unknown())
    }

    /// Does it.
    async fn perform(
        &self,
        permit: &Permit<'_>,
        seen: &Seen<Self::Output>,
    ) -> Result<Done<Self::Output>, Failure>;

    /// Returns what plan mode may answer for an act: only what its author wrote down, never something made up.
    fn expected(&self) -> Option<Self::Output> {
        None
    }

    /// Finds out whether an act that was begun before a crash happened; `pre` is what `observe` noted then.
    async fn probe(&self, _permit: &Permit<'_>, _pre: &Value) -> Result<Doubt<Self::Output>, Failure> {
        Ok(Doubt::Unknown)
    }

    /// Gives a recorded answer what is kept outside its event, such as the output of a command.
    fn restore(&self, output: Self::Output, _kept: &dyn Kept) -> Self::Output {
        output
    }
}

/// The state seen before an effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen<O> {
    /// What is there, as the plan compares it; `Null` when nothing was looked at.
    pub pre: Value,
    /// Whether performing would change something.
    pub changes: bool,
    /// A unified diff of that change.
    pub diff: Option<String>,
    /// What it answers if nothing has to change, and what plan mode promises.
    pub output: Option<O>,
}

impl<O> Seen<O> {
    /// Returns that nothing was looked at.
    pub fn unknown() -> Self {
        Self { pre: Value::Null, changes: true, diff: None, output: None }
    }
}

/// What performing gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Done<O> {
    /// The answer.
    pub output: O,
    /// `Ok` or `Changed`.
    pub verdict: Verdict,
    /// A unified diff of what changed, when `observe` did not already give one.
    pub diff: Option<String>,
}

impl<O> Done<O> {
    /// Returns an answer that changed nothing.
    pub fn ok(output: O) -> Self {
        Self { output, verdict: Verdict::Ok, diff: None }
    }

    /// Returns an answer that changed the world.
    pub fn changed(output: O) -> Self {
        Self { output, verdict: Verdict::Changed, diff: None }
    }
}

/// What a probe found out about an act in doubt.
#[derive(Debug, Clone, PartialEq)]
pub enum Doubt<O> {
    /// It happened, and this is its answer.
    Happened(Done<O>),
    /// It did not happen: it can be performed.
    DidNot,
    /// Nobody knows: a person decides.
    Unknown,
}

/// Bytes of a recorded effect that are kept outside its events.
pub trait Kept {
    /// Returns up to `limit` bytes of a stream of its output, and the stream's whole length.
    fn stream(&self, stream: &str, limit: usize) -> Result<Vec<u8>, Failure>;
}
