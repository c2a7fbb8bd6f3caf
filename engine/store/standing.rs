//! How schedules and runbooks stand: kept by triggers with the last event of each run, so that nothing is counted twice or forgotten.

use std::collections::HashSet;

use rusqlite::{OptionalExtension as _, Row, params};

use crate::model::run::{RunId, Status};
use crate::store::{Reader, Store, StoreError, sqlite};
use crate::world::clock;

/// How a schedule stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// The schedule's name.
    pub schedule: String,
    /// When a server saw it first: microseconds since 1970, UTC.
    pub seen_at: i64,
    /// The last run of it that ended, and how and when.
    pub last: Option<(RunId, Status, i64)>,
    /// The last run of it that was done, and when.
    pub success: Option<(RunId, i64)>,
    /// How many runs in a row failed.
    pub failures: i64,
    /// When the first of these ended.
    pub failing_since: Option<i64>,
    /// When people were told that it is stale; none while it is not.
    pub stale_at: Option<i64>,
}

/// Upper bounds of the buckets in which lengths of runs are counted, in seconds.
pub const BOUNDS: [u32; 8] = [1, 5, 15, 60, 300, 900, 3600, 14400];

/// How many runs of a runbook ended in one way, and how long they took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The runbook's path.
    pub runbook: String,
    /// How they ended.
    pub status: String,
    /// How many they are.
    pub runs: i64,
    /// How long they took together, in microseconds.
    pub micros: i64,
    /// How many took at most as long as each of the bounds.
    pub at_most: [i64; BOUNDS.len()],
    /// When the last of them ended: microseconds since 1970, UTC.
    pub last_at: i64,
}

/// How the last run with a host ended for it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LastOf {
    /// The host.
    pub host: String,
    /// The run.
    pub run: RunId,
    /// `ok`, `changed`, `failed`, `skipped` or `unreachable`.
    pub verdict: String,
    /// When the run began: microseconds since 1970, UTC.
    pub at: i64,
}

const COLUMNS: &str = "schedule, seen_at, last_run, last_status, last_at, success_run, success_at, failures, failing_since, stale_at";

impl Store {
    /// Notes schedules that are in force, so that one that never runs is stale in its time, too.
    pub fn see(&self, schedules: &[&str]) -> Result<(), StoreError> {
        let known = self.reader()?.standings()?;
        let known: HashSet<&str> = known.iter().map(|one| one.schedule.as_str()).collect();
        let new: Vec<&&str> = schedules.iter().filter(|name| !known.contains(**name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let fail = sqlite(self.file());
        self.side(|connection| {
            let transaction = connection.transaction().map_err(&fail)?;
            for name in new {
                transaction
                    .prepare_cached("INSERT OR IGNORE INTO standings (schedule, seen_at) VALUES (?1, ?2)")
                    .and_then(|mut statement| statement.execute(params![name, clock::now().as_microsecond()]))
                    .map_err(&fail)?;
            }
            transaction.commit().map_err(&fail)
        })
    }

    /// Whether something could be written now: takes the lock of the writer and gives it back.
    pub fn can_write(&self) -> Result<(), StoreError> {
        let fail = sqlite(self.file());
        self.side(|connection| connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK;").map_err(&fail))
    }
}

impl Reader {
    /// Lists how every schedule stands that a server has seen, by name.
    pub fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        let fail = sqlite(&self.file);
        let sql = format!("SELECT {COLUMNS} FROM standings ORDER BY schedule");
        let mut statement = self.connection.prepare_cached(&sql).map_err(&fail)?;
        let rows = statement.query_map([], standing).map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }

    /// Returns how one schedule stands.
    pub fn standing(&self, schedule: &str) -> Result<Option<Standing>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM standings WHERE schedule = ?1");
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([schedule], standing).optional())
            .map_err(sqlite(&self.file))
    }

    /// Lists how runs ended, by runbook and status.
    pub fn tallies(&self) -> Result<Vec<Tally>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT runbook, status, runs, micros, le_1, le_5, le_15, le_60, le_300, le_900, le_3600, le_14400, last_at
                 FROM tallies ORDER BY runbook, status",
            )
            .map_err(&fail)?;
        let rows = statement.query_map([], tally).map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }

    /// Returns how long a run waited in its queue until a process was started for it the first time.
    pub fn waited(&self, run: RunId) -> Result<Option<std::time::Duration>, StoreError> {
        let micros: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT spawned_at - queued_at FROM queue WHERE run = ?1 AND attempts = 1 AND spawned_at IS NOT NULL",
            )
            .and_then(|mut statement| statement.query_row([run.0], |row| row.get(0)).optional())
            .map_err(sqlite(&self.file))?;
        Ok(micros.map(|micros| std::time::Duration::from_micros(micros.max(0).unsigned_abs())))
    }

    /// Returns when a person has last moved the cursor of a schedule: microseconds since 1970, UTC; 0 when nobody has.
    pub fn moved_by_hand(&self) -> Result<i64, StoreError> {
        self.connection
            .prepare_cached("SELECT coalesce(max(moved_at), 0) FROM cursors WHERE moved_by <> 'scheduler'")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(sqlite(&self.file))
    }

    /// Returns how many messages are on their way to people.
    pub fn pending_messages(&self) -> Result<i64, StoreError> {
        self.connection
            .query_row(
                "SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND given_up_at IS NULL",
                [],
                |row| row.get(0),
            )
            .map_err(sqlite(&self.file))
    }

    /// Lists counters of one name: label and value.
    pub fn counters(&self, name: &str) -> Result<Vec<(String, i64)>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached("SELECT label, value FROM counters WHERE name = ?1 ORDER BY label")
            .map_err(&fail)?;
        let rows = statement.query_map([name], |row| Ok((row.get(0)?, row.get(1)?))).map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }

    /// Lists how the last run of each host ended for it, by host.
    pub fn last_of_hosts(&self) -> Result<Vec<LastOf>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT l.host, l.run, h.verdict, r.started_at
                 FROM (SELECT host, max(run) AS run FROM run_hosts GROUP BY host) l
                 JOIN run_hosts h ON h.run = l.run AND h.host = l.host JOIN runs r ON r.id = l.run ORDER BY l.host",
            )
            .map_err(&fail)?;
        let last = |row: &Row<'_>| {
            Ok(LastOf { host: row.get(0)?, run: RunId(row.get(1)?), verdict: row.get(2)?, at: row.get(3)? })
        };
        let rows = statement.query_map([], last).map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }
}

fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let (run, status, at): (Option<i64>, Option<String>, Option<i64>) =
        (row.get(2)?, row.get(3)?, row.get(4)?);
    let status = status.and_then(|word| Status::parse(&word));
    let (success, success_at): (Option<i64>, Option<i64>) = (row.get(5)?, row.get(6)?);
    Ok(Standing {
        schedule: row.get(0)?,
        seen_at: row.get(1)?,
        last: run.zip(status).zip(at).map(|((run, status), at)| (RunId(run), status, at)),
        success: success.map(RunId).zip(success_at),
        failures: row.get(7)?,
        failing_since: row.get(8)?,
        stale_at: row.get(9)?,
    })
}

fn tally(row: &Row<'_>) -> rusqlite::Result<Tally> {
    let mut at_most = [0; BOUNDS.len()];
    for (index, count) in at_most.iter_mut().enumerate() {
        *count = row.get(4 + index)?;
    }
    Ok(Tally {
        runbook: row.get(0)?,
        status: row.get(1)?,
        runs: row.get(2)?,
        micros: row.get(3)?,
        at_most,
        last_at: row.get(12)?,
    })
}
