//! Configurations of Cisco devices: read without losing a byte, compared by what they mean, and changed in an order that a device accepts.
//!
//! Text in, text out; nothing here knows of sessions or of the rest of nlrun. Two things stand beside each other on purpose: [`diff()`]
//! works out commands from two configurations, [`Device`] is a model of the device that takes commands, refuses what a device refuses,
//! and has a configuration afterwards. A plan is only given out when the model, fed with it, ends in what was intended.
//!
//! What a line means on a platform is data: `facts/*.facts`, explained in [`facts`].

mod compare;
mod console;
mod device;
mod diff;
mod drift;
pub mod facts;
mod filter;
mod guard;
mod items;
mod lists;
mod ordered;
mod outline;
mod plan;
mod secrets;
mod sections;
mod terminal;
mod tree;
mod undo;
mod validate;
mod view;

use std::fmt;
use std::str::FromStr;

pub use console::{Access, Console, Event, Faults, Machine};
pub use device::{Device, Refusal};
pub use diff::{Unclear, diff, invert};
pub use drift::{Class, Drift, drift};
pub use filter::filter;
pub use guard::{Unusable, guard, guard_pair, is_end};
pub use outline::Outline;
pub use plan::{Block, Command, Note, Plan, Risk};
pub use secrets::{MASK, masked, secrets};
pub use terminal::{Heard, Mode, Said, Terminal, Wait, typed};
pub use tree::{Node, Tree};
pub use undo::{Undo, undo};
pub use validate::{Every, Finding, NatSources, Place, Reachable, Rule, Severity, Source, usable, validate};

/// The system of a device, as far as its configuration differs from others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Os {
    /// IOS and IOS-XE: routers and switches.
    Ios,
    /// Adaptive Security Appliance.
    Asa,
    /// An autonomous access point, which is IOS with radios.
    Ap,
}

impl Os {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ios, Self::Asa, Self::Ap];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Asa => "asa",
            Self::Ap => "ap",
        }
    }
}

impl fmt::Display for Os {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Os {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|os| os.as_str() == text).ok_or_else(|| {
            format!("`{text}` is no system that nlrun knows: ios (IOS and IOS-XE), asa or ap (autonomous access point)")
        })
    }
}
