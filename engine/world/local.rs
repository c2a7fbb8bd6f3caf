//! The local transport: commands on this machine, behind the same face as SSH.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::shell::{Dialog, Gate, Halt, Nowhere, Script, compose, password_refused, sweeping};
use super::transport::{Command, Exit, Fault, Sink, SinkClosed, Stream};

/// Read at once from a pipe.
const PIECE: usize = 32 * 1024;
/// How long a command that was told to end may take for it.
const GRACE: Duration = Duration::from_secs(8);

/// By how much a terminal's Ctrl-C may be ahead of the word that the run has to end.
const AHEAD: Duration = Duration::from_millis(500);

/// Runs `command` by `/bin/sh`, in a process group of its own, and returns how it ended.
///
/// As with SSH, it ends when the command has ended and nothing holds its output any more.
pub(super) async fn run<S: Sink>(
    command: &Command,
    sink: &mut S,
    cancel: &CancellationToken,
) -> Result<Exit, Fault> {
    run_by(|| compose(command), command, sink, cancel).await
}

async fn run_by<S: Sink>(
    script: impl Fn() -> Script,
    command: &Command,
    sink: &mut S,
    cancel: &CancellationToken,
) -> Result<Exit, Fault> {
    let end = attempt(script(), command, sink, cancel).await?;
    if end.has_begun || end.exit.signal.as_deref() != Some("INT") {
        return Ok(end.exit);
    }
    // For a moment a new process is still in our group and gets our Ctrl-C. If that ends the run, it is all there is to
    // say; else, as in a clean-up, nothing has happened yet and the command has its turn.
    if timeout(AHEAD, cancel.cancelled()).await.is_ok() {
        return Err(Fault::Cancelled);
    }
    Ok(attempt(script(), command, sink, cancel).await?.exit)
}

/// How a shell ended, and whether it did anything before.
struct End {
    exit: Exit,
    has_begun: bool,
}

async fn attempt<S: Sink>(
    script: Script,
    command: &Command,
    sink: &mut S,
    cancel: &CancellationToken,
) -> Result<End, Fault> {
    if cancel.is_cancelled() {
        return Err(Fault::Cancelled);
    }
    let started = Instant::now();
    let mut child = spawn(&script.text)?;
    let shell = child.id();
    let stdin = child.stdin.take().expect("standard input is piped");
    let (dialog, gate) = Dialog::new(script.marks);
    let mut ears = Ears {
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        child,
        status: None,
        dialog,
        out: vec![0; PIECE],
        err: vec![0; PIECE],
    };
    let feeding = feed(stdin, command, gate);
    tokio::pin!(feeding);
    let mut is_feeding = true;
    let limit = command.timeout;
    let expiry = tokio::time::sleep_until(started + limit.unwrap_or(Duration::from_secs(86400 * 365)));
    tokio::pin!(expiry);

    let mut pauses = crate::world::transport::pauses();

    let fault = loop {
        tokio::select! {
            event = ears.next() => match ears.hear(event, sink).await {
                Ok(()) => {}
                Err(Halt::Unrecorded) => break Fault::Unrecorded,
                Err(Halt::PasswordRefused) => {
                    // Nothing has been started; sudo ends when its input, held by `feeding`, is closed.
                    return Err(password_refused(command.sudo.as_ref()));
                }
                Err(Halt::Ended | Halt::ExecRefused) => {
                    ears.dialog.finish(sink).await?;
                    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let has_begun = ears.dialog.shell.is_some();
                    let end = |status| End { exit: exit(status, ms), has_begun };
                    return ears.status.map(end).ok_or_else(gone);
                }
            },
            () = &mut feeding, if is_feeding => is_feeding = false,
            _ = pauses.tick() => {
                if sink.pause().await.is_err() {
                    break Fault::Unrecorded;
                }
            }
            () = cancel.cancelled() => break Fault::Cancelled,
            () = &mut expiry, if limit.is_some() => {
                break Fault::TimedOut { seconds: limit.unwrap_or_default().as_secs() };
            }
        }
    };
    if let Some(shell) = shell {
        ears.stop(shell, command, sink).await;
    }
    Err(fault)
}

#[expect(clippy::disallowed_methods, reason = "this is the local transport's true home")]
fn spawn(text: &str) -> Result<Child, Fault> {
    tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(text)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| Fault::Protocol { reason: format!("/bin/sh cannot be started: {error}") })
}

/// What a command did.
enum Event {
    Out(usize),
    Err(usize),
    Exit(Option<ExitStatus>),
    Ended,
}

