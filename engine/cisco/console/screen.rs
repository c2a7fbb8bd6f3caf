//! What is typed and what is shown: echo, line editing, and pages that wait for a key.

/// What goes wrong on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// The session is cut when so many lines have been entered.
    pub cut_after: Option<u64>,
    /// After so many lines nothing is answered any more.
    pub hang_after: Option<u64>,
    /// Lines that are refused whatever they say.
    pub refuse: Vec<String>,
    /// Whether pages cannot be switched off.
    pub pages_always: bool,
    /// Whether a message of the log comes in the middle of an answer.
    pub noise: bool,
}

/// The screen of a session.
#[derive(Debug, Default)]
pub(super) struct Screen {
    out: Vec<u8>,
    typed: Vec<u8>,
    /// Lines of a page; none: no paging.
    pub(super) length: Option<usize>,
    /// What is still to be shown behind the page that is shown.
    rest: Option<Vec<String>>,
    more: &'static str,
    was_return: bool,
}

impl Screen {
    /// Shows a text; lines end as terminals want it.
    pub(super) fn say(&mut self, text: &str) {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.out.push(b'\r');
            }
            self.out.push(byte);
        }
    }

    /// Shows a text without a line's end: a prompt.
    pub(super) fn say_last(&mut self, text: &str) {
        self.say(text);
    }

    /// Shows a long text, by the page where that is wanted; `more` is what a page ends with.
    pub(super) fn show(&mut self, text: &str, more: &'static str) {
        self.more = more;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        self.page_of(lines);
    }

    fn page_of(&mut self, mut lines: Vec<String>) {
        let Some(length) = self.length.filter(|length| *length > 0 && lines.len() > *length) else {
            for line in &lines {
                self.say(line);
                self.say("\n");
            }
            return;
        };
        let rest = lines.split_off(length - 1);
        for line in &lines {
            self.say(line);
            self.say("\n");
        }
        let more = self.more;
        self.say(more);
        self.rest = Some(rest);
    }

    /// Whether a page waits for a key.
    pub(super) fn is_paging(&self) -> bool {
        self.rest.is_some()
    }

    /// Takes the key that a page waits for; says whether nothing more is to be shown.
    pub(super) fn page(&mut self, key: u8) -> bool {
        let Some(rest) = self.rest.take() else { return true };
        // The device wipes the words away before it goes on.
        let width = self.more.len();
        let wipe = [vec![8; width], vec![b' '; width], vec![8; width]].concat();
        self.out.extend(wipe);
        match key {
            b'q' | b'Q' | 3 => {
                self.say("\n");
                true
            }
            b'\r' | b'\n' => {
                let mut rest = rest;
                if !rest.is_empty() {
                    let line = rest.remove(0);
                    self.say(&line);
                    self.say("\n");
                }
                if rest.is_empty() {
                    return true;
                }
                let more = self.more;
                self.say(more);
                self.rest = Some(rest);
                false
            }
            b' ' => {
                self.page_of(rest);
                !self.is_paging()
            }
            _ => {
                let more = self.more;
                self.say(more);
                self.rest = Some(rest);
                false
            }
        }
    }

    /// Takes one byte; returns the line when it is whole. What is hidden is not echoed.
    pub(super) fn type_byte(&mut self, byte: u8, hides: bool) -> Option<String> {
        let follows_return = std::mem::replace(&mut self.was_return, byte == b'\r');
        match byte {
            b'\n' if follows_return => None,
            b'\r' | b'\n' => {
                self.say("\n");
                let line = String::from_utf8_lossy(&self.typed).into_owned();
                self.typed.clear();
                Some(line)
            }
            8 | 127 => {
                if self.typed.pop().is_some() && !hides {
                    self.out.extend([8, b' ', 8]);
                }
                None
            }
            // Ctrl-C and Ctrl-U: the line is forgotten.
            3 | 21 => {
                self.typed.clear();
                None
            }
            0..=31 => None,
            byte => {
                self.typed.push(byte);
                if !hides {
                    self.out.push(byte);
                }
                None
            }
        }
    }

    /// Returns what is to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Forgets what would be sent: the device hangs.
    pub(super) fn forget(&mut self) {
        self.out.clear();
    }
}
