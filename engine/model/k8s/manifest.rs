//! Manifests: YAML or JSON with one object a document, as `kubectl apply -f` takes them.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::{Id, Rank};
use crate::model::yaml;

/// One object as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What it names.
    pub id: Id,
    /// All of it; the namespace is filled in.
    pub body: Arc<Value>,
}

/// Why a text is no list of objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not YAML.
    #[error("line {line}: {message}")]
    Yaml {
        /// From 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A document is no object.
    #[error("the object that begins at line {line} {reason}")]
    Object {
        /// From 1.
        line: u64,
        /// What is wrong, after "the object".
        reason: String,
    },
    /// Two documents describe one object.
    #[error("{id} stands there twice, at lines {first} and {second}")]
    Twice {
        /// Which object.
        id: String,
        /// From 1.
        first: u64,
        /// From 1.
        second: u64,
    },
    /// There is nothing in it.
    #[error("there is no object in it")]
    Empty,
}

/// Kinds of the API server's own groups that belong to no namespace, so that a grant can be compared before a cluster is asked.
///
/// Others are known from a definition among the manifests, or by the cluster.
const OF_THE_CLUSTER: [(&str, &str); 13] = [
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("admissionregistration.k8s.io", ""),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("flowcontrol.apiserver.k8s.io", ""),
    ("networking.k8s.io", "IngressClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
];

/// Reads manifests; `namespace` is given to those that name none and may have one.
///
/// Numbers are read as `kubectl` reads them: `0644` is octal. A `List` stands for its items. `stringData` of secrets is moved to
/// `data`, or the two would be owned side by side from then on.
pub fn read(text: &str, namespace: Option<&str>) -> Result<Vec<Manifest>, ManifestError> {
    let documents = yaml::documents(text, "manifests").map_err(|error| ManifestError::Yaml {
        line: error.line,
        message: match error.hint {
            Some(hint) => format!("{} ({hint})", error.message),
            None => error.message,
        },
    })?;
    let mut objects = Vec::new();
    for (line, document) in documents {
        flatten(line, document, &mut objects)?;
    }
    let own = scopes(&objects);
    let mut manifests: Vec<(u64, Manifest)> = Vec::with_capacity(objects.len());
    for (line, body) in objects {
        let manifest = manifest(line, body, namespace, &own)?;
        if let Some((first, _)) = manifests.iter().find(|(_, other)| other.id == manifest.id) {
            let (first, second) = (*first, line);
            return Err(ManifestError::Twice { id: manifest.id.to_string(), first, second });
        }
        manifests.push((line, manifest));
    }
    if manifests.is_empty() {
        return Err(ManifestError::Empty);
    }
    Ok(manifests.into_iter().map(|(_, manifest)| manifest).collect())
}

fn flatten(line: u64, document: Value, objects: &mut Vec<(u64, Value)>) -> Result<(), ManifestError> {
    let Value::Object(mut fields) = document else {
        return Err(ManifestError::Object { line, reason: "is no mapping".to_owned() });
    };
    let is_list = fields.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match fields.remove("items") {
        Some(Value::Array(items)) if is_list => {
            items.into_iter().try_for_each(|item| flatten(line, item, objects))
        }
        other => {
            fields.extend(other.map(|items| ("items".to_owned(), items)));
            objects.push((line, Value::Object(fields)));
            Ok(())
        }
    }
}

/// Returns the kinds that definitions among the objects bring, with whether they have namespaces.
fn scopes(objects: &[(u64, Value)]) -> Vec<(String, String, bool)> {
    let defined = objects.iter().filter_map(|(_, object)| {
        let is_definition = object["kind"] == "CustomResourceDefinition";
        let spec = object.get("spec").filter(|_| is_definition)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some((text(&spec["group"])?, text(&spec["names"]["kind"])?, spec["scope"] == "Namespaced"))
    });
    defined.collect()
}

fn manifest(
    line: u64,
    mut body: Value,
    namespace: Option<&str>,
    own: &[(String, String, bool)],
) -> Result<Manifest, ManifestError> {
    let wrong = |reason: &str| ManifestError::Object { line, reason: reason.to_owned() };
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let api_version = text(&body["apiVersion"]).ok_or_else(|| wrong("has no `apiVersion`"))?;
    let kind = text(&body["kind"]).ok_or_else(|| wrong("has no `kind`"))?;
    let Some(name) = text(&body["metadata"]["name"]) else {
        let reason = if body["metadata"].get("generateName").is_some() {
            "has a `generateName`: each run would make another one"
        } else {
            "has no `metadata.name`"
        };
        return Err(wrong(reason));
    };
    let mut id = Id { api_version, kind, namespace: text(&body["metadata"]["namespace"]), name };
    if is_of_the_cluster(&id, own) {
        id.namespace = None;
    } else if let (None, Some(namespace)) = (&id.namespace, namespace) {
        id.namespace = Some(namespace.to_owned());
        body["metadata"]["namespace"] = namespace.into();
    }
    if id.is_secret() {
        encode_strings(&mut body).map_err(wrong)?;
    }
    // The server's own notes; some of them make an apply fail.
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in
                ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"]
            {
                metadata.remove(key);
            }
        }
    }
    Ok(Manifest { id, body: Arc::new(body) })
}

