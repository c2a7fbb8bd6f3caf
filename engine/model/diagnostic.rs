//! A finding about a runbook: what is wrong, where, and what to do about it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The runbook cannot run, or would fail.
    Error,
    /// The runbook can run, but probably does not do what it says.
    Warning,
}

/// One finding, with everything a reader needs to see it in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// A stable name for tools, such as `unknown-function`.
    pub code: Cow<'static, str>,
    /// One sentence: lower case, no final period, names in backticks.
    pub message: String,
    /// The path of the script, relative to the project; empty when the finding is about no file.
    pub file: String,
    /// The line, from 1; 0 when there is no position.
    pub line: usize,
    /// The column in characters, from 1; 0 when the finding is about a whole line.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub length: usize,
    /// The text of the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where the failing function was called from, innermost first; empty for findings of the check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Frame>,
}

/// One call on the way to a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The path of the script that holds the call.
    pub file: String,
    /// The line of the call, from 1; 0 when unknown.
    pub line: usize,
    /// The column of the call in characters, from 1; 0 when unknown.
    pub column: usize,
    /// The function that was called.
    pub function: String,
}

impl Diagnostic {
    /// Begins an error without a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: code.into(),
            message: message.into(),
            file: String::new(),
            line: 0,
            column: 0,
            length: 1,
            source_line: None,
            hint: None,
            frames: Vec::new(),
        }
    }

    /// Begins a warning without a place.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Puts it at a place of a script and keeps the text of that line.
    ///
    /// `line` and `column` count from 1; `source` is the whole text of the script.
    #[must_use]
    pub fn at(mut self, file: &str, source: &str, line: usize, column: usize, length: usize) -> Self {
        file.clone_into(&mut self.file);
        self.line = line;
        self.column = column;
        self.length = length.max(1);
        self.source_line = line.checked_sub(1).and_then(|index| source.lines().nth(index)).map(str::to_owned);
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do, when there is something to say.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Whether it stops the runbook from running.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_line_it_is_about() {
        let found = Diagnostic::error("x", "y").at("a.rhai", "one\ntwo\n", 2, 1, 0);
        assert_eq!(found.source_line.as_deref(), Some("two"));
        assert_eq!(found.length, 1);
        assert_eq!(Diagnostic::error("x", "y").at("a.rhai", "one", 9, 1, 1).source_line, None);
        assert_eq!(Diagnostic::error("x", "y").at("a.rhai", "one", 0, 0, 1).source_line, None);
    }

    #[test]
    fn serialises_without_empty_parts() {
        let json = serde_json::to_value(Diagnostic::warning("x", "y")).expect("plain data");
        assert_eq!(json["severity"], "warning");
        assert!(json.get("frames").is_none() && json.get("hint").is_none());
    }
}
