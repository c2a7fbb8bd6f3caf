//! What the scheduler must not forget: cursors, and what became of each instant, in the transaction that queues the runs.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, TransactionBehavior, params};

use crate::model::order::Order;
use crate::model::run::{RunId, Status};
use crate::model::schedule::{Active, Cursor, Decision, Facts, Queued};
use crate::store::queue::enqueue_within;
use crate::store::{Enqueued, Keys, Reader, Store, StoreError, sqlite};
use crate::world::clock;

/// One step of one schedule: what was decided, and where its cursor stands then.
pub struct Move<'a> {
    /// The schedule's name.
    pub schedule: &'a str,
    /// The cursor that it was decided from; none for a schedule that is new.
    pub before: Option<&'a Cursor>,
    /// The cursor afterwards.
    pub after: &'a Cursor,
    /// The rows.
    pub decisions: &'a [Decision],
    /// What to put into the queue for a decision to run.
    pub order: &'a dyn Fn(&Queued) -> (Order, Keys),
    /// Who moves it: `scheduler`, or a person.
    pub by: &'a str,
    /// Why, where a person does.
    pub reason: &'a str,
}

/// A cursor, and who moved it last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// The cursor.
    pub cursor: Cursor,
    /// When it was moved: microseconds since 1970, UTC.
    pub at: i64,
    /// By whom.
    pub by: String,
    /// Why; empty for the scheduler's own moves.
    pub reason: String,
}

/// What became of an instant, or of many with the same fate.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fate {
    /// Its number.
    pub id: i64,
    /// The schedule.
    pub schedule: String,
    /// The first instant: microseconds since 1970, UTC.
    pub instant: i64,
    /// The last instant.
    pub until: i64,
    /// How many they are.
    pub count: i64,
    /// `run`, or why there is none: `missed skipped_overlap skipped_success blocked_calendar paused deferred clock_jump`.
    pub state: String,
    /// The reason, for people.
    pub reason: String,
    /// The run.
    pub run: Option<RunId>,
}

impl Store {
    /// Takes the lead over everything that schedules decide; whoever had it before can move nothing any more.
    pub fn take_lead(&self, holder: &str) -> Result<i64, StoreError> {
        self.side(|connection| {
            connection
                .query_row(
                    "UPDATE lead SET fence = fence + 1, holder = ?1, at = ?2 RETURNING fence",
                    params![holder, clock::now().as_microsecond()],
                    |row| row.get(0),
                )
                .map_err(sqlite(self.file()))
        })
    }

    /// Moves cursors, records what was decided and queues the runs, all or nothing; returns the runs of each move.
    ///
    /// It fails when somebody else has taken the lead since the `fence`, or has moved one of the cursors.
    pub fn decide(&self, fence: i64, moves: &[Move<'_>]) -> Result<Vec<Vec<Enqueued>>, StoreError> {
        let fail = sqlite(self.file());
        self.side(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
            let newest: i64 =
                transaction.query_row("SELECT fence FROM lead", [], |row| row.get(0)).map_err(&fail)?;
            if newest != fence {
                return Err(StoreError::Overtaken);
            }
            let now = clock::now().as_microsecond();
            let mut all = Vec::with_capacity(moves.len());
            for step in moves {
                let known: Option<String> = transaction
                    .prepare_cached("SELECT state FROM cursors WHERE schedule = ?1")
                    .and_then(|mut statement| {
                        statement.query_row([step.schedule], |row| row.get(0)).optional()
                    })
                    .map_err(&fail)?;
                if known.as_deref() != step.before.map(text).as_deref() {
                    return Err(StoreError::Overtaken);
                }
                let mut runs = Vec::new();
                for decision in step.decisions {
                    let row = row(decision);
                    let run = match decision {
                        Decision::Run(queued) => {
                            let (order, keys) = (step.order)(queued);
                            let enqueued = enqueue_within(&transaction, &order, &keys).map_err(&fail)?;
                            runs.push(enqueued);
                            Some(enqueued.run().0)
                        }
                        Decision::Undelivered(_) | Decision::Pause { .. } => None,
                    };
                    // An instant that was deferred has its fate now, in one row as every other.
                    if let Some(first) = row.first {
                        let last = row.last.unwrap_or(first);
                        transaction
                            .prepare_cached(
                                "DELETE FROM decisions
                                 WHERE schedule = ?1 AND instant BETWEEN ?2 AND ?3 AND state = 'deferred'",
                            )
                            .and_then(|mut statement| {
                                statement.execute(params![
                                    step.schedule,
                                    first.as_microsecond(),
                                    last.as_microsecond()
                                ])
                            })
                            .map_err(&fail)?;
                    }
                    transaction
                        .prepare_cached(
                            "INSERT INTO decisions (schedule, instant, until, count, state, reason, run, at)
                             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                        )
                        .and_then(|mut statement| {
                            let first = row.first.unwrap_or(step.after.at).as_microsecond();
                            let last = row.last.map_or(first, Timestamp::as_microsecond);
                            statement.execute(params![
                                step.schedule,
                                first,
                                last,
                                row.count,
                                row.state,
                                row.reason,
                                run,
                                now
                            ])
                        })
                        .map_err(&fail)?;
                }
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO cursors (schedule, state, moved_at, moved_by, reason)
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                    )
                    .and_then(|mut statement| {
                        statement.execute(params![step.schedule, text(step.after), now, step.by, step.reason])
                    })
                    .map_err(&fail)?;
                all.push(runs);
            }
            transaction.commit().map_err(&fail)?;
            Ok(all)
        })
    }

    /// Moves a cursor because a person says so; `false` when it was moved meanwhile.
    pub fn move_cursor(
        &self,
        schedule: &str,
        before: Option<&Cursor>,
        after: &Cursor,
        by: &str,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let fail = sqlite(self.file());
        self.side(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
            let known: Option<String> = transaction
                .query_row("SELECT state FROM cursors WHERE schedule = ?1", [schedule], |row| row.get(0))
                .optional()
                .map_err(&fail)?;
            if known.as_deref() != before.map(text).as_deref() {
                return Ok(false);
            }
            transaction
                .execute(
                    "INSERT OR REPLACE INTO cursors (schedule, state, moved_at, moved_by, reason)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![schedule, text(after), clock::now().as_microsecond(), by, reason],
                )
                .map_err(&fail)?;
            transaction.commit().map_err(&fail)?;
            Ok(true)
        })
    }
}

