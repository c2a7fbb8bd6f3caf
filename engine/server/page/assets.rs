//! Scripts, styles and pictures of the page: in the binary, under an address that changes with them.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::server::App;
use crate::server::problem::Failure;
use crate::store::sha256;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, media type and content.
const ALL: [(&str, &str, &str); 11] = [
    ("app.css", "text/css; charset=utf-8", include_str!("assets/app.css")),
    ("theme.js", SCRIPT, include_str!("assets/theme.js")),
    ("app.js", SCRIPT, include_str!("assets/app.js")),
    ("api.js", SCRIPT, include_str!("assets/api.js")),
    ("live.js", SCRIPT, include_str!("assets/live.js")),
    ("log.js", SCRIPT, include_str!("assets/log.js")),
    ("form.js", SCRIPT, include_str!("assets/form.js")),
    ("editor.js", SCRIPT, include_str!("assets/editor.js")),
    ("rhai.js", SCRIPT, include_str!("assets/rhai.js")),
    ("source.js", SCRIPT, include_str!("assets/source.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// A hash over all of them: it is part of their address, so that a browser may keep them for ever.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: Vec<String> =
        ALL.iter().map(|(name, _, text)| format!("{name} {}", sha256(text.as_bytes()))).collect();
    sha256(all.join("\n").as_bytes())[..16].to_owned()
});

/// Returns the folder under which they are, such as `/assets/0123456789abcdef`.
pub(super) fn folder() -> String {
    format!("/assets/{}", *VERSION)
}

pub(super) fn router() -> Router<App> {
    Router::new().route("/assets/{version}/{name}", get(asset)).route(
        "/favicon.ico",
        get(async || axum::response::Redirect::permanent(&format!("{}/icon.svg", folder()))),
    )
}

async fn asset(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let found = ALL.iter().find(|(known, ..)| *known == name);
    // Of another version than the page that asked for it, it might not fit together with the rest.
    let Some((_, media, text)) = found.filter(|_| version == *VERSION) else {
        return Failure::not_found("there is nothing at this address").into_response();
    };
    let tag = format!("\"{}\"", *VERSION);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let shared = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    if known.is_some_and(|tags| tags.contains(&tag)) {
        return (StatusCode::NOT_MODIFIED, shared).into_response();
    }
    (shared, [(header::CONTENT_TYPE, *media)], *text).into_response()
}
