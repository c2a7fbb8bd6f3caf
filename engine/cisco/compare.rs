//! What differs between two configurations, section by section, by what lines mean.

use std::collections::HashSet;

use super::facts::{ANY, Kind, Rule, Scope};
use super::items::{Items, cancelled};
use super::lists::{self, Entry};
use super::ordered::{ListChange, asa_line, counted, edited, entries, nat_line};
use super::plan::Note;
use super::tree::Node;
use super::view::{Item, Key, same_but_masked};
use super::{Os, facts::Facts};

/// One difference.
#[derive(Debug, Clone)]
pub(super) enum Change<'t> {
    /// It is to be there and is not.
    Add(Item<'t>),
    /// It is there and is not to be.
    Remove(Item<'t>),
    /// It is to have another value.
    Set(Item<'t>, Item<'t>),
    /// Something below it differs, or its header.
    Inside(Item<'t>, Item<'t>, Vec<Change<'t>>),
    /// It cannot be edited: it goes and comes again.
    Remake(Item<'t>, Item<'t>),
    /// All lines that begin with a word and a name go at once.
    Family(&'static str, &'t str, Vec<&'t Node<'t>>),
    /// An ordered list.
    List(ListChange<'t>),
}

/// Compares two configurations of one platform.
pub(super) struct Comparison {
    pub(super) facts: &'static Facts,
    pub(super) notes: Vec<Note>,
    /// The sections that are being compared.
    path: Vec<String>,
}

impl Comparison {
    pub(super) fn new(os: Os) -> Self {
        Self { facts: Facts::of(os), notes: Vec::new(), path: Vec::new() }
    }

    fn note(&mut self, line: &str, text: &str) {
        let mut words = self.path.clone();
        words.push(line.to_owned());
        let note = Note { line: words.join(" / "), text: text.to_owned() };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Compares the lines of a section. `gone` are families that went with the section around.
    pub(super) fn section<'t>(
        &mut self,
        scope: &'static Scope,
        a: &[&'t Node<'t>],
        b: &[&'t Node<'t>],
        gone: &[(&'static str, &'t str)],
    ) -> Vec<Change<'t>> {
        let (left, right) = cancelled(scope, a, b);
        if left.is_empty() && right.is_empty() {
            return Vec::new();
        }
        let (mut old, mut new) = (Items::read(scope, &left), Items::read(scope, &right));
        let mut changes = Vec::new();
        self.lists(&mut old, &mut new, &mut changes);
        self.tails(&mut old, &mut new, &mut changes);
        let mut gone = gone.to_vec();
        families(scope, &old, a, b, &mut gone, &mut changes);
        for item in &new.items {
            let Some(before) = old.get(&item.key) else {
                changes.push(Change::Add(item.clone()));
                continue;
            };
            match item.kind() {
                Kind::Section => changes.extend(self.sections(before, item, &gone)),
                Kind::Vlans if !item.is_off && !before.is_off && same_numbers(before, item) => {}
                _ if before.says_the_same(item) => {
                    if before.text != item.text {
                        self.note(&masked(item, before), MASKED);
                    }
                    // What no rule knows as a section is compared all the same.
                    let (old, new) = (before.children(), item.children());
                    let inside = self.below(item.line(), self.facts.scope(ANY), &old, &new);
                    if !inside.is_empty() {
                        changes.push(Change::Inside(before.clone(), item.clone(), inside));
                    }
                }
                Kind::Single | Kind::Replaces if before.is_masked() || item.is_masked() => {
                    self.note(&masked(item, before), MASKED);
                }
                _ => changes.push(Change::Set(before.clone(), item.clone())),
            }
        }
        for item in &old.items {
            let words = item
                .text
                .split_once(' ')
                .map(|(word, rest)| (word, rest.split(' ').next().unwrap_or_default()));
            let is_gone = words.is_some_and(|words| gone.iter().any(|known| (known.0, known.1) == words));
            if new.get(&item.key).is_none() && !is_gone {
                changes.push(Change::Remove(item.clone()));
            }
        }
        self.unmask(&mut changes);
        taken_along(&mut changes);
        remade(scope, b, &mut changes);
        addressed(scope, b, &mut changes);
        changes
    }

    fn sections<'t>(
        &mut self,
        before: &Item<'t>,
        after: &Item<'t>,
        gone: &[(&'static str, &'t str)],
    ) -> Option<Change<'t>> {
        let rule = after.rule?;
        let inner = self.facts.scope(rule.inner);
        let (old, new) = (before.children(), after.children());
        if inner.is_list() {
            return self.access_list(rule, before, after);
        }
        self.path.push(after.line());
        let changes = self.section(inner, &old, &new, gone);
        self.path.pop();
        let is_other = before.is_off != after.is_off || before.text != after.text;
        if changes.is_empty() && !is_other {
            return None;
        }
        if rule.is_frozen {
            return Some(Change::Remake(before.clone(), after.clone()));
        }
        Some(Change::Inside(before.clone(), after.clone(), changes))
    }

    /// An access list of IOS that is a section on both sides.
    fn access_list<'t>(
        &mut self,
        rule: &'static Rule,
        before: &Item<'t>,
        after: &Item<'t>,
    ) -> Option<Change<'t>> {
        let (old, new) = (before.children(), after.children());
        edited(
            rule,
            &after.line(),
            after.name.unwrap_or_default(),
            &old,
            &new,
            &entries(&old, ""),
            &entries(&new, ""),
        )
    }

    /// Takes the ordered lists out of what is to be compared line by line.
    fn lists<'t>(&mut self, old: &mut Items<'t>, new: &mut Items<'t>, changes: &mut Vec<Change<'t>>) {
        let mut names: Vec<String> = Vec::new();
        let (a, b) = (old.take_lists(&mut names), new.take_lists(&mut names));
        for name in names {
            let (old_lines, new_lines) = (a.get(&name), b.get(&name));
            let Some(rule) =
                new_lines.or(old_lines).and_then(|lines| lines.first()).and_then(|item| item.rule)
            else {
                continue;
            };
            let nodes = |lines: Option<&Vec<Item<'t>>>| -> Vec<&'t Node<'t>> {
                lines.into_iter().flatten().flat_map(|item| item.nodes.iter().copied()).collect()
            };
            let (goes, comes) = (nodes(old_lines), nodes(new_lines));
            let change = match rule.list {
                "asa" => counted(rule, &name, goes, comes, &format!("access-list {name} "), asa_line),
                "nat" => counted(rule, &name, goes, comes, "nat ", nat_line),
                _ => self.flat(rule, &name, goes, comes, old, new),
            };
            changes.extend(change.map(Change::List));
        }
    }

    /// A numbered access list of IOS, printed a line an entry; the other side may have it as a section.
    fn flat<'t>(
        &mut self,
        rule: &'static Rule,
        name: &str,
        goes: Vec<&'t Node<'t>>,
        comes: Vec<&'t Node<'t>>,
        old: &mut Items<'t>,
        new: &mut Items<'t>,
    ) -> Option<ListChange<'t>> {
        let begin = format!("access-list {name} ");
        let section = |items: &mut Items<'t>| items.take_section(name);
        let mut change = ListChange {
            name: name.to_owned(),
            rule,
            commands: Vec::new(),
            is_there: (true, true),
            goes,
            comes,
        };
        let (mut left, mut right) = (entries(&change.goes, &begin), entries(&change.comes, &begin));
        if change.goes.is_empty()
            && let Some(item) = section(old)
        {
            left = entries(&item.children(), "");
            change.goes = item.children();
        }
        if change.comes.is_empty()
            && let Some(item) = section(new)
        {
            right = entries(&item.children(), "");
            change.comes = item.children();
        }
        change.is_there = (!left.is_empty(), !right.is_empty());
        if lists::same(&left, &right) {
            return None;
        }
        let mode = match name.parse::<u32>() {
            Ok(1..=99 | 1300..=1999) => Some("standard"),
            Ok(100..=199 | 2000..=2699) => Some("extended"),
            _ => None,
        };
        let lines = |list: &[Entry]| -> Vec<(usize, String)> {
            list.iter().map(|one| (0, format!("{begin}{}", one.text))).collect()
        };
        match (change.is_there, mode) {
            ((false, _), _) => change.commands = lines(&right),
            ((_, false), _) => change.commands.push((0, format!("no access-list {name}"))),
            (_, Some(mode)) => {
                let edit = lists::numbered(&left, &right);
                if let Some((first, step)) = edit.resequence {
                    change.commands.push((0, format!("ip access-list resequence {name} {first} {step}")));
                }
                change.commands.push((0, format!("ip access-list {mode} {name}")));
                change.commands.extend(edit.lines.into_iter().map(|line| (1, line)));
            }
            // No mode to edit it in: made anew.
            (_, None) => {
                change.commands.push((0, format!("no access-list {name}")));
                change.commands.extend(lines(&right));
            }
        }
        Some(change)
    }

    /// Things that are in order and come to the end only: what stands behind a difference goes and comes again.
    fn tails<'t>(&mut self, old: &mut Items<'t>, new: &mut Items<'t>, changes: &mut Vec<Change<'t>>) {
        let mut names = Vec::new();
        let (a, b) = (old.take_tails(&mut names), new.take_tails(&mut names));
        let none = Vec::new();
        for name in names {
            let (left, right) = (a.get(&name).unwrap_or(&none), b.get(&name).unwrap_or(&none));
            let wanted: HashSet<&Key> = right.iter().map(|item| &item.key).collect();
            let stays: Vec<&Item<'t>> = left.iter().filter(|item| wanted.contains(&item.key)).collect();
            let same = stays.iter().zip(right).take_while(|(a, b)| a.key == b.key).count();
            changes
                .extend(left.iter().filter(|item| !wanted.contains(&item.key)).cloned().map(Change::Remove));
            for (before, after) in stays.iter().zip(right).take(same) {
                if after.kind() == Kind::Section {
                    changes.extend(self.sections(before, after, &[]));
                }
            }
            changes.extend(stays[same..].iter().map(|item| Change::Remove((*item).clone())));
            changes.extend(right[same..].iter().cloned().map(Change::Add));
        }
    }

    /// A line that comes and one that goes may be one whose secret is masked; what is masked is never sent.
    fn unmask(&mut self, changes: &mut Vec<Change<'_>>) {
        let mut pairs = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let Change::Add(item) = change else { continue };
            let is_same = |other: &Change<'_>| match other {
                Change::Remove(old) => {
                    (old.is_masked() || item.is_masked())
                        && old.is_off == item.is_off
                        && same_but_masked(old.text, item.text)
                }
                _ => false,
            };
            if let Some(found) = changes.iter().position(is_same) {
                pairs.push((at, Some(found), item.line(), MASKED));
            } else if item.is_masked() && !item.is_off {
                pairs.push((at, None, item.line(), UNSENT));
            }
        }
        let mut dropped: HashSet<usize> = HashSet::new();
        for (add, remove, line, text) in pairs {
            self.note(&line, text);
            dropped.insert(add);
            dropped.extend(remove);
        }
        let mut at = 0;
        changes.retain(|_| {
            at += 1;
            !dropped.contains(&(at - 1))
        });
    }

    /// Compares a section that is only on one side, whose header is needed for what is to be said of it.
    pub(super) fn below<'t>(
        &mut self,
        header: String,
        scope: &'static Scope,
        a: &[&'t Node<'t>],
        b: &[&'t Node<'t>],
    ) -> Vec<Change<'t>> {
        self.path.push(header);
        let changes = self.section(scope, a, b, &[]);
        self.path.pop();
        changes
    }
}