struct DecisionRow {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    count: i64,
    state: &'static str,
    reason: String,
}

fn row(decision: &Decision) -> DecisionRow {
    match decision {
        Decision::Run(queued) => {
            let reason = if queued.catch_up { "caught up" } else { "" }.to_owned();
            let first = Some(queued.scheduled_at);
            DecisionRow { first, last: None, count: 1, state: "run", reason }
        }
        Decision::Undelivered(not) => DecisionRow {
            first: Some(not.first),
            last: Some(not.last),
            count: i64::try_from(not.count).unwrap_or(i64::MAX),
            state: not.state.as_str(),
            reason: not.reason.to_string(),
        },
        Decision::Pause { why } => {
            DecisionRow { first: None, last: None, count: 0, state: "paused", reason: why.clone() }
        }
    }
}

fn text(cursor: &Cursor) -> String {
    serde_json::to_string(cursor).expect("a cursor is plain data")
}

impl Reader {
    /// Returns the cursor of a schedule, and who moved it last.
    pub fn cursor(&self, schedule: &str) -> Result<Option<Moved>, StoreError> {
        let found = self
            .connection
            .prepare_cached("SELECT state, moved_at, moved_by, reason FROM cursors WHERE schedule = ?1")
            .and_then(|mut statement| {
                let row =
                    |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
                statement.query_row([schedule], row).optional()
            })
            .map_err(sqlite(&self.file))?;
        let Some((state, at, by, reason)) = found else { return Ok(None) };
        let cursor = serde_json::from_str(&state)
            .map_err(|_| StoreError::Lost(format!("the cursor of schedule {schedule}")))?;
        Ok(Some(Moved { cursor, at, by, reason }))
    }

    /// Returns what a decision about a schedule depends on; `counts` only where its definition asks for them.
    pub fn facts(
        &self,
        schedule: &str,
        overlap: &str,
        counts: bool,
        resumed: Option<Timestamp>,
    ) -> Result<Facts, StoreError> {
        let fail = sqlite(&self.file);
        let mut facts = Facts { active: self.active(overlap)?, ..Facts::default() };
        if !counts {
            return Ok(facts);
        }
        let done = Status::Done.as_str();
        let (successes, last): (i64, Option<i64>) = self
            .connection
            .prepare_cached(
                "SELECT count(*), max(r.ended_at) FROM decisions d JOIN runs r ON r.id = d.run
                 WHERE d.schedule = ?1 AND r.status = ?2",
            )
            .and_then(|mut statement| {
                statement.query_row(params![schedule, done], |row| Ok((row.get(0)?, row.get(1)?)))
            })
            .map_err(&fail)?;
        let since = last.unwrap_or(0).max(resumed.map_or(0, Timestamp::as_microsecond));
        let failures: i64 = self
            .connection
            .prepare_cached(
                "SELECT count(*) FROM decisions d JOIN runs r ON r.id = d.run WHERE d.schedule = ?1
                 AND r.status IN ('failed', 'partial', 'stopped', 'timed_out', 'in_doubt') AND r.ended_at > ?2",
            )
            .and_then(|mut statement| statement.query_row(params![schedule, since], |row| row.get(0)))
            .map_err(&fail)?;
        facts.successes = successes as u64;
        facts.failures = failures as u64;
        facts.last_success = last.and_then(|at| Timestamp::from_microsecond(at).ok());
        Ok(facts)
    }

    /// Lists runs with this overlap key that have not ended, the oldest first.
    fn active(&self, overlap: &str) -> Result<Vec<Active>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT r.id, r.status = 'queued' FROM runs r JOIN queue q ON q.run = r.id
                 WHERE q.overlap = ?1 AND r.status IN ('queued', 'running', 'interrupted') ORDER BY r.id",
            )
            .map_err(&fail)?;
        let active = |row: &Row<'_>| Ok(Active { run: RunId(row.get(0)?), is_waiting: row.get(1)? });
        let rows = statement.query_map([overlap], active).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }

    /// Lists what became of instants, the newest first: of one schedule or of all.
    pub fn fates(
        &self,
        schedule: Option<&str>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Fate>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, schedule, instant, until, count, state, reason, run FROM decisions
                 WHERE (?1 IS NULL OR schedule = ?1) AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3",
            )
            .map_err(&fail)?;
        let rows = statement.query_map(params![schedule, before, limit as i64], fate).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }
}

/// Reads a fate from its row.
pub(super) fn fate(row: &Row<'_>) -> rusqlite::Result<Fate> {
    Ok(Fate {
        id: row.get(0)?,
        schedule: row.get(1)?,
        instant: row.get(2)?,
        until: row.get(3)?,
        count: row.get(4)?,
        state: row.get(5)?,
        reason: row.get(6)?,
        run: row.get::<_, Option<i64>>(7)?.map(RunId),
    })
}
