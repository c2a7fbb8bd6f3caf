//! What a device does with a line that was typed.

use super::super::guard::is_end;
use super::super::view::without_secret;
use super::super::{Os, facts};
use super::{Console, Event, Machine, Mode, Question};

/// What a device of IOS says of a line that it does not understand.
const INVALID: &str = "% Invalid input detected at '^' marker.\n\n";

impl Console {
    /// Does what a line says.
    pub(super) fn line(&mut self, machine: &mut Machine, line: &str, events: &mut Vec<Event>) {
        if let Some(question) = self.question.take() {
            self.answer(machine, question, line, events);
            return;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('!') {
            return;
        }
        if self.faults.refuse.iter().any(|refused| refused == line) {
            self.refuse(machine, line, "ERROR: % Invalid input detected at '^' marker.");
            return;
        }
        if self.mode == Mode::Configuration {
            self.configure(machine, line, events);
        } else {
            self.execute(machine, line, events);
        }
        if self.faults.noise {
            self.screen.say("\n*Mar  1 00:01:02.003: %SYS-5-CONFIG_I: Configured from console by vty0\n");
        }
    }

    fn answer(&mut self, machine: &mut Machine, question: Question, line: &str, events: &mut Vec<Event>) {
        let is_yes = line.is_empty() || line.starts_with(['y', 'Y']);
        match question {
            Question::EnablePassword => {
                if self.access.enable.as_deref() == Some(line) {
                    self.mode = Mode::Privileged;
                } else {
                    let text =
                        if machine.os == Os::Asa { "Invalid password\n" } else { "% Access denied\n\n" };
                    self.screen.say(text);
                }
            }
            Question::Destination => self.save(machine),
            Question::Reload if is_yes => {
                machine.reload();
                events.push(Event::Reloaded);
            }
            Question::RemoveUser(command) if is_yes => self.enter(machine, &command, None),
            Question::Reload | Question::RemoveUser(_) => {}
            Question::Banner { command, delimiter, mut body } => {
                body.push_str(line);
                if line.contains(&delimiter) {
                    self.enter(machine, &command, Some(&body));
                } else {
                    body.push('\n');
                    self.question = Some(Question::Banner { command, delimiter, body });
                }
            }
        }
    }

    /// A command outside of configuration; words may be cut short as long as only one begins so.
    fn execute(&mut self, machine: &mut Machine, line: &str, events: &mut Vec<Event>) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is = |pattern: &[&str]| {
            let fits = |(at, (whole, word)): (usize, (&&str, &&str))| {
                is_short_for(word, whole) || (at > 0 && whole.starts_with(*word))
            };
            words.len() >= pattern.len() && pattern.iter().zip(&words).enumerate().all(fits)
        };
        let is_privileged = self.mode == Mode::Privileged;
        if is(&["exit"]) || is(&["logout"]) || is(&["quit"]) {
            events.push(Event::Closed);
        } else if is(&["enable"]) {
            match (&self.access.enable, is_privileged) {
                (Some(_), false) => self.question = Some(Question::EnablePassword),
                _ => self.mode = Mode::Privileged,
            }
        } else if is(&["disable"]) {
            self.mode = Mode::User;
        } else if is(&["terminal", "length"]) || is(&["terminal", "pager"]) {
            let number = words.iter().rev().find_map(|word| word.parse::<usize>().ok());
            if !self.faults.pages_always {
                self.screen.length = number;
            }
        } else if is(&["terminal", "width"]) || is(&["terminal", "no"]) || is(&["terminal", "monitor"]) {
            if machine.os == Os::Asa && is(&["terminal", "width"]) {
                // There it is a line of the configuration.
                self.refuse(machine, line, INVALID);
            }
        } else if is(&["show"]) {
            self.show(machine, line, &words);
        } else if is(&["more", "system:running-config"]) && is_privileged {
            let text = machine.running();
            self.screen.show(&text, more(machine.os));
        } else if !is_privileged {
            self.refuse(machine, line, INVALID);
        } else if is(&["configure", "terminal"]) {
            self.begin(machine, &words, events);
        } else if is(&["configure", "confirm"]) && machine.os != Os::Asa {
            if machine.revert.take().is_none() {
                self.screen.say("%No Rollback Confirmed Change pending\n");
            }
        } else if is(&["configure", "revert"]) && machine.os != Os::Asa {
            machine.revert();
        } else if is(&["write"]) && (words.len() == 1 || is(&["write", "memory"])) {
            self.save(machine);
        } else if is(&["copy", "running-config", "startup-config"]) {
            self.question = Some(Question::Destination);
        } else if is(&["reload", "cancel"]) {
            machine.reload_in = None;
            self.screen.say("\n\n***\n*** --- SHUTDOWN ABORTED ---\n***\n\n");
        } else if is(&["reload", "in"]) {
            let minutes = words.get(2).and_then(|word| word.parse().ok()).unwrap_or(1);
            machine.reload_in = Some(minutes);
            events.push(Event::ReloadIn(minutes));
        } else if is(&["reload"]) {
            self.question = Some(Question::Reload);
        } else {
            self.refuse(machine, line, INVALID);
        }
    }

