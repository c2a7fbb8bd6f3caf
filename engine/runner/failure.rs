//! Turns an error of a running script into a finding at the runbook's line, with the calls that led there.

use rhai::{EvalAltResult, ParseError};

use crate::bindings::{FOREIGN, FOREIGN_HINT};
use crate::model::diagnostic::{Diagnostic, Frame};
use crate::model::event::Site;
use crate::model::nearest::nearest;
use crate::runner::guard::Ended;
use crate::runner::sources::Sources;
use crate::runner::{language, library, syntax};

/// Explains why a script ended; `entry` is the script that the run began with.
///
/// A `Stop` of the gate arrives as `ErrorTerminated` with a value of its own: look at that before calling this.
pub fn explain(error: &EvalAltResult, entry: &str, sources: &dyn Sources, functions: &[&str]) -> Diagnostic {
    let (mut file, mut frames, mut inner) = (entry.to_owned(), Vec::new(), error);
    loop {
        match inner {
            EvalAltResult::ErrorInFunctionCall(name, source, cause, at) => {
                let (line, column) = (at.line().unwrap_or(0), at.position().unwrap_or(0));
                let function = if name.starts_with("anon$") { "closure".to_owned() } else { name.clone() };
                frames.push(Frame { file: file.clone(), line, column, function });
                if !source.is_empty() {
                    file.clone_from(source);
                }
                inner = cause;
            }
            EvalAltResult::ErrorInModule(path, cause, at) => {
                let (line, column) = (at.line().unwrap_or(0), at.position().unwrap_or(0));
                frames.push(Frame {
                    file: file.clone(),
                    line,
                    column,
                    function: format!("import of {path}"),
                });
                if !path.is_empty() {
                    file.clone_from(path);
                }
                inner = cause;
            }
            _ => break,
        }
    }
    frames.reverse();
    let text = sources.text(&file).unwrap_or_default();
    let mut found = if let EvalAltResult::ErrorParsing(kind, at) = inner {
        syntax::diagnose(&ParseError(Box::new(kind.clone()), *at), &file, &text)
    } else {
        let own = |name: &str| {
            makes(name, &file, &text) || makes(name, entry, &sources.text(entry).unwrap_or_default())
        };
        let (code, message, hint) = closure(inner, own).unwrap_or_else(|| words(inner, functions));
        // A host function raises without a position: the innermost call is where it stands.
        let at = Some(inner.position()).filter(|at| !at.is_none());
        let called = frames.first().filter(|frame| frame.line > 0);
        let (file, line, column) = match (at, called) {
            (Some(at), _) => (file.as_str(), at.line().unwrap_or(0), at.position().unwrap_or(0)),
            (None, Some(call)) => (call.file.as_str(), call.line, call.column),
            (None, None) => (file.as_str(), 0, 0),
        };
        let text = sources.text(file).unwrap_or_default();
        let length = word_length(&text, line, column);
        Diagnostic::error(code, message).maybe_hint(hint).at(file, &text, line, column, length)
    };
    found.frames = frames;
    found
}

/// Moves a finding to the place of a call.
pub fn stands_at(found: Diagnostic, site: &Site, sources: &dyn Sources) -> Diagnostic {
    let text = sources.text(&site.file).unwrap_or_default();
    let (line, column) = (site.line as usize, site.column as usize);
    found.at(&site.file, &text, line, column, word_length(&text, line, column))
}

/// Returns the length of the name or operator at a place, at least 1.
fn word_length(text: &str, line: usize, column: usize) -> usize {
    let content = text.lines().nth(line.wrapping_sub(1)).unwrap_or_default();
    let rest = content.chars().skip(column.saturating_sub(1));
    rest.take_while(|c| c.is_alphanumeric() || *c == '_').count().max(1)
}

