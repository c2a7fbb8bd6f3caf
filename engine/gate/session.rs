//! A session: the gate as one thread of script sees it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use crate::gate::authority::{Ask, Authority};
use crate::gate::cancellation::{Cancellation, Cleaning};
use crate::gate::effect::{Done, Doubt, Effect, Kept, Seen};
use crate::gate::journal::{Journal, Recorded};
use crate::gate::permit::{cancelled, failure, invalid};
use crate::gate::recorder::Recorder;
use crate::gate::redactor::Redactor;
use crate::gate::stop::describe;
use crate::gate::{Halt, Permit, Stop};
use crate::model::address::{Address, Branch};
use crate::model::effect::{Kind, Target};
use crate::model::event::{Event, Failure, Level, Request, Site, Verdict};
use crate::model::inventory::{Host, Inventory};
use crate::model::plan::Expected;
use crate::model::run::{Mode, Seq};
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
    /// What plan mode promised of each target, so that effects on the same one build on each other.
    pub promises: Mutex<HashMap<String, Arc<dyn std::any::Any + Send + Sync>>>,
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
    fn cancelled_before(&self) -> Option<Stop> {
        let by = self.journal.cancelled().filter(|_| !Cleaning::is_on())?;
        let stop = Stop::Cancelled { by: by.to_owned() };
        self.cancellation.cancel(stop.clone());
        Some(stop)
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
            // A replay has no network and no vault: the placeholder is what the log would show.
            return Ok(Secret::new(name.clone(), format!("«secret:{name}»").into_bytes()));
        }
        let failed = |message: String| Failure { kind: "secret".to_owned(), ..invalid(message) };
        let secret = self.world.secrets().get(name).await.map_err(|error| failed(sentence(&error)))?;
        self.redactor.add(&secret).map_err(|error| failed(error.to_string()))?;
        Ok(secret)
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

/// A clean-up that waits for the end of its branch; the body belongs to the script engine.
#[derive(Clone)]
pub struct Deferred {
    /// Its number in the branch, from 1.
    pub number: u32,
    /// Where it was registered.
    pub site: Option<Site>,
    /// What to call.
    pub body: Arc<dyn std::any::Any + Send + Sync>,
}

/// What an effect came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered<O> {
    /// It was performed, or recorded before; in plan mode, promised.
    Known(O, Verdict),
    /// Plan mode only lists it; or a person decided that it happened before a crash, and its answer is lost.
    Unplanned,
}

/// The kind of the failure that stands for the answer of an act that a person says happened.
pub const UNKNOWN_OUTCOME: &str = "unknown_outcome";

/// One thread of script at the gate. Cheap to clone.
#[derive(Clone)]
pub struct Session(Arc<Thread>);

struct Thread {
    gate: Arc<Gate>,
    branch: Branch,
    host: Option<Arc<Host>>,
    parent: Option<Session>,
    next: AtomicU32,
    notes: AtomicU32,
    deferrals: AtomicU32,
    deferred: Mutex<Vec<Deferred>>,
    changed: AtomicBool,
    unplanned: AtomicBool,
}

impl Session {
    /// Returns the session of the script's own thread.
    pub fn root(gate: Arc<Gate>) -> Self {
        Self::thread(gate, Branch::root(), None, None)
    }

    fn thread(gate: Arc<Gate>, branch: Branch, host: Option<Arc<Host>>, parent: Option<Session>) -> Self {
        Self(Arc::new(Thread {
            gate,
            branch,
            host,
            parent,
            next: AtomicU32::new(1),
            notes: AtomicU32::new(0),
            deferrals: AtomicU32::new(0),
            deferred: Mutex::default(),
            changed: AtomicBool::new(false),
            unplanned: AtomicBool::new(false),
        }))
    }

