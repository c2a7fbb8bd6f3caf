//! Builders: a project in a temporary folder, certificates, a terminal, a real `sshd`, a faulty SSH server, HTTP servers.
pub mod account;
pub mod bao;
pub mod certificates;
pub mod dropbear;
pub mod faulty;
pub mod processes;
pub mod project;
pub mod sshd;
pub mod terminal;
pub mod web;
