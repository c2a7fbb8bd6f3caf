//! The kinds of effects and what they touch.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What an effect does to the world; it decides check mode and crash recovery together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Observes. Performed in plan mode too; safe to repeat.
    Read,
    /// Moves the world to a described state. Forecast in plan mode; safe to repeat.
    Ensure,
    /// Anything else. Only listed in plan mode; in doubt after a crash unless it can probe what happened.
    Act,
}

impl Kind {
    /// Whether the effect can change the world.
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Ensure => "ensure",
            Self::Act => "act",
        })
    }
}

/// What an effect touches, as far as grants and people care.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "lowercase")]
pub enum Target {
    /// The run itself: a report, a random number, an approval.
    Run,
    /// A host, and a path on it where the effect is about one.
    Host {
        /// The name in the inventory.
        host: Arc<str>,
        /// All its groups, nested ones included; not written to events.
        #[serde(skip)]
        groups: Arc<BTreeSet<String>>,
        /// An absolute path on the host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// A secret, an address, a lock: a name that a glob can match.
    Named {
        /// The name.
        name: String,
    },
}

impl Target {
    /// Returns the host, when there is one.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Host { host, .. } => Some(host),
            Self::Run | Self::Named { .. } => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run => Ok(()),
            Self::Host { host, path: None, .. } => f.pad(host),
            Self::Host { host, path: Some(path), .. } => write!(f, "{host}:{path}"),
            Self::Named { name } => f.pad(name),
        }
    }
}
