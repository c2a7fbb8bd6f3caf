//! The one thread of a process that appends events: it numbers, chains, folds and commits them in batches.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::model::event::Event;
use crate::model::run::{RunId, Seq, Summary};
use crate::store::codec::Packed;
use crate::store::log::{Passing, Record};
use crate::store::{StoreError, sqlite};

/// How many appends may wait: enough to fill a batch while one is being committed.
const QUEUE: usize = 4096;
/// The largest batch; it bounds how long a durable append can wait behind others.
const BATCH: usize = 1024;

/// How long events that nobody waits for may wait for company: a commit costs much more than an event in it.
const LINGER: Duration = Duration::from_millis(10);

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
    pub(super) observer: Option<mpsc::UnboundedSender<Record>>,
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

/// A way to the writer thread.
#[derive(Clone)]
pub(super) struct Inlet {
    sender: mpsc::Sender<Append>,
    thread: Thread,
}

impl Inlet {
    pub(super) async fn send(&self, append: Append) -> Result<(), StoreError> {
        let is_durable = append.durable.is_some();
        self.sender.send(append).await.map_err(|_| gone())?;
        self.hurry(is_durable);
        Ok(())
    }

    pub(super) fn blocking_send(&self, append: Append) -> Result<(), StoreError> {
        let is_durable = append.durable.is_some();
        self.sender.blocking_send(append).map_err(|_| gone())?;
        self.hurry(is_durable);
        Ok(())
    }

    /// Ends the wait for company when somebody waits for the disk.
    fn hurry(&self, is_durable: bool) {
        if is_durable {
            self.thread.unpark();
        }
    }
}

pub(super) fn gone() -> StoreError {
    StoreError::Poisoned("its writer has stopped".to_owned())
}

/// Handle to the writer thread; the thread ends when it is dropped, after the last append is committed.
pub(super) struct Writer {
    sender: Option<mpsc::Sender<Append>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, file: PathBuf) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let path = file.clone();
        let thread = std::thread::Builder::new()
            .name("run log".to_owned())
            .spawn(move || {
                Appender { connection, file, runs: HashMap::new(), full_sync: None }.serve(receiver);
            })
            .map_err(|source| StoreError::File { path, source })?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    pub(super) fn inlet(&self) -> Inlet {
        let sender = self.sender.clone().expect("the sender lives until the writer is dropped");
        let thread =
            self.thread.as_ref().expect("the thread lives until the writer is dropped").thread().clone();
        Inlet { sender, thread }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
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

/// Where a run's chain ends.
#[derive(Clone)]
struct Tip {
    seq: i64,
    hash: [u8; 32],
    summary: Summary,
    ended_at: Option<i64>,
}

struct Appender {
    connection: Connection,
    file: PathBuf,
    runs: HashMap<RunId, Tip>,
    full_sync: Option<bool>,
}

impl Appender {
    fn serve(mut self, mut receiver: mpsc::Receiver<Append>) {
        let mut batch = Vec::with_capacity(BATCH);
        let crash = Crash::wanted();
        // One event a batch, so that a wanted crash hits exactly its event.
        let largest = if crash.is_wanted() { 1 } else { BATCH };
        while receiver.blocking_recv_many(&mut batch, largest) > 0 {
            let is_awaited = |batch: &[Append]| batch.iter().any(|append| append.durable.is_some());
            if !is_awaited(&batch) && batch.len() < largest {
                std::thread::park_timeout(LINGER);
                while batch.len() < largest
                    && let Ok(append) = receiver.try_recv()
                {
                    batch.push(append);
                }
            }
            match self.commit(&batch) {
                Ok(seqs) => {
                    crash.after(&seqs);
                    for (append, seq) in batch.drain(..).zip(seqs) {
                        if let Some(durable) = append.durable {
                            let _ = durable.send(Ok(seq));
                        }
                        if let Some(observer) = append.observer {
                            let Append { run, at, event, body, chunk, budget, .. } = append;
                            let passing =
                                chunk.map(|chunk| Passing { packed: chunk.packed, _budget: budget });
                            let passing = passing.map(Arc::new);
                            let _ = observer.send(Record { run, seq, at, event, body, passing });
                        }
                    }
                }
                Err(error) => {
                    // The tips in memory may be ahead of the file now.
                    self.runs.clear();
                    let reason = error.to_string();
                    for append in batch.drain(..) {
                        append.poisoned.set(&reason);
                        if let Some(durable) = append.durable {
                            let error = if error.is_full() {
                                StoreError::Full
                            } else {
                                StoreError::Poisoned(reason.clone())
                            };
                            let _ = durable.send(Err(error));
                        }
                    }
                }
            }
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
            save_tip(&transaction, *run, &self.runs[run]).map_err(&fail)?;
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
            let summary = serde_json::from_str(&text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error))
            })?;
            Ok(Tip { seq: row.get(0)?, hash: row.get(1)?, summary, ended_at: row.get(3)? })
        })
        .optional()
}

fn save_tip(transaction: &Transaction<'_>, run: RunId, tip: &Tip) -> rusqlite::Result<()> {
    let summary = serde_json::to_string(&tip.summary).expect("a summary is plain data");
    transaction
        .prepare_cached(
            "UPDATE runs SET status = ?2, last_seq = ?3, last_hash = ?4, summary = ?5, ended_at = ?6 WHERE id = ?1",
        )?
        .execute(params![run.0, tip.summary.status.as_str(), tip.seq, tip.hash, summary, tip.ended_at])?;
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
