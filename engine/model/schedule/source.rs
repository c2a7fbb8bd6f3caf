//! A YAML text whose errors point at the value that is wrong.

use std::collections::BTreeMap;

use crate::model::diagnostic::Diagnostic;
use crate::model::yaml::{self, Booleans, Content, Node};

use super::cron::CronError;
use super::zone::ZoneError;

/// A YAML text with the places of its values.
#[derive(Debug, Clone)]
pub(in crate::model) struct Source<'a> {
    text: &'a str,
    file: &'a str,
    root: Node,
}

impl<'a> Source<'a> {
    /// Reads a text; what is no YAML at all is an error.
    pub(in crate::model) fn new(text: &'a str, file: &'a str) -> Result<Self, Diagnostic> {
        match yaml::parse(text, file, Booleans::Strict) {
            Ok(root) => Ok(Self { text, file, root }),
            Err(error) => Err(diagnostic(text, &error)),
        }
    }

    /// Returns the tree.
    pub(in crate::model) fn root(&self) -> &Node {
        &self.root
    }

    /// Returns where a value stands: line and column, from 1; keys and indices lead to it, as far as they exist.
    pub(in crate::model) fn place(&self, path: &[&str]) -> (usize, usize) {
        let mut node = &self.root;
        let mut place = (node.line as usize, node.column as usize);
        for part in path {
            let next = match &node.content {
                Content::Map(entries) => {
                    entries.iter().find(|(key, _)| key.text == *part).map(|(key, value)| {
                        // Nothing stands nowhere: its key does.
                        let (line, column) =
                            if value.is_null() { (key.line, key.column) } else { (value.line, value.column) };
                        place = (line as usize, column as usize);
                        value
                    })
                }
                Content::List(items) => {
                    part.parse().ok().and_then(|index: usize| items.get(index)).inspect(|item| {
                        place = (item.line as usize, item.column as usize);
                    })
                }
                Content::Scalar(_) => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        place
    }

    /// Returns where the values of a mapping stand, by key.
    pub(in crate::model) fn keys(&self, path: &[&str]) -> BTreeMap<String, (usize, usize)> {
        let mut node = &self.root;
        for part in path {
            let Content::Map(entries) = &node.content else { return BTreeMap::new() };
            let Some((_, next)) = entries.iter().find(|(key, _)| key.text == *part) else {
                return BTreeMap::new();
            };
            node = next;
        }
        let Content::Map(entries) = &node.content else { return BTreeMap::new() };
        entries
            .iter()
            .map(|(key, value)| (key.text.clone(), (value.line as usize, value.column as usize)))
            .collect()
    }

    /// Makes an error about a value.
    pub(in crate::model) fn error(
        &self,
        path: &[&str],
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        let (line, column) = self.place(path);
        Diagnostic::error(code, message).at(self.file, self.text, line, column, 1)
    }

    /// Makes an error of what the YAML reader says.
    pub(in crate::model) fn yaml(&self, error: &yaml::Error) -> Diagnostic {
        diagnostic(self.text, error)
    }

    /// Makes an error about a cron entry, at the place inside of it.
    pub(in crate::model) fn cron(&self, path: &[&str], error: &CronError) -> Diagnostic {
        let (line, column) = self.place(path);
        let quoted = self
            .text
            .lines()
            .nth(line.saturating_sub(1))
            .and_then(|text| text.chars().nth(column.saturating_sub(1)));
        let inside = column + usize::from(matches!(quoted, Some('"' | '\''))) + error.column - 1;
        Diagnostic::error("cron", error.to_string())
            .at(self.file, self.text, line, inside, error.length)
            .maybe_hint(error.hint.clone())
    }

    /// Makes an error about a time zone.
    pub(in crate::model) fn zone(&self, path: &[&str], error: &ZoneError) -> Diagnostic {
        let hint = match &error.near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write a name such as `Europe/Amsterdam` or `UTC`".to_owned(),
        };
        self.error(path, "time-zone", error.to_string()).hint(hint)
    }
}

fn diagnostic(text: &str, error: &yaml::Error) -> Diagnostic {
    Diagnostic::error("yaml", error.message.clone())
        .at(&error.file, text, error.line as usize, error.column as usize, 1)
        .maybe_hint(error.hint.clone())
}
