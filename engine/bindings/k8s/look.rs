//! Looking: `k8s_get k8s_list k8s_nodes k8s_secret`.

use std::collections::BTreeMap;

use base64::Engine as _;
use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::exchange::Ask;
use super::reference::{Reference, query};
use crate::bindings::value::{SecretValue, to_dynamic};
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Captured, Done, Effect, Kept, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::secret::{Secret, SecretName};

/// Objects a page of a list.
const PAGE: &str = "500";

/// Objects as they came; kept beside the events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Found {
    /// `None` where the object is missing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    objects: Option<Captured>,
}

impl Found {
    async fn keep(permit: &Permit<'_>, found: Option<Value>) -> Result<Self, Failure> {
        let Some(mut value) = found else { return Ok(Self { objects: None }) };
        plain(&mut value);
        let data = value.to_string().into_bytes();
        permit.keep("out", &data).await?;
        Ok(Self { objects: Some(Captured { bytes: data.len() as u64, truncated: false, data }) })
    }

    fn restored(mut self, kept: &dyn Kept) -> Self {
        if let Some(objects) = &mut self.objects {
            objects.data = kept.stream("out", usize::MAX).unwrap_or_default();
        }
        self
    }

    fn value(&self) -> Result<Value, Raise> {
        match &self.objects {
            None => Ok(Value::Null),
            Some(objects) => serde_json::from_slice(&objects.data)
                .map_err(|error| invalid(format!("the kept objects do not read back: {error}")).into()),
        }
    }
}

