//! Syntax errors in words that tell what to write instead.

use rhai::{Engine, Expr, LexError, ParseError, ParseErrorType, Position, Scope};

use crate::model::diagnostic::Diagnostic;
use crate::model::nearest::did_you_mean;
use crate::runner::language;

/// Returns the leftmost position of an expression; Rhai's own answer for `a + b` is the `+`.
pub fn start(expression: &Expr) -> Position {
    match expression {
        Expr::FnCall(call, at) if call.is_operator_call() => {
            let first = call.args.first().map_or(*at, start);
            if first.is_none() || at.line() == first.line() && at.position() < first.position() {
                *at
            } else {
                first
            }
        }
        Expr::FnCall(call, at) if call.is_qualified() => {
            let first = call.namespace.position();
            if first.is_none() { *at } else { first }
        }
        Expr::Index(pair, ..) | Expr::Dot(pair, ..) => start(&pair.lhs),
        Expr::And(all, _) | Expr::Or(all, _) | Expr::Coalesce(all, _) => {
            all.first().map_or(Position::NONE, start)
        }
        other => other.start_position(),
    }
}

/// Turns the parser's error into a finding at its place.
pub fn diagnose(error: &ParseError, file: &str, text: &str) -> Diagnostic {
    let (kind, at) = (error.0.as_ref(), error.1);
    let (mut line, mut column) = (at.line().unwrap_or(0), at.position().unwrap_or(0));
    if line == 0 {
        line = text.lines().count().max(1);
        column = text.lines().last().map_or(1, |last| last.chars().count() + 1);
    }
    let place = |found: Diagnostic, length: usize| found.at(file, text, line, column, length);
    let syntax = |message: String| Diagnostic::error("syntax", message);
    match kind {
        ParseErrorType::UnexpectedEOF => {
            let hint = if comment_is_open(text) {
                "a comment `/*` is never closed"
            } else {
                "close the last `{`, `(`, `[` or string"
            };
            place(syntax("the script ends in the middle".into()).hint(hint), 1)
        }
        ParseErrorType::BadInput(LexError::MalformedChar(letters)) => {
            let found = syntax(format!("`'{letters}'` is not one character"))
                .hint("single quotes hold one character: write text in double quotes");
            place(found, letters.chars().count() + 2)
        }
        ParseErrorType::BadInput(LexError::UnterminatedString) => {
            let single = text.lines().nth(line - 1).is_some_and(|text| {
                text.chars().skip(column.saturating_sub(1)).collect::<String>().starts_with('\'')
            });
            let hint = if single {
                "single quotes hold one character: write text in double quotes"
            } else {
                "close it on the same line, or write text of several lines between backticks"
            };
            place(syntax("a string is not closed".into()).hint(hint), 1)
        }
        ParseErrorType::BadInput(LexError::StringTooLong(most)) => {
            place(syntax(format!("a string is longer than {most} bytes")), 1)
        }
        ParseErrorType::BadInput(LexError::MalformedEscapeSequence(escape)) => {
            // Rhai points at its last character.
            column = column.saturating_sub(escape.chars().count() - 1).max(1);
            let found = syntax(format!("`{escape}` is not an escape sequence"))
                .hint("write a backslash as `\\\\`, or the text between backticks");
            found.at(file, text, line, column, escape.chars().count())
        }
        ParseErrorType::BadInput(LexError::ImproperSymbol(word, _)) if word == "eval" => place(no_eval(), 4),
        ParseErrorType::BadInput(other) => place(syntax(lower(&other.to_string())), 1),
        ParseErrorType::MissingToken(token, why) => {
            let hint = comment_is_open(text).then(|| "a comment `/*` is never closed".to_owned());
            place(syntax(format!("expected `{token}` {why}")).maybe_hint(hint), 1)
        }
        ParseErrorType::Reserved(word) if word == "eval" => place(no_eval(), 4),
        ParseErrorType::Reserved(word) => place(
            syntax(format!("`{word}` is a word of the language and cannot be a name")),
            word.chars().count(),
        ),
        ParseErrorType::VariableUndefined(name) => place(
            Diagnostic::error("undefined-variable", format!("there is no variable `{name}`")),
            name.chars().count(),
        ),
        ParseErrorType::ModuleUndefined(name) => place(
            Diagnostic::error("unknown-module", format!("no import is called `{name}` here"))
                .hint(format!("add `import \"{name}\" as {name};` above the functions of the script")),
            name.chars().count(),
        ),
        ParseErrorType::UnknownOperator(operator) => place(
            syntax(format!("there is no operator `{operator}`"))
                .maybe_hint(did_you_mean(operator, ["&&", "||", "==", "!=", "=>", "??", "+=", "-="])),
            operator.chars().count(),
        ),
        ParseErrorType::DuplicatedProperty(name) => {
            place(syntax(format!("the map has two keys `{name}`")), name.chars().count())
        }
        ParseErrorType::FnDuplicatedDefinition(name, count) => place(
            syntax(format!("there are two functions `{name}` with {count} parameters")),
            name.chars().count(),
        ),
        ParseErrorType::WrongFnDefinition => place(
            syntax("a function is defined inside a block".into()).hint("move it to the top of the script"),
            2,
        ),
        ParseErrorType::AssignmentToConstant(name) => place(
            Diagnostic::error("assignment-to-constant", format!("`{name}` is constant"))
                .hint("declare it with `let`"),
            name.chars().count(),
        ),
        ParseErrorType::ExprTooDeep => {
            place(syntax("the expression is nested too deep".into()).hint("name parts of it with `let`"), 1)
        }
        ParseErrorType::FnMissingName => place(
            syntax("a function needs a name here".into())
                .hint("words that the language keeps, such as `go` or `new`, cannot name functions"),
            1,
        ),
        ParseErrorType::LoopBreak => place(syntax("`break` or `continue` outside a loop".into()), 1),
        other => place(syntax(lower(&other.to_string())), 1),
    }
}

