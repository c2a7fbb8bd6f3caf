//! The near end of a session: which bytes are a device's prompt, its question, a page that waits, an echo or an answer.
//!
//! Bytes in, decisions out; who carries them and who waits is elsewhere. Nothing is decided by a pause but what no pattern can tell
//! for certain ([`Heard::Perhaps`]). What devices say is data: `*.words`.

mod prompt;
mod screen;
mod typing;
mod words;

use super::Os;
use prompt::{is_same, prompt, prompt_before};
use screen::Screen;
use words::{Words, is_noise, is_question};

pub use prompt::Mode;
pub use typing::typed;

/// What the device waits for, as far as it has spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is still speaking.
    Nothing,
    /// It shows something that looks like its first prompt: a return tells whether it is.
    Greeting,
    /// A page waits for a blank.
    Page,
    /// It waits for a command.
    Prompt(Mode),
    /// It waits for the next line of a text, or has not spoken since the last line.
    Text,
    /// It asks for the password of `enable`.
    Password,
    /// It seems to wait: what it shows last could also be the middle of a text, so it counts when nothing more comes.
    Perhaps(Wait),
}

/// What a device seems to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// A command: its prompt is there, and what was typed was not shown before it.
    Command(Mode),
    /// An answer to this.
    Answer(String),
}

/// What came of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The lines of the answer, without the echo, messages of the log and marks below mistakes.
    pub lines: Vec<String>,
    /// The first line that is a refusal.
    pub error: Option<String>,
    /// Lines that are worth knowing.
    pub notices: Vec<String>,
    /// Whether messages of the log came in between: a line may have been cut in two by one.
    pub is_noisy: bool,
}

/// A terminal in front of a device.
#[derive(Debug)]
pub struct Terminal {
    words: &'static Words,
    screen: Screen,
    /// The device's name as its prompt shows it; none before the first prompt.
    name: Option<String>,
    /// Whether the next prompt may show another name.
    is_renamed: bool,
    /// Whether a return was sent to see the first prompt again.
    has_knocked: bool,
    /// What was typed last, and whether it is shown by the device.
    typed: Option<String>,
    is_hidden: bool,
}

impl Terminal {
    /// Begins before the device has said anything.
    pub fn new(os: Os) -> Self {
        Self {
            words: Words::of(os),
            screen: Screen::default(),
            name: None,
            is_renamed: false,
            has_knocked: false,
            typed: None,
            is_hidden: false,
        }
    }

