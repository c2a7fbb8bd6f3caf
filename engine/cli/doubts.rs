//! Acts in doubt, as people read them: what each was, and the commands that decide about them.

use std::fmt::Write as _;

use crate::cli::diagnostic::safe;
use crate::cli::style::Style;
use crate::model::event::InDoubt;
use crate::model::run::RunId;

/// The longest list for which the command is written out.
const WRITTEN_OUT: usize = 20;

/// Lists them, a line each, and how to decide; nothing when there is none.
pub(crate) fn list(style: Style, run: RunId, acts: &[InDoubt]) -> String {
    let mut text = String::new();
    if acts.is_empty() {
        return text;
    }
    let _ = writeln!(text, "{}", style.yellow("in doubt:"));
    let width = acts.iter().map(|act| act.address.as_str().chars().count()).max().unwrap_or_default();
    for InDoubt { address, effect, target, about, site } in acts {
        let _ = write!(text, "  {address:<width$}  {effect} {}", safe(target));
        if let Some(about) = about {
            let _ = write!(text, " {}", style.dim(&safe(about)));
        }
        if let Some(site) = site {
            let _ = write!(text, " {}", style.dim(&format!("({site})")));
        }
        text.push('\n');
    }
    if acts.len() > WRITTEN_OUT {
        let _ = writeln!(text, "`nlrun resume {run} --done ADDRESS … --again ADDRESS …` goes on");
        return text;
    }
    // Neither answer stands there alone: one that is pasted without a look at the hosts would be a guess.
    for (words, option) in [("all happened: ", "--done"), ("none happened:", "--again")] {
        let _ = write!(text, "  {words} nlrun resume {run}");
        for act in acts {
            let _ = write!(text, " {option} {}", act.address.typed());
        }
        text.push('\n');
    }
    text
}
