//! Checks one call: that the function exists and takes what it is given.

use std::collections::BTreeSet;

use rhai::{Expr, FnCallExpr, Position};

use crate::model::diagnostic::Diagnostic;
use crate::model::nearest::{did_you_mean, nearest};
use crate::model::port::{self, Port};
use crate::model::signature::{Opt, Signature, Touches, Type};
use crate::model::url;
use crate::runner::check::expressions::captures;
use crate::runner::check::known::{Known, misfit};
use crate::runner::check::needs::Edge;
use crate::runner::check::walk::{Origin, Walker};
use crate::runner::check::{Target, Use};
use crate::runner::library;
use crate::runner::syntax::{no_eval, start};

/// The arguments of a call to a host function, in their roles.
struct Arguments<'a> {
    /// What is known about each positional one, the receiver of a method first.
    known: Vec<Known>,
    /// Where each stands; `None` for the receiver.
    place: Vec<Option<&'a Expr>>,
    /// The literal option map.
    options: Option<&'a Expr>,
    /// How many there are in all.
    count: usize,
}

impl<'a> Walker<'a> {
    /// Checks a call and returns what is known about its result; `receiver` is set for a method.
    pub(super) fn call(&mut self, call: &'a FnCallExpr, at: Position, receiver: Option<Known>) -> Known {
        let name = call.name.as_str();
        if call.is_operator_call() {
            return self.operator(call, at);
        }
        if call.is_qualified() {
            self.arguments(call);
            self.qualified(call, at);
            return Known::Unknown;
        }
        let method = receiver.is_some();
        let count = call.args.len() + usize::from(method);
        if name == "eval" {
            self.add(no_eval(), at, 4);
        }
        if let Some(signature) = self.context.vocabulary.get(name).copied()
            && !self.functions.contains_key(name)
        {
            return self.host(signature, call, at, receiver);
        }
        self.arguments(call);
        if name == "Fn"
            && let Some(Expr::StringConstant(target, place)) = call.args.first()
        {
            self.pointed(target, *place);
            return Known::Unknown;
        }
        if name == "Fn" {
            self.edges.push(Edge::anything(self.inside.as_deref(), &self.script.path));
        }
        if let Some(arities) = self.functions.get(name).cloned() {
            self.edges.push(Edge::function(self.inside.as_deref(), &self.script.path, name));
            // A method call of a script function passes the receiver as `this`.
            if !arities.contains(&call.args.len()) && !library_takes(name, count) {
                self.arity(name, at, &arities, call.args.len());
            }
            return Known::Unknown;
        }
        if let Some(function) = library::functions().iter().find(|function| function.name == name) {
            if !function.arities.contains(&count) {
                let shown: Vec<usize> =
                    function.arities.iter().map(|arity| arity.saturating_sub(usize::from(method))).collect();
                self.arity(name, at, &shown, call.args.len());
            }
            return Known::Unknown;
        }
        // A closure in a variable or a map is called like a function or a method.
        if !method && self.variable(name).is_some() {
            let found =
                Diagnostic::error("unknown-function", format!("`{name}` is a variable, not a function"))
                    .hint(format!("call the closure in it with `{name}.call(…)`"));
            self.add(found, at, name.chars().count());
            return Known::Unknown;
        }
        let hint = self.suggestion(name);
        let found =
            Diagnostic::error("unknown-function", format!("there is no function `{name}`")).maybe_hint(hint);
        self.add(found, at, name.chars().count());
        Known::Unknown
    }

    /// Suggests a function: a near one, or an imported one of the same name.
    fn suggestion(&self, name: &str) -> Option<String> {
        for variable in &self.scope {
            if let Origin::Import(Some(path)) = &variable.origin
                && public_functions(self.program, path)
                    .is_some_and(|all| all.iter().any(|(known, _)| known == name))
            {
                return Some(format!("did you mean `{}::{name}`?", variable.name));
            }
        }
        let near = self.context.nearest_function(name, self.functions.keys().map(String::as_str));
        near.map(|near| format!("did you mean `{near}`?"))
    }

