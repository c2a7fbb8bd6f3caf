//! What is typed and what is shown: echo, line editing, long lines that scroll, and pages that wait for a key.

/// How many characters a long line is scrolled by.
const STEP: usize = 10;

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
    /// Columns in which a long line is scrolled; none: it is shown whole.
    width: Option<usize>,
    /// Whether the beginning of a scrolled line is shown again when it is whole, as ASA does.
    repeats: bool,
    /// Characters of the prompt, and of the line behind it that are to be seen.
    prompt: usize,
    seen: usize,
}

impl Screen {
    /// Makes one with so many lines a page.
    pub(super) fn new(length: usize, width: Option<usize>, repeats: bool) -> Self {
        Self { length: Some(length), width, repeats, ..Self::default() }
    }

    /// Shows a text; lines end as terminals want it.
    pub(super) fn say(&mut self, text: &str) {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.out.push(b'\r');
            }
            self.out.push(byte);
        }
    }

    /// Shows a text that a line is typed behind.
    pub(super) fn ask(&mut self, text: &str) {
        self.say(text);
        self.prompt = text.len();
        self.seen = 0;
    }

    /// How much there is to be sent.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Puts a message in the middle of what was said since there was so much to be sent.
    pub(super) fn disturb(&mut self, since: usize, message: &str) {
        let ends: Vec<usize> = (since..self.out.len()).filter(|at| self.out[*at] == b'\n').collect();
        let at = ends.get(ends.len().saturating_sub(1) / 2).map_or(since, |end| end + 1);
        let rest = self.out.split_off(at);
        self.say(message);
        self.out.extend(rest);
    }

    /// Scrolls the line that is typed, so that its end is seen and `$` stands for the rest.
    fn scroll(&mut self) {
        let kept = self.seen.saturating_sub(STEP).max(1);
        self.out.extend(vec![8; self.seen]);
        self.out.push(b'$');
        self.out.extend_from_slice(&self.typed[self.typed.len() - (kept - 1)..]);
        self.out.extend(vec![b' '; STEP - 1]);
        self.out.extend(vec![8; STEP - 1]);
        self.seen = kept;
    }

    /// Shows the beginning of a line that was scrolled.
    fn repeat(&mut self, width: usize) {
        let seen = width.saturating_sub(self.prompt + 1).min(self.typed.len());
        self.out.extend(vec![8; self.seen]);
        self.out.extend_from_slice(&self.typed[..seen]);
        self.out.push(b'$');
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

    /// Takes one byte; returns the line when it is whole. What is hidden is not echoed, and where a text is typed Ctrl-C is a
    /// character of it: the end of a banner.
    pub(super) fn type_byte(&mut self, byte: u8, hides: bool, is_text: bool) -> Option<String> {
        let follows_return = std::mem::replace(&mut self.was_return, byte == b'\r');
        match byte {
            b'\n' if follows_return => None,
            b'\r' | b'\n' => {
                if let (Some(width), true) =
                    (self.width, self.repeats && !hides && self.seen < self.typed.len())
                {
                    self.repeat(width);
                }
                self.say("\n");
                self.seen = 0;
                let line = String::from_utf8_lossy(&self.typed).into_owned();
                self.typed.clear();
                Some(line)
            }
            8 | 127 => {
                if self.typed.pop().is_some() && !hides {
                    self.out.extend([8, b' ', 8]);
                    self.seen = self.seen.saturating_sub(1);
                }
                None
            }
            3 if is_text || self.typed.starts_with(b"banner ") => {
                self.typed.extend(b"^C");
                self.out.extend(b"^C");
                self.seen += 2;
                None
            }
            // Ctrl-C and Ctrl-U: the line is forgotten.
            3 | 21 => {
                self.typed.clear();
                self.seen = 0;
                None
            }
            0..=31 => None,
            byte => {
                self.typed.push(byte);
                if !hides {
                    self.out.push(byte);
                    self.seen += 1;
                    if self.width.is_some_and(|width| self.prompt + self.seen >= width) {
                        self.scroll();
                    }
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
