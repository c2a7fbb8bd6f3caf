//! The text a POSIX shell is given: exact quoting, environment, directory, sudo, and the marks that come back.

mod compose;
mod dialog;
mod helper;
mod marks;
mod quote;
mod sweep;

pub use compose::{Script, bare, compose, compose_tagged};
pub use dialog::{Dialog, Gate, Halt, Nowhere, password_refused};
pub use helper::Reply;
pub(super) use helper::{Hearsay, call, helper};
pub use marks::{Cue, Marks};
pub use quote::quote;
pub use sweep::sweeping;
