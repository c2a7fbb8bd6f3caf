//! `nlrun check`: walks the whole call graph of a runbook before anything runs.

mod calls;
mod expressions;
mod known;
pub(in crate::runner) mod needs;
mod program;
mod walk;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::diagnostic::Diagnostic;
use crate::model::nearest::nearest;
use crate::model::runbook::{Header, Names};
use crate::model::signature::Signature;
use crate::runner::header;
use crate::runner::sources::Sources;
use crate::runner::{language, syntax};

pub use program::{Program, Script, collect};

use walk::{Place, Walker};

/// What the check found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Findings, by file and place; the entry's come first.
    pub diagnostics: Vec<Diagnostic>,
    /// The header of the entry; `None` when it does not compile.
    pub header: Option<Header>,
    /// The capabilities that calls reachable from the entry use.
    pub capabilities: Vec<Use>,
}

impl Checked {
    /// Whether the runbook may run.
    pub fn passes(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// A capability that a call uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Use {
    /// The effect's name.
    pub verb: &'static str,
    /// What it touches, as far as known.
    pub target: Target,
    /// The script of the call.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
    /// The length of the function's name.
    pub length: usize,
}

/// What a call touches, as far as the text tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The run itself.
    Run,
    /// One of these hosts, all of which must be covered; and a path where it is known.
    Hosts {
        /// The pattern or name, as written.
        pattern: String,
        /// The path, when it is literal; `None` when the effect has none or it is computed.
        path: Option<String>,
    },
    /// This name.
    Named(String),
    /// Something below this name: `nl` stands for `nl/web/Deployment/shop` and everything else of a cluster.
    Below(String),
    /// A host or name that only the run will know; a path where it is known.
    Unknown {
        /// The path, when it is literal.
        path: Option<String>,
    },
}

/// What the check compares a runbook with.
pub struct Context<'a> {
    /// Every host function by name.
    pub vocabulary: BTreeMap<&'static str, &'a Signature>,
    /// The inventory.
    pub names: &'a dyn Names,
    /// The secrets that exist; `None` when nobody can tell.
    pub secrets: Option<&'a [String]>,
}

/// Checks one runbook with everything it imports.
///
/// Library scripts can be checked the same way: without a header there is nothing to compare capabilities with.
pub fn check(
    sources: &dyn Sources,
    entry: &str,
    vocabulary: &[&Signature],
    names: &dyn Names,
    secrets: Option<&[String]>,
) -> Checked {
    let context = Context { vocabulary: vocabulary.iter().map(|s| (s.name, *s)).collect(), names, secrets };
    let mut program = Program::load(sources, entry);
    let mut checked = Checked { diagnostics: std::mem::take(&mut program.found), ..Checked::default() };
    let Some(ast) = program.scripts.first().and_then(|script| script.ast.as_ref()) else { return checked };
    let first = &program.scripts[0];
    let (header, found) = header::read(ast, &first.path, &first.text);
    checked.diagnostics.extend(found);
    check_groups(&header, &context, first, &mut checked.diagnostics);
    let mut graph = needs::Graph::default();
    for script in &program.scripts {
        let Some(ast) = &script.ast else { continue };
        let mut walker = Walker::new(&program, script, ast, &header, &context);
        walker.walk();
        checked.diagnostics.append(&mut walker.found);
        graph.add(script, walker.edges, walker.used);
    }
    checked.capabilities = graph.reachable(&first.path, &header);
    needs::compare(&header, &checked.capabilities, &context, &program, &mut checked.diagnostics);
    if checked.passes() {
        strictly(&program, &mut checked.diagnostics);
    }
    finish(&mut checked.diagnostics, entry);
    checked.header = Some(header);
    checked
}

/// Compiles once more as the run will, for what only the strict parser refuses.
fn strictly(program: &Program, found: &mut Vec<Diagnostic>) {
    let mut engine = language::parser();
    engine.set_strict_variables(true);
    for (index, script) in program.scripts.iter().enumerate() {
        let mut scope = rhai::Scope::new();
        if index == 0 {
            scope.push_constant(walk::PARAMS, rhai::Map::new());
        }
        if let Err(error) = language::compile(&engine, &script.path, &script.text, &scope) {
            found.push(syntax::diagnose(&error, &script.path, &script.text));
        }
    }
}

fn check_groups(header: &Header, context: &Context, script: &Script, found: &mut Vec<Diagnostic>) {
    for parameter in &header.params {
        let Some(group) = parameter.group.as_deref().filter(|group| !context.names.group(group)) else {
            continue;
        };
        let (line, column) = Place::of_text(&script.text, &format!("\"{group}\"")).unwrap_or((1, 1));
        let hint = context.names.nearest_group(group).map(|near| format!("did you mean `{near}`?"));
        found.push(
            Diagnostic::error("unknown-group", format!("`{group}` is not a group of the inventory"))
                .at(&script.path, &script.text, line, column, group.chars().count() + 2)
                .maybe_hint(hint),
        );
    }
}

/// Sorts findings and drops the ones that are said twice.
fn finish(found: &mut Vec<Diagnostic>, entry: &str) {
    found.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.file != entry, d.file.clone(), d.line, d.column, d.severity);
        key(a).cmp(&key(b)).then_with(|| a.code.cmp(&b.code))
    });
    found.dedup_by(|a, b| {
        (&a.code, &a.file, a.line, a.column, &a.message) == (&b.code, &b.file, b.line, b.column, &b.message)
    });
}

impl Context<'_> {
    /// Returns the known function closest to an unknown one.
    fn nearest_function<'n>(&self, name: &str, more: impl Iterator<Item = &'n str>) -> Option<String> {
        let library = crate::runner::library::functions().iter().map(|known| known.name.as_str());
        // The runbook's own words first: of two equally close ones, the earlier is meant.
        let own: Vec<&str> = more.chain(self.vocabulary.keys().copied()).collect();
        nearest(name, own.into_iter().chain(library)).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests;
