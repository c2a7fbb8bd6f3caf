//! Builders: a project in a temporary folder, certificates, a terminal, a real `sshd`, a faulty SSH server, real Debian hosts, HTTP, TLS and DNS
//! servers, a Kubernetes cluster, Cisco devices.
pub mod account;
pub mod bao;
pub mod browser;
pub mod certificates;
pub mod device;
pub mod dropbear;
pub mod faulty;
pub mod gitlab;
pub mod hosts;
pub mod issuer;
pub mod kube;
pub mod mailbox;
pub mod names;
pub mod origin;
pub mod processes;
pub mod project;
pub mod prometheus;
pub mod server;
pub mod small;
pub mod sshd;
pub mod synapse;
pub mod terminal;
pub mod tls;
pub mod web;
