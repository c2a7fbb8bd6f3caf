//! What is wrong with a configuration by itself: names that lead nowhere, addresses that are there twice, lines that nobody may come in
//! by, and rules that a site has.

mod reach;
mod rules;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::Os;
use super::facts::{ANY, Facts, ScopeId, TOP};
use super::guard::guard;
use super::outline::Outline;
use super::tree::{Node, Tree};
use super::view::without_secret;

pub use reach::{Reachable, Source};
pub use rules::{Every, NatSources, Place, Rule};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// To be looked at.
    Warning,
    /// It is wrong.
    Error,
    /// It must never reach a device, nor come from one into Git.
    Critical,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// The line, from one; 0 for what is missing as a whole.
    pub line: usize,
    /// What is wrong, and with what.
    pub message: String,
}

/// Refuses what is no whole configuration, as a finding.
pub fn usable(os: Os, text: &str) -> Result<(), Finding> {
    guard(os, text).map_err(|error| Finding {
        rule: "usable".to_owned(),
        severity: Severity::Critical,
        line: 0,
        message: format!("it is no whole configuration: {error}"),
    })
}

/// Looks for what is wrong. It fails closed: a text that cannot be used has a critical finding.
pub fn validate(os: Os, text: &str, rules: &[Rule]) -> Vec<Finding> {
    if let Err(finding) = usable(os, text) {
        return vec![finding];
    }
    let tree = Tree::read(os, text);
    let mut check = Check { text, tree: &tree, facts: Facts::of(os), findings: Vec::new() };
    check.references();
    check.addresses();
    check.leftovers();
    let mut findings = check.findings;
    let outline = Outline::read(os, text);
    findings.extend(reach::closed(&outline));
    for rule in rules.iter().filter(|rule| rule.os.is_empty() || rule.os.contains(&os)) {
        findings.extend(rule.findings(&outline));
    }
    findings.sort_by(|a, b| (a.line, &a.rule).cmp(&(b.line, &b.rule)));
    findings
}

struct Check<'a> {
    text: &'a str,
    tree: &'a Tree<'a>,
    facts: &'static Facts,
    findings: Vec<Finding>,
}

/// A name with the kind of thing that it is of.
type Name<'a> = (&'static str, &'a str);

impl<'a> Check<'a> {
    fn find(&mut self, rule: &str, severity: Severity, node: Option<&Node<'a>>, message: String) {
        let line = node.map_or(0, |node| {
            let offset = (node.raw.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
            self.text.get(..offset).map_or(0, |before| before.matches('\n').count() + 1)
        });
        // A line is repeated in part, and its secret never is.
        let message = without_secret(&message);
        self.findings.push(Finding { rule: rule.to_owned(), severity, line, message });
    }

    /// Names that are used and not defined, and lists that are defined and not used.
    fn references(&mut self) {
        let mut defined: HashMap<Name<'a>, &'a Node<'a>> = HashMap::new();
        let mut used: Vec<(Name<'a>, &'a Node<'a>, bool)> = Vec::new();
        collect(self.facts, &self.tree.nodes, TOP, &mut defined, &mut used);
        let names: HashSet<Name<'a>> = used.iter().map(|(name, ..)| *name).collect();
        let mut told = HashSet::new();
        for ((kind, name), node, is_mention) in &used {
            let is_known = defined.contains_key(&(*kind, *name))
                // Acts as a name and as a number: `access-class 23`.
                || super::device::is_built_in(name)
                || (*kind == "interface" && !name.contains(|letter: char| letter.is_ascii_digit()));
            if !is_known && !is_mention && told.insert((kind, name)) {
                let message = format!("`{}` names {kind} `{name}`, which is not there", node.head);
                self.find("references", Severity::Error, Some(node), message);
            }
        }
        let mut lists: Vec<(&Name<'a>, &&'a Node<'a>)> =
            defined.iter().filter(|((kind, _), _)| *kind == "acl").collect();
        lists.sort_by_key(|(name, _)| **name);
        for ((kind, name), node) in lists {
            if !names.contains(&(*kind, *name)) {
                let message = format!("access list `{name}` is bound to nothing");
                self.find("bound", Severity::Warning, Some(node), message);
            }
        }
    }

    /// Addresses that two interfaces have.
    fn addresses(&mut self) {
        let mut seen: HashMap<(String, &'a str), &'a Node<'a>> = HashMap::new();
        for node in self.tree.nodes.iter().filter(|node| node.head.starts_with("interface ")) {
            let vrf = node
                .children
                .iter()
                .find_map(|child| child.head.split_once("vrf forwarding ").map(|(_, name)| name));
            for child in &node.children {
                let Some(rest) = child.head.strip_prefix("ip address ") else { continue };
                let Some(address) = rest.split(' ').next().filter(|word| word.contains('.')) else {
                    continue;
                };
                let key = (vrf.unwrap_or_default().to_owned(), address);
                match seen.get(&key) {
                    Some(first) => {
                        let message = format!("`{}` and `{}` both have {address}", first.head, node.head);
                        self.find("addresses", Severity::Error, Some(child), message);
                    }
                    None => {
                        seen.insert(key, node);
                    }
                }
            }
        }
    }

    /// What somebody left from looking for an error, and what was meant to be a line and is none.
    fn leftovers(&mut self) {
        for node in &self.tree.nodes {
            let head = &*node.head;
            let what = match head {
                "no logging buffered" => "nothing is logged into memory",
                "write erase" | "reload" => "this is a command, and no configuration",
                _ if head.starts_with("debug ") => "this is a command, and no configuration",
                _ if head.starts_with("default interface ") => "this is a command, and no configuration",
                _ => continue,
            };
            self.find("leftovers", Severity::Warning, Some(node), format!("`{head}`: {what}"));
        }
    }
}

fn collect<'a>(
    facts: &'static Facts,
    nodes: &'a [Node<'a>],
    scope: ScopeId,
    defined: &mut HashMap<Name<'a>, &'a Node<'a>>,
    used: &mut Vec<(Name<'a>, &'a Node<'a>, bool)>,
) {
    let rules = facts.scope(scope);
    for node in nodes.iter().filter(|node| !node.is_trivia()) {
        let words: Vec<&'a str> = node.head.split(' ').collect();
        rules.uses(&words, |kind, name| used.push(((kind, name), node, rules.mentions(kind, &words))));
        let found = rules.rule(&words);
        if let Some((rule, fit)) = &found
            && let (Some(kind), Some(name)) =
                (rule.defines, fit.name.or_else(|| words.get(fit.taken).copied()))
        {
            defined.entry((kind, name)).or_insert(node);
        }
        if scope == TOP && matches!(words[0], "access-list" | "nat") {
            let pairs = words.windows(2).filter(|pair| matches!(pair[0], "object" | "object-group"));
            used.extend(pairs.map(|pair| (("object", pair[1]), node, false)));
        }
        let inner = found.map_or(ANY, |(rule, _)| rule.inner);
        collect(facts, &node.children, inner, defined, used);
    }
}
