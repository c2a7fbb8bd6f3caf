//! The proof that the gate let an effect through, and the only way to the world.

mod api;
pub mod cisco;
mod gitlab;
mod k8s;
mod probes;
mod secrets;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::gate::Gate;
use crate::gate::Stop;
use crate::gate::output::Capture;
use crate::model::address::Address;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::inventory::{Host, Inventory};
use crate::model::run::Mode;
use crate::model::secret::{Secret, SecretName};
use crate::model::url;
use crate::world::clerk::Question;
use crate::world::clock;
use crate::world::http;
use crate::world::shell::Reply;
use crate::world::transport::{Command, Exit, Fault, Sudo};

pub use crate::gate::output::Captured;

/// A command that ran to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// Standard output.
    pub out: Captured,
    /// Standard error.
    pub err: Captured,
}

/// Handed to one effect for the time of one call; reaches only that effect's target.
pub struct Permit<'a> {
    gate: &'a Arc<Gate>,
    address: &'a Address,
    target: &'a Target,
    redacted: AtomicBool,
}

impl<'a> Permit<'a> {
    pub(super) fn new(gate: &'a Arc<Gate>, address: &'a Address, target: &'a Target) -> Self {
        Self { gate, address, target, redacted: AtomicBool::new(false) }
    }

    /// Whether a secret was replaced in recorded output.
    pub(super) fn is_redacted(&self) -> bool {
        self.redacted.load(Ordering::Relaxed)
    }

    fn note_redacted(&self) {
        self.redacted.store(true, Ordering::Relaxed);
    }

    /// Returns the run's mode.
    pub fn mode(&self) -> Mode {
        self.gate.mode
    }

    /// Returns the effect's host.
    pub fn host(&self) -> Result<&Arc<Host>, Failure> {
        let name = self.target.host().ok_or_else(|| invalid("the effect has no host".to_owned()))?;
        self.gate.inventory.host(name).ok_or_else(|| invalid(format!("there is no host `{name}`")))
    }

    /// Returns the inventory.
    pub fn inventory(&self) -> &Inventory {
        &self.gate.inventory
    }

    /// Runs a command on the effect's host; its output goes into the log as it comes, and up to `limit` bytes of each
    /// stream are returned.
    pub async fn run(&self, command: Command, limit: usize) -> Result<Finished, Failure> {
        self.transport(command, limit, true).await
    }

    /// Runs a command of nlrun's own on the effect's host; its output is not part of the log.
    pub async fn ask(&self, command: Command, limit: usize) -> Result<Finished, Failure> {
        self.transport(command, limit, false).await
    }

    /// Asks the effect's host something that changes nothing; it is not part of the log, and may be asked twice.
    pub async fn question(&self, mut question: Question<'_>) -> Result<Reply, Failure> {
        let host = self.host()?.clone();
        let endpoint = self.gate.endpoint(&host).await?;
        self.give_password(&host, question.sudo.as_mut()).await?;
        let hosts = self.gate.world.hosts();
        let reply = hosts.ask(&endpoint, &question, self.gate.cancellation.token()).await;
        reply.map_err(|fault| failure(fault, &host.name))
    }

    /// Opens the connection to the effect's host.
    pub async fn connect(&self) -> Result<(), Failure> {
        let host = self.host()?.clone();
        // A device has a terminal on a connection of its own, and few of them.
        if host.connection.os.is_some() {
            return Ok(());
        }
        let endpoint = self.gate.endpoint(&host).await?;
        if self.gate.world.hosts().is_connected(&endpoint) {
            return Ok(());
        }
        let (hosts, wanted) = (self.gate.world.hosts().clone(), endpoint.clone());
        let connecting = AbortOnDropHandle::new(tokio::spawn(async move { hosts.connect(&wanted).await }));
        tokio::select! {
            result = connecting => result.map_err(|error| broke(&error))?.map_err(|fault| failure(fault, &host.name)),
            () = self.gate.cancellation.token().cancelled() => Err(failure(Fault::Cancelled, &host.name)),
        }
    }

    /// Drops the connection to the effect's host, for one that restarts.
    pub async fn forget_connection(&self) -> Result<(), Failure> {
        let host = self.host()?;
        self.gate.world.hosts().forget(&host.name).await;
        Ok(())
    }

    /// Whether a TCP port of the effect's host accepts connections.
    pub async fn port_open(&self, port: u16, timeout: Duration) -> Result<bool, Failure> {
        let host = self.host()?.clone();
        let endpoint = self.gate.endpoint(&host).await?;
        Ok(self.gate.world.port_open(&endpoint, port, timeout).await)
    }

    /// Reads a secret; from here on its value is replaced in everything that is recorded.
    pub async fn secret(&self, name: &SecretName) -> Result<Secret, Failure> {
        self.gate.secret(name).await
    }

