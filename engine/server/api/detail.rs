//! What a run did, piece by piece: effects, diffs, output, sources, its plan.

use std::collections::HashMap;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use crate::model::address::Address;
use crate::model::event::{Event, Request, Verdict};
use crate::model::run::{RunId, Seq};
use crate::server::App;
use crate::server::api::{Answer, Page};
use crate::server::caller::Viewer;
use crate::server::extract::{Json, Path, Query};
use crate::server::problem::{Failure, Problem};
use crate::service::{ServiceError, plan_of, start_of};

/// Events that one page of effects looks at, at most.
const LOOKED_AT: usize = 20_000;
/// Pieces of output that wait for a slow client.
const PIECES: usize = 8;

/// An effect of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Effect {
    /// Its place in the run.
    address: String,
    /// `read`, `ensure` or `act`.
    kind: String,
    /// Its name.
    effect: String,
    /// What it touches, in words.
    target: String,
    /// The beginning of its command.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    /// `ok`, `changed`, `failed`, `unreachable`, `skipped`; absent while it goes on. Of a plan: whether it would change something.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// A unified diff of what changed, or would.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    /// Where the runbook asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// The number of the event that ended it, or began it.
    event: i64,
}

/// Which effects to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Only effects with a diff.
    #[serde(default)]
    diff: bool,
    /// Only effects that failed.
    #[serde(default)]
    failed: bool,
    /// Only effects on this host.
    host: Option<String>,
    /// Effects that ended after this event: `next` of the page before.
    after: Option<i64>,
    /// How many at most; 200 by default, 1000 at most.
    limit: Option<usize>,
}

/// List the effects of a run in the order in which they ended; those that go on come with the last page
#[utoipa::path(get, path = "/api/v1/runs/{run}/effects", tag = "runs",
    params(("run" = i64, Path, description = "its number"), Wanted),
    responses((status = 200, body = Page<Effect>), (status = "default", body = Problem)))]
pub(crate) async fn effects(
    _: Viewer,
    State(app): State<App>,
    Path(run): Path<i64>,
    Query(wanted): Query<Wanted>,
) -> Answer<Page<Effect>> {
    let page = app.look(move |desk| {
        desk.read(|reader| {
            reader.run(RunId(run))?;
            let limit = wanted.limit.unwrap_or(200).clamp(1, 1000);
            let after = wanted.after.unwrap_or(0).max(0);
            let mut open: HashMap<Address, (i64, Box<Request>)> = HashMap::new();
            let mut items: Vec<Effect> = Vec::new();
            let mut at = Seq(0);
            let mut looked_at = 0;
            let is_wanted = |one: &Effect, request: &Request| {
                let host = request.target.host();
                (!wanted.diff || one.diff.is_some())
                    && (!wanted.failed || one.failure.is_some())
                    && wanted.host.as_deref().is_none_or(|wanted| host == Some(wanted))
            };
            loop {
                let events = reader.events(RunId(run), at, 1000)?;
                let is_last = events.len() < 1000;
                for record in events {
                    at = record.seq;
                    looked_at += usize::from(at.0 > after);
                    let effect = match record.event {
                        Event::Intent { address, request, .. } => {
                            open.insert(address, (record.seq.0, request));
                            continue;
                        }
                        Event::Outcome { address, verdict, ms, diff, failure, .. } => {
                            let Some((_, request)) = open.remove(&address) else { continue };
                            let failure = failure.map(|failure| failure.message);
                            let end = (Some(verdict), Some(ms), failure, diff);
                            (shown(&address, &request, at.0, end), request)
                        }
                        Event::Forecast { address, request, changes, diff, .. } => {
                            let verdict = if changes { Verdict::Changed } else { Verdict::Ok };
                            (shown(&address, &request, at.0, (Some(verdict), None, None, diff)), request)
                        }
                        _ => continue,
                    };
                    if at.0 > after && is_wanted(&effect.0, &effect.1) {
                        items.push(effect.0);
                    }
                    if items.len() == limit || looked_at >= LOOKED_AT {
                        return Ok::<_, ServiceError>(Page { items, next: Some(at.0) });
                    }
                }
                if is_last {
                    break;
                }
            }
            let mut open: Vec<_> = open.into_iter().collect();
            open.sort_by_key(|one| one.1.0);
            let going = open.into_iter().map(|(address, (seq, request))| {
                (shown(&address, &request, seq, (None, None, None, None)), request)
            });
            items.extend(going.filter(|(one, request)| is_wanted(one, request)).map(|(one, _)| one));
            Ok(Page { items, next: None })
        })
    });
    Ok(Json(page.await?))
}

type End = (Option<Verdict>, Option<u64>, Option<String>, Option<String>);

