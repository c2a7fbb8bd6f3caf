//! Entries of ordered lists: access lists of IOS with their numbers, access lists and NAT of ASA with their places.

use super::super::lists::{Entry, identity};
use super::super::tree::Node;
use super::super::view::Item;
use super::Device;
use crate::cisco::facts::TOP;

impl<'a> Device<'a> {
    /// An entry of an access list of IOS, in its section.
    pub(super) fn entry(&mut self, path: &[usize], is_off: bool, text: &str) -> Result<(), String> {
        let name = self.heads().last().and_then(|head| head.split(' ').nth(3)).unwrap_or_default().to_owned();
        let entry = Entry::read(text);
        let mut list = self.numbered_list(path, &name);
        if is_off {
            let place = match (entry.number, text.parse::<u32>()) {
                (_, Ok(number)) => list.iter().position(|(at, one)| *at == number && !one.is_remark()),
                (Some(number), _) => {
                    list.iter().position(|(at, one)| *at == number && one.text == entry.text)
                }
                _ => list.iter().position(|(_, one)| one.text == entry.text),
            };
            let place = place.ok_or_else(|| format!("there is no entry `{text}`"))?;
            list.remove(place);
        } else {
            if entry.text.split(' ').count() < 2 {
                return Err("% Incomplete command: an entry needs an address".to_owned());
            }
            if !entry.is_remark() && list.iter().any(|(_, one)| one.text == entry.text) {
                return Ok(());
            }
            let last = list.iter().map(|(number, _)| *number).max();
            let number = entry.number.unwrap_or_else(|| last.map_or(10, |last| last / 10 * 10 + 10));
            let is_taken = list.iter().any(|(at, one)| *at == number && !one.is_remark());
            if is_taken && !entry.is_remark() {
                return Err(format!("% Duplicate sequence number {number}"));
            }
            let place = list.iter().position(|(at, one)| *at > number || (*at == number && !one.is_remark()));
            list.insert(place.unwrap_or(list.len()), (number, entry));
        }
        self.put_list(path, &name, list);
        Ok(())
    }

