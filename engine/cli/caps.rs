//! `caps`: proposes the `NEEDS` of a runbook.

use clap::Args;
use serde_json::json;

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::runner::caps;
use crate::service::{Known, ServiceError, groups_by_hosts, used};

/// Propose the NEEDS of a runbook
///
/// Reads what the runbook can reach, imports included. Where only the run knows the target, the bare verb is proposed; with
/// --from-runs, the hosts, groups and paths that past runs used stand in its place, and beside each path that led through
/// a link the one behind it. With --json, one object: `runbook needs uses`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nlrun caps patch\n  nlrun caps runbooks/patch.rhai --from-runs")]
pub(crate) struct CapsOptions {
    /// The runbook: a path, or a name below runbooks/
    file: String,
    /// Name what past runs used where the text does not tell
    #[arg(long)]
    from_runs: bool,
}

pub(crate) fn caps(context: &Context, options: &CapsOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let place = &context.place;
    let entry = project.runbook(&options.file, &place.cwd).map_err(ServiceError::from)?;
    let (inventory, _) = project.load_inventory(context.common.inventory.as_deref(), &place.cwd)?;
    let secrets = project.secrets(place).all_names().unwrap_or_default();
    let checked = project.check(std::slice::from_ref(&entry), &inventory, &secrets).pop().unwrap_or_default();
    if checked.header.is_none() {
        return Err(ServiceError::Check(checked.diagnostics).into());
    }
    let mut uses = checked.capabilities;
    if options.from_runs {
        let store = context.history()?;
        let past = used(&store.reader()?, &entry)?;
        uses = caps::with_past(uses, &past, &groups_by_hosts(&inventory));
    }
    let names = Known(&inventory);
    if context.out.json {
        context.out.json(&json!({
            "runbook": entry,
            "needs": caps::proposals(&uses, &names),
            "uses": uses,
        }));
    } else {
        context.out.raw(caps::needs(&uses, &names).as_bytes());
    }
    Ok(0)
}
