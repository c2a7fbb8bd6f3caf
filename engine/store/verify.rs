//! `verify`: the chain of a run, its bytes and its row, recomputed from the events.

use rusqlite::params;
use serde::Serialize;

use crate::model::event::{ChunkRef, Event};
use crate::model::run::{RunId, Seq, Summary};
use crate::store::codec::sha256;
use crate::store::reader::{Reader, parse};
use crate::store::writer::{chain, event_id};
use crate::store::{StoreError, sqlite};

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The run.
    pub run: RunId,
    /// How many events were followed.
    pub events: u64,
    /// How many bytes of output and artifacts were compared.
    pub bytes: u64,
    /// The first thing that is wrong.
    pub broken: Option<Break>,
}

/// Where a record is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// The event.
    pub seq: Seq,
    /// What is wrong with it.
    pub reason: String,
}

impl Reader {
    /// Follows the hash chain of a run, compares all kept bytes with their hashes and folds the row again.
    pub fn verify(&self, run: RunId) -> Result<Verified, StoreError> {
        let fail = sqlite(&self.file);
        let row = self.run(run)?;
        let last_hash: [u8; 32] = self
            .connection
            .query_row("SELECT last_hash FROM runs WHERE id = ?1", [run.0], |row| row.get(0))
            .map_err(&fail)?;
        let mut statement = self
            .connection
            .prepare("SELECT id, at, body, hash FROM events WHERE id > ?1 AND id <= ?2 ORDER BY id")
            .map_err(&fail)?;
        let mut rows =
            statement.query(params![event_id(run, 0), event_id(run, i64::from(u32::MAX))]).map_err(&fail)?;
        let mut verified = Verified { run, events: 0, bytes: 0, broken: None };
        let mut summary = Summary::default();
        let mut previous = [0u8; 32];
        while let Some(row) = rows.next().map_err(&fail)? {
            let expected = verified.events as i64 + 1;
            let (id, at): (i64, i64) = (row.get(0).map_err(&fail)?, row.get(1).map_err(&fail)?);
            let body: String = row.get(2).map_err(&fail)?;
            let hash: [u8; 32] = row.get(3).map_err(&fail)?;
            let broken = |reason: &str| Some(Break { seq: Seq(expected), reason: reason.to_owned() });
            if id != event_id(run, expected) {
                verified.broken = broken("the event is missing");
                return Ok(verified);
            }
            if chain(&previous, id, at, &body) != hash {
                verified.broken = broken("the event, or the link to the one before it, was changed");
                return Ok(verified);
            }
            let Ok(event) = parse(run, expected, &body) else {
                verified.broken = broken("the event does not read back");
                return Ok(verified);
            };
            if let Event::Output { chunk, .. } | Event::Artifact { chunk, .. } = &event {
                match self.bytes(run, Seq(expected)) {
                    Ok(bytes) if is_same(chunk, &bytes) => verified.bytes += chunk.bytes,
                    Ok(_) => {
                        verified.broken = broken("the bytes of the output were changed");
                        return Ok(verified);
                    }
                    Err(_) => {
                        verified.broken = broken("the bytes of the output are missing or damaged");
                        return Ok(verified);
                    }
                }
            }
            summary.apply(Seq(expected), &event);
            previous = hash;
            verified.events += 1;
        }
        let end = Seq(verified.events as i64);
        if end != row.last_seq || previous != last_hash {
            verified.broken =
                Some(Break { seq: Seq(end.0 + 1), reason: "events at the end are missing".to_owned() });
        } else if summary != row.summary {
            verified.broken =
                Some(Break { seq: end, reason: "the run row does not follow from the events".to_owned() });
        }
        Ok(verified)
    }
}

fn is_same(chunk: &ChunkRef, bytes: &[u8]) -> bool {
    chunk.bytes == bytes.len() as u64 && chunk.sha256 == sha256(bytes)
}
