//! `show`: what a run was and did, from its row in the run log.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::check::count;
use crate::cli::diagnostic::{render, safe};
use crate::cli::doubts;
use crate::cli::effects;
use crate::cli::past::Past;
use crate::cli::problem::Problem;
use crate::cli::runs::run_json;
use crate::cli::style::Style;
use crate::cli::view::{error_of, seconds};
use crate::cli::when;
use crate::cli::which::Which;
use crate::model::diagnostic::Diagnostic;
use crate::model::event::{Start, Verdict};
use crate::model::run::{RunId, Status, Summary};
use crate::service::remedy;
use crate::store::RunRow;

/// Show what a run was and did
///
/// With --json, one object: what `nlrun runs --json` has, and `commit dirty params sources inventory grants allow plan
/// host_verdicts steps problems artifacts left_behind in_doubt incomplete error result`. With --effects --json, one object an effect:
/// `address kind effect target verdict ms site`. With --diff --json, one object a diff: `address effect target diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nlrun show last\n  nlrun show 12 --diff\n  nlrun show 12 --effects\n  \
    nlrun show 12 --output '4[edge-2]/1' --stderr\n  nlrun show 12 --artifact report.html > report.html")]
pub(crate) struct ShowOptions {
    /// The run's number, or `last`
    pub(crate) run: Which,
    /// Print every diff
    #[arg(long, group = "part")]
    diff: bool,
    /// List every effect
    #[arg(long, group = "part")]
    effects: bool,
    /// Print the kept output of an effect, byte for byte
    #[arg(long, value_name = "ADDRESS", group = "part")]
    output: Option<String>,
    /// With --output: what went to standard error
    #[arg(long, requires = "output")]
    stderr: bool,
    /// Print a kept file, byte for byte
    #[arg(long, value_name = "NAME", group = "part")]
    artifact: Option<String>,
    /// Print the runbook as it was, or another script of the run
    #[arg(long, value_name = "PATH", group = "part", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    source: Option<String>,
    /// Print the parameters as JSON
    #[arg(long, group = "part")]
    params: bool,
}

pub(crate) fn show(context: &Context, options: &ShowOptions) -> Result<u8, Problem> {
    let store = context.history()?;
    let run = options.run.find(&store)?;
    let reader = store.reader()?;
    print(context, options, &Past::Here(&reader), run)
}

/// Prints what is asked for of a run.
pub(crate) fn print(
    context: &Context,
    options: &ShowOptions,
    past: &Past<'_>,
    run: RunId,
) -> Result<u8, Problem> {
    let (row, start) = past.run(run)?;
    let out = &context.out;
    if options.diff {
        effects::diffs(out, past, run)?;
    } else if options.effects {
        effects::list(out, past, run)?;
    } else if let Some(address) = &options.output {
        effects::output(out, past, run, address, options.stderr)?;
    } else if let Some(name) = &options.artifact {
        let bytes = past.artifact(run, name)?.ok_or_else(|| no_artifact(run, name, &row.summary))?;
        out.raw(&bytes);
    } else if let Some(path) = &options.source {
        out.raw(source(past, run, &start, path)?.as_bytes());
    } else if options.params {
        out.line(&serde_json::to_string_pretty(&start.params).unwrap_or_default());
    } else if out.json {
        out.json(&run_object(&row, &start));
    } else {
        out.raw(overview(out.data, out.verbose, past, &row, &start).as_bytes());
    }
    Ok(0)
}

