//! The keys of a target, which is a map: each is asked for by name, and what nobody asked for is a mistake.

use std::time::Duration;

use rhai::{Dynamic, Map};

use crate::bindings::call::duration_of;
use crate::gate::permit::invalid;
use crate::model::event::Failure;
use crate::model::nearest::did_you_mean;

/// A map of a script.
pub(super) struct Keys {
    /// What it is, for messages: "a target of kind `files`".
    words: String,
    map: Map,
    known: Vec<&'static str>,
}

impl Keys {
    /// Takes a map.
    pub(super) fn new(words: String, map: Map) -> Self {
        Self { words, map, known: Vec::new() }
    }

    /// Returns a value as it is.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Dynamic> {
        self.known.push(key);
        self.map.get(key).filter(|value| !value.is_unit()).cloned()
    }

    /// Returns text.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, Failure> {
        let value = self.value(key);
        value.map(|value| value.into_string().map_err(|_| self.wrong(key, "text"))).transpose()
    }

    /// Returns text that has to be there.
    pub(super) fn needed(&mut self, key: &'static str) -> Result<String, Failure> {
        let text = self.text(key)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| invalid(format!("{} needs `{key}`", self.words)))
    }

    /// Returns a length of time.
    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, Failure> {
        let value = self.value(key);
        let wrong = || self.wrong(key, "a length of time such as \"90s\"");
        value.map(|value| duration_of(&value).ok_or_else(wrong)).transpose()
    }

    /// Returns an array; a single value counts as one of one.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<Dynamic> {
        match self.value(key) {
            None => Vec::new(),
            Some(value) => value.clone().try_cast::<rhai::Array>().unwrap_or_else(|| vec![value]),
        }
    }

    /// Returns an array of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Failure> {
        let texts = self.list(key).into_iter().map(Dynamic::into_string);
        texts.collect::<Result<_, _>>().map_err(|_| self.wrong(key, "an array of texts"))
    }

    /// Makes the failure for a value of the wrong type.
    pub(super) fn wrong(&self, key: &str, wanted: &str) -> Failure {
        invalid(format!("{} wants {wanted} as `{key}`", self.words))
    }

    /// Refuses keys that nobody asked for.
    pub(super) fn end(self) -> Result<(), Failure> {
        match self.map.keys().find(|key| !self.known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let near = did_you_mean(key, self.known.iter().copied());
                let hint = near.map(|near| format!("; {near}"));
                Err(invalid(format!("{} has no key `{key}`{}", self.words, hint.unwrap_or_default())))
            }
        }
    }
}
