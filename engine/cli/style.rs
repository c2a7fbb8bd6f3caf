//! Colours, when they are wanted.

use crate::model::event::Verdict;
use crate::model::run::Status;

/// Puts colours around text, or leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    pub(crate) fn new(on: bool) -> Self {
        Self { on }
    }

    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn magenta(self, text: &str) -> String {
        self.paint("35", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// Paints a word as its verdict wants it.
    pub(crate) fn verdict(self, verdict: Verdict, text: &str) -> String {
        match verdict {
            Verdict::Ok => self.green(text),
            Verdict::Changed => self.yellow(text),
            Verdict::Failed => self.red(text),
            Verdict::Skipped => self.cyan(text),
            Verdict::Unreachable => self.magenta(text),
        }
    }

    /// Paints a word as the status of a run wants it.
    pub(crate) fn status(self, status: Status, text: &str) -> String {
        match status {
            Status::Done => self.green(text),
            Status::Queued | Status::Running => self.cyan(text),
            Status::Partial | Status::Interrupted | Status::InDoubt => self.yellow(text),
            Status::Failed | Status::Stopped | Status::Cancelled | Status::TimedOut => self.red(text),
        }
    }

    /// Paints a unified diff, indented by four columns; what a terminal must not see is written out.
    pub(crate) fn diff(self, diff: &str) -> String {
        let paint = |line: &str| {
            let safe = crate::cli::diagnostic::safe(line);
            match line.as_bytes().first() {
                Some(b'+') if !line.starts_with("+++") => self.green(&safe),
                Some(b'-') if !line.starts_with("---") => self.red(&safe),
                Some(b'@') => self.cyan(&safe),
                _ => safe,
            }
        };
        diff.lines().flat_map(|line| ["    ".to_owned(), paint(line), "\n".to_owned()]).collect()
    }
}
