//! Plain data and pure folds: no tokio, no I/O, no clock.

pub mod address;
pub mod capability;
pub mod diff;
pub mod effect;
pub mod event;
pub mod inventory;
pub mod nearest;
pub mod run;
pub mod secret;
pub mod signature;
pub mod yaml;
