//! The clock: the one place that asks the system for the time.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Returns the current instant.
#[expect(clippy::disallowed_methods, reason = "this is the clock's true home")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns the time since the machine started, the time that it slept included; nobody sets this clock.
pub fn steady() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Whether the clock is set by the network; `None` where nobody on this machine knows.
#[expect(clippy::disallowed_methods, reason = "one of the true homes of processes")]
pub fn is_synchronized() -> Option<bool> {
    let mut command = std::process::Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).stdin(std::process::Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}
