//! The choke point: may it, has it happened, do it, record it.

pub mod authority;
pub mod cancellation;
pub mod doubts;
pub mod effect;
#[cfg(test)]
pub(crate) mod harness;
pub mod journal;
mod output;
mod passage;
pub mod permit;
pub mod recorder;
pub mod redactor;
mod session;
mod state;
pub mod stop;

pub use effect::{Done, Doubt, Effect, Kept, Seen};
pub use passage::is_unreachable;
pub use permit::{Captured, Finished, Permit};
pub use session::UNKNOWN_OUTCOME;
pub use session::{Answered, Deferred, Session};
pub use state::{Gate, sentence};
pub use stop::{Halt, Stop};
