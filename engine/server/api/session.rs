//! The session: signing in by password, who one is, signing out.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::model::role::{Caller, Role};
use crate::server::App;
use crate::server::api::{Answer, instant};
use crate::server::caller::{How, Known, cookie, session_cookie, set_cookie};
use crate::server::extract::Json;
use crate::server::guard::{Note, Visit};
use crate::server::problem::{Failure, Problem};
use crate::service::identity::NewSession;

/// Who somebody is here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// The name, as runs and audit show it.
    name: String,
    /// `viewer`, `operator`, `editor` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// The capabilities that their runs get, within what a runbook needs.
    grants: Vec<String>,
    /// Globs of the runbooks that they may run; all when empty.
    runbooks: Vec<String>,
    /// Whether they may ask for plans only.
    plans_only: bool,
    /// How they have shown who they are: `session`, `token` or `id_token`.
    by: &'static str,
    /// What goes into the header `X-CSRF-Token` with every change; for sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf: Option<String>,
    /// When the session ends at the latest: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<String>,
}

fn shown(caller: Caller, how: &How) -> Session {
    let (by, csrf, ends) = match how {
        How::Token => ("token", None, None),
        How::Job(_) => ("id_token", None, None),
        How::Session { signed_in, .. } => {
            ("session", Some(signed_in.csrf.clone()), Some(instant(signed_in.ends_at)))
        }
    };
    Session {
        name: caller.name(),
        role: caller.role,
        grants: caller.grants,
        runbooks: caller.runbooks,
        plans_only: caller.plans_only,
        by,
        csrf,
        ends,
    }
}

/// Who am I
#[utoipa::path(get, path = "/api/v1/session", tag = "session",
    responses((status = 200, body = Session), (status = "default", body = Problem)))]
pub(crate) async fn show(Known { caller, how }: Known) -> Answer<Session> {
    Ok(Json(shown(caller, &how)))
}

/// A name and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The name.
    name: String,
    /// The password.
    #[schema(value_type = String)]
    password: Zeroizing<String>,
}

/// Sign in by password
///
/// The session is in a cookie. Programs better show a token.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = Login,
    responses((status = 200, body = Session), (status = "default", body = Problem)))]
pub(crate) async fn create(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Result<Response, Failure> {
    let session = sign_in(&app, &visit, &headers, &login.name, &login.password).await?;
    let how = How::Session { secret: String::new(), signed_in: session.signed_in.clone() };
    let body = Json(shown(session.signed_in.caller.clone(), &how));
    Ok(begun(&session, &visit, body.into_response()))
}

/// Signs somebody in; what they have typed as their name is told to nobody unless it is one.
pub(in crate::server) async fn sign_in(
    app: &App,
    visit: &Visit,
    headers: &HeaderMap,
    name: &str,
    password: &str,
) -> Result<NewSession, Failure> {
    let before = cookie(headers, session_cookie(visit.is_https));
    match app.identity.sign_in(name, password.to_owned(), visit.address, before).await {
        Ok(session) => Ok(session),
        Err(error) => {
            let (identity, typed) = (app.identity.clone(), name.to_owned());
            let is_user = app.look(move |_| Ok(identity.is_user(&typed)?)).await?;
            let about = if is_user { name.to_owned() } else { "(no such user)".to_owned() };
            Err(Failure::from(error).noted(Note { about: Some(about), ..Note::default() }))
        }
    }
}

/// Gives the browser its new session along with an answer.
pub(in crate::server) fn begun(session: &NewSession, visit: &Visit, mut answer: Response) -> Response {
    let name = session.signed_in.caller.name();
    let cookie = set_cookie(
        session_cookie(visit.is_https),
        &session.secret,
        "/",
        session.lifetime.as_secs(),
        visit.is_https,
    );
    answer.headers_mut().append(header::SET_COOKIE, HeaderValue::from_str(&cookie).expect("hexadecimal"));
    let note = Note { who: Some(name.clone()), about: Some(name), is_decision: true };
    answer.extensions_mut().insert(note);
    answer
}

/// Ends a session, and takes it from the browser along with an answer.
pub(in crate::server) async fn end(
    app: &App,
    visit: &Visit,
    how: &How,
    mut answer: Response,
) -> Result<Response, Failure> {
    if let How::Session { secret, .. } = how {
        let (identity, secret) = (app.identity.clone(), secret.clone());
        app.look(move |_| Ok(identity.sign_out(&secret)?)).await?;
    }
    let cookie = set_cookie(session_cookie(visit.is_https), "", "/", 0, visit.is_https);
    answer.headers_mut().append(header::SET_COOKIE, HeaderValue::from_str(&cookie).expect("plain text"));
    Ok(answer)
}

/// Sign out
#[utoipa::path(delete, path = "/api/v1/session", tag = "session",
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn delete(
    Known { how, .. }: Known,
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Failure> {
    end(&app, &visit, &how, StatusCode::NO_CONTENT.into_response()).await
}