    fn arguments(&mut self, call: &'a FnCallExpr) -> Vec<Known> {
        call.args.iter().map(|argument| self.expression(argument)).collect()
    }

    fn arity(&mut self, name: &str, at: Position, takes: &[usize], got: usize) {
        let takes: BTreeSet<usize> = takes.iter().copied().collect();
        let last = takes.last().copied().unwrap_or(0);
        let words: Vec<String> = takes.iter().map(ToString::to_string).collect();
        let plural = if last == 1 { "" } else { "s" };
        let found = Diagnostic::error(
            "wrong-arity",
            format!("`{name}` takes {} argument{plural}, got {got}", words.join(" or ")),
        );
        self.add(found, at, name.chars().count());
    }

    /// Checks `Fn("name")`.
    fn pointed(&mut self, target: &str, at: Position) {
        let exists = self.functions.contains_key(target)
            || self.context.vocabulary.contains_key(target)
            || library::functions().iter().any(|function| function.name == target);
        if target == "eval" {
            self.add(no_eval(), at, 6);
        } else if exists {
            self.edges.push(Edge::function(self.inside.as_deref(), &self.script.path, target));
            if let Some(performs) =
                self.context.vocabulary.get(target).and_then(|signature| signature.performs)
            {
                // Called elsewhere with arguments that nobody sees here.
                self.performs(performs.effect, Target::Unknown { path: None }, at, target.len() + 2);
            }
        } else {
            let hint = self.suggestion(target);
            let found = Diagnostic::error("unknown-function", format!("there is no function `{target}`"));
            self.add(found.maybe_hint(hint), at, target.chars().count() + 2);
        }
    }

    fn operator(&mut self, call: &'a FnCallExpr, at: Position) -> Known {
        let known = self.arguments(call);
        let compares = matches!(call.name.as_str(), "==" | "!=" | "<" | ">" | "<=" | ">=");
        if let [left, right] = known.as_slice()
            && compares
            && (left.is_text() && right.is_number() || left.is_number() && right.is_text())
        {
            let always = if call.name == "!=" { "true" } else { "false" };
            let found = Diagnostic::warning(
                "mixed-comparison",
                format!("{} is compared with {}: that is always {always}", left.words(), right.words()),
            )
            .hint("convert one of the two with `parse_int` or `to_string`");
            self.add(found, at, call.name.len());
        }
        match (call.name.as_str(), known.as_slice()) {
            _ if compares => Known::Bool,
            ("!", _) => Known::Bool,
            ("+", [left, right]) if left.is_text() || right.is_text() => Known::AnyText,
            _ => Known::Unknown,
        }
    }

    /// Follows `alias::function(…)` or `alias::NAME` to its import.
    pub(super) fn module(&mut self, path: &'a [rhai::Ident]) -> Option<String> {
        let (first, rest) = path.split_first()?;
        if first.name.as_str() == "global" {
            return None;
        }
        if let Some(Origin::Import(target)) = self.variable(&first.name).map(|variable| &variable.origin) {
            return target.clone().filter(|_| rest.is_empty());
        }
        let name = first.name.as_str();
        let aliases = self.scope.iter().filter(|variable| matches!(variable.origin, Origin::Import(_)));
        let near = nearest(name, aliases.map(|variable| variable.name.as_str()));
        let hint = near.map_or_else(
            || format!("add `import \"{name}\" as {name};`"),
            |near| format!("did you mean `{near}`?"),
        );
        let found = Diagnostic::error("unknown-module", format!("no import is called `{name}` here"));
        self.add(found.hint(hint), first.pos, name.chars().count());
        None
    }

