//! The project: what is in force and since when, what GitLab has reported, and what that triggers.

use axum::extract::State;
use serde_json::{Value, json};

use crate::model::hook::Definition;
use crate::server::App;
use crate::server::api;
use crate::server::caller::Viewer;
use crate::server::page::{Html, render};
use crate::service::{Desk, ServiceError};

/// Events of GitLab, and runs of merge requests, on the page.
const MOST: usize = 50;

pub(super) async fn show(_: Viewer, State(app): State<App>) -> Html {
    let address = app.house.url.join("/hooks/gitlab").map(String::from).unwrap_or_default();
    let page = app
        .look(move |desk| {
            let (hooks, reviews) = desk
                .read::<_, ServiceError>(|reader| Ok((reader.hooks(MOST)?, reader.reviews_newest(MOST)?)))?;
            let reviews: Vec<Value> = reviews
                .into_iter()
                .map(|one| {
                    json!({
                        "run": one.run, "merge_request": one.merge_request, "runbook": one.runbook,
                        "commit": one.commit, "mode": one.mode, "status": one.status, "told": !one.is_news,
                    })
                })
                .collect();
            let (triggers, wrong) = triggers(desk);
            Ok(json!({
                "title": "Project", "project": api::project::shown(desk), "hook": hook(desk, &address),
                "hooks": hooks, "reviews": reviews, "triggers": triggers, "wrong": wrong,
            }))
        })
        .await?;
    Ok(render::page("project.html", page))
}

/// Says which events are taken, and what proves them; nothing where none are.
fn hook(desk: &Desk, address: &str) -> Option<Value> {
    let settings = &desk.project().config().server.gitlab;
    let project = settings.project.as_ref()?;
    let proofs = [
        settings.signing_token.as_ref().map(|_| "a signature"),
        settings.webhook_token.as_ref().filter(|_| !settings.require_signature).map(|_| "the secret token"),
    ];
    let proofs: Vec<&str> = proofs.into_iter().flatten().collect();
    let notes = settings.notes.as_ref().map(|notes| {
        let grants: Vec<String> = notes.grants.iter().cloned().map(String::from).collect();
        json!({ "plan": notes.plan.as_str(), "apply": notes.apply.as_str(), "grants": grants, "runbooks": notes.runbooks })
    });
    Some(json!({ "project": project, "address": address, "proof": proofs.join(" or "), "notes": notes }))
}

/// Lists the triggers in force, or what is wrong with them.
fn triggers(desk: &Desk) -> (Vec<Value>, Vec<String>) {
    let shown = |Definition { trigger, file, line }: Definition| {
        json!({
            "id": trigger.id, "doc": trigger.doc, "enabled": trigger.enabled, "on": trigger.on.as_str(),
            "runbook": trigger.runbook, "mode": trigger.mode, "grants": trigger.grants, "file": file, "line": line,
        })
    };
    match desk.project_now().and_then(|project| project.triggers()) {
        Ok(found) => (found.into_iter().map(shown).collect(), Vec::new()),
        Err(ServiceError::Check(found)) => {
            let wrong = found.iter().map(|one| format!("{}:{}: {}", one.file, one.line, one.message));
            (Vec::new(), wrong.collect())
        }
        Err(error) => (Vec::new(), vec![error.to_string()]),
    }
}
