//! The verbs that a server does for the command line, with the words and views of those that are done here.

mod client;
mod follow;
mod frames;
mod runs;
mod shown;
mod starting;

use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::arguments::{CancelOptions, Verb};
use crate::cli::log::{LogOptions, Printer, conclude};
use crate::cli::past::Past;
use crate::cli::problem::Problem;
use crate::cli::show::{self, ShowOptions};
use crate::cli::which::Which;
use crate::model::run::{RunId, Seq, Status};
use follow::Followed;
use shown::Shown;

pub(crate) use client::Remote;
pub(crate) use runs::all;

/// Does a verb at a server, where one is named; `None` where none is, and the verb is done here.
pub(crate) fn dispatch(context: &Context, verb: &Verb) -> Option<Result<u8, Problem>> {
    let is_named = context.common.server.is_some();
    let takes = matches!(
        verb,
        Verb::Run(_)
            | Verb::Plan(_)
            | Verb::Apply(_)
            | Verb::Resume(_)
            | Verb::Cancel(_)
            | Verb::Runs(_)
            | Verb::Show(_)
            | Verb::Log(_)
            | Verb::Hosts(_)
            | Verb::Approve(_)
    ) || matches!(verb, Verb::Schedule(options) if options.at_server().is_some());
    if !takes {
        return is_named.then(|| Err(Problem::usage("this is done here and not at a server", None)));
    }
    let remote = match Remote::of(context) {
        Ok(None) => return None,
        Ok(Some(remote)) => remote,
        Err(problem) => return Some(Err(problem)),
    };
    let (context, remote) = (context, &remote);
    Some(match verb {
        Verb::Run(options) => starting::run(context, remote, options),
        Verb::Plan(options) => starting::plan(context, remote, options),
        Verb::Apply(options) => starting::apply(context, remote, options),
        Verb::Resume(options) => starting::resume(context, remote, options),
        Verb::Cancel(options) => cancel(context, remote, options),
        Verb::Runs(options) => runs::runs(context, remote, options),
        Verb::Show(options) => show(context, remote, options),
        Verb::Log(options) => log(context, remote, options),
        Verb::Hosts(options) => runs::hosts(context, remote, options),
        Verb::Schedule(options) => crate::cli::standing::remotely(context, remote, options.at_server()?),
        Verb::Approve(options) => crate::cli::approve::remotely(context, remote, options),
        _ => return None,
    })
}

impl Remote {
    /// Returns a run as the server shows it.
    pub(crate) fn shown(&self, run: RunId) -> Result<Shown, Problem> {
        self.get(&["runs", &run.to_string()], &[])
    }

    /// Returns the number of a run as a person names it.
    pub(crate) fn find(&self, which: Which) -> Result<RunId, Problem> {
        match which {
            Which::Number(number) => Ok(RunId(number)),
            Which::Last => {
                let page: Value = self.get(&["runs"], &[("limit", "1")])?;
                let run = page["items"][0]["run"].as_i64().map(RunId);
                run.ok_or_else(|| Problem::usage("there are no runs yet at the server", None))
            }
        }
    }
}

fn show(context: &Context, remote: &Remote, options: &ShowOptions) -> Result<u8, Problem> {
    let run = remote.find(options.run)?;
    show::print(context, options, &Past::There(remote), run)
}

fn log(context: &Context, remote: &Remote, options: &LogOptions) -> Result<u8, Problem> {
    let run = remote.find(options.run)?;
    let past = Past::There(remote);
    let mut printer = Printer::new(&context.out, &past, options);
    let (row, _) = past.run(run)?;
    let after = past.walk(run, Seq(0), |record| printer.add(record))?;
    printer.write();
    if options.follow && !row.summary.status.is_over() {
        remote.wait(remote.stream(run, after, |record| {
            printer.add(record)?;
            printer.write();
            Ok(())
        }))?;
    }
    printer.finish();
    conclude(context, &past, run, options)?;
    Ok(0)
}

fn cancel(context: &Context, remote: &Remote, options: &CancelOptions) -> Result<u8, Problem> {
    let run = remote.find(options.run)?;
    remote.send("POST", &["runs", &run.to_string(), "cancel"], &[], &json!({ "now": options.now }))?;
    if options.no_wait {
        return Ok(0);
    }
    context.out.word(&format!("asked run {run} to end; waiting for its clean-up"));
    let after = remote.shown(run)?.row().last_seq;
    remote.wait(remote.stream(run, after, |_| Ok(())))?;
    let status: Status = remote.shown(run)?.status;
    context.out.word(&format!("run {run} is {status}"));
    Ok(0)
}

fn is_left(followed: Followed) -> bool {
    followed == Followed::Detached
}