    /// Keeps a file of the run.
    pub async fn artifact(&self, name: &str, media: &str, bytes: &[u8]) -> Result<(), Failure> {
        let bytes = self.gate.redactor.bytes(bytes);
        let name = &self.gate.redactor.text(name);
        self.gate.recorder.artifact(name, media, &bytes).await.map_err(|stop| unrecorded(&stop))
    }

    /// Records text as if it were the effect's standard output: for answers that are too long for an event.
    pub async fn keep(&self, stream: &str, bytes: &[u8]) -> Result<(), Failure> {
        // One stream for all parts: a secret may stand across their edge.
        let mut streaming = self.gate.redactor.stream();
        let mut clean = Vec::with_capacity(bytes.len());
        let mut replaced = streaming.push(bytes, &mut clean);
        replaced |= streaming.finish(&mut clean);
        if replaced {
            self.note_redacted();
        }
        for part in clean.chunks(64 * 1024) {
            let recorded = self.gate.recorder.output(self.address, stream, part).await;
            recorded.map_err(|stop| unrecorded(&stop))?;
        }
        Ok(())
    }

    /// Asks the person at the terminal; `None` when nobody is there.
    pub fn confirm(&self, question: &str) -> Result<Option<bool>, Failure> {
        let answer = self.gate.confirm(question);
        if answer.is_none() && self.gate.cancellation.reason().is_some() {
            return Err(cancelled());
        }
        Ok(answer)
    }

    /// Returns the current instant.
    pub fn now(&self) -> Timestamp {
        clock::now()
    }

    /// Whether the run may do this to another path of the effect's host: where a link leads, for instance.
    pub fn may(&self, effect: &str, path: &str) -> bool {
        let Target::Host { host, groups, .. } = self.target else { return false };
        let target = Target::Host { host: host.clone(), groups: groups.clone(), path: Some(path.to_owned()) };
        self.authorise(effect, &target).is_ok()
    }

    fn authorise(&self, effect: &str, target: &Target) -> Result<(), Stop> {
        self.gate.authority.check(effect, target, &|question| self.gate.confirm(question))
    }

    /// Makes one HTTP exchange with the effect's URL, or with another one that the run may ask in the same way.
    ///
    /// A URL that it may not ask is a failure `denied`: where a server leads is the server's state.
    pub async fn exchange(&self, effect: &str, request: &http::Request) -> Result<http::Reply, Failure> {
        let name = url::name_of(&request.url);
        let is_own = matches!(self.target, Target::Named { name: own } if *own == name);
        if !is_own && let Err(stop) = self.authorise(effect, &Target::Named { name: name.clone() }) {
            let hint = stop.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            let message = format!("redirected to `{name}`, which the run may not ask{hint}");
            return Err(Failure { kind: "denied".to_owned(), ..invalid(message) });
        }
        self.asked(request).await
    }

    /// Makes an exchange that was let through.
    async fn asked(&self, request: &http::Request) -> Result<http::Reply, Failure> {
        // On the world's own thread: the script is woken once an exchange, not once a packet.
        let (gate, asked) = (self.gate.clone(), request.clone());
        // Taken here: only this thread knows whether it cleans up.
        let cancel = self.gate.cancellation.token().clone();
        let exchange =
            AbortOnDropHandle::new(tokio::spawn(
                async move { gate.world.http().exchange(&asked, &cancel).await },
            ));
        let reply = exchange.await.map_err(|error| broke(&error))?;
        reply.map_err(|fault| match fault {
            http::Fault::Cancelled => told(&fault),
            _ => {
                let name = url::name_of(&request.url);
                Failure { message: format!("{} {name}: {fault}", request.method), ..told(&fault) }
            }
        })
    }

    /// Learns a secret that came in an answer; from here on its value is replaced in everything that is recorded.
    pub fn learn(&self, secret: &Secret) -> Result<(), Failure> {
        // What is too short to be known is a secret all the same.
        self.note_redacted();
        self.gate
            .redactor
            .add(secret)
            .map_err(|error| Failure { kind: "secret".to_owned(), ..invalid(error.to_string()) })
    }

    /// Returns text with every secret replaced that is known so far.
    pub fn redact(&self, text: &str) -> String {
        self.gate.redactor.text(text).into_owned()
    }