    /// `ip access-list resequence NAME FIRST STEP`.
    pub(super) fn resequenced(&mut self, line: &str) -> Option<Result<(), String>> {
        let rest = line.strip_prefix("ip access-list resequence ")?;
        let words: Vec<&str> = rest.split(' ').collect();
        let [name, first, step] = words[..] else { return Some(Err("% Incomplete command".to_owned())) };
        let (Ok(first), Ok(step)) = (first.parse::<u32>(), step.parse::<u32>()) else {
            return Some(Err("% Invalid input: numbers are needed".to_owned()));
        };
        self.unflatten(name);
        let is_it = |node: &Node<'_>| {
            node.head.starts_with("ip access-list ") && node.head.split(' ').nth(3) == Some(name)
        };
        let Some(at) = self.tree.nodes.iter().position(is_it) else {
            return Some(Err(format!("there is no access list {name}")));
        };
        let list = self.numbered_list(&[at], name);
        let mut number = first;
        let mut renumbered = Vec::with_capacity(list.len());
        for (_, entry) in list {
            let is_remark = entry.is_remark();
            renumbered.push((number, entry));
            if !is_remark {
                number += step;
            }
        }
        self.put_list(&[at], name, renumbered);
        Some(Ok(()))
    }

    /// The entries of a list with the numbers that the device has for them.
    fn numbered_list(&self, path: &[usize], name: &str) -> Vec<(u32, Entry)> {
        let entries: Vec<Entry> = self
            .siblings(path)
            .iter()
            .filter(|node| !node.is_trivia())
            .map(|node| Entry::read(&node.head))
            .collect();
        let hidden = self.numbers.get(name);
        let mut next = 10;
        let mut list: Vec<(u32, Entry)> = Vec::with_capacity(entries.len());
        for (place, entry) in entries.into_iter().enumerate() {
            let number =
                entry.number.or_else(|| hidden.and_then(|all| all.get(place).copied())).unwrap_or(next);
            if !entry.is_remark() {
                next = number + 10;
            }
            list.push((number, entry));
        }
        list
    }

    fn put_list(&mut self, path: &[usize], name: &str, list: Vec<(u32, Entry)>) {
        let siblings = self.siblings(path);
        let commands = || siblings.iter().filter(|node| !node.is_trivia());
        let shows =
            commands().next().is_some() && commands().all(|node| Entry::read(&node.head).number.is_some());
        let indent = commands().next().map_or(path.len(), |node| node.indent);
        let is_first = commands().next().is_none();
        let node = |(number, entry): &(u32, Entry)| {
            let has_number = shows || (is_first && entry.number.is_some());
            let head = if has_number { format!("{number} {}", entry.text) } else { entry.text.clone() };
            Node::new(&head, None, indent)
        };
        let nodes: Vec<Node<'a>> = list.iter().map(node).collect();
        self.numbers.insert(name.to_owned(), list.iter().map(|(number, _)| *number).collect());
        let siblings = self.siblings_mut(path);
        let trivia: Vec<Node<'a>> = siblings.iter().filter(|node| node.is_trivia()).cloned().collect();
        *siblings = nodes;
        siblings.extend(trivia);
    }

    /// `access-list 23 permit …`: at the end; its `no` form takes the whole list away.
    pub(super) fn flat_entry(&mut self, is_off: bool, text: &str) -> Result<(), String> {
        let name = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let begin = format!("access-list {name} ");
        let scope = self.facts.scope(TOP);
        if is_off {
            let is_section = |node: &Node<'_>| {
                node.head.starts_with("ip access-list ") && node.head.split(' ').nth(3) == Some(&name)
            };
            let count = self.tree.nodes.len();
            self.tree.nodes.retain(|node| !node.head.starts_with(&begin) && !is_section(node));
            self.numbers.remove(&name);
            return if self.tree.nodes.len() < count {
                Ok(())
            } else {
                Err(format!("there is no access list {name}"))
            };
        }
        if text.split(' ').count() < 4 {
            return Err("% Incomplete command: an entry needs an address".to_owned());
        }
        self.unflatten(&name);
        let is_section = |node: &Node<'_>| {
            node.head.starts_with("ip access-list ") && node.head.split(' ').nth(3) == Some(&name)
        };
        if let Some(at) = self.tree.nodes.iter().position(is_section) {
            let entry = Entry::read(text.strip_prefix(&begin).unwrap_or_default());
            let mut list = self.numbered_list(&[at], &name);
            if entry.is_remark() || !list.iter().any(|(_, one)| one.text == entry.text) {
                let last = list.iter().map(|(number, _)| *number).max();
                list.push((last.map_or(10, |last| last / 10 * 10 + 10), entry));
                self.put_list(&[at], &name, list);
            }
            return Ok(());
        }
        self.insert(&[], &Item::command(scope, text), text, None);
        Ok(())
    }

    /// Makes a numbered list that is printed a line an entry the section that it is edited in.
    pub(super) fn sectioned(&mut self, item: &Item<'_>) {
        if let Some(name) = item.name {
            let name = name.to_owned();
            self.unflatten(&name);
        }
    }

    fn unflatten(&mut self, name: &str) {
        let begin = format!("access-list {name} ");
        let Some(at) = self.tree.nodes.iter().position(|node| node.head.starts_with(&begin)) else { return };
        let kind = match name.parse::<u32>() {
            Ok(1..=99 | 1300..=1999) => "standard",
            Ok(100..=199 | 2000..=2699) => "extended",
            _ => return,
        };
        let mut section = Node::new(&format!("ip access-list {kind} {name}"), None, 0);
        for node in self.tree.nodes.iter().filter(|node| node.head.starts_with(&begin)) {
            section.children.push(Node::new(node.head.strip_prefix(&begin).unwrap_or_default(), None, 1));
        }
        self.tree.nodes[at] = section;
        self.tree.nodes.retain(|node| !node.head.starts_with(&begin));
        self.flat.insert(name.to_owned());
    }

    /// Returns the lines of a section that the device prints a line an entry.
    pub(super) fn flattened(&self, node: &Node<'a>) -> Option<Vec<Node<'a>>> {
        let rest = node.head.strip_prefix("ip access-list ")?;
        let name = rest.split(' ').nth(1)?;
        if !self.flat.contains(name) {
            return None;
        }
        let lines = node.children.iter().filter(|child| !child.is_trivia());
        Some(
            lines
                .map(|child| {
                    Node::new(&format!("access-list {name} {}", Entry::read(&child.head).text), None, 0)
                })
                .collect(),
        )
    }

    /// An entry of an access list of ASA, with or without its place.
    pub(super) fn asa_entry(&mut self, is_off: bool, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.splitn(4, ' ').collect();
        let ["access-list", name, ..] = words[..] else { return Err("% Incomplete command".to_owned()) };
        let begin = format!("access-list {name} ");
        let rest = text.strip_prefix(&begin).unwrap_or_default();
        let (place, rest) = placed(rest.strip_prefix("line "), rest)?;
        if rest.split(' ').count() < 2 {
            return Err("ERROR: % Incomplete command".to_owned());
        }
        let places: Vec<usize> =
            (0..self.tree.nodes.len()).filter(|at| self.tree.nodes[*at].head.starts_with(&begin)).collect();
        let said = |at: usize| self.tree.nodes[at].head.strip_prefix(&begin).unwrap_or_default();
        if is_off {
            let found = match place {
                Some(place) => places.get(place - 1).copied().filter(|at| said(*at) == rest),
                None => places.iter().copied().find(|at| said(*at) == rest || identity(said(*at)) == rest),
            };
            let at = found.ok_or_else(|| format!("ERROR: there is no such entry in access list {name}"))?;
            if places.len() == 1
                && let Some(user) = self.user("acl", name).filter(|user| !user.starts_with("access-group "))
            {
                return Err(format!("ERROR: access list {name} is used by `{user}`"));
            }
            self.tree.nodes.remove(at);
            if places.len() == 1 {
                self.unbound(name);
            }
            return Ok(());
        }
        self.refers(&[], text)?;
        let line = format!("{begin}{rest}");
        if !rest.starts_with("remark ")
            && let Some(at) = places.iter().copied().find(|at| identity(said(*at)) == identity(rest))
        {
            // The same entry: only its marks are taken.
            self.tree.nodes[at] = Node::new(&line, None, 0);
            return Ok(());
        }
        let index = place.map_or(places.len(), |place| (place - 1).min(places.len()));
        self.insert_at(&places, index, text, &line);
        Ok(())
    }

    /// A rule of NAT that is no object's, with or without its place.
    pub(super) fn nat_rule(&mut self, is_off: bool, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split(' ').collect();
        if words.len() < 4 {
            return Err("ERROR: % Incomplete command".to_owned());
        }
        let is_after = words[2] == "after-auto";
        let at = if is_after { 3 } else { 2 };
        let place = words.get(at).and_then(|word| word.parse::<usize>().ok()).filter(|place| *place > 0);
        let rest = words[at + usize::from(place.is_some())..].join(" ");
        let line = if is_after {
            format!("nat {} after-auto {rest}", words[1])
        } else {
            format!("nat {} {rest}", words[1])
        };
        let is_like = |node: &Node<'_>| {
            node.head.starts_with("nat ") && (node.head.split(' ').nth(2) == Some("after-auto")) == is_after
        };
        let places: Vec<usize> =
            (0..self.tree.nodes.len()).filter(|at| is_like(&self.tree.nodes[*at])).collect();
        let same = places.iter().copied().find(|at| *self.tree.nodes[*at].head == line);
        if is_off {
            let at = same.ok_or("ERROR: there is no such rule")?;
            self.tree.nodes.remove(at);
            return Ok(());
        }
        self.refers(&[], text)?;
        if same.is_some() {
            return Ok(());
        }
        let index = place.map_or(places.len(), |place| (place - 1).min(places.len()));
        self.insert_at(&places, index, text, &line);
        Ok(())
    }

    /// Inserts a line so that it is the n-th of a list whose lines stand at some places.
    fn insert_at(&mut self, places: &[usize], index: usize, text: &str, line: &str) {
        let node = Node::new(line, None, 0);
        match (places.get(index), places.last()) {
            (Some(at), _) => self.tree.nodes.insert(*at, node),
            (None, Some(last)) => self.tree.nodes.insert(last + 1, node),
            (None, None) => {
                self.insert(&[], &Item::command(self.facts.scope(TOP), text), line, None);
            }
        }
    }
}

/// Reads the number behind `line `, and what follows it.
fn placed<'t>(numbered: Option<&'t str>, rest: &'t str) -> Result<(Option<usize>, &'t str), String> {
    let Some(numbered) = numbered else { return Ok((None, rest)) };
    let (number, rest) = numbered.split_once(' ').ok_or("ERROR: % Incomplete command")?;
    let place = number.parse::<usize>().ok().filter(|place| *place > 0);
    Ok((Some(place.ok_or_else(|| format!("ERROR: `{number}` is no line number"))?), rest))
}
