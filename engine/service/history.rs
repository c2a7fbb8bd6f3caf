//! What past runs tell: the facts that are not in a run's row.

use crate::model::event::{Event, Start};
use crate::model::run::{RunId, Seq};
use crate::service::ServiceError;
use crate::store::{Reader, Record, StoreError};

/// Events read at once; bounds the memory of everything that walks a run.
const PAGE: usize = 1000;

/// Returns what a run was started with: its first event.
pub fn start_of(reader: &Reader, run: RunId) -> Result<Start, ServiceError> {
    match reader.events(run, Seq(0), 1)?.pop().map(|record| record.event) {
        Some(Event::Started(start)) => Ok(*start),
        Some(_) | None => {
            Err(ServiceError::Unusable { run: run.0, reason: "it has no first event".to_owned() })
        }
    }
}

/// Hands every event of a run after the given one to a visitor, in order, and returns the number of the last one.
pub fn walk<E: From<StoreError>>(
    reader: &Reader,
    run: RunId,
    mut after: Seq,
    mut visit: impl FnMut(Record) -> Result<(), E>,
) -> Result<Seq, E> {
    loop {
        let page = reader.events(run, after, PAGE)?;
        let is_last = page.len() < PAGE;
        for record in page {
            after = record.seq;
            visit(record)?;
        }
        if is_last {
            return Ok(after);
        }
    }
}
