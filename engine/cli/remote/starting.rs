//! Runs that are asked for at a server: started, planned, applied, continued, and followed to their end.

use std::path::Path;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::cli::arguments::{ApplyOptions, PlanOptions, Remotely, ResumeOptions, RunOptions, Runbook};
use crate::cli::ask::Terminal;
use crate::cli::log::over;
use crate::cli::problem::Problem;
use crate::cli::remote::Remote;
use crate::cli::remote::client::Failed;
use crate::cli::remote::follow::{Answers, PAUSE};
use crate::cli::remote::is_left;
use crate::cli::run::PENDING;
use crate::cli::view::View;
use crate::cli::{Context, dotenv, junit};
use crate::model::plan::Plan;
use crate::model::run::{Mode, RunId, Seq, Status};
use crate::model::runbook::Given;
use crate::service::{Finished, read_plan};
use crate::store::sha256;

/// The exit code of a run that is cancelled: what a person sees who leaves one behind.
const LEFT: u8 = 5;
/// How long a run is asked for while the server does not answer.
const ASKING: Duration = Duration::from_secs(30);

pub(crate) fn run(context: &Context, remote: &Remote, options: &RunOptions) -> Result<u8, Problem> {
    let body = body(context, &options.runbook, Mode::Apply, &options.remotely)?;
    let Some(run) = ask(context, remote, &body, &options.remotely)? else { return Ok(0) };
    let finished = follow(context, remote, run, Seq(0), options.yes, options.junit.as_deref(), Mode::Apply)?;
    tell(context, remote, options.dotenv.as_deref(), finished.as_ref())?;
    Ok(finished.map_or(LEFT, |finished| finished.ending.status.exit_code()))
}

pub(crate) fn plan(context: &Context, remote: &Remote, options: &PlanOptions) -> Result<u8, Problem> {
    let body = body(context, &options.runbook, Mode::Plan, &options.remotely)?;
    let Some(run) = ask(context, remote, &body, &options.remotely)? else { return Ok(0) };
    let finished = follow(context, remote, run, Seq(0), false, options.junit.as_deref(), Mode::Plan)?;
    tell(context, remote, options.dotenv.as_deref(), finished.as_ref())?;
    let Some(finished) = finished else { return Ok(LEFT) };
    let status = finished.ending.status;
    if status != Status::Done && status != Status::Partial {
        return Ok(status.exit_code());
    }
    if let Some(path) = &options.output {
        let plan: Plan = remote.get(&["runs", &run.to_string(), "plan"], &[])?;
        let text = serde_json::to_vec_pretty(&plan).expect("a plan is plain data");
        crate::world::files::replace(&context.place.cwd.join(path), &text, 0o600)
            .map_err(|error| Problem::Other(format!("cannot write `{}`: {error}", path.display())))?;
        context.out.word(&format!(
            "the plan has {} effects; `nlrun --server {} apply {}` does exactly that",
            plan.effects.len(),
            remote.address(),
            path.display()
        ));
    }
    let changes = remote.shown(run)?.row().summary.counts.changed;
    if options.exit_code && (changes > 0 || finished.ending.incomplete.is_some()) {
        return Ok(PENDING);
    }
    Ok(status.exit_code())
}

pub(crate) fn apply(context: &Context, remote: &Remote, options: &ApplyOptions) -> Result<u8, Problem> {
    if options.beyond {
        return Err(only_here("--beyond"));
    }
    let words = options.plan.to_string_lossy();
    let planned = match words.trim_start_matches('#').parse::<i64>() {
        Ok(number) => number,
        Err(_) => {
            let plan = read_plan(&context.place.cwd.join(&options.plan))?;
            // The number of a run of another run log would be another plan.
            let there: Plan = remote.get(&["runs", &plan.run.to_string(), "plan"], &[])?;
            if there != plan {
                let hint = format!(
                    "make it there: `nlrun --server {} plan {} -o FILE`",
                    remote.address(),
                    plan.runbook
                );
                return Err(Problem::usage(format!("`{words}` is no plan of this server"), Some(hint)));
            }
            plan.run
        }
    };
    let body = json!({ "plan": planned });
    let Some(run) = ask(context, remote, &body, &options.remotely)? else { return Ok(0) };
    let finished = follow(context, remote, run, Seq(0), options.yes, options.junit.as_deref(), Mode::Apply)?;
    tell(context, remote, options.dotenv.as_deref(), finished.as_ref())?;
    Ok(finished.map_or(LEFT, |finished| finished.ending.status.exit_code()))
}

/// Writes what later jobs of a pipeline get to know, when that is wanted; a run that is left behind tells them nothing.
fn tell(
    context: &Context,
    remote: &Remote,
    path: Option<&Path>,
    finished: Option<&Finished>,
) -> Result<(), Problem> {
    let (Some(path), Some(finished)) = (path, finished) else { return Ok(()) };
    dotenv::tell(context, path, finished, &remote.shown(finished.run)?.row().summary)
}

pub(crate) fn resume(context: &Context, remote: &Remote, options: &ResumeOptions) -> Result<u8, Problem> {
    let run = remote.find(options.run)?;
    let row = remote.shown(run)?.row();
    let body = json!({ "done": options.done, "again": options.again });
    remote.send("POST", &["runs", &run.to_string(), "resume"], &[], &body)?;
    // Until its process begins, the run is still over as it was.
    let begun = |remote: &Remote| Ok::<_, Problem>(remote.shown(run)?.row().last_seq > row.last_seq);
    for _ in 0..300 {
        if begun(remote)? {
            break;
        }
        remote.wait(async { tokio::time::sleep(Duration::from_millis(100)).await });
    }
    let mode = row.summary.mode;
    let finished = follow(context, remote, run, row.last_seq, options.yes, options.junit.as_deref(), mode)?;
    Ok(finished.map_or(LEFT, |finished| finished.ending.status.exit_code()))
}