/// Explains a closure that is not found: it takes other values, or belongs to a module.
fn closure(
    error: &EvalAltResult,
    own: impl Fn(&str) -> bool,
) -> Option<(&'static str, String, Option<String>)> {
    let EvalAltResult::ErrorFunctionNotFound(signature, _) = error else { return None };
    let name = signature.split(' ').next().filter(|name| name.starts_with("anon$"))?;
    if own(name) {
        let message = "the closure is called with another number of values than it takes".to_owned();
        return Some(("wrong-type", message, None));
    }
    Some(("foreign-closure", FOREIGN.to_owned(), Some(FOREIGN_HINT.to_owned())))
}

/// Whether a script has a closure of this name, which Rhai makes from what it holds.
fn makes(name: &str, file: &str, text: &str) -> bool {
    let ast = language::compile(&language::parser(), file, text, &rhai::Scope::new());
    ast.is_ok_and(|ast| ast.iter_functions().any(|function| function.name == name))
}

fn words(error: &EvalAltResult, functions: &[&str]) -> (&'static str, String, Option<String>) {
    match error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => function_not_found(signature, functions),
        EvalAltResult::ErrorPropertyNotFound(name, _) => missing_key(name),
        EvalAltResult::ErrorDotExpr(text, _) => {
            match text.split('\'').nth(1).or_else(|| text.split('`').nth(1)) {
                Some(name) => missing_property(name, text),
                None => ("failed", text.clone(), None),
            }
        }
        EvalAltResult::ErrorIndexNotFound(key, _) => missing_key(&key.to_string()),
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            ("undefined-variable", format!("there is no variable `{name}`"), None)
        }
        EvalAltResult::ErrorModuleNotFound(name, _) => {
            ("missing-import", format!("cannot import `{name}`"), None)
        }
        EvalAltResult::ErrorMismatchDataType(wanted, got, _)
        | EvalAltResult::ErrorMismatchOutputType(wanted, got, _) => {
            ("wrong-type", format!("{} is needed here, got {}", type_name(wanted), type_name(got)), None)
        }
        EvalAltResult::ErrorIndexingType(kind, _) => {
            let kind = kind.split([' ', '[']).next().unwrap_or_default();
            ("wrong-type", format!("{} has no elements to index", type_name(kind)), None)
        }
        EvalAltResult::ErrorArrayBounds(0, index, _) => {
            ("out-of-bounds", format!("there is no element {index}: the array is empty"), None)
        }
        EvalAltResult::ErrorArrayBounds(length, index, _) => (
            "out-of-bounds",
            format!("there is no element {index} in an array of {length}"),
            Some("elements count from 0".into()),
        ),
        EvalAltResult::ErrorStringBounds(length, index, _) => {
            ("out-of-bounds", format!("there is no character {index} in a string of {length}"), None)
        }
        EvalAltResult::ErrorFor(_) => {
            ("wrong-type", "`for` wants an array, a map's keys or a range".into(), None)
        }
        EvalAltResult::ErrorDataRace(what, _) => (
            "data-race",
            format!("a closure uses {what} while it is being changed"),
            Some("copy the value into a variable of its own before the call".into()),
        ),
        EvalAltResult::ErrorAssignmentToConstant(name, _) => {
            ("assignment-to-constant", format!("`{name}` is constant"), Some("declare it with `let`".into()))
        }
        EvalAltResult::ErrorStackOverflow(_) => (
            "too-deep",
            "functions call each other too deep".into(),
            Some("is there a recursion without an end?".into()),
        ),
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            ("too-large", format!("a value grows too large: {}", what.to_lowercase()), None)
        }
        EvalAltResult::ErrorTooManyOperations(_) => {
            ("too-many-operations", "the script runs too long".into(), None)
        }
        EvalAltResult::ErrorTooManyVariables(_) => {
            ("too-many-variables", "the script has too many variables".into(), None)
        }
        EvalAltResult::ErrorTooManyModules(_) => {
            ("too-many-imports", "the script has too many imports".into(), None)
        }
        EvalAltResult::ErrorTerminated(token, _) => match token.clone().try_cast::<Ended>() {
            Some(ended @ Ended::Cancelled) => ("cancelled", ended.to_string(), None),
            Some(ended @ Ended::TimedOut { .. }) => {
                ("timed-out", ended.to_string(), Some("raise `timeout` in LIMITS".into()))
            }
            Some(ended @ Ended::Operations { .. }) => (
                "too-many-operations",
                ended.to_string(),
                Some("is there a loop without an end? Else raise `operations` in LIMITS".into()),
            ),
            Some(ended @ Ended::Memory { .. }) => (
                "out-of-memory",
                ended.to_string(),
                Some("raise `memory` in LIMITS if it is really needed".into()),
            ),
            None => ("stopped", token.to_string(), None),
        },
        EvalAltResult::ErrorRuntime(value, _) => {
            ("failed", if value.is_unit() { "failed".into() } else { value.to_string() }, None)
        }
        EvalAltResult::ErrorArithmetic(text, _) => ("arithmetic", lower(text), None),
        EvalAltResult::ErrorSystem(context, cause) if context.is_empty() => {
            ("failed", cause.to_string(), None)
        }
        EvalAltResult::ErrorSystem(context, cause) => ("failed", format!("{context}: {cause}"), None),
        other => {
            let mut text = other.to_string();
            if let Some(at) = text.rfind(" (line ") {
                text.truncate(at);
            }
            ("failed", lower(&text), None)
        }
    }
}

