//! `doctor`: prints what could be in the way of the next run.

use clap::Args;

use crate::cli::Context;
use crate::cli::diagnostic::safe;
use crate::cli::problem::Problem;
use crate::service::{Finding, FindingState, examine};
use crate::store::Store;

/// Look for what could be in the way of the next run
///
/// Ends with code 1 when a check fails. With --json, one object a finding: `check state text hint`, where `state` is `ok`, `warn` or
/// `fail`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nlrun doctor\n  nlrun doctor --json | jq 'select(.state != \"ok\")'")]
pub(crate) struct DoctorOptions {}

pub(crate) fn doctor(context: &Context) -> u8 {
    let findings = match context.project() {
        Err(problem) => vec![unusable(&problem)],
        Ok(project) => {
            let place = &context.place;
            let state = project.state(context.common.state.as_deref(), &place.cwd);
            let store =
                state.join("nlrun.db").exists().then(|| Store::open(&state, &project.store_options()));
            examine(&project, place, &state, context.common.inventory.as_deref(), store)
        }
    };
    let out = &context.out;
    let style = out.data;
    for finding in &findings {
        if out.json {
            out.json(finding);
            continue;
        }
        let word = match finding.state {
            FindingState::Ok if out.quiet => continue,
            FindingState::Ok => style.green("ok  "),
            FindingState::Warn => style.yellow("warn"),
            FindingState::Fail => style.red("fail"),
        };
        out.line(&format!("{word}  {:<13} {}", finding.check, safe(&finding.text)));
        if let Some(hint) = &finding.hint {
            out.line(&format!("{:20}{}", "", style.dim(&safe(hint))));
        }
    }
    u8::from(findings.iter().any(|finding| finding.state == FindingState::Fail))
}

fn unusable(problem: &Problem) -> Finding {
    let text = problem.text().unwrap_or_else(|| "the project cannot be read".to_owned());
    let finding = Finding::new("nlrun.yaml", FindingState::Fail, text);
    match problem.hint() {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}
