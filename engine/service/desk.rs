//! The desk of a server: where runs are asked for, cancelled, continued and answered, and the work that goes on behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{broadcast, watch};

use crate::model::histogram::Histogram;
use crate::model::order::Order;
use crate::model::role::Caller;
use crate::model::run::{Mode, RunId, Status, Trigger};
use crate::model::schedule::clock::Reading;
use crate::model::schedule::{Cursor, Limits};
use crate::service::dispatch::{Dispatcher, Folders, Holdup, Veto};
use crate::service::execute::take_out;
use crate::service::scheduler::{self, Alarm, InForce, Scheduler};
use crate::service::sight::Sight;
use crate::service::{Place, Project, Schedules, ServiceError};
use crate::store::{Enqueued, Keys, NamedLock, Reader, Store, StoreError};
use crate::world::clock;

/// How often the run log is looked at for news of other processes.
const LOOK: Duration = Duration::from_millis(25);
/// The least time between two rounds of the queue that nobody has asked for.
const ROUND: Duration = Duration::from_millis(100);
/// How often the queue is gone through when nothing happens: a process may have been killed without a word.
const ROUNDS: Duration = Duration::from_secs(1);
/// The longest time between two turns of the scheduler: files are looked at, and a clock that was set is noticed.
const TURNS: SignedDuration = SignedDuration::from_secs(1);
/// How long schedules wait for a clock that is set by the network.
const UNSYNCHRONIZED: Duration = Duration::from_secs(300);
/// Alarms that a slow listener may lag behind.
const ALARMS: usize = 256;
/// The name of the lock that the server in the lead holds.
const LEAD: &str = "server";

/// What all faces of a server share. Cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    project: Project,
    place: Place,
    store: Store,
    folders: Arc<dyn Folders>,
    dispatcher: Dispatcher,
    readers: Mutex<Vec<Reader>>,
    wake: Wake,
    /// A number that grows with every change of the run log.
    news: watch::Sender<u64>,
    held_up: Mutex<Vec<(RunId, Holdup)>>,
    in_force: InForce,
    sight: Arc<Sight>,
    alarms: broadcast::Sender<Alarm>,
    /// Whether a person has moved a cursor, so that every schedule is to be asked.
    is_moved: AtomicBool,
    /// When a person has last moved a cursor, here or at a terminal.
    moved_at: AtomicI64,
    veto: Veto,
    leads: AtomicBool,
    is_ending: AtomicBool,
    measured: Mutex<Measured>,
}

/// What is measured while the server works, since it was started; in seconds.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// How much later than due runs of schedules came into the queue.
    pub lateness: Histogram,
    /// How long runs waited in the queue until a process was started for them.
    pub wait: Histogram,
}

#[derive(Default)]
struct Wake {
    is_due: Mutex<bool>,
    bell: Condvar,
}

impl Wake {
    fn ring(&self) {
        *self.is_due.lock() = true;
        self.bell.notify_all();
    }

    /// Waits until somebody rings, at most this long; returns whether somebody did.
    fn wait(&self, time: Duration) -> bool {
        let mut is_due = self.is_due.lock();
        if !*is_due {
            let _ = self.bell.wait_for(&mut is_due, time);
        }
        std::mem::take(&mut is_due)
    }
}

impl Desk {
    /// Opens the desk of a project.
    pub fn open(
        project: Project,
        place: Place,
        store: Store,
        folders: Arc<dyn Folders>,
    ) -> Result<Self, ServiceError> {
        let dispatcher = Dispatcher::new(&store, folders.clone(), project.config().server.allowance())?;
        let in_force = InForce::default();
        let sight = Arc::new(Sight::new(in_force.clone(), folders.clone()));
        let (seen, followed) = (sight.clone(), folders.clone());
        let veto: Veto = Box::new(move |order| {
            // What has waited since an earlier server is gone through before the scheduler here has read anything.
            let is_scheduled = matches!(order.trigger, Trigger::Schedule { .. });
            let schedules = if is_scheduled { seen.schedules() } else { Arc::default() };
            let now = clock::now();
            let stale = || followed.repository()?.stale(scheduler::sync_limits(&schedules, order), now);
            scheduler::veto(&schedules, order, now).or_else(stale)
        });
        Ok(Self(Arc::new(Inner {
            project,
            place,
            store,
            folders,
            dispatcher,
            readers: Mutex::default(),
            wake: Wake::default(),
            news: watch::Sender::new(0),
            held_up: Mutex::default(),
            in_force,
            sight,
            alarms: broadcast::Sender::new(ALARMS),
            is_moved: AtomicBool::new(false),
            moved_at: AtomicI64::new(0),
            veto,
            leads: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            measured: Mutex::default(),
        })))
    }

