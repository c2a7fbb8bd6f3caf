//! `db check|backup|prune`: looks after the run log.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cli::Context;
use crate::cli::check::count;
use crate::cli::problem::Problem;
use crate::cli::show::size;
use crate::cli::verify;
use crate::model::duration;
use crate::service::parse_size;
use crate::store::{Keep, partial};

/// Look after the run log: check it, copy it, remove old runs
#[derive(Debug, Args)]
pub(crate) struct DbOptions {
    #[command(subcommand)]
    verb: DbVerb,
}

#[derive(Debug, Subcommand)]
enum DbVerb {
    /// Check the database file and the record of every run
    ///
    /// Ends with code 1 when something is wrong. With --json, one object for each run (see `nlrun verify --help`), and one for
    /// the file: `database findings`.
    #[command(after_help = "Example:\n  nlrun db check --quick")]
    Check {
        /// Only the file, without indexes and without following the chains of runs
        #[arg(long)]
        quick: bool,
    },
    /// Write a consistent copy while runs go on
    ///
    /// With --json, one object: `file bytes`.
    #[command(after_help = "Example:\n  nlrun db backup /backup/nlrun-monday.db")]
    Backup {
        /// Where to; an existing file is left alone
        file: PathBuf,
    },
    /// Remove old runs and give their space back to the file system
    ///
    /// A run goes when any limit says so; runs that go on or can be resumed stay. Limits that are not given come from `retention:` in
    /// nlrun.yaml. With --json, one object: `runs before after dry_run`, sizes in bytes.
    #[command(after_help = "Examples:\n  nlrun db prune --dry-run\n  nlrun db prune --age 90d --size 2GiB")]
    Prune {
        /// Remove runs begun longer ago than this, such as `90d`
        #[arg(long, value_name = "AGE", value_parser = duration::parse)]
        age: Option<Duration>,
        /// Keep this many runs
        #[arg(long, value_name = "COUNT")]
        runs: Option<u64>,
        /// Remove the oldest runs until the rest takes at most this, such as `2GiB`
        #[arg(long, value_name = "SIZE", value_parser = bytes)]
        size: Option<u64>,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
}

fn bytes(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "a size is bytes, or with a unit: `500MiB`, `2GiB`".to_owned())
}

pub(crate) fn db(context: &Context, options: &DbOptions) -> Result<u8, Problem> {
    match &options.verb {
        DbVerb::Check { quick } => check(context, *quick),
        DbVerb::Backup { file } => backup(context, file),
        DbVerb::Prune { age, runs, size, dry_run } => {
            let retention = context.project()?.config().retention.keep();
            let keep = Keep {
                age: age.map(|age| age.as_secs()).or(retention.age),
                count: runs.or(retention.count),
                bytes: size.or(retention.bytes),
            };
            prune(context, &keep, *dry_run)
        }
    }
}

fn check(context: &Context, quick: bool) -> Result<u8, Problem> {
    let store = context.history()?;
    let out = &context.out;
    let findings = if quick { store.quick_check()? } else { store.integrity()? };
    let (runs, broken) = if quick { (0, 0) } else { verify::all(context, &store)? };
    if out.json {
        out.json(&json!({ "database": store.file(), "findings": findings }));
    } else {
        for finding in &findings {
            out.line(&format!("{} {finding}", out.data.red("broken")));
        }
        let followed =
            if quick { String::new() } else { format!(", {} verified, {broken} broken", count(runs, "run")) };
        let state = if findings.is_empty() { "the file is sound" } else { "the file is damaged" };
        out.word(&format!("{state} ({}){followed}", size(store.size())));
        if !findings.is_empty() {
            out.word(
                "hint: put the last backup in its place; `sqlite3 FILE .recover` saves what can be read",
            );
        }
    }
    Ok(u8::from(broken > 0 || !findings.is_empty()))
}

fn backup(context: &Context, file: &std::path::Path) -> Result<u8, Problem> {
    let store = context.history()?;
    let out = &context.out;
    let to = context.place.cwd.join(file);
    if to.exists() {
        return Err(Problem::usage(
            format!("`{}` exists already", file.display()),
            Some("give another name: a backup is never written over".to_owned()),
        ));
    }
    let bar = (out.is_terminal && !out.json && !out.quiet).then(|| {
        let bar = ProgressBar::new(store.size());
        let style = ProgressStyle::with_template("{bar:30} {bytes} of about {total_bytes} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    });
    let bytes = std::thread::scope(|scope| {
        let work = scope.spawn(|| store.backup(&to));
        if let Some(bar) = &bar {
            while !work.is_finished() {
                bar.set_position(std::fs::metadata(partial(&to)).map_or(0, |meta| meta.len()));
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a bar for a person: ten times a second is enough"
                )]
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let bytes = bytes?;
    if out.json {
        out.json(&json!({ "file": to, "bytes": bytes }));
    } else {
        out.word(&format!("wrote `{}`, {}", file.display(), size(bytes)));
    }
    Ok(0)
}

fn prune(context: &Context, keep: &Keep, dry_run: bool) -> Result<u8, Problem> {
    if *keep == Keep::default() {
        return Err(Problem::usage(
            "nothing says what to keep",
            Some("give --age, --runs or --size, or set `retention:` in nlrun.yaml".to_owned()),
        ));
    }
    let store = context.history()?;
    let out = &context.out;
    let pruned = store.prune(keep, dry_run)?;
    if out.json {
        out.json(&json!({
            "runs": pruned.runs,
            "before": pruned.before,
            "after": pruned.after,
            "dry_run": dry_run,
        }));
        return Ok(0);
    }
    let which = match (pruned.runs.first(), pruned.runs.last()) {
        (Some(first), Some(last)) if first != last => format!(" ({first} to {last})"),
        (Some(first), _) => format!(" ({first})"),
        (None, _) => String::new(),
    };
    let runs = count(pruned.runs.len(), "run");
    out.word(&if dry_run {
        format!("would remove {runs}{which}; the run log takes {}", size(pruned.before))
    } else {
        let freed = pruned.before.saturating_sub(pruned.after);
        format!("removed {runs}{which}; {} freed, {} left", size(freed), size(pruned.after))
    });
    Ok(0)
}
