//! A line of a configuration in a script, and what the rules of a site say of one. The whole configuration is a line, too: the one above all.

use std::sync::Arc;

use rhai::{Array, Dynamic, EvalAltResult, ImmutableString, Module};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};

use super::value::text;
use crate::cisco::{Finding, Os, Outline, Severity};

/// A line of a configuration, with what stands below it.
///
/// Its text never holds a secret: `*****` stands there, also where a script looks for the line by what it is.
#[derive(Debug, Clone)]
pub struct LineValue {
    outline: Arc<Outline>,
    at: usize,
}

impl LineValue {
    /// Reads a configuration; the value is the whole of it.
    pub fn whole(os: Os, configuration: &str) -> Self {
        Self { outline: Arc::new(Outline::read(os, configuration)), at: 0 }
    }

    fn of(&self, at: usize) -> Self {
        Self { outline: self.outline.clone(), at }
    }

    fn all(&self, places: impl IntoIterator<Item = usize>) -> Array {
        places.into_iter().map(|at| Dynamic::from(self.of(at))).collect()
    }

    /// What stands behind some words in the first line below that begins with them.
    fn value(&self, words: &str) -> Dynamic {
        let line = self.outline.below(self.at).iter().map(|at| self.outline.shown(*at)).find_map(|line| {
            let rest = line.strip_prefix(words)?;
            rest.strip_prefix(' ').or(rest.is_empty().then_some("")).map(str::to_owned)
        });
        line.map_or(Dynamic::UNIT, Dynamic::from)
    }
}

/// Registers the type and what a script can do with it.
pub fn register(module: &mut Module) {
    type Fallible<T> = Result<T, Box<EvalAltResult>>;
    module.set_custom_type::<LineValue>("line");
    module.set_getter_fn("text", |line: &mut LineValue| Ok(line.outline.shown(line.at)));
    module.set_getter_fn("number", |line: &mut LineValue| Ok(line.outline.number(line.at) as i64));
    module.set_getter_fn("os", |line: &mut LineValue| Ok(line.outline.os().as_str()));
    module.set_getter_fn("words", |line: &mut LineValue| {
        let text = line.outline.shown(line.at);
        Ok(text.split_ascii_whitespace().map(|word| Dynamic::from(word.to_owned())).collect::<Array>())
    });
    module.set_getter_fn("lines", |line: &mut LineValue| Ok(line.all(line.outline.below(line.at).to_vec())));
    module.set_getter_fn("above", |line: &mut LineValue| Ok(line.of(line.outline.above(line.at))));
    module.set_native_fn("find", |line: &mut LineValue, glob: ImmutableString| -> Fallible<Array> {
        Ok(line.all(line.outline.find(line.at, &glob)))
    });
    module.set_native_fn("has", |line: &mut LineValue, glob: ImmutableString| -> Fallible<bool> {
        Ok(!line.outline.find(line.at, &glob).is_empty())
    });
    module.set_native_fn("value", |line: &mut LineValue, words: ImmutableString| -> Fallible<Dynamic> {
        Ok(line.value(&words))
    });
    module.set_native_fn("members", |line: &mut LineValue, group: ImmutableString| -> Fallible<Array> {
        let members = line.outline.members(&group).into_iter();
        Ok(members.map(|member| Dynamic::from(member.to_owned())).collect())
    });
    text(module, |line: &mut LineValue| Ok(line.outline.shown(line.at)));
}

/// Returns what a rule says, from what it has answered: nothing, or a text, a line, a map `#{message, line, severity}`, or an array of
/// these. It fails closed: what is none of these is a finding itself.
pub fn findings(rule: &str, answer: &Dynamic) -> Vec<Finding> {
    let finding =
        |severity, line, message: String| Finding { rule: rule.to_owned(), severity, line, message };
    if answer.is_unit() {
        return Vec::new();
    }
    if let Some(lines) = answer.read_lock::<Array>() {
        return lines.iter().flat_map(|one| findings(rule, one)).collect();
    }
    if let Some(line) = answer.read_lock::<LineValue>() {
        let message = format!("`{}`", line.outline.shown(line.at));
        return vec![finding(Severity::Error, line.outline.number(line.at), message)];
    }
    if let Ok(message) = answer.clone().into_string() {
        return vec![finding(Severity::Error, 0, message)];
    }
    let wrong = |why: &str| vec![finding(Severity::Critical, 0, format!("the rule cannot be used: {why}"))];
    let Some(map) = answer.read_lock::<rhai::Map>() else {
        return wrong(&format!(
            "it answers with a value of type {}, not with nothing, a text, a line, a map or an array of these",
            answer.type_name()
        ));
    };
    if let Some(key) = map.keys().find(|key| !["message", "line", "severity"].contains(&key.as_str())) {
        return wrong(&format!("a finding has no `{key}`, but `message`, `line` and `severity`"));
    }
    let Some(message) = map.get("message").and_then(|text| text.clone().into_string().ok()) else {
        return wrong("a finding needs a text as its `message`");
    };
    let line = match map.get("line") {
        None => 0,
        Some(line) => match line.read_lock::<LineValue>() {
            Some(line) => line.outline.number(line.at),
            None => match line.as_int() {
                Ok(number) if number >= 0 => number as usize,
                _ => return wrong("the `line` of a finding is a line or its number"),
            },
        },
    };
    let severity = match map.get("severity").map(|word| word.clone().into_string()) {
        None => Severity::Error,
        Some(word) => {
            let word = word.unwrap_or_default();
            let read: StrDeserializer<'_, Error> = word.as_str().into_deserializer();
            match Severity::deserialize(read) {
                Ok(severity) => severity,
                Err(_) => return wrong("a severity is `warning`, `error` or `critical`"),
            }
        }
    };
    vec![finding(severity, line, message)]
}
