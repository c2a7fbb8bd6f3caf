//! Takes runs out of their queues, each in its turn, and starts a process for it.
//!
//! The queue is a view of the run log: what waits, what runs and what is over stands there, so that a server that starts
//! again knows as much as the one before. In memory is only which processes this one has started.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::model::diagnostic::Diagnostic;
use crate::model::order::{DEFAULT_QUEUE, Order};
use crate::model::run::{Mode, RunId, Status, Trigger};
use crate::model::runbook::Header;
use crate::model::schedule::{Limits, Started, Wait, Waiting, admit};
use crate::runner::executor::Ending;
use crate::runner::{header, language};
use crate::service::execute::give_up;
use crate::service::live::ended;
use crate::service::{Project, Repository, ServiceError, sweep};
use crate::store::{InQueue, Orders, Reader, Store, StoreError};
use crate::world::{clock, process};

/// How often a process is started for a run, should it end before it has begun or be killed, before the run is given up.
const ATTEMPTS: u32 = 3;
/// With less room than this in the run log, in bytes, nothing is started: it would only be stopped by the next full disk.
const ROOM: u64 = 4 << 20;

/// A folder of the project as a run is to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// The commit that it holds exactly; none for a folder that people work in.
    pub commit: Option<String>,
    /// Whether the followed branch has that commit: what is only elsewhere is planned, and not applied.
    pub is_followed: bool,
    /// What is wrong with its signature, where one is demanded.
    pub unsigned: Option<String>,
}

impl Folder {
    /// A folder in which a run goes on that has begun: what goes for beginnings was decided then.
    fn again(path: PathBuf) -> Self {
        Self { path, commit: None, is_followed: true, unsigned: None }
    }
}

/// Where the project's commits are.
pub trait Folders: Send + Sync {
    /// Returns the folder of a branch, tag or commit as it is now, or the reason why there is none.
    fn folder(&self, revision: Option<&str>) -> Result<Folder, String>;

    /// Returns the repository behind it, where there is one.
    fn repository(&self) -> Option<&Repository> {
        None
    }
}

/// The folder that the server was started in: no commits, what is there runs.
pub struct Here(pub PathBuf);

impl Folders for Here {
    fn folder(&self, revision: Option<&str>) -> Result<Folder, String> {
        match revision {
            None => Ok(Folder { path: self.0.clone(), commit: None, is_followed: true, unsigned: None }),
            Some(revision) => Err(format!(
                "`{revision}` cannot be run: the server runs a plain folder; with `server.project` it follows a repository"
            )),
        }
    }
}

/// Refuses to apply what is not on the followed branch.
///
/// A merge request's plan may be applied: who asked for it has shown that they may, and it does what everybody has seen.
fn reviewed(folder: Folder, order: &Order) -> Result<Folder, String> {
    let is_of_merge_request =
        order.plan.is_some() && matches!(order.trigger, Trigger::Webhook { merge_request: Some(_), .. });
    if folder.is_followed || order.mode == Mode::Plan {
        return Ok(folder);
    }
    if is_of_merge_request {
        return match folder.unsigned {
            Some(why) => Err(why),
            None => Ok(folder),
        };
    }
    let revision = order.revision.as_deref().unwrap_or_default();
    Err(format!(
        "`{revision}` can be planned only, for it is not on the branch that the server follows; merge it, or ask for a plan"
    ))
}

/// What a server allows its runs.
#[derive(Debug, Clone)]
pub struct Allowance {
    /// How many runs go on at once, by queue and by lock.
    pub limits: Limits,
    /// The most memory of one run, in MiB.
    pub memory: u64,
    /// The most open files of one run.
    pub files: u64,
    /// How long a run waits for locks that something outside of the queue holds, in seconds.
    pub lock_wait: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        let lock_wait = crate::service::LOCK_WAIT.as_secs();
        Self { limits: Limits::default(), memory: 4096, files: 4096, lock_wait }
    }
}

/// Starts runs in their turn.
pub struct Dispatcher {
    store: Store,
    folders: Arc<dyn Folders>,
    allowance: Allowance,
    reader: Mutex<Reader>,
    spawned: Mutex<HashMap<RunId, Spawned>>,
    headers: Mutex<HashMap<PathBuf, (std::time::SystemTime, Arc<Header>)>>,
    orders: Mutex<Orders>,
    was_full: AtomicBool,
}

