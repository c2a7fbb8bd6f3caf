//! `runs`: lists past runs, newest first, or finds the ones whose output holds some words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::diagnostic::safe;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::cli::view::seconds;
use crate::cli::when;
use crate::model::event::Start;
use crate::model::run::{RunId, Status};
use crate::service::start_of;
use crate::store::{Filter, Hit, RunRow};

/// List runs, newest first
///
/// With --json, one object a run: `run runbook mode status started ended ms events counts hosts by version`, where `ended`
/// and `ms` are null while it runs and `hosts` counts hosts by verdict. With --search, each object also has `hits`: an
/// array of `seq address lines`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun runs --status failed --since 2d\n  nlrun runs --host edge-3 --limit 5\n  \
    nlrun runs --search '\"no space left\" apt*'"
)]
pub(crate) struct RunsOptions {
    /// Only runs of this runbook: a name, a path or a glob over paths
    #[arg(long, value_name = "RUNBOOK")]
    pub(crate) runbook: Option<String>,
    /// Only runs that fanned out to this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Only runs with this status; may be given several times
    #[arg(long, value_name = "STATUS", value_parser = PossibleValuesParser::new(Status::ALL.map(Status::as_str))
        .map(|word| Status::parse(&word).expect("clap allows no other word")))]
    pub(crate) status: Vec<Status>,
    /// Only runs begun at or after this: `2h ago`, `3d`, a date, a time
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    pub(crate) since: Option<i64>,
    /// Only runs begun before this
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    pub(crate) until: Option<i64>,
    /// How many runs at most
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Only runs whose output holds all these words; "two words" is a phrase, fail* a beginning
    #[arg(long, value_name = "WORDS")]
    pub(crate) search: Option<String>,
}

/// How many pieces of output a search looks at; older ones are found with `--until`.
const HITS: usize = 2000;

pub(crate) fn runs(context: &Context, options: RunsOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let dir = project.state(context.common.state.as_deref(), &context.place.cwd);
    if !dir.join("nlrun.db").exists() {
        context.out.word(&format!("there are no runs yet in `{}`", dir.display()));
        return Ok(0);
    }
    let store = context.store(&project)?;
    let reader = store.reader()?;
    let limit = options.limit.max(1);
    let filter = Filter {
        runbook: options.runbook,
        host: options.host,
        status: options.status,
        since: options.since,
        until: options.until,
        before: None,
        limit,
    };
    let mut hits: BTreeMap<RunId, Vec<Hit>> = BTreeMap::new();
    let rows = match &options.search {
        None => reader.runs(&filter)?,
        Some(words) => {
            for hit in store.search(words, None, HITS)? {
                hits.entry(hit.run).or_default().push(hit);
            }
            let mut rows = Vec::new();
            for run in hits.keys().rev() {
                // The newest run up to this one that passes the filter is this one, or this one does not pass.
                let up_to = Filter { before: Some(RunId(run.0 + 1)), limit: 1, ..filter.clone() };
                rows.extend(reader.runs(&up_to)?.pop().filter(|row| row.id == *run));
                if rows.len() == limit {
                    break;
                }
            }
            rows
        }
    };
    let mut listed = Vec::with_capacity(rows.len());
    for row in rows {
        let start = start_of(&reader, row.id)?;
        listed.push((row, start));
    }
    if context.out.json {
        for (row, start) in &listed {
            let mut object = run_json(row, start);
            if options.search.is_some() {
                let hits = hits.get(&row.id).map(Vec::as_slice).unwrap_or_default();
                object["hits"] = hits
                    .iter()
                    .map(|hit| json!({ "seq": hit.seq, "address": hit.address, "lines": hit.lines }))
                    .collect();
            }
            context.out.json(&object);
        }
        return Ok(0);
    }
    if listed.is_empty() {
        context.out.word("no run matches");
        return Ok(0);
    }
    let text =
        if options.search.is_some() { found(context, &listed, &hits) } else { table(context, &listed) };
    context.out.raw(text.as_bytes());
    Ok(0)
}

pub(crate) fn table(context: &Context, listed: &[(RunRow, Start)]) -> String {
    let heads = ["run", "runbook", "mode", "status", "started", "age", "took", "changed", "failed", "by"];
    let mut table = Table::new(&context.out, &heads, &[0, 7, 8]);
    for (row, start) in listed {
        let summary = &row.summary;
        table.row([
            Cell::new(row.id.to_string()),
            Cell::new(short(&summary.runbook)),
            Cell::new(summary.mode.as_str()),
            Cell::status(summary.status),
            Cell::new(when::minute(row.started_at)),
            Cell::new(when::age(row.started_at).trim_end_matches(" ago")),
            Cell::new(row.ended_at.map(|end| seconds((end - row.started_at) / 1000)).unwrap_or_default()),
            Cell::count(summary.counts.changed),
            Cell::count(summary.counts.failed),
            Cell::new(start.trigger.to_string()),
        ]);
    }
    table.text()
}

fn found(context: &Context, listed: &[(RunRow, Start)], hits: &BTreeMap<RunId, Vec<Hit>>) -> String {
    let style = context.out.data;
    let mut text = String::new();
    for (row, _) in listed {
        let status = row.summary.status;
        let _ = writeln!(
            text,
            "{} {} {} · {}",
            style.bold(&format!("run {}", row.id)),
            safe(short(&row.summary.runbook)),
            style.status(status, &status.to_string()),
            when::age(row.started_at),
        );
        for hit in hits.get(&row.id).map(Vec::as_slice).unwrap_or_default() {
            for line in &hit.lines {
                let _ = writeln!(text, "  {} {}", style.dim(&hit.address), safe(line.trim_end()));
            }
        }
    }
    text
}

/// Returns a run as programs get it.
pub(crate) fn run_json(row: &RunRow, start: &Start) -> Value {
    let summary = &row.summary;
    let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
    for verdict in summary.hosts.values() {
        *hosts.entry(verdict.as_str()).or_default() += 1;
    }
    json!({
        "run": row.id,
        "runbook": summary.runbook,
        "mode": summary.mode,
        "status": summary.status,
        "started": when::utc(row.started_at),
        "ended": row.ended_at.map(when::utc),
        "ms": row.ended_at.map(|end| (end - row.started_at) / 1000),
        "events": row.last_seq,
        "counts": summary.counts,
        "hosts": hosts,
        "by": start.trigger,
        "version": start.version,
    })
}

/// Leaves out what the path of every runbook has.
fn short(runbook: &str) -> &str {
    runbook.strip_prefix("runbooks/").unwrap_or(runbook).trim_end_matches(".rhai")
}
