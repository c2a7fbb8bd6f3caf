//! Who may do what at a server: roles, and the grants of whoever holds one.

use serde::{Deserialize, Serialize};

use crate::model::run::Trigger;

/// What somebody may do at a server; each role may all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything but secrets; changes nothing.
    Viewer,
    /// Runs, plans, cancels, resumes, approves.
    Operator,
    /// Changes runbooks and schedules.
    Editor,
    /// Changes users, tokens and the server itself.
    Admin,
}

impl Role {
    /// Every role, the one that may least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Editor, Self::Admin];

    /// Returns the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// Somebody who has shown who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What they may do.
    pub role: Role,
    /// The capabilities that their runs get.
    pub grants: Vec<String>,
    /// Globs of the runbooks that they may run, by path; all when empty.
    pub runbooks: Vec<String>,
    /// Who they are, as a run that they ask for remembers it.
    pub trigger: Trigger,
    /// Whether they may ask for plans, and change nothing.
    pub plans_only: bool,
}

impl Caller {
    /// Returns the name for the audit and for people.
    pub fn name(&self) -> String {
        self.trigger.to_string()
    }
}
