//! The one place that configures Rhai, for the check and for the run alike.
//!
//! `step "name" { … }` is a statement and an expression of the language. `step` stays an ordinary name everywhere
//! else (`m.step`, `let step = 1`, `#{ step: 1 }`, `step(…)`): it begins a block only when a string or a name follows it.
//! The words that Rhai keeps for later (`default`, `package`, `new`, `match`, …) are ordinary names, too, except
//! `this` and the built-in functions. `eval` is not.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rhai::{
    AST, Dynamic, Engine, EvalAltResult, EvalContext, Expression, OptimizationLevel, ParseError, Position,
    Scope, Token,
};

use crate::runner::guard::Guard;
use crate::runner::library;

/// The longest text in bytes, and the longest total of texts in one array or map.
pub const STRING_SIZE: usize = 16 << 20;
/// The most elements of an array, nested ones included: 16 bytes each, so 16 MiB of values at most.
pub const ARRAY_SIZE: usize = 1 << 20;
/// The most entries of a map, nested ones included.
pub const MAP_SIZE: usize = 1 << 18;
/// How deep expressions nest, in a script and in a function.
pub const EXPRESSION_DEPTH: (usize, usize) = (128, 64);
/// The stack that a run needs at full depth, in bytes; a branch, too.
pub const STACK_SIZE: usize = 16 << 20;

/// What happens at the edges of a step.
pub trait Steps: Send + Sync {
    /// Begins a step; an error ends the run there.
    fn begin(&self, context: &mut EvalContext, name: &str, at: Position) -> Result<(), Box<EvalAltResult>>;
    /// Ends a step with what its block gave: a value, a `return` or `break` (both travel as errors), or a failure.
    fn end(
        &self,
        context: &mut EvalContext,
        name: &str,
        at: Position,
        outcome: &Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<(), Box<EvalAltResult>>;
}

/// The key of the custom syntax: no identifier, so that the word `step` stays free.
const STEP: &str = "step {}";

thread_local! {
    /// The lines of the script that this thread compiles.
    static COMPILING: RefCell<Option<Rc<Vec<Vec<char>>>>> = const { RefCell::new(None) };
}

/// Makes the engine of one run, without bindings: the caller registers its functions as a global module.
///
/// Set `max_call_levels` lower where `LIMITS.depth` asks for it.
pub fn engine(guard: Arc<Guard>, steps: Arc<dyn Steps>) -> Engine {
    let mut engine = configured();
    engine.on_progress(move |operation| guard.tick(operation).map(Dynamic::from));
    register_step(&mut engine, move |context, name, at, block| {
        steps.begin(context, name, at)?;
        let outcome = block.eval_with_context(context);
        steps.end(context, name, at, &outcome)?;
        outcome
    });
    engine
}

/// Makes an engine that compiles the language and runs nothing.
///
/// It accepts undefined variables, which the check reports itself: Rhai's parser stops at the first.
pub fn parser() -> Engine {
    let mut engine = configured();
    engine.set_strict_variables(false);
    register_step(&mut engine, |_, _, _, _| Ok(Dynamic::UNIT));
    engine
}

fn configured() -> Engine {
    let mut engine = Engine::new_raw();
    library::install(&mut engine);
    engine
        .set_optimization_level(OptimizationLevel::None)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        .set_max_call_levels(crate::model::runbook::DEEPEST)
        .set_max_expr_depths(EXPRESSION_DEPTH.0, EXPRESSION_DEPTH.1)
        .set_max_operations(0)
        .set_max_variables(1000)
        .set_max_functions(2000)
        .set_max_modules(200)
        .set_max_string_size(STRING_SIZE)
        .set_max_array_size(ARRAY_SIZE)
        .set_max_map_size(MAP_SIZE)
        .disable_symbol("eval");
    #[expect(deprecated, reason = "marked volatile, not deprecated; the rhai version is pinned")]
    engine.on_parse_token(|token, at, _| match token {
        Token::Reserved(word) if is_free(&word) => Token::Identifier(word),
        Token::Identifier(word) if word.as_str() == "step" && begins_step(at) => {
            // Not `Token::Custom`: after a block the parser would take that for an operator, and refuse two steps in a row.
            Token::Identifier(Box::new(STEP.into()))
        }
        other => other,
    });
    engine
}

/// Words that Rhai reserves for itself and a runbook may use as names (Kubernetes and JSON are full of them).
fn is_free(word: &str) -> bool {
    const FREE: [&str; 27] = [
        "async",
        "await",
        "case",
        "default",
        "exit",
        "go",
        "goto",
        "is",
        "match",
        "module",
        "new",
        "nil",
        "null",
        "package",
        "protected",
        "public",
        "shared",
        "spawn",
        "static",
        "super",
        "sync",
        "thread",
        "use",
        "var",
        "void",
        "with",
        "yield",
    ];
    FREE.contains(&word)
}

fn register_step(
    engine: &mut Engine,
    run: impl Fn(&mut EvalContext, &str, Position, &Expression) -> Result<Dynamic, Box<EvalAltResult>>
    + Send
    + Sync
    + 'static,
) {
    engine.register_custom_syntax_with_state_raw(
        STEP,
        |seen, _, _| {
            Ok(match seen.len() {
                1 => Some("$expr$".into()),
                2 => Some("$block$".into()),
                _ => None,
            })
        },
        // With `true`, strict mode no longer sees the variables around the block.
        false,
        move |context, inputs, _| {
            let [name, block] = inputs else { unreachable!("the syntax has two parts") };
            let at = name.position();
            let name = name.eval_with_context(context)?;
            let name = name.into_immutable_string().map_err(|got| {
                EvalAltResult::ErrorRuntime(format!("a step wants a string as name, got {got}").into(), at)
            })?;
            run(context, &name, at, block)
        },
    );
}

/// Compiles a script, which then knows its path; `known` are the variables that it finds defined.
pub fn compile(engine: &Engine, path: &str, text: &str, known: &Scope) -> Result<AST, ParseError> {
    let lines = text.split('\n').map(|line| line.chars().collect()).collect();
    let outer = COMPILING.replace(Some(Rc::new(lines)));
    let compiled = engine.compile_with_scope(known, text);
    COMPILING.set(outer);
    let mut ast = compiled?;
    ast.set_source(path);
    Ok(ast)
}

/// Whether the word `step` at this place begins a block: a string, or a name that is not an operator, follows.
fn begins_step(at: Position) -> bool {
    let (Some(line), Some(column)) = (at.line(), at.position()) else { return true };
    let Some(lines) = COMPILING.with_borrow(Clone::clone) else { return true };
    let mut rest = lines.iter().skip(line - 1).flat_map(|line| line.iter().copied().chain(['\n']));
    let before: Option<char> = lines
        .get(line - 1)
        .and_then(|line| line.get(..column - 1)?.iter().rev().find(|c| !c.is_whitespace()).copied());
    if before == Some('.') {
        return false;
    }
    let mut rest = rest.by_ref().skip(column - 1 + "step".len()).skip_while(|c| c.is_whitespace()).peekable();
    match rest.peek() {
        Some('"' | '`' | '#' | '\'') => true,
        Some(c) if c.is_alphabetic() || *c == '_' => {
            let word: String = rest.take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            !["in", "as", "is", "if"].contains(&word.as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "language_tests.rs"]
mod tests;
