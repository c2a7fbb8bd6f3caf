//! The API for programs: REST with problems as RFC 9457, described by OpenAPI 3.1 that is made from this code.

mod audit;
mod detail;
mod events;
mod files;
mod hooks;
mod inventory;
mod look;
pub(super) mod project;
mod questions;
mod queue;
pub(super) mod roles;
mod runbooks;
mod runs;
mod schedules;
pub(super) mod session;
mod tokens;
mod users;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::extract::Json;
use crate::server::problem::Failure;
use crate::server::{App, health, hooks as webhook, metrics, reference};

#[derive(OpenApi)]
#[openapi(info(
    title = "nlrun",
    description = "Runs, their events, and everything that a server knows. Show a token as `Authorization: Bearer TOKEN`."
))]
struct Described;

fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(runs::list, runs::create))
        .routes(routes!(runs::show))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::resume))
        .routes(routes!(events::stream))
        .routes(routes!(look::log))
        .routes(routes!(look::search))
        .routes(routes!(look::artifact))
        .routes(routes!(look::replay))
        .routes(routes!(look::news))
        .routes(routes!(files::list))
        .routes(routes!(files::show, files::save, files::remove))
        .routes(routes!(files::check))
        .routes(routes!(files::words))
        .routes(routes!(questions::list))
        .routes(routes!(questions::answer))
        .routes(routes!(detail::effects))
        .routes(routes!(detail::output))
        .routes(routes!(detail::source))
        .routes(routes!(detail::plan))
        .routes(routes!(runbooks::list))
        .routes(routes!(runbooks::show))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::show))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::set))
        .routes(routes!(schedules::fates))
        .routes(routes!(schedules::simulate))
        .routes(routes!(inventory::hosts))
        .routes(routes!(inventory::groups))
        .routes(routes!(queue::show))
        .routes(routes!(queue::messages))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::show))
        .routes(routes!(session::show, session::create, session::delete))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::change, users::remove))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::remove))
        .routes(routes!(audit::list))
        .routes(routes!(roles::show))
        .routes(routes!(hooks::list))
        .routes(routes!(hooks::reviews))
        .routes(routes!(project::show))
        .routes(routes!(project::sync))
}

pub(crate) use schedules::json as schedule_json;

/// Returns the description of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().into_openapi()
}

pub(crate) fn router(description: Arc<utoipa::openapi::OpenApi>) -> axum::Router<App> {
    let text: Arc<str> = description.to_json().unwrap_or_default().into();
    let (routes, _) = described().split_for_parts();
    routes
        .route(
            "/openapi.json",
            get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text.to_string()) }),
        )
        .route("/hooks/gitlab", post(webhook::gitlab).layer(DefaultBodyLimit::max(webhook::LARGEST)))
        .merge(reference::router())
        .fallback(async || Failure::not_found("there is nothing at this address").into_response())
        .method_not_allowed_fallback(async || {
            Failure::new(
                axum::http::StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "this address takes other methods",
            )
        })
}

/// A page of a list.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Page<T> {
    /// What the page has.
    pub(crate) items: Vec<T>,
    /// What to give as `before` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<i64>,
}

/// A page of a list that goes by names.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Listing<T> {
    /// What the page has.
    pub(crate) items: Vec<T>,
    /// What to give as `after` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Takes a page out of a list: what comes after this name, 100 by default and 500 at most.
///
/// A name that is not in the list any more ends it: nothing is shown twice.
pub(crate) fn page_of<T>(
    all: Vec<T>,
    name: impl Fn(&T) -> &String,
    after: Option<&str>,
    limit: Option<usize>,
) -> Listing<T> {
    let limit = limit.unwrap_or(100).clamp(1, 500);
    let begin =
        after.map_or(0, |after| all.iter().position(|one| name(one) == after).map_or(all.len(), |at| at + 1));
    let has_more = all.len() > begin + limit;
    let items: Vec<T> = all.into_iter().skip(begin).take(limit).collect();
    let next = has_more.then(|| items.last().map(|one| name(one).clone())).flatten();
    Listing { items, next }
}

/// Writes an instant, from microseconds since 1970, as RFC 3339.
pub(crate) fn instant(at: i64) -> String {
    jiff::Timestamp::from_microsecond(at).map(|at| at.to_string()).unwrap_or_default()
}

/// Reads an instant as RFC 3339, to microseconds since 1970.
pub(crate) fn read_instant(text: &str) -> Result<i64, Failure> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(jiff::Timestamp::as_microsecond)
        .map_err(|_| Failure::invalid(format!("`{text}` is no time such as 2027-01-31T03:00:00Z")))
}

pub(crate) type Answer<T> = Result<Json<T>, Failure>;
