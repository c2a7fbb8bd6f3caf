//! The desk of a server: where runs are asked for, cancelled, continued and answered, and the work that goes on behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::model::order::Order;
use crate::model::role::Caller;
use crate::model::run::{Mode, RunId, Status};
use crate::service::dispatch::{Dispatcher, Folders, Holdup};
use crate::service::execute::take_out;
use crate::service::{Place, Project, ServiceError};
use crate::store::{Enqueued, Keys, NamedLock, Reader, Store, StoreError};

/// How often the run log is looked at for news of other processes.
const LOOK: Duration = Duration::from_millis(25);
/// The least time between two rounds of the queue that nobody has asked for.
const ROUND: Duration = Duration::from_millis(100);
/// How often the queue is gone through when nothing happens: a process may have been killed without a word.
const ROUNDS: Duration = Duration::from_secs(1);
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
    leads: AtomicBool,
    is_ending: AtomicBool,
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
            leads: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
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

    /// Returns the queue's view of slots.
    pub fn slots(&self, queue: &str) -> usize {
        self.0.dispatcher.slots(queue)
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
        let result = look(&reader);
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

    /// Puts an order into its queue, unless its key is known.
    pub fn enqueue(&self, order: &Order, keys: &Keys) -> Result<Enqueued, ServiceError> {
        let enqueued = self.0.store.enqueue(order, keys)?;
        self.0.wake.ring();
        Ok(enqueued)
    }

    /// Completes an order by what its caller may: the runbook's path, or the plan's own runbook and parameters.
    pub fn admit(&self, mut order: Order, caller: &Caller) -> Result<Order, ServiceError> {
        if let Some(plan) = order.plan {
            let start = self.read::<_, ServiceError>(|reader| super::start_of(reader, plan))?;
            order.runbook = start.runbook;
            order.params.clear();
        } else if order.revision.is_none() {
            order.runbook = self.0.project.runbook(&order.runbook, self.0.project.root())?;
        }
        self.may_run(&order.runbook, caller)?;
        Ok(order)
    }

    fn may_run(&self, runbook: &str, caller: &Caller) -> Result<(), ServiceError> {
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

    /// Does the work behind the desk, on the calling thread, until the desk is closed.
    pub fn work(&self) -> Result<(), ServiceError> {
        let reader = self.0.store.reader()?;
        let (mut version, mut last) = (0, None::<Instant>);
        let mut lead: Option<NamedLock> = None;
        while !self.0.is_ending.load(Ordering::Relaxed) {
            let is_woken = self.0.wake.wait(LOOK);
            let now = reader.version()?;
            let is_news = now != version;
            version = now;
            if is_news || is_woken {
                self.0.news.send_modify(|number| *number += 1);
            }
            let since = last.map(|last| last.elapsed());
            let is_due = is_woken || since.is_none_or(|since| since >= ROUNDS || (is_news && since >= ROUND));
            if !is_due {
                continue;
            }
            if lead.is_none() {
                lead = self.take_lead()?;
            }
            last = Some(Instant::now());
            if lead.is_some() {
                self.round();
            }
        }
        Ok(())
    }

    fn take_lead(&self) -> Result<Option<NamedLock>, ServiceError> {
        let holder = format!("server (process {})", std::process::id());
        let Ok(lock) = self.0.store.try_named_lock(LEAD, &holder)? else { return Ok(None) };
        self.0.leads.store(true, Ordering::Relaxed);
        tracing::info!("this server starts runs");
        Ok(Some(lock))
    }

    fn round(&self) {
        match self.0.dispatcher.round() {
            Ok(round) => {
                for run in &round.started {
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
