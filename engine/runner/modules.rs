//! `import` at run time: finds, compiles and keeps the scripts of one run.
//!
//! Rhai 1.27 remembers which function a name stands for in one cache for all modules that call each other: of two
//! modules with a function `script` each, one may get the other's. So a module's functions are called through a native
//! one (`enclosed`), as each such call begins with an empty cache.

#![expect(deprecated, reason = "rhai marks its internals as volatile that way; its version is pinned")]

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rhai::{
    AST, ASTFlags, Dynamic, Engine, EvalAltResult, FnAccess, FuncRegistration, GlobalRuntimeState, Module,
    ModuleResolver, NativeCallContext, Position, RhaiFunc, Scope, Shared, Stmt,
};

use crate::runner::language;
use crate::runner::sources::{Sources, find};

thread_local! {
    /// The scripts that this thread is loading, outermost first.
    static LOADING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Resolves the imports of one run.
///
/// Every script is evaluated once a run; branches that come later share the module. A closure that a function of a
/// module returns can be called within that module only.
pub struct Modules {
    sources: Arc<dyn Sources>,
    entry: String,
    loaded: Mutex<HashMap<String, Shared<Module>>>,
}

impl Modules {
    /// Makes the resolver of a run that begins at the script `entry`.
    pub fn new(sources: Arc<dyn Sources>, entry: &str) -> Self {
        Self { sources, entry: entry.to_owned(), loaded: Mutex::default() }
    }

    fn load(
        &self,
        engine: &Engine,
        importer: Option<&str>,
        name: &str,
        at: Position,
        evaluate: impl FnOnce(&AST) -> Result<Module, Box<EvalAltResult>>,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        // Not `ErrorModuleNotFound`: Rhai writes its own text over that one, without the reason.
        let refused = |reason: String| Box::new(EvalAltResult::ErrorRuntime(reason.into(), at));
        let importer = importer.filter(|source| !source.is_empty()).unwrap_or(&self.entry);
        let (path, text) = find(self.sources.as_ref(), importer, name)
            .map_err(|cause| refused(format!("cannot import `{name}`: {cause}")))?;
        if let Some(module) = self.loaded.lock().get(&path) {
            return Ok(Arc::clone(module));
        }
        let _loading = Loading::begin(&self.entry, &path).map_err(refused)?;
        let inside = |cause| Box::new(EvalAltResult::ErrorInModule(path.clone(), cause, at));
        let ast =
            language::compile(engine, &path, &text, &Scope::new()).map_err(|cause| inside(cause.into()))?;
        let evaluated = evaluate(&ast).map_err(inside)?;
        let module: Shared<Module> = enclosed(engine, &path, &ast, &evaluated).map_err(inside)?.into();
        Ok(Arc::clone(self.loaded.lock().entry(path).or_insert(module)))
    }
}

/// Returns what others may use of a module whose top was evaluated.
fn enclosed(
    engine: &Engine,
    path: &str,
    ast: &AST,
    evaluated: &Module,
) -> Result<Module, Box<EvalAltResult>> {
    let mut module = Module::new();
    module.set_id(path);
    let mut imports: Vec<(String, Shared<Module>)> = Vec::new();
    for (name, inner) in evaluated.iter_sub_modules() {
        module.set_sub_module(name, inner.clone());
        imports.push((name.to_owned(), inner.clone()));
    }
    for (name, value) in evaluated.iter_var() {
        module.set_var(name, value.clone());
    }
    let surroundings = Arc::new(Surroundings {
        path: path.into(),
        library: ast.shared_lib().clone(),
        imports,
        constants: constants(engine, ast)?,
    });
    for function in ast.iter_functions().filter(|function| function.access == FnAccess::Public) {
        let name = function.name.to_owned();
        let types = vec![TypeId::of::<Dynamic>(); function.params.len()];
        let surroundings = surroundings.clone();
        let run = move |context: Option<NativeCallContext>, arguments: &mut [&mut Dynamic]| {
            let context = context.expect("the function asks for its context");
            surroundings.call(&context, &name, arguments)
        };
        let native =
            RhaiFunc::Pure { func: Shared::new(run), has_context: true, is_pure: true, is_volatile: true };
        FuncRegistration::new(function.name).set_into_module_raw(&mut module, types, native);
    }
    module.build_index();
    Ok(module)
}

/// Returns what `global::NAME` stands for in the functions of a module.
fn constants(engine: &Engine, ast: &AST) -> Result<Constants, Box<EvalAltResult>> {
    let is_constant =
        |statement: &Stmt| matches!(statement, Stmt::Var(_, flags, _) if flags.contains(ASTFlags::CONSTANT));
    if !ast.statements().iter().any(is_constant) {
        return Ok(Constants::new());
    }
    // Rhai keeps them to itself, and to evaluate a module twice does no harm: it may have no effects.
    let mut scope = Scope::new();
    engine.run_ast_with_scope(&mut scope, ast)?;
    let constants = scope.iter().filter(|(_, is_constant, _)| *is_constant);
    Ok(constants.map(|(name, _, value)| (name.into(), value)).collect())
}

type Constants = std::collections::BTreeMap<rhai::ImmutableString, Dynamic>;

/// What the functions of a module see.
struct Surroundings {
    path: rhai::ImmutableString,
    library: Shared<Module>,
    imports: Vec<(String, Shared<Module>)>,
    constants: Constants,
}

impl Surroundings {
    /// Calls a function of the module from outside.
    fn call(
        &self,
        context: &NativeCallContext,
        name: &str,
        arguments: &mut [&mut Dynamic],
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        // The caller may have lent a variable: a function gets values.
        let mut values: Vec<Dynamic> = arguments.iter().map(|value| value.flatten_clone()).collect();
        let mut values: Vec<&mut Dynamic> = values.iter_mut().collect();
        let mut store = context.store_data();
        store.global.source = Some(self.path.clone());
        store.global.lib.push(self.library.clone());
        store.global.constants =
            (!self.constants.is_empty()).then(|| Shared::new(self.constants.clone().into()));
        for (name, module) in &self.imports {
            store.global.push_import(name.as_str(), module.clone());
        }
        store.create_context(context.engine()).call_fn_raw(name, false, false, &mut values)
    }
}

/// A script that is being loaded, taken off the list when it is done.
struct Loading;

impl Loading {
    fn begin(entry: &str, path: &str) -> Result<Self, String> {
        LOADING.with_borrow_mut(|loading| {
            let begun = loading.iter().position(|other| other == path);
            if path == entry || begun.is_some() {
                let mut round: Vec<&str> = Vec::new();
                if path == entry {
                    round.push(entry);
                }
                round.extend(loading[begun.unwrap_or(0)..].iter().map(String::as_str));
                round.push(path);
                return Err(format!("circular import: {}", round.join(" -> ")));
            }
            loading.push(path.to_owned());
            Ok(Self)
        })
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        LOADING.with_borrow_mut(Vec::pop);
    }
}

impl ModuleResolver for Modules {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        pos: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        self.load(engine, source, path, pos, |ast| Module::eval_ast_as_new(Scope::new(), ast, engine))
    }

    fn resolve_raw(
        &self,
        engine: &Engine,
        global: &mut GlobalRuntimeState,
        _: &mut Scope,
        path: &str,
        pos: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        // With the state of the run, so that the tag and the counted operations carry over into the module.
        let source = global.source().map(str::to_owned);
        self.load(engine, source.as_deref(), path, pos, |ast| {
            Module::eval_ast_as_new_raw(engine, &mut Scope::new(), global, ast)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runner::guard::Guard;
    use crate::runner::sources::Pinned;
    use rhai::{Dynamic, EvalContext};

    struct Silent;

    impl language::Steps for Silent {
        fn begin(&self, _: &mut EvalContext, _: &str, _: Position) -> Result<(), Box<EvalAltResult>> {
            Ok(())
        }
        fn end(
            &self,
            _: &mut EvalContext,
            _: &str,
            _: Position,
            _: &Result<Dynamic, Box<EvalAltResult>>,
        ) -> Result<(), Box<EvalAltResult>> {
            Ok(())
        }
    }

    fn run(files: &[(&str, &str)]) -> Result<Dynamic, Box<EvalAltResult>> {
        let (entry, text) = files[0];
        let sources =
            Pinned(files.iter().map(|(path, text)| ((*path).to_owned(), Arc::from(*text))).collect());
        let text = text.to_owned();
        let entry = entry.to_owned();
        let thread = std::thread::Builder::new().stack_size(language::STACK_SIZE).spawn(move || {
            let guard = Guard::new(Some(Duration::from_secs(10)), u64::MAX, u64::MAX, Box::new(|| None));
            let mut engine = language::engine(guard, Arc::new(Silent));
            engine.set_module_resolver(Modules::new(Arc::new(sources), &entry));
            engine.set_default_tag(Dynamic::from("tag"));
            engine.register_fn("tag", |context: rhai::NativeCallContext| {
                context.tag().cloned().unwrap_or_default()
            });
            let ast = language::compile(&engine, &entry, &text, &Scope::new())?;
            engine.eval_ast::<Dynamic>(&ast)
        });
        thread.expect("a thread").join().expect("no panic")
    }

    #[test]
    fn modules_import_each_other_beside_and_from_lib() {
        let files = [
            ("runbooks/a.rhai", "import \"x\" as x; import \"./b\" as b; [x::one(), b::two(), x::tagged()]"),
            ("runbooks/b.rhai", "import \"x\" as x; fn two() { x::one() + 1 }"),
            ("lib/x.rhai", "fn one() { 1 } fn tagged() { tag() }"),
        ];
        assert_eq!(run(&files).expect("runs").to_string(), "[1, 2, \"tag\"]");
    }

    #[test]
    fn functions_of_one_name_stay_apart() {
        let module = |name: &str| {
            format!(
                "import \"leaf\" as leaf; const NAME = \"{name}\"; private fn who() {{ global::NAME }} \
                 fn tell() {{ `${{who()}} ${{leaf::tell()}}` }} fn twice() {{ `${{tell()}} ${{leaf::tell()}} ${{tell()}}` }}"
            )
        };
        let (x, y) = (module("x"), module("y"));
        let files = [
            (
                "a.rhai",
                "import \"x\" as x; import \"y\" as y; fn who() { \"a\" } let told = []; \
                 for i in 0..3 { told.push(x::twice()); told.push(y::twice()); told.push(who()); } told",
            ),
            ("lib/x.rhai", x.as_str()),
            ("lib/y.rhai", y.as_str()),
            ("lib/leaf.rhai", "private fn who() { \"leaf\" } fn tell() { who() }"),
        ];
        let round = ["\"x leaf leaf x leaf\"", "\"y leaf leaf y leaf\"", "\"a\""].join(", ");
        let expected = format!("[{round}, {round}, {round}]");
        assert_eq!(run(&files).expect("runs").to_string(), expected);
    }

    #[test]
    fn a_module_gets_values_and_calls_what_it_is_given() {
        let files = [
            (
                "a.rhai",
                "import \"x\" as x; let list = [1]; let sum = x::grow(list); let n = 5; \
                 [list, sum, x::apply(|v| v + n), x::LIMIT, x::mapped([1, 2])]",
            ),
            (
                "lib/x.rhai",
                "export const LIMIT = 9; fn grow(list) { list.push(2); list.len() } fn apply(f) { f.call(1) } \
                 private fn inner(v) { v * 10 } fn mapped(list) { list.map(|v| inner(v)) }",
            ),
        ];
        assert_eq!(run(&files).expect("runs").to_string(), "[[1], 2, 6, 9, [10, 20]]");
    }

    #[test]
    fn bad_imports_say_why() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (
                &[("a.rhai", "import \"x\" as x;")],
                "cannot import `x`: there is no `lib/x.rhai` and no `stdlib:x.rhai`",
            ),
            (&[("a.rhai", "import \"../x\" as x;")], "cannot import `../x`: `../x` leads out of the project"),
            (&[("a.rhai", "import \"./a\" as a;")], "circular import: a.rhai -> a.rhai"),
            (
                &[
                    ("a.rhai", "import \"./b\" as b;"),
                    ("b.rhai", "import \"./c\" as c;"),
                    ("c.rhai", "import \"./a\" as a;"),
                ],
                "circular import: a.rhai -> b.rhai -> c.rhai -> a.rhai",
            ),
            (
                &[
                    ("a.rhai", "import \"./b\" as b;"),
                    ("b.rhai", "import \"./c\" as c;"),
                    ("c.rhai", "import \"./b\" as a;"),
                ],
                "circular import: b.rhai -> c.rhai -> b.rhai",
            ),
        ];
        for (files, expected) in cases {
            let error = run(files).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(run(&[("a.rhai", "import \"./b\" as b;"), ("b.rhai", "let = 1")]).is_err());
    }
}
