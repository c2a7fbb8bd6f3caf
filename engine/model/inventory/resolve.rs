//! From a draft to an inventory: membership, order of groups, variables and connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::draft::{Draft, Format, Layer};
use super::error::{Error, Problem};
use super::{ALL, Connection, Group, Host, Inventory, LOCALHOST, Transport, ansible};
use crate::model::nearest::nearest;

impl Draft {
    /// Resolves everything and returns the inventory with what the reader should know.
    pub fn finish(mut self) -> Result<(Inventory, Vec<String>), Error> {
        self.place_hosts_in_groups()?;
        self.check_names()?;
        let mut notes = ansible::Notes::default();
        let ranks = Ranks::of(&self)?;
        let members = self.members(&ranks);

        let mut groups_of: Vec<Vec<&str>> = vec![Vec::new(); self.hosts.len()];
        for name in &ranks.order {
            for host in &members[name.as_str()] {
                groups_of[*host].push(name);
            }
        }
        let mut hosts = Vec::with_capacity(self.hosts.len());
        for (index, groups) in groups_of.iter().enumerate() {
            hosts.push(self.host_of(index, groups, &mut notes));
        }
        self.check_jumps(&hosts)?;
        let mut warnings = self.warnings.clone();
        warnings.extend(notes.into_lines());

        let groups = ranks
            .order
            .iter()
            .map(|name| (name.clone(), self.group_of(name, &members[name.as_str()], &ranks)));
        let groups: BTreeMap<String, Group> = groups.collect();
        Ok((Inventory::new(hosts.into_iter().map(Arc::new).collect(), groups), warnings))
    }

    fn place_hosts_in_groups(&mut self) -> Result<(), Error> {
        for host in &self.hosts {
            for (name, place) in &host.groups {
                let Some(group) = self.groups.get_mut(name) else {
                    let known = self.groups.keys().map(String::as_str);
                    let problem = Problem::UnknownGroup {
                        by: format!("host `{}`", host.name),
                        group: name.clone(),
                        nearest: nearest(name, known).map(str::to_owned),
                    };
                    return Err(Error::at(place, problem));
                };
                group.hosts.push((host.name.clone(), place.clone()));
            }
        }
        if self.format == Format::Ansible {
            let in_groups: BTreeSet<&str> = self
                .groups
                .iter()
                .filter(|(name, _)| *name != ALL)
                .flat_map(|(_, group)| &group.hosts)
                .map(|(host, _)| host.as_str())
                .collect();
            let alone: Vec<_> = self
                .hosts
                .iter()
                .filter(|host| !in_groups.contains(host.name.as_str()))
                .map(|host| (host.name.clone(), host.place.clone()))
                .collect();
            let place = self.groups[ALL].place.clone();
            self.group("ungrouped", &place).hosts = alone;
        }
        Ok(())
    }

    fn check_names(&mut self) -> Result<(), Error> {
        for (name, group) in &self.groups {
            for (child, place) in &group.children {
                if child == ALL {
                    return Err(Error::at(
                        place,
                        Problem::GroupCycle { chain: format!("{ALL} > {name} > {ALL}") },
                    ));
                }
                if !self.groups.contains_key(child) {
                    let known = self.groups.keys().map(String::as_str);
                    let problem = Problem::UnknownGroup {
                        by: format!("group `{name}`"),
                        group: child.clone(),
                        nearest: nearest(child, known).map(str::to_owned),
                    };
                    return Err(Error::at(place, problem));
                }
            }
            for (host, place) in &group.hosts {
                if !self.index.contains_key(host) {
                    let known = self.hosts.iter().map(|host| host.name.as_str());
                    let problem = Problem::UnknownHost {
                        group: name.clone(),
                        host: host.clone(),
                        nearest: nearest(host, known).map(str::to_owned),
                    };
                    return Err(Error::at(place, problem));
                }
            }
            let Some(host) = self.index.get(name) else { continue };
            match self.format {
                Format::Own => {
                    let place = if name == ALL { &self.hosts[*host].place } else { &group.place };
                    return Err(Error::at(place, Problem::SharedName { name: name.clone() }));
                }
                Format::Ansible => {
                    self.warnings
                        .push(format!("`{name}` is both a host and a group: patterns mean the group"));
                }
            }
        }
        Ok(())
    }

