//! What can go wrong with a device, beside its connection.

use serde::Serialize;

use crate::world::transport;

/// Why a device did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error, Serialize)]
#[serde(untagged)]
pub enum Fault {
    /// Its connection.
    #[error(transparent)]
    Connection(#[from] transport::Fault),
    /// The device itself.
    #[error(transparent)]
    Device(#[from] Trouble),
}

/// What is wrong with a device. No text of it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Trouble {
    /// The login has not all rights, and cannot get them.
    #[error("no rights on the device: {reason}")]
    Enable {
        /// Why.
        reason: String,
    },
    /// It said nothing more.
    #[error("the device said nothing for {seconds} s while {doing}{}", shown(screen))]
    TimedOut {
        /// How long was waited.
        seconds: u64,
        /// For what.
        doing: String,
        /// The end of what it had said.
        screen: String,
    },
    /// It refused a command.
    #[error("the device refuses `{command}`: {said}")]
    Rejected {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
    /// It asked a question.
    #[error("the device asks `{question}` for `{command}`, which has no known answer; it was not answered")]
    Asked {
        /// The command.
        command: String,
        /// The question.
        question: String,
    },
    /// Somebody else is changing it.
    #[error("{reason}")]
    Locked {
        /// Who or what.
        reason: String,
    },
    /// What it shows is no configuration.
    #[error("its configuration cannot be used: {reason}")]
    Unusable {
        /// Why.
        reason: String,
    },
    /// It is not what a decision was made on.
    #[error("the device has changed since the commands were worked out: nothing was sent; {reason}")]
    Stale {
        /// What is other.
        reason: String,
    },
    /// A change could not be made sure of.
    #[error("{reason}")]
    Unverified {
        /// What is not as it should be.
        reason: String,
    },
    /// A change could not be taken back where it may cut off access.
    #[error("nothing was sent: {reason}")]
    Unarmed {
        /// Why.
        reason: String,
    },
    /// A change failed and the device is as it was before.
    #[error("{why}; {how}")]
    RolledBack {
        /// What failed.
        why: String,
        /// How it came back.
        how: String,
    },
    /// A change failed and the device is not as it was before.
    #[error("{why}; {how}")]
    LeftChanged {
        /// What failed.
        why: String,
        /// What was tried, and what is left.
        how: String,
    },
}

impl Fault {
    /// Whether a run was cancelled meanwhile.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Connection(transport::Fault::Cancelled))
    }

    /// Whether the session ended, so that nobody knows whether the last command was done.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Connection(transport::Fault::Lost { .. }))
    }

    /// Whether another try would be refused again, and count towards a lock-out.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Connection(transport::Fault::Authentication { .. }) | Self::Device(Trouble::Enable { .. })
        )
    }
}

fn shown(screen: &str) -> String {
    if screen.is_empty() { String::new() } else { format!("; last on its screen: `{screen}`") }
}
