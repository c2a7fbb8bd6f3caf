//! Plain data and pure folds: no tokio, no I/O, no clock.

pub mod address;
pub mod capability;
pub mod diagnostic;
pub mod diff;
pub mod duration;
pub mod effect;
pub mod event;
pub mod given;
pub mod hook;
pub mod inventory;
pub mod k8s;
pub mod nearest;
pub mod order;
pub mod parameter;
pub mod plan;
pub mod port;
pub mod role;
pub mod run;
pub mod runbook;
pub mod schedule;
pub mod secret;
pub mod signature;
pub mod url;
pub mod yaml;
