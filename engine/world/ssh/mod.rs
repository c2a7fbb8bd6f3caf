//! SSH over russh: one connection a host for the whole run, many channels on it.
pub mod ssh_config;
