//! The repository that the server follows: its state, and fetched at once.

use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::duration;
use crate::model::schedule::StaleSync;
use crate::server::App;
use crate::server::api::Answer;
use crate::server::caller::{Operator, Viewer};
use crate::server::extract::Json;
use crate::server::problem::{Failure, Problem};
use crate::service::Desk;
use crate::world::clock;
use crate::world::repository::Verify;

/// How long a request waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(60);

/// The project as the server follows it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Project {
    /// Whether it comes from a repository; else the server runs a folder, and the rest is absent.
    follows: bool,
    /// The repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    /// All branches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    branches: Vec<String>,
    /// The commit in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// Where people can see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_link: Option<String>,
    /// The first line of its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    /// When it was made: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<String>,
    /// When it was last fetched: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    synced: Option<String>,
    /// The time between two fetches.
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<String>,
    /// Why it cannot be fetched, or why what was fetched is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// How many fetches in a row went wrong.
    failures: u32,
    /// How long ago the last fetch that went well may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_sync_age: Option<String>,
    /// What becomes of a run when it is longer ago: `fail` or `run_last_good`.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_sync: Option<StaleSync>,
    /// Why no run begins now, because it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<String>,
    /// Whether a commit has to be signed.
    verifies: bool,
    /// What of the commit was left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Returns the project as it is now.
pub(in crate::server) fn shown(desk: &Desk) -> Project {
    let Some(repository) = desk.folders().repository() else { return Project::default() };
    let (settings, sync) = (repository.settings(), repository.sync());
    let made = sync.about.as_ref().and_then(|about| jiff::Timestamp::from_second(about.at).ok());
    Project {
        follows: true,
        url: Some(settings.remote.to_string()),
        branch: Some(settings.branch.clone()),
        branches: repository.branches(),
        commit_link: sync.commit.as_deref().and_then(|commit| desk.commit_link(commit)),
        commit: sync.commit,
        subject: sync.about.as_ref().map(|about| about.subject.clone()),
        author: sync.about.map(|about| about.author),
        made: made.map(|at| at.to_string()),
        synced: sync.at.map(|at| at.to_string()),
        every: Some(duration::text(settings.every)),
        trouble: sync.trouble,
        failures: sync.failures,
        max_sync_age: settings.max_sync_age.map(duration::text),
        stale_sync: Some(settings.stale_sync),
        stale: repository.stale(None, clock::now()),
        verifies: settings.verify == Verify::Signed,
        warnings: sync.warnings,
    }
}

/// Show the project
#[utoipa::path(get, path = "/api/v1/project", tag = "project",
    responses((status = 200, body = Project), (status = "default", body = Problem)))]
pub(crate) async fn show(_: Viewer, State(app): State<App>) -> Answer<Project> {
    Ok(Json(app.look(|desk| Ok(shown(desk))).await?))
}

/// Fetch the project now
#[utoipa::path(post, path = "/api/v1/project/sync", tag = "project",
    responses((status = 200, body = Project), (status = "default", body = Problem)))]
pub(crate) async fn sync(_: Operator, State(app): State<App>) -> Answer<Project> {
    let synced = app.work(|desk| {
        let Some(repository) = desk.folders().repository() else {
            let reason = "the server runs a plain folder; with `server.project` it follows a repository";
            return Err(Failure::invalid(reason));
        };
        repository.wait(PATIENCE);
        Ok(shown(desk))
    });
    Ok(Json(synced.await?))
}
