//! What people and programs may rely on at a server: runs in their turn, once, and nothing lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod api;
mod operations;
mod queue;
mod remote;
mod schedule;
mod storm;
