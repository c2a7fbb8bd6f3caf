//! An answer: what is recorded of it, what the script gets, and what of it is secret.

use std::collections::BTreeMap;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cookies::{after, values};
use super::request::Request;
use crate::bindings::value::{SecretValue, to_dynamic};
use crate::bindings::{Outcome, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Captured, Kept, Permit};
use crate::model::event::Failure;
use crate::model::secret::{Secret, SecretName};
use crate::world::http::{Reply, status_words};

/// The recorded answer; its body is kept beside the events.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Where it came from after redirects: without query.
    pub(super) url: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) ms: u64,
    /// Why it was tried again, once for each time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) again: Vec<String>,
    pub(super) body: Captured,
    /// What to send as `Cookie` from here on; never recorded.
    #[serde(skip)]
    cookies: Option<Secret>,
}

impl Answer {
    /// Makes what a plan may assume.
    pub(super) fn assumed(status: u16, url: String, data: Vec<u8>) -> Self {
        let body = Captured { bytes: data.len() as u64, truncated: false, data };
        Self { status, url, headers: BTreeMap::new(), ms: 0, again: Vec::new(), body, cookies: None }
    }

    /// Takes a reply: learns its secrets, and only then keeps its body.
    pub(super) async fn keep(
        permit: &Permit<'_>,
        request: &Request,
        reply: Reply,
        url: String,
    ) -> Result<Self, Failure> {
        if !request.secrets.is_empty()
            && let Ok(value) = serde_json::from_slice::<Value>(&reply.body)
        {
            for pointer in &request.secrets {
                if let Some(below) = value.pointer(pointer) {
                    learn(permit, pointer, below)?;
                }
            }
        }
        let cookies = if request.wants_cookies { cookies(permit, request, &reply)? } else { None };
        permit.keep("out", &reply.body).await?;
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        // A cookie is a credential.
        for (name, value) in reply.headers.into_iter().filter(|(name, _)| name != "set-cookie") {
            headers
                .entry(name)
                .and_modify(|known| {
                    known.push_str(", ");
                    known.push_str(&value);
                })
                .or_insert_with(|| value.clone());
        }
        let body = Captured { bytes: reply.body.len() as u64, truncated: false, data: reply.body };
        Ok(Self { status: reply.status, url, headers, ms: 0, again: Vec::new(), body, cookies })
    }

    /// Returns what a script may see of the body as text.
    fn text(&self, request: &Request, redact: &dyn Fn(&str) -> String) -> String {
        let text = self.body.text();
        if request.secrets.is_empty() { text } else { redact(&text) }
    }

    /// Turns a status that nobody expected into a failure.
    pub(super) fn judge(self, request: &Request, permit: &Permit<'_>) -> Result<Self, Failure> {
        if request.accepts.covers(self.status) {
            return Ok(self);
        }
        let text = self.text(request, &|text| permit.redact(text));
        let first: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
        let first: String = first.join(" / ").chars().take(200).collect();
        let mut message =
            format!("{} {}: {} {}", request.method, self.url, self.status, status_words(self.status));
        if let Some(to) = self.headers.get("location").filter(|_| (300..400).contains(&self.status)) {
            // A query may hold what is secret.
            message.push_str(&format!(" to `{}`", to.split(['?', '#']).next().unwrap_or_default()));
        }
        if !first.is_empty() {
            message.push_str(&format!(": {}", permit.redact(&first)));
        }
        if !self.again.is_empty() {
            message.push_str(&format!(" (try {})", self.again.len() + 1));
        }
        let body: String = text.chars().take(MOST_IN_FAILURE).collect();
        let details = json!({
            "fault": "status", "status": self.status, "body": body, "headers": self.headers, "url": self.url,
            "attempts": self.again.len() + 1, "again": self.again,
        });
        Err(Failure {
            kind: "status".to_owned(),
            message: message.trim_end().to_owned(),
            details,
            ..invalid(String::new())
        })
    }

    /// Gives a recorded answer its body, and in the place of cookies the mark that is never sent.
    pub(super) fn restore(mut self, request: &Request, kept: &dyn Kept) -> Self {
        if request.wants_cookies && self.cookies.is_none() {
            let name = name_of("/cookies");
            self.cookies = Some(Secret::new(name.clone(), format!("«secret:{name}»").into_bytes()));
        }
        if self.body.bytes > 0 {
            // Names of secrets may be longer than what they stand for.
            self.body.data = kept.stream("out", usize::MAX).unwrap_or_default();
        }
        self
    }

    /// Returns what the script gets.
    pub(super) fn outcome(
        &self,
        request: &Request,
        redact: &dyn Fn(&str) -> String,
        changed: bool,
    ) -> Result<Outcome, Raise> {
        let json = match parsed(&self.body.data) {
            Some(value) => with_secrets(&value, "", &request.secrets)?,
            None => Dynamic::UNIT,
        };
        let mut values: Vec<(&str, Dynamic)> = vec![("json", json)];
        let mut text = String::new();
        if request.wants_bytes {
            values.push(("body", Dynamic::from_blob(self.body.data.clone())));
        } else {
            text = self.text(request, redact);
        }
        if request.wants_cookies {
            values.push((
                "cookies",
                self.cookies.clone().map_or(Dynamic::UNIT, |cookies| Dynamic::from(SecretValue(cookies))),
            ));
        }
        let fields = json!({
            "ok": request.accepts.covers(self.status),
            "status": self.status,
            "headers": self.headers,
            "body": text,
            "json": (),
            "ms": self.ms,
            "url": self.url,
            "attempts": self.again.len() + 1,
            "changed": changed,
        });
        Ok(Outcome::holding(fields, values))
    }
}