/// What is said of a line whose secret one of both sides does not tell.
const MASKED: &str = "is masked, so it was not compared";
/// What is said of a line that a person has to enter.
const UNSENT: &str = "is masked, so it is not sent: enter it by hand, with its secret";

fn masked(a: &Item<'_>, b: &Item<'_>) -> String {
    if a.is_masked() { a.line() } else { b.line() }
}

fn same_numbers(a: &Item<'_>, b: &Item<'_>) -> bool {
    a.value() == b.value()
        || match (super::sections::numbers(a.value()), super::sections::numbers(b.value())) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
}

/// Finds families of which nothing is left: `no neighbor X` takes all lines of X, here and in the sections below.
fn families<'t>(
    scope: &'static Scope,
    old: &Items<'t>,
    a: &[&'t Node<'t>],
    b: &[&'t Node<'t>],
    gone: &mut Vec<(&'static str, &'t str)>,
    changes: &mut Vec<Change<'t>>,
) {
    for word in scope.families.iter().copied() {
        let name = |text: &'t str| text.strip_prefix(word)?.strip_prefix(' ')?.split(' ').next();
        for item in &old.items {
            let Some(name) = name(item.text) else { continue };
            if gone.contains(&(word, name)) {
                continue;
            }
            let begin = format!("{word} {name} ");
            let has = |nodes: &[&'t Node<'t>]| -> Vec<&'t Node<'t>> {
                nodes.iter().copied().filter(|node| node.head.starts_with(&begin)).collect()
            };
            if has(b).is_empty() {
                gone.push((word, name));
                changes.push(Change::Family(word, name, has(a)));
            }
        }
    }
}

