//! `nlrun caps`: proposes `NEEDS` from what the check found.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::runbook::Names;
use crate::runner::check::{Context, Target, Use, needs::propose};

/// Writes `const NEEDS = […];` for these uses: narrow where the text tells the target, the bare verb where it does not.
pub fn needs(used: &[Use], names: &dyn Names) -> String {
    let kept = proposals(used, names);
    if kept.is_empty() {
        return "const NEEDS = [];\n".to_owned();
    }
    let lines: Vec<String> = kept.iter().map(|need| format!("    {},\n", quoted(need))).collect();
    format!("const NEEDS = [\n{}];\n", lines.concat())
}

/// Returns the capabilities that cover these uses, sorted; what a wider one covers is left out.
pub fn proposals(used: &[Use], names: &dyn Names) -> Vec<String> {
    let context = Context { vocabulary: BTreeMap::new(), names, secrets: None };
    let asks = |one: &&Use| one.target != Target::Run;
    let all: BTreeSet<String> = used.iter().filter(asks).map(|one| propose(one, &context)).collect();
    let covered = |need: &String| all.iter().any(|wider| wider != need && includes(wider, need));
    all.iter().filter(|need| !covered(need)).cloned().collect()
}

/// Puts what past runs touched in the place of what the text does not tell; where it tells, they add nothing but where a
/// path that it names led through links.
///
/// Hosts that are together exactly one group are named by it: `groups` has the name of each such set.
pub fn with_past(
    used: Vec<Use>,
    past: &BTreeSet<(String, Touched)>,
    groups: &BTreeMap<BTreeSet<String>, String>,
) -> Vec<Use> {
    let mut hosts: BTreeMap<(&'static str, Option<&String>), BTreeSet<String>> = BTreeMap::new();
    let mut found: Vec<(&'static str, Target)> = Vec::new();
    for (effect, touched) in past {
        let is_meant = |one: &&Use| match (&one.target, touched) {
            _ if one.verb != effect => false,
            (Target::Unknown { .. }, _) => true,
            (Target::Hosts { path: Some(told), .. }, Touched::Behind { path, .. }) => told == path,
            // What a run touched in a cluster is narrower than all of it.
            (Target::Below(name), Touched::Named(touched)) => touched.split('/').next() == Some(name),
            (Target::Run | Target::Hosts { .. } | Target::Named(_) | Target::Below(_), _) => false,
        };
        let Some(verb) = used.iter().find(is_meant).map(|one| one.verb) else { continue };
        match touched {
            Touched::Host { host, path } => {
                hosts.entry((verb, path.as_ref())).or_default().insert(host.clone());
            }
            Touched::Behind { host, real, .. } => {
                hosts.entry((verb, Some(real))).or_default().insert(host.clone());
            }
            Touched::Named(name) => found.push((verb, Target::Named(name.clone()))),
        }
    }
    for ((verb, path), hosts) in hosts {
        let path = path.cloned();
        match groups.get(&hosts) {
            Some(group) => found.push((verb, Target::Hosts { pattern: format!("@{group}"), path })),
            None => found.extend(
                hosts.into_iter().map(|pattern| (verb, Target::Hosts { pattern, path: path.clone() })),
            ),
        }
    }
    let is_told = |one: &Use| {
        !matches!(one.target, Target::Unknown { .. } | Target::Below(_))
            || !found.iter().any(|(verb, _)| *verb == one.verb)
    };
    let mut all: Vec<Use> = used.into_iter().filter(is_told).collect();
    all.extend(found.into_iter().map(|(verb, target)| Use {
        verb,
        target,
        file: String::new(),
        line: 0,
        column: 0,
        length: 0,
    }));
    all
}

/// What an effect of a past run touched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    /// A host, and a path on it where the effect is about one.
    Host {
        /// Its name.
        host: String,
        /// The path.
        path: Option<String>,
    },
    /// Where a path of a host led through links.
    Behind {
        /// The host's name.
        host: String,
        /// The path that was asked for.
        path: String,
        /// The one behind the links.
        real: String,
    },
    /// A name.
    Named(String),
}

/// Whether the first capability plainly covers the second: the same but for a missing target or path.
fn includes(wider: &str, narrower: &str) -> bool {
    let (mut wide, mut narrow) = (wider.splitn(3, ':'), narrower.splitn(3, ':'));
    (0..3).all(|_| match (wide.next(), narrow.next()) {
        (None | Some(""), _) => true,
        (Some(wide), Some(narrow)) => wide == narrow,
        (Some(_), None) => false,
    })
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::check::Target;

    struct Inventory;

    impl Names for Inventory {
        fn host(&self, name: &str) -> bool {
            name == "edge-1"
        }
        fn group(&self, name: &str) -> bool {
            name == "edge"
        }
        fn hosts_in(&self, _: &str) -> Result<Vec<String>, String> {
            Ok(Vec::new())
        }
        fn nearest_host(&self, _: &str) -> Option<String> {
            None
        }
        fn nearest_group(&self, _: &str) -> Option<String> {
            None
        }
    }

    #[test]
    fn proposes_the_narrowest_that_covers() {
        let used = |verb, target| Use { verb, target, file: "a".into(), line: 1, column: 1, length: 1 };
        let hosts = |pattern: &str, path: Option<&str>| Target::Hosts {
            pattern: pattern.into(),
            path: path.map(str::to_owned),
        };
        let proposed = needs(
            &[
                used("ssh.exec", hosts("edge", None)),
                used("ssh.exec", hosts("edge", None)),
                used("ssh.read", hosts("edge-1", None)),
                used("ssh.read", Target::Unknown { path: None }),
                used("file.put", hosts("edge", Some("/etc/motd"))),
                used("file.put", hosts("edge", Some("/etc/x\"y"))),
                used("ssh.script", hosts("edge:&nl", None)),
                used("secret.read", Target::Named("db/root".into())),
                used("report.write", Target::Run),
            ],
            &Inventory,
        );
        let expected = "const NEEDS = [
    \"file.put:@edge:/etc/motd\",
    \"file.put:@edge:/etc/x\\\"y\",
    \"secret.read:db/root\",
    \"ssh.exec:@edge\",
    \"ssh.read\",
    \"ssh.script\",
];
";
        assert_eq!(proposed, expected);
        assert_eq!(needs(&[], &Inventory), "const NEEDS = [];\n");
    }
}
