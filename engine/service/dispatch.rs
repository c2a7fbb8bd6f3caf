//! Takes runs out of their queues, each in its turn, and starts a process for it.
//!
//! The queue is a view of the run log: what waits, what runs and what is over stands there, so that a server that starts
//! again knows as much as the one before. In memory is only which processes this one has started.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::diagnostic::Diagnostic;
use crate::model::order::{DEFAULT_QUEUE, Order};
use crate::model::run::{Mode, RunId, Status};
use crate::model::runbook::Header;
use crate::runner::executor::Ending;
use crate::runner::{header, language};
use crate::service::execute::give_up;
use crate::service::live::ended;
use crate::service::{Project, ServiceError, sweep};
use crate::store::{Reader, Store, StoreError, Waiting};
use crate::world::{clock, process};

/// How many runs of one queue run at once, when nothing else is said.
pub const SLOTS: usize = 10;
/// How often a process is started for a run, should it end before it has begun or be killed, before the run is given up.
const ATTEMPTS: u32 = 3;

/// A folder of the project as a run is to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// The commit that it holds exactly; none for a folder that people work in.
    pub commit: Option<String>,
}

/// Where the project's commits are.
pub trait Folders: Send + Sync {
    /// Returns the folder of a branch, tag or commit as it is now, or the reason why there is none.
    fn folder(&self, revision: Option<&str>) -> Result<Folder, String>;
}

/// The folder that the server was started in: no commits, what is there runs.
pub struct Here(pub PathBuf);

impl Folders for Here {
    fn folder(&self, revision: Option<&str>) -> Result<Folder, String> {
        match revision {
            None => Ok(Folder { path: self.0.clone(), commit: None }),
            Some(revision) => Err(format!(
                "`{revision}` cannot be run: the server runs a plain folder; with `server.project` it follows a repository"
            )),
        }
    }
}

/// What a server allows its runs.
#[derive(Debug, Clone)]
pub struct Allowance {
    /// How many runs of a queue run at once, by its name; [`SLOTS`] for others.
    pub slots: BTreeMap<String, usize>,
    /// The most memory of one run, in MiB.
    pub memory: u64,
    /// The most open files of one run.
    pub files: u64,
    /// How long a run waits for locks, in seconds.
    pub lock_wait: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        let lock_wait = crate::service::LOCK_WAIT.as_secs();
        Self { slots: BTreeMap::new(), memory: 4096, files: 4096, lock_wait }
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
}

struct Spawned {
    child: Child,
    queue: String,
    who: String,
}

/// Why a run that waits is not started yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holdup {
    /// As many runs of its queue run as may.
    Slots {
        /// How many.
        slots: usize,
    },
    /// Another run holds a lock that it needs.
    Lock {
        /// The lock.
        name: String,
        /// What its holder says of itself.
        holder: String,
    },
}

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
        })
    }

    /// Looks after every process that has ended, then starts every run whose turn it is.
    pub fn round(&self) -> Result<Round, ServiceError> {
        self.look_after()?;
        let mut round = Round::default();
        let (waiting, running) = {
            let reader = self.reader.lock();
            (reader.queued(&[Status::Queued])?, reader.queued(&[Status::Running])?)
        };
        let mut used = Used::default();
        let mut spawned = self.spawned.lock();
        for run in &running {
            used.count(&run.order.queue, run.order.trigger.who());
        }
        let is_running = |run: &RunId| running.iter().any(|other| other.run == *run);
        for (_, spawned) in spawned.iter().filter(|(run, _)| !is_running(run)) {
            used.count(&spawned.queue, &spawned.who);
        }
        let mut waiting: Vec<Waiting> =
            waiting.into_iter().filter(|one| !spawned.contains_key(&one.run)).collect();
        while let Some(index) = next(&waiting, &used) {
            let one = waiting.remove(index);
            let (run, order) = (one.run, &one.order);
            if order.deadline.is_some_and(|deadline| deadline < clock::now().as_microsecond()) {
                give_up(&self.store, run, "it was not started before its deadline")?;
                round.given_up.push(run);
                continue;
            }
            let slots = self.slots(&order.queue);
            if used.of(&order.queue) >= slots {
                round.held_up.push((run, Holdup::Slots { slots }));
                continue;
            }
            let folder = match self.folders.folder(order.revision.as_deref()) {
                Ok(folder) => folder,
                Err(reason) => {
                    give_up(&self.store, run, &reason)?;
                    round.given_up.push(run);
                    continue;
                }
            };
            if let Some((name, holder)) = self.lock_in_the_way(&folder.path, order) {
                round.held_up.push((run, Holdup::Lock { name, holder }));
                continue;
            }
            used.count(&order.queue, order.trigger.who());
            let child = self.start(run, &folder, &[])?;
            let (queue, who) = (order.queue.clone(), order.trigger.who().to_owned());
            spawned.insert(run, Spawned { child, queue, who });
            round.started.push(run);
        }
        Ok(round)
    }

    /// Returns how many runs of a queue may run at once.
    pub fn slots(&self, queue: &str) -> usize {
        self.allowance.slots.get(queue).copied().unwrap_or(SLOTS)
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
        let child = self.start(run, &Folder { path, commit: None }, &words)?;
        let queue = order.map_or_else(|| DEFAULT_QUEUE.to_owned(), |order| order.queue);
        self.spawned.lock().insert(run, Spawned { child, queue, who: by.to_owned() });
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

    /// Returns the first lock that a run needs and another one holds.
    fn lock_in_the_way(&self, folder: &Path, order: &Order) -> Option<(String, String)> {
        if order.mode == Mode::Plan {
            return None;
        }
        let header = self.header(folder, &order.runbook);
        let of_runbook = header.iter().flat_map(|header| &header.limits.locks);
        let mut names: Vec<&String> = order.locks.iter().chain(of_runbook).collect();
        names.sort();
        names.into_iter().find_map(|name| Some((name.clone(), self.store.lock_holder(name)?)))
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
    fn go_on(&self, one: &Waiting) -> Result<(), ServiceError> {
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
                        let child = self.start(one.run, &Folder { path, commit: None }, &[])?;
                        let (queue, who) = (one.order.queue.clone(), one.order.trigger.who().to_owned());
                        self.spawned.lock().insert(one.run, Spawned { child, queue, who });
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

/// How many runs run, by queue and by who asked for them.
#[derive(Default)]
struct Used {
    queues: HashMap<String, usize>,
    people: HashMap<(String, String), usize>,
}

impl Used {
    fn count(&mut self, queue: &str, who: &str) {
        *self.queues.entry(queue.to_owned()).or_default() += 1;
        *self.people.entry((queue.to_owned(), who.to_owned())).or_default() += 1;
    }

    fn of(&self, queue: &str) -> usize {
        self.queues.get(queue).copied().unwrap_or(0)
    }

    fn by(&self, queue: &str, who: &str) -> usize {
        self.people.get(&(queue.to_owned(), who.to_owned())).copied().unwrap_or(0)
    }
}

/// Chooses whose turn it is: the highest priority, then whoever has least running, then who came first.
fn next(waiting: &[Waiting], used: &Used) -> Option<usize> {
    let turn = |one: &Waiting| {
        let Order { priority, queue, trigger, .. } = &one.order;
        (std::cmp::Reverse(*priority), used.by(queue, trigger.who()), one.run)
    };
    (0..waiting.len()).min_by_key(|index| turn(&waiting[*index]))
}
