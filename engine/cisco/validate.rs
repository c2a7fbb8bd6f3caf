//! What is wrong with a configuration by itself: names that lead nowhere, addresses that are there twice, and rules that a site has.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::Os;
use super::facts::{ANY, Facts, ScopeId, TOP, is_like};
use super::guard::guard;
use super::tree::{Node, Tree};
use super::view::without_secret;

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

/// A rule of a site, as `nlrun cisco validate --rules FILE` reads it. Lines are globs: `*` is any text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// How bad it is when it is broken.
    #[serde(default = "error")]
    pub severity: Severity,
    /// Which platforms it is about; none: all.
    #[serde(default)]
    pub os: Vec<Os>,
    /// A line has to be there.
    #[serde(default)]
    pub require: Option<Place>,
    /// A line must not be there.
    #[serde(default)]
    pub forbid: Option<Place>,
    /// Wherever a line is, another has to be.
    #[serde(default)]
    pub every: Option<Every>,
    /// What is translated from some interfaces has to be in a group of objects, also through groups in groups.
    #[serde(default)]
    pub nat_sources: Option<NatSources>,
}

fn error() -> Severity {
    Severity::Error
}

/// A line, in a section or at the top.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The section's header; none for the top.
    pub section: Option<String>,
    /// The line.
    pub line: String,
}

/// Each line, and what has to be with it; `$value` stands for the line's last word and `$section` for the last word of its section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Every {
    /// The section's header; none for the top.
    pub section: Option<String>,
    /// The line.
    pub line: String,
    /// A line of the top that has to be there.
    pub needs: Option<String>,
    /// A line of the same section that has to be there.
    pub needs_beside: Option<String>,
}

/// Which translations, and the group that their sources have to be in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatSources {
    /// The pair of interfaces, as a glob: `(*,outside_*)`.
    pub interfaces: String,
    /// The group.
    pub group: String,
    /// Whether only private networks (RFC 1918) count.
    #[serde(default)]
    pub private_only: bool,
}