    /// Returns what an earlier effect of this plan promised for a path of the effect's host.
    pub fn promised<T: Send + Sync + 'static>(&self, path: &str) -> Option<Arc<T>> {
        let promise = self.gate.promises.lock().get(&self.key(path)).cloned()?;
        promise.downcast().ok()
    }

    /// Returns what this plan promised for paths below a path, as long as `is_wanted` says so, by path.
    pub fn promised_below<T: Send + Sync + 'static>(&self, path: &str, most: usize) -> Vec<(String, Arc<T>)> {
        let folder = self.key(&format!("{}/", path.trim_end_matches('/')));
        let promises = self.gate.promises.lock();
        let below = promises.range(folder.clone()..).take_while(|(key, _)| key.starts_with(&folder));
        let host = self.key("").len();
        let promised = below
            .filter_map(|(key, promise)| Some((key[host..].to_owned(), promise.clone().downcast().ok()?)));
        promised.take(most).collect()
    }

    /// Notes the state that a path of the effect's host would have from here on; plan mode only.
    pub fn promise<T: Send + Sync + 'static>(&self, path: &str, state: T) {
        if self.gate.mode == Mode::Plan {
            self.gate.promises.lock().insert(self.key(path), Arc::new(state));
        }
    }

    fn key(&self, path: &str) -> String {
        format!("{}:{path}", self.target.host().unwrap_or_default())
    }

    /// Waits; a cancelled run does not wait on.
    pub async fn sleep(&self, duration: Duration) -> Result<(), Failure> {
        tokio::select! {
            () = tokio::time::sleep(duration) => Ok(()),
            () = self.gate.cancellation.token().cancelled() => Err(cancelled()),
        }
    }

    /// Returns the world's files: the project on this machine.
    pub fn project(&self) -> &crate::world::project::Project {
        self.gate.world.project()
    }

    /// Does something with this machine's disk or programs that may take a while, on a thread of its own.
    pub async fn on_disk<T: Send + 'static>(
        &self,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let work = tokio::task::spawn_blocking(what);
        tokio::select! {
            done = work => done.map_err(|error| broke(&error)),
            () = self.gate.cancellation.token().cancelled() => Err(cancelled()),
        }
    }

    /// Completes `sudo` with the host's password, where it has one.
    async fn give_password(&self, host: &Host, sudo: Option<&mut Sudo>) -> Result<(), Failure> {
        let (Some(sudo), Some(name)) = (sudo, &host.connection.sudo_password) else { return Ok(()) };
        if sudo.password.is_none() {
            let name = SecretName::try_from(name.clone()).map_err(|error| invalid(error.to_string()))?;
            let secret = self.gate.secret(&name).await?;
            let text = secret.expose_str().map_err(|error| invalid(error.to_string()))?;
            sudo.password = Some(zeroize::Zeroizing::new(text.to_owned()));
        }
        Ok(())
    }

    async fn transport(&self, mut command: Command, limit: usize, logged: bool) -> Result<Finished, Failure> {
        let host = self.host()?.clone();
        let endpoint = self.gate.endpoint(&host).await?;
        self.give_password(&host, command.sudo.as_mut()).await?;
        let mut capture = Capture::new(self.gate, self.address, limit, logged);
        let cancel = self.gate.cancellation.token().clone();
        let hosts = self.gate.world.hosts().clone();
        // On the world's own thread: the script is woken once a command, not once a packet.
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let result = hosts.run(&endpoint, &command, &mut capture, &cancel).await;
            (result, capture.finish().await)
        }));
        let (result, ended) = task.await.map_err(|error| broke(&error))?;
        if ended.redacted {
            self.note_redacted();
        }
        match result {
            Ok(exit) => {
                if let Some(stop) = ended.stop {
                    return Err(unrecorded(&stop));
                }
                Ok(Finished { exit, out: ended.out, err: ended.err })
            }
            Err(fault) => {
                let mut failure = failure(fault, &host.name);
                // What had arrived before the fault helps to understand it.
                let tail = ended.err.tail(400);
                if !tail.is_empty() {
                    failure.details["err"] = Value::String(tail);
                }
                Err(failure)
            }
        }
    }
}

/// Makes a failure of the script's own doing: a wrong argument, an impossible request.
pub fn invalid(message: String) -> Failure {
    Failure { kind: "invalid".to_owned(), message, host: None, site: None, details: Value::Null }
}

/// Turns a transport's fault into a failure that scripts can branch on.
pub fn failure(fault: Fault, host: &str) -> Failure {
    Failure { host: Some(host.to_owned()), ..told(&fault) }
}

/// Makes a failure of any client's fault; its kind is the fault's tag.
fn told(fault: &(impl Serialize + Display)) -> Failure {
    let details = serde_json::to_value(fault).unwrap_or_default();
    let kind = details.get("fault").and_then(Value::as_str).unwrap_or("failed").to_owned();
    Failure { kind, message: fault.to_string(), host: None, site: None, details }
}

fn broke(error: &tokio::task::JoinError) -> Failure {
    invalid(format!("nlrun broke while it talked to the host, which is a bug: {error}"))
}

pub(super) fn cancelled() -> Failure {
    Failure {
        kind: "cancelled".to_owned(),
        message: "cancelled".to_owned(),
        host: None,
        site: None,
        details: json!({ "fault": "cancelled" }),
    }
}

pub(super) fn unrecorded(stop: &Stop) -> Failure {
    Failure {
        kind: "unrecorded".to_owned(),
        message: stop.to_string(),
        host: None,
        site: None,
        details: Value::Null,
    }
}
