//! The repository that the server follows: its state, fetched at once, and edits of its files.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::server::App;
use crate::server::api::Answer;
use crate::server::caller::{AtLeast, Editor, Operator, Viewer};
use crate::server::problem::{Failure, Problem};
use crate::service::{Desk, EditError, Repository, ServiceError, Wish};

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

fn repository(desk: &Desk) -> Result<&Repository, ServiceError> {
    let reason = "the server runs a plain folder; with `server.project` it follows a repository".to_owned();
    desk.folders().repository().ok_or(ServiceError::Revision { reason })
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
    let synced = app.look(|desk| {
        repository(desk)?.wait(PATIENCE);
        Ok(shown(desk))
    });
    Ok(Json(synced.await?))
}

/// Which file.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Which {
    /// Its path in the project.
    path: String,
    /// Branch, tag or commit; the commit in force by default.
    revision: Option<String>,
}

/// A file of the project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct File {
    /// The commit that it was read from: what an edit names as its `base`.
    commit: String,
    /// Its text.
    text: String,
}

/// Read a file of the project
#[utoipa::path(get, path = "/api/v1/project/file", tag = "project", params(Which),
    responses((status = 200, body = File), (status = "default", body = Problem)))]
pub(crate) async fn read(_: Viewer, State(app): State<App>, Query(which): Query<Which>) -> Answer<File> {
    let found = app.look(move |desk| {
        let repository = repository(desk)?;
        let refused = |reason: String| ServiceError::Revision { reason };
        let commit = match &which.revision {
            Some(revision) => repository.bring(revision).map_err(refused)?,
            None => repository.sync().commit.ok_or_else(|| refused("there is no project yet".to_owned()))?,
        };
        let bytes = repository.read(&commit, &which.path).map_err(|fault| refused(fault.told()))?;
        Ok(bytes.map(|bytes| (commit, which.path, String::from_utf8(bytes))))
    });
    match found.await? {
        None => Err(Failure::not_found("there is no such file in that commit")),
        Some((_, path, Err(_))) => Err(Failure::invalid(format!("`{path}` is not text in UTF-8"))),
        Some((commit, _, Ok(text))) => Ok(Json(File { commit, text })),
    }
}

/// An edit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// The file's path in the project.
    path: String,
    /// What it holds then; absent to delete it.
    text: Option<String>,
    /// The commit that the author has seen.
    base: String,
    /// The branch; one that is not there yet begins at `base`.
    branch: String,
    /// What is changed, in words.
    #[serde(default)]
    message: String,
    /// The author's address for mail.
    #[serde(default)]
    mail: String,
}

/// What became of an edit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Saved {
    /// The commit.
    commit: String,
    /// Whether there was something to do.
    changed: bool,
    /// The branch's merge request, where GitLab is configured and the branch is not the followed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    merge_request: Option<String>,
}

/// Edit a file of the project
///
/// It becomes a commit on a branch, pushed at once. 409 when somebody else has changed the file since `base`.
#[utoipa::path(put, path = "/api/v1/project/file", tag = "project", request_body = Edit,
    responses((status = 200, body = Saved), (status = "default", body = Problem)))]
pub(crate) async fn edit(
    AtLeast(caller): Editor,
    State(app): State<App>,
    Json(edit): Json<Edit>,
) -> Result<(StatusCode, Json<Saved>), Failure> {
    let author = crate::world::repository::Author { name: caller.name(), mail: edit.mail };
    let wish = Wish {
        path: edit.path,
        text: edit.text,
        base: edit.base,
        branch: edit.branch,
        message: edit.message,
        author,
    };
    let saved = app.look(move |desk| Ok(desk.save(&wish)));
    match saved.await? {
        Ok(saved) => Ok((
            StatusCode::OK,
            Json(Saved {
                commit: saved.written.commit,
                changed: saved.written.changed,
                merge_request: saved.merge_request,
            }),
        )),
        Err(error @ EditError::Conflict(_)) => Err(Failure::conflict(error.to_string())),
        Err(error @ EditError::Refused(_)) => Err(Failure::invalid(error.to_string())),
    }
}
