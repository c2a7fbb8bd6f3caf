//! Waiting until a server gives the right answer: `wait_http`.

use std::time::{Duration, Instant};

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::effects::is_final;
use super::fetch::follow;
use super::request::Request;
use crate::bindings::wait::{PATIENCE, patience, poll};
use crate::bindings::{Call, Outcome, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::duration;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::run::Mode;
use crate::world::http::status_words;

/// One look takes no longer.
const LOOK: Duration = Duration::from_secs(10);
const SHORTEST_LOOK: Duration = Duration::from_secs(1);

/// Waits until a server gives the right answer.
#[derive(Serialize)]
struct Wait {
    #[serde(flatten)]
    request: Request,
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
    #[serde(with = "duration")]
    patience: Duration,
}

/// How long it took, and what came in the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waited {
    seconds: f64,
    status: u16,
}

impl Wait {
    /// Looks once: the status of a right answer, or what is wrong with it.
    async fn look(&self, permit: &Permit<'_>, limit: Duration) -> Result<Result<u16, String>, Failure> {
        let mut request = self.request.clone();
        request.timeout = limit;
        let (reply, _) = match follow(&request, permit, Self::NAME, Self::KIND, request.wire()?).await {
            Ok(answered) => answered,
            // What is not trusted does not become trusted by waiting.
            Err(failure) if is_final(&failure) || failure.kind == "tls" => return Err(failure),
            Err(failure) => return Ok(Err(failure.message)),
        };
        if !self.request.accepts.covers(reply.status) {
            return Ok(Err(format!("{} {}", reply.status, status_words(reply.status))));
        }
        let is_there = match &self.contains {
            Some(text) => String::from_utf8_lossy(&reply.body).contains(text.as_str()),
            None => true,
        };
        Ok(if is_there { Ok(reply.status) } else { Err("the answer does not contain the text".to_owned()) })
    }
}

impl Effect for Wait {
    const NAME: &'static str = "http.wait";
    const KIND: Kind = Kind::Read;
    type Output = Waited;

    fn target(&self) -> Target {
        Target::Named { name: self.request.name() }
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Waited>) -> Result<Done<Waited>, Failure> {
        let limit = patience(permit, self.patience);
        let begun = Instant::now();
        let found = poll(permit, limit, async |left| {
            // The last look is not cut so short that it cannot succeed.
            let look = if permit.mode() == Mode::Plan { LOOK } else { LOOK.min(left.max(SHORTEST_LOOK)) };
            self.look(permit, look).await
        })
        .await?;
        match found {
            Ok(status) => Ok(Done::ok(Waited { seconds: begun.elapsed().as_secs_f64(), status })),
            Err(wrong) => {
                let name = self.request.name();
                let limit = duration::text(limit);
                let message = format!("{name} gave no right answer in {limit}; the last look: {wrong}");
                Err(Failure { kind: "timed_out".to_owned(), ..invalid(message) })
            }
        }
    }
}

pub(super) fn wait_http(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let patience = call.option_duration("timeout")?.unwrap_or(PATIENCE);
    let contains = call.option_string("contains")?;
    let effect = Wait { request: Request::read(call, "GET", 0)?, contains, patience };
    call.answer(&effect, |waited, _| {
        Outcome::known(json!({ "ok": true, "seconds": waited.seconds, "status": waited.status }))
    })
}
