//! The lab: servers on loopback that refuse what the real ones refuse, for tests and for people who try things out.

pub mod http;