fn run_object(row: &RunRow, start: &Start) -> Value {
    let summary = &row.summary;
    let step = |(name, verdict, ms): &(String, Option<Verdict>, u64)| json!({ "name": name, "verdict": verdict, "ms": ms });
    let more = json!({
        "commit": start.commit,
        "dirty": start.dirty,
        "params": start.params,
        "sources": start.sources,
        "inventory": start.inventory,
        "grants": start.grants,
        "allow": start.allow,
        "plan": start.plan,
        "host_verdicts": summary.hosts,
        "steps": summary.steps.iter().map(step).collect::<Vec<_>>(),
        "problems": summary.problems,
        "artifacts": summary.artifacts,
        "left_behind": summary.left_behind,
        "in_doubt": summary.in_doubt,
        "incomplete": summary.incomplete,
        "error": summary.error,
        "result": summary.result,
    });
    let mut object = run_json(row, start);
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

fn overview(style: Style, verbose: u8, past: &Past<'_>, row: &RunRow, start: &Start) -> String {
    let summary = &row.summary;
    let mut text = String::new();
    head(&mut text, style, row, start);
    steps(&mut text, style, summary);
    hosts(&mut text, style, verbose, summary);
    counts(&mut text, style, summary);
    if !summary.problems.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("problems"));
        for problem in &summary.problems {
            let site = problem.site.as_ref().map(|site| format!(" {}", style.dim(site))).unwrap_or_default();
            let mut lines = problem.text.lines();
            let first = lines.next().unwrap_or_default();
            let _ = writeln!(text, "  {}{site}", style.red(&safe(first)));
            for line in lines {
                let _ = writeln!(text, "    {}", safe(line));
            }
        }
    }
    for name in &summary.artifacts {
        let _ = writeln!(text, "{} {}", style.bold("kept"), safe(name));
    }
    for left in &summary.left_behind {
        let _ = writeln!(text, "{} {}", style.red("left behind:"), safe(left));
    }
    if let Some(from) = &summary.incomplete {
        let _ = writeln!(text, "{} everything after {from} depends on an act", style.yellow("incomplete:"));
    }
    if let Some(mut error) = error_of(summary) {
        draw_from(past, row.id, start, &mut error);
        let _ = write!(text, "\n{}", render(&error, style.is_on()));
    }
    if !summary.in_doubt.is_empty() {
        let _ = write!(text, "\n{}", doubts::list(style, row.id, &summary.in_doubt));
    }
    if let Some(next) = next(row.id, summary) {
        let _ = writeln!(text, "\n{next}");
    }
    text
}

fn head(text: &mut String, style: Style, row: &RunRow, start: &Start) {
    let summary = &row.summary;
    let _ = writeln!(
        text,
        "{} · {} · {} · {}",
        style.bold(&format!("run {}", row.id)),
        safe(&summary.runbook),
        summary.mode.as_str(),
        style.status(summary.status, &summary.status.to_string()),
    );
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "  {} {}", style.dim(&format!("{name:<8}")), safe(value));
    };
    let took = match row.ended_at {
        Some(end) => format!(", took {}", seconds((end - row.started_at) / 1000)),
        None => String::new(),
    };
    fact("started", &format!("{} ({}){took}", when::local(row.started_at), when::age(row.started_at)));
    fact("by", &start.trigger.to_string());
    if let Some(commit) = &start.commit {
        let short: String = commit.chars().take(12).collect();
        let dirty = if start.dirty { ", with changes that were not committed" } else { "" };
        fact("commit", &format!("{short}{dirty}"));
    }
    if let Some(params) = start.params.as_object().filter(|params| !params.is_empty()) {
        let pairs: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        fact("params", &pairs.join(" "));
    }
    if let Some(plan) = &start.plan {
        fact("plan", &plan.chars().take(12).collect::<String>());
    }
    fact("nlrun", &start.version);
}

fn steps(text: &mut String, style: Style, summary: &Summary) {
    if summary.steps.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", style.bold("steps"));
    for (name, verdict, ms) in &summary.steps {
        let word = match verdict {
            Some(verdict) => style.verdict(*verdict, &format!("{:<11}", verdict.as_str())),
            None => style.yellow(&format!("{:<11}", "not ended")),
        };
        let time = if verdict.is_some() { seconds(*ms as i64) } else { String::new() };
        let _ = writeln!(text, "  {word} {} {}", safe(name), style.dim(&time));
    }
}

