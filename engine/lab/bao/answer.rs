//! What every answer of the store looks like.

use ring::rand::SecureRandom as _;
use serde_json::{Value, json};

/// A status, and what is said with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// The body; nothing for `204`.
    pub(super) body: Option<Value>,
}

/// Answers with data.
pub(super) fn told(data: Value) -> Answer {
    envelope(200, data, Value::Null, Value::Null)
}

/// Answers with all that an envelope may hold.
pub(super) fn envelope(status: u16, data: Value, warnings: Value, auth: Value) -> Answer {
    let body = json!({
        "request_id": id(), "lease_id": "", "renewable": false, "lease_duration": 0, "data": data, "wrap_info": null,
        "warnings": warnings, "auth": auth,
    });
    Answer { status, body: Some(body) }
}

/// Answers with what is wrong.
pub(super) fn errors<T: Into<String>>(status: u16, texts: impl IntoIterator<Item = T>) -> Answer {
    let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
    Answer { status, body: Some(json!({ "errors": texts })) }
}

/// Answers with a status and no reason.
pub(super) fn bare(status: u16) -> Answer {
    Answer { status, body: Some(json!({ "errors": [] })) }
}

/// Makes an identifier that nobody can guess.
pub(in crate::lab) fn id() -> String {
    let mut bytes = [0; 16];
    // Without randomness nothing here would be worth its name; the next request asks again.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    let text = base16ct::lower::encode_string(&bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}
