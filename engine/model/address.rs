//! An effect's place in a run: `4[edge-2]/1`, independent of timing.
//!
//! The script's own thread counts 1, 2, 3, …; a fan-out takes one number, and each of its branches counts for itself
//! below it. Clean-up registered by `defer` counts below `d1`, `d2`, … of the branch that registered it. The same
//! script with the same recorded answers therefore asks at the same addresses, whichever host was faster.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The place of one effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(Arc<str>);

/// The place of a thread of script: the root, an arm of a fan-out, or a deferred clean-up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Branch(Arc<str>);

impl Branch {
    /// Returns the script's own thread.
    pub fn root() -> Self {
        Self(Arc::from(""))
    }

    /// Returns the address of the effect with this number in this branch.
    pub fn effect(&self, number: u32) -> Address {
        Address(self.below(&number.to_string()))
    }

    /// Returns the arm for `label` (a host) of the fan-out with this number.
    ///
    /// Brackets and slashes in a label are replaced, so that an address reads back unambiguously.
    pub fn arm(&self, number: u32, label: &str) -> Self {
        let label = label.replace(['[', ']', '/'], "_");
        Self(self.below(&format!("{number}[{label}]")))
    }

    /// Returns the branch of the clean-up registered as the `number`th in this branch.
    pub fn deferred(&self, number: u32) -> Self {
        Self(self.below(&format!("d{number}")))
    }

    /// Whether this is the script's own thread.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text form; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn below(&self, last: &str) -> Arc<str> {
        if self.is_root() { Arc::from(last) } else { Arc::from(format!("{}/{last}", self.0)) }
    }
}

impl Address {
    /// Reads an address as a person types it.
    pub fn parse(text: &str) -> Self {
        Self(Arc::from(text.trim()))
    }

    /// Returns the text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns it as a person types it into a shell.
    pub fn typed(&self) -> String {
        // Brackets are patterns of file names there.
        if self.0.contains('[') { format!("'{}'", self.0.replace('\'', "'\\''")) } else { self.0.to_string() }
    }

    /// Returns the innermost branch label: the host of a fan-out's arm.
    pub fn label(&self) -> Option<&str> {
        let open = self.0.rfind('[')?;
        let close = self.0[open..].find(']')? + open;
        Some(&self.0[open + 1..close])
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_the_branch_and_count_within_it() {
        let root = Branch::root();
        let arm = root.arm(4, "edge-2");
        let cases = [
            (root.effect(1), "1"),
            (arm.effect(1), "4[edge-2]/1"),
            (arm.arm(2, "x/y[1]").effect(3), "4[edge-2]/2[x_y_1_]/3"),
            (arm.deferred(1).effect(2), "4[edge-2]/d1/2"),
        ];
        for (address, expected) in cases {
            assert_eq!(address.as_str(), expected);
        }
        assert_eq!(arm.effect(1).label(), Some("edge-2"));
        assert_eq!(root.effect(1).label(), None);
    }
}
