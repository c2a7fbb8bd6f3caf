//! The reference page of the API: one page of ours that reads `/openapi.json`, without anything from elsewhere.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::server::App;

const PAGE: &str = include_str!("reference/index.html");
const SCRIPT: &str = include_str!("reference/reference.js");
const STYLE: &str = include_str!("reference/reference.css");

/// What the page may do: its own script and style, and requests to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/reference", get(async || file("text/html; charset=utf-8", PAGE)))
        .route("/reference/reference.js", get(async || file("text/javascript; charset=utf-8", SCRIPT)))
        .route("/reference/reference.css", get(async || file("text/css; charset=utf-8", STYLE)))
}

fn file(media: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
