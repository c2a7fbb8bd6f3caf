//! What a member of a project may do at GitLab.

use serde::{Deserialize, Serialize};

/// An access level, by GitLab's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Looks: 10.
    Guest = 10,
    /// Plans: 15.
    Planner = 15,
    /// Reads the code: 20.
    Reporter = 20,
    /// Pushes to branches: 30.
    Developer = 30,
    /// Pushes to protected branches: 40.
    Maintainer = 40,
    /// Everything: 50.
    Owner = 50,
}

impl Access {
    /// Returns GitLab's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Planner => "planner",
            Self::Reporter => "reporter",
            Self::Developer => "developer",
            Self::Maintainer => "maintainer",
            Self::Owner => "owner",
        }
    }
}
