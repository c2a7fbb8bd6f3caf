//! A line of the server's own log for each request, with a number that its answer has, too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

/// The header with the number of a request: as it came, or as it is given here.
const REQUEST: &str = "x-request-id";
/// The header with the version, by which a command line knows what it talks to.
pub(crate) const VERSION: &str = "nlrun-version";

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Logs a request when its answer begins; never its query, which may hold what is nobody's business.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST).and_then(|value| value.to_str().ok());
    let is_fit = |id: &&str| {
        !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let id = given.filter(is_fit).map_or_else(
        || format!("{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)),
        str::to_owned,
    );
    let method = request.method().clone();
    // The pattern and not the path: names in it are of whoever asks.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let begun = Instant::now();
    let span = tracing::info_span!("request", id);
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, ms) = (response.status().as_u16(), begun.elapsed().as_millis() as u64);
    span.in_scope(|| match status {
        500.. => tracing::error!(%method, route, status, ms, "answered"),
        400.. => tracing::info!(%method, route, status, ms, "refused"),
        _ => tracing::debug!(%method, route, status, ms, "answered"),
    });
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST, value);
    }
    headers.insert(VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    response
}
