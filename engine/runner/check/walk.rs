//! Walks one script: scopes, control flow, and what is suspicious in itself.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTFlags, Expr, Position, Stmt};

use crate::model::diagnostic::Diagnostic;
use crate::model::runbook::Header;
use crate::runner::check::expressions::{Link, chain};
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
    pub(super) bodies: BTreeMap<&'a str, &'a Body>,
    pub(super) assigned: BTreeSet<String>,
    pub(super) top: BTreeSet<String>,
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
                functions.entry(function.name.clone()).or_default().push(function.params.len());
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
            self.inside = Some(function.name.clone());
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
    pub(super) fn statements(&mut self, statements: &'a [Stmt], discarded: bool) -> bool {
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

    pub(super) fn block(&mut self, statements: &'a [Stmt], discarded: bool) -> bool {
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
            Stmt::BreakLoop(value, ..) | Stmt::Return(value, ..) => {
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

    pub(super) fn lost(&mut self, name: &str, at: Position) {
        let found = Diagnostic::error(
            "lost-write",
            format!("`{name}` is a copy in each branch: what is written to it is lost"),
        )
        .hint("return the value from the closure: `each` gives one result a host");
        self.add(found, at, name.chars().count());
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
