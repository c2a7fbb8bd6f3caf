//! Builders: a project in a temporary folder, a real `sshd`, a faulty SSH server.
pub mod project;
pub mod sshd;
