//! Retention by age, count and bytes, with a file that really shrinks; backup and integrity check.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use serde::Serialize;

use crate::model::run::RunId;
use crate::store::writer::event_id;
use crate::store::{Store, StoreError, connect, sqlite};
use crate::world::clock;

/// How long the idempotency key of a run that is gone is remembered, in microseconds: nobody asks again after that.
const REMEMBERED: i64 = 90 * 24 * 3600 * 1_000_000;

/// What to keep; a run goes when any limit says so. Runs that wait, go on or can be resumed always stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// Runs begun longer ago than this many seconds go.
    pub age: Option<u64>,
    /// Older runs beyond this many go.
    pub count: Option<u64>,
    /// The oldest runs go until the data takes at most this many bytes.
    pub bytes: Option<u64>,
}

/// What pruning did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// The runs that are gone.
    pub runs: Vec<RunId>,
    /// Size of the file before, in bytes.
    pub before: u64,
    /// Size of the file after.
    pub after: u64,
}

impl Store {
    /// Removes what retention does not keep, in small transactions, and gives the space back to the file system.
    pub fn prune(&self, keep: &Keep, dry_run: bool) -> Result<Pruned, StoreError> {
        let file = self.file();
        let fail = sqlite(file);
        let mut connection = connect(file, OpenFlags::default())?;
        let before = size(file);
        let mut pruned = Pruned { runs: doomed(&connection, keep).map_err(&fail)?, before, after: before };
        pruned.runs.retain(|run| !self.is_held(*run));
        if dry_run {
            return Ok(pruned);
        }
        for run in &pruned.runs {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
            let range = params![event_id(*run, 0), event_id(*run, i64::from(u32::MAX))];
            for sql in [
                "DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE id > ?1 AND id <= ?2)",
                "DELETE FROM chunks WHERE id > ?1 AND id <= ?2",
                "DELETE FROM events WHERE id > ?1 AND id <= ?2",
            ] {
                transaction.execute(sql, range).map_err(&fail)?;
            }
            transaction.execute("DELETE FROM runs WHERE id = ?1", [run.0]).map_err(&fail)?;
            transaction.commit().map_err(&fail)?;
            let _ = std::fs::remove_file(self.dir().join("locks").join(format!("run-{run}")));
        }
        connection
            .execute(
                "DELETE FROM triggers WHERE at < ?1 AND key LIKE 'api:%' AND run NOT IN (SELECT id FROM runs)",
                [clock::now().as_microsecond() - REMEMBERED],
            )
            .map_err(&fail)?;
        connection
            .execute_batch(
                "DELETE FROM texts WHERE hash NOT IN (SELECT hash FROM run_texts);
                 INSERT INTO words (words) VALUES ('optimize');
                 PRAGMA incremental_vacuum;
                 PRAGMA wal_checkpoint(TRUNCATE);",
            )
            .map_err(&fail)?;
        pruned.after = size(file);
        Ok(pruned)
    }

    /// Writes a consistent copy of the database to a new file, while runs go on.
    pub fn backup(&self, to: &Path) -> Result<u64, StoreError> {
        if to.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(StoreError::File { path: to.to_owned(), source });
        }
        let connection = connect(self.file(), OpenFlags::default())?;
        let partial = partial(to);
        let _ = std::fs::remove_file(&partial);
        connection.execute("VACUUM INTO ?1", [partial.to_string_lossy()]).map_err(sqlite(self.file()))?;
        let fail = |source| StoreError::File { path: to.to_owned(), source };
        std::fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(fail)?;
        std::fs::rename(&partial, to).map_err(fail)?;
        Ok(size(to))
    }

    /// Returns what SQLite finds wrong with the file; empty when nothing is.
    pub fn integrity(&self) -> Result<Vec<String>, StoreError> {
        self.findings("PRAGMA integrity_check")
    }

    /// Returns the same without a look at indexes, which takes a fraction of the time.
    pub fn quick_check(&self) -> Result<Vec<String>, StoreError> {
        self.findings("PRAGMA quick_check")
    }

    fn findings(&self, pragma: &str) -> Result<Vec<String>, StoreError> {
        let fail = sqlite(self.file());
        let connection = connect(self.file(), OpenFlags::default())?;
        let mut statement = connection.prepare(pragma).map_err(&fail)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(&fail)?;
        let lines: Vec<String> = rows.collect::<Result<_, _>>().map_err(&fail)?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }
}

