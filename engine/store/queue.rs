//! Runs that were asked for: put in once, taken out in their turn, begun by the process that runs them.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use crate::model::event::{Event, Start};
use crate::model::order::Order;
use crate::model::run::{RunId, Status};
use crate::store::log::{insert_run, keep_texts, use_plan};
use crate::store::{Claim, NewRun, Reader, RunLog, Store, StoreError, sqlite};
use crate::world::clock;

/// How an order came into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is a new run.
    New(RunId),
    /// What has this key was asked for before.
    Known(RunId),
}

impl Enqueued {
    /// Returns the run, new or not.
    pub fn run(self) -> RunId {
        match self {
            Self::New(run) | Self::Known(run) => run,
        }
    }
}

/// What makes an order one that is not put in twice, or not at the same time as another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// A second order with this key is the first one.
    pub once: Option<String>,
    /// What has this key must not overlap; schedules decide by it.
    pub overlap: Option<String>,
}

/// A run of the queue that is not over.
#[derive(Debug, Clone, PartialEq)]
pub struct InQueue {
    /// The run.
    pub run: RunId,
    /// What was asked for.
    pub order: Arc<Order>,
    /// When: microseconds since 1970, UTC.
    pub queued_at: i64,
    /// How far it has come.
    pub status: Status,
    /// When a process was started for it.
    pub spawned_at: Option<i64>,
    /// What must not overlap with it.
    pub overlap: Option<String>,
    /// The folder of the project that its process got last.
    pub folder: Option<String>,
}

/// Orders that have been read: they never change, so who looks at the queue again need not read them again.
#[derive(Debug, Default)]
pub struct Orders(HashMap<RunId, Arc<Order>>);

impl Store {
    /// Puts an order into its queue, unless its key is known; all or nothing.
    pub fn enqueue(&self, order: &Order, keys: &Keys) -> Result<Enqueued, StoreError> {
        let fail = sqlite(self.file());
        self.side(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
            let enqueued = enqueue_within(&transaction, order, keys).map_err(&fail)?;
            transaction.commit().map_err(&fail)?;
            Ok(enqueued)
        })
    }

    /// Notes that a process is being started for a run, with the folder and the commit of the project that it gets.
    pub fn spawned(&self, run: RunId, folder: &str, commit: Option<&str>) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "UPDATE queue SET spawned_at = ?2, attempts = attempts + 1, folder = ?3,
                     commit_id = coalesce(?4, commit_id) WHERE run = ?1",
                    params![run.0, clock::now().as_microsecond(), folder, commit],
                )
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }

    /// Begins a run of the queue in this process, unless another one was faster or it has been cancelled.
    ///
    /// Returns `None` where the run does not wait any more.
    pub fn begin(
        &self,
        claim: Claim,
        new: &NewRun<'_>,
        observer: Option<tokio::sync::mpsc::UnboundedSender<crate::store::Record>>,
    ) -> Result<RunLog, StoreError> {
        let fail = sqlite(self.file());
        let run = claim.run();
        self.side(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
            use_plan(&transaction, self.file(), run, new.plan)?;
            keep_texts(&transaction, run, &new.texts).map_err(&fail)?;
            transaction.commit().map_err(&fail)
        })?;
        let log = self.log(claim, observer);
        log.append_durable_blocking(Event::Started(Box::new(new.start.clone())))?;
        Ok(log)
    }
}

impl Reader {
    /// Lists runs of the queue that are in one of these states, in the order in which they were asked for.
    pub fn queued(&self, states: &[Status]) -> Result<Vec<InQueue>, StoreError> {
        self.queued_again(states, &mut Orders::default())
    }

    /// Lists them for somebody who has looked before. Orders of runs that are in none of the states any more are forgotten.
    pub fn queued_again(&self, states: &[Status], known: &mut Orders) -> Result<Vec<InQueue>, StoreError> {
        let words: Vec<String> = states.iter().map(|status| format!("'{}'", status.as_str())).collect();
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(&format!(
                "SELECT r.id, q.queued_at, r.status, q.spawned_at, q.overlap, q.folder
                 FROM runs r JOIN queue q ON q.run = r.id WHERE r.status IN ({}) ORDER BY r.id",
                words.join(", ")
            ))
            .map_err(&fail)?;
        let mut before = std::mem::take(&mut known.0);
        let rows = statement.query_map([], raw).map_err(&fail)?;
        let mut found = Vec::new();
        for row in rows {
            let (run, queued_at, status, spawned_at, overlap, folder) = row.map_err(&fail)?;
            let (run, lost) = (RunId(run), |what: &str| StoreError::Lost(format!("run {run}, {what}")));
            let order = match before.remove(&run) {
                Some(order) => order,
                None => Arc::new(self.order(run)?.ok_or_else(|| lost("its order"))?),
            };
            known.0.insert(run, order.clone());
            let status = Status::parse(&status).ok_or_else(|| lost("its status"))?;
            found.push(InQueue { run, order, queued_at, status, spawned_at, overlap, folder });
        }
        Ok(found)
    }