    /// Takes what came from the device.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.screen.show(bytes);
    }

    /// Notes that a return was sent at [`Heard::Greeting`].
    pub fn knock(&mut self) {
        self.has_knocked = true;
    }

    /// Notes that a line is sent: what came before it is forgotten.
    pub fn typed(&mut self, line: &str) {
        self.screen.clear();
        let text = line.trim_start_matches("no ");
        // A configuration that comes back may bring another name; at a bare return that may have happened before.
        let renames = ["hostname", "prompt ", "configure revert", "configure replace"];
        self.is_renamed = text.is_empty() || renames.iter().any(|begin| text.starts_with(begin));
        self.typed = Some(line.trim_end().to_owned());
        self.is_hidden = false;
    }

    /// Notes that a password is sent, which is not shown.
    pub fn typed_hidden(&mut self) {
        self.screen.clear();
        self.typed = None;
        self.is_hidden = true;
    }

    /// Notes that an answer or a blank is sent: the device goes on with what it was at.
    pub fn answered(&mut self) {
        self.screen.clear_last();
    }

    /// Returns what the last command's question is answered with; nothing where nobody foresaw it.
    pub fn answer(&self, question: &str) -> Option<&'static str> {
        self.words.answer(self.typed.as_deref().unwrap_or_default(), question)
    }

    /// Returns the device's name as its prompt shows it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the end of what is on the screen, for people.
    pub fn tail(&self) -> String {
        let mut lines: Vec<String> =
            self.screen.whole().rev().filter(|line| !line.is_empty()).take(2).collect();
        lines.reverse();
        lines.push(self.screen.last());
        lines.retain(|line| !line.is_empty());
        lines.iter().map(|line| super::secrets::without_secret(line)).collect::<Vec<_>>().join(" / ")
    }

    /// Decides what the device waits for; a prompt under another name is learnt where it is expected.
    pub fn heard(&mut self) -> Heard {
        let last = self.screen.last();
        if self.words.is_more(last.trim_start()) {
            return Heard::Page;
        }
        let Some((name, mode)) = prompt(&last) else {
            return self.without_prompt(&last);
        };
        let Some(own) = &self.name else {
            if !self.has_knocked {
                return Heard::Greeting;
            }
            // A banner can end in anything; the prompt is what comes again for a return.
            let before = self.screen.whole().rev().find(|line| !line.is_empty() && !is_noise(line));
            if before.is_some_and(|line| line == last) {
                self.name = Some(name.to_owned());
                return Heard::Prompt(mode);
            }
            return Heard::Nothing;
        };
        if !is_same(own, name, mode) {
            if !(self.is_renamed && self.has_echo()) {
                return self.without_prompt(&last);
            }
            self.name = Some(name.to_owned());
        }
        if self.has_echo() { Heard::Prompt(mode) } else { Heard::Perhaps(Wait::Command(mode)) }
    }

    fn without_prompt(&self, last: &str) -> Heard {
        if last.is_empty() {
            return if self.typed.is_some() && self.has_echo() { Heard::Text } else { Heard::Nothing };
        }
        let asks = last.to_ascii_lowercase().ends_with("assword:");
        if asks && self.typed.as_deref() == Some("enable") && self.has_echo() {
            return Heard::Password;
        }
        if is_question(last) && (self.name.is_some() || asks) {
            return Heard::Perhaps(Wait::Answer(last.to_owned()));
        }
        Heard::Nothing
    }

    /// Whether more came than can be kept.
    pub fn is_flooded(&self) -> bool {
        self.screen.is_full()
    }

    fn has_echo(&self) -> bool {
        match &self.typed {
            Some(typed) => self.screen.whole().any(|line| self.is_echo(&line, typed)),
            // What is hidden is ended by a return that is shown.
            None => self.is_hidden && self.screen.whole().next().is_some(),
        }
    }

    /// Whether a line is what was typed, as the device shows it: long ones slide, with `$` where something is not shown.
    fn is_echo(&self, line: &str, typed: &str) -> bool {
        let line = line.trim();
        let typed = typed.trim();
        if line == typed {
            return true;
        }
        let shown = match prompt_before(line) {
            Some((name, mode, rest)) if self.name.as_deref().is_some_and(|own| is_same(own, name, mode)) => {
                rest.trim()
            }
            _ => line,
        };
        if shown == typed {
            return true;
        }
        let core = shown.trim_start_matches('$').trim_end_matches('$');
        core.len() < shown.len() && core.len() >= 4 && typed.contains(core.trim())
    }

    /// Takes the answer to what was typed, judged; `keeps_noise` where messages of the log are what was asked for.
    pub fn take(&mut self, keeps_noise: bool) -> Said {
        let mut said = Said::default();
        let typed = self.typed.clone();
        let mut waits_for_echo = typed.is_some();
        for line in self.screen.whole() {
            if waits_for_echo && typed.as_deref().is_some_and(|typed| self.is_echo(&line, typed)) {
                waits_for_echo = false;
                // What came before it belongs to nothing that was asked.
                said.lines.clear();
                continue;
            }
            if is_noise(&line) {
                said.is_noisy = true;
                if !keeps_noise {
                    continue;
                }
            }
            said.lines.push(line);
        }
        self.screen.clear();
        for line in &said.lines {
            match self.words.is_error(line) {
                Some(true) if said.error.is_none() => said.error = Some(line.clone()),
                Some(false) => said.notices.push(line.clone()),
                Some(true) | None => {}
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeted(os: Os, name: &str) -> Terminal {
        let mut terminal = Terminal::new(os);
        terminal.hear(format!("\r\n{name}").as_bytes());
        assert_eq!(terminal.heard(), Heard::Greeting);
        terminal.knock();
        terminal.hear(format!("\r\n{name}").as_bytes());
        assert!(matches!(terminal.heard(), Heard::Prompt(_)), "{name}");
        terminal
    }

    #[test]
    fn a_banner_that_looks_like_a_prompt_is_none() {
        let mut terminal = Terminal::new(Os::Ios);
        terminal.hear(b"*** keep out ***\r\nadmin#");
        assert_eq!(terminal.heard(), Heard::Greeting);
        terminal.knock();
        terminal.hear(b" is watching\r\nother#");
        assert_eq!(terminal.heard(), Heard::Nothing);
        terminal.hear(b"\r\nrtr01>");
        assert_eq!(terminal.heard(), Heard::Nothing);
        terminal.hear(b"\r\nrtr01>");
        assert_eq!((terminal.heard(), terminal.name()), (Heard::Prompt(Mode::User), Some("rtr01")));
    }

    #[test]
    fn a_command_ends_with_its_prompt_and_not_with_one_in_its_answer() {
        let mut terminal = greeted(Os::Ios, "rtr01#");
        terminal.typed("show banner");
        // A prompt from before, then the echo.
        terminal.hear(b"rtr01#");
        assert_eq!(terminal.heard(), Heard::Perhaps(Wait::Command(Mode::Privileged)));
        terminal.hear(b"show banner\r\nhello\r\nadmin#");
        assert_eq!(terminal.heard(), Heard::Nothing);
        terminal.hear(b"\r\nrtr01#");
        assert_eq!(terminal.heard(), Heard::Prompt(Mode::Privileged));
        assert_eq!(terminal.take(false).lines, ["hello", "admin#"]);
    }

    #[test]
    fn long_lines_slide_in_their_echo() {
        let line = "access-list OUTSIDE line 3 extended permit tcp object-group ADMINS object-group SERVERS eq 443 log";
        for echo in [
            "access-list OUTSIDE line 3 extended permit tcp object-group ADMINS obje$\r\n",
            "access-list OUTSIDE line 3 ext\rfw01(config)# $NS object-group SERVERS eq 443 log\r\n",
            "$p ADMINS object-group SERVERS eq 443 log\r\n",
        ] {
            let mut terminal = greeted(Os::Asa, "fw01# ");
            terminal.typed(line);
            terminal.hear(echo.as_bytes());
            terminal.hear(b"WARNING: found duplicate element\r\nfw01(config)# ");
            assert_eq!(terminal.heard(), Heard::Prompt(Mode::Configuration), "{echo}");
            let said = terminal.take(false);
            assert_eq!((said.lines.len(), said.error, said.notices.len()), (1, None, 1), "{echo}");
        }
    }

    #[test]
    fn pages_questions_and_noise() {
        let mut terminal = greeted(Os::Ios, "rtr01#");
        terminal.typed("show run");
        terminal.hear(b"show run\r\nhostname rtr01\r\n --More-- ");
        assert_eq!(terminal.heard(), Heard::Page);
        terminal.answered();
        terminal.hear(b"\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08          \x08\x08\x08\x08\x08\x08\x08\x08\x08\x08end\r\n");
        terminal.hear(b"\r\n*Mar  1 00:01:02.003: %SYS-5-CONFIG_I: Configured\r\nrtr01#");
        assert_eq!(terminal.heard(), Heard::Prompt(Mode::Privileged));
        let said = terminal.take(false);
        assert_eq!((said.lines.join("|").as_str(), said.is_noisy), ("hostname rtr01|end|", true));

        terminal.typed("no username bob");
        terminal.hear(b"no username bob\r\nDo you want to continue? [confirm]");
        let Heard::Perhaps(Wait::Answer(question)) = terminal.heard() else { panic!("it is a question") };
        assert_eq!(terminal.answer(&question), Some(""));
        terminal.typed("hostname x");
        assert_eq!(terminal.answer(&question), None);
    }

    #[test]
    fn a_name_may_change_and_be_cut() {
        let mut terminal = greeted(Os::Ios, "a-very-long-name-of-a-router#");
        terminal.typed("configure terminal");
        terminal.hear(b"configure terminal\r\nEnter configuration commands, one per line.  End with CNTL/Z.\r\na-very-long-name-of-(config)#");
        assert_eq!(terminal.heard(), Heard::Prompt(Mode::Configuration));
        terminal.typed("hostname b");
        terminal.hear(b"hostname b\r\nb(config)#");
        assert_eq!(terminal.heard(), Heard::Prompt(Mode::Configuration));
        terminal.typed("end");
        terminal.hear(b"end\r\nb#");
        assert_eq!((terminal.heard(), terminal.name()), (Heard::Prompt(Mode::Privileged), Some("b")));
        terminal.typed("configure revert now");
        terminal.hear(b"configure revert now\r\na#");
        assert_eq!((terminal.heard(), terminal.name()), (Heard::Prompt(Mode::Privileged), Some("a")));
        terminal.typed("show clock");
        terminal.hear(b"show clock\r\nc#");
        assert_eq!(terminal.heard(), Heard::Nothing);
    }

    #[test]
    fn a_text_is_typed_line_by_line() {
        let mut terminal = greeted(Os::Ios, "rtr01#");
        terminal.typed("banner motd ~hello");
        terminal.hear(b"banner motd ~hello\r\nEnter TEXT message.  End with the character '~'.\r\n");
        assert_eq!(terminal.heard(), Heard::Text);
    }

    #[test]
    fn the_first_refusal_counts_and_a_secret_is_not_shown() {
        let mut terminal = greeted(Os::Ios, "rtr01#");
        terminal.typed("frobnicate");
        terminal.hear(
            b"frobnicate\r\n            ^\r\n% Invalid input detected at '^' marker.\r\n\r\nrtr01(config)#",
        );
        assert_eq!(terminal.heard(), Heard::Prompt(Mode::Configuration));
        let said = terminal.take(false);
        assert_eq!(said.error.as_deref(), Some("% Invalid input detected at '^' marker."));
        terminal.hear(b"enable secret hush\r\n");
        assert!(!terminal.tail().contains("hush"));
    }
}
