//! One object: its identity, and what of it counts when two states are compared.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Names one object of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Id {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `None` for what belongs to the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

impl Id {
    /// Returns the name for grants: `nl/web/Deployment/shop`, or `nl/Node/worker-1` for what has no namespace.
    pub fn target(&self, cluster: &str) -> String {
        let Self { kind, namespace, name, .. } = self;
        match namespace {
            Some(namespace) => format!("{cluster}/{namespace}/{kind}/{name}"),
            None => format!("{cluster}/{kind}/{name}"),
        }
    }

    /// Returns the API group; empty for the core.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether it is a secret of the core group, whose data must not be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == "Secret" && self.group().is_empty()
    }
}

impl fmt::Display for Id {
    /// Writes `Deployment web/shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// What the server keeps for itself in `metadata`.
const KEPT_BY_SERVER: [&str; 7] = [
    "creationTimestamp",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Returns the part of an object that people decide about: without status and the server's own notes.
pub fn normal(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in KEPT_BY_SERVER {
                metadata.remove(key);
            }
            // A copy of the whole object that client-side apply leaves behind.
            let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
            if let Some(annotations) = annotations {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        }
    }
    object
}

/// Returns two states of an object as YAML for a diff; of a secret only the sizes of its values, and which of them differ.
pub fn yaml(before: Option<&Value>, after: Option<&Value>) -> (String, String) {
    let is_secret = [before, after].into_iter().flatten().any(|object| {
        object.get("kind").and_then(Value::as_str) == Some("Secret")
            && object.get("apiVersion").and_then(Value::as_str) == Some("v1")
    });
    let (mut old, mut new) = (before.cloned(), after.cloned());
    if is_secret {
        for part in ["data", "stringData"] {
            let values = |object: Option<&Value>| {
                object.and_then(|object| object.get(part)?.as_object().cloned()).unwrap_or_default()
            };
            let (was, is) = (values(before), values(after));
            hide(old.as_mut(), part, &was, &is, "before");
            hide(new.as_mut(), part, &is, &was, "after");
        }
    }
    (text(old.as_ref()), text(new.as_ref()))
}

fn hide(
    object: Option<&mut Value>,
    part: &str,
    own: &Map<String, Value>,
    other: &Map<String, Value>,
    when: &str,
) {
    let Some(object) = object else { return };
    for (key, value) in own {
        let size = value.as_str().map_or(0, str::len);
        let when = match other.get(key) {
            Some(other) if other != value => format!(", {when}"),
            Some(_) | None => String::new(),
        };
        object[part][key] = json!(format!("<secret, {size} characters in base64{when}>"));
    }
}

fn text(object: Option<&Value>) -> String {
    object
        .map(|object| serde_saphyr::to_string(object).unwrap_or_else(|_| object.to_string()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_the_namespace_only_where_there_is_one() {
        let id = |namespace: Option<&str>| Id {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: namespace.map(str::to_owned),
            name: "shop".to_owned(),
        };
        assert_eq!(id(Some("web")).target("nl"), "nl/web/Deployment/shop");
        assert_eq!(id(None).target("nl"), "nl/Deployment/shop");
        assert_eq!(id(Some("web")).to_string(), "Deployment web/shop");
        assert_eq!(id(None).group(), "apps");
    }

    #[test]
    fn notes_of_the_server_do_not_count() {
        let object = json!({
            "kind": "ConfigMap",
            "metadata": {
                "name": "a", "uid": "1", "resourceVersion": "5", "generation": 2, "managedFields": [],
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes" },
            },
            "data": { "a": "b" },
            "status": {},
        });
        let expected = json!({
            "kind": "ConfigMap", "metadata": { "name": "a", "annotations": { "kept": "yes" } }, "data": { "a": "b" },
        });
        assert_eq!(normal(&object), expected);
    }

    #[test]
    fn a_secret_shows_sizes_and_which_values_differ() {
        let secret = |key: &str| json!({ "apiVersion": "v1", "kind": "Secret", "data": { "same": "AAAA", "key": key } });
        let (old, new) = yaml(Some(&secret("b2xk")), Some(&secret("bmV3")));
        assert!(old.contains("4 characters in base64, before>") && new.contains(", after>"), "{old}{new}");
        assert!(old.contains("same: ") && !old.contains("AAAA") && !new.contains("bmV3"), "{old}{new}");
        let same = old.lines().filter(|line| new.lines().any(|other| other == *line)).count();
        assert_eq!(same, old.lines().count() - 1, "{old}{new}");
    }
}
