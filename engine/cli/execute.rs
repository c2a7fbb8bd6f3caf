//! `execute`: the process of one run of the queue, started by `nlrun serve`.

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::run::decisions;
use crate::model::run::{RunId, Trigger};
use crate::service::{Asked, Hands, LOCK_WAIT};
use crate::store::Store;

/// Run what waits in the queue under this number, in this process
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct ExecuteOptions {
    /// The run's number
    run: i64,
    /// The most memory that the process may reserve, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    memory: u64,
    /// The most files that it may have open
    #[arg(long, value_name = "COUNT", default_value_t = 4096)]
    files: u64,
    /// Who asked to go on with it
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// An act in doubt that did happen, by its address
    #[arg(long, value_name = "ADDRESS")]
    done: Vec<String>,
    /// An act in doubt to perform again, by its address
    #[arg(long, value_name = "ADDRESS")]
    again: Vec<String>,
    /// How long it waits for locks of other runs, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = LOCK_WAIT.as_secs())]
    lock_wait: u64,
}

pub(crate) fn execute(context: &Context, options: &ExecuteOptions) -> Result<u8, Problem> {
    confine(Resource::As, options.memory << 20);
    confine(Resource::Nofile, options.files);
    confine(Resource::Core, 0);
    let project = context.project()?;
    let dir = project.state(context.common.state.as_deref(), &context.place.cwd);
    let store = Store::open(&dir, &project.store_options())?;
    let run = RunId(options.run);
    let trigger = match &options.by {
        Some(user) => Trigger::User { user: user.clone() },
        None => crate::service::start_of(&store.reader()?, run)?.trigger,
    };
    let decisions = decisions(&options.done, &options.again)?;
    let hands = Hands {
        observer: None,
        ask: Box::new(Asked::new(&store, run)),
        trigger,
        patience: std::time::Duration::from_secs(options.lock_wait),
    };
    let finished = project.execute(&context.place, &store, run, &decisions, hands)?;
    Ok(finished.ending.status.exit_code())
}

/// Lowers a limit of this process; one that is lower already stays.
fn confine(resource: Resource, most: u64) {
    let Rlimit { current, maximum } = getrlimit(resource);
    let lower = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    let _ = setrlimit(resource, Rlimit { current: lower(current), maximum: lower(maximum) });
}
