//! `docs`: the reference of what a runbook can ask for, read from the bindings themselves.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use crate::bindings::{self, Binding};
use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::style::Style;
use crate::model::nearest::nearest;
use crate::model::signature::{Opt, Signature, Touches, Type};
use crate::runner::reference::{Documented, Module, modules};

/// Show what a runbook can ask for
///
/// Without a name, all areas and modules of the standard library; with the name of an area or module, its functions; with
/// the name of a function, its page. With --json, one object a function: `name area usage params options returns effect kind need
/// doc example`; functions of the standard library have `name module usage params doc`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun docs\n  nlrun docs ssh_exec\n  nlrun docs apt\n  nlrun docs --markdown > reference.md"
)]
pub(crate) struct DocsOptions {
    /// A function, an area or a module
    name: Option<String>,
    /// Print the whole reference as Markdown
    #[arg(long, conflicts_with = "name")]
    markdown: bool,
}

pub(crate) fn docs(context: &Context, options: &DocsOptions) -> Result<u8, Problem> {
    let out = &context.out;
    let modules = modules();
    if options.markdown {
        out.raw(markdown(&modules).as_bytes());
        return Ok(0);
    }
    let Some(name) = &options.name else {
        if out.json {
            out.raw(json_of(bindings::ALL, &modules).as_bytes());
        } else {
            out.raw(overview(out.data, &modules).as_bytes());
        }
        return Ok(0);
    };
    let name = name.trim_end_matches("()");
    let pages = find(out.data, out.json, name, &modules);
    if pages.is_empty() {
        let known: Vec<String> = names(&modules);
        let near =
            nearest(name, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        let hint = near.unwrap_or_else(|| "`nlrun docs` lists everything".to_owned());
        return Err(Problem::usage(format!("there is no function, area or module `{name}`"), Some(hint)));
    }
    out.raw(pages.as_bytes());
    Ok(0)
}

/// Returns the pages for a name.
fn find(style: Style, json: bool, name: &str, modules: &[Module]) -> String {
    let mut text = String::new();
    let all = || bindings::ALL.iter().flat_map(|binding| binding.functions);
    // `each` is an area and its one function: the page says more.
    let is_function = all().any(|function| function.signature.name == name);
    for binding in bindings::ALL {
        let is_area = binding.area == name && !is_function;
        if is_area && !json {
            let _ = writeln!(text, "{}\n{}\n", style.bold(binding.area), binding.doc);
        }
        for function in binding.functions {
            let signature = &function.signature;
            match (json, is_area, signature.name == name) {
                (true, true, _) | (true, _, true) => {
                    let _ = writeln!(text, "{}", object(binding, signature));
                }
                (false, true, _) => row(&mut text, style, &signature.usage(), first(signature.doc)),
                (false, false, true) => text.push_str(&page(style, binding, signature)),
                (_, false, false) => {}
            }
        }
    }
    for module in modules {
        let is_module = module.name == name;
        if is_module && !json {
            let _ = writeln!(text, "{}\n{}\n", style.bold(&module.name), module.doc);
        }
        for function in &module.functions {
            let is_it = format!("{}::{}", module.name, function.name) == name;
            match (json, is_module, is_it) {
                (true, true, _) | (true, _, true) => {
                    let _ = writeln!(text, "{}", library_object(module, function));
                }
                (false, true, _) => {
                    row(&mut text, style, &function.usage(&module.name), first(&function.doc));
                }
                (false, false, true) => {
                    let usage = style.bold(&function.usage(&module.name));
                    let _ = writeln!(
                        text,
                        "{usage}\n\n{}\n\n{} import \"{}\" as {};",
                        function.doc,
                        style.dim("import"),
                        module.name,
                        module.name.rsplit('/').next().unwrap_or_default(),
                    );
                }
                (_, false, false) => {}
            }
        }
    }
    text
}

fn overview(style: Style, modules: &[Module]) -> String {
    let mut text = String::new();
    for binding in bindings::ALL {
        let _ = writeln!(text, "{} {}", style.bold(binding.area), style.dim(binding.doc));
        for function in binding.functions {
            row(&mut text, style, &function.signature.usage(), first(function.signature.doc));
        }
        text.push('\n');
    }
    for module in modules {
        let _ = writeln!(text, "{} {}", style.bold(&module.name), style.dim(first(&module.doc)));
        for function in &module.functions {
            row(&mut text, style, &function.usage(&module.name), first(&function.doc));
        }
        text.push('\n');
    }
    let _ = writeln!(text, "`nlrun docs NAME` shows a page.");
    text
}

fn row(text: &mut String, style: Style, usage: &str, doc: &str) {
    let _ = writeln!(text, "  {usage}\n      {}", style.dim(doc));
}

fn page(style: Style, binding: &Binding, signature: &Signature) -> String {
    let mut text = format!("{}\n\n{}\n", style.bold(&signature.usage()), signature.doc);
    let width = signature.params.iter().map(|param| param.name.len());
    let width = width.chain(signature.options.iter().map(|option| option.name.len())).max().unwrap_or(0);
    if !signature.params.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("parameters"));
        for param in signature.params {
            let optional = if param.optional { " (may be left out)" } else { "" };
            let _ = writeln!(text, "  {:<width$}  {}{optional}", param.name, words(param.ty));
        }
    }
    if !signature.options.is_empty() {
        let _ = writeln!(text, "\n{}", style.bold("options"));
        for option in signature.options {
            let _ = writeln!(
                text,
                "  {:<width$}  {}\n  {:<width$}  {}",
                option.name,
                option_doc(signature, option),
                "",
                style.dim(words(option.ty)),
            );
        }
    }
    let _ = writeln!(text, "\n{} {}", style.bold("returns"), signature.returns);
    if let Some(performs) = signature.performs {
        let _ = writeln!(
            text,
            "{} {}, of kind {}{}",
            style.bold("effect"),
            performs.effect,
            performs.kind,
            need(signature).map(|need| format!(": needs \"{need}\"")).unwrap_or_default(),
        );
    }
    let _ = writeln!(text, "{} {}", style.bold("area"), binding.area);
    let _ = writeln!(text, "\n{}", style.bold("example"));
    for line in signature.example.lines() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn option_doc(signature: &Signature, option: &Opt) -> String {
    let required = if signature.required_options.contains(&option.name) { "Required. " } else { "" };
    format!("{required}{}", option.doc)
}

