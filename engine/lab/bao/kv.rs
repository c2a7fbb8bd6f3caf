//! Values by path, each with its versions.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::answer::{bare, envelope, errors, told};

/// How many versions of a path are kept, as OpenBao does.
const KEPT: usize = 10;

/// All values.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Kv {
    paths: BTreeMap<String, BTreeMap<u64, Version>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Version {
    data: Map<String, Value>,
    created: Timestamp,
    deleted: Option<Timestamp>,
}

impl Version {
    fn about(&self, number: u64) -> Value {
        json!({
            "created_time": self.created.to_string(), "custom_metadata": null, "deletion_time": self.deletion(),
            "destroyed": false, "version": number,
        })
    }

    fn deletion(&self) -> String {
        self.deleted.map(|at| at.to_string()).unwrap_or_default()
    }
}

impl Kv {
    pub(super) fn is_known(&self, path: &str) -> bool {
        self.paths.contains_key(path)
    }

    /// Adds a version and returns what is said about it.
    pub(super) fn write(&mut self, path: &str, data: Map<String, Value>, now: Timestamp) -> Value {
        let versions = self.paths.entry(path.to_owned()).or_default();
        let number = versions.last_key_value().map_or(0, |(number, _)| *number) + 1;
        let version = Version { data, created: now, deleted: None };
        let about = version.about(number);
        versions.insert(number, version);
        while versions.len() > KEPT {
            versions.pop_first();
        }
        about
    }

    pub(super) fn put(&mut self, path: &str, body: &Map<String, Value>, now: Timestamp) -> Answer {
        let Some(data) = body.get("data").and_then(Value::as_object) else {
            return errors(400, ["no data provided"]);
        };
        let newest =
            self.paths.get(path).and_then(|all| all.last_key_value()).map_or(0, |(number, _)| *number);
        let expected = body.get("options").and_then(|options| options.get("cas")).and_then(Value::as_u64);
        if expected.is_some_and(|number| number != newest) {
            return errors(400, ["check-and-set parameter did not match the current version"]);
        }
        told(self.write(path, data.clone(), now))
    }

    pub(super) fn read(&self, path: &str, number: Option<u64>) -> Answer {
        let found = self.paths.get(path).and_then(|versions| match number {
            Some(number) if number > 0 => versions.get_key_value(&number),
            _ => versions.last_key_value(),
        });
        let Some((number, version)) = found else { return bare(404) };
        let about = version.about(*number);
        if version.deleted.is_some() {
            let data = json!({ "data": null, "metadata": about });
            return envelope(404, data, Value::Null, Value::Null);
        }
        told(json!({ "data": version.data, "metadata": about }))
    }

    pub(super) fn delete(&mut self, path: &str, now: Timestamp) -> Answer {
        if let Some(mut newest) = self.paths.get_mut(path).and_then(BTreeMap::last_entry) {
            newest.get_mut().deleted.get_or_insert(now);
        }
        Answer { status: 204, body: None }
    }

    pub(super) fn forget(&mut self, path: &str) -> Answer {
        self.paths.remove(path);
        Answer { status: 204, body: None }
    }

    pub(super) fn about(&self, path: &str) -> Answer {
        let Some(versions) = self.paths.get(path) else { return bare(404) };
        let all: Map<String, Value> = versions
            .iter()
            .map(|(number, version)| {
                let about = json!({
                    "created_time": version.created.to_string(), "deletion_time": version.deletion(), "destroyed": false,
                });
                (number.to_string(), about)
            })
            .collect();
        let time =
            |version: Option<(&u64, &Version)>| version.map(|(_, version)| version.created.to_string());
        told(json!({
            "cas_required": false, "created_time": time(versions.first_key_value()), "current_metadata_version": 0,
            "current_version": versions.last_key_value().map(|(number, _)| number), "custom_metadata": null,
            "delete_version_after": "0s", "max_versions": 0, "metadata_cas_required": false, "oldest_version": 0,
            "updated_time": time(versions.last_key_value()), "versions": all,
        }))
    }

    pub(super) fn list(&self, folder: &str) -> Answer {
        let folder = folder.trim_end_matches('/');
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let keys: BTreeSet<String> = self
            .paths
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(|rest| match rest.split_once('/') {
                Some((name, _)) => format!("{name}/"),
                None => rest.to_owned(),
            })
            .collect();
        if keys.is_empty() { bare(404) } else { told(json!({ "keys": keys })) }
    }
}
