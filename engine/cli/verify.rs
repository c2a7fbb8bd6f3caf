//! `verify`: whether the record of a run is what was written.

use clap::Args;

use crate::cli::Context;
use crate::cli::check::count;
use crate::cli::problem::Problem;
use crate::cli::show::size;
use crate::cli::which::Which;
use crate::model::run::RunId;
use crate::store::{Filter, Reader, Store, StoreError, Verified};

/// Verify that the record of a run is what was written
///
/// Follows the chain of hashes over all events, compares all output with its hashes and folds the run's row again. Ends with
/// code 1 when something was changed, and names the first event where that shows. With --json, one object a run: `run events bytes
/// broken`, where `broken` is null or has `seq reason`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nlrun verify 12\n  nlrun verify --all")]
pub(crate) struct VerifyOptions {
    /// The run's number, or `last`
    #[arg(required_unless_present = "all")]
    run: Option<Which>,
    /// Every run
    #[arg(long, conflicts_with = "run")]
    all: bool,
}

pub(crate) fn verify(context: &Context, options: &VerifyOptions) -> Result<u8, Problem> {
    let store = context.history()?;
    let reader = store.reader()?;
    let mut broken = 0;
    if let Some(which) = options.run {
        broken += usize::from(!one(context, &reader, which.find(&store)?, true)?);
    } else {
        let (runs, found) = all(context, &store)?;
        broken += found;
        if !context.out.json {
            context.out.word(&format!("{} verified, {broken} broken", count(runs, "run")));
        }
    }
    Ok(u8::from(broken > 0))
}

/// Verifies every run; returns how many there are and how many are broken.
pub(crate) fn all(context: &Context, store: &Store) -> Result<(usize, usize), Problem> {
    let reader = store.reader()?;
    let (mut runs, mut broken, mut before) = (0, 0, None);
    loop {
        let page = reader.runs(&Filter { before, limit: 500, ..Filter::default() })?;
        let Some(last) = page.last() else { return Ok((runs, broken)) };
        before = Some(last.id);
        for row in &page {
            runs += 1;
            broken += usize::from(!one(context, &reader, row.id, context.out.verbose > 0)?);
        }
    }
}

/// Verifies one run, says what is wrong with it, and returns whether nothing is.
fn one(context: &Context, reader: &Reader, run: RunId, say_good: bool) -> Result<bool, Problem> {
    let out = &context.out;
    let found = match reader.verify(run) {
        // The row itself does not read back: that is a finding, not a reason to stop looking.
        Err(StoreError::Damaged { seq, source, .. }) => {
            let broken = crate::store::Break { seq: crate::model::run::Seq(seq), reason: source.to_string() };
            Verified { run, events: 0, bytes: 0, broken: Some(broken) }
        }
        found => found?,
    };
    if out.json {
        out.json(&found);
    } else if let Some(broken) = &found.broken {
        let line = format!("run {run}, event {}: {}", broken.seq.0, broken.reason);
        out.line(&format!("{} {line}", out.data.red("broken")));
    } else if say_good {
        let what = format!("{}, {} of output", count(found.events as usize, "event"), size(found.bytes));
        out.line(&format!("{} run {run}: {what}", out.data.green("ok")));
    }
    Ok(found.broken.is_none())
}
