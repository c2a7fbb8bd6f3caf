//! A terminal of a device, for rehearsals: prompts, `enable`, paging, configuration modes and errors, on top of the model of the device.
//!
//! Bytes in, bytes out; who carries them (SSH in the lab) and who waits (a reload, a timer) is elsewhere. It speaks well enough for netmiko.

mod commands;
mod screen;

use super::{Device, Os};

pub(super) use commands::mode_word;
pub use screen::Faults;

/// Who may come in, and what `enable` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The name and the password of a login.
    pub login: (String, String),
    /// The enable secret; none where a login has all rights at once.
    pub enable: Option<String>,
}

/// What a device is beside its configuration; it outlives a session.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(super) os: Os,
    pub(super) running: Device<'static>,
    /// What it starts with after a reload.
    pub(super) startup: String,
    /// What was running when a timer was armed that brings it back.
    pub(super) revert: Option<String>,
    /// Whether a reload is due.
    pub(super) reload_in: Option<u32>,
    /// How often its configuration was changed, for `show archive` and its like.
    pub(super) changes: u64,
    /// Who is in configuration mode and keeps others out.
    pub(super) locked_by: Option<u64>,
}

/// What a session asks of whoever carries it, beside its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The session is over.
    Closed,
    /// The device reloads: all sessions are over.
    Reloaded,
    /// A timer was armed: after so many minutes [`Machine::revert`] has to be called, unless it was confirmed.
    RevertIn(u32),
    /// A reload was ordered after so many minutes: then [`Machine::reload`] has to be called, unless it was cancelled.
    ReloadIn(u32),
}

/// One session at a terminal.
#[derive(Debug)]
pub struct Console {
    number: u64,
    access: Access,
    faults: Faults,
    screen: screen::Screen,
    mode: Mode,
    /// What the device has asked and waits for the answer to.
    question: Option<Question>,
    lines: u64,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    User,
    Privileged,
    Configuration,
}

/// A question of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    EnablePassword,
    Destination,
    Reload,
    Banner { command: String, delimiter: String, body: String },
    RemoveUser(String),
}

impl Machine {
    /// Switches a device on with a configuration, which is also what it starts with.
    pub fn new(os: Os, configuration: &str) -> Self {
        Self {
            os,
            running: Device::owned(os, configuration),
            startup: configuration.to_owned(),
            revert: None,
            reload_in: None,
            changes: 0,
            locked_by: None,
        }
    }

    /// Returns what is running.
    pub fn running(&self) -> String {
        self.running.running()
    }

    /// Returns what it would start with.
    pub fn startup(&self) -> &str {
        &self.startup
    }

    /// Starts again with what was saved; sessions are over.
    pub fn reload(&mut self) {
        self.running = Device::owned(self.os, &self.startup);
        self.revert = None;
        self.reload_in = None;
        self.locked_by = None;
    }

    /// Brings back what ran when the timer was armed, if nobody has confirmed; says whether it did.
    pub fn revert(&mut self) -> bool {
        let Some(before) = self.revert.take() else { return false };
        self.running = Device::owned(self.os, &before);
        self.changes += 1;
        true
    }

    /// Whether a reload is due.
    pub fn is_reload_due(&self) -> bool {
        self.reload_in.is_some()
    }

    fn name(&self) -> String {
        let text = self.running.running();
        let name = text.lines().find_map(|line| line.strip_prefix("hostname "));
        name.unwrap_or(if self.os == Os::Asa { "ciscoasa" } else { "Router" }).trim().to_owned()
    }
}

impl Console {
    /// Opens a session; the login has been checked by whoever carries it. Returns what the device says first.
    pub fn open(number: u64, machine: &Machine, access: Access, faults: Faults) -> (Self, Vec<u8>) {
        let mode = if access.enable.is_none() { Mode::Privileged } else { Mode::User };
        let mut console = Self {
            number,
            access,
            faults,
            screen: screen::Screen::default(),
            mode,
            question: None,
            lines: 0,
        };
        console.screen.say("\n");
        console.prompt(machine);
        let said = console.screen.take();
        (console, said)
    }

    /// Takes what was typed; returns what the device says, and what else happens.
    pub fn feed(&mut self, machine: &mut Machine, bytes: &[u8]) -> (Vec<u8>, Vec<Event>) {
        let mut events = Vec::new();
        for &byte in bytes {
            if self.screen.is_paging() {
                if self.screen.page(byte) {
                    self.prompt(machine);
                }
                continue;
            }
            let hides = self.question == Some(Question::EnablePassword);
            let Some(line) = self.screen.type_byte(byte, hides) else {
                if byte == 0x1a && self.mode == Mode::Configuration {
                    self.leave_configuration(machine);
                    self.screen.say("^Z\n");
                    self.prompt(machine);
                }
                continue;
            };
            self.lines += 1;
            if self.faults.cut_after == Some(self.lines) {
                events.push(Event::Closed);
                return (self.screen.take(), events);
            }
            if self.faults.hang_after.is_some_and(|after| self.lines > after) {
                self.screen.forget();
                continue;
            }
            let count = events.len();
            self.line(machine, &line, &mut events);
            if events[count..].iter().any(|event| matches!(event, Event::Closed | Event::Reloaded)) {
                return (self.screen.take(), events);
            }
            if !self.screen.is_paging() {
                self.prompt(machine);
            }
        }
        (self.screen.take(), events)
    }

    /// Ends the session, and gives back what it held.
    pub fn close(&mut self, machine: &mut Machine) {
        if machine.locked_by == Some(self.number) {
            machine.locked_by = None;
        }
        machine.running.leave();
    }

    fn leave_configuration(&mut self, machine: &mut Machine) {
        self.mode = Mode::Privileged;
        machine.running.leave();
        if machine.locked_by == Some(self.number) {
            machine.locked_by = None;
        }
    }

    /// Says what the device says when it waits: its name and where the session is, or its question.
    fn prompt(&mut self, machine: &Machine) {
        let text = match &self.question {
            Some(Question::EnablePassword) => "Password: ".to_owned(),
            Some(Question::Destination) => "Destination filename [startup-config]? ".to_owned(),
            Some(Question::Reload) => "Proceed with reload? [confirm]".to_owned(),
            Some(Question::RemoveUser(_)) => "This operation will remove all username related configurations with same name.Do you want to continue? [confirm]".to_owned(),
            Some(Question::Banner { .. }) => String::new(),
            None => {
                let name = machine.name();
                match self.mode {
                    Mode::User if machine.os == Os::Asa => format!("{name}> "),
                    Mode::User => format!("{name}>"),
                    Mode::Privileged if machine.os == Os::Asa => format!("{name}# "),
                    Mode::Privileged => format!("{name}#"),
                    Mode::Configuration => {
                        // A configuration prompt has the first twenty characters of the name.
                        let short: String = name.chars().take(20).collect();
                        let sort = machine.running.mode_word();
                        let space = if machine.os == Os::Asa { " " } else { "" };
                        format!("{short}(config{sort})#{space}")
                    }
                }
            }
        };
        self.screen.say_last(&text);
    }
}
