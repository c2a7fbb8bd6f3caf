//! Events of GitLab, and what has become of them.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::App;
use crate::server::api::{Answer, Page};
use crate::server::caller::Viewer;
use crate::server::extract::Json;
use crate::server::problem::Problem;

/// How many events are listed.
const MOST: usize = 200;

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reported {
    /// What its sender calls it.
    id: String,
    /// When it came: RFC 3339.
    at: String,
    /// `waiting`, `done`, `ignored` or `failed`.
    state: String,
    /// What came of it, in words.
    result: String,
}

/// List events that GitLab has reported, newest first
#[utoipa::path(get, path = "/api/v1/hooks", tag = "hooks",
    responses((status = 200, body = Page<Reported>), (status = "default", body = Problem)))]
pub(crate) async fn list(_: Viewer, State(app): State<App>) -> Answer<Page<Reported>> {
    let hooks = app.look(|desk| desk.read(|reader| Ok(reader.hooks(MOST)?))).await?;
    let time =
        |at: i64| jiff::Timestamp::from_microsecond(at).map(|time| time.to_string()).unwrap_or_default();
    let items = hooks
        .into_iter()
        .map(|one| Reported { id: one.id, at: time(one.at), state: one.state, result: one.result })
        .collect();
    Ok(Json(Page { items, next: None }))
}