/// Looks for what is wrong. It fails closed: a text that cannot be used has a critical finding.
pub fn validate(os: Os, text: &str, rules: &[Rule]) -> Vec<Finding> {
    if let Err(error) = guard(os, text) {
        return vec![Finding {
            rule: "usable".to_owned(),
            severity: Severity::Critical,
            line: 0,
            message: format!("it is no whole configuration: {error}"),
        }];
    }
    let tree = Tree::read(os, text);
    let mut check = Check { text, tree: &tree, facts: Facts::of(os), findings: Vec::new() };
    check.references();
    check.addresses();
    check.leftovers();
    for rule in rules.iter().filter(|rule| rule.os.is_empty() || rule.os.contains(&os)) {
        check.rule(rule);
    }
    let mut findings = check.findings;
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

    fn rule(&mut self, rule: &Rule) {
        if let Some(place) = &rule.require
            && self.matching(place.section.as_deref(), &place.line).is_empty()
        {
            let section =
                place.section.as_ref().map(|section| format!(" below `{section}`")).unwrap_or_default();
            self.find(&rule.name, rule.severity, None, format!("`{}` is missing{section}", place.line));
        }
        if let Some(place) = &rule.forbid {
            for (_, node) in self.matching(place.section.as_deref(), &place.line) {
                self.find(
                    &rule.name,
                    rule.severity,
                    Some(node),
                    format!("`{}` must not be there", node.head),
                );
            }
        }
        if let Some(every) = &rule.every {
            self.every(rule, every);
        }
        if let Some(sources) = &rule.nat_sources {
            self.nat_sources(rule, sources);
        }
    }

    fn every(&mut self, rule: &Rule, every: &Every) {
        for (section, node) in self.matching(every.section.as_deref(), &every.line) {
            let last = |head: &str| head.rsplit(' ').next().unwrap_or_default().to_owned();
            let filled = |line: &str| {
                let section = section.map(|section| last(&section.head)).unwrap_or_default();
                line.replace("$value", &last(&node.head)).replace("$section", &section)
            };
            if let Some(needs) = &every.needs {
                let line = filled(needs);
                if !self.tree.nodes.iter().any(|node| is_like(&line, &node.head)) {
                    let message = format!("`{}` needs `{line}`, which is missing", node.head);
                    self.find(&rule.name, rule.severity, Some(node), message);
                }
            }
            if let Some(needs) = &every.needs_beside {
                let line = filled(needs);
                let beside = section.map_or(&self.tree.nodes, |section| &section.children);
                if !beside.iter().any(|node| is_like(&line, &node.head)) {
                    let message = format!("`{}` needs `{line}` beside it, which is missing", node.head);
                    self.find(&rule.name, rule.severity, Some(node), message);
                }
            }
        }
    }

    /// Lines like a glob, each with its section.
    fn matching(&self, section: Option<&str>, line: &str) -> Vec<(Option<&'a Node<'a>>, &'a Node<'a>)> {
        let fits = |node: &&'a Node<'a>| !node.is_trivia() && is_like(line, &node.head);
        match section {
            None => self.tree.nodes.iter().filter(fits).map(|node| (None, node)).collect(),
            Some(section) => {
                let sections =
                    self.tree.nodes.iter().filter(|node| !node.is_trivia() && is_like(section, &node.head));
                sections
                    .flat_map(|node| node.children.iter().filter(fits).map(move |child| (Some(node), child)))
                    .collect()
            }
        }
    }

    fn nat_sources(&mut self, rule: &Rule, sources: &NatSources) {
        let members = self.members(&sources.group);
        if members.is_empty() {
            self.find(
                &rule.name,
                rule.severity,
                None,
                format!("group `{}` is not there, or is empty", sources.group),
            );
            return;
        }
        let networks: HashMap<&'a str, &'a str> = self
            .tree
            .nodes
            .iter()
            .filter_map(|node| Some((node.head.strip_prefix("object network ")?, node)))
            .flat_map(|(name, node)| node.children.iter().map(move |child| (name, &*child.head)))
            .filter(|(_, line)| {
                line.starts_with("subnet ") || line.starts_with("host ") || line.starts_with("range ")
            })
            .collect();
        for node in &self.tree.nodes {
            let Some(rest) = node.head.strip_prefix("nat ") else { continue };
            let words: Vec<&'a str> = rest.split(' ').collect();
            if !is_like(&sources.interfaces, words[0]) {
                continue;
            }
            let Some(at) = words.iter().position(|word| *word == "source") else { continue };
            let Some(&name) = words.get(at + 2) else { continue };
            let Some(network) = networks.get(name) else { continue };
            if sources.private_only && !is_private(network) {
                continue;
            }
            if !members.contains(name) && !members.contains(*network) {
                let message = format!("`{name}` ({network}) is translated and is not in `{}`", sources.group);
                self.find(&rule.name, rule.severity, Some(node), message);
            }
        }
    }

    /// The names and networks of a group, also of the groups in it.
    fn members(&self, group: &str) -> HashSet<&'a str> {
        let mut found = HashSet::new();
        let mut open = vec![group.to_owned()];
        let mut seen = HashSet::new();
        while let Some(name) = open.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let header = format!("object-group network {name}");
            for child in
                self.tree.nodes.iter().filter(|node| *node.head == header).flat_map(|node| &node.children)
            {
                if let Some(inner) = child.head.strip_prefix("group-object ") {
                    open.push(inner.to_owned());
                }
                let member = child.head.strip_prefix("network-object object ");
                found.extend(member.or_else(|| child.head.strip_prefix("network-object ")));
            }
        }
        found
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

/// Whether a network is private (RFC 1918).
fn is_private(line: &str) -> bool {
    let Some(address) = line.split(' ').nth(1) else { return false };
    let Ok(address) = address.parse::<std::net::Ipv4Addr>() else { return false };
    address.is_private()
}
