//! What watching people need besides the stream: pages of a log, search, kept files, a replay, and news.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use crate::model::run::{RunId, Seq};
use crate::server::App;
use crate::server::api::events::{shown, with_output};
use crate::server::api::{Answer, Page};
use crate::server::caller::{Operator, Viewer};
use crate::server::extract::{Json, Path, Query};
use crate::server::problem::{Failure, Problem};
use crate::service::{Replayed, ServiceError};

/// The most events of one page.
const MOST: usize = 1000;
/// About how many bytes of output one page has at most.
const BYTES: u64 = 1 << 20;
/// The most pieces of output that a search finds.
const HITS: usize = 200;
/// The least time between two pieces of news.
const PAUSE: Duration = Duration::from_millis(400);

/// Which part of a log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// Events before this number: the last ones of them.
    before: Option<i64>,
    /// Events after this number; counts where `before` is not given.
    after: Option<i64>,
    /// How many at most; 200 by default, 1000 at most. There are fewer where their output is large.
    limit: Option<usize>,
}

/// A part of a log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Log {
    /// The events in order, each with `seq`, `at` and, of output, `text` or `base64`.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
    /// The number of the run's last event so far.
    last: i64,
    /// Whether the run is over.
    over: bool,
}

/// Read a part of a run's log, from any place
#[utoipa::path(get, path = "/api/v1/runs/{run}/log", tag = "runs",
    params(("run" = i64, Path, description = "its number"), Part),
    responses((status = 200, body = Log), (status = "default", body = Problem)))]
pub(crate) async fn log(
    _: Viewer,
    State(app): State<App>,
    Path(run): Path<i64>,
    Query(part): Query<Part>,
) -> Answer<Log> {
    let run = RunId(run);
    let limit = part.limit.unwrap_or(200).clamp(1, MOST);
    let log = app.look(move |desk| {
        desk.read::<_, ServiceError>(|reader| {
            let row = reader.run(run)?;
            let mut records = match part.before {
                Some(before) => {
                    reader.events_before(run, Seq(before.clamp(0, i64::from(u32::MAX))), limit)?
                }
                None => {
                    let after = part.after.unwrap_or(0).clamp(0, i64::from(u32::MAX));
                    reader.events(run, Seq(after), limit)?
                }
            };
            // Of much output there are fewer events: those next to where somebody looks.
            if part.before.is_some() {
                records.reverse();
            }
            let mut records = with_output(reader, records, BYTES)?;
            if part.before.is_some() {
                records.reverse();
            }
            let items = records.iter().map(shown).collect();
            Ok(Log { items, last: row.last_seq.0, over: row.summary.status.is_over() })
        })
    });
    Ok(Json(log.await?))
}

/// What to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sought {
    /// Words that must all be in a piece of output; `"two words"` is a phrase, `fail*` a beginning.
    q: String,
}

/// A piece of output that holds the words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hit {
    /// The run.
    run: i64,
    /// The event.
    seq: i64,
    /// The effect's address.
    address: String,
    /// Lines that match, at most five.
    lines: Vec<String>,
}

/// Search in the output of a run, newest first
#[utoipa::path(get, path = "/api/v1/runs/{run}/search", tag = "runs",
    params(("run" = i64, Path, description = "its number"), Sought),
    responses((status = 200, body = Page<Hit>), (status = "default", body = Problem)))]
pub(crate) async fn search(
    _: Viewer,
    State(app): State<App>,
    Path(run): Path<i64>,
    Query(query): Query<Sought>,
) -> Answer<Page<Hit>> {
    let hits = app.look(move |desk| Ok(desk.store().search(&query.q, Some(RunId(run)), HITS)?)).await?;
    let hit = |hit: crate::store::Hit| Hit {
        run: hit.run.0,
        seq: hit.seq.0,
        address: hit.address,
        lines: hit.lines,
    };
    Ok(Json(Page { items: hits.into_iter().map(hit).collect(), next: None }))
}

/// Get a file that a run has kept
#[utoipa::path(get, path = "/api/v1/runs/{run}/artifacts/{name}", tag = "runs",
    params(("run" = i64, Path, description = "its number"), ("name" = String, Path, description = "the file's name")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "default", body = Problem)))]
pub(crate) async fn artifact(
    _: Viewer,
    State(app): State<App>,
    Path((run, name)): Path<(i64, String)>,
) -> Result<Response, Failure> {
    let wanted = name.clone();
    let bytes = app.look(move |desk| desk.read(|reader| Ok(reader.artifact(RunId(run), &wanted)?))).await?;
    let bytes = bytes.ok_or_else(|| Failure::not_found(format!("run {run} has kept no file `{name}`")))?;
    // Whatever a script has put into it, the browser only saves it.
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{plain}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

/// Run a recorded run again from its journal alone
///
/// Nothing is touched and nothing is written: it shows whether the script still does the same with the same answers.
#[utoipa::path(post, path = "/api/v1/runs/{run}/replay", tag = "runs",
    params(("run" = i64, Path, description = "its number")),
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub(crate) async fn replay(_: Operator, State(app): State<App>, Path(run): Path<i64>) -> Answer<Replayed> {
    Ok(Json(app.look(move |desk| desk.replay(RunId(run))).await?))
}

/// Be told that something has changed
///
/// Server-sent events `news` with a number that grows; look again at what you show.
#[utoipa::path(get, path = "/api/v1/news", tag = "runs",
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "default", body = Problem)))]
pub(crate) async fn news(
    _: Viewer,
    State(app): State<App>,
) -> Sse<impl Stream<Item = Result<Sent, Infallible>>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _followed = app.streams.open();
        let (mut news, mut ending) = (app.desk.news(), app.ending.clone());
        loop {
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                _ = ending.wait_for(|ended| *ended) => return,
                () = sender.closed() => return,
            }
            let number = *news.borrow_and_update();
            if sender.send(Sent::default().event("news").data(number.to_string())).await.is_err() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    let events = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|sent| (Ok(sent), receiver))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