    /// Returns the project as the server was started with it.
    pub fn project(&self) -> &Project {
        &self.0.project
    }

    /// Returns where the server was started, and by whom.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// Returns the run log.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Returns where the project's commits are.
    pub fn folders(&self) -> &Arc<dyn Folders> {
        &self.0.folders
    }

    /// Returns how many runs may go on at once, by queue and by lock.
    pub fn limits(&self) -> &Limits {
        self.0.dispatcher.limits()
    }

    /// Lends a connection that reads.
    pub fn read<T, E: From<crate::store::StoreError>>(
        &self,
        look: impl FnOnce(&Reader) -> Result<T, E>,
    ) -> Result<T, E> {
        let reader = self.0.readers.lock().pop();
        let reader = match reader {
            Some(reader) => reader,
            None => self.0.store.reader()?,
        };
        // Retention may remove what a list has just named.
        let result = reader.at_once(look);
        self.0.readers.lock().push(reader);
        result
    }

    /// Tells of every change of the run log, by a number that grows.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }

    /// Whether this server is the one that starts runs.
    pub fn leads(&self) -> bool {
        self.0.leads.load(Ordering::Relaxed)
    }

    /// Returns why runs that wait are not started yet, in the order of their turn.
    pub fn held_up(&self) -> Vec<(RunId, Holdup)> {
        self.0.held_up.lock().clone()
    }

    /// Returns what was measured since the server was started.
    pub fn measured(&self) -> Measured {
        self.0.measured.lock().clone()
    }

    /// Puts an order into its queue, unless its key is known.
    pub fn enqueue(&self, order: &Order, keys: &Keys) -> Result<Enqueued, ServiceError> {
        let enqueued = self.0.store.enqueue(order, keys)?;
        self.0.wake.ring();
        Ok(enqueued)
    }

    /// Completes an order by what its caller may: the runbook's path, or the plan's own runbook and parameters.
    ///
    /// With it comes what a calendar of one of the runbook's schedules has against a run now, unless that is `hard`.
    pub fn admit(&self, mut order: Order, caller: &Caller) -> Result<(Order, Option<String>), ServiceError> {
        if let Some(plan) = order.plan {
            let start = self.read::<_, ServiceError>(|reader| super::start_of(reader, plan))?;
            order.runbook = start.runbook;
            order.params.clear();
            order.revision = self.read::<_, ServiceError>(|reader| Ok(reader.commit(plan)?))?;
        } else {
            order.runbook = self.runbook_at(&order.runbook, order.revision.as_deref())?;
        }
        self.may_run(&order.runbook, caller)?;
        if caller.plans_only && order.mode != Mode::Plan {
            return Err(ServiceError::PlansOnly { who: caller.name() });
        }
        let closed = match order.mode {
            Mode::Apply => scheduler::closed(&self.schedules(), &order.runbook, clock::now()),
            Mode::Plan => None,
        };
        match closed {
            Some((true, why)) => Err(ServiceError::Closed { why }),
            Some((false, why)) => Ok((order, Some(why))),
            None => Ok((order, None)),
        }
    }

    /// Finds a runbook in the project as it is at a revision; returns its path.
    ///
    /// A revision that is not here yet is fetched.
    fn runbook_at(&self, name: &str, revision: Option<&str>) -> Result<String, ServiceError> {
        let unusable =
            |reason: String| ServiceError::NoFolder { revision: revision.map(str::to_owned), reason };
        if let (Some(repository), Some(revision)) = (self.0.folders.repository(), revision) {
            repository.bring(revision).map_err(unusable)?;
        }
        let folder = self.0.folders.folder(revision).map_err(unusable)?;
        let project = Project::find(&folder.path)?;
        Ok(project.runbook(name, project.root())?)
    }

    /// Refuses somebody whose runbooks do not include this one; what their role allows is asked elsewhere.
    pub fn may_run(&self, runbook: &str, caller: &Caller) -> Result<(), ServiceError> {
        let covers = |glob: &String| {
            globset::GlobBuilder::new(glob)
                .literal_separator(true)
                .build()
                .is_ok_and(|glob| glob.compile_matcher().is_match(runbook))
        };
        if caller.runbooks.is_empty() || caller.runbooks.iter().any(covers) {
            return Ok(());
        }
        Err(ServiceError::NotYours { runbook: runbook.to_owned(), who: caller.name() })
    }

