//! What undoes a change that was begun, without touching what somebody else has changed meanwhile.

use super::diff::{Unclear, diff};
use super::plan::{Command, Plan};
use super::tree::Tree;
use super::{Device, Os};

/// How a change is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// The commands that undo it.
    pub plan: Plan,
    /// What somebody else has changed meanwhile, as commands; it stays.
    pub others: Vec<String>,
}

/// Works out what undoes the first `done` of some commands, from what runs `now`.
///
/// Where a session has ended, one more command may have been done than was answered.
pub fn undo(os: Os, before: &str, commands: &[Command], done: usize, now: &str) -> Result<Undo, Unclear> {
    let least = after(os, before, &commands[..done.min(commands.len())], now);
    for count in [done, done + 1] {
        let Some(entered) = commands.get(..count) else { continue };
        let expected = after(os, before, entered, now);
        if diff(os, &expected, now)?.is_empty() {
            return Ok(Undo { plan: diff(os, now, before)?, others: Vec::new() });
        }
    }
    let others = diff(os, &least, now)?.masked();
    let others = others.commands().map(|command| command.text.clone()).collect();
    Ok(Undo { plan: diff(os, &least, before)?, others })
}

/// What a device that takes these commands runs afterwards; one that it refuses changes nothing.
fn after(os: Os, before: &str, commands: &[Command], now: &str) -> String {
    let mut device = Device::new(os, before);
    device.expect(&Tree::read(os, now));
    for command in commands {
        let _ = device.enter_nested(command);
    }
    device.running()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "hostname a\ninterface Gi0/1\n description one\n mtu 1400\nend\n";
    const AFTER: &str =
        "hostname a\ninterface Gi0/1\n description two\n mtu 1500\nntp server 192.0.2.1\nend\n";

    fn texts(plan: &Plan) -> Vec<&str> {
        plan.commands().map(|command| command.text.as_str()).collect()
    }

    #[test]
    fn only_what_was_done_is_undone_and_what_others_did_stays() {
        let plan = diff(Os::Ios, BEFORE, AFTER).unwrap();
        let commands: Vec<Command> = plan.commands().cloned().collect();
        for done in 0..=commands.len() {
            let now = after(Os::Ios, BEFORE, &commands[..done], AFTER);
            // The last answer may not have come.
            for answered in [done, done.saturating_sub(1)] {
                let undo = undo(Os::Ios, BEFORE, &commands, answered, &now).unwrap();
                assert_eq!(undo.others, [""; 0], "{done}");
                let mut device = Device::new(Os::Ios, &now);
                device.enter_all(&undo.plan.to_string()).unwrap();
                assert!(diff(Os::Ios, &device.running(), BEFORE).unwrap().is_empty(), "{done}");
            }
            let theirs = now.replace("end\n", "ip host other 192.0.2.9\nend\n");
            let undo = undo(Os::Ios, BEFORE, &commands, done, &theirs).unwrap();
            assert_eq!(undo.others, ["ip host other 192.0.2.9"], "{done}");
            assert!(!texts(&undo.plan).iter().any(|text| text.contains("ip host")), "{done}");
        }
    }
}