    /// Returns the order of a run, where it came through a queue.
    pub fn order(&self, run: RunId) -> Result<Option<Order>, StoreError> {
        Ok(match self.events(run, crate::model::run::Seq(0), 1)?.pop().map(|record| record.event) {
            Some(Event::Queued(order)) => Some(*order),
            _ => None,
        })
    }

    /// Returns the folder of the project that the process of a run got last.
    pub fn folder(&self, run: RunId) -> Result<Option<String>, StoreError> {
        Ok(self.of_queue(run, "folder")?.flatten())
    }

    /// Returns the commit that this folder holds exactly.
    pub fn commit(&self, run: RunId) -> Result<Option<String>, StoreError> {
        Ok(self.of_queue(run, "commit_id")?.flatten())
    }

    /// Lists the folders of runs that are not over, or can go on.
    pub fn folders_in_use(&self) -> Result<Vec<String>, StoreError> {
        self.texts_of(
            "SELECT DISTINCT q.folder FROM queue q JOIN runs r ON r.id = q.run
             WHERE q.folder IS NOT NULL AND r.status IN ('queued', 'running', 'interrupted', 'in_doubt')",
        )
    }

    /// Lists the commits that runs of this log have used.
    pub fn commits_known(&self) -> Result<Vec<String>, StoreError> {
        self.texts_of("SELECT DISTINCT commit_id FROM queue WHERE commit_id IS NOT NULL")
    }

    fn texts_of(&self, query: &str) -> Result<Vec<String>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self.connection.prepare_cached(query).map_err(&fail)?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }

    /// Returns how often a process was started for a run.
    pub fn attempts(&self, run: RunId) -> Result<u32, StoreError> {
        Ok(self.of_queue(run, "attempts")?.unwrap_or(0))
    }

    fn of_queue<T: rusqlite::types::FromSql>(
        &self,
        run: RunId,
        column: &str,
    ) -> Result<Option<T>, StoreError> {
        self.connection
            .prepare_cached(&format!("SELECT {column} FROM queue WHERE run = ?1"))
            .and_then(|mut statement| statement.query_row([run.0], |row| row.get(0)).optional())
            .map_err(sqlite(&self.file))
    }

    /// Returns the run that an order with this key became.
    pub fn triggered(&self, key: &str) -> Result<Option<RunId>, StoreError> {
        triggered(&self.connection, key).map_err(sqlite(&self.file))
    }
}

fn triggered(connection: &Connection, key: &str) -> rusqlite::Result<Option<RunId>> {
    connection
        .prepare_cached("SELECT run FROM triggers WHERE key = ?1")?
        .query_row([key], |row| row.get(0).map(RunId))
        .optional()
}

/// Puts an order into its queue, within a transaction that may also move a schedule's cursor.
pub(super) fn enqueue_within(
    transaction: &Transaction<'_>,
    order: &Order,
    keys: &Keys,
) -> rusqlite::Result<Enqueued> {
    if let Some(key) = &keys.once
        && let Some(run) = triggered(transaction, key)?
    {
        return Ok(Enqueued::Known(run));
    }
    let at = clock::now().as_microsecond();
    let (run, _) = insert_run(transaction, at, &Event::Queued(Box::new(order.clone())))?;
    transaction
        .prepare_cached(
            "INSERT INTO queue (run, queue, priority, overlap, queued_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![run.0, order.queue, order.priority, keys.overlap, at])?;
    if let Some(key) = &keys.once {
        transaction
            .prepare_cached("INSERT INTO triggers (key, run, at) VALUES (?1, ?2, ?3)")?
            .execute(params![key, run.0, at])?;
    }
    Ok(Enqueued::New(run))
}

type Raw = (i64, i64, String, Option<i64>, Option<String>, Option<String>);

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

/// Describes a run that waits as what it would be started with.
impl From<&Order> for Start {
    fn from(order: &Order) -> Self {
        let params = order.params.iter().map(|(name, given)| {
            let value = match given {
                crate::model::given::Given::Text(text) => text.clone().into(),
                crate::model::given::Given::Value(value) => value.clone(),
            };
            (name.clone(), value)
        });
        Self {
            runbook: order.runbook.clone(),
            sources: std::collections::BTreeMap::new(),
            commit: order.revision.clone(),
            dirty: false,
            params: serde_json::Value::Object(params.collect()),
            inventory: String::new(),
            grants: order.grants.clone(),
            allow: Vec::new(),
            trigger: order.trigger.clone(),
            mode: order.mode,
            plan: None,
            beyond: false,
            version: String::new(),
        }
    }
}
