//! What the API server says when it refuses.

use serde::Deserialize;
use serde_json::Value;

/// The parts of a `Status` that help.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The server's sentence.
    pub message: String,
    /// A word for programs, such as `Conflict`; empty for some errors of the server's own.
    pub reason: String,
    /// What exactly is wrong, for some reasons.
    details: Details,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// A word for programs, such as `FieldManagerConflict`.
    pub reason: String,
    /// The server's sentence.
    pub message: String,
    /// Where in the object.
    pub field: String,
}

/// Characters of a message that are told: some dump a whole object.
const LONGEST: usize = 600;

impl Status {
    /// Makes one of what another reader found in it.
    pub fn of(reason: String, message: String) -> Self {
        Self { message, reason, details: Details::default() }
    }

    /// Reads an answer's body; what is no `Status` is taken as a sentence (a server that is starting, a proxy).
    pub fn read(body: &[u8]) -> Self {
        let parsed = serde_json::from_slice::<Value>(body).ok().filter(|value| value["kind"] == "Status");
        let parsed = parsed.and_then(|value| serde_json::from_value::<Self>(without_nulls(value)).ok());
        parsed.unwrap_or_else(|| Self {
            message: String::from_utf8_lossy(body).trim().to_owned(),
            ..Self::default()
        })
    }

    /// Returns the causes.
    pub fn causes(&self) -> &[Cause] {
        &self.details.causes
    }

    /// Whether fields belong to another manager: the one conflict that trying again does not solve.
    pub fn is_field_conflict(&self) -> bool {
        self.causes().iter().any(|cause| cause.reason == "FieldManagerConflict")
    }

    /// Returns the message without what would only fill the screen.
    pub fn sentence(&self) -> String {
        let line = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut short: String = line.chars().take(LONGEST).collect();
        if short.len() < line.len() {
            short.push('…');
        }
        short
    }
}

/// A field may be there and null, which serde's defaults do not cover.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            fields.map(|(key, value)| (key, without_nulls(value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_manager_and_field() {
        let body = br#"{"kind":"Status","status":"Failure","message":"Apply failed with 1 conflict","reason":"Conflict",
            "details":{"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"helm\"","field":".data.b"}]},"code":409}"#;
        let status = Status::read(body);
        assert!(status.is_field_conflict());
        assert_eq!(status.causes()[0].field, ".data.b");
        assert_eq!(status.reason, "Conflict");
    }

    #[test]
    fn anything_else_is_a_sentence() {
        assert_eq!(Status::read(b"404 page not found\n").message, "404 page not found");
        assert_eq!(Status::read(b"{\"kind\":\"Status\",\"details\":null,\"message\":\"no\"}").message, "no");
        let long = Status { message: "x ".repeat(5000), ..Status::default() };
        assert_eq!(long.sentence().chars().count(), LONGEST + 1);
    }
}
