//! The only code that opens sockets, starts processes, reads the clock or touches files for a runbook.

pub mod clock;
pub mod host;
pub mod inventory;
pub mod local;
pub mod secrets;
pub mod shell;
pub mod ssh;
pub mod transport;
