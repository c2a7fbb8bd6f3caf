//! Walks one script: scopes, control flow, and what is suspicious in itself.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTFlags, Expr, FnPtr, Position, Stmt};

use crate::model::diagnostic::Diagnostic;
use crate::model::nearest::nearest;
use crate::model::runbook::Header;
use crate::runner::check::known::Known;
use crate::runner::check::needs::Edge;
use crate::runner::check::program::{Body, Program, Script, place};
use crate::runner::check::{Context, Use};
use crate::runner::syntax::start;

/// The variable that holds the parameters.
pub const PARAMS: &str = "params";

/// Functions after which nothing runs.
const NEVER_RETURN: [&str; 2] = ["fail", "skip_host"];

/// Text functions without any effect but their result.
const PURE: [&str; 19] = [
    "trim",
    "replace",
    "make_upper",
    "make_lower",
    "to_upper",
    "to_lower",
    "sub_string",
    "split",
    "split_rev",
    "contains",
    "starts_with",
    "ends_with",
    "index_of",
    "is_empty",
    "to_int",
    "to_float",
    "parse_int",
    "parse_float",
    "parse_json",
];

/// Methods that change the value they are called on.
const MUTATING: [&str; 14] = [
    "push", "insert", "append", "set", "clear", "pop", "shift", "remove", "sort", "retain", "drain",
    "reverse", "mixin", "truncate",
];

/// Where text is in a script.
pub(super) struct Place;

impl Place {
    /// Finds the first place of a text, as line and column.
    pub(super) fn of_text(source: &str, text: &str) -> Option<(usize, usize)> {
        source.lines().enumerate().find_map(|(line, content)| {
            content.find(text).map(|at| (line + 1, content[..at].chars().count() + 1))
        })
    }
}

#[derive(Clone)]
pub(super) enum Origin {
    Local,
    Loop,
    Captured,
    /// Captured by a closure that runs once a host, on copies.
    Copied,
    Import(Option<String>),
}

#[derive(Clone)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) known: Known,
}