/// The headers that one round has looked at, by folder and runbook; none where a runbook cannot be read.
type Headers = HashMap<PathBuf, HashMap<String, Option<Arc<Header>>>>;

struct Spawned {
    child: Child,
    started: Started,
}

/// Why a run that waits is not started yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdup {
    /// What it waits for.
    pub wait: Wait,
    /// What the holder of the lock says of itself.
    pub holder: Option<String>,
}

/// Returns at which place of the queue each run waits.
pub fn places(held_up: &[(RunId, Holdup)]) -> HashMap<RunId, usize> {
    held_up.iter().enumerate().map(|(place, (run, _))| (*run, place)).collect()
}

/// Whether a run may start now that could when it was queued: `Some` is the reason why not.
pub type Veto = Box<dyn Fn(&Order) -> Option<String> + Send + Sync>;

/// What one round has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// Runs for which a process was started.
    pub started: Vec<RunId>,
    /// Runs that wait, with the reason, in the order of their turn.
    pub held_up: Vec<(RunId, Holdup)>,
    /// Runs that will never begin.
    pub given_up: Vec<RunId>,
}

impl Dispatcher {
    /// Makes a dispatcher; there must be one of them for a run log at a time.
    pub fn new(store: &Store, folders: Arc<dyn Folders>, allowance: Allowance) -> Result<Self, ServiceError> {
        Ok(Self {
            store: store.clone(),
            folders,
            allowance,
            reader: Mutex::new(store.reader()?),
            spawned: Mutex::default(),
            headers: Mutex::default(),
            orders: Mutex::default(),
            was_full: AtomicBool::new(false),
        })
    }

    /// Looks after every process that has ended, then starts every run whose turn it is.
    pub fn round(&self, veto: &Veto) -> Result<Round, ServiceError> {
        let mut round = Round::default();
        if self.is_full() {
            return Ok(round);
        }
        self.look_after()?;
        let states = [Status::Queued, Status::Running];
        let of_queue = self.reader.lock().queued_again(&states, &mut self.orders.lock())?;
        let (queued, running): (Vec<_>, Vec<_>) =
            of_queue.into_iter().partition(|one| one.status == Status::Queued);
        let mut spawned = self.spawned.lock();
        // Thousands may wait for a few runbooks.
        let mut known = Headers::new();
        let mut started: Vec<Started> = running.iter().map(|run| self.started(run, &mut known)).collect();
        let is_running = |run: &RunId| running.iter().any(|other| other.run == *run);
        let beginning = spawned.iter().filter(|(run, _)| !is_running(run));
        started.extend(beginning.map(|(_, spawned)| spawned.started.clone()));
        let mut waiting = Vec::new();
        for one in queued.into_iter().filter(|one| !spawned.contains_key(&one.run)) {
            let deadline = one.order.deadline;
            let reason = if deadline.is_some_and(|deadline| deadline < clock::now().as_microsecond()) {
                Some("it was not started before its deadline".to_owned())
            } else {
                veto(&one.order)
            };
            let folder = match reason {
                Some(reason) => Err(reason),
                None => self
                    .folders
                    .folder(one.order.revision.as_deref())
                    .and_then(|folder| reviewed(folder, &one.order)),
            };
            match folder {
                Ok(folder) => waiting.push((self.waiting(&one, &folder.path, &mut known), one, folder)),
                Err(reason) => {
                    give_up(&self.store, one.run, &reason)?;
                    round.given_up.push(one.run);
                }
            }
        }
        // Locks of runs that somebody runs without the queue.
        let mut holders = BTreeMap::new();
        let wanted: BTreeSet<&String> = waiting.iter().flat_map(|(waiting, ..)| &waiting.locks).collect();
        for name in wanted {
            let is_ours = started.iter().any(|run| run.locks.contains(name));
            if let (false, Some(holder)) = (is_ours, self.store.lock_holder(name)) {
                holders.insert(name.clone(), holder);
            }
        }
        let foreign = Started {
            queue: String::new(),
            overlap_key: String::new(),
            catch_up: false,
            locks: holders.keys().cloned().collect(),
        };
        started.push(foreign);
        let asked: Vec<Waiting> = waiting.iter().map(|(waiting, ..)| waiting.clone()).collect();
        let answers = admit(&asked, &started, &self.allowance.limits);
        for ((asked, one, folder), wait) in waiting.into_iter().zip(answers) {
            let run = one.run;
            if let Some(wait) = wait {
                let holder = match &wait {
                    Wait::Lock(name) => holders.get(name).cloned(),
                    Wait::Slot | Wait::Overlap | Wait::CatchUp => None,
                };
                round.held_up.push((run, Holdup { wait, holder }));
                continue;
            }
            let child = self.start(run, &folder, &[])?;
            let Waiting { queue, overlap_key, catch_up, locks, .. } = asked;
            let started = Started { queue, overlap_key, catch_up, locks };
            spawned.insert(run, Spawned { child, started });
            round.started.push(run);
        }
        Ok(round)
    }

