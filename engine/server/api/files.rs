//! Files of the project: listed, read, checked as they are typed, saved; and parameters tried before a run.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::bindings;
use crate::model::given::Given;
use crate::model::role::Caller;
use crate::model::runbook::ParameterError;
use crate::runner::reference;
use crate::server::App;
use crate::server::api::{Answer, Page};
use crate::server::caller::{AtLeast, Editor, Viewer};
use crate::server::extract::{Json, Query};
use crate::server::guard::Note;
use crate::server::problem::{Failure, Problem};
use crate::service::{Change, Kept, Text};

/// List the files that can be edited
#[utoipa::path(get, path = "/api/v1/files", tag = "files",
    responses((status = 200, body = Page<String>), (status = "default", body = Problem)))]
pub(crate) async fn list(_: Viewer, State(app): State<App>) -> Answer<Page<String>> {
    Ok(Json(Page { items: app.look(crate::service::Desk::editable).await?, next: None }))
}

/// Which file.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Its path in the project.
    path: String,
    /// A branch of the repository; by default the caller's own for this file where it is not merged yet, and else the one in force.
    branch: Option<String>,
}

/// Read a file
///
/// Of one that is not there yet, text and hash are empty.
#[utoipa::path(get, path = "/api/v1/file", tag = "files",
    params(Which),
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
#[utoipa::path(put, path = "/api/v1/file", tag = "files", request_body = NewText,
    params(Which),
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub(crate) async fn save(
    AtLeast(caller): Editor,
    State(app): State<App>,
    Query(Which { path, branch }): Query<Which>,
    Json(new): Json<NewText>,
) -> Result<(Extension<Note>, Json<Kept>), Failure> {
    let NewText { text, before, message } = new;
    let change = Change { path, text: Some(text), before, who: caller.name(), message, branch };
    changed(&app, change, caller).await
}

/// Which file is to go.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
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
) -> Result<(Extension<Note>, Json<Kept>), Failure> {
    let change = Change { path, text: None, before, who: caller.name(), message, branch };
    changed(&app, change, caller).await
}

/// Makes a change, and tells the audit which file it was, and where that went.
async fn changed(
    app: &App,
    change: Change,
    caller: Caller,
) -> Result<(Extension<Note>, Json<Kept>), Failure> {
    let mut about = format!("file {}", change.path);
    let kept = app.look(move |desk| desk.save_text(&change, &caller)).await?;
    if let (Some(branch), Some(commit)) = (&kept.branch, &kept.commit) {
        about = format!("{about} on {branch}: {commit}");
    }
    Ok((Extension(Note { about: Some(about), ..Note::default() }), Json(kept)))
}

/// What to check.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The file, as a path in the project.
    path: String,
    /// Its text as it is being typed.
    text: Option<String>,
    /// Parameters to try; texts are read by the type of the parameter.
    #[schema(value_type = Option<Object>)]
    params: Option<BTreeMap<String, Value>>,
}

/// What a check found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Found {
    /// Findings with places, as `nlrun check --json` has them.
    #[schema(value_type = Vec<Object>)]
    findings: Vec<crate::model::diagnostic::Diagnostic>,
    /// What is wrong with parameters.
    params: Vec<WrongParameter>,
}

/// A parameter that does not fit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WrongParameter {
    /// Its name.
    name: String,
    /// What is wrong, in a sentence.
    message: String,
}

/// Check a file as it is being typed, or parameters before a run
#[utoipa::path(post, path = "/api/v1/check", tag = "files", request_body = Asked,
    responses((status = 200, body = Found), (status = "default", body = Problem)))]
pub(crate) async fn check(_: Viewer, State(app): State<App>, Json(asked): Json<Asked>) -> Answer<Found> {
    let found = app.look(move |desk| {
        let findings = match &asked.text {
            Some(text) => desk.look_over(&asked.path, text)?,
            None => Vec::new(),
        };
        let params = match asked.params {
            Some(params) => desk.try_params(&asked.path, params.into_iter().map(given).collect())?,
            None => Vec::new(),
        };
        Ok(Found { findings, params: params.iter().map(wrong).collect() })
    });
    Ok(Json(found.await?))
}

/// Reads a value as a form or a program gives it.
fn given((name, value): (String, Value)) -> (String, Given) {
    let given = match value {
        Value::String(text) => Given::Text(text),
        value => Given::Value(value),
    };
    (name, given)
}

fn wrong(error: &ParameterError) -> WrongParameter {
    let (ParameterError::Unknown { name, .. }
    | ParameterError::Missing { name, .. }
    | ParameterError::Type { name, .. }
    | ParameterError::Value { name, .. }) = error;
    WrongParameter { name: name.clone(), message: error.to_string() }
}

/// List what a runbook can call: bindings and the standard library
#[utoipa::path(get, path = "/api/v1/words", tag = "files",
    responses((status = 200, body = Page<Object>), (status = "default", body = Problem)))]
pub(crate) async fn words(_: Viewer) -> Answer<Page<Value>> {
    let mut items: Vec<Value> = bindings::signatures()
        .into_iter()
        .map(|signature| {
            let options: Vec<Value> =
                signature.options.iter().map(|one| json!({ "name": one.name, "doc": one.doc })).collect();
            json!({
                "name": signature.name, "usage": signature.usage(), "doc": signature.doc,
                "returns": signature.returns, "options": options,
                "effect": signature.performs.map(|performs| performs.effect),
                "kind": signature.performs.map(|performs| performs.kind),
            })
        })
        .collect();
    for module in reference::modules() {
        for function in &module.functions {
            items.push(json!({
                "name": format!("{}::{}", module.name, function.name),
                "usage": function.usage(&module.name), "doc": function.doc, "module": module.name,
            }));
        }
    }
    Ok(Json(Page { items, next: None }))
}
