//! Runs one command on a channel: output as it comes, standard input, and an end to all it started.

use std::sync::Arc;
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Lease};
use super::request::Request;
use crate::world::host::Endpoint;
use crate::world::shell::{
    Dialog, Gate, Halt, Marks, Nowhere, Script, bare, compose, compose_tagged, password_refused, sweeping,
};
use crate::world::transport::{Command, Exit, Fault, Sink, SinkClosed, Stream};

/// How long a command that was told to end may take for it before its channel is closed.
const GRACE: Duration = Duration::from_secs(12);
/// How long a command that was asked for may take to say that it runs, before it is given up as one that cannot be ended.
const BEGINNING: Duration = Duration::from_secs(6);
/// The longest piece of standard input sent at once, and the most of it that waits in this process for the socket.
const PIECE: usize = 16 * 1024;

/// Writes down what the server is asked to run, and returns what to listen for.
pub(crate) fn prepare(
    connection: &Connection,
    endpoint: &Endpoint,
    command: &Command,
    request: &Request,
) -> Result<Marks, Fault> {
    let script = if endpoint.posix {
        compose_for(connection, command)
    } else {
        bare(command).ok_or_else(|| Fault::Protocol {
            reason: format!(
                "`{}` has no POSIX shell, so environment, directory, sudo and detaching cannot work",
                endpoint.name
            ),
        })?
    };
    let quirks = connection.quirks;
    if script.text.len() > quirks.longest_command {
        return Err(Fault::Protocol {
            reason: format!(
                "{} takes no command of {} bytes, {} at most; `ssh_script` sends a longer one by standard input",
                quirks.name,
                script.text.len(),
                quirks.longest_command
            ),
        });
    }
    request.write(script.text);
    Ok(script.marks)
}

/// A channel to run a command on, and what the server is asked there.
pub(crate) struct Prepared {
    /// Whose channel it is.
    pub(crate) connection: Arc<Connection>,
    /// The channel.
    pub(crate) lease: Lease,
    /// What to ask, which may be on its way already.
    pub(crate) request: Request,
    /// What to listen for.
    pub(crate) marks: Marks,
}

/// Runs `command` on a leased channel and returns how it ended, or why nobody knows.
///
/// With `questions` its standard input is what comes from there, until their sender is dropped. Dropping the future
/// leaves the command to itself; `cancel` is the way to end it.
pub(crate) async fn run<S: Sink>(
    prepared: Prepared,
    endpoint: &Endpoint,
    command: &Command,
    questions: Option<UnboundedReceiver<Vec<u8>>>,
    sink: &mut S,
    cancel: &CancellationToken,
) -> Result<Exit, Fault> {
    let Prepared { connection, lease, request, marks } = prepared;
    let _running = connection.run();
    let call = Call { connection: &connection, endpoint, command };
    let result = call.run(lease.channel, (request, marks), questions, sink, cancel).await;
    drop(lease.permit);
    result
}

fn compose_for(connection: &Connection, command: &Command) -> Script {
    if connection.quirks.shares_group { compose_tagged(command) } else { compose(command) }
}

struct Call<'a> {
    connection: &'a Arc<Connection>,
    endpoint: &'a Endpoint,
    command: &'a Command,
}

/// What has been heard from the server so far.
struct Hearing {
    dialog: Dialog,
    code: Option<i32>,
    signal: Option<String>,
    has_begun: bool,
}

