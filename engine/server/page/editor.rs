//! The editor: the files of the project, and one of them as a text.

use axum::extract::State;
use serde_json::json;

use crate::server::App;
use crate::server::caller::{AtLeast, Viewer};
use crate::server::extract::Path;
use crate::server::page::{Html, render};
use crate::service::{Desk, Text};

pub(super) async fn list(_: Viewer, State(app): State<App>) -> Html {
    let files = app.look(Desk::editable).await?;
    let page = json!({ "title": "Editor", "files": files, "open": None::<Text> });
    Ok(render::page("editor.html", page))
}

pub(super) async fn show(AtLeast(caller): Viewer, State(app): State<App>, Path(path): Path<String>) -> Html {
    let wanted = path.clone();
    let (files, open) =
        app.look(move |desk| Ok((desk.editable()?, desk.text_of(&wanted, None, &caller.name())?))).await?;
    let page = json!({ "title": path, "files": files, "open": open });
    Ok(render::page("editor.html", page))
}
