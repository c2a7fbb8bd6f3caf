//! Appends events: numbers, chains, folds and commits them in batches.
//!
//! Whoever waits for the disk commits, on its own thread, all that is queued: the others who wait at that moment are
//! done as well, and an act after an act wakes nobody. Who comes while somebody commits sleeps until its event is on
//! disk or it is its turn. A thread of the log's own commits what nobody waits for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedSender};
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::model::event::Event;
use crate::model::run::{RunId, Seq, Status, Summary};
use crate::store::codec::Packed;
use crate::store::log::{Passing, Record};
use crate::store::{StoreError, sqlite};

/// How many appends may wait: enough to fill a batch while one is being committed.
const QUEUE: usize = 4096;
/// The largest batch; it bounds how long a durable append can wait behind others.
const BATCH: usize = 1024;

/// How often the thread looks for events that nobody waits for. It leaves them alone for one look, so that they may have
/// company: a commit costs much more than an event in it.
const LOOK: Duration = Duration::from_millis(20);
/// Looks at an empty queue after which the thread sleeps: waking it costs more than some looks.
const LOOKS: u32 = 10;
/// A write-ahead log that costs more to read at the next start than to copy at the end, in bytes.
const LONG: u64 = 512 << 10;
/// How long it sleeps at most, should an event be left behind by somebody who meant to commit it.
const SLEEP: Duration = Duration::from_secs(1);

/// One event on its way to the log.
pub(super) struct Append {
    pub(super) run: RunId,
    /// Microseconds since 1970, UTC.
    pub(super) at: i64,
    pub(super) event: Event,
    pub(super) body: String,
    pub(super) chunk: Option<Chunk>,
    /// Answered when the event is on disk.
    pub(super) durable: Option<oneshot::Sender<Result<Seq, StoreError>>>,
    /// Set when an append of this run failed; everything after it would leave a hole.
    pub(super) poisoned: Arc<Poison>,
    pub(super) observer: Option<UnboundedSender<Record>>,
    /// Memory that the event holds of the run's output budget, given back when it is committed.
    pub(super) budget: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Bytes that belong to an event.
pub(super) struct Chunk {
    pub(super) address: String,
    pub(super) stream: String,
    pub(super) packed: Packed,
}

/// Remembers that a run's log has a hole.
#[derive(Debug, Default)]
pub(super) struct Poison {
    set: AtomicBool,
    reason: Mutex<String>,
}

impl Poison {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.set.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned(self.reason.lock().clone()));
        }
        Ok(())
    }

    /// Forgets the failure, for the last event that says that the run was interrupted.
    pub(super) fn clear(&self) {
        self.set.store(false, Ordering::Release);
    }

    fn set(&self, reason: &str) {
        let mut text = self.reason.lock();
        if text.is_empty() {
            reason.clone_into(&mut text);
        }
        self.set.store(true, Ordering::Release);
    }
}

/// A way to the log.
#[derive(Clone)]
pub(super) struct Inlet {
    sender: Sender<Append>,
    committer: Arc<Committer>,
    thread: Thread,
}

/// The right to commit, and whether the thread that commits what is left over has to be woken.
struct Committer {
    turn: Mutex<Turn>,
    /// Wakes one of those whose events came too late for the batch that was being committed.
    next: Notify,
    is_asleep: AtomicBool,
    /// Whether somebody waits for room.
    is_hurried: AtomicBool,
}

impl Inlet {
    /// Queues an event that nobody waits for.
    pub(super) async fn send(&self, append: Append) -> Result<(), StoreError> {
        self.sender.send(append).await.map_err(|_| gone())?;
        self.wake();
        Ok(())
    }

    /// Does what [`Inlet::send`] does, from a thread that is not asynchronous.
    pub(super) fn blocking_send(&self, append: Append) -> Result<(), StoreError> {
        self.sender.blocking_send(append).map_err(|_| gone())?;
        self.wake();
        Ok(())
    }

    /// Queues an event and returns its number when it is on disk.
    ///
    /// It may block the thread for as long as a commit takes: for threads of script, not for the world's.
    pub(super) async fn send_durable(&self, mut append: Append) -> Result<Seq, StoreError> {
        let (sender, receiver) = oneshot::channel();
        append.durable = Some(sender);
        self.sender.send(append).await.map_err(|_| gone())?;
        // What else is ready on this thread, such as the other hosts of an array, goes into the same commit.
        tokio::task::yield_now().await;
        self.settle(receiver).await
    }