    /// Whether the run log has no room for what a run would write; says so when it changes.
    fn is_full(&self) -> bool {
        let is_full = !self.store.has_room(ROOM);
        if is_full != self.was_full.swap(is_full, Ordering::Relaxed) {
            if is_full {
                tracing::error!(
                    "the disk of the run log is full, or its `max_size`: no run is started until there is room"
                );
            } else {
                tracing::info!("there is room in the run log again");
            }
        }
        is_full
    }

    /// Returns how many runs may go on at once.
    pub fn limits(&self) -> &Limits {
        &self.allowance.limits
    }

    fn waiting(&self, one: &InQueue, folder: &Path, known: &mut Headers) -> Waiting {
        let InQueue { run, order, queued_at, overlap, .. } = one;
        Waiting {
            queue: order.queue.clone(),
            priority: order.priority,
            since: jiff::Timestamp::from_microsecond(*queued_at).unwrap_or_default(),
            overlap_key: overlap.clone().unwrap_or_else(|| format!("run {run}")),
            behind: order.behind,
            catch_up: order.catch_up,
            locks: self.locks(folder, order, known),
        }
    }

    fn started(&self, one: &InQueue, known: &mut Headers) -> Started {
        let folder = one.folder.as_deref().unwrap_or_default();
        let Waiting { queue, overlap_key, catch_up, locks, .. } = self.waiting(one, Path::new(folder), known);
        Started { queue, overlap_key, catch_up, locks }
    }

    /// Starts a process that goes on with a run, with what a person has decided about its acts in doubt.
    pub fn resume(
        &self,
        run: RunId,
        by: &str,
        done: &[String],
        again: &[String],
    ) -> Result<(), ServiceError> {
        let (folder, order) = {
            let reader = self.reader.lock();
            (reader.folder(run)?, reader.order(run)?)
        };
        let here = || self.folders.folder(None).map(|folder| folder.path);
        let path = folder.map_or_else(here, |path| Ok(path.into()));
        let path = path.map_err(|reason| ServiceError::Unusable { run: run.0, reason })?;
        let mut words: Vec<&OsStr> = vec!["--by".as_ref(), by.as_ref()];
        for (option, addresses) in [("--done", done), ("--again", again)] {
            words.extend(addresses.iter().flat_map(|address| [option.as_ref(), OsStr::new(address)]));
        }
        let child = self.start(run, &Folder::again(path), &words)?;
        let queue = order.map_or_else(|| DEFAULT_QUEUE.to_owned(), |order| order.queue);
        let started = Started { queue, overlap_key: String::new(), catch_up: false, locks: Vec::new() };
        self.spawned.lock().insert(run, Spawned { child, started });
        Ok(())
    }

    fn start(&self, run: RunId, folder: &Folder, more: &[&OsStr]) -> Result<Child, ServiceError> {
        self.store.spawned(run, &folder.path.to_string_lossy(), folder.commit.as_deref())?;
        let (number, allowance) = (run.to_string(), &self.allowance);
        let (memory, files) = (allowance.memory.to_string(), allowance.files.to_string());
        let lock_wait = allowance.lock_wait.to_string();
        let words: [&OsStr; 12] = [
            "--project".as_ref(),
            folder.path.as_os_str(),
            "--state".as_ref(),
            self.store.dir().as_os_str(),
            "execute".as_ref(),
            number.as_ref(),
            "--memory".as_ref(),
            memory.as_ref(),
            "--files".as_ref(),
            files.as_ref(),
            "--lock-wait".as_ref(),
            lock_wait.as_ref(),
        ];
        Ok(process::start_self(words.into_iter().chain(more.iter().copied()))?)
    }

