//! The real binary at a pseudo-terminal, and what a person sees on it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::disallowed_methods, reason = "tests start the binary")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::project::{Project, until};

const ROWS: u16 = 40;
const COLUMNS: u16 = 100;

/// `nlrun` at a terminal of its own.
pub struct Terminal {
    child: Child,
    keyboard: File,
    heard: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts `nlrun` at a new terminal, which is the one that it gets Ctrl-C from.
    pub fn start(project: &Project, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let end = || Stdio::from(ioctl_tiocgptpeer(&master, flags).unwrap());
        let wanted = project.command(arguments);
        // A terminal is taken over between fork and exec, which `setsid` does without unsafe code of ours.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(wanted.get_program()).args(wanted.get_args()).env_clear();
        command.env("TERM", "xterm-256color").current_dir(project.root());
        for (name, value) in wanted.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        drop(command);
        let keyboard = File::from(master);
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (mut screen, shared) = (keyboard.try_clone().unwrap(), heard.clone());
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The last one to close the terminal's other end makes this an error.
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                shared.lock().extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, keyboard, heard, reader: Some(reader) }
    }

    /// Everything that was written to the terminal so far.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock()).into_owned()
    }

    /// What stands on the screen now.
    pub fn screen(&self) -> Screen {
        Screen::showing(&self.raw())
    }

    /// Waits until a line of the screen holds this.
    #[track_caller]
    pub fn shows(&self, words: &str) {
        until(&format!("`{words}` is on the screen"), || self.screen().has(words));
    }

    /// Types these bytes.
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end of `nlrun`; returns its exit code and all that was written.
    #[track_caller]
    pub fn ends(mut self, code: i32) -> (String, Screen) {
        let mut status = None;
        until("nlrun ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.reader.take().unwrap().join().unwrap();
        let raw = self.raw();
        assert_eq!(status.unwrap().code(), Some(code), "{raw}");
        let screen = Screen::showing(&raw);
        (raw, screen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a terminal, as far as `nlrun` uses its abilities.
#[derive(Default)]
pub struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    is_hidden: bool,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "cursor {}:{}, hidden: {}\n{}",
            self.row,
            self.column,
            self.is_hidden,
            self.lines().join("\n")
        )
    }
}

impl Screen {
    fn showing(text: &str) -> Self {
        let mut screen = Self::default();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\r' => screen.column = 0,
                '\n' => screen.row += 1,
                '\u{1b}' => {
                    assert_eq!(letters.next(), Some('['), "an unknown escape in {text:?}");
                    let mut number = String::new();
                    let end = letters.by_ref().find(|letter| {
                        number.push(*letter);
                        letter.is_ascii_alphabetic()
                    });
                    number.pop();
                    // An escape that has not arrived whole says nothing yet.
                    let Some(end) = end else { break };
                    screen.obey(end, &number);
                }
                letter => screen.put(letter),
            }
        }
        screen
    }

    fn obey(&mut self, letter: char, number: &str) {
        let count = number.parse().unwrap_or(1);
        self.line();
        match (letter, number) {
            ('m', _) => {}
            ('A', _) => self.row = self.row.saturating_sub(count),
            ('B', _) => self.row += count,
            ('C', _) => self.column += count,
            ('D', _) => self.column = self.column.saturating_sub(count),
            ('K', "" | "0") => {
                let column = self.column;
                self.line().truncate(column);
            }
            ('K', "2") => self.line().clear(),
            ('J', "" | "0") => {
                let (row, column) = (self.row, self.column);
                self.line().truncate(column);
                self.lines.truncate(row + 1);
            }
            ('h' | 'l', "?25") => self.is_hidden = letter == 'l',
            _ => panic!("an unknown escape: [{number}{letter}"),
        }
    }

    fn put(&mut self, letter: char) {
        // As on a real terminal, a full line breaks only when more comes.
        if self.column == usize::from(COLUMNS) {
            (self.row, self.column) = (self.row + 1, 0);
        }
        let column = self.column;
        let line = self.line();
        if line.len() <= column {
            line.resize(column + 1, ' ');
        }
        line[column] = letter;
        self.column += 1;
    }

    fn line(&mut self) -> &mut Vec<char> {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Vec::new());
        }
        &mut self.lines[self.row]
    }

    /// The lines, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    /// Whether a line holds these words.
    pub fn has(&self, words: &str) -> bool {
        self.lines().iter().any(|line| line.contains(words))
    }

    /// The line that moves, if it is there: a sign that turns, and the time so far.
    pub fn moving(&self) -> Option<String> {
        self.lines().into_iter().find(|line| line.contains(" 00:0"))
    }

    /// Whether a shell's next prompt would begin on an empty line, with a cursor that is seen, and nothing that moved
    /// stands still.
    pub fn is_tidy(&self) -> bool {
        let rest = self.lines.get(self.row..).unwrap_or_default();
        let is_over = !self.is_hidden && self.column == 0 && rest.iter().all(Vec::is_empty);
        is_over && self.moving().is_none()
    }
}