    /// Returns the hosts of each group, children included, as ascending positions.
    fn members(&self, ranks: &Ranks) -> BTreeMap<&str, BTreeSet<usize>> {
        let mut members: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        // Children lie deeper than their parents, so they are complete when a parent needs them.
        for name in ranks.order.iter().rev() {
            let (name, group) = self.groups.get_key_value(name).expect("the order holds declared groups");
            let mut hosts: BTreeSet<usize> = group.hosts.iter().map(|(host, _)| self.index[host]).collect();
            for (child, _) in &group.children {
                hosts.extend(&members[child.as_str()]);
            }
            if name == ALL {
                hosts = (0..self.hosts.len()).collect();
            }
            members.insert(name, hosts);
        }
        members
    }

    fn group_of(&self, name: &str, members: &BTreeSet<usize>, ranks: &Ranks) -> Group {
        let draft = &self.groups[name];
        let children: BTreeSet<&String> = if name == ALL {
            ranks.depth.iter().filter(|(_, depth)| **depth == 1).map(|(name, _)| name).collect()
        } else {
            draft.children.iter().map(|(child, _)| child).collect()
        };
        let mut vars = Map::new();
        lay(&mut vars, &draft.vars);
        lay(&mut vars, &draft.file_vars);
        if self.format == Format::Ansible {
            vars.retain(|key, value| ansible::may_stay(key, value));
        }
        Group {
            name: name.to_owned(),
            hosts: members.iter().map(|index| self.hosts[*index].name.clone()).collect(),
            children: children.into_iter().cloned().collect(),
            vars,
        }
    }

    fn host_of(&self, index: usize, groups: &[&str], notes: &mut ansible::Notes) -> Host {
        let draft = &self.hosts[index];
        let layers = || groups.iter().map(|name| &self.groups[*name]);
        let mut vars = Map::new();
        for layer in layers().map(|group| &group.vars).chain(layers().map(|group| &group.file_vars)) {
            lay(&mut vars, layer);
        }
        lay(&mut vars, &draft.vars);
        lay(&mut vars, &draft.file_vars);

        let mut settings = Map::new();
        for group in layers() {
            lay(&mut settings, &group.settings);
        }
        // A bastion in a group that goes through it is reached directly.
        if names_itself(&settings, &draft.name) {
            settings.remove("jump");
        }
        lay(&mut settings, &draft.settings);
        if self.format == Format::Ansible {
            settings.extend(ansible::settings(&draft.name, &mut vars, notes));
            if names_itself(&settings, &draft.name) {
                settings.remove("jump");
            }
        }
        let is_here = draft.name == LOCALHOST
            && !settings.contains_key("transport")
            && !settings.contains_key("address");
        let mut connection: Connection =
            serde_json::from_value(Value::Object(settings)).expect("settings are checked when they are read");
        if is_here {
            connection.transport = Transport::Local;
        }
        let groups: BTreeSet<String> = groups.iter().map(|name| (*name).to_owned()).collect();
        let groups = Arc::new(groups);
        Host { name: draft.name.clone(), connection, vars, groups }
    }

    fn check_jumps(&self, hosts: &[Host]) -> Result<(), Error> {
        for (start, host) in hosts.iter().enumerate() {
            let mut chain = vec![start];
            let mut next = host.connection.jump.first();
            while let Some(index) = next.and_then(|name| self.index.get(name)) {
                let has_closed = chain.contains(index);
                chain.push(*index);
                if has_closed {
                    let place = self.hosts[start]
                        .settings
                        .get("jump")
                        .map_or(&self.hosts[start].place, |placed| &placed.place);
                    let names: Vec<&str> = chain.iter().map(|index| hosts[*index].name.as_str()).collect();
                    return Err(Error::at(place, Problem::JumpCycle { chain: names.join(" > ") }));
                }
                next = hosts[*index].connection.jump.first();
            }
        }
        Ok(())
    }
}