    /// Does what [`Inlet::send_durable`] does, from a thread that is not asynchronous.
    pub(super) fn blocking_send_durable(&self, mut append: Append) -> Result<Seq, StoreError> {
        let (sender, mut receiver) = oneshot::channel();
        append.durable = Some(sender);
        self.sender.blocking_send(append).map_err(|_| gone())?;
        loop {
            let mut turn = self.committer.turn.lock();
            if let Some(result) = told(&mut receiver) {
                drop(turn);
                self.pass_on();
                return result;
            }
            turn.commit();
        }
    }

    /// Has what is queued committed at once: somebody waits for room, or soon will.
    pub(super) fn hurry(&self) {
        if !self.committer.is_hurried.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    /// Commits until the event is on disk, unless somebody else does.
    async fn settle(&self, mut receiver: Told) -> Result<Seq, StoreError> {
        loop {
            if let Some(mut turn) = self.committer.turn.try_lock() {
                let result = told(&mut receiver).or_else(|| {
                    turn.commit();
                    told(&mut receiver)
                });
                drop(turn);
                self.pass_on();
                if let Some(result) = result {
                    return result;
                }
            } else {
                // Waiting for the lock itself would take a core for a while, and wake all who wait one after the other.
                tokio::select! {
                    biased;
                    result = &mut receiver => return result.unwrap_or_else(|_| Err(gone())),
                    () = self.committer.next.notified() => {}
                }
            }
        }
    }

    /// Gives the turn to somebody who waits for it, after it was returned.
    fn pass_on(&self) {
        if self.sender.capacity() < QUEUE {
            self.committer.next.notify_one();
        }
    }

    fn wake(&self) {
        if self.sender.capacity() <= QUEUE - BATCH {
            self.hurry();
            return;
        }
        let is_asleep = &self.committer.is_asleep;
        if is_asleep.load(Ordering::SeqCst) && is_asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

type Told = oneshot::Receiver<Result<Seq, StoreError>>;

/// Returns what an append has come to, if it has.
fn told(receiver: &mut Told) -> Option<Result<Seq, StoreError>> {
    match receiver.try_recv() {
        Ok(result) => Some(result),
        Err(TryRecvError::Closed) => Some(Err(gone())),
        Err(TryRecvError::Empty) => None,
    }
}

pub(super) fn gone() -> StoreError {
    StoreError::Poisoned("its writer has stopped".to_owned())
}

/// Owns the thread that commits what nobody waits for; it ends when this is dropped, after the last event.
pub(super) struct Writer {
    sender: Option<Sender<Append>>,
    committer: Arc<Committer>,
    is_closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, file: PathBuf) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let path = file.clone();
        let appender = Appender { connection, file, runs: HashMap::new(), full_sync: None };
        let crash = Crash::wanted();
        let turn = Turn { receiver, appender, crash, batch: Vec::new(), commits: 0 };
        let committer = Arc::new(Committer {
            turn: Mutex::new(turn),
            next: Notify::new(),
            is_asleep: AtomicBool::new(false),
            is_hurried: AtomicBool::new(false),
        });
        let is_closing = Arc::new(AtomicBool::new(false));
        let (commits, closes) = (committer.clone(), is_closing.clone());
        let thread = std::thread::Builder::new()
            .name("run log".to_owned())
            .spawn(move || commits.serve(&closes))
            .map_err(|source| StoreError::File { path, source })?;
        Ok(Self { sender: Some(sender), committer, is_closing, thread: Some(thread) })
    }

    pub(super) fn inlet(&self) -> Inlet {
        let sender = self.sender.clone().expect("the sender lives until the writer is dropped");
        let thread =
            self.thread.as_ref().expect("the thread lives until the writer is dropped").thread().clone();
        Inlet { sender, committer: self.committer.clone(), thread }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        self.is_closing.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Committer {
    /// Commits what nobody else has committed, until no inlet is left.
    fn serve(&self, is_closing: &AtomicBool) {
        let (mut idle, mut seen) = (0, 0);
        loop {
            if idle < LOOKS || is_closing.load(Ordering::SeqCst) {
                if !self.is_hurried.load(Ordering::SeqCst) {
                    std::thread::park_timeout(LOOK);
                }
            } else {
                self.is_asleep.store(true, Ordering::SeqCst);
                // An event that came before that was said is found here, a later one wakes this thread.
                if self.turn.lock().receiver.is_empty() {
                    std::thread::park_timeout(SLEEP);
                }
                self.is_asleep.store(false, Ordering::SeqCst);
                idle = 0;
                continue;
            }
            let must_commit = self.is_hurried.load(Ordering::SeqCst) || is_closing.load(Ordering::SeqCst);
            let Some(mut turn) = self.turn.try_lock().or_else(|| must_commit.then(|| self.turn.lock()))
            else {
                // Somebody else commits just now.
                idle = 0;
                continue;
            };
            idle = if turn.receiver.is_empty() { idle + 1 } else { 0 };
            let is_urgent = self.is_hurried.swap(false, Ordering::SeqCst);
            // Whoever has committed since the last look will come again.
            if turn.commits == seen || is_urgent || must_commit {
                while turn.commit() {}
            }
            seen = turn.commits;
            if turn.receiver.is_closed() && turn.receiver.is_empty() {
                turn.appender.tidy();
                return;
            }
            drop(turn);
            self.next.notify_one();
        }
    }
}

/// A crash that a test asked for: `NLRUN_TEST_KILL_AFTER=N` kills the process right after event N, or the first one
/// after it, is on disk. Release builds know nothing of it.
struct Crash(Option<i64>);

impl Crash {
    #[cfg(debug_assertions)]
    #[expect(clippy::disallowed_methods, reason = "a switch for tests that must not reach any interface")]
    fn wanted() -> Self {
        Self(std::env::var("NLRUN_TEST_KILL_AFTER").ok().and_then(|number| number.parse().ok()))
    }

    #[cfg(not(debug_assertions))]
    fn wanted() -> Self {
        Self(None)
    }

    fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    fn after(&self, seqs: &[Seq]) {
        if let Some(number) = self.0
            && seqs.iter().any(|seq| seq.0 >= number)
        {
            use rustix::process::{Signal, getpid, kill_process};
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

/// What is queued, and the way to the disk; only whoever has the turn commits.
struct Turn {
    receiver: Receiver<Append>,
    appender: Appender,
    crash: Crash,
    batch: Vec<Append>,
    /// How many batches were committed.
    commits: u64,
}

impl Turn {
    /// Commits one batch of what is queued, and tells those who wait and those who watch; `false` if there was nothing.
    fn commit(&mut self) -> bool {
        // One event a batch, so that a wanted crash hits exactly its event.
        let largest = if self.crash.is_wanted() { 1 } else { BATCH };
        let batch = &mut self.batch;
        while batch.len() < largest
            && let Ok(append) = self.receiver.try_recv()
        {
            batch.push(append);
        }
        if batch.is_empty() {
            return false;
        }
        self.commits += 1;
        match self.appender.commit(batch) {
            Ok(seqs) => {
                self.crash.after(&seqs);
                for (append, seq) in batch.drain(..).zip(seqs) {
                    append.done(seq);
                }
            }
            Err(error) => {
                // The tips in memory may be ahead of the file now.
                self.appender.runs.clear();
                for append in batch.drain(..) {
                    append.failed(&error);
                }
            }
        }
        true
    }
}

impl Append {
    fn done(self, seq: Seq) {
        if let Some(durable) = self.durable {
            let _ = durable.send(Ok(seq));
        }
        if let Some(observer) = self.observer {
            let Self { run, at, event, body, chunk, budget, .. } = self;
            let passing = chunk.map(|chunk| Arc::new(Passing { packed: chunk.packed, _budget: budget }));
            let _ = observer.send(Record { run, seq, at, event, body, passing });
        }
    }

    fn failed(self, error: &StoreError) {
        let reason = error.to_string();
        self.poisoned.set(&reason);
        if let Some(durable) = self.durable {
            let error = if error.is_full() { StoreError::Full } else { StoreError::Poisoned(reason) };
            let _ = durable.send(Err(error));
        }
    }
}

/// Where a run's chain ends.
#[derive(Clone)]
struct Tip {
    seq: i64,
    hash: [u8; 32],
    summary: Summary,
    ended_at: Option<i64>,
    /// The status that its row has: what has an index is written only when it is another one.
    saved: Status,
}

struct Appender {
    connection: Connection,
    file: PathBuf,
    runs: HashMap<RunId, Tip>,
    full_sync: Option<bool>,
}

impl Appender {
    /// Copies a long write-ahead log into the database: every process that opens it reads all of it first.
    fn tidy(&self) {
        let mut wal = self.file.clone().into_os_string();
        wal.push("-wal");
        if std::fs::metadata(wal).is_ok_and(|log| log.len() > LONG) {
            // Another process that reads or writes just now will do it.
            let _ = self.connection.busy_timeout(Duration::ZERO);
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    fn commit(&mut self, batch: &[Append]) -> Result<Vec<Seq>, StoreError> {
        let fail = sqlite(&self.file);
        let durable = batch.iter().any(|append| append.durable.is_some());
        if self.full_sync != Some(durable) {
            let mode = if durable { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", mode).map_err(&fail)?;
            self.full_sync = Some(durable);
        }
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
        let mut touched: Vec<RunId> = Vec::new();
        let mut seqs = Vec::with_capacity(batch.len());
        for append in batch {
            if let std::collections::hash_map::Entry::Vacant(slot) = self.runs.entry(append.run) {
                slot.insert(
                    load_tip(&transaction, append.run)
                        .map_err(&fail)?
                        .ok_or(StoreError::NoRun(append.run))?,
                );
            }
            let tip = self.runs.get_mut(&append.run).expect("loaded just above");
            seqs.push(insert(&transaction, tip, append).map_err(&fail)?);
            if !touched.contains(&append.run) {
                touched.push(append.run);
            }
        }
        for run in &touched {
            save_tip(&transaction, *run, self.runs.get_mut(run).expect("it was touched")).map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)?;
        // An ended run gets no more events; a resumed one is loaded again.
        self.runs.retain(|_, tip| tip.ended_at.is_none());
        Ok(seqs)
    }
}

fn insert(transaction: &Transaction<'_>, tip: &mut Tip, append: &Append) -> rusqlite::Result<Seq> {
    let seq = tip.seq + 1;
    let id = event_id(append.run, seq);
    let hash = chain(&tip.hash, id, append.at, &append.body);
    transaction
        .prepare_cached("INSERT INTO events (id, at, body, hash) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, append.at, append.body, hash])?;
    if let Some(Chunk { address, stream, packed }) = &append.chunk {
        transaction
            .prepare_cached(
                "INSERT INTO chunks (id, address, stream, codec, length, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![id, address, stream, packed.codec, packed.length as i64, packed.data])?;
    }
    tip.summary.apply(Seq(seq), &append.event);
    match &append.event {
        Event::BranchEnded { host, .. } => {
            let verdict = tip.summary.hosts[host].as_str();
            transaction
                .prepare_cached("INSERT OR REPLACE INTO run_hosts (run, host, verdict) VALUES (?1, ?2, ?3)")?
                .execute(params![append.run.0, host, verdict])?;
        }
        Event::Ended { .. } | Event::Interrupted { .. } => tip.ended_at = Some(append.at),
        Event::Resumed { .. } => tip.ended_at = None,
        // What waited in a queue begins now.
        Event::Started(_) => {
            transaction
                .prepare_cached("UPDATE runs SET started_at = ?2, runbook = ?3 WHERE id = ?1")?
                .execute(params![append.run.0, append.at, tip.summary.runbook])?;
        }
        _ => {}
    }
    tip.seq = seq;
    tip.hash = hash;
    Ok(Seq(seq))
}

fn load_tip(transaction: &Transaction<'_>, run: RunId) -> rusqlite::Result<Option<Tip>> {
    use rusqlite::OptionalExtension as _;
    transaction
        .query_row("SELECT last_seq, last_hash, summary, ended_at FROM runs WHERE id = ?1", [run.0], |row| {
            let text: String = row.get(2)?;
            let summary: Summary = serde_json::from_str(&text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error))
            })?;
            let saved = summary.status;
            Ok(Tip { seq: row.get(0)?, hash: row.get(1)?, summary, ended_at: row.get(3)?, saved })
        })
        .optional()
}

fn save_tip(transaction: &Transaction<'_>, run: RunId, tip: &mut Tip) -> rusqlite::Result<()> {
    let summary = serde_json::to_string(&tip.summary).expect("a summary is plain data");
    transaction
        .prepare_cached(
            "UPDATE runs SET last_seq = ?2, last_hash = ?3, summary = ?4, ended_at = ?5 WHERE id = ?1",
        )?
        .execute(params![run.0, tip.seq, tip.hash, summary, tip.ended_at])?;
    if tip.summary.status != tip.saved {
        transaction
            .prepare_cached("UPDATE runs SET status = ?2 WHERE id = ?1")?
            .execute(params![run.0, tip.summary.status.as_str()])?;
        tip.saved = tip.summary.status;
    }
    Ok(())
}

/// Returns the id of an event's row: runs are neighbours, events of a run in order.
pub(super) fn event_id(run: RunId, seq: i64) -> i64 {
    (run.0 << 32) | seq
}

/// Returns the link of the chain for one event.
pub(super) fn chain(previous: &[u8; 32], id: i64, at: i64, body: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(id.to_le_bytes());
    hasher.update(at.to_le_bytes());
    hasher.update(body.as_bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests;