/// Rewrites `ssh_exce (&str | ImmutableString | String, i64)`.
fn function_not_found(signature: &str, functions: &[&str]) -> (&'static str, String, Option<String>) {
    if let Some(property) = signature.strip_prefix("get$").or_else(|| signature.strip_prefix("set$")) {
        return missing_key(property.split(' ').next().unwrap_or(property));
    }
    let (name, types) = signature.split_once('(').unwrap_or((signature, ""));
    let name = name.trim();
    let types: Vec<&str> =
        types.trim_end_matches(')').split(", ").filter(|part| !part.is_empty()).map(type_name).collect();
    let plain = name.rsplit("::").next().unwrap_or(name);
    let known =
        functions.contains(&plain) || library::functions().iter().any(|function| function.name == plain);
    if !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':') {
        return ("wrong-type", format!("`{name}` does not work on {}", types.join(" and ")), None);
    }
    if known {
        let given = if types.is_empty() { "nothing".to_owned() } else { types.join(", ") };
        return ("wrong-type", format!("`{name}` does not take ({given})"), None);
    }
    let candidates =
        functions.iter().copied().chain(library::functions().iter().map(|known| known.name.as_str()));
    let hint = nearest(plain, candidates).map(|near| format!("did you mean `{near}`?"));
    ("unknown-function", format!("there is no function `{name}` for ({})", types.join(", ")), hint)
}

fn missing_key(name: &str) -> (&'static str, String, Option<String>) {
    (
        "missing-key",
        format!("there is no `{name}` here"),
        Some(format!("if it may be missing, write `….get(\"{name}\") ?? default` or ask `\"{name}\" in …`")),
    )
}

/// Rewrites `Unknown property 'b' - a getter is not registered for type '()'`.
fn missing_property(name: &str, text: &str) -> (&'static str, String, Option<String>) {
    match text.split("type '").nth(1).and_then(|rest| rest.split('\'').next()) {
        Some("()") => (
            "missing-key",
            format!("`.{name}` is read from nothing: the value before it is `()`"),
            Some("the key or result before the dot is missing".into()),
        ),
        Some(kind) => ("missing-key", format!("{} has no `{name}`", type_name(kind)), None),
        None => missing_key(name),
    }
}