fn hosts(text: &mut String, style: Style, verbose: u8, summary: &Summary) {
    /// Names shown of hosts that did well.
    const SHOWN: usize = 12;
    if summary.hosts.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", style.bold("hosts"));
    for verdict in [Verdict::Failed, Verdict::Unreachable, Verdict::Skipped, Verdict::Changed, Verdict::Ok] {
        let of_it = summary.hosts.iter().filter(|(_, found)| **found == verdict);
        let names: Vec<&str> = of_it.map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            continue;
        }
        let is_bad = matches!(verdict, Verdict::Failed | Verdict::Unreachable);
        let shown = if is_bad || verbose > 0 { names.len() } else { SHOWN.min(names.len()) };
        let more =
            if shown < names.len() { format!(" and {} more", names.len() - shown) } else { String::new() };
        let word = style.verdict(verdict, &format!("{:<11}", verdict.as_str()));
        let _ = writeln!(text, "  {word} {:>4}  {}{more}", names.len(), names[..shown].join(" "));
    }
}

fn counts(text: &mut String, style: Style, summary: &Summary) {
    let counts = &summary.counts;
    let mut parts = vec![
        count(counts.reads as usize, "read"),
        count(counts.ensures as usize, "ensure"),
        count(counts.acts as usize, "act"),
        format!("{} changed", counts.changed),
        format!("{} failed", counts.failed),
    ];
    if counts.checks > 0 {
        parts.push(format!("{} failed", count(counts.checks as usize, "check")));
    }
    if counts.warnings > 0 {
        parts.push(count(counts.warnings as usize, "warning"));
    }
    parts.push(count(counts.events as usize, "event"));
    parts.push(format!("{} of output", size(counts.output)));
    let _ = writeln!(text, "\n{}", style.dim(&parts.join(" · ")));
}

/// Gives an error the line of its script as the run had it.
fn draw_from(past: &Past<'_>, run: RunId, start: &Start, error: &mut Diagnostic) {
    if error.source_line.is_some() || error.line == 0 {
        return;
    }
    let text = past.source(run, start, &error.file).ok().flatten();
    error.source_line =
        text.and_then(|text| text.lines().nth(error.line.saturating_sub(1)).map(str::to_owned));
}

/// Says what a person can do now.
fn next(run: RunId, summary: &Summary) -> Option<String> {
    match summary.status {
        Status::Queued => Some(format!("`nlrun cancel {run}` takes it out of the queue")),
        Status::Running => Some(format!("`nlrun log {run} -f` follows it, `nlrun cancel {run}` ends it")),
        Status::Interrupted => Some(remedy(run, summary)),
        // The list of acts in doubt has it.
        Status::InDoubt => None,
        Status::Failed | Status::Partial if summary.counts.failed > 0 => {
            Some(format!("`nlrun log {run} --failed` prints what failed with its output"))
        }
        Status::Done if summary.counts.changed > 0 => {
            Some(format!("`nlrun show {run} --diff` prints what changed"))
        }
        Status::Done
        | Status::Partial
        | Status::Failed
        | Status::Stopped
        | Status::Cancelled
        | Status::TimedOut => None,
    }
}

fn source(past: &Past<'_>, run: RunId, start: &Start, path: &str) -> Result<String, Problem> {
    let path = if path.is_empty() { &start.runbook } else { path };
    match past.source(run, start, path)? {
        Some(text) => Ok(text),
        None => Err(Problem::usage(
            format!("run {run} has no script `{path}`"),
            Some(format!("it has {}", start.sources.keys().cloned().collect::<Vec<_>>().join(", "))),
        )),
    }
}

fn no_artifact(run: RunId, name: &str, summary: &Summary) -> Problem {
    let hint = match summary.artifacts.as_slice() {
        [] => "it kept none".to_owned(),
        names => format!("it kept {}", names.join(", ")),
    };
    Problem::usage(format!("run {run} kept no `{name}`"), Some(hint))
}

/// Writes a number of bytes for people: `12 B`, `3.4 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_one_unit() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3.0 TiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
