//! The repository that the server follows: its state, and fetched at once.

use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::App;
use crate::server::api::Answer;
use crate::server::caller::{Operator, Viewer};
use crate::server::extract::Json;
use crate::server::problem::{Failure, Problem};
use crate::service::Desk;

/// How long a request waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(60);

/// The project as the server follows it.
#[derive(Debug, Serialize, ToSchema)]
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
    /// When it was last fetched: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    synced: Option<String>,
    /// Why it cannot be fetched, or why what was fetched is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// What of the commit was left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

fn shown(desk: &Desk) -> Project {
    let Some(repository) = desk.folders().repository() else {
        return Project {
            follows: false,
            url: None,
            branch: None,
            branches: Vec::new(),
            commit: None,
            synced: None,
            trouble: None,
            warnings: Vec::new(),
        };
    };
    let (settings, sync) = (repository.settings(), repository.sync());
    Project {
        follows: true,
        url: Some(settings.remote.to_string()),
        branch: Some(settings.branch.clone()),
        branches: repository.branches(),
        commit: sync.commit,
        synced: sync.at.map(|at| at.to_string()),
        trouble: sync.trouble,
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
