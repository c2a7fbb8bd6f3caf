//! Two configurations, and the commands from one to the other in an order that a device accepts.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::compare::{Change, Comparison};
use super::facts::{Gone, Kind, ScopeId, TOP};
use super::ordered::ListChange;
use super::plan::{Block, Command, Plan, Risk};
use super::sections;
use super::tree::{Node, Tree};
use super::view::{Item, without_secret};
use super::{Device, Os};

/// How often the model of the device is asked what is still missing, after effects that nobody ordered (addresses that go with a VRF).
const ROUNDS: usize = 5;

/// Why no plan can be given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// The model of the device refuses a command.
    #[error("a device would refuse `{command}`: {reason}; the change cannot be made as it is written")]
    Refused {
        /// The command.
        command: String,
        /// Why.
        reason: String,
    },
    /// The commands would not end in what is intended.
    #[error("the commands would not end in what is intended; still missing: {}", left.join("; "))]
    NoEnd {
        /// The commands that would be left.
        left: Vec<String>,
    },
}

/// Returns the commands that turn `running` into `intended`.
///
/// A model of the device is fed with them; a plan is given out only when it ends in what is intended.
pub fn diff(os: Os, running: &str, intended: &str) -> Result<Plan, Unclear> {
    let wanted = Tree::read(os, intended);
    let mut device = Device::new(os, running);
    device.expect(&wanted);
    let wanted = {
        let mut tree = wanted;
        sections::split(&mut tree);
        tree
    };
    let mut plan = Plan::default();
    for _ in 0..ROUNDS {
        let more = compared(device.tree(), &wanted);
        for note in more.notes {
            if !plan.notes.contains(&note) {
                plan.notes.push(note);
            }
        }
        if more.blocks.is_empty() {
            return Ok(plan);
        }
        for block in more.blocks {
            entered(&mut device, &block.commands)?;
            plan.blocks.push(block);
        }
    }
    let left = compared(device.tree(), &wanted);
    if left.blocks.is_empty() {
        return Ok(plan);
    }
    Err(Unclear::NoEnd {
        left: left.commands().map(|command| without_secret(&command.text)).take(5).collect(),
    })
}

/// Fills in how each block of a plan is taken back, in the state that the blocks before it have made.
pub fn invert(os: Os, running: &str, plan: &mut Plan) -> Result<(), Unclear> {
    let mut device = Device::new(os, running);
    device.expect(&Tree::read(os, running));
    for block in &mut plan.blocks {
        let before = device.clone();
        entered(&mut device, &block.commands)?;
        block.inverse =
            compared(device.tree(), before.tree()).blocks.into_iter().flat_map(|one| one.commands).collect();
    }
    Ok(())
}

fn entered(device: &mut Device<'_>, commands: &[Command]) -> Result<(), Unclear> {
    for command in commands {
        let refused = |reason: String| Unclear::Refused {
            command: without_secret(&command.text),
            reason: without_secret(&reason),
        };
        device.enter_nested(command).map_err(|refusal| refused(refusal.reason))?;
    }
    device.leave();
    Ok(())
}

/// Compares two trees once.
pub(super) fn compared(a: &Tree<'_>, b: &Tree<'_>) -> Plan {
    let mut comparison = Comparison::new(a.os);
    let scope = comparison.facts.scope(TOP);
    let left: Vec<&Node<'_>> = a.nodes.iter().collect();
    let right: Vec<&Node<'_>> = b.nodes.iter().collect();
    // Both are borrowed for as long as the shorter one lives.
    let changes = comparison.section(scope, &left, &right, &[]);
    let mut writer = Writer { comparison: &mut comparison };
    let mut steps: Vec<Operation> = changes.iter().map(|change| writer.operation(change)).collect();
    steps.retain(|step| !step.commands.is_empty());
    let notes = std::mem::take(&mut comparison.notes);
    Plan { blocks: joined(ordered(steps)), notes }
}

