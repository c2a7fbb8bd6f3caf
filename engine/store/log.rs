//! A run's end of the log: make a run, append to it, keep bytes.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tokio::sync::{Semaphore, mpsc};

use crate::model::address::Address;
use crate::model::event::{ChunkRef, Event, Start};
use crate::model::run::{RunId, Seq, Summary};
use crate::store::codec::{Packed, pack, sha256, unpack};
use crate::store::writer::{Append, Chunk, Inlet, Poison, chain, event_id, gone};
use crate::store::{Claim, Store, StoreError, sqlite};
use crate::world::clock;

/// Bytes of output that may wait for the disk; the rest waits at the host, through SSH's window.
const OUTPUT_BUDGET: usize = 1 << 20;

/// Bytes on their way to an observer; they count against the run's output budget until it has shown them.
#[derive(Debug)]
pub struct Passing {
    pub(super) packed: Packed,
    pub(super) _budget: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Passing {
    /// Takes bytes that come from elsewhere: a server has sent them.
    pub fn new(bytes: &[u8]) -> Self {
        Self { packed: Packed { codec: 0, length: bytes.len(), data: bytes.to_vec() }, _budget: None }
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> Vec<u8> {
        unpack(self.packed.codec, self.packed.length, &self.packed.data)
            .map(Cow::into_owned)
            .unwrap_or_default()
    }
}

/// One event as it was committed.
#[derive(Debug, Clone)]
pub struct Record {
    /// The run.
    pub run: RunId,
    /// The event's number.
    pub seq: Seq,
    /// Microseconds since 1970, UTC.
    pub at: i64,
    /// The event.
    pub event: Event,
    /// The event as JSON, as it is stored.
    pub body: String,
    /// The bytes that belong to the event, when it comes from the writer and not from the database.
    pub passing: Option<Arc<Passing>>,
}

/// What a new run pins.
pub struct NewRun<'a> {
    /// Its first event.
    pub start: Start,
    /// Scripts and the inventory snapshot, to be kept by hash.
    pub texts: Vec<&'a str>,
    /// The digest of the plan that it uses up.
    pub plan: Option<&'a str>,
}

/// Appends to one run.
#[derive(Clone)]
pub struct RunLog {
    run: RunId,
    inlet: Inlet,
    poisoned: Arc<Poison>,
    budget: Arc<Semaphore>,
    observer: Option<mpsc::UnboundedSender<Record>>,
    // Held until the last clone is gone: while a process appends, no other may.
    _claim: Arc<Claim>,
}

impl Store {
    /// Makes a run with its first event and takes the right to append to it, all or nothing.
    pub fn create(&self, new: &NewRun<'_>) -> Result<(Claim, Record), StoreError> {
        self.side(|connection| self.create_with(connection, new))
    }

    fn create_with(
        &self,
        connection: &mut Connection,
        new: &NewRun<'_>,
    ) -> Result<(Claim, Record), StoreError> {
        let fail = sqlite(self.file());
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
        let at = clock::now().as_microsecond();
        let event = Event::Started(Box::new(new.start.clone()));
        let (run, body) = insert_run(&transaction, at, &event).map_err(&fail)?;
        use_plan(&transaction, self.file(), run, new.plan)?;
        keep_texts(&transaction, run, &new.texts).map_err(&fail)?;
        // Before the commit makes the run visible, so that nobody can take it in between.
        let claim = self.claim(run)?;
        transaction.commit().map_err(&fail)?;
        Ok((claim, Record { run, seq: Seq(1), at, event, body, passing: None }))
    }

    /// Returns the run's end of the log. Committed events are also sent to the observer.
    pub fn log(&self, claim: Claim, observer: Option<mpsc::UnboundedSender<Record>>) -> RunLog {
        RunLog {
            run: claim.run(),
            inlet: self.writer().inlet(),
            poisoned: Arc::default(),
            budget: Arc::new(Semaphore::new(OUTPUT_BUDGET)),
            observer,
            _claim: Arc::new(claim),
        }
    }

    /// Asks the process that holds the run to end it: with clean-up, or now.
    pub fn ask_cancel(&self, run: RunId, who: &str, now: bool) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "INSERT INTO asks (run, at, who, now) SELECT id, ?2, ?3, ?4 FROM runs WHERE id = ?1",
                    params![run.0, clock::now().as_microsecond(), who, now],
                )
                .map_err(sqlite(self.file()))
                .and_then(|rows| if rows == 0 { Err(StoreError::NoRun(run)) } else { Ok(()) })
        })
    }
}

