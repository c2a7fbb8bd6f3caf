//! What Ansible's variables say about a connection.

use serde_json::{Map, Value};

use super::draft::Format;

/// Whose variables a file of `group_vars/` or `host_vars/` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VarsOf {
    /// A group's.
    Group(String),
    /// A host's.
    Host(String),
}

pub(super) fn drop_passwords(_vars: &mut Map<String, Value>, _format: Format) {}

pub(super) fn settings(
    _host: &str,
    _vars: &mut Map<String, Value>,
    _warnings: &mut Vec<String>,
) -> Map<String, Value> {
    Map::new()
}