/// One change of the top level, and what it depends on.
#[derive(Debug, Default)]
struct Operation {
    description: String,
    commands: Vec<Command>,
    risks: BTreeSet<Risk>,
    is_removal: bool,
    rank: u16,
    makes: Vec<(&'static str, String)>,
    drops: Vec<(&'static str, String)>,
    uses: Vec<(&'static str, String)>,
    frees: Vec<(&'static str, String)>,
    /// The header of the section that it is about, and commands that give up an address there.
    header: String,
    releases: Vec<(String, String)>,
}

struct Writer<'c> {
    comparison: &'c mut Comparison,
}

/// Commands of one change within a section, and where they belong among the others.
struct Piece {
    first: i32,
    is_section: bool,
    class: u8,
    exit: &'static str,
    commands: Vec<Command>,
}

impl Writer<'_> {
    fn operation(&mut self, change: &Change<'_>) -> Operation {
        let facts = self.comparison.facts;
        let mut operation = Operation { rank: facts.ranks / 2, ..Operation::default() };
        let rule = match change {
            Change::Add(item) | Change::Remove(item) | Change::Set(item, _) => item.rule,
            Change::Inside(_, item, _) | Change::Remake(_, item) => item.rule,
            Change::List(list) => Some(list.rule),
            Change::Family(..) => None,
        };
        if let Some(rule) = rule {
            operation.rank = rule.id;
            // What changes inside a section has its own risks; the section stays.
            if !matches!(change, Change::Inside(..)) {
                operation.risks.extend(rule.risk);
            }
        }
        operation.is_removal = match change {
            Change::Remove(item) => !item.is_off,
            Change::Family(..) => true,
            Change::List(list) => !list.is_there.1,
            _ => false,
        };
        operation.description = described(change);
        if let Change::Inside(_, item, _) = change {
            operation.header = item.line();
        }
        operation.touch(facts, TOP, change);
        let piece = self.piece(change, 0);
        operation.commands = piece.commands;
        operation
    }

    /// Writes what is to be entered for a change.
    fn piece(&mut self, change: &Change<'_>, depth: usize) -> Piece {
        let command =
            |text: String, body: Option<&str>| Command { depth, text, body: body.map(str::to_owned) };
        let mut piece = Piece { first: 0, is_section: false, class: 1, exit: "exit", commands: Vec::new() };
        match change {
            Change::Add(item) => {
                piece.of(item);
                self.add(item, depth, &mut piece.commands);
            }
            Change::Remove(item) => {
                piece.of(item);
                piece.class = if item.rule.is_some_and(|rule| rule.is_tail) { 0 } else { 2 };
                piece.is_section = false;
                self.remove(item, depth, &mut piece);
            }
            Change::Set(old, new) if new.kind() == Kind::Vlans => {
                piece.of(new);
                piece.commands = trunk(old, new).into_iter().map(|text| command(text, None)).collect();
            }
            Change::Set(old, new) => {
                piece.of(new);
                if new.kind() == Kind::Replaces && !new.is_off && !old.is_off {
                    piece.commands.push(command(old.negated(), None));
                }
                piece.commands.push(command(new.line(), new.body()));
            }
            Change::Inside(old, new, changes) => {
                piece.of(new);
                piece.commands.push(command(new.line(), None));
                if old.is_off == new.is_off {
                    self.inside(changes, depth + 1, &mut piece.commands);
                }
            }
            Change::Remake(old, new) => {
                piece.of(new);
                piece.commands.push(command(old.negated(), None));
                self.add(new, depth, &mut piece.commands);
            }
            Change::Family(word, name, _) => {
                piece.class = 2;
                piece.commands.push(command(format!("no {word} {name}"), None));
            }
            Change::List(list) => {
                let lines = list.commands.iter();
                piece.commands = lines
                    .map(|(more, text)| Command { depth: depth + more, text: text.clone(), body: None })
                    .collect();
            }
        }
        piece
    }

    fn inside(&mut self, changes: &[Change<'_>], depth: usize, commands: &mut Vec<Command>) {
        let mut pieces: Vec<Piece> = changes.iter().map(|change| self.piece(change, depth)).collect();
        pieces.retain(|piece| !piece.commands.is_empty());
        pieces.sort_by_key(|piece| (piece.first, piece.is_section, piece.class));
        let count = pieces.len();
        for (at, piece) in pieces.into_iter().enumerate() {
            commands.extend(piece.commands);
            // Indentation means nothing to a device: it has to be told that the next line is the parent's.
            if piece.is_section && at + 1 < count {
                commands.push(Command { depth: depth + 1, text: piece.exit.to_owned(), body: None });
            }
        }
    }

    fn add(&mut self, item: &Item<'_>, depth: usize, commands: &mut Vec<Command>) {
        if item.kind() == Kind::Vlans && !item.is_off {
            commands.push(Command { depth, text: item.line(), body: None });
            return;
        }
        commands.push(Command { depth, text: item.line(), body: item.body().map(str::to_owned) });
        let children = item.children();
        if children.is_empty() || item.is_off {
            return;
        }
        let inner = item.rule.map_or(super::facts::ANY, |rule| rule.inner);
        let scope = self.comparison.facts.scope(inner);
        if scope.is_list() {
            let lines = children.iter().filter(|node| !node.is_trivia());
            commands.extend(lines.map(|node| Command {
                depth: depth + 1,
                text: node.head.to_string(),
                body: None,
            }));
            return;
        }
        let changes = self.comparison.below(item.line(), scope, &[], &children);
        self.inside(&changes, depth + 1, commands);
    }

    fn remove(&mut self, item: &Item<'_>, depth: usize, piece: &mut Piece) {
        let gone = match item.rule {
            Some(rule) if rule.kind == Kind::Section && !item.is_off => rule.gone,
            _ => Gone::No,
        };
        let text = match gone {
            Gone::No => item.negated(),
            Gone::Default => format!("default {}", item.text),
            Gone::Clear => format!("clear configure {}", item.text),
            Gone::Children | Gone::Keep => {
                let inner = item.rule.map_or(super::facts::ANY, |rule| rule.inner);
                let scope = self.comparison.facts.scope(inner);
                let changes = self.comparison.below(item.line(), scope, &item.children(), &[]);
                let mut below = Vec::new();
                self.inside(&changes, depth + 1, &mut below);
                if !below.is_empty() {
                    piece.commands.push(Command { depth, text: item.line(), body: None });
                    piece.commands.extend(below);
                    piece.is_section = true;
                }
                return;
            }
        };
        piece.commands.push(Command { depth, text, body: None });
    }
}

impl Piece {
    fn of(&mut self, item: &Item<'_>) {
        // What no rule knows as a section is one where lines stand below it.
        let is_section = !item.children().iter().all(|node| node.is_trivia());
        self.is_section = !item.is_off && (item.kind() == Kind::Section || is_section);
        if let Some(rule) = item.rule {
            self.first = rule.first;
            self.exit = rule.exit;
        }
    }
}

/// The commands that change the VLANs of a trunk: never through a moment in which all are allowed.
fn trunk(old: &Item<'_>, new: &Item<'_>) -> Vec<String> {
    let (Some(a), Some(b)) = (sections::numbers(old.value()), sections::numbers(new.value())) else {
        return vec![new.line()];
    };
    let comes: Vec<u32> = b.iter().copied().filter(|number| !a.contains(number)).collect();
    let goes: Vec<u32> = a.iter().copied().filter(|number| !b.contains(number)).collect();
    let line = |word: &str, numbers: &[u32]| format!("{} {word} {}", new.prefix(), sections::ranges(numbers));
    let mut lines = Vec::new();
    if !comes.is_empty() {
        lines.push(line("add", &comes));
    }
    if !goes.is_empty() {
        lines.push(line("remove", &goes));
    }
    lines
}

fn described(change: &Change<'_>) -> String {
    let list = |list: &ListChange<'_>| {
        let kind = if list.rule.list == "nat" { "NAT" } else { "access list" };
        match list.is_there {
            (false, _) => format!("add {kind} {}", list.name),
            (_, false) => format!("remove {kind} {}", list.name),
            _ => format!("change {kind} {}", list.name),
        }
    };
    let short = |item: &Item<'_>| {
        let is_secret = item.rule.is_some_and(|rule| rule.is_secret);
        // The key of some lines is the secret.
        if is_secret { without_secret(item.prefix()) } else { without_secret(&item.line()) }
    };
    match change {
        Change::Add(item) => format!("add {}", short(item)),
        Change::Remove(item) => format!("remove {}", short(item)),
        Change::Set(_, item) => format!("set {}", short(item)),
        Change::Inside(_, item, _) => format!("change {}", short(item)),
        Change::Remake(_, item) => format!("make {} anew", short(item)),
        Change::Family(word, name, _) => format!("remove {word} {name}"),
        Change::List(one) => list(one),
    }
}

impl Operation {
    /// Finds out what a change makes, drops, begins to use and ceases to use.
    fn touch(&mut self, facts: &'static super::facts::Facts, scope: ScopeId, change: &Change<'_>) {
        match change {
            Change::Add(item) => item.nodes.iter().for_each(|node| self.line(facts, scope, node, true)),
            Change::Remove(item) => item.nodes.iter().for_each(|node| self.line(facts, scope, node, false)),
            Change::Set(old, new) => {
                old.nodes.iter().for_each(|node| self.line(facts, scope, node, false));
                new.nodes.iter().for_each(|node| self.line(facts, scope, node, true));
                self.risks.extend(new.rule.and_then(|rule| rule.risk));
            }
            Change::Remake(old, new) => {
                if let (Some(rule), Some(name)) = (new.rule, new.name) {
                    let kinds = rule.defines.into_iter().chain(rule.takes);
                    self.makes.extend(kinds.map(|kind| (kind, name.to_owned())));
                }
                for item in [old, new] {
                    for node in item.nodes.iter().flat_map(|node| &node.children) {
                        self.line(
                            facts,
                            item.rule.map_or(scope, |rule| rule.inner),
                            node,
                            std::ptr::eq(item, new),
                        );
                    }
                }
            }
            Change::Inside(_, item, changes) => {
                let inner = item.rule.map_or(scope, |rule| rule.inner);
                for change in changes {
                    self.touch(facts, inner, change);
                }
            }
            Change::Family(_, _, nodes) => nodes.iter().for_each(|node| self.line(facts, scope, node, false)),
            Change::List(list) => {
                let heads = |nodes: &[&Node<'_>]| -> HashSet<String> {
                    nodes.iter().map(|node| node.head.to_string()).collect()
                };
                let (old, new) = (heads(&list.goes), heads(&list.comes));
                let inner = if list.rule.kind == Kind::Section { list.rule.inner } else { scope };
                // What the list both had and has is neither.
                for (lines, comes) in [(old.difference(&new), false), (new.difference(&old), true)] {
                    for line in lines {
                        let words: Vec<&str> = line.split(' ').collect();
                        let to = if comes { &mut self.uses } else { &mut self.frees };
                        facts.scope(inner).uses(&words, |kind, name| to.push((kind, name.to_owned())));
                    }
                }
                if let Some(kind) = list.rule.defines {
                    match list.is_there {
                        (false, true) => self.makes.push((kind, list.name.clone())),
                        (true, false) => self.drops.push((kind, list.name.clone())),
                        _ => {}
                    }
                }
            }
        }
    }

