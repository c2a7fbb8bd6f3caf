//! Compares the capabilities that reachable calls use with `NEEDS`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::sync::Arc;

use crate::model::capability::Capability;
use crate::model::diagnostic::Diagnostic;
use crate::model::effect;
use crate::model::nearest::did_you_mean;
use crate::model::runbook::Header;
use crate::runner::check::walk::Place;
use crate::runner::check::{Context, Program, Script, Target, Use};

/// A function of a script; `None` is the top of the script, `Some("*")` every function.
type Node = (String, Option<String>);

/// A call from one function to another.
#[derive(Debug)]
pub(super) struct Edge {
    from: Node,
    to: Node,
}

impl Edge {
    pub(super) fn function(inside: Option<&str>, script: &str, name: &str) -> Self {
        Self {
            from: (script.to_owned(), inside.map(str::to_owned)),
            to: (script.to_owned(), Some(name.to_owned())),
        }
    }

    pub(super) fn called_from(mut self, script: &str) -> Self {
        script.clone_into(&mut self.from.0);
        self
    }

    /// A call of a function whose name only the run knows.
    pub(super) fn anything(inside: Option<&str>, script: &str) -> Self {
        Self::function(inside, script, "*")
    }
}

/// Who calls whom, and who uses what.
#[derive(Default)]
pub(super) struct Graph {
    edges: BTreeMap<Node, Vec<Node>>,
    used: Vec<(Node, Use)>,
    tops: Vec<Node>,
}

impl Graph {
    pub(super) fn add(&mut self, script: &Script, edges: Vec<Edge>, used: Vec<(Option<String>, Use)>) {
        for edge in edges {
            self.edges.entry(edge.from).or_default().push(edge.to);
        }
        self.used.extend(used.into_iter().map(|(inside, used)| ((script.path.clone(), inside), used)));
        // The top of an imported script runs when it is imported.
        self.tops.push((script.path.clone(), None));
    }

    /// Returns the uses that a run can reach.
    ///
    /// A script without NEEDS and without a call of its own, as those of a library are, counts whole.
    pub(super) fn reachable(self, entry: &str, header: &Header) -> Vec<Use> {
        let top = (entry.to_owned(), None);
        let is_library = header.needs.is_none()
            && !self.edges.contains_key(&top)
            && self.used.iter().all(|(node, _)| *node != top);
        let mut seen: BTreeSet<Node> = BTreeSet::new();
        let mut open = self.tops;
        if is_library {
            open.push((entry.to_owned(), Some("*".to_owned())));
        }
        while let Some(node) = open.pop() {
            if !seen.insert(node.clone()) {
                continue;
            }
            if node.1.as_deref() == Some("*") {
                open.extend(self.edges.keys().filter(|other| other.0 == node.0).cloned());
            }
            open.extend(self.edges.get(&node).into_iter().flatten().cloned());
        }
        let every = |script: &str| seen.contains(&(script.to_owned(), Some("*".to_owned())));
        self.used
            .into_iter()
            .filter(|(node, _)| seen.contains(node) || every(&node.0))
            .map(|(_, used)| used)
            .collect()
    }
}

/// Checks `NEEDS` itself, and every use against it.
pub(super) fn compare(
    header: &Header,
    used: &[Use],
    context: &Context,
    program: &Program,
    found: &mut Vec<Diagnostic>,
) {
    let (Some(needs), Some(entry)) = (&header.needs, program.scripts.first()) else { return };
    let verbs: BTreeSet<&str> =
        context.vocabulary.values().filter_map(|signature| signature.performs.map(|p| p.effect)).collect();
    for need in needs {
        let text = need.to_string();
        let verb = text.split(':').next().unwrap_or_default();
        let wrong = if !verbs.iter().any(|effect| need.concerns(effect)) {
            let hint = did_you_mean(verb, verbs.iter().copied());
            Some(("unknown-capability", format!("no function performs `{verb}`"), hint))
        } else if let Some(group) =
            need.group().filter(|group| *group != "all" && !context.names.group(group))
        {
            let hint = context.names.nearest_group(group).map(|near| format!("did you mean `@{near}`?"));
            Some(("unknown-group", format!("`{group}` is not a group of the inventory"), hint))
        } else {
            None
        };
        if let Some((code, message, hint)) = wrong {
            let quoted = format!("\"{text}\"");
            let (line, column) = Place::of_text(&entry.text, &quoted).unwrap_or((1, 1));
            let length = quoted.chars().count();
            found.push(
                Diagnostic::error(code, message)
                    .at(&entry.path, &entry.text, line, column, length)
                    .maybe_hint(hint),
            );
        }
    }
    for one in used {
        let Some(missing) = missing(one, needs, context) else { continue };
        let text = program.script(&one.file).map_or("", |script| &script.text);
        found.push(
            Diagnostic::error("missing-need", format!("NEEDS does not cover `{missing}`"))
                .at(&one.file, text, one.line, one.column, one.length)
                .hint(format!("add \"{}\" to NEEDS of {}", propose(one, context), entry.path)),
        );
    }
}