    fn qualified(&mut self, call: &'a FnCallExpr, at: Position) {
        let Some(path) = self.module(&call.namespace.path) else { return };
        let Some(functions) = public_functions(self.program, &path) else { return };
        let (alias, name) = (call.namespace.path[0].name.as_str(), call.name.as_str());
        let arities: Vec<usize> =
            functions.iter().filter(|(known, _)| known == name).map(|(_, params)| *params).collect();
        if arities.is_empty() {
            let hint = nearest(name, functions.iter().map(|(known, _)| known.as_str()))
                .map(|near| format!("did you mean `{alias}::{near}`?"));
            let found =
                Diagnostic::error("unknown-function", format!("`{path}` has no public function `{name}`"));
            self.add(found.maybe_hint(hint), at, name.chars().count());
            return;
        }
        if !arities.contains(&call.args.len()) {
            self.arity(&format!("{alias}::{name}"), at, &arities, call.args.len());
        }
        self.edges.push(Edge::function(self.inside.as_deref(), &path, name).called_from(&self.script.path));
    }

    /// Checks a call of a host function.
    fn host(
        &mut self,
        signature: &'a Signature,
        call: &'a FnCallExpr,
        at: Position,
        receiver: Option<Known>,
    ) -> Known {
        let arguments = self.roles(signature, call, receiver);
        let (least, most) = signature.arity();
        if arguments.count < least || arguments.count > most || arguments.known.len() > signature.params.len()
        {
            let takes = if least == most { least.to_string() } else { format!("{least} to {most}") };
            let plural = if most == 1 { "" } else { "s" };
            let found = Diagnostic::error(
                "wrong-arity",
                format!("`{}` takes {takes} argument{plural}, got {}", signature.name, arguments.count),
            );
            self.add(found.hint(format!("write `{}`", signature.usage())), at, signature.name.len());
        }
        for ((param, known), place) in signature.params.iter().zip(&arguments.known).zip(&arguments.place) {
            let Some(place) = place else { continue };
            if let Some(wants) = misfit(param.ty, known) {
                let found = Diagnostic::error(
                    "wrong-type",
                    format!("`{}` of `{}` wants {wants}, got {}", param.name, signature.name, known.words()),
                );
                self.add(found, start(place), 1);
            } else {
                self.named(param.ty, known, place);
            }
        }
        if let Some(options) = arguments.options {
            self.options(signature, options, at);
        } else if let (Some(first), true) = (signature.required_options.first(), arguments.count < least) {
            let found = Diagnostic::error(
                "missing-option",
                format!("`{}` needs the option `{first}`", signature.name),
            );
            self.add(found.hint(format!("write `{}`", signature.usage())), at, signature.name.len());
        }
        if let Some(performs) = signature.performs {
            let path = |index: u8| match arguments.known.get(usize::from(index)) {
                Some(Known::Text(text)) => Some(text.clone()),
                _ => None,
            };
            let target = match performs.touches {
                Touches::Nothing => Target::Run,
                Touches::Host => hosts(arguments.known.first(), None),
                Touches::HostPath(index) => hosts(arguments.known.first(), path(index)),
                Touches::Cluster => path(0).map_or(Target::Unknown { path: None }, Target::Below),
                Touches::Text(index) => path(index).map_or(Target::Unknown { path: None }, |text| {
                    // The gate compares URLs in their plain form.
                    Target::Named(url::name(&text).unwrap_or(text))
                }),
                Touches::Port => match (path(0), arguments.known.get(1)) {
                    (Some(host), Some(Known::Int(number))) => u16::try_from(*number)
                        .ok()
                        .and_then(|number| Port::new(&host, number).ok())
                        .map_or(Target::Unknown { path: None }, |port| Target::Named(port.name())),
                    _ => Target::Unknown { path: None },
                },
                Touches::HostOrName => match path(0) {
                    Some(name) if !self.context.names.host(&name) => {
                        port::host(&name).map_or(Target::Unknown { path: None }, Target::Named)
                    }
                    _ => hosts(arguments.known.first(), None),
                },
            };
            self.performs(performs.effect, target, at, signature.name.len());
        }
        match (signature.name, arguments.known.first()) {
            ("hosts", Some(Known::Text(pattern))) => Known::AllOf(pattern.clone()),
            ("host", Some(Known::Text(name))) => Known::OneOf(name.clone()),
            _ => Known::Unknown,
        }
    }

