//! The clock: the one place that asks the system for the time.

use jiff::Timestamp;

/// Returns the current instant.
#[expect(clippy::disallowed_methods, reason = "this is the clock's true home")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