/// Names Rhai's types in the words of runbooks.
fn type_name(rhai: &str) -> &str {
    match rhai.trim() {
        "&str | ImmutableString | String" | "string" | "&str" | "ImmutableString" => "a string",
        "i64" | "INT" | "int" => "a whole number",
        "f64" | "FLOAT" | "float" => "a number with a fraction",
        "bool" => "true or false",
        "char" => "a character",
        "()" => "nothing",
        "array" | "Array" => "an array",
        "map" | "Map" => "a map",
        "blob" | "Blob" => "bytes",
        "Fn" | "FnPtr" => "a closure",
        "range" | "range=" => "a range",
        other => other.rsplit("::").next().unwrap_or(other),
    }
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runner::modules::Modules;
    use crate::runner::sources::Pinned;
    use rhai::{Dynamic, Scope};

    fn failure(script: &str) -> Diagnostic {
        let library = "fn make(n) { |v| v + n }\nfn deep(n) { inner(n) }\nfn inner(n) {\n    let m = #{ a: 1 };\n    m.b\n}";
        let sources = Pinned(
            [("a.rhai".to_owned(), Arc::from(script)), ("lib/x.rhai".to_owned(), Arc::from(library))].into(),
        );
        let mut engine = language::parser();
        engine.set_module_resolver(Modules::new(Arc::new(sources.clone()), "a.rhai"));
        engine.register_fn("ssh_exec", |_: &str, _: &str| -> Result<(), Box<EvalAltResult>> {
            Err("connection refused".into())
        });
        let error = match language::compile(&engine, "a.rhai", script, &Scope::new()) {
            Ok(ast) => engine.eval_ast::<Dynamic>(&ast).expect_err(script),
            Err(error) => error.into(),
        };
        explain(&error, "a.rhai", &sources, &["ssh_exec"])
    }

    #[test]
    fn errors_are_told_in_the_words_of_runbooks() {
        let cases = [
            ("let m = #{ a: 1 };\nm.b", "a.rhai:2:3 there is no `b` here"),
            ("let m = ();\nm.b", "a.rhai:2:3 `.b` is read from nothing: the value before it is `()`"),
            (
                "ssh_exce(\"a\", 1)",
                "a.rhai:1:1 there is no function `ssh_exce` for (a string, a whole number)",
            ),
            ("ssh_exec(\"a\", 1)", "a.rhai:1:1 `ssh_exec` does not take (a string, a whole number)"),
            ("\n ssh_exec(\"a\", \"b\")", "a.rhai:2:2 connection refused"),
            ("1 + [1]", "a.rhai:1:3 `+` does not work on a whole number and an array"),
            ("throw \"bad\"", "a.rhai:1:1 bad"),
            ("let a = [1]; a[5]", "a.rhai:1:16 there is no element 5 in an array of 1"),
            (
                "import \"nothing\" as n;",
                "a.rhai:1:8 cannot import `nothing`: there is no `lib/nothing.rhai` and no `stdlib:nothing.rhai`",
            ),
            ("fn f() { f() } f()", "a.rhai:1:16 functions call each other too deep"),
            ("let x = 9223372036854775807 + 1;", "a.rhai:1:29 addition overflow: 9223372036854775807 + 1"),
            ("let n = 5; for x in n { }", "a.rhai:1:21 `for` wants an array, a map's keys or a range"),
            ("let x = ;", "a.rhai:1:9 "),
            (
                "import \"x\" as x;\nlet f = x::make(1);\nf.call(2)",
                "a.rhai:3:3 a closure that a module made is called outside of that module",
            ),
            (
                "import \"x\" as x;\n[1].map(x::make(1))",
                "a.rhai:2:5 a closure that a module made is called outside of that module",
            ),
            (
                "let f = |v, w| v + w;\nf.call(2)",
                "a.rhai:2:3 the closure is called with another number of values than it takes",
            ),
        ];
        for (script, expected) in cases {
            let found = failure(script);
            let shown = format!("{}:{}:{} {}", found.file, found.line, found.column, found.message);
            assert!(shown.starts_with(expected), "{script}\n  {shown}\n  {expected}");
        }
    }

    #[test]
    fn frames_lead_from_the_failure_to_the_entry() {
        let found = failure("import \"x\" as x;\nfn begin() {\n    x::deep(1)\n}\nbegin();");
        assert_eq!(
            (found.file.as_str(), found.line, found.source_line.as_deref()),
            ("lib/x.rhai", 5, Some("    m.b"))
        );
        let frames: Vec<_> =
            found.frames.iter().map(|f| format!("{} {}:{}", f.function, f.file, f.line)).collect();
        assert_eq!(frames, ["inner lib/x.rhai:2", "deep a.rhai:3", "begin a.rhai:5"]);
    }
}
