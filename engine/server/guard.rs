//! The guard: what every request passes, and what every answer carries.
//!
//! It finds out who asks, keeps out what other sites make a browser send, limits how often somebody asks, and puts every decision into the
//! audit: so no route can forget it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use futures_util::FutureExt as _;
use url::Url;
use utoipa::openapi::OpenApi;

use crate::model::network::Network;
use crate::server::App;
use crate::server::caller::{Asking, How, asking};
use crate::server::extract::whole;
use crate::server::listen::Peer;
use crate::server::problem::Failure;
use crate::store::Verdict;

/// The most bytes of a form that is looked into.
const MOST_FORM: usize = 64 * 1024;
/// The most bytes of an error that was not written here.
const MOST_WORDS: usize = 64 * 1024;
/// The most characters of what a decision is about.
const MOST_TARGET: usize = 500;
/// The header that carries what a form carries as `csrf`.
const CSRF: &str = "x-csrf-token";

/// Answers may use what comes from this server, and nothing else; scripts and styles are files of their own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// How people reach the server, and what its routes are called.
pub(crate) struct Gatehouse {
    /// `server.url`, or the address that it listens on.
    pub(crate) url: Url,
    proxies: Vec<Network>,
    actions: BTreeMap<(String, String), String>,
}

impl Gatehouse {
    /// Takes how people reach the server, whose word counts for others', and the routes.
    pub(super) fn new(url: Url, proxies: Vec<Network>, described: &OpenApi) -> Self {
        let mut actions = BTreeMap::new();
        for (path, item) in &described.paths.paths {
            for (method, operation) in [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("PATCH", &item.patch),
                ("DELETE", &item.delete),
            ] {
                let Some(operation) = operation else { continue };
                let tag = operation.tags.as_ref().and_then(|tags| tags.first());
                if let (Some(tag), Some(id)) = (tag, &operation.operation_id) {
                    actions.insert((method.to_owned(), path.clone()), format!("{tag}.{id}"));
                }
            }
        }
        // Whoever calls this is none of those that the API is for, so its description does not have it.
        actions.insert(("POST".to_owned(), "/hooks/gitlab".to_owned()), "hooks.receive".to_owned());
        Self { url, proxies, actions }
    }

    fn action(&self, method: &Method, path: &str) -> String {
        // What GET may, HEAD may.
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        let known = self.actions.get(&(method.to_owned(), path.to_owned()));
        known.cloned().unwrap_or_else(|| format!("{method} {path}"))
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address))
    }
}

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// Who asks, as far as proxies that are trusted tell.
    pub(crate) address: IpAddr,
    /// Whether people reach the server by https.
    pub(crate) is_https: bool,
}

impl Visit {
    fn of(house: &Gatehouse, peer: Peer, headers: &HeaderMap) -> Self {
        let mut address = peer.address.ip().to_canonical();
        let mut is_https = peer.is_tls || house.url.scheme() == "https";
        if house.is_trusted(address) {
            let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
            let hops: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
            // Each proxy adds whom it has seen at the end; the first one that is no proxy of ours is the client.
            for hop in hops.into_iter().rev() {
                let Ok(hop) = hop.parse::<IpAddr>() else { break };
                address = hop.to_canonical();
                if !house.is_trusted(address) {
                    break;
                }
            }
            is_https |= headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        }
        Self { address, is_https }
    }
}

/// What a handler tells the audit besides what everybody sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note {
    /// Who asked, where that is known only now.
    pub(crate) who: Option<String>,
    /// What it was about, where the address does not say it.
    pub(crate) about: Option<String>,
    /// Whether it is a decision although nothing but a page was asked for.
    pub(crate) is_decision: bool,
}

/// What a failure tells the audit.
#[derive(Debug, Clone)]
pub(crate) struct Why {
    pub(crate) detail: String,
    /// Whether it is one of many alike that need not be told.
    pub(crate) is_repeated: bool,
}

