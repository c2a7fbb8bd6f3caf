//! `approve`: answers the question that a run waits for.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::diagnostic::safe;
use crate::cli::problem::Problem;
use crate::cli::remote::Remote;
use crate::cli::which::Which;

/// Answer the question that a run waits for
///
/// Without a run, the only question that is open; where there are several, they are listed. With --json, one object: `question run text
/// yes`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun approve 12\n  nlrun approve 12 --no\n  nlrun --server https://nlrun.example.net approve"
)]
pub(crate) struct ApproveOptions {
    /// The run's number, or `last`
    run: Option<Which>,
    /// Answer no
    #[arg(long)]
    no: bool,
}

/// A question: its number, its run, its text.
type Open = (i64, i64, String);

pub(crate) fn approve(context: &Context, options: &ApproveOptions) -> Result<u8, Problem> {
    let store = context.history()?;
    let run = options.run.map(|which| which.find(&store)).transpose()?;
    let open = store.reader()?.questions()?.into_iter().map(|one| (one.id, one.run.0, one.text)).collect();
    let (id, run, text) = choose(context, open, run.map(|run| run.0))?;
    if !store.reply(id, !options.no, &context.place.person.user)? {
        return Err(gone(run));
    }
    told(context, id, run, &text, !options.no);
    Ok(0)
}

/// Answers a question at a server.
pub(crate) fn remotely(context: &Context, remote: &Remote, options: &ApproveOptions) -> Result<u8, Problem> {
    let run = options.run.map(|which| remote.find(which)).transpose()?;
    let page: Value = remote.get(&["questions"], &[])?;
    let question = |one: &Value| {
        Some((one["question"].as_i64()?, one["run"].as_i64()?, one["text"].as_str()?.to_owned()))
    };
    let open = page["items"].as_array().into_iter().flatten().filter_map(question).collect();
    let (id, run, text) = choose(context, open, run.map(|run| run.0))?;
    remote.send("POST", &["questions", &id.to_string()], &[], &json!({ "yes": !options.no }))?;
    told(context, id, run, &text, !options.no);
    Ok(0)
}

fn choose(context: &Context, mut open: Vec<Open>, run: Option<i64>) -> Result<Open, Problem> {
    if let Some(run) = run {
        open.retain(|one| one.1 == run);
    }
    match (open.len(), run) {
        (0, Some(run)) => Err(Problem::usage(format!("run {run} asks nothing"), None)),
        (0, None) => Err(Problem::usage("no run asks anything", None)),
        (1, _) => Ok(open.remove(0)),
        // Arms of a fan-out ask one after the other: the first one is the oldest.
        (_, Some(_)) => Ok(open.remove(0)),
        (_, None) => {
            for (_, run, text) in &open {
                context.out.always(&format!("run {run} asks: {}", safe(text)));
            }
            Err(Problem::usage(
                "several runs ask something",
                Some("name one: `nlrun approve RUN`".to_owned()),
            ))
        }
    }
}

fn told(context: &Context, id: i64, run: i64, text: &str, yes: bool) {
    if context.out.json {
        context.out.json(&json!({ "question": id, "run": run, "text": text, "yes": yes }));
    } else {
        let word = if yes { "yes" } else { "no" };
        context.out.word(&format!("run {run} asked: {}; answered {word}", safe(text)));
    }
}

fn gone(run: i64) -> Problem {
    Problem::usage(format!("the question of run {run} is not open any more"), None)
}
