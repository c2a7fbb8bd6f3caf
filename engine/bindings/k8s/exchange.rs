//! One request to a cluster as the effects ask it: with tries after what passes, and refusals in words.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::bindings::retry::{Again, Tries};
use crate::gate::Permit;
use crate::gate::permit::invalid;
use crate::model::event::Failure;
use crate::model::k8s::{Catalog, Resource, Status, UnknownKind, owner};
use crate::world::http::status_words;
use crate::world::k8s::{Reply, Request};

/// How long one exchange may take: the API server ends its own after a minute.
const TIMEOUT: Duration = Duration::from_secs(65);
/// How long tries after a passing trouble go on.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause before the second try.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes of an answer: lists of everything in a big cluster fit.
const MAX_BYTES: usize = 256 << 20;

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) cluster: &'a str,
    pub(super) method: &'static str,
    pub(super) path: String,
    /// Type and body.
    pub(super) body: Option<(&'static str, Arc<Zeroizing<Vec<u8>>>)>,
    /// Whether to ask again is harmless.
    pub(super) is_repeatable: bool,
    /// Whether the asker deals with a server in trouble itself.
    pub(super) is_once: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn get(cluster: &'a str, path: String) -> Self {
        Self { cluster, method: "GET", path, body: None, is_repeatable: true, is_once: false }
    }

    /// Sends JSON, which may hold secrets; to do so twice is harmless.
    pub(super) fn json(
        cluster: &'a str,
        method: &'static str,
        path: String,
        content_type: &'static str,
        body: &Value,
    ) -> Self {
        let bytes = Arc::new(Zeroizing::new(body.to_string().into_bytes()));
        Self { method, body: Some((content_type, bytes)), ..Self::get(cluster, path) }
    }

    /// Asks; what only passes is waited for.
    pub(super) async fn send(self, permit: &Permit<'_>) -> Result<Reply, Failure> {
        let (content_type, body) = self.body.unwrap_or(("application/json", Arc::default()));
        let request = Request {
            method: self.method,
            path: self.path,
            content_type,
            accept: "application/json",
            body,
            max_bytes: MAX_BYTES,
            timeout: TIMEOUT,
        };
        let mut tries = Tries::new(permit, if self.is_once { 1 } else { u32::MAX }, PAUSE, PATIENCE);
        loop {
            let tried = permit.k8s(self.cluster, request.clone()).await;
            let again = match &tried {
                Ok(reply) if passes(reply) && (self.is_repeatable || reply.status == 429) => {
                    Some(Again::answered(reply.status, reply.retry_after.as_deref()))
                }
                Err(failure) if failure.kind == "refused" || failure.kind == "lost" && self.is_repeatable => {
                    Some(Again::failed(failure))
                }
                Ok(_) | Err(_) => None,
            };
            if !tries.wait(again).await? {
                return tried.map_err(|failure| tries.told(failure));
            }
        }
    }

    /// Asks, and reads the object or list that comes back; any other status than success is a failure.
    pub(super) async fn object(self, permit: &Permit<'_>, what: &str) -> Result<Value, Failure> {
        let cluster = self.cluster;
        let reply = self.send(permit).await?;
        if !(200..300).contains(&reply.status) {
            return Err(refusal(cluster, what, &reply));
        }
        parsed(cluster, what, &reply)
    }

    /// The same, where the object may be missing.
    pub(super) async fn found(self, permit: &Permit<'_>, what: &str) -> Result<Option<Value>, Failure> {
        let cluster = self.cluster;
        let reply = self.send(permit).await?;
        match reply.status {
            404 if is_absent(&reply) => Ok(None),
            200..300 => parsed(cluster, what, &reply).map(Some),
            _ => Err(refusal(cluster, what, &reply)),
        }
    }
}

/// Reads an answer as JSON.
pub(super) fn parsed(cluster: &str, what: &str, reply: &Reply) -> Result<Value, Failure> {
    serde_json::from_slice(&reply.body).map_err(|error| Failure {
        kind: "protocol".to_owned(),
        ..invalid(format!("cluster `{cluster}`: {what}: the answer is not JSON: {error}"))
    })
}

