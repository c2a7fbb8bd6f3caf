//! An inventory in the making: what the files declare, before anything is resolved.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::ALL;
use super::error::{Error, Place, Problem};
use crate::model::yaml::{Content, Node};

/// Whose rules apply to the declarations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Ours: everything is declared, and two declarations that disagree are an error.
    Own,
    /// Ansible's: groups spring into being when named, and the later value wins.
    Ansible,
}

impl Format {
    /// Tells the formats of a YAML inventory apart; `None` when it is empty.
    ///
    /// Ansible's has groups at its top: one of them is `all` or `ungrouped`, or each is a mapping of nothing but
    /// `hosts`, `children` and `vars`. Everything else is ours, so that a misspelt key of ours is named as such.
    pub fn of(root: &Node) -> Option<Self> {
        if root.is_null() {
            return None;
        }
        let Content::Map(entries) = &root.content else { return Some(Self::Own) };
        let holds = |names: &[&str]| entries.iter().any(|(key, _)| names.contains(&key.text.as_str()));
        let is_ansible = holds(&[ALL, "ungrouped"])
            || (!holds(&["hosts", "groups", "vars"])
                && entries.iter().all(|(_, node)| is_ansible_group(node)));
        Some(if is_ansible { Self::Ansible } else { Self::Own })
    }
}

fn is_ansible_group(node: &Node) -> bool {
    match &node.content {
        Content::Map(entries) => {
            entries.iter().all(|(key, _)| ["hosts", "children", "vars"].contains(&key.text.as_str()))
        }
        Content::Scalar(_) => node.is_null(),
        Content::List(_) => false,
    }
}

/// Hosts and groups as declared so far.
///
/// In our format the order of files only decides the order of hosts: members and variables of one host or group add
/// up over all files, and a key with two different values is an error that names both places. In Ansible's the
/// later value wins, as there.
#[derive(Debug)]
pub struct Draft {
    pub(super) format: Format,
    pub(super) hosts: Vec<HostDraft>,
    pub(super) index: HashMap<String, usize>,
    pub(super) groups: BTreeMap<String, GroupDraft>,
    pub(super) warnings: Vec<String>,
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Values by key, all of one rank.
pub(super) type Layer = BTreeMap<String, Placed>;

#[derive(Debug)]
pub(super) struct HostDraft {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) settings: Layer,
    pub(super) vars: Layer,
    /// From `host_vars/`: beats `vars`.
    pub(super) file_vars: Layer,
    pub(super) groups: Vec<(String, Place)>,
}

#[derive(Debug)]
pub(super) struct GroupDraft {
    pub(super) place: Place,
    pub(super) settings: Layer,
    pub(super) vars: Layer,
    /// From `group_vars/`: beats the `vars` of every group.
    pub(super) file_vars: Layer,
    pub(super) hosts: Vec<(String, Place)>,
    pub(super) children: Vec<(String, Place)>,
}

impl Draft {
    /// Makes an empty draft.
    pub fn new(format: Format) -> Self {
        let place = Place { file: "".into(), line: 0, column: 0 };
        let mut draft = Self {
            format,
            hosts: Vec::new(),
            index: HashMap::new(),
            groups: BTreeMap::new(),
            warnings: Vec::new(),
        };
        draft.group(ALL, &place);
        if format == Format::Ansible {
            draft.group("ungrouped", &place);
        }
        draft
    }

    /// Returns the host of this name, declared now if it was not.
    pub(super) fn host(&mut self, name: &str, place: &Place) -> &mut HostDraft {
        let index = self.index.get(name).copied().unwrap_or_else(|| {
            self.hosts.push(HostDraft {
                name: name.to_owned(),
                place: place.clone(),
                settings: Layer::new(),
                vars: Layer::new(),
                file_vars: Layer::new(),
                groups: Vec::new(),
            });
            self.index.insert(name.to_owned(), self.hosts.len() - 1);
            self.hosts.len() - 1
        });
        &mut self.hosts[index]
    }

    /// Returns the group of this name, declared now if it was not.
    pub(super) fn group(&mut self, name: &str, place: &Place) -> &mut GroupDraft {
        self.groups.entry(name.to_owned()).or_insert_with(|| GroupDraft {
            place: place.clone(),
            settings: Layer::new(),
            vars: Layer::new(),
            file_vars: Layer::new(),
            hosts: Vec::new(),
            children: Vec::new(),
        })
    }
}

/// Adds a value to a layer; a different value under the same key is a conflict in our format.
pub(super) fn set(
    layer: &mut Layer,
    format: Format,
    owner: &str,
    key: &str,
    placed: Placed,
) -> Result<(), Error> {
    match layer.get(key) {
        Some(first) if format == Format::Own && first.value != placed.value => {
            let problem = Problem::Conflict {
                owner: owner.to_owned(),
                key: key.to_owned(),
                first: first.place.to_string(),
            };
            Err(Error::at(&placed.place, problem))
        }
        Some(_) if format == Format::Own => Ok(()),
        Some(_) | None => {
            layer.insert(key.to_owned(), placed);
            Ok(())
        }
    }
}
