//! Runs runbooks: the Rhai engine, the static check, fan-out, the executor.

pub mod caps;
pub mod check;
pub mod executor;
pub mod failure;
pub mod guard;
pub mod header;
pub mod language;
pub mod library;
pub mod modules;
pub mod policy;
pub mod reference;
pub mod resident;
pub mod sources;
pub mod stdlib;
pub mod syntax;
