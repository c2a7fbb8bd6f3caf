//! Events of GitLab with what has become of them, and the runs that merge requests are told about.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::App;
use crate::server::api::{Answer, Page, instant};
use crate::server::caller::Viewer;
use crate::server::extract::Json;
use crate::server::problem::Problem;

/// How many events, and how many runs of merge requests, are listed.
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
    /// How often it was worked on.
    attempts: u32,
    /// When it is worked on (again), as long as it waits: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List events that GitLab has reported, newest first
#[utoipa::path(get, path = "/api/v1/hooks", tag = "hooks",
    responses((status = 200, body = Page<Reported>), (status = "default", body = Problem)))]
pub(crate) async fn list(_: Viewer, State(app): State<App>) -> Answer<Page<Reported>> {
    let hooks = app.look(|desk| desk.read(|reader| Ok(reader.hooks(MOST)?))).await?;
    let shown = |one: crate::store::Reported| Reported {
        id: one.id,
        at: instant(one.at),
        state: one.state,
        result: one.result,
        attempts: one.attempts,
        next: one.next_at.map(instant),
    };
    Ok(Json(Page { items: hooks.into_iter().map(shown).collect(), next: None }))
}

/// A run that a merge request is told about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Review {
    /// The run.
    run: i64,
    /// The project's path at GitLab.
    project: String,
    /// The number of the merge request.
    merge_request: u64,
    /// The commit that it was asked for.
    commit: String,
    /// The runbook.
    runbook: String,
    /// `plan` or `apply`.
    mode: String,
    /// How far it has come.
    status: String,
    /// Whether the merge request has been told so.
    told: bool,
}

/// List runs that merge requests are told about, newest first
#[utoipa::path(get, path = "/api/v1/reviews", tag = "hooks",
    responses((status = 200, body = Page<Review>), (status = "default", body = Problem)))]
pub(crate) async fn reviews(_: Viewer, State(app): State<App>) -> Answer<Page<Review>> {
    let found = app.look(|desk| desk.read(|reader| Ok(reader.reviews_newest(MOST)?))).await?;
    let shown = |one: crate::store::Review| Review {
        run: one.run.0,
        project: one.project,
        merge_request: one.merge_request,
        commit: one.commit,
        runbook: one.runbook,
        mode: one.mode.as_str().to_owned(),
        status: one.status.as_str().to_owned(),
        told: !one.is_news,
    };
    Ok(Json(Page { items: found.into_iter().map(shown).collect(), next: None }))
}
