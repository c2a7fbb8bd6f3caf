//! Questions to the person at the terminal.

use std::io::{BufRead as _, Write as _};

use parking_lot::Mutex;

use crate::cli::diagnostic::safe;
use crate::cli::out::Out;
use crate::gate::authority::Ask;

/// Asks on standard error and reads from standard input; answers yes by itself with `--yes`.
pub(crate) struct Terminal {
    out: Out,
    yes: bool,
    // Arms of a fan-out may ask at the same time; a person answers one question after the other.
    one: Mutex<()>,
    pause: Option<indicatif::ProgressBar>,
}

impl Terminal {
    pub(crate) fn new(out: &Out, yes: bool, pause: Option<indicatif::ProgressBar>) -> Self {
        Self { out: out.clone(), yes, one: Mutex::new(()), pause }
    }

    fn read(&self, question: &str) -> Option<bool> {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{} {} [y/N] ", self.out.words.yellow("?"), safe(question));
        let _ = stderr.flush();
        drop(stderr);
        let mut answer = String::new();
        match std::io::stdin().lock().read_line(&mut answer) {
            // The end of input is nobody's answer.
            Ok(0) | Err(_) => None,
            Ok(_) => Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")),
        }
    }
}

impl Ask for Terminal {
    fn confirm(&self, question: &str) -> Option<bool> {
        if self.yes {
            return Some(true);
        }
        if !self.out.is_terminal {
            return None;
        }
        let _one = self.one.lock();
        match &self.pause {
            Some(bar) => bar.suspend(|| self.read(question)),
            None => self.read(question),
        }
    }
}