impl Call<'_> {
    async fn run<S: Sink>(
        &self,
        channel: Channel<Msg>,
        (request, marks): (Request, Marks),
        questions: Option<UnboundedReceiver<Vec<u8>>>,
        sink: &mut S,
        cancel: &CancellationToken,
    ) -> Result<Exit, Fault> {
        let started = Instant::now();
        let (mut read, write) = channel.split();
        let (dialog, gate) = Dialog::new(marks);
        let mut hearing = Hearing { dialog, code: None, signal: None, has_begun: false };
        // Nobody waits for what a clerk says between questions.
        let may_pause = questions.is_none();
        let feeding = self.feed(&write, &request, gate, questions);
        tokio::pin!(feeding);
        let mut is_feeding = true;
        let limit = self.command.timeout;
        let expiry = tokio::time::sleep_until(started + limit.unwrap_or(Duration::from_secs(86400 * 365)));
        tokio::pin!(expiry);

        let mut pauses = crate::world::transport::pauses();

        let halt = loop {
            tokio::select! {
                message = read.wait() => {
                    let Some(message) = message else { break Halt::Ended };
                    if matches!(message, ChannelMsg::Success) {
                        self.connection.traffic().settle();
                    }
                    if let Err(halt) = hearing.hear(message, sink).await {
                        break halt;
                    }
                }
                () = &mut feeding, if is_feeding => is_feeding = false,
                _ = pauses.tick(), if may_pause => {
                    if sink.pause().await.is_err() {
                        break Halt::Unrecorded;
                    }
                }
                () = cancel.cancelled() => {
                    if request.is_sent() {
                        Box::pin(self.stop(&mut read, &write, &mut hearing, sink)).await;
                    } else {
                        let _ = write.close().await;
                    }
                    return Err(Fault::Cancelled);
                }
                () = &mut expiry, if limit.is_some() => {
                    Box::pin(self.stop(&mut read, &write, &mut hearing, sink)).await;
                    return Err(Fault::TimedOut { seconds: limit.unwrap_or_default().as_secs() });
                }
            }
        };
        match halt {
            Halt::Ended => {}
            Halt::Unrecorded => {
                Box::pin(self.stop(&mut read, &write, &mut hearing, &mut Nowhere)).await;
                return Err(Fault::Unrecorded);
            }
            Halt::ExecRefused => {
                let _ = write.close().await;
                return Err(Fault::Protocol { reason: "the server refuses to run commands".to_owned() });
            }
            Halt::PasswordRefused => {
                // Nothing has been started; sudo ends at the end of its input.
                let _ = write.eof().await;
                let _ = write.close().await;
                return Err(password_refused(self.command.sudo.as_ref()));
            }
        }
        hearing.dialog.finish(sink).await?;
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match (hearing.code, hearing.signal) {
            (None, None) if self.connection.is_closed() => Err(self.connection.lost()),
            (None, None) => {
                Err(Fault::Lost { reason: "the channel was closed without an exit status".to_owned() })
            }
            (code, signal) => Ok(Exit { code, signal, ms }),
        }
    }

    /// Asks for the command and sends its standard input; errors show up as the channel's end.
    async fn feed(
        &self,
        write: &ChannelWriteHalf<Msg>,
        request: &Request,
        mut gate: watch::Receiver<Gate>,
        questions: Option<UnboundedReceiver<Vec<u8>>>,
    ) {
        if let Some(text) = request.take()
            && write.exec(true, text).await.is_err()
        {
            return;
        }
        self.connection.open_ahead().await;
        if let Some(password) = self.command.sudo.as_ref().and_then(|sudo| sudo.password.as_ref()) {
            let Ok(opened) = gate.wait_for(|gate| *gate != Gate::Shut).await.map(|gate| *gate) else {
                return;
            };
            if opened == Gate::Password {
                let mut line = zeroize::Zeroizing::new(password.as_bytes().to_vec());
                line.push(b'\n');
                if write.data(line.as_slice()).await.is_err() {
                    return;
                }
                if gate.wait_for(|gate| *gate == Gate::Open).await.is_err() {
                    return;
                }
            }
        }
        if let Some(mut questions) = questions {
            while let Some(question) = questions.recv().await {
                if write.data_bytes(question).await.is_err() {
                    return;
                }
            }
        }
        let traffic = self.connection.traffic();
        let mut due = traffic.sent();
        for piece in self.command.stdin.chunks(PIECE) {
            // russh takes all that the server's window allows, some MiB, and holds it until the socket takes it.
            traffic.reached(due).await;
            due += piece.len() as u64;
            if write.data_bytes(piece.to_vec()).await.is_err() {
                return;
            }
        }
        let _ = write.eof().await;
    }

    /// Ends what the command started, while what it still says is taken in.
    async fn stop<S: Sink>(
        &self,
        read: &mut ChannelReadHalf,
        write: &ChannelWriteHalf<Msg>,
        hearing: &mut Hearing,
        sink: &mut S,
    ) {
        let until = Instant::now() + GRACE;
        // It may run before we hear so, and what is not known cannot be ended.
        let begun = async {
            while hearing.dialog.awaits_shell()
                && let Some(message) = read.wait().await
                && hearing.hear(message, sink).await.is_ok()
            {}
        };
        let _ = timeout(BEGINNING, begun).await;
        let has_ended = hearing.code.is_some() || hearing.signal.is_some();
        let tag = hearing.dialog.tag().map(str::to_owned);
        let ending = self.end(write, hearing.dialog.shell, has_ended, tag.as_deref());
        tokio::pin!(ending);
        let mut is_ending = true;
        let listen = async {
            let mut is_open = true;
            while is_open || is_ending {
                tokio::select! {
                    message = read.wait(), if is_open => match message {
                        Some(message) => match hearing.hear(message, sink).await {
                            Ok(()) | Err(Halt::PasswordRefused | Halt::Unrecorded) => {}
                            Err(Halt::Ended | Halt::ExecRefused) => is_open = false,
                        },
                        None => is_open = false,
                    },
                    () = &mut ending, if is_ending => is_ending = false,
                }
            }
        };
        if timeout_at(until, listen).await.is_err() {
            self.warn(hearing.dialog.shell);
        }
        let _ = write.close().await;
    }

    async fn end(
        &self,
        write: &ChannelWriteHalf<Msg>,
        shell: Option<u32>,
        has_ended: bool,
        tag: Option<&str>,
    ) {
        let Some(shell) = shell else {
            // No shell of ours: the server is asked, and most network gear does not even know the request.
            let _ = write.signal(Sig::TERM).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            let _ = write.signal(Sig::KILL).await;
            return;
        };
        let sweeping = sweeping(shell, has_ended, tag, self.command.sudo.as_ref());
        let is_ended = match self.connection.open_for_end().await {
            Ok((channel, _turn)) => self.sweep(self.connection, channel, &sweeping).await,
            Err(_) if self.connection.is_closed() => return,
            // The server allows no further session, and keeps ours until its process is gone.
            Err(_) => match self.connection.again(self.endpoint).await {
                Ok(other) => {
                    let is_ended = match other.open_for_end().await {
                        Ok((channel, _turn)) => self.sweep(&other, channel, &sweeping).await,
                        Err(_) => false,
                    };
                    other.close().await;
                    is_ended
                }
                Err(_) => false,
            },
        };
        if !is_ended {
            self.warn(Some(shell));
        }
    }

    fn warn(&self, shell: Option<u32>) {
        tracing::warn!(host = self.endpoint.name, shell, "what a stopped command started may still run");
    }

    async fn sweep(&self, connection: &Arc<Connection>, channel: Channel<Msg>, sweeping: &Command) -> bool {
        let call = Call { connection, endpoint: self.endpoint, command: sweeping };
        let Script { text, marks } = compose_for(connection, sweeping);
        let request = Request::default();
        request.write(text);
        let exit =
            Box::pin(call.run(channel, (request, marks), None, &mut Nowhere, &CancellationToken::new()))
                .await;
        matches!(exit, Ok(Exit { code: Some(0), .. }))
    }
}

impl Hearing {
    async fn hear<S: Sink>(&mut self, message: ChannelMsg, sink: &mut S) -> Result<(), Halt> {
        match message {
            ChannelMsg::Data { data } => {
                self.has_begun = true;
                sink.take(Stream::Out, &data).await.map_err(|SinkClosed| Halt::Unrecorded)?;
            }
            ChannelMsg::ExtendedData { data, ext: 1 } => self.dialog.hear(&data, sink).await?,
            ChannelMsg::ExitStatus { exit_status } => self.code = i32::try_from(exit_status).ok(),
            ChannelMsg::ExitSignal { signal_name, .. } => self.signal = Some(name(&signal_name)),
            ChannelMsg::Failure if !self.has_begun => return Err(Halt::ExecRefused),
            ChannelMsg::Success => self.has_begun = true,
            ChannelMsg::Close => return Err(Halt::Ended),
            _ => {}
        }
        Ok(())
    }
}

fn name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}
