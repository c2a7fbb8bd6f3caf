//! nlrun: runbooks in Rhai that operate real infrastructure through a gate, and a log of every run.
//!
//! The source is built in floors; each imports only from below, and a test (`tests/floors.rs`) enforces it:
//!
//! ```text
//! 5 faces      cli/ server/            words and rendering; nothing is decided here
//! 4 service    service.rs runner/      runs: start, resume, cancel; the Rhai engine, the check
//! 3 bindings   bindings/               what a runbook can ask for: one file an area
//! 2 gate       gate/                   may it, has it happened, do it, record it
//! 1 edge       store/ world/ lab/      SQLite; sockets, processes, files, secrets, the clock; a simulated world
//! 0 model      model/                  plain data and pure folds: no tokio, no I/O, no clock
//!   pure libs  cisco/ template/ x509/  text in, text out; no dependency on the rest
//! ```

pub mod bindings;
pub mod cisco;
pub mod cli;
pub mod gate;
pub mod lab;
pub mod model;
pub mod runner;
pub mod server;
pub mod service;
pub mod store;
pub mod template;
pub mod world;
pub mod x509;
