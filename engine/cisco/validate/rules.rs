//! Rules of a site as data.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::super::Os;
use super::super::facts::is_like;
use super::super::outline::Outline;
use super::super::view::without_secret;
use super::reach::Reachable;
use super::{Finding, Severity};

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
    /// Who has to be let in, at every line that takes SSH.
    #[serde(default)]
    pub reachable: Option<Reachable>,
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

impl Rule {
    /// Says where a configuration breaks it.
    pub(super) fn findings(&self, outline: &Outline) -> Vec<Finding> {
        let mut found = Found { rule: self, outline, findings: Vec::new() };
        if let Some(place) = &self.require
            && matching(outline, place.section.as_deref(), &place.line).is_empty()
        {
            let section =
                place.section.as_ref().map(|section| format!(" below `{section}`")).unwrap_or_default();
            found.add(0, &format!("`{}` is missing{section}", place.line));
        }
        if let Some(place) = &self.forbid {
            for (_, at) in matching(outline, place.section.as_deref(), &place.line) {
                found.add(at, &format!("`{}` must not be there", outline.text(at)));
            }
        }
        if let Some(every) = &self.every {
            found.every(every);
        }
        if let Some(sources) = &self.nat_sources {
            found.nat_sources(sources);
        }
        if let Some(reachable) = &self.reachable {
            for (at, message) in reachable.missing(outline) {
                found.add(at, &message);
            }
        }
        found.findings
    }
}

/// What a rule has found.
struct Found<'a> {
    rule: &'a Rule,
    outline: &'a Outline,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, at: usize, message: &str) {
        self.findings.push(Finding {
            rule: self.rule.name.clone(),
            severity: self.rule.severity,
            line: self.outline.number(at),
            // A line is repeated in part, and its secret never is.
            message: without_secret(message),
        });
    }

    fn every(&mut self, every: &Every) {
        let outline = self.outline;
        for (section, at) in matching(outline, every.section.as_deref(), &every.line) {
            let last = |at: usize| outline.text(at).rsplit(' ').next().unwrap_or_default().to_owned();
            let filled = |line: &str| line.replace("$value", &last(at)).replace("$section", &last(section));
            let head = outline.text(at);
            if let Some(line) = every.needs.as_deref().map(filled)
                && outline.find(0, &line).is_empty()
            {
                self.add(at, &format!("`{head}` needs `{line}`, which is missing"));
            }
            if let Some(line) = every.needs_beside.as_deref().map(filled)
                && outline.find(section, &line).is_empty()
            {
                self.add(at, &format!("`{head}` needs `{line}` beside it, which is missing"));
            }
        }
    }

    fn nat_sources(&mut self, sources: &NatSources) {
        let outline = self.outline;
        let members: HashSet<&str> = outline.members(&sources.group).into_iter().collect();
        if members.is_empty() {
            return self.add(0, &format!("group `{}` is not there, or is empty", sources.group));
        }
        let is_network = |line: &&str| {
            line.starts_with("subnet ") || line.starts_with("host ") || line.starts_with("range ")
        };
        let objects = outline.find(0, "object network *");
        let networks: HashMap<&str, &str> = objects
            .iter()
            .filter_map(|at| Some((outline.text(*at).strip_prefix("object network ")?, *at)))
            .flat_map(|(name, at)| outline.below(at).iter().map(move |line| (name, outline.text(*line))))
            .filter(|(_, line)| is_network(line))
            .collect();
        for at in outline.find(0, "nat *") {
            let words: Vec<&str> = outline.text(at).split(' ').skip(1).collect();
            if !is_like(&sources.interfaces, words[0]) {
                continue;
            }
            let Some(place) = words.iter().position(|word| *word == "source") else { continue };
            let Some(&name) = words.get(place + 2) else { continue };
            let Some(network) = networks.get(name) else { continue };
            if sources.private_only && !is_private(network) {
                continue;
            }
            if !members.contains(name) && !members.contains(*network) {
                self.add(
                    at,
                    &format!("`{name}` ({network}) is translated and is not in `{}`", sources.group),
                );
            }
        }
    }
}

/// Lines like a glob, each with its section.
fn matching(outline: &Outline, section: Option<&str>, line: &str) -> Vec<(usize, usize)> {
    let sections = section.map_or_else(|| vec![0], |section| outline.find(0, section));
    let inside = |section: usize| outline.find(section, line).into_iter().map(move |at| (section, at));
    sections.into_iter().flat_map(inside).collect()
}

/// Whether a network is private (RFC 1918).
fn is_private(line: &str) -> bool {
    let Some(address) = line.split(' ').nth(1) else { return false };
    let Ok(address) = address.parse::<std::net::Ipv4Addr>() else { return false };
    address.is_private()
}
