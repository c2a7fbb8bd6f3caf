//! What two sections say: without what both say word for word, each thing once, and ordered lists apart.

use std::collections::HashMap;

use super::facts::{Kind, Scope};
use super::tree::Node;
use super::view::{Item, Key};

/// Leaves out what both sides have, word for word.
pub(super) fn cancelled<'t>(
    scope: &'static Scope,
    a: &[&'t Node<'t>],
    b: &[&'t Node<'t>],
) -> (Vec<&'t Node<'t>>, Vec<&'t Node<'t>>) {
    let count = |nodes: &[&'t Node<'t>]| {
        let mut counts: HashMap<&'t str, (u32, &'t Node<'t>)> = HashMap::with_capacity(nodes.len());
        for node in nodes.iter().filter(|node| !node.is_trivia()) {
            counts.entry(&node.head).or_insert((0, node)).0 += 1;
        }
        counts
    };
    let (left, right) = (count(a), count(b));
    // Lists that are the same from their first line to their last.
    let groups = |nodes: &[&'t Node<'t>]| {
        let mut groups: HashMap<&'t str, Vec<&'t Node<'t>>> = HashMap::new();
        for node in nodes.iter().copied().filter(|node| !node.is_trivia() && scope.may_be_ordered(&node.head))
        {
            groups.entry(group(&node.head)).or_default().push(node);
        }
        groups
    };
    let (left_lists, right_lists) = (groups(a), groups(b));
    let is_same_list: HashMap<&str, bool> = left_lists
        .iter()
        .map(|(name, lines)| {
            let other = right_lists.get(name).map_or(&[][..], Vec::as_slice);
            (*name, lines.len() == other.len() && lines.iter().zip(other).all(|(a, b)| same(a, b)))
        })
        .collect();
    let is_kept = |node: &'t Node<'t>| {
        if node.is_trivia() {
            return false;
        }
        if !left_lists.is_empty() && scope.may_be_ordered(&node.head) {
            return !is_same_list.get(group(&node.head)).copied().unwrap_or_default();
        }
        match (left.get(&*node.head), right.get(&*node.head)) {
            (Some((x, old)), Some((y, new))) => {
                let is_leaf = old.children.is_empty() && new.children.is_empty() && old.body.is_none();
                !(same(old, new) && (is_leaf || (*x == 1 && *y == 1)))
            }
            _ => true,
        }
    };
    (
        a.iter().copied().filter(|node| is_kept(node)).collect(),
        b.iter().copied().filter(|node| is_kept(node)).collect(),
    )
}

/// The words that lines of one list have in common: `access-list outside_in`, `nat`, `class`.
fn group(head: &str) -> &str {
    if head.starts_with("nat ") || head.starts_with("class ") {
        return head.split(' ').next().unwrap_or_default();
    }
    head.match_indices(' ').nth(1).map_or(head, |(at, _)| &head[..at])
}

/// Whether two lines and what stands below them are the same, but for comments.
fn same(a: &Node<'_>, b: &Node<'_>) -> bool {
    if a.head != b.head || a.body != b.body {
        return false;
    }
    let (mut left, mut right) = (
        a.children.iter().filter(|node| !node.is_trivia()),
        b.children.iter().filter(|node| !node.is_trivia()),
    );
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if same(a, b) => {}
            _ => return false,
        }
    }
}

/// The things that a section says, each once, in order.
pub(super) struct Items<'t> {
    pub(super) items: Vec<Item<'t>>,
    by_key: HashMap<Key, usize>,
}

/// What rules of NAT that stand behind those of objects are called.
pub(super) const AFTER: &str = "after-auto";

impl<'t> Items<'t> {
    pub(super) fn read(scope: &'static Scope, nodes: &[&'t Node<'t>]) -> Self {
        let mut all =
            Self { items: Vec::with_capacity(nodes.len()), by_key: HashMap::with_capacity(nodes.len()) };
        for node in nodes {
            let Some(item) = Item::read(scope, node) else { continue };
            match all.by_key.get(&item.key) {
                Some(&at) if item.kind() == Kind::Section => all.items[at].nodes.push(node),
                // ASA may have the same remark twice.
                Some(_) if item.kind() == Kind::List => all.items.push(item),
                Some(&at) => all.items[at] = item,
                None => {
                    all.by_key.insert(item.key.clone(), all.items.len());
                    all.items.push(item);
                }
            }
        }
        all
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Item<'t>> {
        self.by_key.get(key).map(|at| &self.items[*at])
    }

    fn take(&mut self, is_taken: impl Fn(&Item<'t>) -> bool) -> Vec<Item<'t>> {
        let (taken, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.items).into_iter().partition(is_taken);
        if taken.is_empty() {
            self.items = rest;
            return taken;
        }
        self.by_key = rest.iter().enumerate().map(|(at, item)| (item.key.clone(), at)).collect();
        self.items = rest;
        taken
    }

    pub(super) fn take_lists(&mut self, names: &mut Vec<String>) -> HashMap<String, Vec<Item<'t>>> {
        grouped(self.take(|item| item.kind() == Kind::List), names, |item| {
            match item.rule.map(|rule| rule.list) {
                Some("nat") => {
                    let is_after = item.text.split(' ').nth(2) == Some(AFTER);
                    (if is_after { AFTER } else { "nat" }).to_owned()
                }
                _ => item.name.unwrap_or_default().to_owned(),
            }
        })
    }

    pub(super) fn take_section(&mut self, name: &str) -> Option<Item<'t>> {
        let is_it = |item: &Item<'t>| {
            item.kind() == Kind::Section
                && item.name == Some(name)
                && item.rule.is_some_and(|rule| rule.list == "ios")
        };
        self.take(is_it).pop()
    }

    pub(super) fn take_tails(&mut self, names: &mut Vec<String>) -> HashMap<String, Vec<Item<'t>>> {
        let is_tail = |item: &Item<'t>| {
            item.rule.is_some_and(|rule| rule.is_tail) && item.name != Some("class-default")
        };
        grouped(self.take(is_tail), names, |item| match item.kind() {
            Kind::Section => item.rule.map(|rule| rule.inner.0.to_string()).unwrap_or_default(),
            _ => item.prefix().to_owned(),
        })
    }
}

fn grouped<'t>(
    items: Vec<Item<'t>>,
    names: &mut Vec<String>,
    name: impl Fn(&Item<'t>) -> String,
) -> HashMap<String, Vec<Item<'t>>> {
    let mut groups: HashMap<String, Vec<Item<'t>>> = HashMap::new();
    for item in items {
        let name = name(&item);
        if !names.contains(&name) {
            names.push(name.clone());
        }
        groups.entry(name).or_default().push(item);
    }
    groups
}
