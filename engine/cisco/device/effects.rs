//! What a device checks before a command, and what it does besides.

use super::super::facts::{Kind, Scope, ScopeId, TOP};
use super::super::tree::Node;
use super::super::view::Item;
use super::Device;
use super::lines::begins;
use crate::cisco::Os;
use crate::cisco::facts::ANY;

impl<'a> Device<'a> {
    /// Whether what a line names is there: ASA takes no name of something that is yet to come.
    pub(super) fn refers(&self, path: &[usize], text: &str) -> Result<(), String> {
        if self.tree.os != Os::Asa {
            return Ok(());
        }
        let scope = self.facts.scope(self.scope());
        let words: Vec<&str> = text.split(' ').collect();
        let mut missing = None;
        let mut needs = |kind: &'static str, name: &str| {
            if !is_built_in(name) && !self.is_known(kind, name) && missing.is_none() {
                missing = Some(format!("ERROR: {kind} {name} does not exist"));
            }
        };
        scope.uses(&words, |kind, name| {
            if !matches!(kind, "nameif" | "sla") && !scope.mentions(kind, &words) {
                needs(kind, name);
            }
        });
        if path.is_empty() && matches!(words[0], "access-list" | "nat") {
            for pair in words.windows(2).filter(|pair| matches!(pair[0], "object" | "object-group")) {
                needs("object", pair[1]);
            }
        }
        missing.map_or(Ok(()), Err)
    }

    /// Whether something is there, or is used already, as in the middle of a configuration.
    fn is_known(&self, kind: &str, name: &str) -> bool {
        fn search(device: &Device<'_>, nodes: &[Node<'_>], scope: ScopeId, kind: &str, name: &str) -> bool {
            let rules = device.facts.scope(scope);
            nodes.iter().any(|node| {
                let mut found = None;
                if node.head.contains(name) {
                    let words: Vec<&str> = node.head.split(' ').collect();
                    let mut is_used = false;
                    rules.uses(&words, |used, one| is_used |= used == kind && one == name);
                    if is_used {
                        return true;
                    }
                    found = rules.rule(&words);
                    if let Some((rule, fit)) = &found
                        && rule.defines == Some(kind)
                        && fit.name.or_else(|| words.get(fit.taken).copied()) == Some(name)
                    {
                        return true;
                    }
                }
                if !any_below(&node.children, name) {
                    return false;
                }
                let words: Vec<&str> = node.head.split(' ').collect();
                let inner = found.or_else(|| rules.rule(&words)).map_or(ANY, |(rule, _)| rule.inner);
                search(device, &node.children, inner, kind, name)
            })
        }
        search(self, &self.tree.nodes, TOP, kind, name)
    }

    /// Returns a line that uses something.
    pub(super) fn user(&self, kind: &str, name: &str) -> Option<String> {
        fn search(
            device: &Device<'_>,
            nodes: &[Node<'_>],
            scope: ScopeId,
            kind: &str,
            name: &str,
        ) -> Option<String> {
            let rules = device.facts.scope(scope);
            for node in nodes {
                if node.head.contains(name) {
                    let words: Vec<&str> = node.head.split(' ').collect();
                    let mut is_used = false;
                    rules.uses(&words, |used, one| is_used |= used == kind && one == name);
                    if is_used {
                        return Some(node.head.to_string());
                    }
                }
                if any_below(&node.children, name) {
                    let words: Vec<&str> = node.head.split(' ').collect();
                    let inner = rules.rule(&words).map_or(ANY, |(rule, _)| rule.inner);
                    if let Some(found) = search(device, &node.children, inner, kind, name) {
                        return Some(found);
                    }
                }
            }
            None
        }
        search(self, &self.tree.nodes, TOP, kind, name)
    }

    /// Whether a line may be taken away: not while it is used, where the device minds.
    pub(super) fn may_go(&self, path: &[usize], node: &Node<'a>) -> Result<(), String> {
        let scope = self.facts.scope(self.scope());
        let item = Item::command(scope, &node.head);
        if let Some(rule) = item.rule
            && rule.is_strict
            && let (Some(kind), Some(name)) = (rule.defines, item.name)
            && let Some(user) = self.user(kind, name)
        {
            return Err(format!("unable to remove it: it is used by `{user}`"));
        }
        // ASA: a group that is used must not become empty.
        if self.tree.os == Os::Asa && scope.name == "object-group" && !node.head.starts_with("description") {
            let members = |node: &&Node<'a>| !node.is_trivia() && !node.head.starts_with("description");
            let parent = self.heads().first().cloned().unwrap_or_default();
            let name = parent.split(' ').nth(2).unwrap_or_default().to_owned();
            if self.siblings(path).iter().filter(members).count() == 1
                && let Some(user) = self.user("object", &name)
            {
                return Err(format!("the group would be empty, and it is used by `{user}`"));
            }
        }
        Ok(())
    }

    /// Whether a section cannot be edited: it is one that runs once it is scheduled.
    pub(super) fn is_running(&self, path: &[usize], scope: &'static Scope, item: &Item<'_>) -> bool {
        let Some(rule) = item.rule.filter(|rule| rule.is_frozen) else { return false };
        self.siblings(path).iter().any(|other| {
            let schedule = Item::command(scope, &other.head);
            schedule.name == item.name
                && schedule.rule.is_some_and(|one| one.of.is_some() && one.of == rule.takes)
        })
    }

    /// What goes by itself after something has gone.
    pub(super) fn after_removal(&mut self, path: &[usize], scope: &'static Scope, node: &Node<'a>) {
        let item = Item::command(scope, &node.head);
        let Some(rule) = item.rule else { return };
        if let (Some(family), Some(name)) = (rule.takes, item.name) {
            let (family, name) = (family.to_owned(), name.to_owned());
            let is_of = |other: &Node<'_>| {
                let item = Item::command(scope, &other.head);
                item.rule.is_some_and(|rule| rule.of == Some(&family)) && item.name == Some(&name)
            };
            self.siblings_mut(path).retain(|other| !is_of(other));
        }
        if rule.clears {
            self.without_addresses(path);
        }
        // A name of an interface takes every command with it that has it.
        if rule.defines == Some("nameif")
            && let Some(name) = node.head.split(' ').nth(1)
        {
            let heads = self.heads();
            let rules = self.facts.scope(TOP);
            let uses = |other: &Node<'_>| {
                let words: Vec<&str> = other.head.split(' ').collect();
                let mut is_used = false;
                rules.uses(&words, |kind, one| is_used |= kind == "nameif" && one == name);
                is_used
            };
            self.tree.nodes.retain(|other| !uses(other));
            self.reopen(&heads);
        }
        // VRF: its members are in none any more, and have no address.
        if rule.defines == Some("vrf")
            && let Some(name) = item.name
        {
            let (a, b) = (format!("vrf forwarding {name}"), format!("ip vrf forwarding {name}"));
            for node in &mut self.tree.nodes {
                if node.children.iter().any(|child| *child.head == a || *child.head == b) {
                    node.children
                        .retain(|child| *child.head != a && *child.head != b && !is_address(&child.head));
                }
            }
        }
    }

    /// Removes the addresses of an interface.
    pub(super) fn without_addresses(&mut self, path: &[usize]) {
        self.siblings_mut(path).retain(|node| !is_address(&node.head));
    }

    /// Whether another interface has the address already.
    pub(super) fn overlaps(&self, path: &[usize], text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split(' ').collect();
        let Some(address) = words.get(2).filter(|word| word.contains('.')) else { return Ok(()) };
        let own = path.first().copied();
        let vrf = |node: &Node<'_>| {
            let line = node.children.iter().find(|child| child.head.contains("vrf forwarding "));
            line.and_then(|child| child.head.split(' ').next_back().map(str::to_owned))
        };
        let ours = own.and_then(|at| vrf(&self.tree.nodes[at]));
        for (at, node) in self.tree.nodes.iter().enumerate() {
            if Some(at) == own || !node.head.starts_with("interface ") || vrf(node) != ours {
                continue;
            }
            let has = |child: &Node<'_>| {
                child.head.starts_with("ip address ") && child.head.split(' ').nth(2) == Some(address)
            };
            if node.children.iter().any(has) {
                return Err(format!(
                    "% {address} overlaps with {}",
                    node.head.trim_start_matches("interface ")
                ));
            }
        }
        Ok(())
    }

    /// Removes the bindings of an access list that is gone.
    pub(super) fn unbound(&mut self, name: &str) {
        let scope = self.facts.scope(TOP);
        let is_bound = |node: &Node<'_>| {
            begins(&node.head, "access-group")
                && node.head.split(' ').nth(1) == Some(name)
                && Item::command(scope, &node.head).kind() == Kind::Single
        };
        self.tree.nodes.retain(|node| !is_bound(node));
    }
}

/// Whether a name stands anywhere in some lines, or below them.
fn any_below(nodes: &[Node<'_>], name: &str) -> bool {
    nodes.iter().any(|node| node.head.contains(name) || any_below(&node.children, name))
}

fn is_address(head: &str) -> bool {
    head.starts_with("ip address ") || head.starts_with("ipv6 address ")
}

/// Names that every device has.
pub(crate) fn is_built_in(name: &str) -> bool {
    matches!(
        name,
        "any"
            | "any4"
            | "any6"
            | "class-default"
            | "DfltGrpPolicy"
            | "global_policy"
            | "inspection_default"
            | "LOCAL"
            | "none"
    ) || name.starts_with("_default")
        || name.starts_with("preset_")
        || name.starts_with("ESP-")
        || name == "migrated_dns_map_1"
}