/// Passes a request on, or refuses it.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return Failure::broken().into_response();
    };
    let visit = Visit::of(&app.house, peer, request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let file = queried(request.uri().query().unwrap_or_default(), "path");
    let wanted = request.uri().path_and_query().map_or_else(|| path.clone(), ToString::to_string);
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let action = app.house.action(&method, route.as_deref().unwrap_or("(nothing)"));
    let is_for_people = !path.starts_with("/api/") && wants_html(request.headers());
    request.extensions_mut().insert(visit.clone());
    let (who, is_shown, answer) = match asking(&app, request.headers(), &visit).await {
        Err(failure) => ("nobody".to_owned(), true, failure.into_response()),
        Ok(who) => {
            request.extensions_mut().insert(who.clone());
            let (name, is_shown) = match &who {
                Asking::Known(known) => (known.caller.name(), true),
                Asking::Stranger(_) => ("nobody".to_owned(), true),
                Asking::Nobody => ("nobody".to_owned(), false),
            };
            let answer = match enter(&app, &who, &action, request).await {
                Err(failure) => failure.into_response(),
                Ok(request) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
                    Ok(answer) => answer,
                    Err(_) => Failure::broken().into_response(),
                },
            };
            (name, is_shown, answer)
        }
    };
    let answer = in_words(answer).await;
    let asked = Asked { who, is_shown, method: &method, path: &path, file, action };
    if let Some(verdict) = verdict(asked, &visit, &answer) {
        put_down(&app, verdict).await;
    }
    let mut answer = match answer.status() {
        StatusCode::UNAUTHORIZED if is_for_people && !is_write(&method) && !path.starts_with("/login") => {
            let next: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
            Redirect::to(&format!("/login?next={next}")).into_response()
        }
        _ => answer,
    };
    harden(answer.headers_mut(), visit.is_https);
    answer
}

/// Returns what a query gives a name.
fn queried(query: &str, name: &str) -> Option<String> {
    let found = url::form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned())
}

/// Whether a request may change something.
fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Whether a browser asks for a page.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|text| text.contains("text/html"))
}

/// Checks what goes for every route.
async fn enter(app: &App, who: &Asking, action: &str, request: Request) -> Result<Request, Failure> {
    if let Asking::Known(known) = who {
        app.identity.count(&known.caller).map_err(Failure::too_many)?;
    }
    if !is_write(request.method()) {
        return Ok(request);
    }
    match who {
        Asking::Known(known) => {
            if known.caller.plans_only && action != "runs.create" {
                return Err(Failure::forbidden(format!("{} may ask for plans only", known.caller.name())));
            }
            match &known.how {
                How::Session { signed_in, .. } => {
                    check_origin(app, &request, true)?;
                    if matches!(request.uri().path(), "/login" | "/api/v1/session")
                        && request.method() == Method::POST
                    {
                        // Who signs in once more has no page that could know the token.
                        return Ok(request);
                    }
                    let (request, shown) = csrf(request).await?;
                    match shown {
                        Some(shown) if signed_in.csrf_fits(&shown) => Ok(request),
                        _ => Err(Failure::forbidden(format!(
                            "who is signed in by cookie changes things with the header `{CSRF}`, or `csrf` in a form; \
                             `GET /api/v1/session` tells its value"
                        ))),
                    }
                }
                // Other sites cannot make a browser send the header that shows these.
                How::Token | How::Job(_) => Ok(request),
            }
        }
        Asking::Nobody => {
            check_origin(app, &request, false)?;
            Ok(request)
        }
        Asking::Stranger(_) => Ok(request),
    }
}