    /// Tells positional arguments from the option map, which may stand anywhere before a closure.
    fn roles(
        &mut self,
        signature: &Signature,
        call: &'a FnCallExpr,
        receiver: Option<Known>,
    ) -> Arguments<'a> {
        let count = call.args.len() + usize::from(receiver.is_some());
        let is_map = |argument: &Expr| match argument {
            Expr::Map(..) => true,
            Expr::DynamicConstant(value, _) => value.is_map(),
            _ => false,
        };
        let offset = usize::from(receiver.is_some());
        let surplus = count > signature.params.iter().filter(|param| !param.optional).count();
        let option = call.args.iter().enumerate().rev().find_map(|(index, argument)| {
            let taken = signature
                .params
                .get(index + offset)
                .is_some_and(|param| matches!(param.ty, Type::Map | Type::Any));
            (!signature.options.is_empty() && surplus && is_map(argument) && !taken).then_some(index)
        });
        // A map in a variable: its keys are unknown, but it takes the place after the positional ones.
        let computed =
            option.is_none() && !signature.options.is_empty() && count == signature.params.len() + 1;
        let computed = computed.then(|| call.args.len().saturating_sub(1));
        let copies = signature.name == "each";
        let mut known: Vec<Known> = receiver.into_iter().collect();
        let mut place: Vec<Option<&Expr>> = known.iter().map(|_| None).collect();
        for (index, argument) in call.args.iter().enumerate() {
            let value = if captures(argument).is_some() {
                let first = match (signature.params.first().map(|param| param.ty), known.first()) {
                    (Some(Type::Pattern | Type::Hosts), Some(Known::Text(name))) => {
                        Some(Known::OneOf(name.clone()))
                    }
                    (Some(_), Some(over)) => Some(over.element()),
                    _ => None,
                };
                self.closure(argument, first, copies)
            } else if option == Some(index) {
                continue;
            } else {
                self.expression(argument)
            };
            if computed == Some(index) {
                continue;
            }
            known.push(value);
            place.push(Some(argument));
        }
        Arguments { known, place, options: option.map(|index| &call.args[index]), count }
    }

    fn options(&mut self, signature: &'a Signature, options: &'a Expr, at: Position) {
        let Expr::Map(map, _) = options else { return };
        for (key, value) in &map.0 {
            let known = self.expression(value);
            let name = key.name.as_str();
            let Some(option) = signature.options.iter().find(|option| option.name == name) else {
                let keys = || signature.options.iter().map(|option| option.name);
                let hint = did_you_mean(name, keys())
                    .unwrap_or_else(|| format!("options are {}", keys().collect::<Vec<_>>().join(", ")));
                let found = Diagnostic::error(
                    "unknown-option",
                    format!("`{}` has no option `{name}`", signature.name),
                );
                self.add(found.hint(hint), key.pos, name.chars().count());
                continue;
            };
            if let Some(wants) = misfit(option.ty, &known) {
                let found = Diagnostic::error(
                    "wrong-type",
                    format!("option `{name}` of `{}` wants {wants}, got {}", signature.name, known.words()),
                );
                self.add(found.hint(described(option)), start(value), 1);
            } else {
                self.named(option.ty, &known, value);
            }
        }
        for required in signature.required_options {
            if !map.0.iter().any(|(key, _)| key.name.as_str() == *required) {
                let found = Diagnostic::error(
                    "missing-option",
                    format!("`{}` needs the option `{required}`", signature.name),
                );
                let hint = signature.options.iter().find(|option| option.name == *required).map(described);
                self.add(found.maybe_hint(hint), at, signature.name.len());
            }
        }
    }

    /// Checks literal names of hosts, patterns and secrets.
    fn named(&mut self, ty: Type, known: &Known, place: &'a Expr) {
        match (ty, known, place) {
            (Type::Hosts | Type::Items, Known::Array(all), Expr::Array(places, _)) => {
                for (known, place) in all.iter().zip(places) {
                    self.named(Type::Host, known, place);
                }
            }
            (Type::Host | Type::Hosts, Known::Text(name), _) => self.host_name(name, place),
            (Type::Pattern, Known::Text(pattern), _) => {
                if let Err(reason) = self.context.names.hosts_in(pattern) {
                    let bare = pattern.trim_start_matches(['@', '!', '&']);
                    let near = self
                        .context
                        .names
                        .nearest_group(bare)
                        .or_else(|| self.context.names.nearest_host(bare));
                    let found = Diagnostic::error("unknown-host", reason)
                        .maybe_hint(near.map(|near| format!("did you mean `{near}`?")));
                    self.add(found, start(place), pattern.chars().count() + 2);
                }
            }
            (Type::SecretName, Known::Text(name), _) => {
                let Some(secrets) = self.context.secrets else { return };
                if !secrets.iter().any(|known| may_be(known, name)) {
                    let hint = did_you_mean(name, secrets.iter().map(String::as_str));
                    let found = Diagnostic::error("unknown-secret", format!("there is no secret `{name}`"));
                    self.add(found.maybe_hint(hint), start(place), name.chars().count() + 2);
                }
            }
            _ => {}
        }
    }

    fn host_name(&mut self, name: &str, place: &Expr) {
        if self.context.names.host(name) {
            return;
        }
        let pattern = name.trim_start_matches('@');
        let hint = if self.context.names.group(pattern) || self.context.names.hosts_in(name).is_ok() {
            Some(format!("`{name}` is a pattern: write `hosts(\"{pattern}\")`"))
        } else {
            self.context.names.nearest_host(name).map(|near| format!("did you mean `{near}`?"))
        };
        let found = Diagnostic::error("unknown-host", format!("`{name}` is not a host of the inventory"));
        self.add(found.maybe_hint(hint), start(place), name.chars().count() + 2);
    }

    fn performs(&mut self, verb: &'static str, target: Target, at: Position, length: usize) {
        if self.inside.is_none() && !self.is_entry() {
            // Who imports first would decide where in the journal it stands.
            let found = Diagnostic::error(
                "import-effect",
                format!("an imported script performs `{verb}` when it is imported"),
            )
            .hint("move the call into a function");
            self.add(found, at, length);
        }
        let (line, column) = (at.line().unwrap_or(0), at.position().unwrap_or(0));
        let file = self.script.path.clone();
        self.used.push((self.inside.clone(), Use { verb, target, file, line, column, length }));
    }
}