/// Returns where a backup grows before it gets its name.
pub fn partial(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn doomed(connection: &Connection, keep: &Keep) -> rusqlite::Result<Vec<RunId>> {
    let mut statement = connection.prepare(
        "SELECT id, started_at, last_seq FROM runs
         WHERE status NOT IN ('queued', 'running', 'interrupted', 'in_doubt') OR (status = 'interrupted' AND mode = 'plan')
         ORDER BY id DESC",
    )?;
    let rows: Vec<(i64, i64)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let oldest =
        keep.age.map(|seconds| clock::now().as_microsecond() - (seconds as i64).saturating_mul(1_000_000));
    let mut total: u64 = 0;
    let mut doomed = Vec::new();
    for (index, (id, started_at)) in rows.into_iter().enumerate() {
        let run = RunId(id);
        if keep.bytes.is_some() {
            total += bytes(connection, run)?;
        }
        if oldest.is_some_and(|oldest| started_at < oldest)
            || keep.count.is_some_and(|count| index as u64 >= count)
            || keep.bytes.is_some_and(|limit| total > limit)
        {
            doomed.push(run);
        }
    }
    doomed.reverse();
    Ok(doomed)
}

fn bytes(connection: &Connection, run: RunId) -> rusqlite::Result<u64> {
    let range = params![event_id(run, 0), event_id(run, i64::from(u32::MAX))];
    // 64 bytes a row: key, time, hash and the tree around them.
    let events: i64 = connection
        .prepare_cached("SELECT coalesce(sum(length(body) + 64), 0) FROM events WHERE id > ?1 AND id <= ?2")?
        .query_row(range, |row| row.get(0))?;
    let chunks: i64 = connection
        .prepare_cached("SELECT coalesce(sum(length(data) + 64), 0) FROM chunks WHERE id > ?1 AND id <= ?2")?
        .query_row(range, |row| row.get(0))?;
    Ok((events + chunks) as u64)
}

/// Returns the bytes that the database takes, its write-ahead log included.
pub(super) fn size(file: &Path) -> u64 {
    let mut wal = file.as_os_str().to_owned();
    wal.push("-wal");
    [file, Path::new(&wal)]
        .iter()
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|meta| meta.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Event;
    use crate::model::order::{DEFAULT_QUEUE, Order, USUAL_PRIORITY};
    use crate::model::run::{Mode, Trigger};
    use crate::store::tests::{start, store};
    use crate::store::{Enqueued, Keys, NewRun};

    fn order() -> Order {
        Order {
            runbook: "runbooks/uptime.rhai".into(),
            params: std::collections::BTreeMap::new(),
            mode: Mode::Apply,
            trigger: Trigger::Person { user: "op".into() },
            grants: Vec::new(),
            queue: DEFAULT_QUEUE.into(),
            priority: USUAL_PRIORITY,
            behind: false,
            catch_up: false,
            revision: None,
            plan: None,
            locks: Vec::new(),
            deadline: None,
        }
    }

    #[tokio::test]
    async fn what_waits_stays_however_much_there_is_and_old_keys_go() {
        let (_dir, store) = store(None);
        let keys = |key: &str| Keys { once: Some(key.to_owned()), overlap: None };
        let waiting: Vec<RunId> =
            (0..5).map(|n| store.enqueue(&order(), &keys(&format!("api:op:{n}"))).unwrap().run()).collect();
        let (claim, _) = store.create(&NewRun { start: start(), texts: vec![], plan: None }).unwrap();
        let log = store.log(claim, None);
        log.append_durable(Event::Ended {
            status: crate::model::run::Status::Done,
            error: None,
            left_behind: Vec::new(),
            in_doubt: Vec::new(),
            incomplete: None,
            result: serde_json::Value::Null,
        })
        .await
        .unwrap();
        let over = log.run();
        drop(log);
        let keep = Keep { age: Some(0), count: Some(0), bytes: Some(0) };
        assert_eq!(store.prune(&keep, false).unwrap().runs, [over]);
        let reader = store.reader().unwrap();
        assert!(waiting.iter().all(|run| reader.run(*run).is_ok()));
        // The key of a run that is gone is remembered for a while, and that of one that is there always.
        let connection = connect(store.file(), OpenFlags::default()).unwrap();
        connection
            .execute("INSERT INTO triggers (key, run, at) VALUES ('api:op:gone', ?1, 0)", [over.0])
            .unwrap();
        connection.execute("UPDATE triggers SET at = 0 WHERE key = 'api:op:0'", []).unwrap();
        store.prune(&keep, false).unwrap();
        assert!(
            matches!(store.enqueue(&order(), &keys("api:op:0")).unwrap(), Enqueued::Known(run) if run == waiting[0])
        );
        assert!(matches!(store.enqueue(&order(), &keys("api:op:gone")).unwrap(), Enqueued::New(_)));
    }
}
