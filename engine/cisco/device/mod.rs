//! A model of a device: it takes commands, refuses what a device refuses, and has a configuration afterwards.
//!
//! It is no copy of [`super::diff()`] turned round: it knows nothing of intentions, only what one command does to one configuration.

mod effects;
mod entries;
mod lines;

use std::collections::{HashMap, HashSet};

pub(super) use effects::is_built_in;

use super::Os;
use super::facts::{ANY, Facts, Kind, ScopeId, TOP};
use super::plan::Command;
use super::sections;
use super::tree::{Node, Tree, squeezed};
use super::view::{Item, without_secret};

/// Why a device does not take a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{command}`: {reason}")]
pub struct Refusal {
    /// The command.
    pub command: String,
    /// What the device has against it.
    pub reason: String,
}

/// A device with a configuration.
#[derive(Debug, Clone)]
pub struct Device<'a> {
    tree: Tree<'a>,
    facts: &'static Facts,
    /// The sections that commands are entered in, from the outside in: each a set of them, for `line vty 0 4` is five.
    modes: Vec<Mode>,
    /// Lines whose `no` form, or whose positive form after it, is shown although no rule says so.
    shown: HashSet<String>,
    /// Numbered access lists that are printed a line an entry.
    flat: HashSet<String>,
    /// Numbers of entries that the device knows and does not show, by the list's name.
    numbers: HashMap<String, Vec<u32>>,
    /// The line that was entered last; lines may stand below it although no rule knows it as a section.
    last: String,
}

/// A section that is open.
#[derive(Debug, Clone)]
struct Mode {
    /// Where its lines are: the places from the root, one path for each section.
    paths: Vec<Vec<usize>>,
    scope: ScopeId,
    exit: &'static str,
}

impl<'a> Device<'a> {
    /// Starts a device with a configuration.
    pub fn new(os: Os, running: &'a str) -> Self {
        let mut tree = Tree::read(os, running);
        sections::split(&mut tree);
        Self {
            tree,
            facts: Facts::of(os),
            modes: Vec::new(),
            shown: HashSet::new(),
            flat: HashSet::new(),
            numbers: HashMap::new(),
            last: String::new(),
        }
    }

