//! What passes the gate: one request by its verb, and a look whether there is an answer.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::fetch::fetch;
use super::request::Request;
use crate::gate::{Done, Effect, Kept, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;

/// The verb of a capability.
pub(super) trait Verb {
    const NAME: &'static str;
    const KIND: Kind;
}

macro_rules! verbs {
    ($($verb:ident $name:literal $kind:ident;)*) => {
        $(
            pub(super) struct $verb;

            impl Verb for $verb {
                const NAME: &'static str = $name;
                const KIND: Kind = Kind::$kind;
            }
        )*
    };
}

verbs! {
    Get "http.get" Read;
    ReadBy "http.read" Read;
    Post "http.post" Act;
    Put "http.put" Act;
    Patch "http.patch" Act;
    Delete "http.delete" Act;
}

/// A request whose answer the script wants.
#[derive(Serialize)]
pub(super) struct Ask<V> {
    #[serde(flatten)]
    pub(super) request: Request,
    /// What the author expects of it in plan mode; not part of what is asked.
    #[serde(skip)]
    pub(super) expect: Option<Answer>,
    #[serde(skip)]
    pub(super) verb: PhantomData<V>,
}

impl<V: Verb> Effect for Ask<V> {
    const NAME: &'static str = V::NAME;
    const KIND: Kind = V::KIND;
    type Output = Answer;

    fn target(&self) -> Target {
        Target::Named { name: self.request.name() }
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Answer>) -> Result<Done<Answer>, Failure> {
        let answer = fetch(&self.request, permit, V::NAME, V::KIND).await?;
        Ok(if V::KIND.writes() { Done::changed(answer) } else { Done::ok(answer) })
    }

    fn expected(&self) -> Option<Answer> {
        self.expect.clone()
    }

    fn restore(&self, output: Answer, kept: &dyn Kept) -> Answer {
        output.restore(&self.request, kept)
    }
}

/// A look whether there is a right answer.
#[derive(Serialize)]
pub(super) struct Look {
    #[serde(flatten)]
    pub(super) request: Request,
    /// Tells it from a request of the same verb whose answer matters.
    pub(super) only: &'static str,
}

/// What a look saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Seeing {
    pub(super) ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

impl Effect for Look {
    const NAME: &'static str = "http.get";
    const KIND: Kind = Kind::Read;
    type Output = Seeing;

    fn target(&self) -> Target {
        Target::Named { name: self.request.name() }
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Seeing>) -> Result<Done<Seeing>, Failure> {
        match fetch(&self.request, permit, Self::NAME, Self::KIND).await {
            Ok(_) => Ok(Done::ok(Seeing { ok: true, reason: None })),
            Err(failure) if is_final(&failure) => Err(failure),
            Err(failure) => Ok(Done::ok(Seeing { ok: false, reason: Some(failure.message) })),
        }
    }
}

/// Whether a failure says something about this side, and not about the server.
pub(super) fn is_final(failure: &Failure) -> bool {
    matches!(
        failure.kind.as_str(),
        "cancelled" | "denied" | "invalid" | "secret" | "unrecorded" | "unknown_outcome"
    )
}
