//! How often something may happen: a token bucket, on a clock that the caller reads.

use std::time::Duration;

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many at once after a quiet time.
    pub burst: f64,
    /// How many a second in the long run.
    pub per_second: f64,
}

/// What is left of a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    left: f64,
    at: Duration,
    is_refusing: bool,
}

/// Nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// After how long there is one again.
    pub wait: Duration,
    /// Whether it is the first refusal since the last success: one line about it is enough.
    pub is_first: bool,
}

impl Bucket {
    /// Makes a full one.
    pub fn full(rate: Rate, now: Duration) -> Self {
        Self { left: rate.burst, at: now, is_refusing: false }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Refused> {
        self.refill(rate, now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            self.is_refusing = false;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - self.left) / rate.per_second);
        Err(Refused { wait, is_first: !std::mem::replace(&mut self.is_refusing, true) })
    }

    /// Gives one back that was taken for nothing.
    pub fn give_back(&mut self, rate: Rate) {
        self.left = (self.left + 1.0).min(rate.burst);
    }

    /// Whether it is as good as a new one.
    pub fn is_full(&mut self, rate: Rate, now: Duration) -> bool {
        self.refill(rate, now);
        self.left >= rate.burst
    }

    fn refill(&mut self, rate: Rate, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + passed * rate.per_second).min(rate.burst);
        self.at = now.max(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate { burst: 3.0, per_second: 0.5 };
        let at = Duration::from_millis;
        let mut bucket = Bucket::full(rate, at(0));
        assert!((0..3).all(|_| bucket.take(rate, at(0)).is_ok()));
        assert_eq!(bucket.take(rate, at(0)), Err(Refused { wait: at(2000), is_first: true }));
        assert_eq!(bucket.take(rate, at(1000)), Err(Refused { wait: at(1000), is_first: false }));
        assert!(bucket.take(rate, at(2000)).is_ok() && bucket.take(rate, at(2000)).is_err());
        bucket.give_back(rate);
        assert!(bucket.take(rate, at(2000)).is_ok());
        assert!(!bucket.is_full(rate, at(7000)) && bucket.is_full(rate, at(8000)));
        // A clock that goes back gives nothing.
        let mut bucket = Bucket::full(rate, at(5000));
        assert!((0..3).all(|_| bucket.take(rate, at(1000)).is_ok()) && bucket.take(rate, at(5000)).is_err());
    }
}
