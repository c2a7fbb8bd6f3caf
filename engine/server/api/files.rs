//! Files of the project: listed, read, saved, deleted.

use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::server::App;
use crate::server::api::{Answer, Page};
use crate::server::caller::{AtLeast, Editor, Viewer};
use crate::server::extract::{Json, Query};
use crate::server::problem::Problem;
use crate::service::{Change, Saved, Text};

/// List the files that can be edited
#[utoipa::path(get, path = "/api/v1/files", tag = "files",
    responses((status = 200, body = Page<String>), (status = "default", body = Problem)))]
pub(crate) async fn list(_: Viewer, State(app): State<App>) -> Answer<Page<String>> {
    Ok(Json(Page { items: app.look(crate::service::Desk::editable).await?, next: None }))
}

/// Which file.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Its path in the project.
    path: String,
    /// A branch of the repository; by default the caller's own for this file where it is not merged yet, and else the one in force.
    branch: Option<String>,
}

/// Read a file
///
/// Of one that is not there yet, text and hash are empty.
#[utoipa::path(get, path = "/api/v1/file", tag = "files", params(Which),
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub(crate) async fn show(
    AtLeast(caller): Viewer,
    State(app): State<App>,
    Query(Which { path, branch }): Query<Which>,
) -> Answer<Text> {
    Ok(Json(app.look(move |desk| desk.text_of(&path, branch.as_deref(), &caller.name())).await?))
}

/// What a file is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewText {
    /// The whole text.
    text: String,
    /// The hash of what it was made from; empty for a new file.
    before: String,
    /// Why, in words.
    #[serde(default)]
    message: String,
}

/// Save a file
///
/// It is checked first, and refused where the check finds errors or somebody else has saved it since. Where the server follows a repository,
/// it becomes a commit on a branch, pushed at once, and a merge request where GitLab is configured.
#[utoipa::path(put, path = "/api/v1/file", tag = "files", request_body = NewText, params(Which),
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub(crate) async fn save(
    AtLeast(caller): Editor,
    State(app): State<App>,
    Query(Which { path, branch }): Query<Which>,
    Json(new): Json<NewText>,
) -> Answer<Saved> {
    let NewText { text, before, message } = new;
    let change = Change { path, text: Some(text), before, who: caller.name(), message, branch };
    Ok(Json(app.look(move |desk| desk.save(&change, &caller)).await?))
}

/// Which file is to go.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Gone {
    /// Its path in the project.
    path: String,
    /// The hash of what it holds.
    before: String,
    /// Why, in words.
    #[serde(default)]
    message: String,
    /// A branch of the repository; by default the caller's own for this file.
    branch: Option<String>,
}

/// Delete a file
///
/// It goes as it comes: at once from a folder, by a commit on a branch from a repository.
#[utoipa::path(delete, path = "/api/v1/file", tag = "files", params(Gone),
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub(crate) async fn remove(
    AtLeast(caller): Editor,
    State(app): State<App>,
    Query(Gone { path, before, message, branch }): Query<Gone>,
) -> Answer<Saved> {
    let change = Change { path, text: None, before, who: caller.name(), message, branch };
    Ok(Json(app.look(move |desk| desk.save(&change, &caller)).await?))
}
