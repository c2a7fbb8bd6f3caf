//! Configurations of Cisco devices: what commands a difference comes to, and what a device makes of them.

mod apply;
mod command;
mod console;
mod device;
mod generate;
mod hazards;
mod judgement;
mod properties;
mod session;