    /// Returns the shared part.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.0.gate
    }

    /// Returns the branch.
    pub fn branch(&self) -> &Branch {
        &self.0.branch
    }

    /// Returns the host of the fan-out's arm that this thread runs in.
    pub fn host(&self) -> Option<&Arc<Host>> {
        self.0.host.as_ref()
    }

    /// Takes the next number of this branch: for an effect or a fan-out.
    pub fn number(&self) -> u32 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the session for one arm of the fan-out with this number.
    pub fn arm(&self, number: u32, label: &str, host: Option<Arc<Host>>) -> Self {
        Self::thread(self.0.gate.clone(), self.0.branch.arm(number, label), host, Some(self.clone()))
    }

    /// Returns the session in which a registered clean-up runs.
    pub fn clean_up(&self, deferred: &Deferred) -> Self {
        let branch = self.0.branch.deferred(deferred.number);
        Self::thread(self.0.gate.clone(), branch, self.0.host.clone(), Some(self.clone()))
    }

    /// Registers a clean-up for the end of this branch.
    pub fn defer(&self, site: Option<Site>, body: Arc<dyn std::any::Any + Send + Sync>) -> Result<(), Stop> {
        let number = self.0.deferrals.fetch_add(1, Ordering::Relaxed) + 1;
        let branch = self.0.branch.deferred(number);
        self.note(Event::Deferred { branch, site: site.clone() })?;
        self.0.deferred.lock().push(Deferred { number, site, body });
        Ok(())
    }

    /// Takes the registered clean-ups, last one first.
    pub fn take_deferred(&self) -> Vec<Deferred> {
        let mut deferred = std::mem::take(&mut *self.0.deferred.lock());
        deferred.reverse();
        deferred
    }

    /// Whether something was changed in this branch.
    pub fn has_changed(&self) -> bool {
        self.0.changed.load(Ordering::Relaxed)
    }

    /// Whether plan mode listed an act in this branch, so that nobody knows how it would end.
    pub fn is_unplanned(&self) -> bool {
        self.0.unplanned.load(Ordering::Relaxed)
    }

    /// Waits for something asynchronous on this thread of script.
    pub fn block<F: Future>(&self, future: F) -> F::Output {
        self.0.gate.runtime.block_on(future)
    }

    /// Writes something that is not an effect, unless the run did so before it was interrupted.
    pub fn note(&self, event: Event) -> Result<(), Stop> {
        if self.is_noted(&event) { Ok(()) } else { self.0.gate.recorder.append_blocking(event) }
    }

    /// Does what [`Session::note`] does, from asynchronous code.
    pub async fn note_async(&self, event: Event) -> Result<(), Stop> {
        if self.is_noted(&event) { Ok(()) } else { self.0.gate.recorder.append(event).await }
    }

    fn is_noted(&self, event: &Event) -> bool {
        // What belongs to a clean-up as a whole does not count among the notes of a thread.
        let counts = !matches!(event, Event::Deferred { .. } | Event::CleanedUp { .. });
        let number = if counts { self.0.notes.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        self.0.gate.journal.has(event, &self.0.branch, number)
    }

    /// Says something in the name of the script.
    pub fn say(&self, level: Level, text: &str, site: Option<Site>) -> Result<(), Stop> {
        let text = self.0.gate.redactor.text(text).into_owned();
        if level == Level::Fail {
            self.0.gate.checks.lock().push(text.clone());
        }
        self.note(Event::Message { level, text, site, branch: self.0.branch.clone() })
    }

    /// Performs an effect on this thread of script.
    pub fn perform<E: Effect>(&self, site: Option<Site>, effect: &E) -> Result<Answered<E::Output>, Halt> {
        self.block(self.perform_async(site, effect))
    }

    /// Performs an effect: address, compare, authorise, record intent, settle, record outcome.
    pub async fn perform_async<E: Effect>(
        &self,
        site: Option<Site>,
        effect: &E,
    ) -> Result<Answered<E::Output>, Halt> {
        let gate = &self.0.gate;
        let address = self.0.branch.effect(self.number());
        if let Some(stop) = gate.cancellation.reason() {
            return Err(stop.into());
        }
        gate.recorder.check()?;

        let target = effect.target();
        let mut body = serde_json::to_value(effect).map_err(|error| invalid(error.to_string()))?;
        gate.redactor.json(&mut body);
        let request = Request {
            effect: E::NAME.to_owned(),
            kind: E::KIND,
            target: recorded_target(&target, &gate.redactor),
            request: body,
            site: site.clone(),
        };
        let placed = Placed { session: self, effect, address, target, request, site };

        match gate.journal.take(&placed.address) {
            Some(recorded) => placed.from_journal(recorded).await,
            None if gate.replay => Err(Stop::ReplayEnds(placed.address).into()),
            None => {
                if let Some(stop) = gate.cancelled_before() {
                    return Err(stop.into());
                }
                placed.live().await
            }
        }
    }

    fn mark_changed(&self) {
        let mut thread = Some(self);
        while let Some(session) = thread {
            session.0.changed.store(true, Ordering::Relaxed);
            thread = session.0.parent.as_ref();
        }
    }

    fn mark_unplanned(&self) {
        let mut thread = Some(self);
        while let Some(session) = thread {
            session.0.unplanned.store(true, Ordering::Relaxed);
            thread = session.0.parent.as_ref();
        }
    }
}

