//! A live run: from its row in the log to its last event.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

use crate::gate::authority::{Ask, Authority};
use crate::gate::cancellation::Cancellation;
use crate::gate::journal::Journal;
use crate::gate::recorder::Recorder;
use crate::gate::redactor::Redactor;
use crate::gate::{Gate, Stop};
use crate::model::address::Address;
use crate::model::event::{Event, Start};
use crate::model::parameter::ParameterType;
use crate::model::plan::Expected;
use crate::model::run::{Mode, RunId, Status, Trigger};
use crate::runner::executor::{Ending, execute};
use crate::service::{Place, Prepared, Project, ProjectError, ServiceError};
use crate::store::{Claim, NamedLock, NewRun, Record, RunLog, Store, StoreError, sha256};
use crate::world::host::{Hosts, Limits};
use crate::world::project::Project as Files;
use crate::world::ssh::ssh_config::SshConfig;
use crate::world::{World, git};

/// How often a lock is looked at that another run holds.
const LOCK_LOOK: Duration = Duration::from_millis(200);

/// Who watches a run and answers its questions.
pub struct Hands {
    /// Gets every event as it is committed.
    pub observer: Option<UnboundedSender<Record>>,
    /// Answers questions.
    pub ask: Box<dyn Ask>,
    /// Who triggered it.
    pub trigger: Trigger,
    /// How long it waits for locks that other runs hold.
    pub patience: Duration,
}

/// A run that ended, or was suspended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub ending: Ending,
    /// Capabilities that were granted by answers.
    pub allowed: Vec<String>,
}

/// What a run begins with besides what was prepared.
#[derive(Default)]
pub(super) struct Past {
    pub(super) journal: Journal,
    pub(super) expected: Option<Expected>,
    pub(super) decisions: BTreeMap<Address, String>,
    pub(super) replay: bool,
    /// Requests to cancel that an earlier process has seen.
    pub(super) asks: usize,
}

/// How a run begins.
#[derive(Default)]
pub(super) struct Beginning<'a> {
    /// The run that waits in a queue; a new one when none.
    pub(super) queued: Option<Claim>,
    /// The text of the plan that is used up.
    pub(super) plan: Option<&'a str>,
    /// The commit that the project's folder holds exactly, where that is known.
    pub(super) commit: Option<String>,
    pub(super) past: Past,
}

impl Project {
    /// Runs or plans a prepared runbook.
    pub fn run(
        &self,
        place: &Place,
        store: &Store,
        prepared: Prepared,
        mode: Mode,
        hands: Hands,
    ) -> Result<Finished, ServiceError> {
        self.start(place, store, prepared, mode, hands, Beginning::default())
    }

