//! How a run is ended from outside: once with clean-up, twice at once.

use std::cell::Cell;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::gate::Stop;

/// The two tokens of a run, and why they were pulled.
#[derive(Default)]
pub struct Cancellation {
    soft: CancellationToken,
    hard: CancellationToken,
    reason: Mutex<Option<Stop>>,
}

thread_local! {
    /// Whether this thread of script runs a clean-up, which a first request to cancel does not end.
    static CLEANING: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as one that cleans up, until it is dropped.
pub struct Cleaning(bool);

impl Cleaning {
    /// Begins.
    pub fn begin() -> Self {
        Self(CLEANING.replace(true))
    }

    /// Whether this thread cleans up.
    pub fn is_on() -> bool {
        CLEANING.get()
    }
}

impl Drop for Cleaning {
    fn drop(&mut self) {
        CLEANING.set(self.0);
    }
}

impl Cancellation {
    /// Ends what runs and lets the clean-up run.
    pub fn cancel(&self, reason: Stop) {
        self.reason.lock().get_or_insert(reason);
        self.soft.cancel();
    }

    /// Ends everything, the clean-up included.
    pub fn cancel_now(&self, reason: Stop) {
        self.cancel(reason);
        self.hard.cancel();
    }

    /// Returns why the run has to end, once it has to.
    pub fn reason(&self) -> Option<Stop> {
        self.token().is_cancelled().then(|| self.reason.lock().clone()).flatten()
    }

    /// Whether not even the clean-up may go on.
    pub fn is_now(&self) -> bool {
        self.hard.is_cancelled()
    }

    /// Waits for the first request.
    pub async fn cancelled(&self) {
        self.soft.cancelled().await;
    }

    /// Waits for the second request.
    pub async fn cancelled_now(&self) {
        self.hard.cancelled().await;
    }

    /// Returns the token that what runs now has to watch.
    pub fn token(&self) -> &CancellationToken {
        if Cleaning::is_on() { &self.hard } else { &self.soft }
    }
}
