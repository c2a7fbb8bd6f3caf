//! The web page for people: HTML that the server makes, and a little JavaScript that keeps it up to date.
//!
//! A page is made of what the service knows (`service::overview`, `catalogue`, `timetable` …); nothing is decided here. Pages work
//! under a strict Content Security Policy: no inline script or style, nothing from elsewhere.

mod assets;
mod editor;
mod inventory;
mod render;
mod run;
mod runbooks;
mod runs;
mod schedules;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::json;

use crate::server::App;
use crate::server::caller::{AtLeast, Viewer};
use crate::server::problem::Failure;

/// What a page may load: its own scripts, styles and pictures, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

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
        .route("/schedule/{id}", get(schedules::show).post(schedules::change))
        .route("/inventory", get(inventory::list))
        .route("/inventory/host/{host}", get(inventory::host))
        .route("/queue", get(inventory::queue))
        .route("/audit", get(audit))
        .route("/editor", get(editor::list))
        .route("/editor/{*path}", get(editor::show))
        .route("/login", get(login))
        .layer(axum::middleware::from_fn(dressed))
        .merge(assets::router())
}

/// Adds the headers of a page, and turns problems into pages for people.
async fn dressed(request: Request, next: Next) -> Response {
    let wants = |accept: &HeaderValue| accept.to_str().is_ok_and(|types| types.contains("text/html"));
    let is_person = request.headers().get(header::ACCEPT).is_some_and(wants);
    let asked = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let mut response = next.run(request).await;
    if is_person && response.status() == StatusCode::UNAUTHORIZED {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("to", &asked);
        response = Redirect::to(&format!("/login?{}", query.finish())).into_response();
    } else if is_person && (response.status().is_client_error() || response.status().is_server_error()) {
        response = explained(response).await;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

async fn explained(response: Response) -> Response {
    let status = response.status();
    let (parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, PROBLEM).await else {
        return Failure::broken().into_response();
    };
    let Ok(problem) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
        return Response::from_parts(parts, bytes.into());
    };
    let page =
        render::page(None, "problem.html", json!({ "problem": problem, "title": "That did not work" }));
    page.map_or_else(IntoResponse::into_response, |page| (status, page).into_response())
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
    let text = rows.q.clone();
    let found = app.look(move |desk| desk.read(|reader| Ok(reader.audit_trail(&text, rows.before, PAGE)?)));
    let deeds = found.await?;
    let next = (deeds.len() == PAGE).then(|| deeds.last().map(|deed| deed.id)).flatten();
    render::page(
        Some(&caller),
        "audit.html",
        json!({ "title": "Audit", "deeds": deeds, "next": next, "q": rows.q }),
    )
}

/// Where somebody wanted to go.
#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    to: String,
    #[serde(default)]
    wrong: bool,
}

async fn login(Query(wanted): Query<Wanted>) -> Html {
    // Only addresses of this server: a link must not lead away after the password was given.
    let is_here = wanted.to.starts_with('/') && !wanted.to.starts_with("//") && !wanted.to.contains('\\');
    let to = if is_here { wanted.to } else { "/".to_owned() };
    let page = json!({ "title": "Sign in", "to": to, "wrong": wanted.wrong, "oidc": None::<String> });
    render::page(None, "login.html", page)
}