/// Whether the API server says that something is not there. A path that it does not serve, or what a proxy says, is no such answer.
pub(super) fn is_absent(reply: &Reply) -> bool {
    reply.status == 404 && Status::read(&reply.body).reason == "NotFound"
}

/// Refuses what another program would put back, unless it is told to.
pub(super) fn refuse_owned(
    cluster: &str,
    what: &str,
    live: &Value,
    take_over: bool,
    instead: &str,
) -> Result<(), Failure> {
    match owner(live).filter(|_| !take_over) {
        None => Ok(()),
        Some(owner) => {
            let message = format!(
                "cluster `{cluster}`: {what} belongs to {owner}, {instead}, or say `take_over: true`"
            );
            Err(Failure { kind: "owned".to_owned(), ..invalid(message) })
        }
    }
}

/// Whether an answer is one of a server in trouble, and not about the request.
fn passes(reply: &Reply) -> bool {
    match reply.status {
        429 | 502..=504 => true,
        // The store behind the API server has no status of its own.
        500 => {
            let status = Status::read(&reply.body);
            status.message.starts_with("etcdserver:") || status.reason == "ServerTimeout"
        }
        409 => {
            let status = Status::read(&reply.body);
            status.reason == "Conflict" && !status.is_field_conflict() && status.causes().is_empty()
        }
        _ => false,
    }
}

/// Makes a failure of a refusal, by what an operator can do about it.
pub(super) fn refusal(cluster: &str, what: &str, reply: &Reply) -> Failure {
    let status = Status::read(&reply.body);
    let sentence = status.sentence();
    let (kind, message) = match reply.status {
        401 => ("unauthorized", "the login is not accepted: has its token expired?".to_owned()),
        403 => ("forbidden", sentence),
        404 => ("not_found", sentence),
        409 if status.is_field_conflict() => ("conflict", conflict(&status)),
        409 => ("conflict", sentence),
        413 => ("too_large", format!("larger than the API server takes: {sentence}")),
        422 => ("rejected", rejected(&status)),
        429 | 502..=504 => ("unavailable", format!("{} {sentence}", reply.status)),
        // What a server-side apply finds wrong with a field comes as an error of the server's own.
        400 | 500 => ("rejected", sentence),
        other => ("status", format!("{other} {}: {sentence}", status_words(other))),
    };
    let causes: Vec<Value> = status
        .causes()
        .iter()
        .map(|cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field }))
        .collect();
    Failure {
        kind: kind.to_owned(),
        message: format!("cluster `{cluster}`: {what}: {message}"),
        details: json!({
            "fault": kind, "status": reply.status, "cause": status.reason, "causes": causes,
        }),
        ..invalid(String::new())
    }
}

/// Names the managers of the fields and the fields.
fn conflict(status: &Status) -> String {
    let mut of: Vec<(String, Vec<&str>)> = Vec::new();
    for cause in status.causes() {
        let manager = cause.message.split('"').nth(1).unwrap_or(&cause.message).to_owned();
        match of.iter_mut().find(|(known, _)| *known == manager) {
            Some((_, fields)) => fields.push(&cause.field),
            None => of.push((manager, vec![&cause.field])),
        }
    }
    let told = of.iter().map(|(manager, fields)| {
        let more = fields.len().saturating_sub(5);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let first = fields.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        format!("`{manager}` owns {first}{more}")
    });
    let told = told.collect::<Vec<_>>().join("; ");
    format!("{told}; leave these fields out, or take them over with `force: true`")
}

/// Names the fields that a schema or a rule refuses; the server's own sentence may dump a whole object.
fn rejected(status: &Status) -> String {
    let causes: Vec<String> = status
        .causes()
        .iter()
        .take(5)
        .map(|cause| {
            let message = Status::of(String::new(), cause.message.clone()).sentence();
            if cause.field.is_empty() { message } else { format!("{}: {message}", cause.field) }
        })
        .collect();
    if causes.is_empty() { status.sentence() } else { causes.join("; ") }
}

