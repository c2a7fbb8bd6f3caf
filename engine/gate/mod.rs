//! The choke point: may it, has it happened, do it, record it.

pub mod redactor;
