//! Asking a server again after what only passes: how often, with which pauses, for how long, and what of it is told.

use std::time::{Duration, Instant};

use crate::gate::Permit;
use crate::model::duration;
use crate::model::event::Failure;
use crate::world::http::retry::{pause, retry_after};
use crate::world::http::status_words;

/// The tries of one request. Which answers and failures pass, whoever asks decides: that depends on what is asked.
pub(super) struct Tries<'a> {
    permit: &'a Permit<'a>,
    /// At most, the first included.
    times: u32,
    /// The pause before the second try; it doubles.
    first: Duration,
    /// How long all of it may take; a pause that ends later is not begun.
    limit: Duration,
    begun: Instant,
    /// Why it was tried again, once for each time.
    pub(super) again: Vec<String>,
}

/// Why a server may be asked again.
pub(super) struct Again {
    why: String,
    /// Its header `Retry-After`.
    after: Option<String>,
}

impl Again {
    /// Takes an answer that passes, with its header `Retry-After`.
    pub(super) fn answered(status: u16, after: Option<&str>) -> Self {
        Self { why: format!("{status} {}", status_words(status)), after: after.map(str::to_owned) }
    }

    /// Takes a failure that passes.
    pub(super) fn failed(failure: &Failure) -> Self {
        Self { why: failure.kind.clone(), after: None }
    }
}

impl<'a> Tries<'a> {
    /// Begins the first try.
    pub(super) fn new(permit: &'a Permit<'a>, times: u32, first: Duration, limit: Duration) -> Self {
        Self { permit, times, first, limit, begun: Instant::now(), again: Vec::new() }
    }

    /// Waits before another try; says no where there is no reason for one, or none is left.
    ///
    /// What the server asks for is the least that it gets; a pause beyond the limit would only put the failure off.
    pub(super) async fn wait(&mut self, again: Option<Again>) -> Result<bool, Failure> {
        let tries = self.again.len() as u32 + 1;
        let Some(again) = again.filter(|_| tries < self.times) else { return Ok(false) };
        let asked = again.after.and_then(|value| retry_after(&value, self.permit.now()));
        let wait = pause(self.first, tries).max(asked.unwrap_or_default());
        if self.begun.elapsed() + wait >= self.limit {
            return Ok(false);
        }
        let rounded = Duration::from_millis(wait.as_millis() as u64);
        self.again.push(format!("{}, tried again after {}", again.why, duration::text(rounded)));
        self.permit.sleep(wait).await?;
        Ok(true)
    }

    /// Tells in the last failure how often it was tried.
    pub(super) fn told(&self, mut failure: Failure) -> Failure {
        let tries = self.again.len() + 1;
        if tries > 1 && failure.kind != "cancelled" {
            failure.message.push_str(&format!(" (try {tries})"));
            if failure.details.is_null() {
                failure.details = serde_json::json!({});
            }
            failure.details["attempts"] = tries.into();
            failure.details["again"] = self.again.clone().into();
        }
        failure
    }
}
