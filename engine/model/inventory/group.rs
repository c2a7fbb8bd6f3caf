//! A group of hosts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A named set of hosts, its members resolved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Every host in it or in a group below it, in the order of the inventory.
    pub hosts: Vec<String>,
    /// The groups directly below it, in alphabetical order.
    pub children: Vec<String>,
    /// The variables set on this group itself.
    pub vars: Map<String, Value>,
}
