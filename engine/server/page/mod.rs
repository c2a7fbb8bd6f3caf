//! The web page for people: HTML that the server makes, and a little JavaScript that keeps it up to date.
//!
//! A page is made of what the service knows (`service::overview`, `catalog`, `timetable` …); nothing is decided here. Pages work
//! under a strict Content Security Policy: no inline script or style, nothing from elsewhere.

mod access;
mod assets;
mod editor;
mod inventory;
mod project;
mod render;
mod run;
mod runbooks;
mod runs;
mod schedules;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::json;

use crate::model::role::Role;
use crate::server::App;
use crate::server::caller::{Asking, AtLeast, How, Viewer};
use crate::server::extract::Query;
use crate::server::guard::wants_html;
use crate::server::problem::Failure;
use crate::store::{AuditFilter, Audited};

pub(in crate::server) use render::{page, put};

/// The most of a problem that is read to show it as a page, in bytes.
const PROBLEM: usize = 256 << 10;

type Html = Result<Response, Failure>;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(async || Redirect::to("/runs")))
        .route("/runs", get(runs::list))
        .route("/runs/{run}", get(run::show))
        .route("/runs/{run}/plan", get(run::plan))
        .route("/runs/{run}/changes", get(run::changes))
        .route("/runs/{run}/source", get(run::source))
        .route("/runbooks", get(runbooks::list))
        .route("/runbook/{*path}", get(runbooks::show))
        .route("/schedules", get(schedules::list))
        .route("/schedules/calendar", get(schedules::calendar))
        .route("/schedule/{id}", get(schedules::show))
        .route("/inventory", get(inventory::list))
        .route("/inventory/host/{host}", get(inventory::host))
        .route("/queue", get(inventory::queue))
        .route("/audit", get(audit))
        .route("/project", get(project::show))
        .route("/users", get(access::users))
        .route("/user/{user}", get(access::user))
        .route("/users/tokens", get(access::tokens))
        .route("/users/roles", get(access::roles))
        .route("/editor", get(editor::list))
        .route("/editor/{*path}", get(editor::show))
        .merge(assets::router())
}

/// Gives a page its frame, and turns problems into pages where a person asks; all else stays as it is.
pub(super) async fn dressed(request: Request, next: Next) -> Response {
    let is_person = wants_html(request.headers()) && !request.uri().path().starts_with("/api/");
    let (caller, csrf) = match request.extensions().get::<Asking>() {
        Some(Asking::Known(known)) => {
            let csrf = match &known.how {
                How::Session { signed_in, .. } => signed_in.csrf.clone(),
                // Who shows a token needs no more, and has no session to end.
                How::Token | How::Job(_) => String::new(),
            };
            (Some(known.caller.clone()), csrf)
        }
        Some(Asking::Nobody | Asking::Stranger(_)) | None => (None, String::new()),
    };
    let response = next.run(request).await;
    if render::is_page(&response) {
        return render::framed(response, caller.as_ref(), &csrf);
    }
    let is_bad = response.status().is_client_error() || response.status().is_server_error();
    if !(is_person && is_bad) {
        return response;
    }
    render::framed(explained(response).await, caller.as_ref(), &csrf)
}

/// Makes a page of a problem.
async fn explained(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, PROBLEM).await else {
        return Failure::broken().into_response();
    };
    let Ok(problem) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
        return Response::from_parts(parts, bytes.into());
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    let answer = Response::from_parts(parts, axum::body::Body::empty());
    render::put(answer, "problem.html", json!({ "problem": problem, "title": "That did not work" }))
}

/// Which rows of the audit.
#[derive(Debug, Deserialize)]
struct Rows {
    #[serde(default)]
    q: String,
    before: Option<i64>,
}

async fn audit(AtLeast(caller): Viewer, State(app): State<App>, Query(rows): Query<Rows>) -> Html {
    const PAGE: usize = 100;
    let is_admin = caller.role == Role::Admin;
    let filter = AuditFilter {
        // As in the API: who is no admin sees their own.
        who: (!is_admin).then(|| caller.name()),
        words: Some(rows.q.trim().to_owned()).filter(|words| !words.is_empty()),
        before: rows.before,
        limit: PAGE,
        ..AuditFilter::default()
    };
    let found = app.look(move |desk| desk.read(|reader| Ok(reader.audit(&filter)?))).await?;
    let next = (found.len() == PAGE).then(|| found.last().map(|one| one.id)).flatten();
    let deeds = found.into_iter().map(|Audited { id, at, verdict }| {
        json!({
            "id": id, "at": at, "who": verdict.who, "address": verdict.address, "action": verdict.action,
            "target": verdict.target, "allowed": verdict.allowed, "reason": verdict.reason,
        })
    });
    let deeds: Vec<serde_json::Value> = deeds.collect();
    let values = json!({ "title": "Audit", "deeds": deeds, "next": next, "q": rows.q });
    Ok(page("audit.html", values))
}
