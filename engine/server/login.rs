//! The pages for signing in and out. They need no script.

use axum::Extension;
use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::server::App;
use crate::server::api::session::{begun, end, sign_in};
use crate::server::caller::{Asking, How, Known, cookie, session_cookie, set_cookie};
use crate::server::guard::{Note, Visit};
use crate::server::page;
use crate::server::problem::Failure;
use crate::service::identity::Answer;

/// The template of the page.
const PAGE: &str = "login.html";
/// The cookie of a sign-in that is under way at the provider, and where it is sent.
const UNDER_WAY: (&str, &str) = ("nlrun_oidc", "/login/oidc");
/// How long it is kept, in seconds.
const WAIT: u64 = 600;
/// Where the provider sends people back to.
const BACK: &str = "/login/oidc/done";

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/login", get(show).post(enter))
        .route("/logout", post(leave))
        .route("/login/oidc", get(begin))
        .route(BACK, get(finish))
}

/// Where somebody wants to go, and whether they come from signing out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    next: String,
    out: Option<u8>,
}

async fn show(
    State(app): State<App>,
    Extension(asking): Extension<Asking>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let end = match asked.out {
        Some(_) => app.identity.end_of_oidc(&back(&app, "/login")).await,
        None => None,
    };
    let is_session = match &asking {
        Asking::Known(known) => matches!(known.how, How::Session { .. }),
        Asking::Nobody | Asking::Stranger(_) => false,
    };
    Ok(page::page(PAGE, values(&app, &asked.next, None, is_session, end)))
}

/// What the form holds.
#[derive(Deserialize)]
struct Login {
    name: String,
    password: Zeroizing<String>,
    #[serde(default)]
    next: String,
}

async fn enter(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> Result<Response, Failure> {
    match sign_in(&app, &visit, &headers, &login.name, &login.password).await {
        Ok(session) => Ok(begun(&session, &visit, Redirect::to(local(&login.next)).into_response())),
        Err(failure) => Ok(refused(&app, &login.next, failure)),
    }
}

async fn leave(
    Known { how, .. }: Known,
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Failure> {
    end(&app, &visit, &how, Redirect::to("/login?out=1").into_response()).await
}

async fn begin(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let redirect = back(&app, BACK);
    let begun = match app.identity.begin_oidc(&redirect, local(&asked.next), visit.address).await {
        Ok(begun) => begun,
        Err(error) => return Ok(refused(&app, &asked.next, error.into())),
    };
    let mut answer = Redirect::to(&begun.location).into_response();
    let (name, path) = UNDER_WAY;
    let cookie = set_cookie(name, &begun.cookie, path, WAIT, visit.is_https);
    answer.headers_mut().append(header::SET_COOKIE, HeaderValue::from_str(&cookie).expect("hexadecimal"));
    Ok(answer)
}

/// What the provider sends along.
#[derive(Deserialize)]
struct Returned {
    #[serde(default)]
    state: String,
    code: Option<Zeroizing<String>>,
    iss: Option<String>,
    error: Option<String>,
}

async fn finish(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    Query(returned): Query<Returned>,
) -> Result<Response, Failure> {
    let (name, path) = UNDER_WAY;
    let shown = cookie(&headers, name).unwrap_or_default();
    let redirect = back(&app, BACK);
    let answer = Answer {
        cookie: &shown,
        state: &returned.state,
        code: returned.code.as_ref().map(|code| code.as_str()),
        issuer: returned.iss.as_deref(),
        error: returned.error.as_deref(),
        redirect: &redirect,
    };
    let before = cookie(&headers, session_cookie(visit.is_https));
    let mut answer = match app.identity.finish_oidc(&answer, visit.address, before).await {
        Ok((session, next)) => begun(&session, &visit, Redirect::to(local(&next)).into_response()),
        Err(error) => {
            let note = Note { about: Some("provider".to_owned()), is_decision: true, ..Note::default() };
            refused(&app, "", Failure::from(error).noted(note))
        }
    };
    let gone = set_cookie(name, "", path, 0, visit.is_https);
    answer.headers_mut().append(header::SET_COOKIE, HeaderValue::from_str(&gone).expect("plain text"));
    Ok(answer)
}

/// Shows the form again, with what was wrong; the audit sees the refusal.
fn refused(app: &App, next: &str, failure: Failure) -> Response {
    let shown = values(app, next, Some(failure.detail()), false, None);
    page::put(failure.into_response(), PAGE, shown)
}

fn values(app: &App, next: &str, message: Option<&str>, is_session: bool, end: Option<String>) -> Value {
    json!({
        "title": "Sign in", "next": local(next), "message": message, "is_session": is_session, "end": end,
        "provider": app.identity.provider(),
    })
}

/// Returns a path of this server as people reach it.
fn back(app: &App, path: &str) -> String {
    format!("{}{path}", app.house.url.as_str().trim_end_matches('/'))
}

/// Returns an address of this server, or its front page for any other.
fn local(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_local { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for next in ["/", "/runs/1?x=y", "/a/b#c"] {
            assert_eq!(local(next), next);
        }
        for next in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "\\\\evil",
            "/a\r\nX: y",
            "javascript:1",
            "/\t/evil",
        ] {
            assert_eq!(local(next), "/", "{next:?}");
        }
    }
}
