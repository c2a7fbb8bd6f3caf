//! Clerks: shells that are kept on hosts for questions of nlrun's own.
//!
//! A command costs a host a login shell and a process of sshd; a question to a shell that is there already costs a fork. A
//! clerk answers one question at a time, so that one that hangs holds up nobody else's.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::host::{Endpoint, Hosts, Transport};
use super::shell::{self, Hearsay, Reply};
use super::transport::{Command, Exit, Fault, Line, Sink, SinkClosed, Stream, Sudo};

/// A question that changes nothing on the host, for it may be asked twice.
pub struct Question<'a> {
    /// Functions of a POSIX shell.
    pub functions: &'static str,
    /// The one that is called.
    pub function: &'static str,
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// Who asks, when not the user who logged in.
    pub sudo: Option<Sudo>,
}

impl Question<'_> {
    fn kind(&self) -> Kind {
        Kind { functions: self.functions, sudo: self.sudo.clone() }
    }

    fn command(&self, stdin: &[u8]) -> Command {
        let words = ["sh", "-c", &shell::clerk(self.functions), "nlrun"].map(str::to_owned);
        Command {
            line: Line::Words(words.to_vec()),
            stdin: stdin.into(),
            env: Vec::new(),
            cwd: None,
            sudo: self.sudo.clone(),
            timeout: None,
            detach: false,
        }
    }
}

/// What a clerk knows, and as whom it runs; whoever has another password has to prove it.
#[derive(Clone, PartialEq, Eq)]
struct Kind {
    functions: &'static str,
    sudo: Option<Sudo>,
}

/// What is being asked just now.
type Asked = Arc<Mutex<Option<(Hearsay, oneshot::Sender<Reply>)>>>;

/// A shell on a host. Dropping it ends it after the question that it works on.
struct Clerk {
    kind: Kind,
    questions: UnboundedSender<Vec<u8>>,
    asked: Asked,
    cancel: CancellationToken,
    serving: JoinHandle<Result<Exit, Fault>>,
}

/// Those of one connection that have nothing to do.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<Clerk>>);

impl Idle {
    fn take(&self, kind: &Kind) -> Option<Clerk> {
        let mut idle = self.0.lock();
        let at = idle.iter().position(|clerk| clerk.kind == *kind)?;
        Some(idle.swap_remove(at)).filter(|clerk| !clerk.serving.is_finished())
    }

    fn put(&self, clerk: Clerk) {
        let mut idle = self.0.lock();
        if idle.iter().all(|other| other.kind != clerk.kind) {
            idle.push(clerk);
        }
    }

    /// Sends all of them home, so that their channels become free.
    pub(super) fn dismiss(&self) {
        self.0.lock().clear();
    }
}

/// Why there is no reply.
enum Silence {
    /// What the clerk said before it ended by itself.
    Ended(Reply),
    Fault(Fault),
}

impl Hosts {
    /// Asks a host, by a clerk where one can be kept there.
    pub async fn ask(
        &self,
        endpoint: &Arc<Endpoint>,
        question: &Question<'_>,
        cancel: &CancellationToken,
    ) -> Result<Reply, Fault> {
        let call = shell::call(question.function, question.arguments);
        if endpoint.transport == Transport::Local {
            let mut hearsay = Hearsay::new();
            let command = question.command(&hearsay.line(&call));
            let exit = self.run(endpoint, &command, &mut hearsay, cancel).await?;
            return Ok(hearsay.reply().unwrap_or_else(|| hearsay.rest(exit.code)));
        }
        let kind = question.kind();
        let idle = self.live(endpoint).and_then(|connection| connection.clerks().take(&kind));
        if let Some(clerk) = idle {
            match self.ask_by(clerk, endpoint, &call, cancel).await {
                Ok(reply) => return Ok(reply),
                Err(Silence::Fault(Fault::Cancelled)) => return Err(Fault::Cancelled),
                // What has ended while nobody looked says nothing about the question.
                Err(Silence::Ended(_) | Silence::Fault(_)) => {}
            }
        }
        let clerk = self.start(endpoint.clone(), question, kind);
        match self.ask_by(clerk, endpoint, &call, cancel).await {
            Ok(reply) | Err(Silence::Ended(reply)) => Ok(reply),
            Err(Silence::Fault(fault)) => Err(fault),
        }
    }

    fn start(&self, endpoint: Arc<Endpoint>, question: &Question<'_>, kind: Kind) -> Clerk {
        let (questions, receiver) = mpsc::unbounded_channel();
        let (asked, cancel) = (Asked::default(), CancellationToken::new());
        let mut ears = Ears(asked.clone());
        let (hosts, command, cancelled) = (self.clone(), question.command(&[]), cancel.clone());
        let serving = tokio::spawn(async move {
            hosts.run_remote(&endpoint, &command, Some(receiver), &mut ears, &cancelled).await
        });
        Clerk { kind, questions, asked, cancel, serving }
    }

    async fn ask_by(
        &self,
        mut clerk: Clerk,
        endpoint: &Endpoint,
        call: &str,
        cancel: &CancellationToken,
    ) -> Result<Reply, Silence> {
        let hearsay = Hearsay::new();
        let line = hearsay.line(call);
        let (sender, reply) = oneshot::channel();
        *clerk.asked.lock() = Some((hearsay, sender));
        // Where it has ended, that is told below.
        let _ = clerk.questions.send(line);
        tokio::select! {
            biased;
            Ok(reply) = reply => {
                if let Some(connection) = self.live(endpoint)
                    && connection.keeps_clerks()
                {
                    connection.clerks().put(clerk);
                }
                Ok(reply)
            }
            ended = &mut clerk.serving => Err(match (ended, clerk.asked.lock().take()) {
                (Ok(Ok(exit)), Some((mut hearsay, _))) => Silence::Ended(hearsay.rest(exit.code)),
                (Ok(Err(fault)), _) => Silence::Fault(fault),
                (Ok(Ok(_)), None) | (Err(_), _) => Silence::Fault(Fault::Lost {
                    reason: "the shell for nlrun's own questions broke".to_owned(),
                }),
            }),
            () = cancel.cancelled() => {
                clerk.cancel.cancel();
                let _ = (&mut clerk.serving).await;
                Err(Silence::Fault(Fault::Cancelled))
            }
        }
    }
}

/// Listens to a clerk.
struct Ears(Asked);

impl Sink for Ears {
    async fn take(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SinkClosed> {
        let mut asked = self.0.lock();
        if let Some((hearsay, _)) = asked.as_mut() {
            hearsay.hear(stream, bytes);
            if let Some(reply) = hearsay.reply()
                && let Some((_, sender)) = asked.take()
            {
                let _ = sender.send(reply);
            }
        }
        Ok(())
    }
}

/// Listens to a shell that is asked one thing.
impl Sink for Hearsay {
    async fn take(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SinkClosed> {
        self.hear(stream, bytes);
        Ok(())
    }
}
