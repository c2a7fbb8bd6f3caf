//! What two sections say: without what both say word for word, each thing once, and ordered lists apart.

use std::collections::{HashMap, HashSet};

use super::facts::{Kind, Scope};
use super::tree::Node;
use super::view::{Item, Key};

/// Leaves out what both sides have, word for word.
pub(super) fn cancelled<'t>(
    scope: &'static Scope,
    a: &[&'t Node<'t>],
    b: &[&'t Node<'t>],
) -> (Vec<&'t Node<'t>>, Vec<&'t Node<'t>>) {
    let apart = |nodes: &[&'t Node<'t>]| -> (Vec<&'t Node<'t>>, Vec<&'t Node<'t>>) {
        nodes.iter().filter(|node| !node.is_trivia()).partition(|node| scope.may_be_ordered(&node.head))
    };
    let ((left_lists, left), (right_lists, right)) = (apart(a), apart(b));
    let (mut kept_left, mut kept_right) = differing_lists(&left_lists, &right_lists);
    // Most of it is the same from both ends; what is left in the middle is little.
    let begin = left.iter().zip(&right).take_while(|(a, b)| same(a, b)).count();
    let (x, y) = (&left[begin..], &right[begin..]);
    let end = x.iter().rev().zip(y.iter().rev()).take_while(|(a, b)| same(a, b)).count();
    let (x, y) = unmatched(&x[..x.len() - end], &y[..y.len() - end]);
    // A section may stand there twice, and a line of the middle at an end, too: then all is looked at.
    let heads: HashSet<&str> = x.iter().chain(&y).map(|node| &*node.head).collect();
    let ends = left[..begin].iter().chain(&left[left.len() - end..]);
    let (x, y) = if !heads.is_empty() && ends.into_iter().any(|node| heads.contains(&*node.head)) {
        unmatched(&left, &right)
    } else {
        (x, y)
    };
    kept_left.extend(x);
    kept_right.extend(y);
    (kept_left, kept_right)
}

/// Returns the lines that have no partner on the other side.
fn unmatched<'t>(a: &[&'t Node<'t>], b: &[&'t Node<'t>]) -> (Vec<&'t Node<'t>>, Vec<&'t Node<'t>>) {
    let count = |nodes: &[&'t Node<'t>]| {
        let mut counts: HashMap<&'t str, (u32, &'t Node<'t>)> = HashMap::with_capacity(nodes.len());
        for node in nodes {
            counts.entry(&node.head).or_insert((0, node)).0 += 1;
        }
        counts
    };
    let (left, right) = (count(a), count(b));
    let is_kept = |node: &&'t Node<'t>| match (left.get(&*node.head), right.get(&*node.head)) {
        (Some((x, old)), Some((y, new))) => {
            let is_leaf = old.children.is_empty() && new.children.is_empty() && old.body.is_none();
            !(same(old, new) && (is_leaf || (*x == 1 && *y == 1)))
        }
        _ => true,
    };
    (a.iter().copied().filter(is_kept).collect(), b.iter().copied().filter(is_kept).collect())
}

/// Returns the lines of those lists that are not the same from their first line to their last.
fn differing_lists<'t>(a: &[&'t Node<'t>], b: &[&'t Node<'t>]) -> (Vec<&'t Node<'t>>, Vec<&'t Node<'t>>) {
    if a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)) {
        return (Vec::new(), Vec::new());
    }
    let groups = |nodes: &[&'t Node<'t>]| {
        let mut groups: HashMap<&'t str, Vec<&'t Node<'t>>> = HashMap::new();
        for node in nodes {
            groups.entry(group(&node.head)).or_default().push(node);
        }
        groups
    };
    let (left, right) = (groups(a), groups(b));
    let differs = |node: &&'t Node<'t>| {
        let name = group(&node.head);
        let lines = |groups: &HashMap<&'t str, Vec<&'t Node<'t>>>| groups.get(name).map_or(0, Vec::len);
        lines(&left) != lines(&right) || !left[name].iter().zip(&right[name]).all(|(a, b)| same(a, b))
    };
    let mut known: HashMap<&str, bool> = HashMap::new();
    let mut kept = |nodes: &[&'t Node<'t>]| -> Vec<&'t Node<'t>> {
        let is_kept = |node: &&'t Node<'t>| *known.entry(group(&node.head)).or_insert_with(|| differs(node));
        nodes.iter().copied().filter(is_kept).collect()
    };
    (kept(a), kept(b))
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
