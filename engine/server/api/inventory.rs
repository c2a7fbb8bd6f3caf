//! The inventory: hosts and groups, what a pattern selects, and how the last run went for each host.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::inventory::ALL;
use crate::server::App;
use crate::server::api::{Answer, Listing, instant, page_of};
use crate::server::caller::Viewer;
use crate::server::extract::{Json, Query};
use crate::server::problem::Problem;
use crate::service::Desk;
use crate::service::ServiceError;
use crate::store::LastOf;

/// A host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Host {
    /// Its name.
    host: String,
    /// `ssh` or `local`; absent where nobody knows how to reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<String>,
    /// What is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The TCP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// The login name.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The hosts to go through, first hop first.
    jump: Vec<String>,
    /// A command that reaches it, in place of jump hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_command: Option<String>,
    /// Its groups, without `all`.
    groups: Vec<String>,
    /// How the last run with it ended; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<LastResult>,
    /// Why nobody knows how to reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// How the last run with a host ended for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastResult {
    /// The run.
    run: i64,
    /// `ok`, `changed`, `failed`, `skipped` or `unreachable`.
    verdict: String,
    /// When the run began: RFC 3339.
    at: String,
}

/// Which hosts to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// A pattern such as `web:&nl:!edge-3`; all hosts by default.
    pattern: Option<String>,
    /// Those after this one, in the order of the inventory: `next` of the page before.
    after: Option<String>,
    /// How many at most; 100 by default, 500 at most.
    limit: Option<usize>,
}

/// List hosts, in the order of the inventory
#[utoipa::path(get, path = "/api/v1/hosts", tag = "inventory", params(Wanted),
    responses((status = 200, body = Listing<Host>), (status = "default", body = Problem)))]
pub(crate) async fn hosts(
    _: Viewer,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Answer<Listing<Host>> {
    let page = app.look(move |desk| {
        let project = desk.project_now()?;
        let inventory = desk.inventory()?;
        let hosts = match &wanted.pattern {
            Some(pattern) => inventory.select(pattern)?,
            None => inventory.hosts().cloned().collect(),
        };
        let page = page_of(hosts, |host| &host.name, wanted.after.as_deref(), wanted.limit);
        let last: BTreeMap<String, LastOf> = desk.read::<_, ServiceError>(|reader| {
            Ok(reader.last_of_hosts()?.into_iter().map(|last| (last.host.clone(), last)).collect())
        })?;
        let shown = |host: std::sync::Arc<crate::model::inventory::Host>| {
            // One host that cannot be reached as it is described does not hide the others.
            let found = project.endpoints(desk.place(), &inventory, std::slice::from_ref(&host));
            let (endpoint, fault) = match found {
                Ok((endpoints, _)) => (endpoints.into_iter().next(), None),
                Err(error) => (None, Some(crate::gate::sentence(&error))),
            };
            let last = last.get(&host.name).map(|last| LastResult {
                run: last.run.0,
                verdict: last.verdict.clone(),
                at: instant(last.at),
            });
            let groups =
                inventory.groups().filter(|group| group.name != ALL && group.hosts.contains(&host.name));
            Host {
                host: host.name.clone(),
                groups: groups.map(|group| group.name.clone()).collect(),
                transport: endpoint.as_ref().map(|endpoint| endpoint.transport.to_owned()),
                address: endpoint.as_ref().map(|endpoint| endpoint.address.clone()),
                port: endpoint.as_ref().map(|endpoint| endpoint.port),
                user: endpoint.as_ref().map(|endpoint| endpoint.user.clone()),
                jump: endpoint.as_ref().map(|endpoint| endpoint.jump.clone()).unwrap_or_default(),
                proxy_command: endpoint.and_then(|endpoint| endpoint.proxy_command),
                last,
                fault,
            }
        };
        Ok(Listing { items: page.items.into_iter().map(shown).collect(), next: page.next })
    });
    Ok(Json(page.await?))
}

/// A group of hosts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Group {
    /// Its name.
    group: String,
    /// Its hosts, those of its children included.
    hosts: Vec<String>,
    /// The groups in it.
    children: Vec<String>,
}

/// Which groups to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedGroups {
    /// Those after this one: `next` of the page before.
    after: Option<String>,
    /// How many at most; 100 by default, 500 at most.
    limit: Option<usize>,
}

/// List groups of hosts, by name
#[utoipa::path(get, path = "/api/v1/groups", tag = "inventory", params(WantedGroups),
    responses((status = 200, body = Listing<Group>), (status = "default", body = Problem)))]
pub(crate) async fn groups(
    _: Viewer,
    State(app): State<App>,
    Query(wanted): Query<WantedGroups>,
) -> Answer<Listing<Group>> {
    let inventory = app.look(Desk::inventory).await?;
    let shown = |group: &crate::model::inventory::Group| Group {
        group: group.name.clone(),
        hosts: group.hosts.clone(),
        children: group.children.clone(),
    };
    let all: Vec<Group> = inventory.groups().map(shown).collect();
    Ok(Json(page_of(all, |one| &one.group, wanted.after.as_deref(), wanted.limit)))
}
