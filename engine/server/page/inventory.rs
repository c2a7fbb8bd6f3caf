//! Hosts with their last results, and what waits for what.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::server::App;
use crate::server::caller::Viewer;
use crate::server::extract::{Path, Query};
use crate::server::page::{Html, render};
use crate::server::problem::Failure;
use crate::service::{Desk, ServiceError};
use crate::store::{Filter, LastOf};

/// Which hosts.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    q: String,
}

/// A host in the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    groups: Vec<String>,
    reached: String,
    last: Option<LastOf>,
}

pub(super) async fn list(_: Viewer, State(app): State<App>, Query(Wanted { q }): Query<Wanted>) -> Html {
    let pattern = q.trim().to_owned();
    let (hosts, groups, notices) = app
        .look(move |desk| {
            let project = desk.project_now()?;
            let (inventory, notices) = project.load_inventory(None, project.root())?;
            let selected = match pattern.as_str() {
                "" => inventory.hosts().cloned().collect(),
                pattern => inventory.select(pattern)?,
            };
            let hosts = desk.read::<_, ServiceError>(|reader| {
                let listed = |host: std::sync::Arc<crate::model::inventory::Host>| {
                    Ok(Listed {
                        last: reader.last_of_host(&host.name)?,
                        groups: host.groups.iter().filter(|group| *group != "all").cloned().collect(),
                        reached: reached(&host),
                        name: host.name.clone(),
                    })
                };
                selected.into_iter().map(listed).collect::<Result<Vec<_>, ServiceError>>()
            })?;
            let groups: Vec<(String, usize)> =
                inventory.groups().map(|group| (group.name.clone(), group.hosts.len())).collect();
            Ok((hosts, groups, notices))
        })
        .await?;
    let page = json!({ "title": "Inventory", "hosts": hosts, "groups": groups, "notices": notices, "q": q });
    Ok(render::page("inventory.html", page))
}

/// Says how a host is reached, as far as the inventory knows.
fn reached(host: &crate::model::inventory::Host) -> String {
    use crate::model::inventory::Transport;
    let connection = &host.connection;
    if connection.transport == Transport::Local {
        return "this machine".to_owned();
    }
    let user = connection.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = connection.port.map(|port| format!(":{port}")).unwrap_or_default();
    let address = connection.address.as_deref().unwrap_or(&host.name);
    let jump = if connection.jump.is_empty() {
        String::new()
    } else {
        format!(" by {}", connection.jump.join(", "))
    };
    format!("{user}{address}{port}{jump}")
}

pub(super) async fn host(_: Viewer, State(app): State<App>, Path(name): Path<String>) -> Html {
    let wanted = name.clone();
    let found = app
        .look(move |desk| {
            let project = desk.project_now()?;
            let (inventory, _) = project.load_inventory(None, project.root())?;
            let host = inventory.host(&wanted).cloned();
            let runs = desk.lines(&Filter { host: Some(wanted.clone()), limit: 50, ..Filter::default() })?;
            let last = desk.read::<_, ServiceError>(|reader| Ok(reader.last_of_host(&wanted)?))?;
            Ok((host, runs, last))
        })
        .await?;
    let (host, runs, last) = found;
    if host.is_none() && runs.is_empty() {
        return Err(Failure::not_found(format!("there is no host `{name}`, and no run had one")));
    }
    let known = host.map(|host| {
        json!({ "reached": reached(&host), "groups": host.groups.as_ref(), "vars": host.vars.iter().map(|(name, value)| (name.clone(), render::pretty(value))).collect::<Vec<_>>() })
    });
    let page =
        json!({ "title": format!("Host {name}"), "name": name, "known": known, "runs": runs, "last": last });
    Ok(render::page("host.html", page))
}

pub(super) async fn queue(_: Viewer, State(app): State<App>) -> Html {
    let present = app.look(Desk::present).await?;
    Ok(render::page("queue.html", json!({ "title": "Queue and locks", "present": present })))
}
