//! The events of a run as a stream of server-sent events, resumable by `Last-Event-ID` (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use base64::Engine as _;
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use utoipa::IntoParams;

use crate::model::event::Event;
use crate::model::run::{RunId, Seq};
use crate::server::App;
use crate::server::caller::Viewer;
use crate::server::extract::{Path, Query};
use crate::server::problem::{Failure, Problem};
use crate::service::ServiceError;
use crate::store::{Reader, Record, StoreError};

/// Events read at once.
const PAGE: usize = 200;
/// About how many bytes of output are read at once, so that no run's output makes the server large.
const BYTES: u64 = 256 << 10;
/// Events that wait for a slow client, besides those that are read.
const AHEAD: usize = 4;

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct From {
    /// Events after this number; the header `Last-Event-ID` counts for more.
    after: Option<i64>,
    /// Whether output comes with its bytes, as `text` or, where it is none, `base64`.
    #[serde(default)]
    output: bool,
    /// Whether the stream ends with the last event that there is now, although the run goes on.
    #[serde(default)]
    until_now: bool,
}

/// Follow the events of a run
///
/// Server-sent events: `id` is the event's number, `event` is `event`, `data` its JSON with `seq` and `at`. After the last event of a run
/// that is over comes `event: end` with `{"status", "exit_code"}`, and the stream ends.
#[utoipa::path(get, path = "/api/v1/runs/{run}/events", tag = "runs",
    params(("run" = i64, Path, description = "its number"), From),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "default", body = Problem)))]
pub(crate) async fn stream(
    _: Viewer,
    State(app): State<App>,
    Path(run): Path<i64>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Failure> {
    let run = RunId(run);
    app.look(move |desk| desk.read(|reader| Ok(reader.run(run)?))).await?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let after = Seq(last.or(from.after).unwrap_or(0).max(0));
    // A client that takes nothing holds up only itself.
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(follow(app, run, after, from, sender));
    let events = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|sent| (Ok(sent), receiver))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

async fn follow(app: App, run: RunId, mut after: Seq, from: From, sender: mpsc::Sender<Sent>) {
    let From { output, until_now, .. } = from;
    let _followed = app.streams.open();
    let (mut news, mut ending) = (app.desk.news(), app.ending.clone());
    loop {
        news.mark_unchanged();
        let page = app.look(move |desk| {
            desk.read(|reader| -> Result<_, ServiceError> {
                let status = reader.run(run)?.summary.status;
                let page = reader.events(run, after, PAGE)?;
                let is_last = page.len() < PAGE;
                if !output {
                    return Ok((status, page, is_last));
                }
                let count = page.len();
                let page = with_output(reader, page, BYTES)?;
                let is_last = is_last && page.len() == count;
                Ok((status, page, is_last))
            })
        });
        let Ok((status, page, is_last)) = page.await else { return };
        for record in page {
            after = record.seq;
            if sender.send(sent(&record)).await.is_err() {
                return;
            }
        }
        if !is_last {
            continue;
        }
        if status.is_over() || until_now {
            let end = json!({ "status": status, "exit_code": status.exit_code() });
            let _ = sender.send(Sent::default().event("end").data(end.to_string())).await;
            return;
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            _ = ending.wait_for(|ended| *ended) => return,
            () = sender.closed() => return,
        }
    }
}

/// Fetches the bytes that belong to events, of the first ones that have about this many together; the others are left out.
pub(crate) fn with_output(
    reader: &Reader,
    events: Vec<Record>,
    most: u64,
) -> Result<Vec<Record>, StoreError> {
    let (mut kept, mut sum) = (Vec::with_capacity(events.len()), 0);
    for mut record in events {
        if let Event::Output { chunk, .. } = &record.event {
            if sum >= most {
                break;
            }
            sum += chunk.bytes;
            reader.attach(&mut record)?;
        }
        kept.push(record);
    }
    Ok(kept)
}

fn sent(record: &Record) -> Sent {
    Sent::default().id(record.seq.0.to_string()).event("event").data(shown(record).to_string())
}

/// Returns an event as people and programs get it: as it is stored, with number, time and the bytes that belong to it.
pub(crate) fn shown(record: &Record) -> Value {
    let mut body: Value = serde_json::from_str(&record.body).unwrap_or_default();
    body["seq"] = record.seq.0.into();
    body["at"] = record.at.into();
    if let Some(passing) = &record.passing {
        match String::from_utf8(passing.bytes()) {
            Ok(text) => body["text"] = text.into(),
            Err(error) => {
                body["base64"] = base64::engine::general_purpose::STANDARD.encode(error.as_bytes()).into();
            }
        }
    }
    body
}