/// Makes the row of a run and its first event; returns its number and the event as it is stored.
pub(super) fn insert_run(
    transaction: &Transaction<'_>,
    at: i64,
    event: &Event,
) -> rusqlite::Result<(RunId, String)> {
    let mut summary = Summary::default();
    summary.apply(Seq(1), event);
    let body = serde_json::to_string(event).expect("an event is plain data");
    transaction
        .prepare_cached(
            "INSERT INTO runs (runbook, status, mode, started_at, last_seq, last_hash, summary)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6)",
        )?
        .execute(params![
            summary.runbook,
            summary.status.as_str(),
            summary.mode.as_str(),
            at,
            [0u8; 32],
            serde_json::to_string(&summary).expect("a summary is plain data"),
        ])?;
    let run = RunId(transaction.last_insert_rowid());
    let id = event_id(run, 1);
    let hash = chain(&[0; 32], id, at, &body);
    transaction
        .prepare_cached("INSERT INTO events (id, at, body, hash) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, at, body, hash])?;
    transaction
        .prepare_cached("UPDATE runs SET last_hash = ?2 WHERE id = ?1")?
        .execute(params![run.0, hash])?;
    Ok((run, body))
}

/// Marks a plan as used by a run, unless another one has used it.
pub(super) fn use_plan(
    transaction: &Transaction<'_>,
    file: &Path,
    run: RunId,
    digest: Option<&str>,
) -> Result<(), StoreError> {
    let Some(digest) = digest else { return Ok(()) };
    let fail = sqlite(file);
    let used: Option<i64> = transaction
        .query_row("SELECT run FROM plans_used WHERE digest = ?1", [digest], |row| row.get(0))
        .optional()
        .map_err(&fail)?;
    match used {
        Some(user) if user == run.0 => Ok(()),
        Some(user) => Err(StoreError::PlanUsed(RunId(user))),
        None => transaction
            .execute(
                "INSERT INTO plans_used (digest, run, at) VALUES (?1, ?2, ?3)",
                params![digest, run.0, clock::now().as_microsecond()],
            )
            .map(drop)
            .map_err(&fail),
    }
}

/// Keeps the texts that a run pins, by hash.
pub(super) fn keep_texts(transaction: &Transaction<'_>, run: RunId, texts: &[&str]) -> rusqlite::Result<()> {
    for text in texts {
        let hash = sha256(text.as_bytes());
        let known: bool =
            transaction.query_row("SELECT EXISTS (SELECT 1 FROM texts WHERE hash = ?1)", [&hash], |row| {
                row.get(0)
            })?;
        if !known {
            let packed = pack(text.as_bytes());
            transaction.execute(
                "INSERT INTO texts (hash, codec, length, data) VALUES (?1, ?2, ?3, ?4)",
                params![hash, packed.codec, packed.length as i64, packed.data],
            )?;
        }
        transaction
            .execute("INSERT OR IGNORE INTO run_texts (run, hash) VALUES (?1, ?2)", params![run.0, hash])?;
    }
    Ok(())
}

impl RunLog {
    /// Returns the run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Appends one event. It is in the log, in order, but not necessarily on disk when this returns.
    pub async fn append(&self, event: Event) -> Result<(), StoreError> {
        let append = self.prepare(event, None)?;
        self.inlet.send(append).await
    }

    /// Appends one event from a thread that is not asynchronous.
    pub fn append_blocking(&self, event: Event) -> Result<(), StoreError> {
        let append = self.prepare(event, None)?;
        self.inlet.blocking_send(append)
    }

    /// Appends one event and returns its number.
    ///
    /// The event and all before it are on disk when this returns: the journal relies on intent outliving a crash.
    pub async fn append_durable(&self, event: Event) -> Result<Seq, StoreError> {
        self.inlet.send_durable(self.prepare(event, None)?).await
    }

    /// Appends one event from a thread that is not asynchronous, and returns its number when it is on disk.
    pub fn append_durable_blocking(&self, event: Event) -> Result<Seq, StoreError> {
        self.inlet.blocking_send_durable(self.prepare(event, None)?)
    }

    /// Appends output of an effect; waits while more than 1 MiB is on its way to the disk.
    pub async fn output(&self, address: &Address, stream: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let event = |chunk| Event::Output { address: address.clone(), stream: stream.to_owned(), chunk };
        let append = self.keep(address.as_str(), stream, bytes, event).await?;
        self.inlet.send(append).await
    }

    /// Keeps a file of the run. It is on disk when this returns.
    pub async fn artifact(&self, name: &str, media: &str, bytes: &[u8]) -> Result<Seq, StoreError> {
        let event = |chunk| Event::Artifact { name: name.to_owned(), media: media.to_owned(), chunk };
        self.inlet.send_durable(self.keep("", name, bytes, event).await?).await
    }

    /// Fails when an earlier append of this run did.
    pub fn check(&self) -> Result<(), StoreError> {
        self.poisoned.check()
    }

    /// Appends the last word of a run whose log has a hole, if there is room for it.
    pub async fn append_last(&self, event: Event) -> Result<Seq, StoreError> {
        self.poisoned.clear();
        self.append_durable(event).await
    }

    async fn keep(
        &self,
        address: &str,
        stream: &str,
        bytes: &[u8],
        event: impl FnOnce(ChunkRef) -> Event,
    ) -> Result<Append, StoreError> {
        let wanted = u32::try_from(bytes.len().clamp(1, OUTPUT_BUDGET)).expect("clamped");
        let permit = match self.budget.clone().try_acquire_many_owned(wanted) {
            Ok(permit) => permit,
            Err(_) => {
                self.inlet.hurry();
                self.budget.clone().acquire_many_owned(wanted).await.map_err(|_| gone())?
            }
        };
        let event = event(ChunkRef { bytes: bytes.len() as u64, sha256: sha256(bytes) });
        let chunk = Chunk { address: address.to_owned(), stream: stream.to_owned(), packed: pack(bytes) };
        let mut append = self.prepare(event, Some(chunk))?;
        append.budget = Some(permit);
        Ok(append)
    }

    fn prepare(&self, event: Event, chunk: Option<Chunk>) -> Result<Append, StoreError> {
        self.poisoned.check()?;
        let body = serde_json::to_string(&event).expect("an event is plain data");
        Ok(Append {
            run: self.run,
            at: clock::now().as_microsecond(),
            event,
            body,
            chunk,
            durable: None,
            poisoned: self.poisoned.clone(),
            observer: self.observer.clone(),
            budget: None,
        })
    }
}
