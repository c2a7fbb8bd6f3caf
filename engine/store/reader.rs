//! Reads runs, events and kept bytes; any process may, while others write.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use crate::model::address::Address;
use crate::model::event::Event;
use crate::model::run::{RunId, Seq, Summary};
use crate::store::codec::{Packed, unpack};
use crate::store::log::{Passing, Record};
use crate::store::writer::event_id;
use crate::store::{StoreError, connect, sqlite};

/// A connection that only reads.
pub struct Reader {
    pub(super) connection: Connection,
    pub(super) file: PathBuf,
}

/// A run as the list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Its number.
    pub id: RunId,
    /// When it began: microseconds since 1970, UTC.
    pub started_at: i64,
    /// When it ended, or was last interrupted.
    pub ended_at: Option<i64>,
    /// The number of its last event.
    pub last_seq: Seq,
    /// The fold of its events.
    pub summary: Summary,
}

impl Reader {
    pub(super) fn open(file: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(file, flags)?;
        connection.pragma_update(None, "query_only", true).map_err(sqlite(file))?;
        Ok(Self { connection, file: file.to_owned() })
    }

    /// Looks at the run log as it is at one moment: what is committed or removed meanwhile is not seen.
    pub fn at_once<T, E: From<StoreError>>(&self, look: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        let fail = sqlite(&self.file);
        self.connection.execute_batch("BEGIN").map_err(&fail)?;
        let result = look(self);
        // Nothing was written.
        self.connection.execute_batch("ROLLBACK").map_err(&fail)?;
        result
    }

    /// Returns a number that changes when any other connection has committed.
    pub fn version(&self) -> Result<i64, StoreError> {
        self.connection.pragma_query_value(None, "data_version", |row| row.get(0)).map_err(sqlite(&self.file))
    }