    fn line(&mut self, facts: &'static super::facts::Facts, scope: ScopeId, node: &Node<'_>, comes: bool) {
        let text = node.head.strip_prefix("no ").unwrap_or(&node.head);
        let words: Vec<&str> = text.split(' ').collect();
        let rules = facts.scope(scope);
        let to = if comes { &mut self.uses } else { &mut self.frees };
        rules.uses(&words, |kind, name| to.push((kind, name.to_owned())));
        let found = rules.rule(&words);
        if let Some((rule, fit)) = &found {
            let to = if comes { &mut self.makes } else { &mut self.drops };
            if let (Some(kind), Some(name)) =
                (rule.defines, fit.name.or_else(|| words.get(fit.taken).copied()))
            {
                to.push((kind, name.to_owned()));
            }
            // What goes with another comes behind it, too.
            let family = if comes { rule.of.map(|family| (family, true)) } else { None };
            let family = family.or(rule.takes.map(|family| (family, false)));
            if let (Some((family, is_of)), Some(name)) = (family, fit.name) {
                let to = match (comes, is_of) {
                    (true, true) => &mut self.uses,
                    (true, false) => &mut self.makes,
                    (false, _) => &mut self.drops,
                };
                to.push((family, name.to_owned()));
            }
            // Two sections cannot have the same address: one gives it up first.
            let to = if comes { &mut self.makes } else { &mut self.drops };
            if let (true, Some(address)) = (rule.is_unique, words.get(2)) {
                to.push(("address", (*address).to_owned()));
                if !comes {
                    self.releases.push(((*address).to_owned(), format!("no {}", node.head)));
                }
            }
            self.risks.extend(rule.risk);
            if rule.is_secret && !comes {
                self.risks.insert(Risk::Irreversible);
            }
        }
        if !node.children.is_empty() {
            let inner = found.map_or(super::facts::ANY, |(rule, _)| rule.inner);
            node.children.iter().for_each(|child| self.line(facts, inner, child, comes));
        }
    }
}

/// Puts operations into an order that a device accepts: made before used, unused before dropped; else by the table's order.
fn ordered(operations: Vec<Operation>) -> Vec<Operation> {
    let count = operations.len();
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); count];
    {
        type Places<'o> = HashMap<(&'static str, &'o str), Vec<usize>>;
        fn places<'o>(
            operations: &'o [Operation],
            of: fn(&Operation) -> &Vec<(&'static str, String)>,
        ) -> Places<'o> {
            let mut map: Places<'o> = HashMap::new();
            for (at, operation) in operations.iter().enumerate() {
                for (kind, name) in of(operation) {
                    map.entry((kind, name)).or_default().push(at);
                }
            }
            map
        }
        let makes = places(&operations, |one| &one.makes);
        let drops = places(&operations, |one| &one.drops);
        let uses = places(&operations, |one| &one.uses);
        let frees = places(&operations, |one| &one.frees);
        let mut edge = |first: &[usize], then: &[usize]| {
            for a in first {
                for b in then.iter().filter(|b| *b != a) {
                    before[*b].push(*a);
                }
            }
        };
        for (name, at) in &makes {
            // What is dropped and made under one name, by others, goes first.
            if let Some(dropped) = drops.get(name) {
                edge(dropped, at);
            }
            if let Some(users) = uses.get(name) {
                edge(at, users);
            }
        }
        for (name, at) in &drops {
            if let Some(users) = frees.get(name) {
                edge(users, at);
            }
        }
    }
    let weight = |at: usize| {
        let one = &operations[at];
        let rank = if one.is_removal { u16::MAX - one.rank } else { one.rank };
        (one.is_removal, rank, at)
    };
    let mut rest: BTreeSet<(bool, u16, usize)> = (0..count).map(weight).collect();
    let mut done = vec![false; count];
    let mut order = Vec::with_capacity(count);
    let mut released: Vec<Operation> = Vec::new();
    while let Some(first) = rest.first().copied() {
        let is_free = |at: usize| before[at].iter().all(|at| done[*at]);
        let next = match rest.iter().copied().find(|(_, _, at)| is_free(*at)) {
            Some(next) => next,
            // A circle is broken at what would come first anyway; an address in it is given up before.
            None => {
                let wanted = &operations[first.2].makes;
                let others = rest.iter().filter(|(_, _, at)| *at != first.2);
                for other in others.map(|(_, _, at)| &operations[*at]) {
                    for (address, text) in &other.releases {
                        if wanted.iter().any(|(kind, name)| *kind == "address" && name == address) {
                            released.push(release(other, text));
                            order.push(count + released.len() - 1);
                        }
                    }
                }
                first
            }
        };
        rest.remove(&next);
        done[next.2] = true;
        order.push(next.2);
    }
    let mut operations: Vec<Option<Operation>> = operations.into_iter().chain(released).map(Some).collect();
    order.into_iter().filter_map(|at| operations[at].take()).collect()
}

