//! What a runbook can ask for: one file an area, one line here for each.
//!
//! `nlrun docs`, the check, the registration and the property tests all read [`ALL`].

#[macro_use]
mod declare;

mod call;
mod cert;
mod cert_load;
mod cert_sync;
mod cisco;
mod clock;
mod control;
mod dns;
mod each;
mod file;
mod git;
mod gitlab;
mod hidden;
mod http;
mod inventory;
mod items;
mod k8s;
mod keep;
pub mod line;
mod outcome;
mod ping;
mod project;
mod retry;
mod secret_write;
mod ssh;
mod sudo;
mod tls;
mod value;
mod wait;

use std::any::TypeId;
use std::sync::{Arc, LazyLock};

use rhai::{Dynamic, FuncRegistration, Module, NativeCallContext, RhaiFunc};

pub use call::{Call, Current, Raise, Stopped, is_untold, or_untold, session_of, site_of, take_untold};
pub use call::{FOREIGN, FOREIGN_HINT};
pub use each::run_clean_ups;
pub use line::LineValue;
pub use outcome::{Outcome, Result as HostResult};
pub use value::{FailureValue, HostValue, SecretValue, json, to_dynamic};

use crate::model::signature::Signature;

/// An area of script functions.
pub struct Binding {
    /// The area's name (`ssh`).
    pub area: &'static str,
    /// What it is for, in a sentence.
    pub doc: &'static str,
    /// Its functions.
    pub functions: &'static [Function],
}

/// One script function: what it looks like and what it does.
pub struct Function {
    /// What it looks like.
    pub signature: Signature,
    /// What it does.
    pub run: fn(&mut Call<'_>) -> Result<Dynamic, Raise>,
}

/// Every area.
pub const ALL: &[&Binding] = &[
    &control::BINDING,
    &clock::BINDING,
    &keep::BINDING,
    &dns::BINDING,
    &each::BINDING,
    &file::BINDING,
    &git::BINDING,
    &gitlab::BINDING,
    &http::BINDING,
    &inventory::BINDING,
    &k8s::BINDING,
    &ping::BINDING,
    &project::BINDING,
    &secret_write::BINDING,
    &cert::BINDING,
    &cisco::BINDING,
    &ssh::BINDING,
    &tls::BINDING,
    &wait::BINDING,
];

/// Returns every signature.
pub fn signatures() -> Vec<&'static Signature> {
    ALL.iter().flat_map(|binding| binding.functions).map(|function| &function.signature).collect()
}

/// Returns the module with all functions and types, made once a process.
pub fn module() -> Arc<Module> {
    static MODULE: LazyLock<Arc<Module>> = LazyLock::new(|| {
        let mut module = Module::new();
        value::register(&mut module);
        outcome::register(&mut module);
        line::register(&mut module);
        for function in ALL.iter().flat_map(|binding| binding.functions) {
            register(&mut module, function);
        }
        module.build_index();
        module.into()
    });
    MODULE.clone()
}

/// Registers a function once for each number of arguments that it takes.
fn register(module: &mut Module, function: &'static Function) {
    let (least, most) = function.signature.arity();
    for count in least..=most {
        let types = vec![TypeId::of::<Dynamic>(); count];
        let run = move |context: Option<NativeCallContext>, arguments: &mut [&mut Dynamic]| {
            let context = context.expect("the function asks for its context");
            Call::new(&context, &function.signature, arguments)
                .and_then(|mut call| (function.run)(&mut call))
                .map_err(|raise| raise.of_call(&context))
        };
        let native =
            RhaiFunc::Pure { func: Arc::new(run), has_context: true, is_pure: true, is_volatile: true };
        FuncRegistration::new(function.signature.name).set_into_module_raw(module, types, native);
    }
}
