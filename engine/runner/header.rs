//! Reads the header of a compiled runbook without running anything.

use std::str::FromStr;

use rhai::{AST, ASTFlags, Dynamic, Expr, Position, Stmt};
use serde_json::{Map, Number, Value};

use crate::model::capability::Capability;
use crate::model::diagnostic::Diagnostic;
use crate::model::runbook::{Header, HeaderError, Limits, Parameter};
use crate::runner::syntax::start;

/// The constants that make a header.
pub const CONSTANTS: [&str; 3] = ["PARAMS", "NEEDS", "LIMITS"];

/// Reads `//!` lines, `PARAMS`, `NEEDS` and `LIMITS`; what is wrong is left out and reported.
pub fn read(ast: &AST, file: &str, text: &str) -> (Header, Vec<Diagnostic>) {
    let mut reader = Reader { file, text, found: Vec::new() };
    let mut header = Header { doc: doc(ast.doc()), ..Header::default() };
    for statement in ast.statements() {
        let Stmt::Var(variable, flags, at) = statement else { continue };
        let (name, value, _) = variable.as_ref();
        let Some(constant) = CONSTANTS.iter().find(|constant| **constant == name.name.as_str()) else {
            continue;
        };
        if !flags.contains(ASTFlags::CONSTANT) {
            let found = Diagnostic::error(
                "header",
                format!("`{constant}` is part of the header and must be constant"),
            );
            reader.add(found.hint(format!("write const {constant} = …")), *at, constant.len());
            continue;
        }
        match *constant {
            "PARAMS" => header.params = reader.params(value),
            "NEEDS" => header.needs = Some(reader.needs(value)),
            _ => {
                if let Some(literal) = reader.literal(value) {
                    let (limits, errors) = Limits::from_value(&literal);
                    header.limits = limits;
                    reader.errors(value, errors);
                }
            }
        }
    }
    (header, reader.found)
}

