//! Plain data and pure folds: no tokio, no I/O, no clock.

pub mod capability;
pub mod diagnostic;
pub mod duration;
pub mod effect;
pub mod given;
pub mod inventory;
pub mod nearest;
pub mod parameter;
pub mod runbook;
pub mod secret;
pub mod signature;
