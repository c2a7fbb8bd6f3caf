//! GitLab's REST API (version 4), as far as runs and the server use it.
//!
//! Who makes the exchanges is the caller's: an effect by its permit, the server in its own name. What is asked, what an answer
//! means and when it is asked again is here.

mod ask;
mod config;
mod merge;
mod note;
mod people;
mod status;

use std::time::Duration;

use serde_json::Value;

pub use ask::Ask;
pub use config::{Config, Server};
pub use merge::{Merge, MergeRequest, Readiness, Shape};
pub use note::{MOST_NOTE, Note, marked, marker};
pub use people::Person;
pub use status::{Posted, State, Status};

use crate::model::event::Failure;
use crate::world::http::retry::{pause, retry_after};
use crate::world::http::{Reply, status_words};

/// Exchanges for one question.
const TRIES: u32 = 5;
/// The longest that a server is waited for that asks for it (`Retry-After`).
const LONGEST: Duration = Duration::from_secs(120);
/// Pages of a list that are read.
const PAGES: usize = 100;
/// Entries of a page, the most that GitLab gives.
const PAGE: usize = 100;
/// Characters of an answer that failures repeat.
const SHOWN: usize = 300;

/// Makes exchanges with one GitLab.
#[expect(async_fn_in_trait, reason = "neither effects nor the server's own work move between threads")]
pub trait Way {
    /// Makes one exchange.
    async fn once(&self, ask: &Ask) -> Result<Reply, Failure>;
    /// Waits, unless there is a reason to end.
    async fn rest(&self, time: Duration) -> Result<(), Failure>;
}

/// Asks, and asks again where that can do no harm; every answer comes back.
pub async fn answer(way: &impl Way, ask: &Ask) -> Result<Reply, Failure> {
    let mut tries = 1;
    loop {
        let tried = way.once(ask).await;
        let own = pause(Duration::from_millis(500), tries);
        let again = match &tried {
            // Nothing was done: it was one request too many.
            Ok(reply) if reply.status == 429 => {
                let asked = reply.header("retry-after");
                Some(asked.and_then(|value| retry_after(value, crate::world::clock::now())).unwrap_or(own))
            }
            Ok(reply) if matches!(reply.status, 502..=504) && ask.is_safe_twice() => Some(own),
            Ok(_) => None,
            Err(failure) => match failure.kind.as_str() {
                "unreachable" | "refused" => Some(own),
                "lost" | "timed_out" if ask.is_safe_twice() => Some(own),
                _ => None,
            },
        };
        match again {
            Some(time) if tries < TRIES && time <= LONGEST => {
                tries += 1;
                way.rest(time.max(Duration::from_millis(1))).await?;
            }
            _ => return tried,
        }
    }
}

/// Asks and returns what a success says, as JSON.
pub async fn value(way: &impl Way, ask: &Ask) -> Result<Value, Failure> {
    let reply = answer(way, ask).await?;
    if !(200..300).contains(&reply.status) {
        return Err(refused(ask, &reply));
    }
    read(ask, &reply)
}

/// Asks for something that may not be there.
pub async fn maybe(way: &impl Way, ask: &Ask) -> Result<Option<Value>, Failure> {
    let reply = answer(way, ask).await?;
    match reply.status {
        404 => Ok(None),
        200..300 => read(ask, &reply).map(Some),
        _ => Err(refused(ask, &reply)),
    }
}

/// Asks for a list, page by page, until somebody has seen enough of it.
pub async fn list<T>(
    way: &impl Way,
    ask: &Ask,
    mut look: impl FnMut(&Value) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let mut page = 1;
    for _ in 0..PAGES {
        let asked = ask.clone().query("per_page", PAGE).query("page", page);
        let reply = answer(way, &asked).await?;
        if !(200..300).contains(&reply.status) {
            return Err(refused(&asked, &reply));
        }
        let items = read(&asked, &reply)?;
        let items = items.as_array().ok_or_else(|| odd(&asked, "no list"))?;
        if let Some(found) = items.iter().find_map(&mut look) {
            return Ok(Some(found));
        }
        // The header is there for lists of any length; the counts are not.
        page = match reply.header("x-next-page").map(str::trim) {
            Some("") => return Ok(None),
            Some(next) => next.parse().map_err(|_| odd(&asked, "a page without a number"))?,
            None if items.len() == PAGE => page + 1,
            None => return Ok(None),
        };
    }
    let message =
        format!("{}: more than {} entries; nobody has looked at the rest", asked_for(ask), PAGES * PAGE);
    Err(failure("too_large", message))
}

fn read(ask: &Ask, reply: &Reply) -> Result<Value, Failure> {
    if reply.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&reply.body).map_err(|_| odd(ask, "no JSON"))
}

fn odd(ask: &Ask, what: &str) -> Failure {
    failure(
        "protocol",
        format!("{}: the answer is {what}; look whether `gitlab.url` is a GitLab", asked_for(ask)),
    )
}

fn asked_for(ask: &Ask) -> String {
    format!("GitLab: {} {}", ask.method, ask.path)
}

/// Makes a failure of this kind.
pub fn failure(kind: &str, message: String) -> Failure {
    Failure { kind: kind.to_owned(), message, host: None, site: None, details: Value::Null }
}

/// Makes the failure of an answer that is none of the right ones.
pub fn refused(ask: &Ask, reply: &Reply) -> Failure {
    let said = said(reply);
    let colon = if said.is_empty() { "" } else { ": " };
    let advice = match reply.status {
        401 => "; the token of `gitlab.token` is not valid (any more)",
        403 => {
            "; the token of `gitlab.token` may not do this: it needs the scope `api` and the role for it in the project"
        }
        404 => "; it is not there, or the token of `gitlab.token` may not see it",
        _ => "",
    };
    let message =
        format!("{}: {} {}{colon}{said}{advice}", asked_for(ask), reply.status, status_words(reply.status));
    Failure {
        details: serde_json::json!({ "fault": "status", "status": reply.status }),
        ..failure("status", message)
    }
}

/// Returns what an answer says, in either of the forms that GitLab has for errors.
pub fn said(reply: &Reply) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(&reply.body) else { return String::new() };
    let text = match (&value["message"], &value["error_description"], &value["error"]) {
        (Value::String(text), ..)
        | (Value::Null, Value::String(text), _)
        | (Value::Null, Value::Null, Value::String(text)) => text.clone(),
        (Value::Null, ..) => String::new(),
        (other, ..) => other.to_string(),
    };
    text.chars().take(SHOWN).collect()
}
