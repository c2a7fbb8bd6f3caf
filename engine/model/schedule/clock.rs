//! What the scheduler makes of a clock that is set.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The two clocks of a machine at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time since some moment, by a clock that nobody sets and that goes on while the machine sleeps
    /// (`CLOCK_BOOTTIME`): with one that stands still then, a long sleep would look like a clock that was set.
    pub steady: Duration,
}

/// How the wall clock was set between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It was not, or by less than a second.
    None,
    /// Forward, by at most 3 h: what was jumped over is late, and goes through the misfire policy.
    Forward(Duration),
    /// Back, by at most 5 min: nothing that was decided fires again.
    Back(Duration),
    /// Further: every cursor is set to now, nothing fires, and people are told.
    Jump(SignedDuration),
}

const FORWARD: SignedDuration = SignedDuration::from_hours(3);
const BACK: SignedDuration = SignedDuration::from_mins(5);
const NOISE: SignedDuration = SignedDuration::from_secs(1);

/// Compares two readings, the earlier first.
pub fn step(before: Reading, after: Reading) -> Step {
    let wall = after.wall.duration_since(before.wall);
    let steady =
        SignedDuration::try_from(after.steady.saturating_sub(before.steady)).unwrap_or(SignedDuration::MAX);
    let moved = wall.saturating_sub(steady);
    match moved {
        _ if moved.abs() < NOISE => Step::None,
        _ if moved > FORWARD || moved < -BACK => Step::Jump(moved),
        _ if moved.is_positive() => Step::Forward(moved.unsigned_abs()),
        _ => Step::Back(moved.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_the_passing_of_time() {
        let start = Timestamp::UNIX_EPOCH;
        let after = |wall: i64, steady: u64| {
            let before = Reading { wall: start, steady: Duration::from_secs(500) };
            let wall = start + SignedDuration::from_secs(wall);
            step(before, Reading { wall, steady: Duration::from_secs(500 + steady) })
        };
        for (wall, steady, expected) in [
            (60, 60, Step::None),
            // Asleep for a week: both clocks went on.
            (604_800, 604_800, Step::None),
            (3_660, 60, Step::Forward(Duration::from_secs(3_600))),
            (10_860, 60, Step::Forward(Duration::from_secs(10_800))),
            (10_861, 60, Step::Jump(SignedDuration::from_secs(10_801))),
            (0, 60, Step::Back(Duration::from_secs(60))),
            (-240, 60, Step::Back(Duration::from_secs(300))),
            (-241, 60, Step::Jump(SignedDuration::from_secs(-301))),
        ] {
            assert_eq!(after(wall, steady), expected, "{wall} s by the wall, {steady} s by the other");
        }
        let reading = |milliseconds| Reading {
            wall: start + SignedDuration::from_millis(milliseconds),
            steady: Duration::ZERO,
        };
        assert_eq!(step(reading(0), reading(999)), Step::None);
    }
}
