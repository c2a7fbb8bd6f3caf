//! What the sessions of one run share: the log, the world, the journal, the plan, permissions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use crate::gate::authority::{Ask, Authority};
use crate::gate::cancellation::{Cancellation, Cleaning};
use crate::gate::doubts::Doubts;
use crate::gate::journal::Journal;
use crate::gate::permit::{cancelled, invalid, unrecorded};
use crate::gate::recorder::Recorder;
use crate::gate::redactor::Redactor;
use crate::gate::{Halt, Stop};
use crate::model::address::{Address, Branch};
use crate::model::event::{Event, Failure, Level};
use crate::model::inventory::{Host, Inventory};
use crate::model::plan::Expected;
use crate::model::run::Mode;
use crate::model::secret::{Secret, SecretName};
use crate::store::{NamedLock, Store};
use crate::world::World;
use crate::world::host::Endpoint;

/// Everything that the sessions of one run share.
pub struct Gate {
    /// Plan or apply.
    pub mode: Mode,
    /// The runbook, for sentences.
    pub runbook: String,
    /// Whether recorded effects are all there is: no network.
    pub replay: bool,
    /// Where events go.
    pub recorder: Recorder,
    /// The clients behind the gate.
    pub world: World,
    /// What the run has recorded before.
    pub journal: Journal,
    /// The store, for locks between runs.
    pub store: Store,
    /// Where kept output of the run is read back.
    pub kept: Mutex<Option<crate::store::Reader>>,
    /// The plan that is applied.
    pub expected: Option<Expected>,
    /// What the run may do.
    pub authority: Authority,
    /// Who is asked.
    pub ask: Box<dyn Ask>,
    /// What people decided about acts in doubt: `done` or `again`.
    pub decisions: BTreeMap<Address, String>,
    /// Acts in doubt about which nobody has decided.
    pub doubts: Doubts,
    /// Replaces secrets in what is recorded.
    pub redactor: Redactor,
    /// How the run is ended from outside.
    pub cancellation: Cancellation,
    /// The hosts.
    pub inventory: Arc<Inventory>,
    /// The bound parameters.
    pub params: serde_json::Map<String, Value>,
    /// Bridges from threads of script to the asynchronous world.
    pub runtime: tokio::runtime::Handle,
    /// What plan mode promised, by host and path, so that effects that touch build on each other.
    pub promises: Mutex<BTreeMap<String, Arc<dyn std::any::Any + Send + Sync>>>,
    /// Connections resolved so far.
    pub endpoints: tokio::sync::Mutex<HashMap<String, Arc<Endpoint>>>,
    /// Failed checks of the run.
    pub checks: Mutex<Vec<String>>,
    /// Whether a host of a fan-out failed or was unreachable.
    pub partial: AtomicBool,
    /// Clean-ups that failed or could not run.
    pub left_behind: Mutex<Vec<String>>,
}

impl Gate {
    /// Returns how to reach a host; resolved once a run.
    pub(super) async fn endpoint(&self, host: &Arc<Host>) -> Result<Arc<Endpoint>, Failure> {
        if let Some(endpoint) = self.endpoints.lock().await.get(&host.name) {
            return Ok(endpoint.clone());
        }
        let mut logins = crate::world::endpoint::Logins::default();
        for (name, slot) in [
            (&host.connection.password, &mut logins.password),
            (&host.connection.passphrase, &mut logins.passphrase),
        ] {
            if let Some(name) = name {
                let name = SecretName::try_from(name.clone()).map_err(|error| invalid(error.to_string()))?;
                let secret = self.secret(&name).await?;
                let text = secret.expose_str().map_err(|error| invalid(error.to_string()))?;
                *slot = Some(zeroize::Zeroizing::new(text.to_owned()));
            }
        }
        let endpoint = self.world.endpoint(host, &self.inventory, logins).map_err(|error| {
            let mut failure = invalid(error.to_string());
            failure.host = Some(host.name.clone());
            failure
        })?;
        let endpoint = Arc::new(endpoint);
        self.endpoints.lock().await.insert(host.name.clone(), endpoint.clone());
        Ok(endpoint)
    }

    /// Ends a resumed run where its record does when somebody had asked it to end; clean-ups go on.
    pub(super) fn cancelled_before(&self) -> Option<Stop> {
        let by = self.journal.cancelled().filter(|_| !Cleaning::is_on())?;
        let stop = Stop::Cancelled { by: by.to_owned() };
        self.cancellation.cancel(stop.clone());
        Some(stop)
    }

    /// Asks the person at the terminal; nobody answers for a run that has to end.
    pub(super) fn confirm(&self, question: &str) -> Option<bool> {
        // A target can come from a command's output, and a terminal is recorded by more than nlrun.
        self.ask.confirm(&self.redactor.text(question), &|| self.cancellation.reason().is_some())
    }

    /// Gives a secret that the run has read before, from its source.
    pub async fn secret_again(&self, name: &SecretName) -> Result<Secret, Failure> {
        self.secret(name).await
    }

    /// Takes a lock that runs on this machine share; waits for it up to a limit.
    pub async fn take_lock(&self, name: &str, limit: Duration) -> Result<NamedLock, Halt> {
        let begun = Instant::now();
        let holder = format!("run {} (process {})", self.recorder.run(), std::process::id());
        loop {
            if let Some(stop) = self.cancellation.reason() {
                return Err(stop.into());
            }
            let taken =
                self.store.try_named_lock(name, &holder).map_err(|error| invalid(sentence(&error)))?;
            let other = match taken {
                Ok(lock) => return Ok(lock),
                Err(other) => other,
            };
            if begun.elapsed() >= limit {
                let message = format!("lock `{name}` is held by {other}");
                return Err(Failure { kind: "locked".to_owned(), ..invalid(message) }.into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Reads a secret and makes sure that it is replaced from here on.
    pub(super) async fn secret(&self, name: &SecretName) -> Result<Secret, Failure> {
        if self.replay {
            return Ok(Secret::placeholder(name.clone()));
        }
        let failed = |message: String| Failure { kind: "secret".to_owned(), ..invalid(message) };
        // Taken here: only this thread knows whether it cleans up.
        let cancel = self.cancellation.token().clone();
        let found = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(cancelled()),
            found = self.world.secrets().get(name) => found,
        };
        let added = found.as_ref().map_or(Ok(()), |secret| self.redactor.add(secret));
        self.tell(self.world.secrets().warnings()).await?;
        added.map_err(|error| failed(error.to_string()))?;
        found.map_err(|error| {
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            failed(format!("{}{hint}", sentence(&error)))
        })
    }

    /// Writes into the log what an operator should know of the world.
    pub async fn tell(&self, warnings: Vec<String>) -> Result<(), Failure> {
        for text in warnings {
            let text = self.redactor.text(&text).into_owned();
            let event = Event::Message { level: Level::Warn, text, site: None, branch: Branch::root() };
            self.recorder.append(event).await.map_err(|stop| unrecorded(&stop))?;
        }
        Ok(())
    }
}

/// Joins an error and its causes into one sentence.
pub fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