fn shown(address: &Address, request: &Request, event: i64, (verdict, ms, failure, diff): End) -> Effect {
    Effect {
        address: address.to_string(),
        kind: request.kind.to_string(),
        effect: request.effect.clone(),
        target: request.target.to_string(),
        about: request.about(),
        verdict: verdict.map(|verdict| verdict.as_str().to_owned()),
        ms,
        failure,
        diff,
        site: request.site.as_ref().map(ToString::to_string),
        event,
    }
}

/// Whose output.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    /// The effect's address, such as `4[edge-2]/1`.
    address: String,
    /// `out` by default, or `err`.
    stream: Option<String>,
}

/// Get the kept output of an effect, byte for byte
#[utoipa::path(get, path = "/api/v1/runs/{run}/output", tag = "runs",
    params(("run" = i64, Path, description = "its number"), Whose),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "default", body = Problem)))]
pub(crate) async fn output(
    _: Viewer,
    State(app): State<App>,
    Path(run): Path<i64>,
    Query(whose): Query<Whose>,
) -> Result<Response, Failure> {
    let stream = whose.stream.unwrap_or_else(|| "out".to_owned());
    if !["out", "err"].contains(&stream.as_str()) {
        return Err(Failure::invalid("`stream` is `out` or `err`"));
    }
    let (run, address) = (RunId(run), Address::parse(&whose.address));
    let wanted = address.clone();
    let last = app.look(move |desk| {
        desk.read(|reader| {
            let last = reader.run(run)?.last_seq;
            let mut is_known = false;
            crate::service::walk::<ServiceError>(reader, run, Seq(0), |record| {
                is_known |= record.event.address() == Some(&wanted);
                Ok(())
            })?;
            Ok(is_known.then_some(last))
        })
    });
    let Some(last) = last.await? else {
        return Err(Failure::not_found(format!("run {run} has no effect `{address}`")));
    };
    let name = format!("run-{run}-{}-{stream}.txt", plain(address.as_str()));
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(PIECES);
    let desk = app.desk.clone();
    tokio::task::spawn_blocking(move || {
        let poured = desk.read::<_, ServiceError>(|reader| {
            Ok(reader.pour(run, (Seq(1), last), &address, &stream, |piece| {
                // Nobody reads any more: no more is read.
                sender.blocking_send(Ok(Bytes::copy_from_slice(piece))).is_ok()
            })?)
        });
        if let Err(error) = poured {
            let _ = sender.blocking_send(Err(std::io::Error::other(error.to_string())));
        }
    });
    let pieces = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    Ok((kept(&name), Body::from_stream(pieces)).into_response())
}

/// Headers with which a browser saves bytes of others and shows none of them.
pub(crate) fn kept(name: &str) -> [(header::HeaderName, String); 3] {
    [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", plain(name))),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ]
}

fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// The texts that a run was started with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Source {
    /// The path in the project.
    path: String,
    /// The SHA-256 of the text.
    sha256: String,
    /// The text.
    text: String,
}

/// Which text.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// The path; the runbook itself by default.
    path: Option<String>,
}

/// Get the text of a script as the run had it
#[utoipa::path(get, path = "/api/v1/runs/{run}/source", tag = "runs",
    params(("run" = i64, Path, description = "its number"), Which),
    responses((status = 200, body = Source), (status = "default", body = Problem)))]
pub(crate) async fn source(
    _: Viewer,
    State(app): State<App>,
    Path(run): Path<i64>,
    Query(which): Query<Which>,
) -> Answer<Source> {
    let found = app.look(move |desk| {
        desk.read(|reader| {
            reader.run(RunId(run))?;
            let start = start_of(reader, RunId(run))?;
            let path = which.path.unwrap_or(start.runbook);
            let Some(hash) = start.sources.get(&path) else {
                let known = start.sources.keys().cloned().collect::<Vec<_>>().join(", ");
                return Ok::<_, ServiceError>(Err(format!(
                    "run {run} has no script `{path}`; it has {known}"
                )));
            };
            Ok(Ok(Source { text: reader.text(hash)?, sha256: hash.clone(), path }))
        })
    });
    found.await?.map(Json).map_err(Failure::not_found)
}

/// Get the plan of a planned run, as `nlrun plan -o` writes it
#[utoipa::path(get, path = "/api/v1/runs/{run}/plan", tag = "runs",
    params(("run" = i64, Path, description = "its number")),
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub(crate) async fn plan(
    _: Viewer,
    State(app): State<App>,
    Path(run): Path<i64>,
) -> Answer<serde_json::Value> {
    let plan = app.look(move |desk| {
        desk.read(|reader| {
            reader.run(RunId(run))?;
            match plan_of(reader, RunId(run)) {
                Ok(plan) => Ok(Ok(plan)),
                Err(ServiceError::Unusable { reason, .. }) => Ok(Err(format!("run {run}: {reason}"))),
                Err(error) => Err(error),
            }
        })
    });
    let plan = plan.await?.map_err(Failure::conflict)?;
    Ok(Json(serde_json::to_value(plan).unwrap_or_default()))
}
