//! What a composed command says on standard error, and when it may be given standard input.

use tokio::sync::watch;

use super::marks::{Cue, Marks};
use crate::world::transport::{Fault, Sink, SinkClosed, Stream, Sudo};

/// What standard input waits for: sudo reads the password from it before the command reads the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing was heard yet.
    Shut,
    /// sudo asks for the password.
    Password,
    /// The command reads now.
    Open,
}

/// Why not to listen any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// The other side is done.
    Ended,
    /// The sink is closed.
    Unrecorded,
    /// The server does not run commands.
    ExecRefused,
    /// sudo asked for the password again.
    PasswordRefused,
}

/// Listens to the standard error of one command.
#[derive(Debug)]
pub struct Dialog {
    marks: Marks,
    gate: watch::Sender<Gate>,
    prompts: usize,
    /// The process id of the command's shell, once it told.
    pub shell: Option<u32>,
}

impl Dialog {
    /// Starts to listen for `marks`; the receiver is for whoever sends standard input.
    pub fn new(marks: Marks) -> (Self, watch::Receiver<Gate>) {
        let (gate, seen) = watch::channel(Gate::Shut);
        (Self { marks, gate, prompts: 0, shell: None }, seen)
    }

    /// Whether the command's shell is still to tell its process id.
    pub fn awaits_shell(&self) -> bool {
        self.shell.is_none() && !self.marks.is_quiet()
    }

    /// The tag of all that the command started, where it has one.
    pub fn tag(&self) -> Option<&str> {
        self.marks.tag()
    }

    /// Hands ordinary output to `sink` and acts on marks.
    pub async fn hear<S: Sink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<(), Halt> {
        if self.marks.is_quiet() {
            return sink.take(Stream::Err, bytes).await.map_err(|SinkClosed| Halt::Unrecorded);
        }
        for cue in self.marks.feed(bytes) {
            match cue {
                Cue::Text(text) => {
                    sink.take(Stream::Err, &text).await.map_err(|SinkClosed| Halt::Unrecorded)?;
                }
                Cue::Shell(pid) => self.shell = Some(pid),
                Cue::Password => {
                    self.prompts += 1;
                    if self.prompts > 1 {
                        return Err(Halt::PasswordRefused);
                    }
                    self.gate.send_replace(Gate::Password);
                }
                Cue::Admitted => {
                    self.gate.send_replace(Gate::Open);
                }
            }
        }
        Ok(())
    }

    /// Hands on what was held back because it could have become a mark.
    pub async fn finish<S: Sink>(&mut self, sink: &mut S) -> Result<(), Fault> {
        let rest = self.marks.finish();
        if rest.is_empty() {
            return Ok(());
        }
        sink.take(Stream::Err, &rest).await.map_err(|SinkClosed| Fault::Unrecorded)
    }
}

/// The fault of a command that sudo did not let run.
pub fn password_refused(sudo: Option<&Sudo>) -> Fault {
    let user = sudo.and_then(|sudo| sudo.user.clone()).unwrap_or_else(|| "root".to_owned());
    Fault::Authentication { user, reason: "sudo did not take the password".to_owned() }
}

/// Takes output that nobody wants to see.
#[derive(Debug)]
pub struct Nowhere;

impl Sink for Nowhere {
    async fn take(&mut self, _stream: Stream, _bytes: &[u8]) -> Result<(), SinkClosed> {
        Ok(())
    }
}
