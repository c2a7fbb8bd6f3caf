//! Plain data and pure folds: no tokio, no I/O, no clock.

pub mod capability;
pub mod effect;
pub mod inventory;
pub mod secret;
pub mod signature;