fn markdown(modules: &[Module]) -> String {
    let mut text = "# What a runbook can ask for\n".to_owned();
    for binding in bindings::ALL {
        let _ = writeln!(text, "\n## {}\n\n{}", binding.area, binding.doc);
        for function in binding.functions {
            let signature = &function.signature;
            let _ = writeln!(text, "\n### `{}`\n\n{}", signature.usage(), signature.doc);
            if !signature.params.is_empty() {
                text.push_str("\n| Parameter | Takes |\n| --- | --- |\n");
                for param in signature.params {
                    let optional = if param.optional { "; may be left out" } else { "" };
                    let _ = writeln!(text, "| `{}` | {}{optional} |", param.name, words(param.ty));
                }
            }
            if !signature.options.is_empty() {
                text.push_str("\n| Option | Takes | Meaning |\n| --- | --- | --- |\n");
                for option in signature.options {
                    let meaning = option_doc(signature, option).replace('|', "\\|");
                    let _ = writeln!(text, "| `{}` | {} | {meaning} |", option.name, words(option.ty));
                }
            }
            let _ = writeln!(text, "\nReturns: {}", signature.returns);
            if let Some(performs) = signature.performs {
                let need = need(signature).map(|need| format!("; needs `{need}`")).unwrap_or_default();
                let _ = writeln!(text, "\nEffect: `{}` ({}){need}.", performs.effect, performs.kind);
            }
            let _ = writeln!(text, "\n```rhai\n{}\n```", signature.example.trim_end());
        }
    }
    for module in modules {
        let _ = writeln!(text, "\n## {} (standard library)\n\n{}", module.name, module.doc);
        for function in &module.functions {
            let _ = writeln!(text, "\n### `{}`\n\n{}", function.usage(&module.name), function.doc);
        }
    }
    text
}

