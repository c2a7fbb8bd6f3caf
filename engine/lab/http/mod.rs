//! Programs with an HTTP API, as far as runbooks use them; each is strict where the real one is.

pub mod gitlab;
mod multipart;
pub mod npm;
pub mod pihole;
mod program;
pub mod proxmox;
pub(super) mod server;
mod shown;
pub mod synology;
pub mod unifi;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use program::Program;
pub use shown::Identity;

/// Any free port of loopback.
pub const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