    /// Returns one run.
    pub fn run(&self, run: RunId) -> Result<RunRow, StoreError> {
        let row = self
            .connection
            .prepare_cached("SELECT id, started_at, ended_at, last_seq, summary FROM runs WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([run.0], raw_run).optional())
            .map_err(sqlite(&self.file))?;
        finish_run(row.ok_or(StoreError::NoRun(run))?)
    }

    /// Returns up to `limit` events after the given one, in order.
    pub fn events(&self, run: RunId, after: Seq, limit: usize) -> Result<Vec<Record>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, at, body FROM events WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3")
            .map_err(&fail)?;
        let range = params![event_id(run, after.0), event_id(run, i64::from(u32::MAX)), limit as i64];
        let rows = statement
            .query_map(range, |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
            })
            .map_err(&fail)?;
        rows.map(|row| record(run, row.map_err(&fail)?)).collect()
    }

    /// Returns the bytes kept with an event.
    pub fn bytes(&self, run: RunId, seq: Seq) -> Result<Vec<u8>, StoreError> {
        self.stored(
            "SELECT codec, length, data FROM chunks WHERE id = ?1",
            event_id(run, seq.0).into(),
            || format!("run {run}, event {}", seq.0),
        )
    }

    /// Returns up to `limit` bytes kept with these events, in their order.
    pub fn joined(&self, run: RunId, events: &[Seq], limit: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        for seq in events {
            if bytes.len() >= limit {
                break;
            }
            bytes.extend_from_slice(&self.bytes(run, *seq)?);
        }
        bytes.truncate(limit);
        Ok(bytes)
    }

    /// Puts the kept bytes beside an output event that was read back, as the writer does with a new one.
    pub fn attach(&self, record: &mut Record) -> Result<(), StoreError> {
        let id = event_id(record.run, record.seq.0);
        let packed = self
            .connection
            .prepare_cached("SELECT codec, length, data FROM chunks WHERE id = ?1")
            .and_then(|mut statement| {
                let packed = |row: &Row<'_>| {
                    let length: i64 = row.get(1)?;
                    Ok(Packed { codec: row.get(0)?, length: length as usize, data: row.get(2)? })
                };
                statement.query_row([id], packed).optional()
            })
            .map_err(sqlite(&self.file))?
            .ok_or_else(|| StoreError::Lost(format!("run {}, event {}", record.run, record.seq.0)))?;
        record.passing = Some(Arc::new(Passing { packed, _budget: None }));
        Ok(())
    }

    /// Hands all output of an effect in one stream to a sink, piece by piece; returns how many pieces there were.
    ///
    /// Looks through all output between the two events: an index by address would cost every run more than it gives the
    /// few that are asked. The sink ends it by returning false.
    pub fn pour(
        &self,
        run: RunId,
        (first, last): (Seq, Seq),
        address: &Address,
        stream: &str,
        mut sink: impl FnMut(&[u8]) -> bool,
    ) -> Result<usize, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT codec, length, data FROM chunks
                 WHERE id >= ?2 AND id <= ?3 AND address = ?1 AND stream = ?4 ORDER BY id",
            )
            .map_err(&fail)?;
        let (first, last) = (event_id(run, first.0), event_id(run, last.0));
        let mut rows = statement.query(params![address.as_str(), first, last, stream]).map_err(&fail)?;
        let mut pieces = 0;
        while let Some(row) = rows.next().map_err(&fail)? {
            let part = unpack_row(row, 0).map_err(&fail)?;
            let part = part.ok_or_else(|| StoreError::Lost(format!("run {run}, output of {address}")))?;
            pieces += 1;
            if !sink(&part) {
                break;
            }
        }
        Ok(pieces)
    }

    /// Returns the bytes of a kept file; of several with one name the last.
    pub fn artifact(&self, run: RunId, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        // Artifacts are the chunks without an address; their name stands where output has its stream.
        let found = self
            .connection
            .prepare_cached(
                "SELECT codec, length, data FROM chunks
                 WHERE id > ?1 AND id <= ?2 AND address = '' AND stream = ?3 ORDER BY id DESC LIMIT 1",
            )
            .and_then(|mut statement| {
                let key = params![event_id(run, 0), event_id(run, i64::from(u32::MAX)), name];
                statement.query_row(key, |row| unpack_row(row, 0)).optional()
            })
            .map_err(sqlite(&self.file))?;
        match found {
            None => Ok(None),
            Some(Some(bytes)) => Ok(Some(bytes)),
            Some(None) => Err(StoreError::Lost(format!("run {run}, artifact {name}"))),
        }
    }

    /// Returns a pinned text by its SHA-256.
    pub fn text(&self, hash: &str) -> Result<String, StoreError> {
        let bytes = self.stored(
            "SELECT codec, length, data FROM texts WHERE hash = ?1",
            hash.to_owned().into(),
            || hash.to_owned(),
        )?;
        String::from_utf8(bytes).map_err(|_| StoreError::Lost(hash.to_owned()))
    }

    /// Returns requests to cancel this run: who, and whether now.
    pub fn asks(&self, run: RunId) -> Result<Vec<(String, bool)>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached("SELECT who, now FROM asks WHERE run = ?1 ORDER BY id")
            .map_err(&fail)?;
        let rows = statement.query_map([run.0], |row| Ok((row.get(0)?, row.get(1)?))).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }

    fn stored(&self, sql: &str, key: Sql, name: impl Fn() -> String) -> Result<Vec<u8>, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([key], |row| unpack_row(row, 0)).optional())
            .map_err(sqlite(&self.file))?
            .flatten()
            .ok_or_else(|| StoreError::Lost(name()))
    }
}

fn unpack_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Vec<u8>>> {
    let data = row.get_ref(first + 2)?.as_blob()?;
    let length: i64 = row.get(first + 1)?;
    Ok(unpack(row.get(first)?, length as usize, data).map(std::borrow::Cow::into_owned))
}

pub(super) fn parse(run: RunId, seq: i64, body: &str) -> Result<Event, StoreError> {
    serde_json::from_str(body).map_err(|source| StoreError::Damaged { run, seq, source })
}

/// Reads an event from its row: id, time and body.
pub(super) fn record(run: RunId, (id, at, body): (i64, i64, String)) -> Result<Record, StoreError> {
    let seq = id & i64::from(u32::MAX);
    let event = parse(run, seq, &body)?;
    Ok(Record { run, seq: Seq(seq), at, event, body, passing: None })
}

pub(super) type RawRun = (i64, i64, Option<i64>, i64, String);

pub(super) fn raw_run(row: &Row<'_>) -> rusqlite::Result<RawRun> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

pub(super) fn finish_run(
    (id, started_at, ended_at, last_seq, summary): RawRun,
) -> Result<RunRow, StoreError> {
    let id = RunId(id);
    let summary = serde_json::from_str(&summary).map_err(|source| StoreError::Damaged {
        run: id,
        seq: last_seq,
        source,
    })?;
    Ok(RunRow { id, started_at, ended_at, last_seq: Seq(last_seq), summary })
}
