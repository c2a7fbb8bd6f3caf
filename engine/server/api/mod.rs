//! The API for programs: REST with problems as RFC 9457, described by OpenAPI 3.1 that is made from this code.

mod events;
mod hooks;
mod project;
mod questions;
mod runs;

use std::sync::Arc;

use axum::Json;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::App;
use crate::server::problem::Failure;

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
        .routes(routes!(questions::list))
        .routes(routes!(questions::answer))
        .routes(routes!(hooks::list))
        .routes(routes!(project::show))
        .routes(routes!(project::sync))
        .routes(routes!(project::read, project::edit))
}

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
        .route(
            "/hooks/gitlab",
            axum::routing::post(crate::server::hooks::gitlab)
                .layer(axum::extract::DefaultBodyLimit::max(crate::server::hooks::LARGEST)),
        )
        .route("/healthz", get(async || "ok\n"))
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

pub(crate) type Answer<T> = Result<Json<T>, Failure>;