/// A link of `a.b().c[d]`.
enum Link<'a> {
    Property(&'a str, Position),
    Method(&'a rhai::FnCallExpr, Position),
    Index(&'a Expr),
}

pub(super) struct Walker<'a> {
    pub(super) program: &'a Program,
    pub(super) script: &'a Script,
    pub(super) header: &'a Header,
    pub(super) context: &'a Context<'a>,
    pub(super) functions: BTreeMap<String, Vec<usize>>,
    pub(super) found: Vec<Diagnostic>,
    pub(super) edges: Vec<Edge>,
    pub(super) used: Vec<(Option<String>, Use)>,
    /// The function being walked; `None` at the top of the script.
    pub(super) inside: Option<String>,
    pub(super) scope: Vec<Variable>,
    ast: &'a AST,
    bodies: BTreeMap<&'a str, &'a Body>,
    assigned: BTreeSet<String>,
    top: BTreeSet<String>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(
        program: &'a Program,
        script: &'a Script,
        ast: &'a AST,
        header: &'a Header,
        context: &'a Context<'a>,
    ) -> Self {
        let mut functions: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut bodies = BTreeMap::new();
        for function in &script.bodies {
            bodies.insert(function.name.as_str(), function);
            if !function.name.starts_with("anon$") {
                functions.entry(function.name.to_string()).or_default().push(function.params.len());
            }
        }
        let (mut assigned, mut top) = (BTreeSet::new(), BTreeSet::new());
        ast.walk(&mut |nodes| {
            if let Some(rhai::ASTNode::Stmt(Stmt::Assignment(pair))) = nodes.last()
                && let Expr::Variable(variable, ..) = root(&pair.1.lhs)
            {
                assigned.insert(variable.1.to_string());
            }
            true
        });
        for statement in ast.statements() {
            if let Stmt::Var(variable, ..) = statement {
                top.insert(variable.0.name.to_string());
            }
        }
        Self {
            program,
            script,
            header,
            context,
            functions,
            found: Vec::new(),
            edges: Vec::new(),
            used: Vec::new(),
            inside: None,
            scope: Vec::new(),
            ast,
            bodies,
            assigned,
            top,
        }
    }

    pub(super) fn is_entry(&self) -> bool {
        self.program.scripts.first().is_some_and(|first| first.path == self.script.path)
    }

    /// Walks the script and all its functions.
    pub(super) fn walk(&mut self) {
        let ast = self.ast;
        if self.is_entry() {
            self.define(PARAMS, Origin::Local, Known::Unknown);
        }
        self.statements(ast.statements(), true);
        let imports: Vec<Variable> =
            self.scope.drain(..).filter(|variable| matches!(variable.origin, Origin::Import(_))).collect();
        for function in self.script.bodies.iter().filter(|function| !function.name.starts_with("anon$")) {
            self.scope.clone_from(&imports);
            for param in &function.params {
                self.define(param, Origin::Local, Known::Unknown);
            }
            self.inside = Some(function.name.to_string());
            self.statements(&function.statements, false);
        }
    }

    pub(super) fn define(&mut self, name: &str, origin: Origin, known: Known) {
        self.scope.push(Variable { name: name.to_owned(), origin, known });
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Variable> {
        self.scope.iter().rev().find(|variable| variable.name == name)
    }

    pub(super) fn add(&mut self, found: Diagnostic, at: Position, length: usize) {
        let (line, column) = place(at);
        self.found.push(found.at(&self.script.path, &self.script.text, line, column, length));
    }

    /// Walks statements in order; returns whether control never reaches their end.
    ///
    /// `discarded` tells that nobody takes the value of the last one.
    fn statements(&mut self, statements: &'a [Stmt], discarded: bool) -> bool {
        let mut ended = false;
        for (index, statement) in statements.iter().enumerate() {
            if ended && !matches!(statement, Stmt::Noop(_)) {
                let (at, length) = (beginning(statement), 1);
                let found = Diagnostic::warning("unreachable", "this is never reached")
                    .hint("the statement before it always leaves: remove one of the two");
                self.add(found, at, length);
                // Said once a block; what is not reached is still checked.
                let rest = &statements[index..];
                for statement in rest {
                    self.statement(statement);
                }
                return true;
            }
            if discarded || index + 1 < statements.len() {
                self.unused(statement);
            }
            ended = self.statement(statement);
        }
        ended
    }

    fn block(&mut self, statements: &'a [Stmt], discarded: bool) -> bool {
        let depth = self.scope.len();
        let ended = self.statements(statements, discarded);
        self.scope.truncate(depth);
        ended
    }

    fn statement(&mut self, statement: &'a Stmt) -> bool {
        match statement {
            Stmt::Noop(_) | Stmt::Share(_) => false,
            Stmt::If(flow, at) => {
                self.expression(&flow.expr);
                if let Expr::BoolConstant(truth, _) = &flow.expr
                    && (!truth || !flow.branch.is_empty())
                {
                    let which = if *truth { "the `else` branch" } else { "this branch" };
                    let found = Diagnostic::warning("unreachable", format!("{which} is never taken"));
                    self.add(found.hint(format!("the condition is always {truth}")), *at, 2);
                }
                let body = self.block(flow.body.statements(), false);
                let branch = self.block(flow.branch.statements(), false);
                body && branch && !flow.branch.is_empty()
            }
            Stmt::Switch(switch, _) => {
                self.expression(&switch.0);
                for case in &switch.1.expressions {
                    self.expression(&case.lhs);
                    self.expression(&case.rhs);
                }
                false
            }
            Stmt::While(flow, at) => {
                self.expression(&flow.expr);
                if matches!(flow.expr, Expr::BoolConstant(false, _)) {
                    self.add(Diagnostic::warning("unreachable", "this loop never runs"), *at, 5);
                }
                self.block(flow.body.statements(), true);
                matches!(flow.expr, Expr::Unit(_) | Expr::BoolConstant(true, _))
                    && !breaks(flow.body.statements())
            }
            Stmt::Do(flow, flags, _) => {
                self.block(flow.body.statements(), true);
                self.expression(&flow.expr);
                let endless = matches!(flow.expr, Expr::BoolConstant(truth, _) if truth != flags.contains(ASTFlags::NEGATED));
                endless && !breaks(flow.body.statements())
            }
            Stmt::For(each, _) => {
                let element = self.expression(&each.2.expr).element();
                let depth = self.scope.len();
                self.define(&each.0.name, Origin::Loop, element);
                if let Some(counter) = &each.1 {
                    self.define(&counter.name, Origin::Local, Known::AnyInt);
                }
                self.block(each.2.body.statements(), true);
                self.scope.truncate(depth);
                false
            }
            Stmt::Var(variable, _, _) => {
                let known = self.expression(&variable.1);
                let name = variable.0.name.as_str();
                let known = if self.assigned.contains(name) { Known::Unknown } else { known };
                self.define(name, Origin::Local, known);
                false
            }
            Stmt::Assignment(pair) => {
                self.expression(&pair.1.rhs);
                self.expression(&pair.1.lhs);
                self.assignment(&pair.1.lhs);
                false
            }
            Stmt::FnCall(call, at) => {
                self.call(call, *at, None);
                !call.is_qualified() && NEVER_RETURN.contains(&call.name.as_str())
            }
            Stmt::Block(block) => self.block(block.statements(), false),
            Stmt::TryCatch(flow, _) => {
                let body = self.block(flow.body.statements(), true);
                let depth = self.scope.len();
                if let Expr::Variable(variable, ..) = &flow.expr {
                    self.define(&variable.1, Origin::Local, Known::Unknown);
                }
                let branch = self.block(flow.branch.statements(), true);
                self.scope.truncate(depth);
                body && branch
            }
            Stmt::Expr(expression) => {
                self.expression(expression);
                match expression.as_ref() {
                    Expr::FnCall(call, _) => {
                        !call.is_qualified() && NEVER_RETURN.contains(&call.name.as_str())
                    }
                    Expr::Custom(step, _) => match step.inputs.last() {
                        Some(Expr::Stmt(block)) => leaves(block.statements()),
                        _ => false,
                    },
                    _ => false,
                }
            }
            Stmt::BreakLoop(value, ..) => {
                if let Some(value) = value {
                    self.expression(value);
                }
                true
            }
            Stmt::Return(value, ..) => {
                if let Some(value) = value {
                    self.expression(value);
                }
                true
            }
            Stmt::Import(import, _) => {
                let path = match &import.0 {
                    Expr::StringConstant(_, at) => self.script.imports.get(&place(*at)).cloned(),
                    other => {
                        self.expression(other);
                        None
                    }
                };
                if !import.1.name.is_empty() {
                    self.define(&import.1.name, Origin::Import(path), Known::Unknown);
                }
                false
            }
            Stmt::Export(names, _) => {
                self.read(&names.0.name, names.0.pos);
                false
            }
            other => {
                debug_assert!(false, "a statement of a newer Rhai: {other:?}");
                false
            }
        }
    }

    /// Warns when a result is thrown away that was the only reason for the call.
    fn unused(&mut self, statement: &'a Stmt) {
        let Stmt::Expr(expression) = statement else { return };
        let (Expr::Dot(..) | Expr::Index(..)) = expression.as_ref() else { return };
        if let (_, links) = chain(expression)
            && let Some(Link::Method(call, at)) = links.last()
            && PURE.contains(&call.name.as_str())
        {
            let name = call.name.as_str();
            let found = Diagnostic::warning("unused-result", format!("the result of `{name}` is not used"))
                .hint(format!(
                    "`{name}` returns its result and changes nothing: write `let x = ….{name}(…)`"
                ));
            self.add(found, *at, name.len());
        }
    }

    fn assignment(&mut self, target: &'a Expr) {
        let Expr::Variable(variable, _, at) = root(target) else { return };
        let name = variable.1.as_str();
        match self.variable(name).map(|variable| &variable.origin) {
            Some(Origin::Copied) => self.lost(name, *at),
            Some(Origin::Loop) if !matches!(target, Expr::Variable(..)) => {
                let found = Diagnostic::warning(
                    "lost-write",
                    format!("this changes a copy of the element in `{name}`"),
                )
                .hint("build a new array, or assign to `array[index]`");
                self.add(found, *at, name.chars().count());
            }
            Some(Origin::Local | Origin::Loop | Origin::Captured | Origin::Import(_)) | None => {}
        }
    }

    fn lost(&mut self, name: &str, at: Position) {
        let found = Diagnostic::error(
            "lost-write",
            format!("`{name}` is a copy in each branch: what is written to it is lost"),
        )
        .hint("return the value from the closure: `each` gives one result a host");
        self.add(found, at, name.chars().count());
    }

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
    fn read(&mut self, name: &str, at: Position) -> Known {
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
            inner.push(Variable { name: param.to_string(), origin: Origin::Local, known });
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

fn chain(expression: &Expr) -> (&Expr, Vec<Link<'_>>) {
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

/// Returns the variable at the beginning of `a.b[c]`.
fn root(expression: &Expr) -> &Expr {
    match expression {
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => root(&pair.lhs),
        other => other,
    }
}

fn beginning(statement: &Stmt) -> Position {
    match statement {
        Stmt::Assignment(pair) => start(&pair.1.lhs),
        Stmt::Expr(expression) => start(expression),
        other => other.position(),
    }
}

/// Whether control never reaches the end of a block, by its plain statements alone.
fn leaves(statements: &[Stmt]) -> bool {
    statements.iter().any(|statement| match statement {
        Stmt::Return(..) | Stmt::BreakLoop(..) => true,
        Stmt::FnCall(call, _) => !call.is_qualified() && NEVER_RETURN.contains(&call.name.as_str()),
        _ => false,
    })
}

/// Whether a `break` or `return` of this loop is among the statements.
fn breaks(statements: &[Stmt]) -> bool {
    let mut found = false;
    for statement in statements {
        statement.walk(&mut Vec::new(), &mut |nodes: &[rhai::ASTNode]| {
            let nested = nodes[..nodes.len() - 1].iter().any(|node| {
                matches!(node, rhai::ASTNode::Stmt(Stmt::While(..) | Stmt::Do(..) | Stmt::For(..)))
            });
            if let Some(rhai::ASTNode::Stmt(Stmt::BreakLoop(_, flags, _))) = nodes.last()
                && flags.contains(ASTFlags::BREAK)
                && !nested
            {
                found = true;
            }
            true
        });
    }
    found
}