/// Takes the marks off `//!` lines.
fn doc(marked: &str) -> String {
    let lines = marked.lines().map(|line| {
        let line =
            line.trim_start().trim_start_matches("//!").trim_start_matches("/*!").trim_end_matches("*/");
        line.strip_prefix(' ').unwrap_or(line).trim_end()
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn add(&mut self, found: Diagnostic, at: Position, length: usize) {
        let (line, column) = (at.line().unwrap_or(0), at.position().unwrap_or(0));
        self.found.push(found.at(self.file, self.text, line, column, length));
    }

    fn params(&mut self, value: &Expr) -> Vec<Parameter> {
        let Expr::Map(map, _) = value else {
            let found = Diagnostic::error("header", "PARAMS is not a map")
                .hint("write #{ name: #{ type: \"string\" } }");
            self.add(found, value.start_position(), 1);
            return Vec::new();
        };
        let mut params = Vec::new();
        for (name, value) in &map.0 {
            let Some(literal) = self.literal(value) else { continue };
            let (parameter, errors) = Parameter::from_value(&name.name, &literal);
            for error in errors {
                // The first part of the path is the parameter itself.
                let rest = error.path.get(1..).unwrap_or_default();
                let (at, length) = place(value, rest).unwrap_or((name.pos, name.name.len()));
                self.add(
                    Diagnostic::error("header", error.message.clone()).maybe_hint(error.hint),
                    at,
                    length,
                );
            }
            params.push(parameter);
        }
        params
    }

    fn needs(&mut self, value: &Expr) -> Vec<Capability> {
        let Expr::Array(all, _) = value else {
            let found =
                Diagnostic::error("header", "NEEDS is not an array").hint("write [\"ssh.read:@web\"]");
            self.add(found, value.start_position(), 1);
            return Vec::new();
        };
        let mut needs = Vec::new();
        for one in all {
            match one {
                Expr::StringConstant(text, at) => match Capability::from_str(text) {
                    Ok(capability) => needs.push(capability),
                    Err(cause) => {
                        let found = Diagnostic::error("malformed-capability", cause.to_string())
                            .hint("a capability is `verb`, `verb:host`, `verb:@group` or `verb:host:/path`");
                        self.add(found, *at, text.chars().count() + 2);
                    }
                },
                other => {
                    let found =
                        Diagnostic::error("header", "NEEDS holds something else than literal strings")
                            .hint("the header is read without running it: write each capability out");
                    self.add(found, other.start_position(), 1);
                }
            }
        }
        needs
    }

    fn errors(&mut self, value: &Expr, errors: Vec<HeaderError>) {
        for error in errors {
            let (at, length) = place(value, &error.path).unwrap_or((value.start_position(), 1));
            self.add(Diagnostic::error("header", error.message.clone()).maybe_hint(error.hint), at, length);
        }
    }

    fn literal(&mut self, value: &Expr) -> Option<Value> {
        match literal(value) {
            Ok(literal) => Some(literal),
            Err(at) => {
                let found = Diagnostic::error("header", "the header holds an expression")
                    .hint("the header is read without running it: only literals are allowed");
                self.add(found, at, 1);
                None
            }
        }
    }
}

/// Finds the key at the end of a path, with its length.
fn place(value: &Expr, path: &[String]) -> Option<(Position, usize)> {
    let (key, rest) = path.split_first()?;
    let Expr::Map(map, _) = value else { return None };
    let (name, inner) = map.0.iter().find(|(name, _)| name.name.as_str() == key)?;
    place(inner, rest).or(Some((name.pos, name.name.chars().count())))
}

/// Turns a literal into JSON; an expression is an error at its position.
pub fn literal(value: &Expr) -> Result<Value, Position> {
    Ok(match value {
        Expr::Unit(_) => Value::Null,
        Expr::BoolConstant(flag, _) => Value::Bool(*flag),
        Expr::IntegerConstant(number, _) => Value::from(*number),
        Expr::FloatConstant(number, at) => Number::from_f64(**number).map(Value::Number).ok_or(*at)?,
        Expr::CharConstant(letter, _) => Value::String(letter.to_string()),
        Expr::StringConstant(text, _) => Value::String(text.to_string()),
        Expr::Array(all, _) => Value::Array(all.iter().map(literal).collect::<Result<_, _>>()?),
        Expr::Map(map, _) => {
            let entries = map.0.iter().map(|(name, value)| Ok((name.name.to_string(), literal(value)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, _>>()?)
        }
        Expr::DynamicConstant(constant, at) => dynamic(constant).ok_or(*at)?,
        other => return Err(start(other)),
    })
}

fn dynamic(value: &Dynamic) -> Option<Value> {
    if value.is_fnptr() { None } else { serde_json::to_value(value).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::runbook::ParameterType;
    use crate::runner::language;
    use rhai::Scope;
    use std::time::Duration;

    fn header(text: &str) -> (Header, Vec<String>) {
        let ast = language::compile(&language::parser(), "a.rhai", text, &Scope::new()).expect("compiles");
        let (header, found) = read(&ast, "a.rhai", text);
        let shown =
            found.iter().map(|d| format!("{}:{}+{} {}", d.line, d.column, d.length, d.message)).collect();
        (header, shown)
    }

    #[test]
    fn reads_without_running() {
        let (header, found) = header(
            "//! Drains a worker.\n//!\n//! At night.\nconst PARAMS = #{\n  node: #{ type: \"host\", group: \"workers\", doc: \"x\" },\n  reboot: true,\n  at: -5,\n};\nconst NEEDS = [\"ssh.exec:@workers\"];\nconst LIMITS = #{ timeout: \"30m\", locks: [\"cluster/nl\"] };\nloop { }",
        );
        assert_eq!(found, [] as [&str; 0]);
        assert_eq!(header.doc, "Drains a worker.\n\nAt night.");
        let names: Vec<_> = header.params.iter().map(|p| (p.name.as_str(), p.ty, p.required)).collect();
        assert_eq!(
            names,
            [
                ("node", ParameterType::Host, true),
                ("reboot", ParameterType::Bool, false),
                ("at", ParameterType::Int, false)
            ]
        );
        assert_eq!(header.needs.expect("needs").len(), 1);
        assert_eq!(header.limits.timeout, Duration::from_secs(1800));
    }

    #[test]
    fn mistakes_have_positions() {
        let cases = [
            ("const PARAMS = #{ a: #{ typ: \"int\" } };", "1:25+3 parameter `a` has an unknown key `typ`"),
            (
                "const PARAMS = #{\n a: #{ type: \"int\", default: 1 + 1 } };",
                "2:30+1 the header holds an expression",
            ),
            ("const PARAMS = [];", "1:16+1 PARAMS is not a map"),
            ("let PARAMS = #{};", "1:1+6 `PARAMS` is part of the header and must be constant"),
            ("const NEEDS = \"x\";", "1:15+1 NEEDS is not an array"),
            ("const NEEDS = [\"ssh.exec:@\"];", "1:16+12 capability `ssh.exec:@` names no group after `@`"),
            ("const NEEDS = [1];", "1:16+1 NEEDS holds something else than literal strings"),
            ("const LIMITS = #{ timout: 1 };", "1:19+6 LIMITS has no key `timout`"),
            ("const LIMITS = #{ timeout: now() };", "1:28+1 the header holds an expression"),
        ];
        for (text, expected) in cases {
            assert_eq!(header(text).1, [expected], "{text}");
        }
    }
}