    fn begin(&mut self, machine: &mut Machine, words: &[&str], events: &mut Vec<Event>) {
        if machine.locked_by.is_some_and(|other| other != self.number) {
            self.screen.say("Configuration mode is locked by another user. Please try later.\n");
            return;
        }
        if let Some(at) = words.iter().position(|word| *word == "timer") {
            let has_archive = machine.running.running().lines().any(|line| line.trim_start() == "archive");
            if machine.os == Os::Asa || !has_archive {
                self.screen.say("% Archive path is not configured; the change cannot be reverted\n");
                return;
            }
            let minutes = words.get(at + 1).and_then(|word| word.parse().ok()).unwrap_or(1);
            machine.revert = Some(machine.running());
            events.push(Event::RevertIn(minutes));
            self.screen.say(&format!("Rollback Confirmed Change: Backing up current running config.\nTimer is set to {minutes} minutes\n"));
        }
        if words.contains(&"lock") || words.contains(&"timer") {
            machine.locked_by = Some(self.number);
        }
        self.mode = Mode::Configuration;
        machine.running.leave();
        if machine.os != Os::Asa {
            self.screen.say("Enter configuration commands, one per line.  End with CNTL/Z.\n");
        }
    }

    /// A line of the configuration.
    fn configure(&mut self, machine: &mut Machine, line: &str, events: &mut Vec<Event>) {
        match line {
            "end" => return self.leave_configuration(machine),
            "exit" if machine.running.depth() == 0 => return self.leave_configuration(machine),
            _ => {}
        }
        if let Some(command) = line.strip_prefix("do ").or_else(|| line.strip_prefix("show ").map(|_| line)) {
            let mode = std::mem::replace(&mut self.mode, Mode::Privileged);
            self.execute(machine, command, events);
            self.mode = mode;
            return;
        }
        if machine.os == Os::Asa && (line.starts_with("write mem") || line.starts_with("terminal ")) {
            return self.execute(machine, line, events);
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

    fn enter(&mut self, machine: &mut Machine, line: &str, body: Option<&str>) {
        match machine.running.enter(line, body) {
            Ok(()) => machine.changes += 1,
            Err(refusal) => self.refuse(machine, line, &refusal.reason),
        }
    }

    /// Says that a line is not taken, in the device's words where it has some.
    fn refuse(&mut self, machine: &Machine, line: &str, reason: &str) {
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

    fn save(&mut self, machine: &mut Machine) {
        machine.startup = machine.running();
        let text = match machine.os {
            Os::Asa => {
                "Building configuration...\nCryptochecksum: 01234567 89abcdef 01234567 89abcdef \n\n4096 bytes copied in 0.30 secs\n[OK]\n"
            }
            _ => "Building configuration...\n[OK]\n",
        };
        self.screen.say(text);
    }

    fn show(&mut self, machine: &Machine, line: &str, words: &[&str]) {
        let is = |word: usize, whole: &str| words.get(word).is_some_and(|word| is_short_for(word, whole));
        let is_privileged = self.mode != Mode::User;
        let text = if is(1, "running-config") && is_privileged {
            shown(machine, &machine.running())
        } else if is(1, "startup-config") && is_privileged {
            shown(machine, machine.startup())
        } else if is(1, "version") {
            version(machine)
        } else if is(1, "privilege") && machine.os != Os::Asa {
            format!("Current privilege level is {}\n", if is_privileged { 15 } else { 1 })
        } else if is(1, "curpriv") && machine.os == Os::Asa {
            let level = if is_privileged { 15 } else { 1 };
            format!(
                "Username : {}\nCurrent privilege level : {level}\nCurrent Mode/s : P_PRIV\n",
                self.access.login.0
            )
        } else if is(1, "clock") {
            "10:00:00.000 UTC Mon Mar 1 2027\n".to_owned()
        } else if is(1, "checksum") && machine.os == Os::Asa {
            format!("Cryptochecksum: {:08x} 00000000 00000000 00000000\n", machine.changes)
        } else if is(1, "archive") && machine.os != Os::Asa && is_privileged {
            if words.contains(&"timer") {
                match &machine.revert {
                    Some(_) => "Time of rollback: pending\n".to_owned(),
                    None => "%No Rollback Confirmed Change pending\n".to_owned(),
                }
            } else if machine.running().lines().any(|line| line.trim_start() == "archive") {
                "The maximum archive configurations allowed is 10.\n".to_owned()
            } else {
                "Archive feature not enabled\n".to_owned()
            }
        } else {
            self.refuse(machine, line, INVALID);
            return;
        };
        let text = match line.split_once(" | ") {
            Some((_, filter)) => filtered(&text, filter),
            None => text,
        };
        self.screen.show(&text, more(machine.os));
    }
}

/// Whether a word is the beginning of another one, long enough to be nobody else's.
fn is_short_for(word: &str, whole: &str) -> bool {
    word == whole || (word.len() >= 2 && whole.starts_with(word))
}

/// `| include WORDS`, `| begin WORDS`, `| exclude WORDS`.
fn filtered(text: &str, filter: &str) -> String {
    let (kind, words) = filter.trim().split_once(' ').unwrap_or((filter, ""));
    let has = |line: &&str| words.split('|').any(|word| line.contains(word.trim_matches('^')));
    let lines: Vec<&str> = match kind.chars().next() {
        Some('b') => text.lines().skip_while(|line| !has(line)).collect(),
        Some('e') => text.lines().filter(|line| !has(line)).collect(),
        _ => text.lines().filter(has).collect(),
    };
    lines.join("\n") + "\n"
}

fn more(os: Os) -> &'static str {
    if os == Os::Asa { "<--- More --->" } else { " --More-- " }
}

/// What `show running-config` prints: with a head and an end, and on ASA without secrets.
fn shown(machine: &Machine, text: &str) -> String {
    let mut body = text.trim_end().to_owned();
    body.push('\n');
    let has_end = is_end(machine.os, text);
    if machine.os == Os::Asa {
        let masked = body.lines().map(without_secret).collect::<Vec<_>>().join("\n") + "\n";
        let head = if masked.starts_with(": Saved") { "" } else { ": Saved\n\n:\n" };
        return format!("{head}{masked}{}", if has_end { "" } else { ": end\n" });
    }
    let head = if body.starts_with("Building") {
        String::new()
    } else {
        format!("Building configuration...\n\nCurrent configuration : {} bytes\n", body.len())
    };
    format!("{head}{body}{}", if has_end { "" } else { "end\n" })
}

fn version(machine: &Machine) -> String {
    let name = machine.name();
    match machine.os {
        Os::Asa => format!(
            "\nCisco Adaptive Security Appliance Software Version 9.16(4)\nDevice Manager Version 7.18(1)\n\n{name} up 1 day 2 hours\n\nHardware:   ASA5508, 8192 MB RAM\n"
        ),
        Os::Ap => format!(
            "Cisco IOS Software, C3700 Software (AP3G2-K9W7-M), Version 15.3(3)JF, RELEASE SOFTWARE (fc1)\n\n{name} uptime is 1 day, 2 hours\n"
        ),
        Os::Ios => format!(
            "Cisco IOS XE Software, Version 16.12.04\nCisco IOS Software, ISR Software (X86_64_LINUX_IOSD-UNIVERSALK9-M), Version 16.12.4, RELEASE SOFTWARE (fc5)\n\n{name} uptime is 1 day, 2 hours\n"
        ),
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
