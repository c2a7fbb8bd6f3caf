//! Behaviour through the real binary, against real servers on loopback.

mod behaviour;
mod cli;
mod floors;
mod ssh;
mod support;
