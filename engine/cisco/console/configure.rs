//! Configuration mode: who may be in it, and what a line does there.

use super::super::{Os, facts};
use super::commands::INVALID;
use super::{Console, Event, Machine, Mode, OTHER, Question};

impl Console {
    pub(super) fn begin(&mut self, machine: &mut Machine, words: &[&str], events: &mut Vec<Event>) {
        let other = machine.locked_by.as_ref().filter(|(number, _)| *number != self.number);
        let user = other.map(|(_, user)| user.as_str()).or(self.faults.is_locked.then_some(OTHER));
        if let Some(user) = user {
            self.screen.say(&format!(
                "Configuration mode locked exclusively by user '{user}' process '3' from terminal '2'. Please try later.\n"
            ));
            return;
        }
        if let Some(at) = words.iter().position(|word| *word == "timer") {
            if machine.os == Os::Asa || !machine.has_archive() {
                self.screen.say("%Please turn config archive on first: the change cannot be reverted\n");
                return;
            }
            let Some(minutes) = words.get(at + 1).and_then(|word| word.parse().ok()) else {
                return self.refuse(machine, &words.join(" "), "% Incomplete command.");
            };
            let timer = machine.revert_in(minutes, self.user());
            events.push(Event::TimerIn { minutes, timer });
            self.screen
                .say("Rollback Confirmed Change: Backing up current running config to flash:nlrun-1\n\n");
        }
        if words.contains(&"lock") {
            machine.locked_by = Some((self.number, self.user().to_owned()));
        }
        self.mode = Mode::Configuration;
        self.entered = 0;
        machine.running.leave();
        if machine.os != Os::Asa {
            self.screen.say("Enter configuration commands, one per line.  End with CNTL/Z.\n");
        }
    }

    pub(super) fn leave_configuration(&mut self, machine: &mut Machine) {
        self.mode = Mode::Privileged;
        machine.running.leave();
        self.unlock(machine);
    }

    /// A line of the configuration.
    pub(super) fn configure(&mut self, machine: &mut Machine, line: &str, events: &mut Vec<Event>) {
        match line {
            "end" => return self.leave_configuration(machine),
            "exit" if machine.running.depth() == 0 => return self.leave_configuration(machine),
            _ => {}
        }
        if let Some(command) = line.strip_prefix("do ").or_else(|| line.strip_prefix("show ").map(|_| line)) {
            return self.execute_within(machine, command, events);
        }
        let is_command = line.starts_with("write mem") || line.starts_with("terminal pager");
        if machine.os == Os::Asa && is_command {
            return self.execute_within(machine, line, events);
        }
        self.entered += 1;
        if machine.strikes("refuse-at", self.faults.refuse_at, self.entered) {
            return self.refuse(machine, line, INVALID);
        }
        if machine.os != Os::Asa
            && let Some(rest) = line.strip_prefix("banner ")
            && let Some((kind, text)) = rest.split_once(' ')
        {
            let delimiter: String =
                if text.starts_with("^C") { "^C".to_owned() } else { text.chars().take(1).collect() };
            if !delimiter.is_empty() && !text[delimiter.len()..].contains(&delimiter) {
                let body = format!(" {text}\n");
                self.question = Some(Question::Banner { command: format!("banner {kind}"), delimiter, body });
                return;
            }
            return self.enter(machine, &format!("banner {kind}"), Some(&format!(" {text}")));
        }
        let asks = line.strip_prefix("no username ").is_some() && machine.os == Os::Ios;
        if asks {
            self.question = Some(Question::RemoveUser(line.to_owned()));
            return;
        }
        self.enter(machine, line, None);
    }

    /// Does a command that is none of the mode that the session is in, and stays in that.
    pub(super) fn execute_within(&mut self, machine: &mut Machine, command: &str, events: &mut Vec<Event>) {
        let mode = std::mem::replace(&mut self.mode, Mode::Privileged);
        self.execute(machine, command, events);
        self.mode = mode;
    }

    pub(super) fn enter(&mut self, machine: &mut Machine, line: &str, body: Option<&str>) {
        match machine.running.enter(line, body) {
            Ok(()) => machine.change(&self.access.login.0),
            Err(refusal) => self.refuse(machine, line, &refusal.reason),
        }
    }

    /// Says that a line is not taken, in the device's words where it has some.
    pub(super) fn refuse(&mut self, machine: &Machine, line: &str, reason: &str) {
        let text = match machine.os {
            Os::Asa if reason.starts_with("ERROR:") => format!("{reason}\n"),
            Os::Asa => format!("ERROR: % {}\n", reason.trim_start_matches("% ").trim_end()),
            _ if reason.starts_with('%') => format!("{}\n", reason.trim_end()),
            _ => format!("% {}\n", reason.trim_end()),
        };
        if text.contains('^') && machine.os != Os::Asa {
            self.screen.say(&format!("{:width$}^\n", "", width = machine.name().len() + 1 + line.len() / 2));
        }
        self.screen.say(&text);
    }

    pub(super) fn save(&mut self, machine: &mut Machine) {
        machine.save(self.user());
        let text = match machine.os {
            Os::Asa => {
                "Building configuration...\nCryptochecksum: 01234567 89abcdef 01234567 89abcdef \n\n4096 bytes copied in 0.30 secs\n[OK]\n"
            }
            _ => "Building configuration...\n[OK]\n",
        };
        self.screen.say(text);
    }
}

/// The word of a section in the prompt: `-if` for an interface.
pub(in super::super) fn mode_word(scope: &facts::Scope) -> &'static str {
    match scope.name {
        "interface" => "-if",
        "acl" => "-ext-nacl",
        "line" => "-line",
        "bgp" | "ospf" | "eigrp" | "rip" => "-router",
        "bgp-family" => "-router-af",
        "route-map" => "-route-map",
        "class-map" => "-cmap",
        "policy-map" => "-pmap",
        "policy-class" => "-pmap-c",
        "vlan" => "-vlan",
        "vrf" => "-vrf",
        "object" => "-network-object",
        "object-group" => "-network-object-group",
        "tunnel-group" => "-tunnel-ipsec",
        "group-policy" => "-group-policy",
        "ssid" => "-ssid",
        "sla" => "-ip-sla",
        _ => "-sub",
    }
}
