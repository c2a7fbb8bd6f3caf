//! The standard library as its reader sees it: modules, functions and the comments above them.

use serde::Serialize;

use crate::runner::stdlib::STDLIB;
use crate::runner::{header, language};

/// One module of the standard library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Module {
    /// The name to import it by (`apt`).
    pub name: String,
    /// Its `//!` lines.
    pub doc: String,
    /// Its public functions, by name.
    pub functions: Vec<Documented>,
}

/// One function of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Documented {
    /// The name without the module.
    pub name: String,
    /// The names of its parameters.
    pub params: Vec<String>,
    /// Its `///` lines.
    pub doc: String,
}

impl Documented {
    /// Returns the call form for people: `apt::upgrade(host)`.
    pub fn usage(&self, module: &str) -> String {
        let module = module.rsplit('/').next().unwrap_or(module);
        format!("{module}::{}({})", self.name, self.params.join(", "))
    }
}

/// Reads the modules of the standard library.
pub fn modules() -> Vec<Module> {
    STDLIB.iter().filter_map(|(path, text)| module(path, text)).collect()
}

/// Reads one module; `None` when it does not compile, which the check reports.
fn module(path: &str, text: &str) -> Option<Module> {
    let ast = language::compile(&language::parser(), path, text, &rhai::Scope::new()).ok()?;
    let mut functions: Vec<Documented> = ast
        .iter_functions()
        .filter(|function| function.access == rhai::FnAccess::Public)
        .map(|function| Documented {
            name: function.name.to_owned(),
            params: function.params.iter().map(|name| (*name).to_owned()).collect(),
            doc: function.comments.iter().map(|comment| unmarked(comment)).collect::<Vec<_>>().join("\n"),
        })
        .collect();
    functions.sort_by(|a, b| a.name.cmp(&b.name).then(a.params.len().cmp(&b.params.len())));
    let (header, _) = header::read(&ast, path, text);
    Some(Module { name: path.trim_end_matches(".rhai").to_owned(), doc: header.doc, functions })
}

/// Takes the marks off the lines of a comment.
fn unmarked(comment: &str) -> String {
    let lines = comment.lines().map(|line| {
        let line = line.trim_start().trim_start_matches("///");
        line.strip_prefix(' ').unwrap_or(line).trim_end()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_carry_the_comments_above_them() {
        let text = "//! Packages of Debian.\n\n/// Upgrades a host.\n/// Returns what changed.\nfn upgrade(host, options) { 1 }\n\
                    private fn hidden() { 2 }\nfn bare() { 3 }\n";
        let module = module("apt.rhai", text).unwrap();
        assert_eq!((module.name.as_str(), module.doc.as_str()), ("apt", "Packages of Debian."));
        let names: Vec<&str> = module.functions.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["bare", "upgrade"]);
        assert_eq!(module.functions[1].doc, "Upgrades a host.\nReturns what changed.");
        assert_eq!(module.functions[1].usage("apt"), "apt::upgrade(host, options)");
    }
}
