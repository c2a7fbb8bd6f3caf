//! What people and programs may rely on at a server: runs in their turn, once, and nothing lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::float_cmp, reason = "metrics that are compared are counts")]

mod api;
mod audit;
mod clients;
mod edits;
mod full;
mod git;
mod git_trust;
mod hooks;
mod hostile;
mod identity;
mod identity_oidc;
mod identity_tls;
mod identity_tokens;
mod messages;
mod operations;
mod page;
mod page_project;
mod prometheus;
mod queue;
mod remote;
mod rights;
mod schedule;
mod storm;
