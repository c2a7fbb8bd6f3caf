//! Questions to the person at the terminal.

use std::io::{BufRead as _, Write as _};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cli::diagnostic::safe;
use crate::cli::out::Out;
use crate::gate::authority::Ask;

/// How often a run that has to end is noticed while a question waits.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

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

    fn read(&self, question: &str, has_to_end: &dyn Fn() -> bool) -> Option<bool> {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{} {} [y/N] ", self.out.words.yellow("?"), safe(question));
        let _ = stderr.flush();
        drop(stderr);
        let mut answer = String::new();
        if !is_answered(has_to_end) || !matches!(std::io::stdin().lock().read_line(&mut answer), Ok(1..)) {
            // Nobody's answer, so nobody has ended the line.
            let _ = writeln!(std::io::stderr());
            return None;
        }
        Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

/// Waits until a line, or the end of input, can be read: a terminal gives no less than a line.
fn is_answered(has_to_end: &dyn Fn() -> bool) -> bool {
    let stdin = std::io::stdin();
    while !has_to_end() {
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
    false
}

impl Ask for Terminal {
    fn confirm(&self, question: &str, has_to_end: &dyn Fn() -> bool) -> Option<bool> {
        if self.yes {
            return Some(true);
        }
        if !self.out.is_terminal {
            return None;
        }
        let _one = self.one.lock();
        match &self.pause {
            Some(bar) => bar.suspend(|| self.read(question, has_to_end)),
            None => self.read(question, has_to_end),
        }
    }
}
