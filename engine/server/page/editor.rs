//! The editor: the files of the project, and one of them as a text.

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use crate::server::App;
use crate::server::caller::{AtLeast, Viewer};
use crate::server::extract::{Path, Query};
use crate::server::page::{Html, render};
use crate::service::{Desk, Text};

/// Where a file is read from and goes to, where somebody wants another branch than their own.
#[derive(Debug, Deserialize)]
pub(super) struct On {
    branch: Option<String>,
}

pub(super) async fn list(_: Viewer, State(app): State<App>) -> Html {
    let files = app.look(Desk::editable).await?;
    let page = json!({ "title": "Editor", "files": files, "open": None::<Text> });
    Ok(render::page("editor.html", page))
}

pub(super) async fn show(
    AtLeast(caller): Viewer,
    State(app): State<App>,
    Path(path): Path<String>,
    Query(On { branch }): Query<On>,
) -> Html {
    let (wanted, on) = (path.clone(), branch.clone());
    let (files, open) = app
        .look(move |desk| Ok((desk.editable()?, desk.text_of(&wanted, on.as_deref(), &caller.name())?)))
        .await?;
    let page = json!({ "title": path, "files": files, "open": open, "on": branch });
    Ok(render::page("editor.html", page))
}
