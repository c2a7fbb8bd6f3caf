//! Behaviour through the real binary, against real servers on loopback.

mod behaviour;
mod cli;
mod floors;
mod hosts;
mod library;
mod ssh;
mod support;
