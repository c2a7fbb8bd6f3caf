//! Behaviour through the real binary, against real servers on loopback.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says where it stands")]

mod behaviour;
mod bindings;
mod cert;
mod ci;
mod cisco;
mod cli;
mod floors;
mod hosts;
mod k8s;
mod lab;
mod library;
mod schedule;
mod server;
mod servers;
mod ssh;
mod support;
mod targets;
mod x509;