    /// Returns the locks that a run holds from start to end.
    fn locks(&self, folder: &Path, order: &Order, known: &mut Headers) -> Vec<String> {
        if order.mode == Mode::Plan {
            return Vec::new();
        }
        let of_folder = match known.get_mut(folder) {
            Some(of_folder) => of_folder,
            None => known.entry(folder.to_owned()).or_default(),
        };
        let header = match of_folder.get(&order.runbook) {
            Some(header) => header.clone(),
            None => {
                let header = self.header(folder, &order.runbook);
                of_folder.entry(order.runbook.clone()).or_insert(header).clone()
            }
        };
        let of_runbook = header.iter().flat_map(|header| &header.limits.locks);
        let mut names: Vec<String> = order.locks.iter().chain(of_runbook).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// Reads the header of a runbook; one that cannot be read is the run's own trouble.
    fn header(&self, folder: &Path, runbook: &str) -> Option<Arc<Header>> {
        let project = Project::find(folder).ok()?;
        let entry = project.runbook(runbook, folder).ok()?;
        let path = project.root().join(&entry);
        let changed = std::fs::metadata(&path).and_then(|file| file.modified()).ok()?;
        if let Some((at, header)) = self.headers.lock().get(&path)
            && *at == changed
        {
            return Some(header.clone());
        }
        let text = std::fs::read_to_string(&path).ok()?;
        let ast = language::compile(&language::parser(), &entry, &text, &rhai::Scope::new()).ok()?;
        let header = Arc::new(header::read(&ast, &entry, &text).0);
        self.headers.lock().insert(path, (changed, header.clone()));
        Some(header)
    }

    /// Takes note of processes that have ended, and goes on with runs that were not at their end.
    fn look_after(&self) -> Result<(), ServiceError> {
        let mut ended = Vec::new();
        self.spawned.lock().retain(|run, spawned| match spawned.child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                ended.push((*run, status.to_string()));
                false
            }
            Err(error) => {
                ended.push((*run, error.to_string()));
                false
            }
        });
        for (run, how) in ended {
            if self.reader.lock().run(run)?.summary.status == Status::Queued
                && self.reader.lock().attempts(run)? >= ATTEMPTS
            {
                let reason =
                    format!("its process ended {ATTEMPTS} times before it began; the last time: {how}");
                give_up(&self.store, run, &reason)?;
            }
        }
        // Also what another server has started, or nobody knows about.
        sweep(&self.store)?;
        let interrupted = self.reader.lock().queued(&[Status::Interrupted])?;
        for one in interrupted {
            self.go_on(&one)?;
        }
        Ok(())
    }

    /// Goes on with a run whose process is gone, or ends it with the reason.
    fn go_on(&self, one: &InQueue) -> Result<(), ServiceError> {
        if self.spawned.lock().contains_key(&one.run) || self.store.is_held(one.run) {
            return Ok(());
        }
        let attempts = self.reader.lock().attempts(one.run)?;
        let reason = match one.order.mode {
            Mode::Plan => "its process is gone, and a plan does not go on: make a new one".to_owned(),
            Mode::Apply if attempts >= ATTEMPTS => format!("its process was lost {ATTEMPTS} times"),
            Mode::Apply => {
                let folder = self.reader.lock().folder(one.run)?;
                let path = folder.map_or_else(
                    || self.folders.folder(None).map(|folder| folder.path),
                    |path| Ok(path.into()),
                );
                match path {
                    Ok(path) => {
                        let child = self.start(one.run, &Folder::again(path), &[])?;
                        self.spawned.lock().insert(
                            one.run,
                            Spawned { child, started: self.started(one, &mut Headers::new()) },
                        );
                        return Ok(());
                    }
                    Err(reason) => reason,
                }
            }
        };
        let claim = match self.store.claim(one.run) {
            Ok(claim) => claim,
            Err(StoreError::Held { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let error = Some(Box::new(Diagnostic::error("lost", reason)));
        let ending = Ending { status: Status::Failed, error, ..Ending::nothing() };
        self.store.log(claim, None).append_durable_blocking(ended(&ending))?;
        Ok(())
    }
}
