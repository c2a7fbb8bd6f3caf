//! `run plan apply resume replay cancel`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::arguments::{
    ApplyOptions, CancelOptions, PlanOptions, Remotely, ReplayOptions, ResumeOptions, RunOptions, Runbook,
};
use crate::cli::ask::Terminal;
use crate::cli::problem::Problem;
use crate::cli::view::{Seen, View};
use crate::cli::{Context, dotenv, junit};
use crate::model::address::Address;
use crate::model::run::{Mode, Seq, Status, Trigger};
use crate::model::runbook::Given;
use crate::model::yaml;
use crate::service::{Decision, Finished, Hands, Wanted, prepare, read_plan, remedy, walk, write_plan};
use crate::store::Store;

/// Nothing would change, but for `plan --exit-code` something would.
pub(crate) const PENDING: u8 = 2;

pub(crate) fn run(context: &Context, options: RunOptions) -> Result<u8, Problem> {
    here(&options.remotely)?;
    let project = context.project_of(&options.runbook.runbook)?;
    let wanted = wanted(context, &options.runbook)?;
    let prepared = prepare(&project, &context.place, &wanted)?;
    warn(context, &prepared);
    let store = context.store(&project)?;
    let finished = watched(context, &store, options.yes, options.junit.as_deref(), Mode::Apply, |hands| {
        Ok(project.run(&context.place, &store, prepared, Mode::Apply, hands)?)
    })?;
    dotenv::write(context, &store, options.dotenv.as_deref(), &finished)?;
    Ok(finished.ending.status.exit_code())
}

pub(crate) fn plan(context: &Context, options: PlanOptions) -> Result<u8, Problem> {
    here(&options.remotely)?;
    let project = context.project_of(&options.runbook.runbook)?;
    let wanted = wanted(context, &options.runbook)?;
    let prepared = prepare(&project, &context.place, &wanted)?;
    warn(context, &prepared);
    let store = context.store(&project)?;
    let finished = watched(context, &store, false, options.junit.as_deref(), Mode::Plan, |hands| {
        Ok(project.run(&context.place, &store, prepared, Mode::Plan, hands)?)
    })?;
    dotenv::write(context, &store, options.dotenv.as_deref(), &finished)?;
    let status = finished.ending.status;
    if status != Status::Done && status != Status::Partial {
        return Ok(status.exit_code());
    }
    if let Some(path) = &options.output {
        let plan = write_plan(&store, &finished, &context.place.cwd.join(path))?;
        context.out.word(&format!(
            "the plan has {} effects; `nlrun apply {}` does exactly that",
            plan.effects.len(),
            path.display()
        ));
    }
    let changes = store.reader()?.run(finished.run)?.summary.counts.changed;
    if options.exit_code && (changes > 0 || finished.ending.incomplete.is_some()) {
        return Ok(PENDING);
    }
    Ok(status.exit_code())
}

pub(crate) fn apply(context: &Context, options: &ApplyOptions) -> Result<u8, Problem> {
    here(&options.remotely)?;
    let project = context.project()?;
    let path = context.place.cwd.join(&options.plan);
    let plan = read_plan(&path)?;
    if let (Some(from), false) = (&plan.incomplete, options.beyond) {
        context.out.word(&format!("the plan is incomplete from {from} on: the run will stop there"));
    }
    let store = context.store(&project)?;
    let finished = watched(context, &store, options.yes, options.junit.as_deref(), Mode::Apply, |hands| {
        Ok(project.apply(&context.place, &store, plan, options.beyond, hands)?)
    })?;
    dotenv::write(context, &store, options.dotenv.as_deref(), &finished)?;
    Ok(finished.ending.status.exit_code())
}

pub(crate) fn resume(context: &Context, options: &ResumeOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let store = context.store(&project)?;
    let decisions = decisions(&options.done, &options.again)?;
    let run = options.run.find(&store)?;
    let mode = store.reader()?.run(run)?.summary.mode;
    watched(context, &store, options.yes, options.junit.as_deref(), mode, |hands| {
        Ok(project.resume(&context.place, &store, run, &decisions, hands)?)
    })
    .map(|finished| finished.ending.status.exit_code())
}

/// Refuses what only a server can do.
fn here(remotely: &Remotely) -> Result<(), Problem> {
    match remotely.first() {
        None => Ok(()),
        Some(option) => {
            let hint = "name a server: `--server URL`, or NLRUN_SERVER".to_owned();
            Err(Problem::usage(format!("`{option}` is for runs at a server"), Some(hint)))
        }
    }
}

/// Reads what a person has decided about acts in doubt.
pub(crate) fn decisions(done: &[String], again: &[String]) -> Result<BTreeMap<Address, Decision>, Problem> {
    let mut decisions = BTreeMap::new();
    for (addresses, decision) in [(done, Decision::Done), (again, Decision::Again)] {
        for address in addresses {
            if decisions.insert(Address::parse(address), decision).is_some() {
                let message = format!("`{address}` is given as done and as again");
                return Err(Problem::usage(message, None));
            }
        }
    }
    Ok(decisions)
}

