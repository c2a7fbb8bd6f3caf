//! Whether a device is what it is said to be, and what kind of difference there is.

use serde::Serialize;

use super::diff::{Unclear, compared, diff};
use super::filter::is_passing;
use super::guard::{Unusable, guard, guard_pair};
use super::plan::{Note, Plan};
use super::tree::Tree;
use super::{Os, sections};

/// How a device stands to what is intended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Drift {
    /// It is the same, byte for byte or but for what a device changes by itself.
    Same,
    /// It says the same in other words or another order, as far as it could be compared.
    Textual {
        /// Lines whose secrets one side does not tell: whether those are the same is unknown.
        notes: Vec<Note>,
    },
    /// It is another.
    Different {
        /// What kinds of difference there are.
        classes: Vec<Class>,
        /// What would bring it back.
        plan: Plan,
    },
    /// Nobody can tell.
    Unknown {
        /// Why.
        why: String,
    },
}

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Only ports are off that should be on, or the other way round: most likely somebody is testing.
    Transient,
    /// An access list, a policy or a map is not bound any more where it should be.
    LostBinding,
    /// Much is gone and little came.
    MassDeletion,
    /// What filters, translates or lets in is another.
    Policy,
    /// Anything else.
    Other,
}

/// More lines gone than this, and fewer than a tenth as many new ones, are a mass deletion.
const MANY: usize = 100;

/// Compares what runs with what is intended.
pub fn drift(os: Os, running: &str, intended: &str) -> Drift {
    let unusable = |error: Unusable, which: &str| Drift::Unknown { why: format!("{which}: {error}") };
    if let Err(error) = guard(os, running) {
        return unusable(error, "the running configuration cannot be used");
    }
    if let Err(error) = guard(os, intended) {
        return unusable(error, "the intended configuration cannot be used");
    }
    if let Err(error) = guard_pair(os, running, intended) {
        return Drift::Unknown { why: error.to_string() };
    }
    if running == intended {
        return Drift::Same;
    }
    match diff(os, running, intended) {
        Ok(plan) if plan.is_empty() => {
            if bare(os, running) == bare(os, intended) {
                Drift::Same
            } else {
                Drift::Textual { notes: plan.notes }
            }
        }
        Ok(plan) => Drift::Different { classes: classes(os, running, intended, &plan), plan },
        // It is another for certain, even where no commands lead from one to the other.
        Err(error @ (Unclear::Refused { .. } | Unclear::NoEnd { .. })) => {
            let (mut a, mut b) = (Tree::read(os, running), Tree::read(os, intended));
            sections::split(&mut a);
            sections::split(&mut b);
            let plan = compared(&a, &b);
            if plan.is_empty() {
                return Drift::Unknown { why: error.to_string() };
            }
            Drift::Different { classes: classes(os, running, intended, &plan), plan }
        }
    }
}

/// The lines that are no comments and do not change by themselves.
fn bare(os: Os, text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    lines
        .filter(|line| {
            let line = line.trim_start();
            !(line.starts_with('!') || line.starts_with(": ") || is_passing(os, line))
        })
        .collect()
}

fn classes(os: Os, running: &str, intended: &str, plan: &Plan) -> Vec<Class> {
    let mut found = std::collections::BTreeSet::new();
    let commands: Vec<&str> = plan.commands().map(|command| command.text.as_str()).collect();
    let is_header = |text: &str| text.starts_with("interface ") || text.starts_with("exit");
    let is_test = |text: &&&str| {
        let text = text.strip_prefix("no ").unwrap_or(text);
        text == "shutdown" || text.starts_with("power inline")
    };
    if !commands.is_empty() && commands.iter().filter(|text| !is_header(text)).all(|text| is_test(&text)) {
        return vec![Class::Transient];
    }
    let binds = |text: &str| {
        text.starts_with("access-group ")
            || text.starts_with("ip access-group ")
            || text.starts_with("service-policy ")
            || text.starts_with("crypto map ")
            || text.starts_with("access-class ")
            || (text.starts_with("ip policy route-map ") && os != Os::Asa)
    };
    // What a plan would bring back is missing on the device.
    if commands.iter().any(|text| binds(text)) {
        found.insert(Class::LostBinding);
    }
    let filters = |text: &str| {
        let text = text.strip_prefix("no ").unwrap_or(text);
        [
            "access-list ",
            "ip access-list ",
            "nat ",
            "permit ",
            "deny ",
            "ssh ",
            "http ",
            "username ",
            "aaa ",
            "object-group ",
        ]
        .iter()
        .any(|begin| text.starts_with(begin))
            || text.split(' ').next().is_some_and(|word| word.parse::<u32>().is_ok())
    };
    if commands.iter().any(|text| filters(text)) {
        found.insert(Class::Policy);
    }
    let lines = |text: &str| -> std::collections::HashSet<String> {
        bare(os, text).into_iter().map(str::to_owned).collect()
    };
    let (have, want) = (lines(running), lines(intended));
    let gone = want.difference(&have).count();
    let new = have.difference(&want).count();
    if gone > MANY && new * 10 < gone {
        found.insert(Class::MassDeletion);
    }
    if found.is_empty() {
        found.insert(Class::Other);
    }
    found.into_iter().collect()
}