/// Returns what no need covers, as far as the text tells.
fn missing(one: &Use, needs: &[Capability], context: &Context) -> Option<String> {
    let verb = one.verb;
    let concerned: Vec<&Capability> = needs.iter().filter(|need| need.concerns(verb)).collect();
    let covered = |target: &effect::Target| concerned.iter().any(|need| need.covers(verb, target));
    match &one.target {
        // What concerns only the run itself needs no permission; the gate asks for none either.
        Target::Run => None,
        Target::Named(name) => {
            (!covered(&effect::Target::Named { name: name.clone() })).then(|| format!("{verb}:{name}"))
        }
        Target::Below(name) => {
            let is_below = |need: &&Capability| {
                let text = need.to_string();
                let Some((_, rest)) = text.split_once(':') else { return true };
                let first = rest.split('/').next().unwrap_or_default();
                let glob = Capability::from_str(&format!("{verb}:{first}"));
                glob.is_ok_and(|glob| glob.covers(verb, &effect::Target::Named { name: name.clone() }))
            };
            (!concerned.iter().any(is_below)).then(|| format!("{verb}:{name}/…"))
        }
        Target::Unknown { path: _ } => concerned.is_empty().then(|| verb.to_owned()),
        Target::Hosts { pattern, path } => {
            let Ok(hosts) = context.names.hosts_in(pattern) else {
                // Reported where the name is written.
                return concerned.is_empty().then(|| format!("{verb}:{pattern}"));
            };
            if hosts.is_empty() && concerned.is_empty() {
                return Some(verb.to_owned());
            }
            let missing = hosts.iter().find(|host| {
                let groups: BTreeSet<String> = concerned
                    .iter()
                    .filter_map(|need| need.group())
                    .filter(|group| context.names.hosts_in(group).is_ok_and(|members| members.contains(host)))
                    .map(str::to_owned)
                    .collect();
                let target = |path: Option<String>| effect::Target::Host {
                    host: host.as_str().into(),
                    groups: Arc::new(groups.clone()),
                    path,
                };
                match path {
                    Some(path) => !covered(&target(Some(path.clone()))),
                    // An unknown path may be the one that a need names: compare the host alone.
                    None => !concerned.iter().any(|need| {
                        let text = need.to_string();
                        let without = text.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
                        without.parse().is_ok_and(|need: Capability| need.covers(verb, &target(None)))
                    }),
                }
            })?;
            Some(match path {
                Some(path) => format!("{verb}:{missing}:{path}"),
                None => format!("{verb}:{missing}"),
            })
        }
    }
}

/// Returns the narrowest capability that covers a use.
pub(in crate::runner) fn propose(one: &Use, context: &Context) -> String {
    let verb = one.verb;
    match &one.target {
        Target::Run | Target::Unknown { path: None } => verb.to_owned(),
        Target::Named(name) => format!("{verb}:{name}"),
        Target::Below(name) => format!("{verb}:{name}/**"),
        Target::Unknown { path: Some(path) } => format!("{verb}::{path}"),
        Target::Hosts { pattern, path } => {
            let simple = pattern.trim_start_matches('@');
            let target = if context.names.host(simple) {
                simple.to_owned()
            } else if context.names.group(simple) || simple == "all" {
                format!("@{simple}")
            } else if !simple.contains([':', '!', '&', '[', ',']) {
                simple.to_owned()
            } else {
                String::new()
            };
            match (target.is_empty(), path) {
                (true, None) => verb.to_owned(),
                (false, None) => format!("{verb}:{target}"),
                (_, Some(path)) => format!("{verb}:{target}:{path}"),
            }
        }
    }
}
