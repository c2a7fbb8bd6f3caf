//! What a device does with a line that was typed.

use super::super::Os;
use super::{Console, Event, Machine, Mode, Question};

/// What a device of IOS says of a line that it does not understand.
pub(super) const INVALID: &str = "% Invalid input detected at '^' marker.\n\n";

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
            self.refuse(machine, line, INVALID);
            return;
        }
        match self.mode {
            Mode::Configuration => self.configure(machine, line, events),
            Mode::Script => self.script(machine, line, events),
            Mode::User | Mode::Privileged => self.execute(machine, line, events),
        }
    }

    fn answer(&mut self, machine: &mut Machine, question: Question, line: &str, events: &mut Vec<Event>) {
        let is_yes = line.is_empty() || line.starts_with(['y', 'Y']);
        match question {
            Question::EnablePassword(_) if self.access.enable.as_deref() == Some(line) => {
                self.mode = Mode::Privileged;
            }
            Question::EnablePassword(left) => {
                if machine.os == Os::Asa {
                    self.screen.say("Invalid password\n");
                }
                match left.checked_sub(1) {
                    Some(left) => self.question = Some(Question::EnablePassword(left)),
                    None if machine.os == Os::Asa => self.screen.say("Access denied.\n"),
                    None if machine.has("aaa new-model") => self.screen.say("% Access denied\n\n"),
                    None => self.screen.say("% Bad secrets\n\n"),
                }
            }
            Question::Destination => self.save(machine),
            Question::SaveBefore(minutes) => match line.chars().next() {
                Some('y' | 'Y') => {
                    self.save(machine);
                    self.question = Some(Question::Reload(minutes));
                }
                Some('n' | 'N') => self.question = Some(Question::Reload(minutes)),
                _ => {
                    self.screen.say("% Please answer 'yes' or 'no'.\n");
                    self.question = Some(Question::SaveBefore(minutes));
                }
            },
            Question::Reload(Some(minutes)) if is_yes => {
                events.push(Event::TimerIn { minutes, timer: machine.reload_in() });
            }
            Question::Reload(None) if is_yes => {
                machine.reload();
                events.push(Event::Reloaded);
            }
            Question::RemoveUser(command) if is_yes => self.enter(machine, &command, None),
            Question::Replace(text) if line.starts_with(['y', 'Y']) => self.replaced(machine, &text),
            Question::Reload(_) | Question::RemoveUser(_) | Question::Replace(_) => {}
            Question::Name { text, target } => {
                let target = if line.is_empty() { target } else { line.to_owned() };
                self.store(machine, &target, text);
            }
            Question::Script { mut text } => {
                text.push_str(line);
                self.put(machine, text);
            }
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
    pub(super) fn execute(&mut self, machine: &mut Machine, line: &str, events: &mut Vec<Event>) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is = |pattern: &[&str]| {
            let fits = |(at, (whole, word)): (usize, (&&str, &&str))| {
                is_short_for(word, whole) || (at > 0 && whole.starts_with(*word))
            };
            words.len() >= pattern.len() && pattern.iter().zip(&words).enumerate().all(fits)
        };
        let is_privileged = self.mode == Mode::Privileged;
        let is_asa = machine.os == Os::Asa;
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok());
        if is(&["exit"]) || is(&["logout"]) || is(&["quit"]) {
            events.push(Event::Closed);
        } else if is(&["enable"]) {
            match (&self.access.enable, is_privileged) {
                (Some(_), false) => {
                    let more = if machine.has("aaa new-model") { 0 } else { 2 };
                    self.question = Some(Question::EnablePassword(more));
                }
                _ => self.mode = Mode::Privileged,
            }
        } else if is(&["disable"]) {
            self.mode = Mode::User;
        } else if is(&["terminal", "length"]) || is(&["terminal", "pager"]) {
            if self.faults.pages {
                self.refuse(machine, line, INVALID);
            } else {
                self.screen.length = words.iter().rev().find_map(|word| word.parse().ok());
            }
        } else if is(&["terminal", "width"]) && !is_asa
            || is(&["terminal", "no"])
            || is(&["terminal", "monitor"])
        {
            // On an ASA the width is a line of the configuration.
        } else if is(&["show"]) {
            self.show(machine, line, &words);
        } else if !is_privileged {
            self.refuse(machine, line, INVALID);
        } else if is(&["configure", "terminal"]) {
            self.begin(machine, &words, events);
        } else if is(&["configure", "confirm"]) && !is_asa {
            if machine.revert.take().is_none() {
                self.screen.say("%No Rollback Confirmed Change pending\n");
            }
        } else if is(&["configure", "revert", "now"]) && !is_asa {
            if !machine.revert() {
                self.screen.say("%No Rollback Confirmed Change pending\n");
            }
        } else if is(&["configure", "revert", "timer"]) && !is_asa {
            match (number(3), machine.revert.is_some()) {
                (Some(minutes), true) => {
                    let timer = machine.revert_in(minutes, self.user());
                    events.push(Event::TimerIn { minutes, timer });
                }
                (_, false) => self.screen.say("%No Rollback Confirmed Change pending\n"),
                (None, true) => self.refuse(machine, line, "% Incomplete command."),
            }
        } else if is(&["configure", "replace"]) && !is_asa {
            self.replace(machine, line, &words, events);
        } else if is(&["write"]) && (words.len() == 1 || is(&["write", "memory"])) {
            self.save(machine);
        } else if is(&["copy"]) || is(&["dir"]) || is(&["verify"]) || is(&["delete"]) || is(&["more"]) {
            self.file(machine, line, &words);
        } else if is(&["tclsh"]) && machine.os == Os::Ios {
            self.mode = Mode::Script;
        } else if is(&["reload", "cancel"]) {
            machine.reload = None;
            self.screen.say("\n\n***\n*** --- SHUTDOWN ABORTED ---\n***\n\n");
        } else if is(&["reload"]) {
            let minutes = if is(&["reload", "in"]) { Some(number(2).unwrap_or(1)) } else { None };
            self.question = Some(if is_asa && is(&["reload", "noconfirm"]) {
                return self.answer(machine, Question::Reload(None), "", events);
            } else if machine.is_unsaved() {
                Question::SaveBefore(minutes)
            } else {
                Question::Reload(minutes)
            });
        } else {
            self.refuse(machine, line, INVALID);
        }
    }
}

/// Whether a word is the beginning of another one, long enough to be nobody else's.
pub(super) fn is_short_for(word: &str, whole: &str) -> bool {
    word == whole || (word.len() >= 2 && whole.starts_with(word))
}
