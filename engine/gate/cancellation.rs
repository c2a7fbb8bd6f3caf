//! How a run is ended from outside: once with clean-up, twice at once.

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::gate::Stop;

/// The two tokens of a run, and why they were pulled.
#[derive(Default)]
pub struct Cancellation {
    soft: CancellationToken,
    hard: CancellationToken,
    reason: Mutex<Option<Stop>>,
    cleaning: std::sync::atomic::AtomicBool,
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

    /// From here on only the second request counts: the clean-up runs.
    pub fn begin_clean_up(&self) {
        self.cleaning.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Returns the token that what runs now has to watch.
    pub fn token(&self) -> &CancellationToken {
        if self.cleaning.load(std::sync::atomic::Ordering::Acquire) { &self.hard } else { &self.soft }
    }
}
