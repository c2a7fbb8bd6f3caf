//! `audit`: who asked the server for what, and whether it was allowed.

use clap::Args;
use serde_json::json;

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::cli::when;
use crate::store::AuditFilter;

/// Show who asked the server for what, and whether it was allowed
///
/// With --json, one object a decision: `id at who address action target allowed reason`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun audit --since 1d\n  nlrun audit --refused\n  nlrun audit --who ann --action 'runs.*'\n  \
    nlrun audit --json | jq 'select(.allowed | not)'"
)]
pub(crate) struct AuditOptions {
    /// Only what this one asked for: a user, or such as `token ci`
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Only this action; `runs.*` is everything about runs
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what was about something with this text in it
    #[arg(long, value_name = "TEXT")]
    target: Option<String>,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Only since then: 90m, 2h, 3d, a date, a time
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    since: Option<i64>,
    /// Only before then
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    until: Option<i64>,
    /// Only before the decision with this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
    /// How many at most, the newest first
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    limit: usize,
}

pub(crate) fn audit(context: &Context, options: AuditOptions) -> Result<u8, Problem> {
    let out = &context.out;
    let project = context.project()?;
    let filter = AuditFilter {
        words: None,
        who: options.who,
        action: options.action,
        target: options.target,
        allowed: options.refused.then_some(false),
        since: options.since,
        until: options.until,
        before: options.before,
        limit: options.limit,
    };
    let found = context.store(&project)?.reader()?.audit(&filter)?;
    let mut table = Table::new(out, &["#", "when", "who", "from", "action", "target", "", "reason"], &[0]);
    for one in &found {
        let verdict = &one.verdict;
        if out.json {
            out.json(&json!({
                "id": one.id, "at": when::utc(one.at), "who": verdict.who, "address": verdict.address,
                "action": verdict.action, "target": verdict.target, "allowed": verdict.allowed,
                "reason": verdict.reason,
            }));
            continue;
        }
        table.row([
            Cell::new(one.id.to_string()),
            Cell::new(when::local(one.at)),
            Cell::new(&verdict.who),
            Cell::new(&verdict.address),
            Cell::new(&verdict.action),
            Cell::new(&verdict.target),
            if verdict.allowed { Cell::good("allowed") } else { Cell::bad("refused") },
            Cell::new(&verdict.reason),
        ]);
    }
    if !out.json {
        out.raw(table.text().as_bytes());
    }
    Ok(0)
}