pub(crate) fn replay(context: &Context, options: &ReplayOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let store = context.store(&project)?;
    let run = options.run.find(&store)?;
    let mode = store.reader()?.run(run)?.summary.mode;
    watched(context, &store, true, None, mode, |hands| {
        Ok(project.replay(&context.place, &store, run, hands)?)
    })
    .map(|finished| finished.ending.status.exit_code())
}

pub(crate) fn cancel(context: &Context, options: &CancelOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let store = context.store(&project)?;
    let run = options.run.find(&store)?;
    let reader = store.reader()?;
    let summary = reader.run(run)?.summary;
    let status = summary.status;
    if status != Status::Running {
        return Err(Problem::usage(format!("run {run} is {status}: there is nothing to cancel"), None));
    }
    store.ask_cancel(run, &format!("`nlrun cancel` by {}", context.place.person.user), options.now)?;
    if options.no_wait {
        return Ok(0);
    }
    context.out.word(&format!("asked run {run} to end; waiting for its clean-up"));
    let begun = Instant::now();
    loop {
        let status = reader.run(run)?.summary.status;
        if status != Status::Running {
            context.out.word(&format!("run {run} is {status}"));
            return Ok(0);
        }
        if !store.is_held(run) && begun.elapsed() > Duration::from_secs(1) {
            return Err(Problem::Other(format!(
                "the process of run {run} is gone; {}",
                remedy(run, &summary)
            )));
        }
        #[expect(clippy::disallowed_methods, reason = "nothing else happens in this process while it waits")]
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs something while showing its events; prints how it ended.
pub(crate) fn watched(
    context: &Context,
    store: &Store,
    yes: bool,
    junit: Option<&Path>,
    mode: Mode,
    run: impl FnOnce(Hands) -> Result<Finished, Problem>,
) -> Result<Finished, Problem> {
    let (view, observer) = View::start(&context.out, mode, junit.is_some());
    let hands = Hands {
        observer: Some(observer),
        ask: Box::new(Terminal::new(&context.out, yes, view.bar())),
        trigger: trigger(context),
        patience: Duration::ZERO,
    };
    let finished = run(hands);
    let mut seen = view.finish();
    let finished = finished?;
    if seen.is_resumed {
        whole(store, &mut seen, junit.is_some())?;
    }
    if let Some(path) = junit {
        let text = junit::report(&seen, &finished);
        crate::world::files::replace(&context.place.cwd.join(path), text.as_bytes(), 0o644)
            .map_err(|error| Problem::Other(format!("cannot write `{}`: {error}", path.display())))?;
    }
    seen.conclude(&context.out, &finished);
    Ok(finished)
}

/// Completes what was seen of a resumed run by what earlier processes did.
fn whole(store: &Store, seen: &mut Seen, events: bool) -> Result<(), Problem> {
    let (Some(run), reader) = (seen.run, store.reader()?) else { return Ok(()) };
    seen.summary = reader.run(run)?.summary;
    if events {
        seen.events.clear();
        walk::<Problem>(&reader, run, Seq(0), |record| {
            seen.events.push(record.event);
            Ok(())
        })?;
    }
    Ok(())
}

fn trigger(context: &Context) -> Trigger {
    let user = context.place.person.user.clone();
    match context.place.variable("CI") {
        Some(_) if !context.out.is_terminal => {
            let job = context.place.variable("CI_JOB_ID");
            Trigger::Pipeline { user, job }
        }
        Some(_) | None => Trigger::Person { user },
    }
}

pub(crate) fn warn(context: &Context, prepared: &crate::service::Prepared) {
    for notice in &prepared.notices {
        context.out.word(&format!("{}: {notice}", context.out.words.yellow("warning")));
    }
    if !context.out.quiet {
        for warning in &prepared.warnings {
            context.out.diagnostic(warning);
        }
    }
}

/// Reads what to run and with what.
pub(crate) fn wanted(context: &Context, runbook: &Runbook) -> Result<Wanted, Problem> {
    let mut set = BTreeMap::new();
    if let Some(path) = &runbook.params {
        let full = context.place.cwd.join(path);
        let text = std::fs::read_to_string(&full)
            .map_err(|error| Problem::usage(format!("cannot read `{}`: {error}", path.display()), None))?;
        let label = path.display().to_string();
        let values: BTreeMap<String, serde_json::Value> = yaml::from_str(&text, &label).map_err(|error| {
            Problem::usage(format!("{label}:{}:{}: {}", error.line, error.column, error.message), error.hint)
        })?;
        set.extend(values.into_iter().map(|(name, value)| (name, Given::Value(value))));
    }
    for pair in &runbook.set {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Problem::usage(
                format!("`--set {pair}` has no value"),
                Some(format!("write `--set {pair}=VALUE`")),
            )
        })?;
        set.insert(name.trim().to_owned(), Given::Text(value.to_owned()));
    }
    Ok(Wanted {
        runbook: runbook.runbook.clone(),
        set,
        inventory: context.common.inventory.clone(),
        grants: runbook.grant.clone(),
        allow: runbook.allow.clone(),
    })
}
