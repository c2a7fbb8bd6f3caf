//! Behaviour through the real binary, against real servers on loopback.

mod cli;
mod library;
mod ssh;
mod support;
