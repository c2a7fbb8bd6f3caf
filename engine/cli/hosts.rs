//! `hosts`: what would be touched, and how it is reached.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use crate::cli::Context;
use crate::cli::check::count;
use crate::cli::diagnostic::safe;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::cli::view::seconds;
use crate::model::inventory::{ALL, Inventory};
use crate::service::{Endpoint, Ping, ServiceError};

/// Show which hosts a pattern selects, and how they are reached
///
/// Address, port, user and jump hosts are those that a run would use: the inventory first, then ~/.ssh/config, then
/// defaults. With --json, one object a host: `name transport address port user jump proxy_command host_keys legacy groups`, and
/// `vars` with --vars, `ping` with --ping (`ok failure reason ms`). With --groups --json, one object a group: `name hosts children`.
#[derive(Debug, Args)]
#[command(after_help = "Patterns: `web:&nl:!edge-3`, `edge-*`, `edge-[1:3]`, `web[0]`, `@group`.\n\n\
    Examples:\n  nlrun hosts 'web:!edge-3'\n  nlrun hosts @db --ping\n  nlrun hosts edge-1 --vars")]
pub(crate) struct HostsOptions {
    /// Which hosts [default: all]
    pub(crate) pattern: Option<String>,
    /// Show variables, merged
    #[arg(long)]
    pub(crate) vars: bool,
    /// List groups instead of hosts
    #[arg(long, conflicts_with_all = ["ping", "vars"])]
    pub(crate) groups: bool,
    /// Connect to each host and say which of them answer; recorded as a run
    #[arg(long)]
    pub(crate) ping: bool,
}

pub(crate) fn hosts(context: &Context, options: &HostsOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let (place, out) = (&context.place, &context.out);
    let (inventory, notices) = project.load_inventory(context.common.inventory.as_deref(), &place.cwd)?;
    let warn = |text: &str| out.word(&format!("{}: {text}", out.words.yellow("warning")));
    for notice in &notices {
        warn(notice);
    }
    let hosts = match &options.pattern {
        Some(pattern) => inventory.select(pattern).map_err(ServiceError::from)?,
        // Without an inventory there is this machine.
        None if inventory.group(ALL).is_none_or(|all| all.hosts.is_empty()) => {
            inventory.hosts().cloned().collect()
        }
        None => inventory.select(ALL).map_err(ServiceError::from)?,
    };
    if options.groups {
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        groups(context, &inventory, &names);
        return Ok(0);
    }
    let (endpoints, warnings) = project.endpoints(place, &inventory, &hosts)?;
    for warning in &warnings {
        warn(warning);
    }
    let mut pings = None;
    if options.ping {
        let store = context.store(&project)?;
        let (run, answers) = project.ping(place, &store, inventory.clone(), &hosts)?;
        out.word(&format!("recorded as run {run}"));
        pings = Some(answers);
    }
    if out.json {
        print_json(context, options, &endpoints, pings.as_deref());
    } else {
        out.raw(table(context, &endpoints, pings.as_deref()).as_bytes());
        if options.vars {
            out.raw(vars(context, &endpoints).as_bytes());
        }
        out.word(&count(endpoints.len(), "host"));
    }
    let is_silent = |pings: &Vec<Ping>| pings.iter().any(|ping| !ping.ok);
    Ok(if pings.as_ref().is_some_and(is_silent) { 4 } else { 0 })
}

fn print_json(context: &Context, options: &HostsOptions, endpoints: &[Endpoint], pings: Option<&[Ping]>) {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let mut object = json!(endpoint);
        if let Some(fields) = object.as_object_mut() {
            if !options.vars {
                fields.remove("vars");
            }
            if let Some(ping) = pings.and_then(|pings| pings.get(index)) {
                let Ping { ok, failure, reason, ms, .. } = ping;
                fields.insert(
                    "ping".to_owned(),
                    json!({ "ok": ok, "failure": failure, "reason": reason, "ms": ms }),
                );
            }
        }
        context.out.json(&object);
    }
}

fn table(context: &Context, endpoints: &[Endpoint], pings: Option<&[Ping]>) -> String {
    let heads = ["host", "user", "address", "through", "groups"];
    let with_ping = ["host", "user", "address", "through", "answer"];
    let mut table = Table::new(&context.out, if pings.is_some() { &with_ping } else { &heads }, &[]);
    for (index, endpoint) in endpoints.iter().enumerate() {
        let address = match (endpoint.transport, endpoint.port) {
            ("local", _) => "this machine".to_owned(),
            (_, 22) => endpoint.address.clone(),
            (_, port) => format!("{}:{port}", endpoint.address),
        };
        let through = match &endpoint.proxy_command {
            Some(command) => command.clone(),
            None => endpoint.jump.join(", "),
        };
        let last = match pings.and_then(|pings| pings.get(index)) {
            Some(Ping { ok: true, ms, .. }) => {
                Cell::good(format!("ok {}", ms.map(|ms| seconds(ms as i64)).unwrap_or_default()))
            }
            Some(Ping { failure, reason, .. }) => {
                Cell::bad(reason.as_ref().or(failure.as_ref()).map_or("no answer", String::as_str))
            }
            None => Cell::new(
                endpoint.groups.iter().filter(|group| *group != ALL).cloned().collect::<Vec<_>>().join(" "),
            ),
        };
        table.row([
            Cell::new(&endpoint.name),
            Cell::new(&endpoint.user),
            Cell::new(address),
            Cell::new(through),
            last,
        ]);
    }
    table.text()
}

fn vars(context: &Context, endpoints: &[Endpoint]) -> String {
    let style = context.out.data;
    let mut text = String::new();
    for endpoint in endpoints {
        let _ = writeln!(text, "\n{}", style.bold(&endpoint.name));
        for (name, value) in &endpoint.vars {
            let _ = writeln!(text, "  {}: {}", safe(name), safe(&value.to_string()));
        }
    }
    text
}

/// Lists the groups that hold one of these hosts.
fn groups(context: &Context, inventory: &Inventory, hosts: &[&str]) {
    let mut table = Table::new(&context.out, &["group", "hosts", "children", "members"], &[1]);
    for group in inventory.groups() {
        if !group.hosts.is_empty() && !group.hosts.iter().any(|host| hosts.contains(&host.as_str())) {
            continue;
        }
        if context.out.json {
            context
                .out
                .json(&json!({ "name": group.name, "hosts": group.hosts, "children": group.children }));
            continue;
        }
        let shown: Vec<&str> = group.hosts.iter().take(6).map(String::as_str).collect();
        let more = if group.hosts.len() > shown.len() { " …" } else { "" };
        table.row([
            Cell::new(&group.name),
            Cell::new(group.hosts.len().to_string()),
            Cell::new(group.children.join(" ")),
            Cell::new(format!("{}{more}", shown.join(" "))),
        ]);
    }
    if !context.out.json {
        context.out.raw(table.text().as_bytes());
    }
}
