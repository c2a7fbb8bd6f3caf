//! Configurations of Cisco devices: what commands a difference comes to, and what a device makes of them.

mod apply;
mod bad;
mod command;
mod compare;
mod console;
mod device;
mod facts;
pub mod faults;
mod generate;
mod hazards;
mod judgement;
mod properties;
mod session;
