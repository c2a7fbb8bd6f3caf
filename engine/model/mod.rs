//! Plain data and pure folds: no tokio, no I/O, no clock.

pub mod diff;
pub mod inventory;
pub mod secret;