fn described(option: &Opt) -> String {
    format!("`{}`: {}", option.name, option.doc)
}

fn hosts(known: Option<&Known>, path: Option<String>) -> Target {
    match known {
        Some(Known::Text(pattern) | Known::OneOf(pattern) | Known::AllOf(pattern)) => {
            Target::Hosts { pattern: pattern.clone(), path }
        }
        Some(Known::OneText(names)) => Target::Hosts { pattern: names.join(":"), path },
        Some(array @ Known::Array(_)) => match array.element() {
            Known::Text(pattern) => Target::Hosts { pattern, path },
            Known::OneText(names) => Target::Hosts { pattern: names.join(":"), path },
            _ => Target::Unknown { path },
        },
        _ => Target::Unknown { path },
    }
}

/// Whether a listed secret may be the one with this name.
///
/// An environment variable lists `db_root` and holds `db/root` as well as `db-root`.
fn may_be(listed: &str, name: &str) -> bool {
    let same = |(a, b): (char, char)| a == b.to_ascii_lowercase() || (a == '_' && !b.is_alphanumeric());
    listed == name || (listed.len() == name.len() && listed.chars().zip(name.chars()).all(same))
}

fn library_takes(name: &str, count: usize) -> bool {
    library::functions().iter().any(|function| function.name == name && function.arities.contains(&count))
}

/// Returns name and number of parameters of a script's public functions; `None` when it does not compile.
fn public_functions(program: &super::Program, path: &str) -> Option<Vec<(String, usize)>> {
    let ast = program.script(path)?.ast.as_ref()?;
    let public = ast
        .iter_functions()
        .filter(|function| function.access.is_public() && !function.name.starts_with("anon$"));
    Some(public.map(|function| (function.name.to_owned(), function.params.len())).collect())
}
