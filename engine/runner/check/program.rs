//! A runbook with everything it imports, compiled and not run.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{AST, ASTNode, Expr, Position, Scope, Stmt};

use crate::model::diagnostic::Diagnostic;
use crate::runner::sources::{Sources, find};
use crate::runner::{language, syntax};

/// One script of a program.
pub struct Script {
    /// Its path, as [`Sources`] knows it.
    pub path: String,
    /// Its text.
    pub text: Arc<str>,
    /// What it compiles to; `None` when it does not.
    pub ast: Option<AST>,
    /// Its functions and closures.
    pub bodies: Vec<Body>,
    /// Where each of its imports leads, by the position of the path.
    pub imports: BTreeMap<(usize, usize), String>,
}

/// A function or closure.
pub struct Body {
    /// Its name; a closure's begins with `anon$`.
    pub name: String,
    /// Its parameters; a closure's captured variables come first.
    pub params: Vec<String>,
    /// What it does.
    pub statements: Vec<Stmt>,
}

/// The entry script first, then its imports in the order they were met.
pub struct Program {
    /// All scripts.
    pub scripts: Vec<Script>,
    /// Syntax errors and bad imports.
    pub found: Vec<Diagnostic>,
}

/// Returns line and column, 0 when there is none.
pub fn place(at: Position) -> (usize, usize) {
    (at.line().unwrap_or(0), at.position().unwrap_or(0))
}

impl Program {
    /// Compiles the entry and, through literal imports, all that it needs.
    pub fn load(sources: &dyn Sources, entry: &str) -> Self {
        let mut program = Self { scripts: Vec::new(), found: Vec::new() };
        match sources.text(entry) {
            Ok(text) => program.add(sources, entry, text, &mut Vec::new()),
            Err(cause) => {
                let mut found = Diagnostic::error("missing-script", cause.to_string());
                entry.clone_into(&mut found.file);
                program.found.push(found);
            }
        }
        program
    }

    /// Finds a script by its path.
    pub fn script(&self, path: &str) -> Option<&Script> {
        self.scripts.iter().find(|script| script.path == path)
    }

    fn add(&mut self, sources: &dyn Sources, path: &str, text: Arc<str>, loading: &mut Vec<String>) {
        let parser = language::parser();
        let compiled = language::compile(&parser, path, &text, &Scope::new());
        let index = self.scripts.len();
        self.scripts.push(Script {
            path: path.to_owned(),
            text: Arc::clone(&text),
            ast: None,
            bodies: Vec::new(),
            imports: BTreeMap::new(),
        });
        let ast = match compiled {
            Ok(ast) => ast,
            Err(error) => {
                self.found.push(syntax::diagnose(&error, path, &text));
                return;
            }
        };
        self.found.extend(syntax::open_comment(&parser, path, &text));
        let mut wanted = Vec::new();
        ast.walk(&mut |nodes: &[ASTNode]| {
            if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = nodes.last() {
                wanted.push(match &import.0 {
                    Expr::StringConstant(name, at) => (Some(name.to_string()), place(*at)),
                    other => (None, place(syntax::start(other))),
                });
            }
            true
        });
        self.scripts[index].bodies = bodies(&ast);
        self.scripts[index].ast = Some(ast);
        loading.push(path.to_owned());
        for (name, (line, column)) in wanted {
            let Some(name) = name else {
                let found = Diagnostic::error("computed-import", "an import is computed").hint(
                    "write the path as a literal string: the check reads all scripts before anything runs",
                );
                self.found.push(found.at(path, &text, line, column, 1));
                continue;
            };
            let length = name.chars().count() + 2;
            match find(sources, path, &name) {
                Ok((target, _)) if loading.contains(&target) => {
                    let begun = loading.iter().position(|other| *other == target).unwrap_or(0);
                    let round = format!("{} -> {target}", loading[begun..].join(" -> "));
                    let found = Diagnostic::error("circular-import", format!("circular import: {round}"));
                    self.found.push(found.at(path, &text, line, column, length));
                }
                Ok((target, inner)) => {
                    if self.script(&target).is_none() {
                        self.add(sources, &target, inner, loading);
                    }
                    self.scripts[index].imports.insert((line, column), target);
                }
                Err(cause) => {
                    let found =
                        Diagnostic::error("missing-import", format!("cannot import `{name}`: {cause}")).hint(
                            "imports are `./x` beside the script, or `x` in `lib/` or the standard library",
                        );
                    self.found.push(found.at(path, &text, line, column, length));
                }
            }
        }
        loading.pop();
    }
}

/// Copies the functions out: Rhai shows their statements only to a walk, one function at a time here.
fn bodies(ast: &AST) -> Vec<Body> {
    let copy = |name: &str, params: usize| {
        // Not `clone_functions_only_filtered`: in Rhai 1.27 it ignores its filter.
        let mut one = ast.clone_functions_only();
        one.retain_functions(|_, _, other, count| other == name && count == params);
        let mut statements = Vec::new();
        one.walk(&mut |nodes: &[ASTNode]| {
            if let [ASTNode::Stmt(statement)] = nodes {
                statements.push((*statement).clone());
            }
            true
        });
        statements
    };
    ast.iter_fn_def()
        .map(|function| Body {
            name: function.name.to_string(),
            params: function.params.iter().map(ToString::to_string).collect(),
            statements: copy(&function.name, function.params.len()),
        })
        .collect()
}

/// Gathers the text of a runbook and of everything it imports, for a run to pin.
pub fn collect(sources: &dyn Sources, entry: &str) -> Result<Vec<(String, Arc<str>)>, Box<Diagnostic>> {
    let program = Program::load(sources, entry);
    match program.found.into_iter().find(Diagnostic::is_error) {
        Some(found) => Err(Box::new(found)),
        None => Ok(program.scripts.into_iter().map(|script| (script.path, script.text)).collect()),
    }
}
