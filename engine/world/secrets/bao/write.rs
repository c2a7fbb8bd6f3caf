//! Writes to a path of KV 2, over the version that was looked at and no other.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::config::{Config, Kv};
use super::error::Error;
use super::read::{mount, refused};
use super::session::Session;

/// What stands at a path, to be compared and written over.
pub struct Stored {
    /// The newest version, also where it was deleted; 0 where there never was one.
    pub version: u64,
    /// The fields of that version.
    pub fields: Map<String, Value>,
}

/// Reads a path with all its fields; one that is not there has none.
pub(super) async fn look(session: &Arc<Session>, config: &Config, whole: &str) -> Result<Stored, Error> {
    let (path, is_assumed) = place(session, config, whole).await?;
    let (mut answer, _) = session.call("GET", &path, None).await?;
    let metadata = &answer.data["metadata"];
    let version = metadata["version"].as_u64();
    if is_assumed && answer.status != 200 && !metadata.is_object() {
        // Whoever is logged in can ask what is mounted there.
        session.log_in_from_here().await;
        return Box::pin(look(session, config, whole)).await;
    }
    match (answer.status, answer.data["data"].take(), version) {
        (200, Value::Object(fields), Some(version)) => Ok(Stored { version, fields }),
        (404, Value::Null, Some(version)) => Ok(Stored { version, fields: Map::new() }),
        (404, Value::Null, None) if answer.words().is_empty() => {
            Ok(Stored { version: 0, fields: Map::new() })
        }
        (200, ..) => Err(Error::Lacks { path, lacks: "data.data" }),
        (status, ..) => Err(refused(status, "read", "read", path, answer.words())),
    }
}

/// Writes all fields of a path, if this is still its newest version; returns the new one.
pub(super) async fn write(
    session: &Arc<Session>,
    config: &Config,
    whole: &str,
    fields: Map<String, Value>,
    version: u64,
) -> Result<u64, Error> {
    let (path, _) = place(session, config, whole).await?;
    let body = json!({ "data": fields, "options": { "cas": version } });
    let (answer, _) = session.call("POST", &path, Some(&body)).await?;
    match (answer.status, answer.data["version"].as_u64()) {
        (200, Some(version)) => Ok(version),
        (200 | 204, None) => Err(Error::Lacks { path, lacks: "data.version" }),
        (400, _) if answer.words().contains("check-and-set") => Err(Error::Overtaken { path, version }),
        (status, _) => {
            let capability = if version == 0 { "create" } else { "update" };
            Err(refused(status, "write", capability, path, answer.words()))
        }
    }
}

/// Returns the path as KV 2 has it, and whether that it is KV 2 is only likely.
async fn place(session: &Arc<Session>, config: &Config, whole: &str) -> Result<(String, bool), Error> {
    let mount = mount(session, config, whole).await?;
    if mount.kv != Some(Kv::Two) {
        return Err(Error::NoVersions(whole.to_owned()));
    }
    let rest = whole.strip_prefix(&mount.path).unwrap_or_default().trim_start_matches('/');
    Ok((format!("{}/data/{rest}", mount.path), mount.is_assumed))
}