/// Leaves out what no script wants and no log should hold: the server's notes about fields, and values of secrets.
fn plain(value: &mut Value) {
    if let Some(items) = value.as_array_mut() {
        return items.iter_mut().for_each(plain);
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    if value["kind"] == "Secret" && value["apiVersion"] == "v1" {
        for text in
            value.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(Fields::values_mut)
        {
            let is_public = text.as_str().and_then(decoded).is_some_and(|bytes| is_certificate(&bytes));
            if !is_public {
                *text = "<secret>".into();
            }
        }
    }
}

type Fields = serde_json::Map<String, Value>;

fn decoded(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// Whether bytes are certificates and nothing else: those are public.
pub(super) fn is_certificate(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("-----BEGIN CERTIFICATE-----")
        && text.matches("-----BEGIN ").count() == text.matches("-----BEGIN CERTIFICATE-----").count()
}

/// Reads one object.
#[derive(Serialize)]
struct Get {
    #[serde(flatten)]
    object: Reference,
}

impl Effect for Get {
    const NAME: &'static str = "k8s.get";
    const KIND: Kind = Kind::Read;
    type Output = Found;

    fn target(&self) -> Target {
        self.object.target()
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Found>) -> Result<Done<Found>, Failure> {
        let path = self.object.path(permit).await?;
        let found = Ask::get(&self.object.cluster, path).found(permit, &self.object.words()).await?;
        Ok(Done::ok(Found::keep(permit, found).await?))
    }

    fn restore(&self, output: Found, kept: &dyn Kept) -> Found {
        output.restored(kept)
    }
}

/// Reads all objects of a kind.
#[derive(Serialize)]
struct List {
    #[serde(flatten)]
    kind: Reference,
    #[serde(skip_serializing_if = "String::is_empty")]
    selector: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    fields: String,
}

impl Effect for List {
    const NAME: &'static str = "k8s.list";
    const KIND: Kind = Kind::Read;
    type Output = Found;

    fn target(&self) -> Target {
        self.kind.target()
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Found>) -> Result<Done<Found>, Failure> {
        let items = list(permit, &self.kind, &self.selector, &self.fields).await?;
        Ok(Done::ok(Found::keep(permit, Some(Value::Array(items))).await?))
    }

    fn restore(&self, output: Found, kept: &dyn Kept) -> Found {
        output.restored(kept)
    }
}

/// Lists the objects of a kind, page by page.
pub(super) async fn list(
    permit: &Permit<'_>,
    kind: &Reference,
    selector: &str,
    fields: &str,
) -> Result<Vec<Value>, Failure> {
    let resource = kind.resource(permit).await?;
    let path = resource.path(kind.namespace.as_deref(), None);
    let what = kind.words_of_all();
    let mut items = Vec::new();
    let mut next = String::new();
    loop {
        let pairs =
            [("limit", PAGE), ("labelSelector", selector), ("fieldSelector", fields), ("continue", &next)];
        let page = Ask::get(&kind.cluster, format!("{path}{}", query(&pairs)));
        let mut page = page.object(permit, &what).await?;
        let token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if let Value::Array(found) = page["items"].take() {
            items.extend(found.into_iter().map(|mut item| {
                // The items of a list do not say what they are.
                if let Some(fields) = item.as_object_mut() {
                    fields.insert("apiVersion".to_owned(), resource.api_version().into());
                    fields.insert("kind".to_owned(), resource.kind.as_str().into());
                }
                item
            }));
        }
        if token.is_empty() {
            return Ok(items);
        }
        next = token;
    }
}

/// Reads the values of a secret.
#[derive(Serialize)]
struct ReadSecret {
    #[serde(flatten)]
    object: Reference,
}

/// The values of a secret: recorded by name, handed to the script as secrets. Certificates are public and recorded as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Values {
    keys: Vec<String>,
    certificates: BTreeMap<String, String>,
    /// A resumed run asks the cluster again for them.
    #[serde(skip)]
    secrets: Vec<(String, Vec<u8>)>,
}

impl ReadSecret {
    fn name_of(&self, key: &str) -> SecretName {
        let Reference { cluster, namespace, name, .. } = &self.object;
        secret_name(cluster, namespace.as_deref(), name, key)
    }
}

impl Effect for ReadSecret {
    const NAME: &'static str = "k8s.secret";
    const KIND: Kind = Kind::Read;
    type Output = Values;

    fn target(&self) -> Target {
        self.object.target()
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Values>) -> Result<Done<Values>, Failure> {
        let path = self.object.path(permit).await?;
        let what = self.object.words();
        let object = Ask::get(&self.object.cluster, path).object(permit, &what).await?;
        let mut values = Values { keys: Vec::new(), certificates: BTreeMap::new(), secrets: Vec::new() };
        for (key, text) in object["data"].as_object().into_iter().flatten() {
            let Some(bytes) = text.as_str().and_then(decoded) else {
                return Err(invalid(format!("{what}: `{key}` is not base64")));
            };
            if is_certificate(&bytes) {
                values.certificates.insert(key.clone(), String::from_utf8_lossy(&bytes).into_owned());
                continue;
            }
            let secret = Secret::new(self.name_of(key), bytes.clone());
            // What is too short to be told from other text cannot be replaced in it; it is not recorded here either.
            let _ = permit.learn(&secret);
            values.keys.push(key.clone());
            values.secrets.push((key.clone(), bytes));
        }
        Ok(Done::ok(values))
    }
}

/// Returns the decoded values of a secret; what is not base64 is left to the server to refuse.
pub(super) fn values(object: &Value) -> impl Iterator<Item = (&str, Vec<u8>)> {
    let data = object["data"].as_object().into_iter().flatten();
    data.filter_map(|(key, text)| Some((key.as_str(), text.as_str().and_then(decoded)?)))
}

/// Names a value by its place: `k8s/nl/web/site-tls/tls.key`.
pub(super) fn secret_name(cluster: &str, namespace: Option<&str>, name: &str, key: &str) -> SecretName {
    let parts = [cluster, namespace.unwrap_or_default(), name, key];
    let mut name = "k8s".to_owned();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        let allowed = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => c,
            _ => '-',
        };
        let part: String = part.chars().map(allowed).collect();
        name.push('/');
        if !part.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            name.push('x');
        }
        name.push_str(&part);
    }
    SecretName::try_from(name).expect("every part begins with a letter or digit and holds what is allowed")
}