fn is_of_the_cluster(id: &Id, own: &[(String, String, bool)]) -> bool {
    if let Some((_, _, is_namespaced)) =
        own.iter().find(|(group, kind, _)| group == id.group() && *kind == id.kind)
    {
        return !is_namespaced;
    }
    let is_listed =
        |(group, kind): &(&str, &str)| *group == id.group() && (kind.is_empty() || *kind == id.kind);
    OF_THE_CLUSTER.iter().any(is_listed) || id.group() == "storage.k8s.io" && id.kind != "CSIStorageCapacity"
}

fn encode_strings(body: &mut Value) -> Result<(), &'static str> {
    let Some(strings) = body.as_object_mut().and_then(|fields| fields.remove("stringData")) else {
        return Ok(());
    };
    let Value::Object(strings) = strings else { return Err("has a `stringData` that is no mapping") };
    let mut data = Map::new();
    for (key, value) in strings {
        let Value::String(value) = value else { return Err("has a value in `stringData` that is no text") };
        data.insert(key, base64::engine::general_purpose::STANDARD.encode(value).into());
    }
    if !body["data"].is_object() {
        body["data"] = json!({});
    }
    if let Some(all) = body["data"].as_object_mut() {
        all.extend(data);
    }
    Ok(())
}

impl Manifest {
    /// Returns when its turn comes.
    pub fn rank(&self) -> Rank {
        Rank::of(self.id.group(), &self.id.kind)
    }

    /// Returns the kind that it defines: group, kind, and whether it has namespaces.
    pub fn defines(&self) -> Option<(String, String)> {
        let objects = [(0, (*self.body).clone())];
        scopes(&objects).into_iter().next().map(|(group, kind, _)| (group, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_documents_lists_and_namespaces() {
        let text = "\
# first
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {mode: '0644'}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: other}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec: {defaultMode: 0644, plain: 10}
";
        let read = read(text, Some("web")).unwrap();
        let targets: Vec<String> = read.iter().map(|manifest| manifest.id.target("nl")).collect();
        let expected =
            ["nl/Namespace/web", "nl/web/ConfigMap/a", "nl/other/ConfigMap/a", "nl/web/Deployment/d"];
        assert_eq!(targets, expected);
        assert_eq!(read[3].body["spec"], json!({ "defaultMode": 420, "plain": 10 }));
        assert_eq!(read[3].body["metadata"]["namespace"], "web");
    }

    #[test]
    fn a_definition_says_whether_its_kind_has_namespaces() {
        let text = "\
{apiVersion: example.com/v1, kind: Site, metadata: {name: s}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: sites.example.com}
spec: {group: example.com, scope: Cluster, names: {kind: Site, plural: sites}}
";
        let read = read(text, Some("web")).unwrap();
        assert_eq!(read[0].id.target("nl"), "nl/Site/s");
        assert_eq!(read[1].defines(), Some(("example.com".to_owned(), "Site".to_owned())));
    }

    #[test]
    fn string_data_becomes_data() {
        let text =
            "{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: YQ==}, stringData: {b: hi}}";
        let read = read(text, None).unwrap();
        assert_eq!(read[0].body["data"], json!({ "a": "YQ==", "b": "aGk=" }));
        assert!(read[0].body.get("stringData").is_none());
    }

    #[test]
    fn what_is_wrong_has_a_line() {
        for (text, says) in [
            ("", "there is no object in it"),
            ("a: [", "line "),
            ("- 1", "the object that begins at line 1 is no mapping"),
            ("kind: X", "has no `apiVersion`"),
            ("apiVersion: v1\nkind: X\nmetadata: {generateName: a-}", "each run would make another one"),
            (
                "apiVersion: v1\nkind: X\n---\napiVersion: v1\nkind: Y\nmetadata: {}",
                "at line 1 has no `metadata.name`",
            ),
            (
                "{apiVersion: v1, kind: X, metadata: {name: a}}\n---\n{apiVersion: v1, kind: X, metadata: {name: a}}",
                "X a stands there twice, at lines 1 and 3",
            ),
            ("a: 1\na: 2", "duplicate key `a`"),
            ("{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: 1}}", "that is no text"),
        ] {
            let error = read(text, None).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
