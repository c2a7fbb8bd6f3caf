//! Reads a path: finds its mount, knows both versions of KV, takes fields out of what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::client::{Answer, Proof};
use super::config::{Config, Kv};
use super::error::Error;
use super::session::Session;

/// What stands at a path.
pub(super) struct Document {
    /// The path, as the server's policies name it.
    pub(super) path: String,
    fields: BTreeMap<String, Field>,
    /// Which version, for KV 2.
    pub(super) version: Option<u64>,
}

/// What a field holds.
enum Field {
    Text(Zeroizing<Vec<u8>>),
    Json(Zeroizing<Vec<u8>>, &'static str),
    Nothing,
}

/// The value of a field.
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    /// What it is in JSON, if it is no text.
    pub(super) form: Option<&'static str>,
}

/// The engine that a path belongs to.
#[derive(Clone)]
pub(super) struct Mount {
    pub(super) path: String,
    pub(super) kv: Option<Kv>,
    /// Whether that is only likely.
    pub(super) is_assumed: bool,
}

impl Document {
    fn new(path: String, fields: Map<String, Value>, version: Option<u64>) -> Self {
        let fields = fields.into_iter().map(|(name, value)| {
            let field = match value {
                Value::Null => Field::Nothing,
                Value::String(text) if text.is_empty() => Field::Nothing,
                Value::String(text) => Field::Text(Zeroizing::new(text.into_bytes())),
                other => Field::Json(Zeroizing::new(other.to_string().into_bytes()), form(&other)),
            };
            (name, field)
        });
        Self { path, fields: fields.collect(), version }
    }

    /// Takes a field; numbers, lists and the like as their JSON text.
    pub(super) fn field(&self, name: &str) -> Result<Found, Error> {
        let (path, field) = (self.path.clone(), name.to_owned());
        match self.fields.get(name) {
            Some(Field::Text(bytes)) => Ok(Found { bytes: bytes.to_vec(), form: None }),
            Some(Field::Json(bytes, form)) => Ok(Found { bytes: bytes.to_vec(), form: Some(form) }),
            Some(Field::Nothing) => Err(Error::Null { path, field }),
            None => Err(Error::NoField { path, field, known: self.fields.keys().cloned().collect() }),
        }
    }
}