/// One effect on its way through the gate.
struct Placed<'a, E: Effect> {
    session: &'a Session,
    effect: &'a E,
    address: Address,
    target: Target,
    request: Request,
    site: Option<Site>,
}

impl<E: Effect> Placed<'_, E> {
    fn gate(&self) -> &Arc<Gate> {
        &self.session.0.gate
    }

    /// Answers from the journal, or goes on where the interrupted run left off.
    async fn from_journal(self, recorded: Recorded) -> Result<Answered<E::Output>, Halt> {
        let Request { effect, kind, target, request, .. } = &recorded.request;
        if *effect != self.request.effect || *request != self.request.request {
            let same = *effect == self.request.effect && target.to_string() == self.target.to_string();
            return Err(Stop::Diverged {
                address: self.address.clone(),
                expected: format!("the journal has {}", describe(*kind, effect, &target.to_string())),
                found: if same {
                    "the same with other arguments".to_owned()
                } else {
                    describe(E::KIND, E::NAME, &self.target.to_string())
                },
                hint:
                    "the script must ask for the same effects again: does it depend on something that is not \
                       journaled?"
                        .to_owned(),
            }
            .into());
        }
        let live_again = !self.gate().replay && E::KIND == Kind::Read;
        match recorded.answer {
            Some(answer) if !(answer.redacted && live_again) => {
                if let Some(failure) = answer.failure {
                    if failure.kind == UNKNOWN_OUTCOME {
                        self.session.mark_changed();
                        return Ok(Answered::Unplanned);
                    }
                    return Err(self.interrupted(failure).into());
                }
                let output: E::Output = serde_json::from_value(answer.value).map_err(|error| {
                    invalid(format!("the journal's answer at {} does not read back: {error}", self.address))
                })?;
                if answer.verdict == Verdict::Changed {
                    self.session.mark_changed();
                }
                let kept = Recalled { gate: self.gate(), output: &recorded.output, lost: Mutex::default() };
                let output = self.effect.restore(output, &kept);
                // What the log has lost is a failure, never an empty text.
                match kept.lost.into_inner() {
                    Some(failure) => Err(failure.into()),
                    None => Ok(Answered::Known(output, answer.verdict)),
                }
            }
            None if self.gate().replay && self.gate().mode == Mode::Plan => {
                self.session.mark_unplanned();
                Ok(Answered::Unplanned)
            }
            None if self.gate().replay => Err(Stop::ReplayEnds(self.address.clone()).into()),
            None if E::KIND == Kind::Act => self.in_doubt(&recorded.pre).await,
            Some(_) | None => self.live().await,
        }
    }

    /// An act was begun and its end is not recorded: find out, or leave it to a person.
    async fn in_doubt(self, pre: &Value) -> Result<Answered<E::Output>, Halt> {
        let permit = Permit::new(self.gate(), &self.address, &self.target);
        let decision = self.gate().decisions.get(&self.address).map(String::as_str);
        if decision == Some("again") {
            return self.live().await;
        }
        match self.effect.probe(&permit, pre).await {
            Ok(Doubt::Happened(done)) => {
                let seen = Seen::unknown();
                return self.finish(Ok(done), &seen, &permit, Instant::now()).await;
            }
            Ok(Doubt::DidNot) => return self.live().await,
            Ok(Doubt::Unknown) | Err(_) => {}
        }
        if decision == Some("done") {
            return self.decided().await;
        }
        Err(Stop::InDoubt {
            address: self.address.clone(),
            effect: E::NAME.to_owned(),
            target: self.target.to_string(),
        }
        .into())
    }

    /// Records that a person says that an act in doubt happened; nobody knows its answer.
    async fn decided(self) -> Result<Answered<E::Output>, Halt> {
        let failure = Failure {
            kind: UNKNOWN_OUTCOME.to_owned(),
            host: self.target.host().map(str::to_owned),
            ..invalid("a person decided that it happened; its answer is not known".to_owned())
        };
        let event = Event::Outcome {
            address: self.address.clone(),
            verdict: Verdict::Changed,
            value: Value::Null,
            failure: Some(Box::new(failure)),
            ms: 0,
            diff: None,
            redacted: false,
        };
        self.gate().recorder.append(event).await?;
        self.session.mark_changed();
        Ok(Answered::Unplanned)
    }

    async fn live(self) -> Result<Answered<E::Output>, Halt> {
        let gate = self.gate();
        gate.authority.check(E::NAME, &self.target, gate.ask.as_ref())?;
        let planned = gate.mode == Mode::Plan;
        if E::KIND.writes() && !planned {
            gate.authority.check_write(&self.target, gate.ask.as_ref())?;
        }
        let permit = Permit::new(gate, &self.address, &self.target);
        let begun = Instant::now();
        match E::KIND {
            Kind::Read => {
                self.intent(Value::Null, false).await?;
                let result = self.within(&permit, &Seen::unknown()).await;
                self.finish(result, &Seen::unknown(), &permit, begun).await
            }
            Kind::Ensure => {
                let seen = match self.effect.observe(&permit).await {
                    Ok(seen) => seen,
                    Err(failure) => {
                        self.intent(Value::Null, false).await?;
                        return self.finish(Err(failure), &Seen::unknown(), &permit, begun).await;
                    }
                };
                if planned {
                    return self.forecast(seen).await;
                }
                self.compare_with_plan(Some(&seen.pre), seen.changes)?;
                if seen.changes {
                    self.intent(seen.pre.clone(), true).await?;
                    let result = self.within(&permit, &seen).await;
                    return self.finish(result, &seen, &permit, begun).await;
                }
                let Some(output) = seen.output else {
                    return Err(invalid(format!("`{}` forecast nothing", E::NAME)).into());
                };
                self.intent(seen.pre, false).await?;
                self.finish(Ok(Done::ok(output)), &Seen::unknown(), &permit, begun).await
            }
            Kind::Act => {
                if planned {
                    let output = self.effect.expected();
                    return self.forecast(Seen { output, ..Seen::unknown() }).await;
                }
                self.compare_with_plan(None, true)?;
                let seen = match self.effect.observe(&permit).await {
                    Ok(seen) => seen,
                    Err(failure) => {
                        self.intent(Value::Null, false).await?;
                        return self.finish(Err(failure), &Seen::unknown(), &permit, begun).await;
                    }
                };
                // Connecting changes nothing, so it need not wait until the intent is on disk.
                let (intent, connected) =
                    tokio::join!(self.intent(seen.pre.clone(), true), self.connect(&permit));
                intent?;
                let result = match connected {
                    Ok(()) => self.within(&permit, &seen).await,
                    Err(failure) => Err(failure),
                };
                self.finish(result, &seen, &permit, begun).await
            }
        }
    }

    async fn connect(&self, permit: &Permit<'_>) -> Result<(), Failure> {
        if self.target.host().is_some() { permit.connect().await } else { Ok(()) }
    }

    async fn intent(&self, pre: Value, durable: bool) -> Result<(), Stop> {
        let (address, request) = (self.address.clone(), Box::new(self.request.clone()));
        let event = Event::Intent { address, request, pre };
        let recorder = &self.gate().recorder;
        if durable { recorder.append_durable(event).await } else { recorder.append(event).await }
    }

    /// Performs under the effect's own limit; what hangs in spite of a cancelled run is dropped after a while.
    async fn within(&self, permit: &Permit<'_>, seen: &Seen<E::Output>) -> Result<Done<E::Output>, Failure> {
        let gate = self.gate();
        let hangs = async {
            gate.cancellation.token().cancelled().await;
            // Longer than a transport takes to end a remote process group with TERM and then KILL.
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        };
        let limit = async {
            match self.effect.timeout() {
                Some(limit) => {
                    tokio::time::sleep(limit).await;
                    limit.as_secs()
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = self.effect.perform(permit, seen) => result,
            seconds = limit => {
                let fault = crate::world::transport::Fault::TimedOut { seconds };
                Err(failure(fault, self.target.host().unwrap_or_default()))
            }
            () = hangs => Err(cancelled()),
        }
    }

    async fn forecast(self, seen: Seen<E::Output>) -> Result<Answered<E::Output>, Halt> {
        let gate = self.gate();
        let event = Event::Forecast {
            address: self.address.clone(),
            request: Box::new(self.request.clone()),
            pre: seen.pre,
            changes: seen.changes,
            diff: seen.diff.map(|diff| gate.redactor.text(&diff).into_owned()),
        };
        gate.recorder.append(event).await?;
        if seen.changes {
            self.session.mark_changed();
        }
        match seen.output {
            Some(output) => {
                Ok(Answered::Known(output, if seen.changes { Verdict::Changed } else { Verdict::Ok }))
            }
            None => {
                self.session.mark_unplanned();
                Ok(Answered::Unplanned)
            }
        }
    }

    /// Demands that a write is exactly what the plan promised; unknown is never equal.
    fn compare_with_plan(&self, pre: Option<&Value>, changes: bool) -> Result<(), Stop> {
        let Some(expected) = &self.gate().expected else { return Ok(()) };
        let found = describe(E::KIND, E::NAME, &self.target.to_string());
        let Some(planned) = expected.at(&self.address) else {
            return match &expected.incomplete {
                Some(_) if expected.beyond => Ok(()),
                Some(from) => Err(Stop::BeyondPlan { from: from.clone() }),
                // Nothing would change, so nothing unplanned happens.
                None if !changes => Ok(()),
                None => Err(self.diverged("the plan has nothing".to_owned(), found)),
            };
        };
        if planned.effect != self.request.effect || planned.request != self.request.request {
            let promised = describe(planned.kind, &planned.effect, &planned.target);
            let found = if promised == found { "the same with other arguments".to_owned() } else { found };
            return Err(self.diverged(format!("the plan has {promised}"), found));
        }
        if let Some(pre) = pre
            && *pre != planned.pre
        {
            return Err(self.diverged(
                format!("the plan was made for another state of `{}`", self.target),
                format!("{found}, which has changed since"),
            ));
        }
        Ok(())
    }

    fn diverged(&self, expected: String, found: String) -> Stop {
        let hint = "make a new plan, read it, and apply that".to_owned();
        Stop::Diverged { address: self.address.clone(), expected, found, hint }
    }

    async fn finish(
        &self,
        result: Result<Done<E::Output>, Failure>,
        seen: &Seen<E::Output>,
        permit: &Permit<'_>,
        begun: Instant,
    ) -> Result<Answered<E::Output>, Halt> {
        let gate = self.gate();
        let ms = begun.elapsed().as_millis() as u64;
        let mut redacted = permit.is_redacted();
        match result {
            Ok(done) => {
                let mut value =
                    serde_json::to_value(&done.output).map_err(|error| invalid(error.to_string()))?;
                redacted |= gate.redactor.json(&mut value);
                let diff = done.diff.or_else(|| seen.diff.clone());
                let event = Event::Outcome {
                    address: self.address.clone(),
                    verdict: done.verdict,
                    value,
                    failure: None,
                    ms,
                    diff: diff.map(|diff| gate.redactor.text(&diff).into_owned()),
                    redacted,
                };
                gate.recorder.append(event).await?;
                if done.verdict == Verdict::Changed {
                    self.session.mark_changed();
                }
                Ok(Answered::Known(done.output, done.verdict))
            }
            Err(mut failure) => {
                failure.site.clone_from(&self.site);
                if failure.host.is_none() {
                    failure.host = self.target.host().map(str::to_owned);
                }
                let mut recorded = failure.clone();
                recorded.message = gate.redactor.text(&recorded.message).into_owned();
                redacted |= gate.redactor.json(&mut recorded.details);
                let event = Event::Outcome {
                    address: self.address.clone(),
                    verdict: if is_unreachable(&failure) { Verdict::Unreachable } else { Verdict::Failed },
                    value: Value::Null,
                    failure: Some(Box::new(recorded)),
                    ms,
                    diff: None,
                    redacted,
                };
                gate.recorder.append(event).await?;
                Err(self.interrupted(failure).into())
            }
        }
    }

    /// A failure because of a cancelled run is a stop.
    fn interrupted(&self, failure: Failure) -> Halt {
        match failure.kind.as_str() {
            "cancelled" => {
                let stop = self.gate().cancellation.reason().or_else(|| self.gate().cancelled_before());
                stop.map_or_else(|| failure.into(), Halt::from)
            }
            "unrecorded" => Stop::Unrecorded(failure.message).into(),
            _ => failure.into(),
        }
    }
}

/// Returns a target as it may be recorded: a path can come from a command's output.
fn recorded_target(target: &Target, redactor: &Redactor) -> Target {
    match target {
        Target::Host { host, groups, path: Some(path) } => Target::Host {
            host: host.clone(),
            groups: groups.clone(),
            path: Some(redactor.text(path).into_owned()),
        },
        Target::Run | Target::Host { path: None, .. } | Target::Named { .. } => target.clone(),
    }
}

/// Whether the host was never reached, so that nothing is known about it.
pub fn is_unreachable(failure: &Failure) -> bool {
    matches!(failure.kind.as_str(), "unreachable" | "refused" | "host_key" | "authentication")
}

/// The kept output of a recorded effect.
struct Recalled<'a> {
    gate: &'a Gate,
    output: &'a [(String, Seq)],
    lost: Mutex<Option<Failure>>,
}

impl Kept for Recalled<'_> {
    fn stream(&self, stream: &str, limit: usize) -> Result<Vec<u8>, Failure> {
        let kept = self.gate.kept.lock();
        let events: Vec<Seq> =
            self.output.iter().filter(|(name, _)| name == stream).map(|(_, seq)| *seq).collect();
        let found = match kept.as_ref() {
            Some(reader) => reader
                .joined(self.gate.recorder.run(), &events, limit)
                .map_err(|error| invalid(sentence(&error))),
            None => Err(invalid("the run log is not open".to_owned())),
        };
        found.inspect_err(|failure| {
            self.lost.lock().get_or_insert_with(|| failure.clone());
        })
    }
}