/// Refuses what a page of another site has sent.
fn check_origin(app: &App, request: &Request, is_needed: bool) -> Result<(), Failure> {
    let (house, headers) = (&app.house, request.headers());
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let other = || Failure::forbidden("another site has sent this");
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return if matches!(site, "same-origin" | "none") { Ok(()) } else { Err(other()) };
    }
    let Some(origin) = text(header::ORIGIN) else {
        return if is_needed {
            Err(Failure::forbidden("a browser says with `Origin` which site sends this, and this does not"))
        } else {
            Ok(())
        };
    };
    let origin = Url::parse(origin).map_err(|_| other())?.origin();
    let is_https = request.extensions().get::<Visit>().is_some_and(|visit| visit.is_https);
    // Somebody in the network may speak for a host by http, and may not for the one that has https.
    let schemes: &[&str] = if is_https { &["https"] } else { &["http", "https"] };
    let is_own = origin == house.url.origin()
        || text(header::HOST).is_some_and(|host| {
            schemes.iter().any(|scheme| {
                Url::parse(&format!("{scheme}://{host}")).is_ok_and(|own| own.origin() == origin)
            })
        });
    if is_own { Ok(()) } else { Err(other()) }
}

/// Returns what a request shows against forgery: in a header, or in a form.
async fn csrf(request: Request) -> Result<(Request, Option<String>), Failure> {
    if let Some(shown) = request.headers().get(CSRF) {
        let shown = shown.to_str().ok().map(str::to_owned);
        return Ok((request, shown));
    }
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| media.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if !is_form {
        return Ok((request, None));
    }
    let (parts, body) = request.into_parts();
    let bytes = whole(body, MOST_FORM).await?;
    let shown = url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "csrf");
    let shown = shown.map(|(_, value)| value.into_owned());
    Ok((Request::from_parts(parts, Body::from(bytes)), shown))
}

/// Makes a problem of what the library refuses in plain words: a body that does not parse, for one.
async fn in_words(answer: Response) -> Response {
    let status = answer.status();
    let is_plain = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|media| media.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_plain {
        return answer;
    }
    let kind = match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "invalid",
        StatusCode::PAYLOAD_TOO_LARGE => "too-large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media-type",
        _ => "failed",
    };
    let (parts, body) = answer.into_parts();
    let words = to_bytes(body, MOST_WORDS).await.unwrap_or_default();
    let mut answer = Failure::new(status, kind, String::from_utf8_lossy(&words).trim()).into_response();
    for (name, value) in &parts.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }
    answer
}

/// What was asked for, and by whom.
struct Asked<'a> {
    who: String,
    is_shown: bool,
    method: &'a Method,
    path: &'a str,
    /// The file of the project that the query names.
    file: Option<String>,
    action: String,
}

/// Returns what the audit is told: every write, and every refusal of somebody who shows something.
fn verdict(asked: Asked<'_>, visit: &Visit, answer: &Response) -> Option<Verdict> {
    let status = answer.status();
    let note = answer.extensions().get::<Note>().cloned().unwrap_or_default();
    let why = answer.extensions().get::<Why>();
    let is_refused =
        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
    let is_done = status.is_success() || status.is_redirection() || status.is_server_error();
    // A check is asked for with every key that somebody types, and changes nothing.
    let is_decision = (is_write(asked.method) && asked.path != "/api/v1/check") || note.is_decision;
    let is_told = match (is_refused, is_decision) {
        (true, is_decision) => (is_decision || asked.is_shown) && !why.is_some_and(|why| why.is_repeated),
        // What does not parse, or is not there, was nobody's decision.
        (false, is_decision) => is_decision && is_done,
    };
    let path = asked.path.strip_prefix("/api/v1/").unwrap_or(asked.path);
    let target = note.about.unwrap_or_else(|| match asked.file {
        Some(file) => format!("{path} {file}"),
        None => path.to_owned(),
    });
    is_told.then(|| Verdict {
        who: note.who.unwrap_or(asked.who),
        address: visit.address.to_string(),
        action: asked.action,
        target: target.chars().take(MOST_TARGET).collect(),
        allowed: !is_refused,
        reason: why.map(|why| why.detail.chars().take(500).collect()).unwrap_or_default(),
    })
}

async fn put_down(app: &App, verdict: Verdict) {
    if let Err(failure) = app.look(move |desk| Ok(desk.store().audit(&verdict)?)).await {
        tracing::error!(reason = failure.detail(), "a decision is not in the audit");
    }
}

/// Says what a browser may do with an answer.
fn harden(headers: &mut HeaderMap, is_https: bool) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if is_https {
        let value = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
}