    /// Starts a device that outlives the text of its configuration.
    pub fn owned(os: Os, running: &str) -> Device<'static> {
        let mut tree = Tree::read(os, running).into_owned();
        sections::split(&mut tree);
        Device { tree, facts: Facts::of(os), ..Device::new(os, "") }
    }

    /// The word that a prompt has for the section that is open; nothing at the top.
    pub(super) fn mode_word(&self) -> &'static str {
        self.modes.last().map_or("", |mode| super::console::mode_word(self.facts.scope(mode.scope)))
    }

    /// Learns from another configuration of the device which `no` forms it shows, where no rule says so.
    pub(super) fn expect(&mut self, other: &Tree<'_>) {
        fn negatives<'n>(nodes: &'n [Node<'_>], found: &mut HashSet<&'n str>) {
            for node in nodes {
                if let Some(text) = node.head.strip_prefix("no ") {
                    found.insert(text);
                }
                negatives(&node.children, found);
            }
        }
        fn positives(nodes: &[Node<'_>], wanted: &HashSet<&str>, found: &mut HashSet<String>) {
            for node in nodes {
                if wanted.contains(&*node.head) {
                    found.insert(node.head.to_string());
                }
                positives(&node.children, wanted, found);
            }
        }
        let (mut theirs, mut ours) = (HashSet::new(), HashSet::new());
        negatives(&other.nodes, &mut theirs);
        negatives(&self.tree.nodes, &mut ours);
        let mut shown: HashSet<String> = theirs.iter().map(|text| format!("no {text}")).collect();
        positives(&other.nodes, &ours, &mut shown);
        self.shown = shown;
    }

    /// Returns the configuration, with ranges taken apart.
    pub(super) fn tree(&self) -> &Tree<'a> {
        &self.tree
    }

    /// Returns the configuration as the device prints it.
    pub fn running(&self) -> String {
        let mut nodes = Vec::with_capacity(self.tree.nodes.len());
        for node in self.tree.nodes.iter().cloned() {
            match self.flattened(&node) {
                Some(lines) => nodes.extend(lines),
                None => nodes.push(node),
            }
        }
        let nodes = if self.tree.os == Os::Asa { nodes } else { sections::join(nodes) };
        Tree { os: self.tree.os, nodes }.to_string()
    }

    /// Enters commands; where lines are indented, that says which section they belong to.
    pub fn enter_all(&mut self, commands: &str) -> Result<(), Refusal> {
        let tree = Tree::read(self.tree.os, commands);
        let is_nested = tree.nodes.iter().any(|node| node.children.iter().any(|child| !child.is_trivia()));
        let result =
            if is_nested { self.enter_tree(&tree.nodes, 0) } else { self.enter_flat_all(&tree.nodes) };
        self.leave();
        result
    }

    fn enter_tree(&mut self, nodes: &[Node<'_>], depth: usize) -> Result<(), Refusal> {
        for node in nodes.iter().filter(|node| !node.is_trivia()) {
            let body = node.body.as_deref().map(str::to_owned);
            self.enter_nested(&Command { depth, text: node.head.to_string(), body })?;
            self.enter_tree(&node.children, depth + 1)?;
        }
        Ok(())
    }

    fn enter_flat_all(&mut self, nodes: &[Node<'_>]) -> Result<(), Refusal> {
        let lines = nodes.iter().filter(|node| !node.is_trivia());
        lines.into_iter().try_for_each(|node| self.enter(&node.head, node.body.as_deref()))
    }

    /// Enters a command whose section is known by its depth.
    pub(super) fn enter_nested(&mut self, command: &Command) -> Result<(), Refusal> {
        self.modes.truncate(command.depth);
        if self.is_exit(&command.text) {
            return Ok(());
        }
        if self.modes.len() < command.depth && !self.open_unknown(false) {
            let reason = "it is indented below a line that opens no section".to_owned();
            return Err(Refusal { command: without_secret(&command.text), reason });
        }
        self.apply(&command.text, command.body.as_deref())?;
        self.last.clone_from(&command.text);
        Ok(())
    }

    /// Opens the line that was entered last although no rule knows it as a section; where `is_one`, only if it has lines already.
    fn open_unknown(&mut self, is_one: bool) -> bool {
        let around = self.modes.last().map_or_else(|| vec![Vec::new()], |mode| mode.paths.clone());
        let below = |path: Vec<usize>| {
            let is_it = |node: &Node<'_>| {
                node.head == self.last && node.body.is_none() && (!is_one || !node.children.is_empty())
            };
            let at = self.siblings(&path).iter().position(is_it)?;
            Some(path.into_iter().chain([at]).collect::<Vec<usize>>())
        };
        let paths: Vec<Vec<usize>> = around.into_iter().filter_map(below).collect();
        let is_there = !paths.is_empty();
        if is_there {
            self.modes.push(Mode { paths, scope: ANY, exit: "exit" });
        }
        is_there
    }

    /// Enters a command as a terminal does: in the section that is open, else in one around it.
    pub fn enter(&mut self, line: &str, body: Option<&str>) -> Result<(), Refusal> {
        let line = squeezed(line.trim());
        if line.is_empty() || line.starts_with('!') {
            return Ok(());
        }
        if line == "end" {
            self.leave();
            return Ok(());
        }
        if self.is_exit(&line) {
            self.modes.pop();
            return Ok(());
        }
        // A section takes what it knows; what it does not know, and one around it does, ends it.
        let text = line.strip_prefix("no ").unwrap_or(&line);
        let words: Vec<&str> = text.split(' ').collect();
        while let Some(mode) = self.modes.last() {
            let scope = self.facts.scope(mode.scope);
            let is_entry = words[0].parse::<u32>().is_ok()
                || matches!(words[0], "permit" | "deny" | "remark" | "evaluate");
            let belongs = match scope.rule(&words) {
                _ if scope.is_list() => is_entry,
                // A rule for any word says less than one of the top level for these.
                Some((rule, fit)) if fit.taken == 1 && rule.pattern.is_open() => !self.is_of_the_top(&words),
                Some(_) => true,
                None => !self.is_of_the_top(&words),
            };
            if belongs {
                break;
            }
            self.modes.pop();
        }
        let depth = self.modes.len();
        self.apply(&line, body)?;
        if self.modes.len() == depth {
            self.last = line.into_owned();
            self.open_unknown(true);
        }
        Ok(())
    }

    /// Whether a rule of the top level knows more of a line than its first word, or it opens a section.
    fn is_of_the_top(&self, words: &[&str]) -> bool {
        let rule = self.facts.scope(TOP).rule(words);
        rule.is_some_and(|(rule, fit)| fit.taken > 1 || rule.kind == Kind::Section || !rule.pattern.is_open())
    }

    /// Leaves all sections.
    pub fn leave(&mut self) {
        self.modes.clear();
    }

    /// How many sections are open.
    pub fn depth(&self) -> usize {
        self.modes.len()
    }

    fn is_exit(&self, line: &str) -> bool {
        line == "exit" || self.modes.last().is_some_and(|mode| mode.exit == line) || line.starts_with("exit-")
    }

    fn scope(&self) -> ScopeId {
        self.modes.last().map_or(TOP, |mode| mode.scope)
    }

    fn apply(&mut self, line: &str, body: Option<&str>) -> Result<(), Refusal> {
        let refuse =
            |reason: String| Refusal { command: without_secret(line), reason: without_secret(&reason) };
        if let Some(heads) = sections::alone(line) {
            return self.apply_each(&heads, line);
        }
        if self.modes.is_empty() {
            return self.apply_in(&[], line, body).map_err(refuse);
        }
        let mode = self.modes.last().cloned().unwrap_or(Mode { paths: Vec::new(), scope: ANY, exit: "exit" });
        let depth = self.modes.len();
        let mut opened = Vec::new();
        for path in &mode.paths {
            self.modes.truncate(depth);
            self.apply_in(path, line, body).map_err(refuse)?;
            opened.extend(self.modes.get(depth).cloned());
        }
        self.open_all(depth, opened);
        Ok(())
    }

    /// A range of sections: each is entered, and all are open then.
    fn apply_each(&mut self, heads: &[String], line: &str) -> Result<(), Refusal> {
        let depth = self.modes.len();
        let mut opened = Vec::new();
        for head in heads {
            self.modes.truncate(depth);
            self.apply_in(&[], head, None).map_err(|reason| Refusal {
                command: without_secret(line),
                reason: without_secret(&reason),
            })?;
            opened.extend(self.modes.get(depth).cloned());
        }
        // Sections that were made meanwhile have moved the others.
        let heads: Vec<&String> = heads.iter().collect();
        for (mode, head) in opened.iter_mut().zip(heads) {
            let place = self.tree.nodes.iter().position(|node| node.head == **head);
            mode.paths = place.map(|at| vec![at]).into_iter().collect();
        }
        self.open_all(depth, opened);
        Ok(())
    }

    fn open_all(&mut self, depth: usize, opened: Vec<Mode>) {
        self.modes.truncate(depth);
        let Some(first) = opened.first().cloned() else { return };
        let paths = opened.into_iter().flat_map(|mode| mode.paths).collect();
        self.modes.push(Mode { paths, ..first });
    }

    fn siblings(&self, path: &[usize]) -> &Vec<Node<'a>> {
        let mut nodes = &self.tree.nodes;
        for at in path {
            nodes = &nodes[*at].children;
        }
        nodes
    }

    fn siblings_mut(&mut self, path: &[usize]) -> &mut Vec<Node<'a>> {
        let mut nodes = &mut self.tree.nodes;
        for at in path {
            nodes = &mut nodes[*at].children;
        }
        nodes
    }

    /// Opens the section that stands at a place.
    fn open(&mut self, path: &[usize], at: usize, item: &Item<'_>) {
        let Some(rule) = item.rule else { return };
        let path = path.iter().copied().chain([at]).collect();
        self.modes.push(Mode { paths: vec![path], scope: rule.inner, exit: rule.exit });
    }
}
