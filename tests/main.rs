//! Behaviour through the real binary, against real servers on loopback.

mod behaviour;
mod ssh;
mod support;
