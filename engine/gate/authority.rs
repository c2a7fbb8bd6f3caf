//! May it: the intersection of what a runbook needs and what its trigger was granted.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::gate::Stop;
use crate::gate::cancellation::Cleaning;
use crate::model::capability::Capability;
use crate::model::effect::Target;

/// Asks the person at the terminal a question that wants yes or no; `None` when nobody can be asked.
pub trait Ask: Send + Sync {
    /// Returns the answer; waits for one only until the run has to end.
    fn confirm(&self, question: &str, has_to_end: &dyn Fn() -> bool) -> Option<bool>;
}

/// Nobody is there.
pub struct Nobody;

impl Ask for Nobody {
    fn confirm(&self, _question: &str, _has_to_end: &dyn Fn() -> bool) -> Option<bool> {
        None
    }
}

/// How the gate asks that person: within the time that the run has.
pub(super) type Asking<'a> = &'a dyn Fn(&str) -> Option<bool>;

/// Whether the script selected every host of the inventory, and what a person says to that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Whole {
    /// It did not.
    #[default]
    Unselected,
    /// It did, and nobody was asked yet whether all of them may be changed.
    Selected(usize),
    /// A person said yes, once for the run.
    Approved,
}

/// What a run may do.
pub struct Authority {
    runbook: String,
    /// `NEEDS`; `None` when the runbook has none.
    needs: Option<Vec<Capability>>,
    /// What the trigger holds.
    grants: Vec<Capability>,
    /// What was granted ahead (`--allow`) or by an answer, for a runbook without `NEEDS`.
    allow: Mutex<Vec<Capability>>,
    /// The most hosts that may be written to.
    max_hosts: Option<usize>,
    written: Mutex<BTreeSet<String>>,
    whole: Mutex<Whole>,
}

impl Authority {
    /// Puts together what a run may do.
    pub fn new(
        runbook: String,
        needs: Option<Vec<Capability>>,
        grants: Vec<Capability>,
        allow: Vec<Capability>,
        max_hosts: Option<usize>,
    ) -> Self {
        Self {
            runbook,
            needs,
            grants,
            allow: Mutex::new(allow),
            max_hosts,
            written: Mutex::default(),
            whole: Mutex::default(),
        }
    }

    /// Returns what was granted by answers, to be pinned in a plan.
    pub fn allowed(&self) -> Vec<String> {
        self.allow.lock().iter().map(ToString::to_string).collect()
    }

    /// Notes that the script selected every host of the inventory.
    pub fn selected_all(&self, count: usize) {
        let mut whole = self.whole.lock();
        if *whole != Whole::Approved {
            *whole = Whole::Selected(count);
        }
    }

    /// Decides whether an effect may touch its target.
    pub(super) fn check(&self, effect: &str, target: &Target, ask: Asking<'_>) -> Result<(), Stop> {
        // What concerns only the run itself (the clock, a report, an approval) needs no permission.
        if *target == Target::Run {
            return Ok(());
        }
        if !self.grants.iter().any(|grant| grant.covers(effect, target)) {
            return Err(self.denied(
                effect,
                target,
                "whoever triggered the run has no grant for it".to_owned(),
            ));
        }
        let line = line_for(effect, target);
        let Some(needs) = &self.needs else {
            let mut allow = self.allow.lock();
            if allow.iter().any(|capability| capability.covers(effect, target)) {
                return Ok(());
            }
            let question =
                format!("`{}` has no NEEDS and wants `{line}`. Allow it for this run?", self.runbook);
            return match ask(&question) {
                Some(true) => {
                    allow.extend(line.parse::<Capability>());
                    Ok(())
                }
                Some(false) => Err(self.denied(effect, target, "it was refused at the terminal".to_owned())),
                None => Err(self.denied(
                    effect,
                    target,
                    format!("add `const NEEDS = [\"{line}\"];` to the runbook, or run with `--allow {line}`"),
                )),
            };
        };
        if needs.iter().any(|need| need.covers(effect, target)) {
            return Ok(());
        }
        Err(self.denied(effect, target, format!("add \"{line}\" to NEEDS, or target what it already covers")))
    }

