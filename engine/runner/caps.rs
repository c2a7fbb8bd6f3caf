//! `nlrun caps`: proposes `NEEDS` from what the check found.

use std::collections::BTreeSet;

use crate::model::runbook::Names;
use crate::runner::check::{Context, Target, Use, needs::propose};

/// Writes `const NEEDS = […];` for these uses: narrow where the text tells the target, the bare verb where it does not.
pub fn needs(used: &[Use], names: &dyn Names) -> String {
    let context = Context { vocabulary: std::collections::BTreeMap::new(), names, secrets: None };
    let asks = |one: &&Use| one.target != Target::Run;
    let all: BTreeSet<String> = used.iter().filter(asks).map(|one| propose(one, &context)).collect();
    let kept: Vec<&String> =
        all.iter().filter(|need| !all.iter().any(|wider| wider != *need && includes(wider, need))).collect();
    if kept.is_empty() {
        return "const NEEDS = [];\n".to_owned();
    }
    let lines: Vec<String> = kept.iter().map(|need| format!("    {},\n", quoted(need))).collect();
    format!("const NEEDS = [\n{}];\n", lines.concat())
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