    /// Goes on with a run that was interrupted, or waits for decisions about acts in doubt.
    pub fn resume(
        &self,
        run: RunId,
        caller: &Caller,
        done: &[String],
        again: &[String],
    ) -> Result<(), ServiceError> {
        let summary = self.read::<_, ServiceError>(|reader| Ok(reader.run(run)?.summary))?;
        self.may_run(&summary.runbook, caller)?;
        if summary.mode == Mode::Plan {
            return Err(ServiceError::IsPlan { run: run.0, runbook: summary.runbook });
        }
        if !summary.status.is_resumable() || self.0.store.is_held(run) {
            return Err(StoreError::Over { run, status: summary.status }.into());
        }
        for address in done.iter().chain(again) {
            if !summary.in_doubt.iter().any(|act| act.address.as_str() == address) {
                let address = crate::model::address::Address::parse(address);
                return Err(ServiceError::NotInDoubt { run: run.0, address });
            }
        }
        self.0.dispatcher.resume(run, &caller.name(), done, again)
    }

    /// Ends a run: one that waits at once, one that runs with its clean-ups, or without them where it is to end `now`.
    pub fn cancel(&self, run: RunId, who: &str, now: bool) -> Result<(), ServiceError> {
        let status = self.read::<_, ServiceError>(|reader| Ok(reader.run(run)?.summary.status))?;
        if status == Status::Queued && take_out(&self.0.store, run, who)? {
            self.0.wake.ring();
            return Ok(());
        }
        Ok(self.0.store.ask_cancel(run, who, now)?)
    }

    /// Answers the question of a run; `false` if it is not open any more.
    pub fn reply(&self, question: i64, yes: bool, who: &str) -> Result<bool, ServiceError> {
        Ok(self.0.store.reply(question, yes, who)?)
    }

    /// Has the queue gone through at once.
    pub fn wake(&self) {
        self.0.wake.ring();
    }

    /// Ends the work behind the desk; runs go on.
    pub fn close(&self) {
        self.0.is_ending.store(true, Ordering::Relaxed);
        self.0.wake.ring();
    }

    /// Returns the schedules that are in force: those of the scheduler here, or those of the project where another server decides.
    pub fn schedules(&self) -> Arc<Schedules> {
        self.0.sight.schedules()
    }

    /// Returns what people are told as it happens.
    pub fn alarms(&self) -> broadcast::Receiver<Alarm> {
        self.0.alarms.subscribe()
    }

    /// Moves the cursor of a schedule in the name of a person: sets it, or stops or starts the schedule.
    pub fn move_cursor(
        &self,
        schedule: &str,
        to: impl FnOnce(Cursor, Timestamp) -> Cursor,
        who: &str,
        reason: &str,
    ) -> Result<(), ServiceError> {
        let schedules = self.schedules();
        let found = schedules.find(schedule);
        let found = found.ok_or_else(|| ServiceError::NoSchedule { name: schedule.to_owned() })?;
        let before = self.read::<_, ServiceError>(|reader| Ok(reader.cursor(schedule)?))?;
        let before = before.map(|moved| moved.cursor);
        let now = clock::now();
        let after = to(before.clone().unwrap_or_else(|| Cursor::new(&found.schedule, now)), now);
        if !self.0.store.move_cursor(schedule, before.as_ref(), &after, who, reason)? {
            return Err(StoreError::Overtaken.into());
        }
        self.0.is_moved.store(true, Ordering::Relaxed);
        self.0.wake.ring();
        Ok(())
    }

    /// Does the work behind the desk, on the calling thread, until the desk is closed.
    pub fn work(&self) -> Result<(), ServiceError> {
        let reader = self.0.store.reader()?;
        let (mut version, mut last) = (0, None::<Instant>);
        let mut lead = None;
        while !self.0.is_ending.load(Ordering::Relaxed) {
            let is_woken = self.0.wake.wait(LOOK);
            let now = match reader.version() {
                Ok(version) => version,
                Err(error) => {
                    tracing::error!(%error, "the run log cannot be read; it is tried again");
                    self.0.wake.wait(ROUNDS);
                    continue;
                }
            };
            let is_news = now != version;
            version = now;
            if is_news || is_woken {
                self.0.news.send_modify(|number| *number += 1);
            }
            if let Some(Lead { scheduler: Some(scheduler), next, .. }) = &mut lead {
                let is_moved = self.0.is_moved.swap(false, Ordering::Relaxed);
                if is_moved {
                    scheduler.ask_all();
                }
                if is_moved || *next <= clock::now() {
                    *next = self.schedule(scheduler);
                }
            }
            let since = last.map(|last| last.elapsed());
            let is_due = is_woken || since.is_none_or(|since| since >= ROUNDS || (is_news && since >= ROUND));
            if !is_due {
                continue;
            }
            last = Some(Instant::now());
            match &mut lead {
                None => lead = self.take_lead(),
                Some(lead) => {
                    lead.arm(self);
                    self.round();
                }
            }
        }
        Ok(())
    }

