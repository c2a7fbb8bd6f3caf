//! Behaviour through the real binary, against real servers on loopback.

mod ssh;
mod support;
