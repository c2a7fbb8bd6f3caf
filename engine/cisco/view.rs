//! What lines say: each with the rule that explains it and the key by which another line is about the same thing.

use super::facts::{Kind, Negation, Rule, Scope};
use super::secrets::is_mask;
pub(super) use super::secrets::{is_masked, without_secret};
use super::tree::Node;

/// What identifies the thing that a line is about, within its section.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// The rule; the largest number for lines that no rule knows.
    rule: u16,
    words: String,
}

/// One thing that is said in a section.
#[derive(Debug, Clone)]
pub(super) struct Item<'t> {
    pub(super) rule: Option<&'static Rule>,
    pub(super) key: Key,
    /// Whether it is written with `no`.
    pub(super) is_off: bool,
    /// The line without its `no`.
    pub(super) text: &'t str,
    /// How many words of it the pattern took.
    taken: usize,
    /// The name of what it defines or uses.
    pub(super) name: Option<&'t str>,
    /// Whether the line stops where something must follow.
    pub(super) is_incomplete: bool,
    /// The lines that say it: a section may stand there twice.
    pub(super) nodes: Vec<&'t Node<'t>>,
}

impl<'t> Item<'t> {
    /// Reads a line; nothing for what says nothing.
    pub(super) fn read(scope: &'static Scope, node: &'t Node<'t>) -> Option<Self> {
        // `exit-address-family` is how a section is left, and says nothing.
        if node.is_trivia() || node.head.starts_with("exit-") || node.head == "exit" {
            return None;
        }
        let item = Self::of_text(scope, &node.head)?;
        Some(Self { nodes: vec![node], ..item })
    }

    /// Reads a command without its `no`, also one that says nothing.
    pub(super) fn command(scope: &'static Scope, text: &'t str) -> Self {
        Self::explained(scope, text, false)
    }

    /// Reads a line; nothing for what says nothing.
    pub(super) fn of_text(scope: &'static Scope, head: &'t str) -> Option<Self> {
        let is_off = head.starts_with("no ");
        let text = if is_off { head[3..].trim_start() } else { head };
        if is_off {
            let all: Vec<&str> = head.split(' ').collect();
            if scope.negative_rule(&all).is_some_and(|rule| matches!(rule.kind, Kind::Absent | Kind::Dynamic))
            {
                return None;
            }
        }
        let item = Self::explained(scope, text, is_off);
        match item.kind() {
            Kind::Absent | Kind::Dynamic if !is_off => None,
            // A switch whose line says what no line says, too.
            Kind::On if !is_off && !item.has_value() => None,
            Kind::Off if is_off => None,
            _ => Some(item),
        }
    }

    fn explained(scope: &'static Scope, text: &'t str, is_off: bool) -> Self {
        let words: Vec<&'t str> = text.split(' ').collect();
        let Some((rule, fit)) = scope.rule(&words) else {
            return Self {
                rule: None,
                key: Key { rule: u16::MAX, words: text.to_owned() },
                is_off,
                text,
                taken: words.len(),
                name: None,
                is_incomplete: false,
                nodes: Vec::new(),
            };
        };
        let words = match rule.kind {
            // The whole line is what there is or is not.
            Kind::Set | Kind::Tail | Kind::Entry => text.to_owned(),
            _ => fit.key.join(" "),
        };
        Self {
            rule: Some(rule),
            key: Key { rule: rule.id, words },
            is_off,
            text,
            taken: fit.taken,
            name: fit.name,
            is_incomplete: fit.is_incomplete,
            nodes: Vec::new(),
        }
    }

    /// Whether something follows the words of the pattern.
    pub(super) fn has_value(&self) -> bool {
        self.text.len() > self.prefix().len()
    }

    /// Returns the words that the pattern took.
    pub(super) fn prefix(&self) -> &'t str {
        prefix(self.text, self.taken)
    }

    /// Returns what follows them.
    pub(super) fn value(&self) -> &'t str {
        self.text[self.prefix().len()..].trim_start()
    }

    /// Returns the kind of its rule; what no rule knows is there or not.
    pub(super) fn kind(&self) -> Kind {
        self.rule.map_or(Kind::Set, |rule| rule.kind)
    }

    /// Returns the line.
    pub(super) fn line(&self) -> String {
        if self.is_off { format!("no {}", self.text) } else { self.text.to_owned() }
    }

    /// Returns the text that goes with its command.
    pub(super) fn body(&self) -> Option<&'t str> {
        self.nodes.iter().find_map(|node| node.body.as_deref())
    }

    /// Returns what stands below it, of all its lines.
    pub(super) fn children(&self) -> Vec<&'t Node<'t>> {
        self.nodes.iter().flat_map(|node| &node.children).collect()
    }

    /// Whether its text holds what a device shows instead of a secret.
    pub(super) fn is_masked(&self) -> bool {
        is_masked(self.text)
    }

    /// Returns the command that takes it away.
    pub(super) fn negated(&self) -> String {
        if self.is_off {
            return self.text.to_owned();
        }
        let negation = self.rule.map_or(Negation::Exact, |rule| rule.negation);
        let is_secret = self.is_masked() || self.rule.is_some_and(|rule| rule.is_secret);
        match (self.kind(), negation) {
            (Kind::On, _) => format!("default {}", self.prefix()),
            (Kind::Banner, _) => format!("no {}", self.text),
            (_, Negation::Name) => format!("no {}", prefix(self.text, 2)),
            (Kind::Set | Kind::Tail | Kind::Entry | Kind::List, _) if is_secret => {
                format!("no {}", unmasked(self.text))
            }
            (_, Negation::Key) => format!("no {}", self.prefix()),
            (Kind::Single | Kind::Replaces, _) if is_secret => format!("no {}", self.prefix()),
            _ => format!("no {}", self.text),
        }
    }

    /// Whether it says the same as another with its key.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.is_off == other.is_off
            && same_but_masked(self.text, other.text)
            && match (self.body(), other.body()) {
                (None, None) => true,
                (Some(a), Some(b)) => shown(a) == shown(b),
                _ => false,
            }
    }
}

fn prefix(text: &str, words: usize) -> &str {
    text.match_indices(' ').nth(words.saturating_sub(1)).map_or(text, |(at, _)| &text[..at])
}

/// The part of a line before what is masked.
fn unmasked(text: &str) -> &str {
    match text.split(' ').position(is_mask) {
        Some(0) | None => text,
        Some(at) => prefix(text, at),
    }
}

/// Whether two lines are the same wherever neither of them is masked.
pub(super) fn same_but_masked(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    if !a.contains("***") && !b.contains("***") {
        return false;
    }
    let (mut a, mut b) = (a.split(' '), b.split(' '));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(x), Some(y)) if x == y || is_mask(x) || is_mask(y) => {}
            // What follows a secret says how it is written: `pbkdf2`, `encrypted`.
            _ => return false,
        }
    }
}

/// A banner's lines, without its delimiters: which those are says nothing.
fn shown(body: &str) -> Vec<&str> {
    let text = body.trim();
    let delimiter = if text.starts_with("^C") { "^C" } else { text.get(..1).unwrap_or_default() };
    let text = text.strip_prefix(delimiter).unwrap_or(text);
    let text = text.strip_suffix(delimiter).unwrap_or(text);
    text.trim_matches('\n').lines().map(str::trim_end).collect()
}
