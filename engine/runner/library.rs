//! What of Rhai's own library a runbook can use: everything pure, nothing that waits, exits or tells the time.

use std::sync::{Arc, LazyLock};

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage,
    BasicMapPackage, BasicMathPackage, BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage,
    Package,
};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Module};

use crate::runner::language::STRING_SIZE;

/// Rhai's packages without the core one: its `sleep` and `exit` would take calls away from the host's.
static PACKAGES: LazyLock<Arc<Module>> = LazyLock::new(|| {
    let mut module = Module::new();
    ArithmeticPackage::init(&mut module);
    BasicStringPackage::init(&mut module);
    BasicIteratorPackage::init(&mut module);
    BasicFnPackage::init(&mut module);
    BitFieldPackage::init(&mut module);
    LogicPackage::init(&mut module);
    BasicMathPackage::init(&mut module);
    BasicArrayPackage::init(&mut module);
    BasicBlobPackage::init(&mut module);
    BasicMapPackage::init(&mut module);
    MoreStringPackage::init(&mut module);
    // Rhai would look each function up by hashing all of them in turn, again in every arm of a fan-out.
    module.register_lazy_functions();
    module.build_index();
    module.into()
});

/// Text functions that return their result, where Rhai's change the text in place and return nothing.
static PURE: LazyLock<Arc<Module>> = LazyLock::new(|| {
    type Text = ImmutableString;
    let mut module = Module::new();
    module.set_native_fn("trim", |text: Text| Ok(Text::from(text.trim())));
    module.set_native_fn("make_upper", |text: Text| Ok(Text::from(text.to_uppercase())));
    module.set_native_fn("make_lower", |text: Text| Ok(Text::from(text.to_lowercase())));
    module.set_native_fn("replace", |text: Text, find: Text, with: Text| {
        if find.is_empty() {
            return Ok(text);
        }
        let found = text.matches(find.as_str()).count();
        bounded(text.len() + found * with.len())?;
        Ok(Text::from(text.replace(find.as_str(), &with)))
    });
    module.set_native_fn("replace", |text: Text, find: char, with: char| {
        Ok(Text::from(text.replace(find, with.encode_utf8(&mut [0; 4]))))
    });
    module.set_native_fn("replace", |text: Text, find: Text, with: char| {
        Ok(Text::from(text.replace(find.as_str(), with.encode_utf8(&mut [0; 4]))))
    });
    module.set_native_fn("replace", |text: Text, find: char, with: Text| {
        bounded(text.len() + text.matches(find).count() * with.len())?;
        Ok(Text::from(text.replace(find, &with)))
    });
    module.set_native_fn("remove", |text: Text, find: Text| Ok(Text::from(text.replace(find.as_str(), ""))));
    module.set_native_fn("remove", |text: Text, find: char| Ok(Text::from(text.replace(find, ""))));
    module.set_native_fn("truncate", |text: Text, length: i64| {
        Ok(text.chars().take(usize::try_from(length).unwrap_or(0)).collect::<String>())
    });
    module.set_native_fn("pad", |text: Text, length: i64, with: char| {
        pad(&text, length, with.encode_utf8(&mut [0; 4]))
    });
    module.set_native_fn("pad", |text: Text, length: i64, with: Text| pad(&text, length, &with));
    module.set_native_fn("parse_json", |text: Text| {
        serde_json::from_str::<Dynamic>(&text)
            .map_err(|cause| Box::<EvalAltResult>::from(format!("not JSON: {cause}")))
    });
    module.build_index();
    module.into()
});

fn bounded(bytes: usize) -> Result<(), Box<EvalAltResult>> {
    if bytes > STRING_SIZE {
        return Err(EvalAltResult::ErrorDataTooLarge("Length of string".into(), rhai::Position::NONE).into());
    }
    Ok(())
}

fn pad(text: &str, length: i64, with: &str) -> Result<String, Box<EvalAltResult>> {
    let missing = usize::try_from(length).unwrap_or(0).saturating_sub(text.chars().count());
    bounded(text.len().saturating_add(missing.saturating_mul(4)))?;
    Ok(text.chars().chain(with.chars().cycle().take(missing)).collect())
}

/// Puts the library into an engine.
pub fn install(engine: &mut Engine) {
    engine.register_global_module(Arc::clone(&PACKAGES));
    // What comes later is found first.
    engine.register_global_module(Arc::clone(&PURE));
}

/// A function of the library, as the check sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The name.
    pub name: String,
    /// The numbers of arguments it can be called with; a method's receiver counts.
    pub arities: Vec<usize>,
}

/// Functions that Rhai itself handles, with their numbers of arguments (the receiver counts).
const KEYWORDS: [(&str, &[usize]); 9] = [
    ("print", &[1]),
    ("debug", &[1]),
    ("type_of", &[1]),
    ("Fn", &[1]),
    ("call", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("curry", &[2, 3, 4, 5, 6, 7, 8]),
    ("is_shared", &[1]),
    ("is_def_var", &[1]),
    ("is_def_fn", &[2]),
];

/// Returns every function of the library by name, operators and property getters left out.
pub fn functions() -> &'static [Known] {
    static FUNCTIONS: LazyLock<Vec<Known>> = LazyLock::new(|| {
        let mut known: std::collections::BTreeMap<String, Vec<usize>> = std::collections::BTreeMap::new();
        let mut engine = Engine::new_raw();
        install(&mut engine);
        // Lines of a configuration, which rules of a site look at.
        let mut lines = rhai::Module::new();
        crate::bindings::line::register(&mut lines);
        engine.register_global_module(lines.into());
        let definitions = engine.collect_fn_metadata(
            None,
            |info| Some(Dynamic::from(format!("{} {}", info.metadata.num_params, info.metadata.name))),
            true,
        );
        for entry in definitions {
            let entry = entry.to_string();
            let Some((arity, name)) = entry.split_once(' ') else { continue };
            if let (Ok(arity), true) = (arity.parse(), name.starts_with(|c: char| c.is_alphabetic())) {
                known.entry(name.to_owned()).or_default().push(arity);
            }
        }
        for (name, arities) in KEYWORDS {
            known.entry(name.to_owned()).or_default().extend(arities);
        }
        known
            .into_iter()
            .map(|(name, mut arities)| {
                arities.sort_unstable();
                arities.dedup();
                Known { name, arities }
            })
            .collect()
    });
    &FUNCTIONS
}
