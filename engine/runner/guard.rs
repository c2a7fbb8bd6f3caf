//! What ends a script that does not end by itself: cancel, deadline, operations, memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::gate::cancellation::Cleaning;

/// How long a script may allocate unseen; at memory speed this lets at most some hundred MiB through.
const SAMPLE: Duration = Duration::from_millis(5);

/// Branches report their operations in lots of this size, so that the shared counter is not fought over.
const LOT: u64 = 256;

/// The clock is read once in so many operations: each may allocate 16 MiB, and a look costs as much as an addition.
const LOOK: u64 = 8;

/// Reads the resident memory of the process in bytes; `None` where the system does not tell.
pub type Resident = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// Watches all branches of one run.
pub struct Guard {
    cancelled: AtomicBool,
    cancelled_now: AtomicBool,
    started: Instant,
    timeout: Option<Duration>,
    operations: AtomicU64,
    /// Operations of clean-ups, which have a budget of their own: the script may have used up its.
    cleaning: AtomicU64,
    budget: u64,
    resident: Resident,
    memory: u64,
    sampled: AtomicU64,
}

/// Why the guard ended a script; the value of Rhai's `ErrorTerminated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Somebody cancelled the run.
    Cancelled,
    /// The run took longer than `LIMITS.timeout`.
    TimedOut {
        /// The time-out.
        after: Duration,
    },
    /// The script used up `LIMITS.operations`.
    Operations {
        /// The budget.
        budget: u64,
    },
    /// The process grew beyond `LIMITS.memory`.
    Memory {
        /// The limit in bytes.
        limit: u64,
    },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => write!(f, "the run was cancelled"),
            Self::TimedOut { after } => {
                write!(f, "the run took longer than {}", crate::model::duration::text(*after))
            }
            Self::Operations { budget } => write!(f, "the script used more than {budget} operations"),
            Self::Memory { limit } => write!(f, "the script needed more than {} MiB of memory", limit >> 20),
        }
    }
}

impl Guard {
    /// Begins to watch; the clock starts now.
    ///
    /// `budget` counts script operations of all branches, `memory` is resident bytes of the whole process.
    pub fn new(timeout: Option<Duration>, budget: u64, memory: u64, resident: Resident) -> Arc<Self> {
        Arc::new(Self {
            cancelled: AtomicBool::new(false),
            cancelled_now: AtomicBool::new(false),
            started: Instant::now(),
            timeout,
            operations: AtomicU64::new(0),
            cleaning: AtomicU64::new(0),
            budget,
            resident,
            memory,
            sampled: AtomicU64::new(0),
        })
    }

    /// Ends the script at its next operation, clean-ups excepted.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Ends everything at its next operation.
    pub fn cancel_now(&self) {
        self.cancelled_now.store(true, Ordering::Relaxed);
    }

    fn is_cancelled_now(&self) -> bool {
        self.cancelled_now.load(Ordering::Relaxed)
    }

    /// Whether the run was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Returns the script operations so far, exact to some hundred a branch.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Decides after every operation whether the script may go on; `operation` counts within one branch.
    pub fn tick(&self, operation: u64) -> Option<Ended> {
        // A clean-up goes on after the first request to cancel and after the time-out.
        let cleaning = Cleaning::is_on();
        if self.is_cancelled_now() || (self.is_cancelled() && !cleaning) {
            return Some(Ended::Cancelled);
        }
        let operations = if cleaning { &self.cleaning } else { &self.operations };
        if operation.is_multiple_of(LOT) && operations.fetch_add(LOT, Ordering::Relaxed) + LOT > self.budget {
            return Some(Ended::Operations { budget: self.budget });
        }
        if !operation.is_multiple_of(LOOK) {
            return None;
        }
        let elapsed = self.started.elapsed();
        if let Some(after) = self.timeout
            && elapsed > after
            && !cleaning
        {
            return Some(Ended::TimedOut { after });
        }
        // A fixed number of operations would not do: doubling an array exhausts any memory in 40 of them.
        let now = elapsed.as_micros() as u64;
        let last = self.sampled.load(Ordering::Relaxed);
        if now.saturating_sub(last) > SAMPLE.as_micros() as u64 {
            self.sampled.store(now, Ordering::Relaxed);
            if (self.resident)().is_some_and(|bytes| bytes > self.memory) {
                return Some(Ended::Memory { limit: self.memory });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_ends_the_script() {
        let guard = Guard::new(None, 1000, 1 << 30, Box::new(|| None));
        assert_eq!((1..=1000).find_map(|n| guard.tick(n)), None);
        assert_eq!(guard.tick(1024), Some(Ended::Operations { budget: 1000 }));
        guard.cancel();
        assert_eq!(guard.tick(1), Some(Ended::Cancelled));
        let guard = Guard::new(Some(Duration::ZERO), u64::MAX, 1 << 30, Box::new(|| None));
        let ended = (1..u64::MAX).find_map(|n| guard.tick(n));
        assert_eq!(ended, Some(Ended::TimedOut { after: Duration::ZERO }));
        let guard = Guard::new(None, u64::MAX, 5 << 20, Box::new(|| Some(6 << 20)));
        let ended = (1..u64::MAX).find_map(|n| guard.tick(n));
        assert_eq!(ended, Some(Ended::Memory { limit: 5 << 20 }));
    }
}
