//! Runs runbooks: the Rhai engine, the static check, fan-out, the executor.

pub mod check;
pub mod guard;
pub mod language;
pub mod library;
