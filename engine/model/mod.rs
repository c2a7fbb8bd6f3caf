//! Plain data and pure folds: no tokio, no I/O, no clock.

pub mod inventory;
pub mod nearest;
pub mod secret;
pub mod yaml;
