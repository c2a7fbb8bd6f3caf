//! Hosts, groups, variables and the patterns that select them.
//!
//! An [`Inventory`] is made by a [`Draft`], which takes the texts of files one by one ([`Draft::read_own`] for our YAML,
//! [`Draft::read_ansible_ini`] and its neighbours for Ansible's) and resolves names, membership and variables at the end.

mod ansible;
mod ansible_ini;
mod ansible_literal;
mod ansible_ssh;
mod ansible_yaml;
mod draft;
mod error;
mod group;
mod host;
mod own;
mod pattern;
mod range;
mod resolve;
mod setting;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use ansible_yaml::VarsOf;
pub use draft::{Draft, Format};
pub use error::{Error, Place, Problem};
pub use group::Group;
pub use host::{Connection, Host, HostKeyPolicy, Transport};
pub use pattern::PatternError;
pub use range::RangeError;

use super::nearest::nearest;

/// The name of the group of every declared host.
pub const ALL: &str = "all";

/// The name of the host that is this machine.
pub const LOCALHOST: &str = "localhost";

/// The hosts and groups a run can name; also the snapshot that a run keeps of them.
///
/// Variables and connection settings are already merged into each host. What is set nearer wins, whole values at a
/// time (maps are not merged): `all`, then parent groups, then child groups, then the host. A group's distance is its
/// longest way from `all`; among equally near groups the alphabetically last wins.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Snapshot", into = "Snapshot")]
pub struct Inventory {
    hosts: Vec<Arc<Host>>,
    groups: BTreeMap<String, Group>,
    index: HashMap<String, usize>,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    hosts: Vec<Arc<Host>>,
    groups: Vec<Group>,
}

impl Inventory {
    /// Puts resolved hosts and groups together; `localhost` is added at the end when it is not among the hosts.
    pub(super) fn new(mut hosts: Vec<Arc<Host>>, groups: BTreeMap<String, Group>) -> Self {
        if !hosts.iter().any(|host| host.name == LOCALHOST) {
            let vars = groups.get(ALL).map(|all| all.vars.clone()).unwrap_or_default();
            hosts.push(Arc::new(Host::local(vars)));
        }
        let index = hosts.iter().enumerate().map(|(index, host)| (host.name.clone(), index)).collect();
        Self { hosts, groups, index }
    }

    /// Returns the host of this exact name.
    pub fn host(&self, name: &str) -> Option<&Arc<Host>> {
        self.index.get(name).map(|index| &self.hosts[*index])
    }

    /// Returns every host in the order of declaration; a `localhost` that nobody declared comes last.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.hosts.iter()
    }

    /// Returns the group of this exact name; `all` is always one.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Returns every group in alphabetical order.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Returns the hosts that a pattern selects, in the order of the inventory, each once.
    ///
    /// The language is Ansible's, see [`PatternError`] for what it refuses: terms joined by `:` or `,` add up, `&term`
    /// keeps only hosts that are also in the term, `!term` takes away; additions come first, then `&`, then `!`,
    /// wherever they stand. A term is the name of a host or group, `all` or `*`, `@group`, a glob (`edge-*`), a range
    /// (`edge-[1:3]`), a subscript of a group or glob (`web[0]`, `web[-1]`, `web[0:2]`, both ends included) or a
    /// regular expression anchored at its start (`~edge-\d+$`). A `localhost` that nobody declared is selected by
    /// its name only.
    pub fn select(&self, pattern: &str) -> Result<Vec<Arc<Host>>, PatternError> {
        let selected = pattern::select(self, pattern)?;
        Ok(selected.into_iter().map(|index| Arc::clone(&self.hosts[index])).collect())
    }

    /// Returns the host or group whose name is closest to a wrong one.
    pub fn nearest(&self, name: &str) -> Option<String> {
        let names =
            self.hosts.iter().map(|host| host.name.as_str()).chain(self.groups.keys().map(String::as_str));
        nearest(name, names).map(str::to_owned)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }
}

impl From<Snapshot> for Inventory {
    fn from(snapshot: Snapshot) -> Self {
        let groups = snapshot.groups.into_iter().map(|group| (group.name.clone(), group)).collect();
        Self::new(snapshot.hosts, groups)
    }
}

impl From<Inventory> for Snapshot {
    fn from(inventory: Inventory) -> Self {
        Self { hosts: inventory.hosts, groups: inventory.groups.into_values().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> Inventory {
        let mut draft = Draft::new(Format::Own);
        draft
            .read_own(
                "hosts: {b: {vars: {x: 1}}, a: {port: 2222}}\ngroups: {web: {hosts: [a, b]}}",
                "hosts.yaml",
            )
            .unwrap();
        draft.finish().unwrap().0
    }

    #[test]
    fn a_snapshot_comes_back_equal() {
        let text = serde_json::to_string(&inventory()).unwrap();
        let again: Inventory = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        assert_eq!(again.host("a").unwrap().connection.port, Some(2222));
        assert_eq!(again.select("web").unwrap().len(), 2);
    }

    #[test]
    fn order_is_declaration_and_localhost_last() {
        let names: Vec<_> = inventory().hosts().map(|host| host.name.clone()).collect();
        assert_eq!(names, ["b", "a", "localhost"]);
        let inventory = inventory();
        assert_eq!(inventory.host(LOCALHOST).unwrap().connection.transport, Transport::Local);
        assert!(inventory.host(LOCALHOST).unwrap().groups.is_empty());
        assert_eq!(inventory.group(ALL).unwrap().hosts, ["b", "a"]);
    }

    #[test]
    fn an_empty_inventory_still_has_localhost() {
        let inventory = Draft::new(Format::Own).finish().unwrap().0;
        assert_eq!(inventory.hosts().count(), 1);
        assert!(inventory.group(ALL).unwrap().hosts.is_empty());
        assert_eq!(inventory.nearest("locahost").as_deref(), Some("localhost"));
    }
}