    /// Lets the scheduler decide what is due; returns when it wants to be asked again at the latest.
    fn schedule(&self, scheduler: &mut Scheduler) -> Timestamp {
        let reading = Reading { wall: clock::now(), steady: clock::steady() };
        let soon = reading.wall + TURNS;
        // Also by `nlrun schedule` in another process, which cannot ring here.
        if let Ok(at) = self.read::<_, StoreError>(Reader::moved_by_hand)
            && self.0.moved_at.swap(at, Ordering::Relaxed) != at
        {
            scheduler.ask_all();
        }
        let turn = match scheduler.turn(reading) {
            Ok(turn) => turn,
            Err(error) => {
                tracing::error!(%error, "the schedules cannot be decided; they will be again");
                scheduler.ask_all();
                return soon;
            }
        };
        for (run, late) in &turn.queued {
            self.0.measured.lock().lateness.add(*late);
            tracing::info!(%run, late_ms = late.as_millis() as u64, "scheduled");
        }
        for (run, schedule) in &turn.cancels {
            if let Err(error) = self.cancel(*run, &format!("schedule {schedule}"), false) {
                tracing::error!(%error, %run, "a run cannot be cancelled for the next one");
            }
        }
        for alarm in turn.alarms {
            tracing::warn!(?alarm, "a schedule needs a look");
            // Nobody may be listening.
            let _ = self.0.alarms.send(alarm);
        }
        if !turn.queued.is_empty() {
            self.0.wake.ring();
        }
        turn.wake.map_or(soon, |wake| wake.min(soon))
    }

    fn take_lead(&self) -> Option<Lead> {
        let holder = format!("server (process {})", std::process::id());
        let lock = match self.0.store.try_named_lock(LEAD, &holder) {
            Ok(Ok(lock)) => lock,
            Ok(Err(_)) => return None,
            Err(error) => {
                tracing::error!(%error, "nobody can take the lead; it is tried again");
                return None;
            }
        };
        self.0.leads.store(true, Ordering::Relaxed);
        tracing::info!("this server starts runs");
        let now = Instant::now();
        let mut lead = Lead { _lock: lock, scheduler: None, since: now, next: clock::now(), is_told: false };
        lead.arm(self);
        // What is in doubt and what waits comes before what is new (rule 23).
        self.round();
        Some(lead)
    }

    fn round(&self) {
        match self.0.dispatcher.round(&self.0.veto) {
            Ok(round) => {
                for run in &round.started {
                    let waited = self.read::<_, StoreError>(|reader| reader.waited(*run));
                    if let Ok(Some(waited)) = waited {
                        self.0.measured.lock().wait.add(waited);
                    }
                    tracing::info!(%run, "started");
                }
                for run in &round.given_up {
                    tracing::warn!(%run, "given up");
                }
                *self.0.held_up.lock() = round.held_up;
            }
            // A full disk, for one: what waits goes on waiting.
            Err(error) => tracing::error!(%error, "the queue cannot be gone through"),
        }
    }
}

/// What only the server in the lead has.
struct Lead {
    // Held for as long as this server leads.
    _lock: NamedLock,
    scheduler: Option<Scheduler>,
    since: Instant,
    next: Timestamp,
    is_told: bool,
}

impl Lead {
    /// Starts the scheduler once the clock is right (rule 10).
    fn arm(&mut self, desk: &Desk) {
        if self.scheduler.is_some() {
            return;
        }
        let is_late = self.since.elapsed() >= UNSYNCHRONIZED;
        if !is_late && clock::is_synchronized() == Some(false) {
            if !std::mem::replace(&mut self.is_told, true) {
                tracing::warn!("schedules wait until the clock is set by the network, five minutes at most");
            }
            return;
        }
        if is_late {
            tracing::warn!("the clock is not set by the network; schedules go by it all the same");
        }
        let inner = &desk.0;
        match Scheduler::new(&inner.store, inner.folders.clone(), inner.in_force.clone()) {
            Ok(scheduler) => self.scheduler = Some(scheduler),
            // A full disk, for one.
            Err(error) => tracing::error!(%error, "no schedule is decided yet; it is tried again"),
        }
    }
}
