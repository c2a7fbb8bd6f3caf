//! Walks expressions: what is known about their values, closures, and chains of properties and methods.

use rhai::{ASTFlags, Expr, FnPtr, Position, Stmt};

use crate::model::diagnostic::Diagnostic;
use crate::model::nearest::nearest;
use crate::runner::check::known::Known;
use crate::runner::check::needs::Edge;
use crate::runner::check::program::place;
use crate::runner::check::walk::{Origin, PARAMS, Variable, Walker};

/// Methods that change the value they are called on.
const MUTATING: [&str; 14] = [
    "push", "insert", "append", "set", "clear", "pop", "shift", "remove", "sort", "retain", "drain",
    "reverse", "mixin", "truncate",
];

/// A link of `a.b().c[d]`.
pub(super) enum Link<'a> {
    Property(&'a str, Position),
    Method(&'a rhai::FnCallExpr, Position),
    Index(&'a Expr),
}

impl<'a> Walker<'a> {
    /// Walks an expression and returns what is known about its value.
    pub(super) fn expression(&mut self, expression: &'a Expr) -> Known {
        match expression {
            Expr::BoolConstant(..) => Known::Bool,
            Expr::IntegerConstant(number, _) => Known::Int(*number),
            Expr::FloatConstant(..) => Known::Float,
            Expr::CharConstant(..) => Known::Char,
            Expr::Unit(_) => Known::Unit,
            Expr::StringConstant(text, at) => {
                self.quotes(text, *at);
                Known::Text(text.to_string())
            }
            Expr::DynamicConstant(value, _) if value.is_fnptr() => self.closure(expression, None, false),
            Expr::DynamicConstant(value, _) if value.is_map() => Known::Map,
            Expr::DynamicConstant(value, _) if value.is_array() => Known::AnyArray,
            Expr::DynamicConstant(..) | Expr::Property(..) | Expr::ThisPtr(_) => Known::Unknown,
            Expr::InterpolatedString(parts, _) => {
                for part in parts {
                    self.expression(part);
                }
                Known::AnyText
            }
            Expr::Array(all, _) => Known::Array(all.iter().map(|one| self.expression(one)).collect()),
            Expr::Map(map, _) => {
                for (_, value) in &map.0 {
                    self.expression(value);
                }
                Known::Map
            }
            Expr::Variable(variable, _, at) => {
                if variable.2.is_empty() {
                    return self.read(&variable.1, *at);
                }
                self.module(&variable.2.path);
                Known::Unknown
            }
            Expr::Stmt(block) => {
                if captures(expression).is_some() {
                    return self.closure(expression, None, false);
                }
                self.block(block.statements(), false);
                Known::Unknown
            }
            Expr::FnCall(call, at) => self.call(call, *at, None),
            Expr::MethodCall(call, at) => self.call(call, *at, Some(Known::Unknown)),
            Expr::Dot(..) | Expr::Index(..) => self.chained(expression),
            Expr::And(all, _) | Expr::Or(all, _) => {
                for one in all.iter() {
                    self.expression(one);
                }
                Known::Bool
            }
            Expr::Coalesce(all, _) => {
                for one in all.iter() {
                    self.expression(one);
                }
                Known::Unknown
            }
            Expr::Custom(custom, _) => {
                for input in &custom.inputs {
                    self.expression(input);
                }
                Known::Unknown
            }
            other => {
                debug_assert!(false, "an expression of a newer Rhai: {other:?}");
                Known::Unknown
            }
        }
    }

    /// Warns about `"${x}"`: only backticks interpolate.
    fn quotes(&mut self, text: &str, at: Position) {
        let Some(begins) = text.find("${") else { return };
        let named = text[begins + 2..].split('}').next().is_some_and(|inner| {
            text[begins..].contains('}') && inner.starts_with(|c: char| c.is_alphabetic() || c == '_')
        });
        let (line, column) = place(at);
        let quoted = self
            .script
            .text
            .lines()
            .nth(line.saturating_sub(1))
            .is_some_and(|content| content.chars().nth(column.saturating_sub(1)) == Some('"'));
        // Shells know `${HOME}`, too: only a name that is a variable here is a mistake for sure.
        let inner: String =
            text[begins + 2..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if named && quoted && self.variable(&inner).is_some() {
            let found = Diagnostic::warning("no-interpolation", "double quotes do not interpolate")
                .hint(format!("write the text between backticks: `…${{{inner}}}…`"));
            self.add(found, at, text.chars().count() + 2);
        }
    }

    /// Reads a variable.
    pub(super) fn read(&mut self, name: &str, at: Position) -> Known {
        if let Some(variable) = self.variable(name) {
            return variable.known.clone();
        }
        if self.functions.contains_key(name) {
            return Known::Unknown;
        }
        let found = if name == PARAMS {
            let (who, where_) =
                if self.is_entry() { ("functions do", "pass") } else { ("imported scripts do", "take") };
            Diagnostic::error("undefined-variable", format!("{who} not see `params`"))
                .hint(format!("{where_} what is needed as an argument"))
        } else if self.inside.is_some() && self.top.contains(name) {
            Diagnostic::error(
                "undefined-variable",
                format!("functions do not see the script's variable `{name}`"),
            )
            .hint(format!("pass `{name}` as an argument"))
        } else {
            let near = nearest(name, self.scope.iter().map(|variable| variable.name.as_str()));
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            Diagnostic::error("undefined-variable", format!("there is no variable `{name}`")).maybe_hint(hint)
        };
        self.add(found, at, name.chars().count());
        Known::Unknown
    }

    /// Walks `a.b().c[d]`.
    fn chained(&mut self, expression: &'a Expr) -> Known {
        let (first, links) = chain(expression);
        let mut known = self.expression(first);
        let mut parameters = matches!(first, Expr::Variable(variable, ..)
            if variable.1 == PARAMS && variable.2.is_empty() && self.is_entry() && self.inside.is_none());
        for (index, link) in links.iter().enumerate() {
            known = match link {
                Link::Property(name, at) if parameters => self.parameter(name, *at, name.chars().count()),
                Link::Index(inner) => {
                    self.expression(inner);
                    match inner {
                        Expr::StringConstant(name, at) if parameters => {
                            self.parameter(name, *at, name.chars().count() + 2)
                        }
                        _ => Known::Unknown,
                    }
                }
                Link::Method(call, at) => {
                    if let (0, Expr::Variable(variable, _, at), true) =
                        (index, first, MUTATING.contains(&call.name.as_str()))
                        && let Some(Origin::Copied) =
                            self.variable(&variable.1).map(|variable| &variable.origin)
                    {
                        self.lost(&variable.1, *at);
                    }
                    if let ("get" | "contains", true, Some(Expr::StringConstant(name, at))) =
                        (call.name.as_str(), parameters, call.args.first())
                    {
                        self.parameter(name, *at, name.chars().count() + 2);
                    }
                    self.call(call, *at, Some(known))
                }
                Link::Property(..) => Known::Unknown,
            };
            parameters = false;
        }
        known
    }

    fn parameter(&mut self, name: &str, at: Position, length: usize) -> Known {
        if let Some(parameter) = self.header.params.iter().find(|parameter| parameter.name == name) {
            return Known::of_parameter(parameter);
        }
        let near = nearest(name, self.header.params.iter().map(|parameter| parameter.name.as_str()));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it in PARAMS: {name}: #{{ type: \"string\" }}"),
        };
        self.add(
            Diagnostic::error("unknown-parameter", format!("PARAMS has no `{name}`")).hint(hint),
            at,
            length,
        );
        Known::Unknown
    }

    /// Walks a closure; `first` is what its first parameter will be, `copies` whether it runs on copies.
    pub(super) fn closure(&mut self, expression: &'a Expr, first: Option<Known>, copies: bool) -> Known {
        let Some((name, captured)) = captures(expression) else { return Known::Unknown };
        let Some(body) = self.bodies.get(name.as_str()).copied() else {
            self.edges.push(Edge::function(self.inside.as_deref(), &self.script.path, &name));
            return Known::Unknown;
        };
        let mut inner: Vec<Variable> = self
            .scope
            .iter()
            .filter(|variable| matches!(variable.origin, Origin::Import(_)))
            .cloned()
            .collect();
        for variable in captured {
            let Expr::Variable(variable, _, at) = variable else { continue };
            let known = self.read(&variable.1, *at);
            let outer = self.variable(&variable.1).map(|variable| variable.origin.clone());
            let origin = match outer {
                Some(Origin::Copied) => Origin::Copied,
                _ if copies => Origin::Copied,
                _ => Origin::Captured,
            };
            inner.push(Variable { name: variable.1.to_string(), origin, known });
        }
        let own = body.params.get(captured.len()..).unwrap_or_default();
        for (index, param) in own.iter().enumerate() {
            let known = first.clone().filter(|_| index == 0).unwrap_or(Known::Unknown);
            inner.push(Variable { name: param.clone(), origin: Origin::Local, known });
        }
        let outer = std::mem::replace(&mut self.scope, inner);
        self.statements(&body.statements, false);
        self.scope = outer;
        Known::Closure(own.len())
    }
}

/// Returns the name behind a closure or `Fn("name")` constant, and the variables it captures.
pub(super) fn captures(expression: &Expr) -> Option<(String, &[Expr])> {
    match expression {
        Expr::DynamicConstant(value, _) => {
            value.clone().try_cast::<FnPtr>().map(|pointer| (pointer.fn_name().to_owned(), [].as_slice()))
        }
        Expr::Stmt(block) => match block.statements() {
            [Stmt::Share(_), Stmt::Expr(curry)] => match curry.as_ref() {
                Expr::FnCall(call, _) => {
                    let (pointer, captured) = call.args.split_first()?;
                    captures(pointer).map(|(name, _)| (name, captured))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// Takes a chain apart: what it begins with, and its links.
pub(super) fn chain(expression: &Expr) -> (&Expr, Vec<Link<'_>>) {
    let (mut pair, mut flags, mut dot) = match expression {
        Expr::Dot(pair, flags, _) => (pair, *flags, true),
        Expr::Index(pair, flags, _) => (pair, *flags, false),
        other => return (other, Vec::new()),
    };
    let (first, mut links) = (&pair.lhs, Vec::new());
    loop {
        let (link, next) = match &pair.rhs {
            Expr::Dot(next, more, _) if !flags.contains(ASTFlags::BREAK) => {
                (&next.lhs, Some((next, *more, true)))
            }
            Expr::Index(next, more, _) if !flags.contains(ASTFlags::BREAK) => {
                (&next.lhs, Some((next, *more, false)))
            }
            last => (last, None),
        };
        links.push(match link {
            Expr::Property(property, at) if dot => Link::Property(&property.2, *at),
            Expr::MethodCall(call, at) if dot => Link::Method(call, *at),
            other => Link::Index(other),
        });
        match next {
            Some(next) => (pair, flags, dot) = next,
            None => return (first, links),
        }
    }
}
