//! A histogram of lengths of time, as Prometheus counts them.

use std::time::Duration;

/// Upper bounds of the buckets, in seconds: a tenth of a second is what the scheduler promises.
pub const BOUNDS: [f64; 11] = [0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0];

/// Counts lengths of time by bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// How many are at most as long as each bound.
    pub at_most: [u64; BOUNDS.len()],
    /// How many there are.
    pub count: u64,
    /// How long they are together, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, length: Duration) {
        let seconds = length.as_secs_f64();
        for (count, bound) in self.at_most.iter_mut().zip(BOUNDS) {
            *count += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_counts_in_every_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for millis in [5, 100, 101, 8_000_000] {
            histogram.add(Duration::from_millis(millis));
        }
        assert_eq!(histogram.at_most, [1, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!((histogram.count, histogram.sum.round()), (4, 8000.0));
    }
}
