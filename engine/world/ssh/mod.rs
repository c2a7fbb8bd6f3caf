//! SSH over russh: one connection a host for the whole run, many channels on it.

mod algorithms;
mod authenticate;
mod connect;
mod connection;
mod exec;
mod identities;
mod known_hosts;
mod quirks;
mod request;
pub mod ssh_config;
mod stream;
mod trust;
mod tty;

pub(super) use connect::{Shared, dial_tcp};
pub(super) use connection::Connection;
pub(super) use exec::{Prepared, prepare, run};
pub(super) use request::Request;
pub(super) use tty::Tty;