    pub(super) fn start(
        &self,
        place: &Place,
        store: &Store,
        prepared: Prepared,
        mode: Mode,
        hands: Hands,
        beginning: Beginning<'_>,
    ) -> Result<Finished, ServiceError> {
        let Beginning { queued, plan, commit, past } = beginning;
        let inventory =
            serde_json::to_string(prepared.inventory.as_ref()).expect("an inventory is plain data");
        let hashes = prepared.sources.0.iter().map(|(path, text)| (path.clone(), sha256(text.as_bytes())));
        let state = match commit {
            Some(commit) => Some(git::State { commit, dirty: false }),
            None => git::state(self.root(), prepared.sources.0.keys().map(String::as_str)),
        };
        let start = Start {
            runbook: prepared.entry.clone(),
            sources: hashes.collect(),
            commit: state.as_ref().map(|state| state.commit.clone()),
            dirty: state.is_some_and(|state| state.dirty),
            params: Value::Object(prepared.params.clone()),
            inventory: sha256(inventory.as_bytes()),
            grants: prepared.grants.iter().map(ToString::to_string).collect(),
            allow: prepared.allow.iter().map(ToString::to_string).collect(),
            trigger: hands.trigger.clone(),
            mode,
            plan: plan.map(|text| sha256(text.as_bytes())),
            beyond: past.expected.as_ref().is_some_and(|expected| expected.beyond),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut texts: Vec<&str> = prepared.sources.0.values().map(AsRef::as_ref).collect();
        texts.push(&inventory);
        texts.extend(plan);
        let plan = start.plan.clone();
        let plan = plan.as_deref();
        let new = NewRun { start, texts, plan };
        let log = match queued {
            Some(claim) => store.begin(claim, &new, hands.observer.clone())?,
            None => {
                let (claim, first) = store.create(&new)?;
                if let Some(observer) = &hands.observer {
                    let _ = observer.send(first);
                }
                store.log(claim, hands.observer.clone())
            }
        };
        self.live(place, store, prepared, mode, hands, past, Recorder::Log(log))
    }

    #[expect(clippy::too_many_arguments, reason = "three callers; a struct would only rename the list")]
    pub(super) fn live(
        &self,
        place: &Place,
        store: &Store,
        prepared: Prepared,
        mode: Mode,
        hands: Hands,
        past: Past,
        recorder: Recorder,
    ) -> Result<Finished, ServiceError> {
        let run = recorder.run();
        // One thread, this one: a second one costs more CPU than it gives, measured at 200 hosts.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let heard = {
            let _inside = runtime.enter();
            Signals::listen()
        };
        let is_resumed = past.replay || !past.journal.is_empty();
        let ready = || -> Result<_, ServiceError> {
            let none = past.replay || mode == Mode::Plan;
            let names: &[String] = if none { &[] } else { &prepared.header.limits.locks };
            Ok((
                take_locks(store, &recorder, names, hands.patience, past.asks)?,
                self.ssh_config(&place.person.home)?,
            ))
        };
        let (locks, ssh_config) = match ready() {
            Ok(ready) => ready,
            Err(error) => {
                // What was begun can still go on later; what was not begun is over.
                let last = if is_resumed {
                    Event::Interrupted { reason: error.to_string() }
                } else {
                    ended(&refused(&error))
                };
                let _ = runtime.block_on(recorder.append_last(last));
                return Err(error);
            }
        };
        let redactor = Redactor::default();
        let secrets = self.secrets(place);
        let hidden = redactor.clone();
        // One that is too short to hide is of nobody's making but the server's, and opens nothing for long.
        secrets.listen(Box::new(move |secret| drop(hidden.add(secret))));
        let world = World::new(
            Hosts::new(Limits::default()),
            self.clusters(place),
            secrets,
            Files::new(self.root()).with(prepared.given.clone()),
            Arc::new(ssh_config),
            place.person.clone(),
        )
        .with_gitlab(
            self.config().gitlab.clone(),
            crate::world::secrets::Place::new(self.root(), place.variables.iter().cloned()),
        );
        let Prepared { entry, sources, header, params, inventory, grants, allow, .. } = prepared;
        let authority =
            Authority::new(entry.clone(), header.needs.clone(), grants, allow, header.limits.max_hosts);
        for parameter in header.params.iter().filter(|parameter| parameter.ty == ParameterType::Hosts) {
            // A parameter selects hosts as `hosts(…)` does: whoever says `all` is asked either way.
            let declared = inventory.group("all").map_or(0, |all| all.hosts.len());
            let selected = params.get(&parameter.name).and_then(Value::as_array).map_or(0, Vec::len);
            if declared > 1 && selected >= declared {
                authority.selected_all(declared);
            }
        }
        let gate = Arc::new(Gate {
            mode,
            runbook: entry.clone(),
            replay: past.replay,
            recorder,
            world,
            journal: past.journal,
            store: store.clone(),
            kept: Mutex::new(if is_resumed { Some(store.reader()?) } else { None }),
            expected: past.expected,
            authority,
            ask: hands.ask,
            decisions: past.decisions,
            doubts: crate::gate::doubts::Doubts::default(),
            redactor,
            cancellation: Cancellation::default(),
            inventory,
            params,
            runtime: runtime.handle().clone(),
            endpoints: tokio::sync::Mutex::default(),
            checks: Mutex::default(),
            partial: AtomicBool::new(false),
            left_behind: Mutex::default(),
            promises: Mutex::default(),
        });
        let signals = runtime.spawn(signals(gate.clone(), heard));
        let asks = (!past.replay).then(|| runtime.spawn(asks(gate.clone(), store.clone(), run, past.asks)));
        let ending = runtime.block_on(execute(gate.clone(), sources, entry, header.limits));
        signals.abort();
        if let Some(asks) = asks {
            asks.abort();
        }
        runtime.block_on(gate.world.devices().close());
        runtime.block_on(gate.world.hosts().close());
        runtime.block_on(async {
            let mut warnings = gate.world.secrets().close().await;
            warnings.extend(gate.world.secrets().warnings());
            // A log that takes no more says so by its last event.
            let _ = gate.tell(warnings).await;
        });
        let last = match ending.status {
            Status::Interrupted => {
                let reason = ending.error.as_ref().map_or_else(String::new, |error| error.message.clone());
                Event::Interrupted { reason }
            }
            _ => ended(&ending),
        };
        let written = runtime.block_on(gate.recorder.append_last(last));
        drop(locks);
        let allowed = gate.authority.allowed();
        let mut ending = ending;
        if written.is_err() && ending.status != Status::Interrupted {
            // The log has the truth: without its last event the run is one that can be resumed.
            ending.status = Status::Interrupted;
        }
        Ok(Finished { run, ending, allowed })
    }
}

pub(super) fn ended(ending: &Ending) -> Event {
    Event::Ended {
        status: ending.status,
        error: ending.error.as_ref().and_then(|error| serde_json::to_value(error).ok()),
        left_behind: ending.left_behind.clone(),
        in_doubt: ending.in_doubt.clone(),
        incomplete: ending.incomplete.clone(),
        result: ending.result.clone(),
    }
}

