//! Whether the server lives, and whether it can do its work.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::App;
use crate::server::extract::Json;
use crate::server::problem::{Failure, Problem};
use crate::service::ServiceError;
use crate::store::Filter;
use crate::world::{clock, machine};

/// Less free space than this stops the next long run.
const LEAST_FREE: u64 = 64 << 20;
/// A clock that is further than this behind the newest event has been set back.
const BEHIND: i64 = 60 * 1_000_000;

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// What a server needs to do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    /// Whether it can.
    ready: bool,
    /// Whether it is the one that starts runs; another one does otherwise.
    leads: bool,
    /// What is in the way, in words.
    faults: Vec<String>,
}

/// Whether the server can do its work: run log, disk, clock
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = Ready), (status = 503, body = Ready), (status = "default", body = Problem)))]
pub(crate) async fn ready(State(app): State<App>) -> Result<(StatusCode, Json<Ready>), Failure> {
    let ready = app.look(|desk| {
        let mut faults = Vec::new();
        let store = desk.store();
        if store.can_write().is_err() {
            faults.push("the run log cannot be written".to_owned());
        }
        match machine::free_bytes(store.dir()) {
            Ok(free) if free < LEAST_FREE => {
                faults.push(format!("only {} MiB are free on the disk", free >> 20));
            }
            Ok(_) => {}
            Err(_) => faults.push("nobody knows how much of the disk is free".to_owned()),
        }
        let newest = desk.read::<_, ServiceError>(|reader| {
            let newest = reader.runs(&Filter { limit: 1, ..Filter::default() })?.pop();
            Ok(newest.map(|row| row.ended_at.unwrap_or(row.started_at)))
        });
        match newest {
            Ok(Some(at)) if at - clock::now().as_microsecond() > BEHIND => {
                faults.push("the clock is before the newest run".to_owned());
            }
            Ok(_) => {}
            Err(_) => faults.push("the run log cannot be read".to_owned()),
        }
        Ok(Ready { ready: faults.is_empty(), leads: desk.leads(), faults })
    });
    let ready = ready.await?;
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(ready)))
}
