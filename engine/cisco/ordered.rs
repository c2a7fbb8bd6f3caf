//! Differences of ordered lists, as commands.

use std::collections::HashSet;

use super::compare::Change;
use super::facts::Rule;
use super::items::AFTER;
use super::lists::{self, Entry, Step};
use super::tree::Node;

/// A difference between two states of an ordered list.
#[derive(Debug, Clone)]
pub(super) struct ListChange<'t> {
    /// Its name, for people.
    pub(super) name: String,
    /// Its rule.
    pub(super) rule: &'static Rule,
    /// What to enter: how deep, and what.
    pub(super) commands: Vec<(usize, String)>,
    /// Lines that come.
    pub(super) comes: Vec<&'t Node<'t>>,
    /// Lines that go.
    pub(super) goes: Vec<&'t Node<'t>>,
    /// Whether the list is there before, and whether it is there afterwards.
    pub(super) is_there: (bool, bool),
}

pub(super) fn entries(nodes: &[&Node<'_>], begin: &str) -> Vec<Entry> {
    let lines = nodes.iter().filter(|node| !node.is_trivia());
    lines.filter_map(|node| node.head.strip_prefix(begin)).map(Entry::read).collect()
}

/// The change of an access list of IOS below its header.
pub(super) fn edited<'t>(
    rule: &'static Rule,
    header: &str,
    name: &str,
    old: &[&'t Node<'t>],
    new: &[&'t Node<'t>],
    left: &[Entry],
    right: &[Entry],
) -> Option<Change<'t>> {
    if lists::same(left, right) {
        return None;
    }
    let edit = lists::numbered(left, right);
    let mut commands = Vec::new();
    if let Some((first, step)) = edit.resequence {
        commands.push((0, format!("ip access-list resequence {name} {first} {step}")));
    }
    commands.push((0, header.to_owned()));
    commands.extend(edit.lines.into_iter().map(|line| (1, line)));
    Some(Change::List(ListChange {
        name: name.to_owned(),
        rule,
        commands,
        comes: new.to_vec(),
        goes: old.to_vec(),
        is_there: (true, true),
    }))
}

pub(super) fn counted<'t>(
    rule: &'static Rule,
    name: &str,
    goes: Vec<&'t Node<'t>>,
    comes: Vec<&'t Node<'t>>,
    begin: &str,
    line: fn(&str, Option<usize>, &str) -> String,
) -> Option<ListChange<'t>> {
    let text = |node: &&'t Node<'t>| -> &'t str { node.head.strip_prefix(begin).unwrap_or(&node.head) };
    let old: Vec<&str> = goes.iter().map(text).collect();
    let mut seen = HashSet::new();
    // A device has an entry once, but remarks as often as they are entered.
    let new: Vec<&str> = comes
        .iter()
        .map(text)
        .filter(|text| text.starts_with("remark ") || seen.insert(lists::identity(text)))
        .collect();
    if old == new {
        return None;
    }
    let command = |step: Step| match step {
        Step::Insert(place, text) | Step::Renew(place, text) => line(name, Some(place), &text),
        Step::Append(text) => line(name, None, &text),
        // The same remark may be there twice.
        Step::Delete(place, text) if text.starts_with("remark ") => {
            format!("no {}", line(name, Some(place), &text))
        }
        Step::Delete(_, text) => format!("no {}", line(name, None, &text)),
    };
    let commands = lists::counted(&old, &new).into_iter().map(|step| (0, command(step))).collect();
    let is_there = (!goes.is_empty(), !comes.is_empty());
    Some(ListChange { name: name.to_owned(), rule, commands, comes, goes, is_there })
}

pub(super) fn asa_line(name: &str, place: Option<usize>, text: &str) -> String {
    match place {
        Some(place) => format!("access-list {name} line {place} {text}"),
        None => format!("access-list {name} {text}"),
    }
}

/// A rule of NAT with its place: `nat (a,b) 3 source …`, `nat (a,b) after-auto 3 source …`.
pub(super) fn nat_line(_name: &str, place: Option<usize>, text: &str) -> String {
    let Some(place) = place else { return format!("nat {text}") };
    let mut words = text.splitn(3, ' ');
    let (interfaces, second, rest) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if second == AFTER {
        format!("nat {interfaces} {AFTER} {place} {rest}")
    } else {
        format!("nat {interfaces} {place} {second} {rest}")
    }
}
