//! `check`: finds what is wrong with scripts without running them.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::model::diagnostic::Diagnostic;
use crate::runner::sources::EMBEDDED;
use crate::runner::stdlib::STDLIB;
use crate::service::{Project, ServiceError, scripts};

/// Check runbooks and libraries without running them
///
/// Walks everything that a script calls: unknown functions, options, hosts, groups, secrets and imports, capabilities that are
/// not in NEEDS, and more; without PATHS the triggers, too. Ends with code 1 when there are errors. With --json, one finding a line: `severity code message
/// file line column length source_line hint`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun check\n  nlrun check runbooks/patch.rhai lib --strict\n  nlrun check stdlib"
)]
pub(crate) struct CheckOptions {
    /// Files or folders; `stdlib` is the embedded library [default: runbooks/ and lib/]
    paths: Vec<String>,
    /// Let warnings count as errors
    #[arg(long)]
    strict: bool,
}

/// The word for the embedded library.
const LIBRARY: &str = "stdlib";

pub(crate) fn check(context: &Context, options: &CheckOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let place = &context.place;
    let out = &context.out;
    let entries = entries(context, &project, &options.paths)?;
    let (inventory, notices) = project.load_inventory(context.common.inventory.as_deref(), &place.cwd)?;
    for notice in &notices {
        out.word(&format!("{}: {notice}", out.words.yellow("warning")));
    }
    let secrets = project.secrets(place).all_names().unwrap_or_default();
    let mut found: Vec<Diagnostic> = Vec::new();
    for diagnostic in
        project.check(&entries, &inventory, &secrets).into_iter().flat_map(|checked| checked.diagnostics)
    {
        // A library that several runbooks import is checked with each of them.
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }
    if options.paths.is_empty() {
        match project.triggers() {
            Err(ServiceError::Check(errors)) => found.extend(errors),
            other => drop(other?),
        }
    }
    for diagnostic in &found {
        if out.json {
            out.json(diagnostic);
        } else if diagnostic.is_error() || options.strict || !out.quiet {
            out.diagnostic(diagnostic);
        }
    }
    let errors = found.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let warnings = found.len() - errors;
    if !out.json {
        out.word(&format!(
            "{}: {}, {}",
            count(entries.len(), "script"),
            count(errors, "error"),
            count(warnings, "warning")
        ));
    }
    Ok(u8::from(errors > 0 || (options.strict && warnings > 0)))
}

/// Lists the scripts that are meant, relative to the project.
fn entries(context: &Context, project: &Project, paths: &[String]) -> Result<Vec<String>, Problem> {
    let root = project.root();
    let mut entries = BTreeSet::new();
    if paths.is_empty() {
        entries.extend(project.runbooks());
        entries.extend(scripts(root, &root.join("lib")));
    }
    for path in paths {
        let folder = folder(context, root, path);
        let before = entries.len();
        if path == LIBRARY {
            entries.extend(STDLIB.iter().map(|(name, _)| format!("{EMBEDDED}{name}")));
        }
        match folder {
            Some(folder) => entries.extend(scripts(root, &folder)),
            None if path == LIBRARY => {}
            None => {
                let entry = project.runbook(path, &context.place.cwd);
                entries.insert(entry.map_err(crate::service::ServiceError::from)?);
            }
        }
        if entries.len() == before && paths.len() == 1 && path != LIBRARY {
            return Err(Problem::usage(format!("there are no scripts in `{path}`"), None));
        }
    }
    Ok(entries.into_iter().collect())
}

fn folder(context: &Context, root: &Path, path: &str) -> Option<std::path::PathBuf> {
    let places = [context.place.cwd.join(path), root.join(path)];
    let folder = places.into_iter().find(|place| place.is_dir())?;
    folder.canonicalize().ok().filter(|folder| folder.starts_with(root))
}

/// Writes a number with its word.
pub(crate) fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}
