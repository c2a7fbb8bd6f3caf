//! Lists of a server: runs and hosts.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::check::count;
use crate::cli::hosts::HostsOptions;
use crate::cli::problem::Problem;
use crate::cli::remote::Remote;
use crate::cli::remote::shown::Shown;
use crate::cli::runs::{RunsOptions, run_json, table};
use crate::cli::table::{Cell, Table};
use crate::cli::when;

#[derive(Deserialize)]
struct Page<T, N> {
    items: Vec<T>,
    next: Option<N>,
}

/// The most rows that are asked for at once.
const PAGE: usize = 500;

pub(crate) fn runs(context: &Context, remote: &Remote, options: &RunsOptions) -> Result<u8, Problem> {
    if options.search.is_some() {
        return Err(Problem::usage("`--search` looks into the run log of this machine only", None));
    }
    let (limit, mut before) = (options.limit.max(1), None::<i64>);
    let status = options.status.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(",");
    let mut query = Vec::new();
    if let Some(runbook) = &options.runbook {
        query.push(("runbook", runbook.clone()));
    }
    if let Some(host) = &options.host {
        query.push(("host", host.clone()));
    }
    if !status.is_empty() {
        query.push(("status", status));
    }
    for (name, at) in [("since", options.since), ("until", options.until)] {
        query.extend(at.map(|at| (name, when::utc(at))));
    }
    let mut listed = Vec::new();
    while listed.len() < limit {
        let size = (limit - listed.len()).min(PAGE).to_string();
        let mut pairs: Vec<(&str, &str)> =
            query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        pairs.push(("limit", &size));
        let number = before.map(|before| before.to_string());
        pairs.extend(number.as_deref().map(|number| ("before", number)));
        let page: Page<Shown, i64> = remote.get(&["runs"], &pairs)?;
        listed.extend(page.items.iter().map(|shown| (shown.row(), shown.start())));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    if context.out.json {
        for (row, start) in &listed {
            context.out.json(&run_json(row, start));
        }
    } else if listed.is_empty() {
        context.out.word("no run matches");
    } else {
        context.out.raw(table(context, &listed).as_bytes());
    }
    Ok(0)
}

pub(crate) fn hosts(context: &Context, remote: &Remote, options: &HostsOptions) -> Result<u8, Problem> {
    let out = &context.out;
    if options.ping || options.vars {
        return Err(Problem::usage("`--ping` and `--vars` look from this machine only", None));
    }
    if options.groups {
        let mut table = Table::new(out, &["group", "hosts", "children", "members"], &[1]);
        for group in all(remote, "groups", &[])? {
            let list = |key: &str| -> Vec<&str> {
                group[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
            };
            let (hosts, children) = (list("hosts"), list("children"));
            if out.json {
                out.json(&json!({ "name": group["group"], "hosts": hosts, "children": children }));
                continue;
            }
            let more = if hosts.len() > 6 { " …" } else { "" };
            table.row([
                Cell::new(text(&group["group"])),
                Cell::new(hosts.len().to_string()),
                Cell::new(children.join(" ")),
                Cell::new(format!("{}{more}", hosts[..hosts.len().min(6)].join(" "))),
            ]);
        }
        if !out.json {
            out.raw(table.text().as_bytes());
        }
        return Ok(0);
    }
    let pattern: Vec<(&str, &str)> =
        options.pattern.iter().map(|pattern| ("pattern", pattern.as_str())).collect();
    let hosts = all(remote, "hosts", &pattern)?;
    let mut table = Table::new(out, &["host", "user", "address", "through", "last", "groups"], &[]);
    for host in &hosts {
        if out.json {
            let mut host = host.clone();
            if let Some(map) = host.as_object_mut() {
                let name = map.remove("host").unwrap_or_default();
                map.insert("name".to_owned(), name);
            }
            out.json(&host);
            continue;
        }
        let address = match (text(&host["transport"]), host["port"].as_u64()) {
            ("local", _) => "the server itself".to_owned(),
            (_, Some(port)) if port != 22 => format!("{}:{port}", text(&host["address"])),
            _ => text(&host["address"]).to_owned(),
        };
        let list = |key: &str| {
            let texts = host[key].as_array().into_iter().flatten().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join(" ")
        };
        let verdict = text(&host["last"]["verdict"]);
        let last = match host["last"]["run"].as_i64() {
            Some(run) if matches!(verdict, "failed" | "unreachable") => {
                Cell::bad(format!("{verdict} in run {run}"))
            }
            Some(run) => Cell::good(format!("{verdict} in run {run}")),
            None => Cell::new(""),
        };
        let through = match text(&host["proxy_command"]) {
            "" => list("jump"),
            command => command.to_owned(),
        };
        table.row([
            Cell::new(text(&host["host"])),
            Cell::new(text(&host["user"])),
            Cell::new(address),
            Cell::new(through),
            last,
            Cell::new(list("groups")),
        ]);
    }
    if !out.json {
        out.raw(table.text().as_bytes());
        out.word(&count(hosts.len(), "host"));
    }
    Ok(0)
}

/// Gets all pages of a list that goes by names.
pub(crate) fn all(remote: &Remote, what: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, Problem> {
    let (mut items, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut pairs = query.to_vec();
        pairs.push(("limit", "500"));
        pairs.extend(after.as_deref().map(|after| ("after", after)));
        let page: Page<Value, String> = remote.get(&[what], &pairs)?;
        items.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(items),
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