/// The operation that gives up an address of a section, so that another section can have it.
fn release(of: &Operation, text: &str) -> Operation {
    let command = |depth, text: &str| Command { depth, text: text.to_owned(), body: None };
    Operation {
        description: format!("give up an address of {}", of.header),
        commands: vec![command(0, &of.header), command(1, text)],
        risks: BTreeSet::from([Risk::Access, Risk::Traffic]),
        ..Operation::default()
    }
}

/// Makes blocks of operations, and one of terminal lines or VLANs that get the same.
fn joined(operations: Vec<Operation>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::with_capacity(operations.len());
    for operation in operations {
        let block = Block {
            description: operation.description,
            commands: operation.commands,
            risks: operation.risks.into_iter().collect(),
            inverse: Vec::new(),
        };
        if let Some(last) = blocks.last_mut()
            && let Some(head) = ranged(&last.commands, &block.commands)
        {
            head.clone_into(&mut last.commands[0].text);
            last.description = format!("change {head}");
            continue;
        }
        blocks.push(block);
    }
    blocks
}

/// `line vty 0 3` and `line vty 4` with the same lines below are `line vty 0 4`.
fn ranged(a: &[Command], b: &[Command]) -> Option<String> {
    let (first, second) = (a.first()?, b.first()?);
    if a.len() < 2 || a[1..] != b[1..] {
        return None;
    }
    let words: Vec<&str> = first.text.split(' ').collect();
    let next: Vec<&str> = second.text.split(' ').collect();
    let (["line", kind, from, ..], ["line", other, number]) = (&words[..], &next[..]) else { return None };
    let last: u32 = words.last()?.parse().ok()?;
    (kind == other && last + 1 == number.parse::<u32>().ok()?).then(|| format!("line {kind} {from} {number}"))
}
