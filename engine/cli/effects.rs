//! The effects of a past run, one by one: their list, their diffs, their output.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::cli::diagnostic::safe;
use crate::cli::out::Out;
use crate::cli::past::Past;
use crate::cli::problem::Problem;
use crate::cli::view::seconds;
use crate::model::address::Address;
use crate::model::event::{Event, Request, Verdict};
use crate::model::run::{RunId, Seq};

/// Text is written when this much of it is ready.
const WRITE: usize = 64 * 1024;

/// One effect with its end.
struct Shown<'a> {
    address: &'a Address,
    request: &'a Request,
    /// `None` when it was begun and not ended.
    verdict: Option<Verdict>,
    ms: Option<u64>,
    diff: Option<&'a str>,
    failure: Option<&'a str>,
}

/// Lists every effect, a line each.
pub(crate) fn list(out: &Out, past: &Past<'_>, run: RunId) -> Result<(), Problem> {
    let style = out.data;
    each(out, past, run, |effect, text| {
        let Shown { address, request, verdict, ms, .. } = effect;
        if out.json {
            let object = json!({
                "address": address,
                "kind": request.kind,
                "effect": request.effect,
                "target": request.target.to_string(),
                "verdict": verdict,
                "ms": ms,
                "site": request.site.as_ref().map(ToString::to_string),
            });
            let _ = writeln!(text, "{object}");
            return;
        }
        let word = match verdict {
            Some(verdict) => style.verdict(verdict, &format!("{:<11}", verdict.as_str())),
            None => style.yellow(&format!("{:<11}", "not ended")),
        };
        let target = safe(&request.target.to_string());
        let _ = write!(text, "{address:<14} {:<6} {word} {:<12} {target}", request.kind, request.effect);
        if let Some(about) = request.about() {
            let _ = write!(text, " {}", style.dim(&safe(&about)));
        }
        if let Some(ms) = ms {
            let _ = write!(text, " {}", style.dim(&seconds(ms as i64)));
        }
        text.push('\n');
        if let Some(failure) = effect.failure {
            let _ = writeln!(text, "{:<14} {}", "", style.red(&safe(failure)));
        }
    })
}

/// Prints every diff below the effect that made it.
pub(crate) fn diffs(out: &Out, past: &Past<'_>, run: RunId) -> Result<(), Problem> {
    let style = out.data;
    let mut count = 0;
    each(out, past, run, |effect, text| {
        let Some(diff) = effect.diff else { return };
        count += 1;
        let Shown { address, request, .. } = effect;
        if out.json {
            let target = request.target.to_string();
            let object =
                json!({ "address": address, "effect": request.effect, "target": target, "diff": diff });
            let _ = writeln!(text, "{object}");
            return;
        }
        let head = format!("{address} {} {}", request.effect, safe(&request.target.to_string()));
        let _ = writeln!(text, "{}", style.bold(&head));
        text.push_str(&style.diff(diff));
    })?;
    if count == 0 {
        out.word(&format!("run {run} has no diffs"));
    }
    Ok(())
}

/// Prints the kept output of one effect, byte for byte.
pub(crate) fn output(
    out: &Out,
    past: &Past<'_>,
    run: RunId,
    address: &str,
    stderr: bool,
) -> Result<(), Problem> {
    let stream = if stderr { "err" } else { "out" };
    let address = Address::parse(address);
    let last = past.run(run)?.0.last_seq;
    let pieces = past.pour(run, (Seq(1), last), &address, stream, |bytes| out.raw(bytes))?;
    if pieces > 0 {
        return Ok(());
    }
    let mut is_known = false;
    past.walk(run, Seq(0), |record| {
        is_known |= record.event.address() == Some(&address);
        Ok(())
    })?;
    if is_known {
        let words = if stderr { "standard error" } else { "standard output" };
        out.word(&format!("effect `{address}` of run {run} wrote nothing to {words}"));
        return Ok(());
    }
    Err(Problem::usage(
        format!("run {run} has no effect `{address}`"),
        Some(format!("`nlrun show {run} --effects` lists their addresses")),
    ))
}

/// Walks the effects in the order in which they ended; those that never did come last.
fn each(
    out: &Out,
    past: &Past<'_>,
    run: RunId,
    mut show: impl FnMut(Shown<'_>, &mut String),
) -> Result<(), Problem> {
    let mut open: HashMap<Address, Box<Request>> = HashMap::new();
    let mut text = String::new();
    past.walk(run, Seq(0), |record| {
        match &record.event {
            Event::Intent { address, request, .. } => {
                open.insert(address.clone(), request.clone());
            }
            Event::Outcome { address, verdict, ms, diff, failure, .. } => {
                if let Some(request) = open.remove(address) {
                    let (diff, failure) = (diff.as_deref(), failure.as_ref().map(|f| f.message.as_str()));
                    let (verdict, ms) = (Some(*verdict), Some(*ms));
                    show(Shown { address, request: &request, verdict, ms, diff, failure }, &mut text);
                }
            }
            Event::Forecast { address, request, changes, diff, .. } => {
                let verdict = Some(if *changes { Verdict::Changed } else { Verdict::Ok });
                let diff = diff.as_deref();
                show(Shown { address, request, verdict, ms: None, diff, failure: None }, &mut text);
            }
            _ => {}
        }
        if text.len() > WRITE {
            out.raw(text.as_bytes());
            text.clear();
        }
        Ok(())
    })?;
    let mut open: Vec<_> = open.into_iter().collect();
    open.sort_by(|a, b| a.0.cmp(&b.0));
    for (address, request) in &open {
        let effect = Shown { address, request, verdict: None, ms: None, diff: None, failure: None };
        show(effect, &mut text);
    }
    if !text.is_empty() {
        out.raw(text.as_bytes());
    }
    Ok(())
}