fn lay(values: &mut Map<String, Value>, layer: &Layer) {
    for (key, placed) in layer {
        values.insert(key.clone(), placed.value.clone());
    }
}

fn names_itself(settings: &Map<String, Value>, name: &str) -> bool {
    settings.get("jump").and_then(Value::as_array).is_some_and(|jump| jump.iter().any(|hop| hop == name))
}

/// How far each group lies from `all`, and the order in which their values are laid over each other.
struct Ranks {
    depth: BTreeMap<String, usize>,
    order: Vec<String>,
}

impl Ranks {
    fn of(draft: &Draft) -> Result<Self, Error> {
        let mut waiting: BTreeMap<&str, usize> = draft.groups.keys().map(|name| (name.as_str(), 0)).collect();
        for (_, group) in draft.groups.iter().filter(|(name, _)| *name != ALL) {
            for (child, _) in &group.children {
                *waiting.get_mut(child.as_str()).expect("children are declared") += 1;
            }
        }
        let mut depth: BTreeMap<String, usize> = BTreeMap::from([(ALL.to_owned(), 0)]);
        let mut ready: Vec<&str> = Vec::new();
        for (name, parents) in &waiting {
            if *parents == 0 && *name != ALL {
                depth.insert((*name).to_owned(), 1);
                ready.push(name);
            }
        }
        let mut done = BTreeSet::from([ALL]);
        while let Some(name) = ready.pop() {
            done.insert(name);
            let below = depth[name] + 1;
            for (child, _) in &draft.groups[name].children {
                let child_depth = depth.entry(child.clone()).or_insert(below);
                *child_depth = below.max(*child_depth);
                let parents = waiting.get_mut(child.as_str()).expect("children are declared");
                *parents -= 1;
                if *parents == 0 {
                    ready.push(child);
                }
            }
        }
        if let Some(stuck) = draft.groups.keys().find(|name| !done.contains(name.as_str())) {
            return Err(cycle(draft, stuck, &done));
        }
        let mut order: Vec<String> = draft.groups.keys().cloned().collect();
        order.sort_by_key(|name| (depth[name], priority(draft, name), name.clone()));
        Ok(Self { depth, order })
    }
}

/// Returns Ansible's `ansible_group_priority`, which orders groups of equal depth; 1 when not set.
fn priority(draft: &Draft, name: &str) -> i64 {
    let group = &draft.groups[name];
    let placed =
        group.file_vars.get("ansible_group_priority").or_else(|| group.vars.get("ansible_group_priority"));
    match placed.map(|placed| &placed.value) {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(1),
        Some(Value::String(text)) => text.parse().unwrap_or(1),
        Some(_) | None => 1,
    }
}

/// Walks from a group that cannot be ranked, through groups that cannot, until one comes again.
fn cycle(draft: &Draft, stuck: &str, done: &BTreeSet<&str>) -> Error {
    let mut chain = vec![stuck];
    loop {
        let last = chain[chain.len() - 1];
        // Each stuck group has a stuck parent: the walk goes upwards and cannot end.
        let (parent, group) = draft
            .groups
            .iter()
            .find(|(name, group)| {
                !done.contains(name.as_str()) && group.children.iter().any(|(child, _)| child == last)
            })
            .expect("a group that cannot be ranked has a parent that cannot either");
        let place =
            &group.children.iter().find(|(child, _)| child == last).expect("it was found by its child").1;
        if let Some(start) = chain.iter().position(|name| name == parent) {
            let mut names: Vec<&str> = chain[start..].to_vec();
            names.reverse();
            names.insert(0, names[names.len() - 1]);
            return Error::at(place, Problem::GroupCycle { chain: names.join(" > ") });
        }
        chain.push(parent);
    }
}