/// Puts together what to send from here on, and learns it before anything of the answer is recorded.
fn cookies(permit: &Permit<'_>, request: &Request, reply: &Reply) -> Result<Option<Secret>, Failure> {
    let set = reply.headers.iter().filter(|(name, _)| name == "set-cookie");
    let set: Vec<String> = set.map(|(_, value)| value.clone()).collect();
    let Some(header) = after(&request.cookies()?, &set, permit.now()) else { return Ok(None) };
    for value in values(&header).filter(|value| value.len() >= SESSION) {
        permit.learn(&Secret::new(name_of("/cookies"), value.as_bytes().to_vec()))?;
    }
    let cookies = Secret::new(name_of("/cookies"), header.into_bytes());
    permit.learn(&cookies)?;
    Ok(Some(cookies))
}

/// Characters of a cookie's value that may be an identifier of a session (OWASP: 64 random bits are 16 in hexadecimal): what is
/// shorter is a language or a theme, and to replace it wherever it stands would only damage the log.
const SESSION: usize = 16;

/// Characters of a body that stand in a failure; the log has all of it.
const MOST_IN_FAILURE: usize = 16 << 10;

/// Reads a body that is an object or an array.
fn parsed(body: &[u8]) -> Option<Value> {
    let first = body.trim_ascii_start().first()?;
    // What is neither may be text that only happens to be JSON, such as a number.
    matches!(first, b'{' | b'[').then(|| serde_json::from_slice(body).ok()).flatten()
}

fn learn(permit: &Permit<'_>, pointer: &str, value: &Value) -> Result<(), Failure> {
    for (pointer, text) in leaves(pointer, value) {
        permit.learn(&Secret::new(name_of(&pointer), text.into_bytes()))?;
    }
    Ok(())
}

/// Returns every text and number below a value, with its pointer; what is empty is no secret.
fn leaves(pointer: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Null | Value::Bool(_) => Vec::new(),
        Value::Number(number) => vec![(pointer.to_owned(), number.to_string())],
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => vec![(pointer.to_owned(), text.clone())],
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(index, item)| leaves(&format!("{pointer}/{index}"), item)).collect()
        }
        Value::Object(map) => {
            map.iter().flat_map(|(key, item)| leaves(&format!("{pointer}/{}", escaped(key)), item)).collect()
        }
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Names a secret by its place: `/data/Token` is `answer/data/token`.
fn name_of(pointer: &str) -> SecretName {
    let mut name = "answer".to_owned();
    for segment in pointer.split('/').skip(1) {
        let allowed = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => c,
            _ => '-',
        };
        let segment: String = segment.chars().map(allowed).collect();
        name.push('/');
        if !segment.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            name.push('x');
        }
        name.push_str(&segment);
    }
    SecretName::try_from(name).expect("every segment begins with a letter or digit and holds what is allowed")
}

/// Turns JSON into script values, with secrets where pointers say so.
fn with_secrets(value: &Value, at: &str, secrets: &[String]) -> Result<Dynamic, Raise> {
    if secrets.iter().any(|pointer| pointer == at) {
        return hidden(value, at);
    }
    // Most answers have none.
    if secrets.iter().all(|pointer| !pointer.starts_with(at)) {
        return Ok(to_dynamic(value)?);
    }
    walk(value, at, &|value, at| with_secrets(value, at, secrets))
}

/// Turns JSON into script values in which every text and number is a secret.
fn hidden(value: &Value, at: &str) -> Result<Dynamic, Raise> {
    let text = match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        other => return walk(other, at, &hidden),
    };
    Ok(Dynamic::from(SecretValue(Secret::new(name_of(at), text.into_bytes()))))
}

type Turn<'a> = &'a dyn Fn(&Value, &str) -> Result<Dynamic, Raise>;

fn walk(value: &Value, at: &str, turn: Turn<'_>) -> Result<Dynamic, Raise> {
    match value {
        Value::Array(items) => {
            let items = items.iter().enumerate().map(|(index, item)| turn(item, &format!("{at}/{index}")));
            Ok(Dynamic::from_array(items.collect::<Result<_, _>>()?))
        }
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, item)| Ok((key.as_str().into(), turn(item, &format!("{at}/{}", escaped(key)))?)));
            Ok(Dynamic::from_map(entries.collect::<Result<rhai::Map, Raise>>()?))
        }
        other => Ok(to_dynamic(other)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stand_where_pointers_say() {
        let value = json!({ "a": 1, "t": "token-1", "d": { "x/y": ["token-2", 12345, true, ""] } });
        let secrets = ["/t".to_owned(), "/d/x~1y".to_owned()];
        let turned = with_secrets(&value, "", &secrets).unwrap();
        assert_eq!(
            crate::bindings::json(&turned).unwrap(),
            json!({
                "a": 1, "t": { "$secret": "answer/t" },
                "d": { "x/y": [{ "$secret": "answer/d/x-1y/0" }, { "$secret": "answer/d/x-1y/1" }, true, ""] },
            })
        );
        let all = with_secrets(&json!(["one-long", 2]), "", &[String::new()]).unwrap();
        assert_eq!(
            crate::bindings::json(&all).unwrap(),
            json!([{ "$secret": "answer/0" }, { "$secret": "answer/1" }])
        );
        assert_eq!(name_of("/Größe/-/").to_string(), "answer/gr--e/x-/x");
    }

    #[test]
    fn only_objects_and_arrays_are_json() {
        for (body, is_json) in
            [("{}", true), (" [1]", true), ("7", false), ("{", false), ("", false), ("<p>", false)]
        {
            assert_eq!(parsed(body.as_bytes()).is_some(), is_json, "{body}");
        }
    }
}