/// Finds a kind among those that the cluster serves; one that is not there may have come since they were asked for.
pub(super) async fn kind(
    permit: &Permit<'_>,
    cluster: &str,
    find: impl Fn(&Catalog) -> Result<Resource, UnknownKind>,
) -> Result<Result<Resource, UnknownKind>, Failure> {
    let mut fresh = false;
    loop {
        let catalog = match permit.k8s_catalog(cluster, fresh).await? {
            Ok(catalog) => catalog,
            Err(reply) => return Err(refusal(cluster, "discovery", &reply)),
        };
        match find(&catalog) {
            Ok(resource) => return Ok(Ok(resource)),
            Err(_) if !fresh => fresh = true,
            Err(unknown) => return Ok(Err(unknown)),
        }
    }
}

/// Finds a kind as a script names it.
pub(super) async fn kind_of_script(
    permit: &Permit<'_>,
    cluster: &str,
    text: &str,
) -> Result<Resource, Failure> {
    let found = kind(permit, cluster, |catalog| catalog.of_script(text).cloned()).await?;
    found.map_err(|unknown| unknown_kind(cluster, &unknown))
}

pub(super) fn unknown_kind(cluster: &str, unknown: &UnknownKind) -> Failure {
    Failure { kind: "unknown_kind".to_owned(), ..invalid(format!("cluster `{cluster}`: {unknown}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, warnings: Vec::new(), retry_after: None, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn only_the_api_server_says_that_something_is_not_there() {
        let absent =
            r#"{"kind":"Status","reason":"NotFound","message":"configmaps \"c\" not found","code":404}"#;
        for (status, body, expected) in [
            (404, absent, true),
            (404, "404 page not found", false),
            (404, "<html>", false),
            (403, absent, false),
        ] {
            assert_eq!(is_absent(&reply(status, body)), expected, "{status} {body}");
        }
    }

    #[test]
    fn refusals_have_kinds() {
        for (status, kind) in [
            (401, "unauthorized"),
            (403, "forbidden"),
            (404, "not_found"),
            (409, "conflict"),
            (413, "too_large"),
            (422, "rejected"),
            (500, "rejected"),
            (503, "unavailable"),
            (418, "status"),
        ] {
            let failure = refusal("nl", "Deployment web/shop", &reply(status, "no"));
            assert_eq!(failure.kind, kind, "{status}");
            assert!(
                failure.message.starts_with("cluster `nl`: Deployment web/shop: "),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn a_conflict_names_each_manager_once() {
        let body = r#"{"kind":"Status","reason":"Conflict","details":{"causes":[
            {"reason":"FieldManagerConflict","message":"conflict with \"helm\" using v1","field":".data.a"},
            {"reason":"FieldManagerConflict","message":"conflict with \"helm\" using v1","field":".data.b"},
            {"reason":"FieldManagerConflict","message":"conflict with \"kubectl\"","field":".data.c"}]}}"#;
        let failure = refusal("nl", "x", &reply(409, body));
        let says = "`helm` owns .data.a, .data.b; `kubectl` owns .data.c; leave these fields out";
        assert!(failure.message.contains(says), "{}", failure.message);
        assert!(!passes(&reply(409, body)));
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let permanent =
            r#"{"kind":"Status","reason":"","message":"failed to create typed patch object","code":500}"#;
        let passing = r#"{"kind":"Status","message":"etcdserver: leader changed","code":500}"#;
        let moved = r#"{"kind":"Status","reason":"Conflict","message":"the object has been modified"}"#;
        let exists = r#"{"kind":"Status","reason":"AlreadyExists"}"#;
        for (status, body, expected) in [
            (500, permanent, false),
            (500, passing, true),
            (503, "", true),
            (429, "", true),
            (409, moved, true),
            (409, exists, false),
            (403, "", false),
        ] {
            assert_eq!(passes(&reply(status, body)), expected, "{status} {body}");
        }
    }
}