/// The finding for `eval`, wherever it is met.
pub fn no_eval() -> Diagnostic {
    Diagnostic::error("no-eval", "`eval` is not part of the language")
        .hint("a runbook is checked whole before it runs: write the code out, or pass a closure")
}

/// Finds where a comment begins that never ends; Rhai takes such a script without a word.
pub fn open_comment(engine: &Engine, file: &str, text: &str) -> Option<Diagnostic> {
    if !text.contains("/*") || !comment_is_open(text) {
        return None;
    }
    let compiles = |text: &str| language::compile(engine, file, text, &Scope::new()).is_ok();
    let begins = text.match_indices("/*").map(|(at, _)| at).take(200).find(|at| compiles(&text[..*at]))?;
    let line = text[..begins].matches('\n').count() + 1;
    let column = text[..begins].rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let found =
        Diagnostic::error("open-comment", "this comment never ends: the rest of the script is not run");
    Some(found.at(file, text, line, column, 2).hint("close it with `*/`"))
}

/// Whether a comment is open at the end: comments nest, strings hide them.
fn comment_is_open(text: &str) -> bool {
    let (mut depth, mut rest) = (0_usize, text);
    while let Some(c) = rest.chars().next() {
        let skip = if depth > 0 {
            match () {
                () if rest.starts_with("/*") => {
                    depth += 1;
                    2
                }
                () if rest.starts_with("*/") => {
                    depth -= 1;
                    2
                }
                () => c.len_utf8(),
            }
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            depth = 1;
            2
        } else if matches!(c, '"' | '`' | '\'') {
            string_length(rest, c)
        } else {
            c.len_utf8()
        };
        rest = &rest[skip..];
    }
    depth > 0
}

/// Returns the length in bytes of the string at the start; code inside `${…}` of a backtick string counts to it.
fn string_length(text: &str, quote: char) -> usize {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quote != '`' => {
                letters.next();
            }
            '\n' if quote != '`' => return at,
            letter if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str().trim_end_matches('.')).replace('\'', "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sentences_with_a_place() {
        let cases = [
            ("let x = 'text';", "1:9 `'text'` is not one character", "single quotes"),
            ("let x = \"abc;\n", "1:9 a string is not closed", "same line"),
            ("if true {\n  f();\n", "3:1 expected `}` to terminate this block", ""),
            (
                "if true {\n  /* f();\n",
                "3:1 expected `}` to terminate this block",
                "a comment `/*` is never closed",
            ),
            ("let x = 5\nlet y = 6;", "2:1 expected `;` to terminate this statement", ""),
            ("let this = 1;", "1:5 `this` is a word of the language and cannot be a name", ""),
            ("let x = eval(\"1\");", "1:9 `eval` is not part of the language", "checked whole"),
            ("#{ a: 1, a: 2 }", "1:10 the map has two keys `a`", ""),
            ("const X = 1; X = 2;", "1:14 `X` is constant", "let"),
            (
                "if x === 1 {}",
                "1:6 `===` is not a valid operator. This is not JavaScript! Should it be `==`?",
                "",
            ),
            ("break;", "1:1 `break` or `continue` outside a loop", ""),
            ("if true { fn f() {} }", "1:11 a function is defined inside a block", "top"),
            ("fn go() { }", "1:4 a function needs a name here", "`go`"),
            ("let x = \"\\q\";", "1:10 `\\q` is not an escape sequence", "backslash"),
        ];
        for (text, expected, hint) in cases {
            let error = language::compile(&language::parser(), "a", text, &Scope::new()).expect_err(text);
            let found = diagnose(&error, "a", text);
            assert_eq!(format!("{}:{} {}", found.line, found.column, found.message), expected, "{text}");
            assert!(found.hint.unwrap_or_default().contains(hint), "{text}");
        }
    }

    #[test]
    fn open_comments_are_found() {
        let parser = language::parser();
        let cases = [
            ("f(); /* g();\nh();", Some((1, 6))),
            ("let a = \"/*\"; f();\n  /* x /* y */", Some((2, 3))),
            ("f(); /* g(); */", None),
            ("let a = \"/*\";", None),
            ("let a = `/* \"`;", None),
            ("// /*\nf();", None),
        ];
        for (text, expected) in cases {
            let found = open_comment(&parser, "a", text).map(|found| (found.line, found.column));
            assert_eq!(found, expected, "{text}");
        }
    }
}
