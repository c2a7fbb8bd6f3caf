//! One question, below `/api/v4/`.

use serde_json::Value;

/// One question.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The method, in upper case.
    pub method: &'static str,
    /// Below `/api/v4/`, escaped.
    pub path: String,
    /// The query.
    pub query: Vec<(&'static str, String)>,
    /// The body.
    pub body: Option<Value>,
}

impl Ask {
    /// Asks without changing anything.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), query: Vec::new(), body: None }
    }

    /// Makes something.
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: "POST", body: Some(body), ..Self::get(path) }
    }

    /// Changes something.
    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { method: "PUT", body: Some(body), ..Self::get(path) }
    }

    /// Adds to the query.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Whether it does the same when it is done twice.
    pub fn is_safe_twice(&self) -> bool {
        matches!(self.method, "GET" | "PUT")
    }
}

/// Returns the path of a project, by its own path or its number.
pub(super) fn project(name: &str, rest: &str) -> String {
    format!("projects/{}/{rest}", escaped(name))
}

/// Escapes one part of a path; a `/` in it, too.
pub fn escaped(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => text.push(byte as char),
            // Alone, dots would be another folder.
            b'.' if part.bytes().any(|byte| byte != b'.') => text.push('.'),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_part_of_the_path() {
        for (part, expected) in [
            ("infra/nl", "infra%2Fnl"),
            ("..", "%2E%2E"),
            ("a.b", "a.b"),
            ("a?b#c", "a%3Fb%23c"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(escaped(part), expected);
        }
    }
}