pub(super) fn refused(error: &ServiceError) -> Ending {
    let diagnostic = crate::model::diagnostic::Diagnostic::error("refused", error.to_string());
    Ending { status: Status::Stopped, error: Some(Box::new(diagnostic)), ..Ending::nothing() }
}

/// Takes the locks that a run holds from start to end, in the order of their names, so that two runs cannot block
/// each other for ever; waits for each as long as the run has patience, unless somebody asks it to end.
fn take_locks(
    store: &Store,
    recorder: &Recorder,
    names: &[String],
    patience: Duration,
    asked: usize,
) -> Result<Vec<NamedLock>, ServiceError> {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    names.dedup();
    let run = recorder.run();
    let holder = format!("run {run} (process {})", std::process::id());
    let mut held = Vec::with_capacity(names.len());
    for name in names {
        let begun = Instant::now();
        let lock = loop {
            match store.try_named_lock(name, &holder)? {
                Ok(lock) => break lock,
                Err(holder) if begun.elapsed() >= patience => {
                    return Err(ServiceError::Locked { name: name.clone(), holder });
                }
                Err(_) => {
                    if store.reader()?.asks(run)?.len() > asked {
                        return Err(ServiceError::CancelledWaiting { name: name.clone() });
                    }
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "the run has not begun, nothing else happens in it"
                    )]
                    std::thread::sleep(LOCK_LOOK);
                }
            }
        };
        let waited = begun.elapsed();
        if waited >= LOCK_LOOK {
            let waited_ms = waited.as_millis() as u64;
            let _ = recorder.append_blocking(Event::Lock { name: name.clone(), held: true, waited_ms });
        }
        held.push(lock);
    }
    Ok(held)
}

impl Project {
    /// Reads the project's configuration of SSH, or the user's and the system's; of those, files that are not there say nothing.
    pub(super) fn ssh_config(&self, home: &Path) -> Result<SshConfig, ServiceError> {
        if let Some(path) = &self.config().ssh_config {
            let path = self.root().join(path);
            std::fs::metadata(&path).map_err(|source| ProjectError::Read { path: path.clone(), source })?;
            return Ok(SshConfig::load(Some(&path), None, home)?);
        }
        let (user, system) = (home.join(".ssh/config"), Path::new("/etc/ssh/ssh_config"));
        let user = Some(user.as_path()).filter(|path| path.exists());
        Ok(SshConfig::load(user, Some(system).filter(|path| path.exists()), home)?)
    }
}

/// What a person or a supervisor sends; from the moment that they are listened for, they end nothing by themselves.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Option<Self> {
        let interrupt = signal(SignalKind::interrupt()).ok()?;
        Some(Self { interrupt, terminate: signal(SignalKind::terminate()).ok()? })
    }
}

/// Ctrl-C and SIGTERM: once ends the run with clean-up, twice at once.
async fn signals(gate: Arc<Gate>, heard: Option<Signals>) {
    let Some(Signals { mut interrupt, mut terminate }) = heard else { return };
    let mut times = 0;
    loop {
        let by = tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
        };
        times += 1;
        cancel(&gate, by, times > 1).await;
    }
}

async fn cancel(gate: &Gate, by: &str, now: bool) {
    let _ = gate.recorder.append(Event::CancelAsked { by: by.to_owned(), now }).await;
    let stop = Stop::Cancelled { by: by.to_owned() };
    if now { gate.cancellation.cancel_now(stop) } else { gate.cancellation.cancel(stop) }
}

/// `nlrun cancel` in another process.
async fn asks(gate: Arc<Gate>, store: Store, run: RunId, past: usize) {
    const EVERY: Duration = Duration::from_millis(200);
    // Most runs are over before anybody could ask.
    tokio::time::sleep(EVERY).await;
    let Ok(reader) = store.reader() else { return };
    let reader = Mutex::new(reader);
    let (mut seen, mut version) = (past, 0);
    loop {
        tokio::time::sleep(EVERY).await;
        let news = {
            let reader = reader.lock();
            match reader.version() {
                Ok(now) if now != version => {
                    version = now;
                    reader.asks(run).unwrap_or_default()
                }
                Ok(_) | Err(_) => continue,
            }
        };
        for (who, now) in news.iter().skip(seen) {
            cancel(&gate, who, *now).await;
        }
        seen = seen.max(news.len());
    }
}

/// Marks runs as interrupted whose process is gone; none stays `running`.
pub fn sweep(store: &Store) -> Result<Vec<RunId>, StoreError> {
    let mut swept = Vec::new();
    for run in store.running()? {
        let Ok(claim) = store.claim(run) else { continue };
        // It may have ended between the list and the claim.
        if !store.running()?.contains(&run) {
            continue;
        }
        let log: RunLog = store.log(claim, None);
        let event = Event::Interrupted { reason: "its process is gone".to_owned() };
        // On disk before the claim is given back: an event that came later would follow another process's.
        if log.append_durable_blocking(event).is_ok() {
            swept.push(run);
        }
    }
    Ok(swept)
}