/// Leaves out what goes by itself with something that goes.
fn taken_along(changes: &mut Vec<Change<'_>>) {
    let mut gone: Vec<(&'static str, String)> = Vec::new();
    for change in changes.iter() {
        if let Change::Remove(item) = change
            && let Some(family) = item.rule.and_then(|rule| rule.takes)
        {
            gone.push((family, item.name.unwrap_or_default().to_owned()));
        }
    }
    let goes = |item: &Item<'_>| {
        item.rule.and_then(|rule| rule.of).is_some_and(|family| {
            gone.iter().any(|(known, name)| *known == family && Some(name.as_str()) == item.name)
        })
    };
    changes.retain(|change| !matches!(change, Change::Remove(item) if goes(item)));
}

/// What is made anew takes others with it, which have to come again.
fn remade<'t>(scope: &'static Scope, b: &[&'t Node<'t>], changes: &mut Vec<Change<'t>>) {
    let anew: Vec<(&'static str, String)> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Remake(_, item) => Some((item.rule?.takes?, item.name?.to_owned())),
            _ => None,
        })
        .collect();
    if anew.is_empty() {
        return;
    }
    let is_of = |item: &Item<'_>| {
        anew.iter().any(|(family, name)| {
            item.rule.is_some_and(|rule| rule.of == Some(family)) && item.name == Some(name)
        })
    };
    changes.retain(|change| match change {
        Change::Add(item) | Change::Remove(item) | Change::Set(item, _) => !is_of(item),
        _ => true,
    });
    let again = b.iter().filter_map(|node| Item::read(scope, node)).filter(is_of);
    changes.extend(again.map(Change::Add).collect::<Vec<_>>());
}

/// What takes the addresses of a section away is followed by those that stay.
fn addressed<'t>(scope: &'static Scope, b: &[&'t Node<'t>], changes: &mut Vec<Change<'t>>) {
    let clears = |change: &Change<'_>| match change {
        Change::Add(item) | Change::Remove(item) | Change::Set(_, item) => {
            item.rule.is_some_and(|rule| rule.clears)
        }
        _ => false,
    };
    if !changes.iter().any(clears) {
        return;
    }
    let addresses = b
        .iter()
        .filter(|node| node.head.starts_with("ip address ") || node.head.starts_with("ipv6 address "));
    for item in addresses.filter_map(|node| Item::read(scope, node)) {
        let is_there = changes.iter().any(|change| match change {
            Change::Add(other) | Change::Set(_, other) => other.key == item.key,
            _ => false,
        });
        if !is_there {
            changes.push(Change::Add(item));
        }
    }
}
