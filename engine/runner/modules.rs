//! `import` at run time: finds, compiles and keeps the scripts of one run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rhai::{Engine, EvalAltResult, GlobalRuntimeState, Module, ModuleResolver, Position, Scope, Shared};

use crate::runner::language;
use crate::runner::sources::{Sources, find};

thread_local! {
    /// The scripts that this thread is loading, outermost first.
    static LOADING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Resolves the imports of one run.
///
/// Every script is evaluated once a run; branches that come later share the module.
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
        evaluate: impl FnOnce(&rhai::AST) -> Result<Module, Box<EvalAltResult>>,
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
        let module: Shared<Module> = evaluate(&ast).map_err(inside)?.into();
        Ok(Arc::clone(self.loaded.lock().entry(path).or_insert(module)))
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