fn json_of(areas: &[&Binding], modules: &[Module]) -> String {
    let mut text = String::new();
    for binding in areas {
        for function in binding.functions {
            let _ = writeln!(text, "{}", object(binding, &function.signature));
        }
    }
    for module in modules {
        for function in &module.functions {
            let _ = writeln!(text, "{}", library_object(module, function));
        }
    }
    text
}

fn object(binding: &Binding, signature: &Signature) -> Value {
    let params = signature
        .params
        .iter()
        .map(|param| json!({ "name": param.name, "takes": words(param.ty), "optional": param.optional }));
    let options = signature.options.iter().map(|option| {
        let required = signature.required_options.contains(&option.name);
        json!({ "name": option.name, "takes": words(option.ty), "doc": option.doc, "required": required })
    });
    json!({
        "name": signature.name,
        "area": binding.area,
        "usage": signature.usage(),
        "params": params.collect::<Vec<_>>(),
        "options": options.collect::<Vec<_>>(),
        "returns": signature.returns,
        "effect": signature.performs.map(|performs| performs.effect),
        "kind": signature.performs.map(|performs| performs.kind),
        "need": need(signature),
        "doc": signature.doc,
        "example": signature.example,
    })
}

fn library_object(module: &Module, function: &Documented) -> Value {
    json!({
        "name": format!("{}::{}", module.name, function.name),
        "module": module.name,
        "usage": function.usage(&module.name),
        "params": function.params,
        "doc": function.doc,
    })
}

/// Returns the form of the capability that a function needs, if it needs one.
fn need(signature: &Signature) -> Option<String> {
    let performs = signature.performs?;
    Some(match performs.touches {
        // What concerns only the run itself needs no permission.
        Touches::Nothing => return None,
        Touches::Host => format!("{}:HOST", performs.effect),
        Touches::HostPath(_) => format!("{}:HOST:PATH", performs.effect),
        Touches::Cluster => format!("{}:CLUSTER/[NAMESPACE/]KIND/NAME", performs.effect),
        Touches::Port => format!("{}:HOST:PORT", performs.effect),
        Touches::HostOrName => format!("{}:HOST", performs.effect),
        Touches::Text(index) => {
            let name = signature.params.get(usize::from(index)).map_or("name", |param| param.name);
            format!("{}:{}", performs.effect, name.to_uppercase())
        }
    })
}

fn names(modules: &[Module]) -> Vec<String> {
    let mut names = Vec::new();
    for binding in bindings::ALL {
        names.push(binding.area.to_owned());
        names.extend(binding.functions.iter().map(|function| function.signature.name.to_owned()));
    }
    for module in modules {
        names.push(module.name.clone());
        names.extend(module.functions.iter().map(|function| format!("{}::{}", module.name, function.name)));
    }
    names
}

fn first(doc: &str) -> &str {
    doc.lines().next().unwrap_or_default()
}

/// Says what a type takes.
fn words(ty: Type) -> &'static str {
    match ty {
        Type::Any => "any value",
        Type::String => "text",
        Type::Int => "a whole number",
        Type::Number => "a number",
        Type::Bool => "`true` or `false`",
        Type::Host => "a host or its name",
        Type::Hosts => "a host, or an array of hosts",
        Type::Items => "an array of hosts, or of maps with a `name`",
        Type::Pattern => "a pattern of the inventory",
        Type::Command => "an array of exact words, or a string for the remote shell",
        Type::Duration => "a length of time: `\"90s\"`, `\"5m\"`, or seconds",
        Type::SecretName => "the name of a secret",
        Type::Secret => "a secret",
        Type::Content => "text, bytes or a secret",
        Type::Array => "an array",
        Type::Map => "a map",
        Type::Function(0) => "a closure: `|| …`",
        Type::Function(1) => "a closure with one parameter: `|x| …`",
        Type::Function(_) => "a closure with parameters",
        Type::RemotePath => "a path on the host",
        Type::LocalPath => "a path in the project",
        Type::Unit => "nothing",
    }
}