pub(super) fn k8s_get(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let object = Reference::read(call)?;
    let is_optional = call.option_bool("optional", false)?;
    let effect = Get { object };
    let value = call.perform(&effect)?.value()?;
    if value.is_null() && !is_optional {
        let Reference { cluster, .. } = &effect.object;
        let message = format!("cluster `{cluster}`: there is no {}", effect.object.words());
        return Err(Failure { kind: "not_found".to_owned(), ..invalid(message) }.into());
    }
    Ok(to_dynamic(&value)?)
}

pub(super) fn k8s_list(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let kind = Reference::of(call, call.string(1)?, String::new(), call.option_string("namespace")?);
    let effect = List {
        kind: kind?,
        selector: call.option_string("selector")?.unwrap_or_default(),
        fields: call.option_string("fields")?.unwrap_or_default(),
    };
    Ok(to_dynamic(&call.perform(&effect)?.value()?)?)
}

pub(super) fn k8s_nodes(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = List {
        kind: Reference::of(call, "Node".to_owned(), String::new(), None)?,
        selector: call.option_string("selector")?.unwrap_or_default(),
        fields: String::new(),
    };
    let nodes = call.perform(&effect)?.value()?;
    let nodes = nodes.as_array().into_iter().flatten().map(node).collect();
    Ok(to_dynamic(&Value::Array(nodes))?)
}

/// Returns what operators ask about a node.
fn node(node: &Value) -> Value {
    let conditions = node["status"]["conditions"].as_array();
    let is_ready = conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    });
    let labels = node["metadata"]["labels"].as_object();
    let roles =
        labels.into_iter().flatten().filter_map(|(label, _)| label.strip_prefix("node-role.kubernetes.io/"));
    let addresses = node["status"]["addresses"].as_array();
    let address = addresses.into_iter().flatten().find(|address| address["type"] == "InternalIP");
    json!({
        "name": node["metadata"]["name"],
        "ready": is_ready,
        "unschedulable": node["spec"]["unschedulable"].as_bool().unwrap_or(false),
        "roles": roles.collect::<Vec<_>>(),
        "version": node["status"]["nodeInfo"]["kubeletVersion"],
        "kernel": node["status"]["nodeInfo"]["kernelVersion"],
        "address": address.map_or(Value::Null, |address| address["address"].clone()),
        "labels": node["metadata"]["labels"],
        "taints": node["spec"]["taints"].as_array().cloned().unwrap_or_default(),
    })
}

pub(super) fn k8s_secret(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let object = Reference::in_namespace(call, "Secret")?;
    let effect = ReadSecret { object };
    let values = call.perform(&effect)?;
    let mut map = Map::new();
    for (key, text) in values.certificates {
        map.insert(key.into(), text.into());
    }
    if call.session.gate().replay {
        for key in &values.keys {
            let secret = Secret::placeholder(effect.name_of(key));
            map.insert(key.into(), Dynamic::from(SecretValue(secret)));
        }
    }
    for (key, bytes) in values.secrets {
        let name = effect.name_of(&key);
        map.insert(key.into(), Dynamic::from(SecretValue(Secret::new(name, bytes))));
    }
    Ok(map.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_left_out_and_certificates_kept() {
        let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let certificate = encoded("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n");
        let both = encoded("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n");
        let mut list = json!([{
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "managedFields": [1] },
            "data": { "tls.crt": certificate, "tls.key": encoded("key"), "both": both },
        }]);
        plain(&mut list);
        let expected = json!({ "tls.crt": certificate, "tls.key": "<secret>", "both": "<secret>" });
        assert_eq!(list[0]["data"], expected);
        assert_eq!(list[0]["metadata"], json!({ "name": "a" }));
    }

    #[test]
    fn a_node_in_short() {
        let short = node(&json!({
            "metadata": { "name": "w1", "labels": { "node-role.kubernetes.io/worker": "" } },
            "spec": { "unschedulable": true },
            "status": {
                "conditions": [{ "type": "Ready", "status": "Unknown" }],
                "addresses": [{ "type": "InternalIP", "address": "10.0.0.5" }],
            },
        }));
        assert_eq!(short["ready"], false);
        assert_eq!(short["roles"], json!(["worker"]));
        assert_eq!(short["address"], "10.0.0.5");
    }
}