    /// Decides whether one more host may be written to.
    pub(super) fn check_write(&self, target: &Target, ask: Asking<'_>) -> Result<(), Stop> {
        let Some(host) = target.host() else { return Ok(()) };
        {
            let mut written = self.written.lock();
            if written.contains(host) && Cleaning::is_on() {
                // What the run has changed it may put right, also after a no.
                return Ok(());
            }
            if !written.contains(host) {
                if let Some(most) = self.max_hosts
                    && written.len() >= most
                {
                    return Err(Stop::NotApproved {
                        question: format!("`{host}` would be host number {} that this run changes", most + 1),
                        answer: format!("`max_hosts` allows {most}"),
                    });
                }
                written.insert(host.to_owned());
            }
        }
        let mut whole = self.whole.lock();
        if let Whole::Selected(count) = *whole {
            let question =
                format!("`{}` is about to change all {count} hosts of the inventory. Go on?", self.runbook);
            match ask(&question) {
                Some(true) => *whole = Whole::Approved,
                Some(false) => return Err(Stop::NotApproved { question, answer: "refused".to_owned() }),
                None => {
                    return Err(Stop::NotApproved {
                        question: format!(
                            "`{}` would change all {count} hosts of the inventory",
                            self.runbook
                        ),
                        answer: "nobody is here to confirm; run with `--yes` if that is meant".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    fn denied(&self, effect: &str, target: &Target, hint: String) -> Stop {
        Stop::Denied {
            runbook: self.runbook.clone(),
            effect: effect.to_owned(),
            target: target.to_string(),
            hint,
        }
    }
}

/// Returns the capability that would cover exactly this.
fn line_for(effect: &str, target: &Target) -> String {
    match target {
        Target::Run => effect.to_owned(),
        Target::Named { name } => format!("{effect}:{name}"),
        Target::Host { host, path: None, .. } => format!("{effect}:{host}"),
        Target::Host { host, path: Some(path), .. } => format!("{effect}:{host}:{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn says(answer: Option<bool>) -> impl Fn(&str) -> Option<bool> {
        move |_| answer
    }

    fn host(name: &str) -> Target {
        Target::Host { host: name.into(), groups: Arc::default(), path: None }
    }

    fn capabilities(texts: &[&str]) -> Vec<Capability> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn authority(needs: Option<&[&str]>, grants: &[&str]) -> Authority {
        Authority::new("r".into(), needs.map(capabilities), capabilities(grants), Vec::new(), Some(2))
    }

    #[test]
    fn a_run_gets_the_intersection_of_needs_and_grants() {
        let cases: [(Option<&[&str]>, &[&str], bool); 4] = [
            (Some(&["ssh.exec:a"]), &["*"], true),
            (Some(&["ssh.exec:b"]), &["*"], false),
            (Some(&["ssh.exec:a"]), &["ssh.read"], false),
            (Some(&["ssh.exec"]), &["ssh.exec:a"], true),
        ];
        for (needs, grants, allowed) in cases {
            let answer = authority(needs, grants).check("ssh.exec", &host("a"), &says(Some(true)));
            assert_eq!(answer.is_ok(), allowed, "{needs:?} {grants:?}");
        }
    }

    #[test]
    fn without_needs_a_person_is_asked_once_and_silence_is_no() {
        let run = authority(None, &["*"]);
        assert!(run.check("ssh.exec", &host("a"), &says(None)).is_err());
        assert!(run.check("ssh.exec", &host("a"), &says(Some(false))).is_err());
        assert!(run.check("ssh.exec", &host("a"), &says(Some(true))).is_ok());
        assert!(run.check("ssh.exec", &host("a"), &says(None)).is_ok());
        assert!(run.check("ssh.exec", &host("b"), &says(None)).is_err());
        assert_eq!(run.allowed(), ["ssh.exec:a"]);
    }

    #[test]
    fn writing_stops_at_max_hosts_and_asks_before_the_whole_inventory() {
        let run = authority(Some(&["*"]), &["*"]);
        assert!(run.check_write(&host("a"), &says(None)).is_ok());
        assert!(run.check_write(&host("b"), &says(None)).is_ok());
        assert!(run.check_write(&host("a"), &says(None)).is_ok());
        assert!(run.check_write(&host("c"), &says(None)).is_err());
        run.selected_all(9);
        assert!(run.check_write(&host("a"), &says(None)).is_err());
        {
            // A clean-up puts right what was changed, whatever was said, and changes nothing else.
            let _cleaning = Cleaning::begin();
            assert!(run.check_write(&host("a"), &says(None)).is_ok());
            assert!(run.check_write(&host("c"), &says(Some(true))).is_err());
        }
        assert!(run.check_write(&host("a"), &says(Some(true))).is_ok());
        assert!(run.check_write(&host("a"), &says(None)).is_ok());
    }
}