fn only_here(option: &str) -> Problem {
    Problem::usage(format!("`{option}` is for runs of this machine"), Some("leave out `--server`".to_owned()))
}

/// Writes what is asked for as the API takes it.
fn body(context: &Context, runbook: &Runbook, mode: Mode, remotely: &Remotely) -> Result<Value, Problem> {
    for (is_given, option) in [
        (!runbook.grant.is_empty(), "--grant"),
        (!runbook.allow.is_empty(), "--allow"),
        (context.common.inventory.is_some(), "--inventory"),
    ] {
        if is_given {
            return Err(only_here(option));
        }
    }
    let wanted = crate::cli::run::wanted(context, runbook)?;
    let value = |given: Given| match given {
        Given::Text(text) => Value::String(text),
        Given::Value(value) => value,
    };
    let params: Map<String, Value> =
        wanted.set.into_iter().map(|(name, given)| (name, value(given))).collect();
    let mut body = json!({ "runbook": runbook.runbook, "params": params, "mode": mode });
    if let Some(queue) = &remotely.queue {
        body["queue"] = queue.clone().into();
    }
    if let Some(priority) = remotely.priority {
        body["priority"] = priority.into();
    }
    if let Some(revision) = &remotely.revision {
        body["revision"] = revision.clone().into();
    }
    Ok(body)
}

/// Asks for a run; returns its number where it is to be followed.
fn ask(
    context: &Context,
    remote: &Remote,
    body: &Value,
    remotely: &Remotely,
) -> Result<Option<RunId>, Problem> {
    let of_job = || {
        // The same job asks again after a lost connection; another command of it is another run.
        let job = context.place.variable("CI_JOB_ID").filter(|job| !job.is_empty())?;
        let at = context.place.variable("CI_SERVER_URL").unwrap_or_default();
        let what = sha256(body.to_string().as_bytes());
        Some(format!("gitlab {at} job {job} {}", &what[..16]))
    };
    let given = remotely.key.clone().or_else(of_job);
    let key = match &given {
        Some(key) => key.clone(),
        None => own_key()?,
    };
    let asked = post(context, remote, &[("idempotency-key", &key)], body)?;
    let Some(run) = asked["run"].as_i64().map(RunId) else {
        return Err(remote.other_words("an answer without the number of the run"));
    };
    if given.is_some() && asked["known"] == true {
        context.out.word(&format!("run {run} was asked for before with the same key"));
    }
    if remotely.no_wait {
        if context.out.json {
            context.out.json(&json!({ "run": run, "known": asked["known"] }));
        } else {
            context.out.line(&run.to_string());
        }
        return Ok(None);
    }
    Ok(Some(run))
}

/// Makes a key for this one command, so that it can ask again where the answer was lost.
fn own_key() -> Result<String, Problem> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Problem::Other("no randomness".to_owned()))?;
    Ok(format!("command {}", base16ct::lower::encode_string(&bytes)))
}

/// Asks for a run, again and again while the server does not answer: with its key it is one run all the same.
fn post(
    context: &Context,
    remote: &Remote,
    headers: &[(&str, &str)],
    body: &Value,
) -> Result<Value, Problem> {
    let (mut pause, mut since) = (PAUSE.0, None::<Instant>);
    loop {
        let asked = remote.wait(remote.ask("POST", &["runs"], &[], headers, Some(body)));
        let problem = match asked {
            Ok(asked) => return Ok(asked),
            Err(Failed::For(problem)) => return Err(problem),
            Err(Failed::Passing(problem)) => problem,
        };
        let since = *since.get_or_insert_with(|| {
            let why = problem.text().unwrap_or_default();
            let most = ASKING.as_secs();
            context.out.word(&format!("the server takes nothing now ({why}); this tries again for {most} s"));
            Instant::now()
        });
        if since.elapsed() > ASKING {
            return Err(problem);
        }
        remote.wait(async { tokio::time::sleep(pause).await });
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Shows a run as it goes on at the server; `None` when the person has left it.
fn follow(
    context: &Context,
    remote: &Remote,
    run: RunId,
    after: Seq,
    yes: bool,
    report: Option<&Path>,
    mode: Mode,
) -> Result<Option<Finished>, Problem> {
    let out = &context.out;
    out.word(&out.words.dim(&format!("run {run} at {}", remote.address())));
    let (view, sender) = View::start(out, mode, report.is_some());
    let terminal = Terminal::new(out, yes, view.bar());
    let answers = Some(Answers { terminal, can: yes || out.is_terminal });
    let followed = remote.follow(out, run, after, answers, &sender);
    drop(sender);
    let seen = view.finish();
    if is_left(followed?) {
        return Ok(None);
    }
    let (whole, finished) = over(remote.shown(run)?.row());
    if let Some(path) = report {
        let mut seen = seen;
        seen.summary = whole.summary.clone();
        if after > Seq(0) {
            seen.events.clear();
            remote.walk(run, Seq(0), |record| {
                seen.events.push(record.event);
                Ok(())
            })?;
        }
        let text = junit::report(&seen, &finished);
        crate::world::files::replace(&context.place.cwd.join(path), text.as_bytes(), 0o644)
            .map_err(|error| Problem::Other(format!("cannot write `{}`: {error}", path.display())))?;
    }
    whole.conclude(out, &finished);
    Ok(Some(finished))
}
