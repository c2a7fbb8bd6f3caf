//! A terminal of a device, for rehearsals: prompts, `enable`, paging, configuration modes and errors, on top of the model of the device.
//!
//! Bytes in, bytes out; who carries them (SSH in the lab) and who waits (a reload, a timer) is elsewhere. It speaks well enough for netmiko.

mod commands;
mod configure;
mod faults;
mod flash;
mod machine;
mod screen;
mod show;

use super::Os;

pub(super) use configure::mode_word;
pub use faults::Faults;
pub use machine::Machine;

/// Lines of a page, unless a session says otherwise.
const PAGE: usize = 24;
/// Columns of a terminal on which long lines are scrolled.
const COLUMNS: usize = 80;
/// The name of another engineer.
const OTHER: &str = "bob";
/// What the log says in the middle of an answer.
const NOISE: &str =
    "\n*Mar  1 00:01:02.003: %SYS-5-CONFIG_I: Configured from console by bob on vty1 (192.0.2.7)\n";

/// Who may come in, and what `enable` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The name and the password of a login.
    pub login: (String, String),
    /// The enable secret; none where a login has all rights at once.
    pub enable: Option<String>,
}

/// What a session asks of whoever carries it, beside its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The session is over.
    Closed,
    /// The connection is cut, without a word.
    Cut,
    /// The device reloads: all sessions are over.
    Reloaded,
    /// A timer was set: after so many minutes [`Machine::ring`] has to be called with its number.
    TimerIn {
        /// How long it runs.
        minutes: u32,
        /// Which one it is.
        timer: u64,
    },
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
    /// Lines that were entered since configuration mode began.
    entered: u64,
    /// Whether the connection was cut, or the device hangs.
    is_over: bool,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    User,
    Privileged,
    Configuration,
    /// `tclsh`.
    Script,
}

/// A question of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    /// With how many more attempts.
    EnablePassword(u8),
    Destination,
    /// Whether a configuration is saved before a reload, which may wait for some minutes.
    SaveBefore(Option<u32>),
    Reload(Option<u32>),
    Banner {
        command: String,
        delimiter: String,
        body: String,
    },
    RemoveUser(String),
    /// Under which name a text is stored.
    Name {
        text: String,
        target: String,
    },
    /// The rest of a command of a script.
    Script {
        text: String,
    },
    /// Whether a configuration takes the place of the one that is running.
    Replace(String),
}

impl Console {
    /// Opens a session; the login has been checked by whoever carries it. Returns what the device says first.
    pub fn open(number: u64, machine: &Machine, access: Access, faults: Faults) -> (Self, Vec<u8>) {
        let mode = if access.enable.is_none() { Mode::Privileged } else { Mode::User };
        let screen = screen::Screen::new(PAGE, faults.wrap.then_some(COLUMNS), machine.os == Os::Asa);
        let mut console = Self {
            number,
            access,
            faults,
            screen,
            mode,
            question: None,
            lines: 0,
            entered: 0,
            is_over: false,
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
            if self.is_over {
                break;
            }
            if self.screen.is_paging() {
                if self.screen.page(byte) {
                    self.prompt(machine);
                }
                continue;
            }
            let is_text = matches!(self.question, Some(Question::Banner { .. }));
            let hides = matches!(self.question, Some(Question::EnablePassword(_)));
            let Some(line) = self.screen.type_byte(byte, hides, is_text) else {
                if byte == 0x1a && self.mode == Mode::Configuration {
                    self.leave_configuration(machine);
                    self.screen.say("^Z\n");
                    self.prompt(machine);
                }
                continue;
            };
            self.lines += 1;
            if machine.strikes("cut", self.faults.cut, self.lines) {
                self.is_over = true;
                events.push(Event::Cut);
                return (self.screen.take(), events);
            }
            if machine.strikes("reload", self.faults.reload, self.lines) {
                machine.reload();
                events.push(Event::Reloaded);
                return (self.screen.take(), events);
            }
            if machine.strikes("edit", self.faults.edit, self.lines) {
                machine.edit(OTHER);
            }
            let (count, since) = (events.len(), self.screen.len());
            self.line(machine, &line, &mut events);
            if self.faults.noise {
                self.screen.disturb(since, NOISE);
            }
            if machine.strikes("hang", self.faults.hang, self.lines) {
                self.is_over = true;
                self.screen.forget();
                return (Vec::new(), events);
            }
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
        self.unlock(machine);
        machine.running.leave();
    }

    fn unlock(&self, machine: &mut Machine) {
        if machine.locked_by.as_ref().is_some_and(|(number, _)| *number == self.number) {
            machine.locked_by = None;
        }
    }

    /// The name of who is logged in.
    fn user(&self) -> &str {
        &self.access.login.0
    }

    /// Says what the device says when it waits: its name and where the session is, or its question.
    fn prompt(&mut self, machine: &Machine) {
        let text = match &self.question {
            Some(Question::EnablePassword(_)) => "Password: ".to_owned(),
            Some(Question::Destination) => "Destination filename [startup-config]? ".to_owned(),
            Some(Question::SaveBefore(_)) if machine.os == Os::Asa => {
                "System config has been modified. Save? [Y]es/[N]o: ".to_owned()
            }
            Some(Question::SaveBefore(_)) => {
                "System configuration has been modified. Save? [yes/no]: ".to_owned()
            }
            Some(Question::Reload(_)) => "Proceed with reload? [confirm]".to_owned(),
            Some(Question::RemoveUser(_)) => "This operation will remove all username related configurations with same name.Do you want to continue? [confirm]".to_owned(),
            Some(Question::Banner { .. }) => String::new(),
            Some(Question::Name { target, .. }) => {
                let name = target.rsplit(['/', ':']).next().unwrap_or_default();
                format!("Destination filename [{name}]? ")
            }
            Some(Question::Script { .. }) => "+>(tcl)#".to_owned(),
            Some(Question::Replace(_)) => "Enter Y if you are sure you want to proceed. ? [no]: ".to_owned(),
            None => {
                let name = machine.name();
                match self.mode {
                    Mode::User if machine.os == Os::Asa => format!("{name}> "),
                    Mode::User => format!("{name}>"),
                    Mode::Privileged if machine.os == Os::Asa => format!("{name}# "),
                    Mode::Privileged => format!("{name}#"),
                    Mode::Script => format!("{name}(tcl)#"),
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
        self.screen.ask(&text);
    }
}
