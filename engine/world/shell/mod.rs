//! The text a POSIX shell is given: exact quoting, environment, directory, sudo, and the marks that come back.

mod clerk;
mod compose;
mod dialog;
mod marks;
mod quote;
mod sweep;

pub use clerk::Reply;
pub(super) use clerk::{Hearsay, call, clerk};
pub use compose::{Script, bare, compose, compose_tagged};
pub use dialog::{Dialog, Gate, Halt, Nowhere, password_refused};
pub use marks::{Cue, Marks};
pub use quote::quote;
pub use sweep::sweeping;