struct Ears {
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    status: Option<ExitStatus>,
    dialog: Dialog,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Ears {
    /// Waits for the next thing that the command does; nothing is lost when this is dropped while it waits.
    async fn next(&mut self) -> Event {
        tokio::select! {
            n = read(&mut self.stdout, &mut self.out), if self.stdout.is_some() => Event::Out(n),
            n = read(&mut self.stderr, &mut self.err), if self.stderr.is_some() => Event::Err(n),
            status = self.child.wait(), if self.status.is_none() => Event::Exit(status.ok()),
            else => Event::Ended,
        }
    }

    async fn hear<S: Sink>(&mut self, event: Event, sink: &mut S) -> Result<(), Halt> {
        match event {
            Event::Out(0) => self.stdout = None,
            Event::Out(n) => {
                sink.take(Stream::Out, &self.out[..n]).await.map_err(|SinkClosed| Halt::Unrecorded)?;
            }
            Event::Err(0) => self.stderr = None,
            Event::Err(n) => self.dialog.hear(&self.err[..n], sink).await?,
            Event::Exit(Some(status)) => self.status = Some(status),
            Event::Exit(None) | Event::Ended => return Err(Halt::Ended),
        }
        Ok(())
    }

    /// Ends what the command started, while what it still says is taken in.
    async fn stop<S: Sink>(&mut self, shell: u32, command: &Command, sink: &mut S) {
        let sweeping = sweeping(shell, self.status.is_some(), None, command.sudo.as_ref());
        let never = CancellationToken::new();
        let mut nowhere = Nowhere;
        let mut ending = Box::pin(run(&sweeping, &mut nowhere, &never));
        let mut left = None;
        let listen = async {
            let mut is_open = true;
            while is_open || left.is_none() {
                tokio::select! {
                    event = self.next(), if is_open => {
                        is_open = self.hear(event, sink).await != Err(Halt::Ended);
                    }
                    exit = &mut ending, if left.is_none() => left = Some(exit),
                }
            }
        };
        let _ = timeout(GRACE, listen).await;
        if !matches!(left, Some(Ok(Exit { code: Some(0), .. }))) {
            tracing::warn!(shell, "what a stopped command started may still run");
        }
    }
}

async fn read<R: tokio::io::AsyncRead + Unpin>(pipe: &mut Option<R>, buffer: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Sends standard input and closes it; a command that does not read it ends this with a broken pipe.
async fn feed(mut stdin: ChildStdin, command: &Command, mut gate: watch::Receiver<Gate>) {
    if let Some(password) = command.sudo.as_ref().and_then(|sudo| sudo.password.as_ref()) {
        let Ok(opened) = gate.wait_for(|gate| *gate != Gate::Shut).await.map(|gate| *gate) else { return };
        if opened == Gate::Password {
            let mut line = zeroize::Zeroizing::new(password.as_bytes().to_vec());
            line.push(b'\n');
            if stdin.write_all(&line).await.is_err() {
                return;
            }
            if gate.wait_for(|gate| *gate == Gate::Open).await.is_err() {
                return;
            }
        }
    }
    let _ = stdin.write_all(&command.stdin).await;
}

fn exit(status: ExitStatus, ms: u64) -> Exit {
    let signal = status.signal().map(|number| {
        rustix::process::Signal::from_named_raw(number).map_or_else(
            || number.to_string(),
            |signal| format!("{signal:?}").replace(['"'], "").replace("Signal::", ""),
        )
    });
    Exit { code: status.code(), signal, ms }
}

fn gone() -> Fault {
    Fault::Lost { reason: "the command's end could not be learnt".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::world::transport::Line;

    /// Runs a command whose first shells end before they begin, as by a Ctrl-C that comes while they start.
    async fn after(
        interrupted: usize,
        line: &str,
        cancel: &CancellationToken,
    ) -> (Result<Exit, Fault>, usize) {
        let command = Command {
            line: Line::Shell(line.to_owned()),
            stdin: b"told".as_slice().into(),
            env: Vec::new(),
            cwd: None,
            sudo: None,
            timeout: None,
            detach: false,
        };
        let starts = Cell::new(0);
        let script = || {
            starts.set(starts.get() + 1);
            let script = compose(&command);
            if starts.get() > interrupted {
                script
            } else {
                Script { text: "kill -INT $$".to_owned(), ..script }
            }
        };
        let ended = run_by(script, &command, &mut Nowhere, cancel).await;
        (ended, starts.get())
    }

    #[tokio::test]
    async fn ctrl_c_while_a_command_starts_ends_the_run_and_is_no_failure_of_the_command() {
        let cancel = CancellationToken::new();
        let (ended, ()) = tokio::join!(after(1, "true", &cancel), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cancel.cancel();
        });
        assert_eq!(ended, (Err(Fault::Cancelled), 1));
    }

    #[tokio::test]
    async fn ctrl_c_that_does_not_end_what_starts_lets_it_start_again() {
        let (ended, starts) = after(1, "test \"$(cat)\" = told", &CancellationToken::new()).await;
        assert_eq!((ended.map(|exit| exit.code), starts), (Ok(Some(0)), 2));
    }

    #[tokio::test]
    async fn a_command_that_ends_itself_is_started_once() {
        let (ended, starts) = after(0, "kill -INT $$", &CancellationToken::new()).await;
        assert_eq!((ended.map(|exit| exit.signal), starts), (Ok(Some("INT".to_owned())), 1));
    }
}
