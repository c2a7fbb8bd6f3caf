//! The choke point: may it, has it happened, do it, record it.

pub mod authority;
pub mod cancellation;
pub mod effect;
#[cfg(test)]
pub(crate) mod harness;
pub mod journal;
mod output;
pub mod permit;
pub mod recorder;
pub mod redactor;
pub mod session;
pub mod stop;

pub use effect::{Done, Doubt, Effect, Kept, Seen};
pub use permit::{Captured, Finished, Permit};
pub use session::{Answered, Deferred, Gate, Session, sentence};
pub use stop::{Halt, Stop};
