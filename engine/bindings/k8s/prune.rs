//! What a selector finds that is no longer among the manifests.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exchange::kind;
use super::look::list;
use super::reference::Reference;
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::k8s::{Id, Manifest, owner};

/// Kinds that are looked through in every namespace of the manifests, whether or not one of them is still among these.
///
/// Volumes, namespaces and definitions hold what cannot be made again: they are looked through only where the manifests have some.
const USUAL: [(&str, &str); 15] = [
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
];

/// Lists the objects with a label, of the kinds and in the namespaces that manifests name, and of the usual kinds there.
#[derive(Serialize)]
struct Labelled {
    cluster: String,
    selector: String,
    /// API version, kind, and the namespace where there is one.
    kinds: BTreeSet<(String, String, Option<String>)>,
}

/// Objects and whether somebody else keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Found {
    objects: Vec<Id>,
    /// Objects that belong to Argo CD or OpenTofu, with words.
    owned: Vec<String>,
}

impl Effect for Labelled {
    const NAME: &'static str = "k8s.list";
    const KIND: Kind = Kind::Read;
    type Output = Found;

    fn target(&self) -> Target {
        Target::Named { name: format!("{}/{}", self.cluster, self.selector) }
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Found>) -> Result<Done<Found>, Failure> {
        let mut found = Found { objects: Vec::new(), owned: Vec::new() };
        for (api_version, name, namespace) in &self.kinds {
            let resource =
                kind(permit, &self.cluster, |catalog| catalog.of_manifest(api_version, name).cloned())
                    .await?;
            // A kind that a plan would bring has no objects yet.
            let Ok(resource) = resource else { continue };
            let group =
                if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
            let reference = Reference {
                cluster: self.cluster.clone(),
                kind: format!("{name}{group}"),
                namespace: namespace.clone().filter(|_| resource.is_namespaced),
                name: String::new(),
            };
            for object in list(permit, &reference, &self.selector, "").await? {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let Some(object_name) = text(&object["metadata"]["name"]) else { continue };
                let id = Id {
                    api_version: api_version.clone(),
                    kind: name.clone(),
                    namespace: text(&object["metadata"]["namespace"]),
                    name: object_name,
                };
                // What another object brings goes with it.
                if object["metadata"].get("ownerReferences").is_some()
                    || object["metadata"].get("deletionTimestamp").is_some()
                {
                    continue;
                }
                if let Some(owner) = owner(&object) {
                    found.owned.push(format!("{id} ({owner})"));
                    continue;
                }
                found.objects.push(id);
            }
        }
        Ok(Done::ok(found))
    }
}

/// Demands that the selector selects what is applied: or the next run would remove it.
pub(super) fn check(selector: &str, manifests: &[Manifest]) -> Result<(), Raise> {
    let wrong = |reason: String| Raise::from(invalid(format!("`prune`: {reason}")));
    let pairs: Vec<(&str, &str)> = selector
        .split(',')
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key.trim().trim_end_matches('='), value.trim().trim_start_matches('='))
        })
        .collect();
    if pairs.iter().any(|(key, value)| key.is_empty() || key.ends_with('!') || value.is_empty()) {
        return Err(wrong(format!("write labels that must be equal, such as `app=shop`, not `{selector}`")));
    }
    for manifest in manifests {
        for (key, value) in &pairs {
            if manifest.body["metadata"]["labels"][*key].as_str() != Some(value) {
                let reason = format!(
                    "{} has no label `{key}: {value}`, so it would be removed next time",
                    manifest.id
                );
                return Err(wrong(reason));
            }
        }
    }
    Ok(())
}

/// Returns the objects to remove, last ones of the order of applying first.
pub(super) fn superfluous(
    call: &Call<'_>,
    cluster: &str,
    selector: &str,
    manifests: &[Manifest],
) -> Result<Vec<Id>, Raise> {
    let mut kinds = BTreeSet::new();
    for Manifest { id, .. } in manifests {
        kinds.insert((id.api_version.clone(), id.kind.clone(), id.namespace.clone()));
        if let Some(namespace) = &id.namespace {
            let usual =
                USUAL.map(|(version, kind)| (version.to_owned(), kind.to_owned(), Some(namespace.clone())));
            kinds.extend(usual);
        }
    }
    let labelled = Labelled { cluster: cluster.to_owned(), selector: selector.to_owned(), kinds };
    let found = call.perform(&labelled)?;
    let mut superfluous: Vec<Id> = found
        .objects
        .into_iter()
        .filter(|id| {
            let is_same = |other: &Id| {
                other.kind == id.kind
                    && other.group() == id.group()
                    && other.name == id.name
                    && other.namespace == id.namespace
            };
            !manifests.iter().any(|manifest| is_same(&manifest.id))
        })
        .collect();
    superfluous.sort_by_key(|id| std::cmp::Reverse(crate::model::k8s::Rank::of(id.group(), &id.kind)));
    Ok(superfluous)
}