fn form(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Puts mount and prefix before a path that does not begin with `/`.
pub(super) fn whole_path(config: &Config, path: &str) -> Result<String, Error> {
    let parts = match path.strip_prefix('/') {
        Some(path) => vec![path],
        None => {
            [config.mount.as_deref(), config.prefix.as_deref(), Some(path)].into_iter().flatten().collect()
        }
    };
    let whole = parts
        .into_iter()
        .map(|part| part.trim_matches('/'))
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/");
    let is_right = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(char::is_control);
    if whole.split('/').all(is_right) { Ok(whole) } else { Err(Error::Path(path.to_owned())) }
}

/// Reads a path, or writes to it where there is something to send.
pub(super) async fn read(
    session: &Arc<Session>,
    config: &Config,
    whole: &str,
    with: Option<&Map<String, Value>>,
) -> Result<Document, Error> {
    if let Some(with) = with {
        let body = Value::Object(with.clone());
        let (answer, proof) = session.call("POST", whole, Some(&body)).await?;
        return dynamic(session, whole, answer, &proof, ("write to", "update"));
    }
    let mount = mount(session, config, whole).await?;
    let rest = whole.strip_prefix(&mount.path).unwrap_or_default().trim_start_matches('/');
    match mount.kv {
        None | Some(Kv::One) => {
            let (answer, proof) = session.call("GET", whole, None).await?;
            dynamic(session, whole, answer, &proof, ("read", "read"))
        }
        Some(Kv::Two) => {
            let path = format!("{}/data/{rest}", mount.path);
            let (answer, _) = session.call("GET", &path, None).await?;
            if mount.is_assumed && answer.status != 200 && !answer.data["metadata"].is_object() {
                // Whoever is logged in can ask what is mounted there.
                session.log_in_from_here().await;
                return Box::pin(read(session, config, whole, with)).await;
            }
            versioned(path, answer)
        }
    }
}

/// Finds the engine of a path, by asking where it may be asked.
pub(super) async fn mount(session: &Arc<Session>, config: &Config, whole: &str) -> Result<Mount, Error> {
    let configured = config.mount.as_deref().map(|mount| mount.trim_matches('/'));
    let configured =
        configured.filter(|mount| whole.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/')));
    if let (Some(path), Some(kv)) = (configured, config.kv) {
        return Ok(Mount { path: path.to_owned(), kv: Some(kv), is_assumed: false });
    }
    let first = whole.split('/').next().unwrap_or_default();
    if session.is_inline().await {
        // The path that tells mounts takes no such login; KV 2 is what a new mount of KV is.
        let path = configured.unwrap_or(first).to_owned();
        return Ok(Mount { path, kv: Some(config.kv.unwrap_or(Kv::Two)), is_assumed: true });
    }
    let is_below = |mount: &&Mount| whole.strip_prefix(&mount.path).is_some_and(|rest| rest.starts_with('/'));
    if let Some(mount) = session.mounts.lock().iter().find(is_below) {
        return Ok(mount.clone());
    }
    let path = format!("sys/internal/ui/mounts/{whole}");
    let (answer, _) = session.call("GET", &path, None).await?;
    match answer.status {
        200 => {}
        403 => return Err(Error::NoMount(configured.unwrap_or(first).to_owned())),
        status => return Err(Error::Refused { status, verb: "read", path, words: answer.words() }),
    }
    let Some(found) = answer.data["path"].as_str() else { return Err(Error::Lacks { path, lacks: "path" }) };
    let kv = match answer.data["type"].as_str() {
        Some("kv" | "generic") if answer.data["options"]["version"] == "2" => Some(Kv::Two),
        Some("kv" | "generic") => Some(Kv::One),
        Some(_) | None => None,
    };
    let mount = Mount { path: found.trim_end_matches('/').to_owned(), kv, is_assumed: false };
    session.mounts.lock().push(mount.clone());
    Ok(mount)
}

/// Takes an answer that may come with a lease.
fn dynamic(
    session: &Arc<Session>,
    path: &str,
    answer: Answer,
    proof: &Proof,
    (verb, capability): (&'static str, &'static str),
) -> Result<Document, Error> {
    // Before anything can fail: the server has it already.
    if !answer.lease_id.is_empty() {
        session.lease(&answer, proof);
    }
    let words = answer.words();
    match (answer.status, answer.data) {
        (200, Value::Object(fields)) => Ok(Document::new(path.to_owned(), fields, None)),
        (200 | 204, _) => Err(Error::Lacks { path: path.to_owned(), lacks: "data" }),
        (status, _) => Err(refused(status, verb, capability, path.to_owned(), words)),
    }
}

fn versioned(path: String, mut answer: Answer) -> Result<Document, Error> {
    let metadata = &answer.data["metadata"];
    let version = metadata["version"].as_u64();
    let deleted = metadata["deletion_time"].as_str().filter(|at| !at.is_empty()).map(str::to_owned);
    let is_destroyed = metadata["destroyed"].as_bool().unwrap_or(false);
    let data = answer.data["data"].take();
    match (answer.status, data) {
        (200, Value::Object(fields)) => Ok(Document::new(path, fields, version)),
        (404, Value::Null) if is_destroyed => {
            Err(Error::Destroyed { path, version: version.unwrap_or_default() })
        }
        (404, Value::Null) if let Some(at) = deleted => {
            Err(Error::Deleted { path, version: version.unwrap_or_default(), at })
        }
        (200, _) => Err(Error::Lacks { path, lacks: "data.data" }),
        (status, _) => Err(refused(status, "read", "read", path, answer.words())),
    }
}

pub(super) fn refused(
    status: u16,
    verb: &'static str,
    capability: &'static str,
    path: String,
    words: String,
) -> Error {
    match status {
        403 => Error::Denied { verb: capability, path },
        404 if words.contains("no handler for route") => Error::NoMount(path),
        404 if words.is_empty() => Error::NoPath(path),
        status => Error::Refused { status, verb, path, words },
    }
}
