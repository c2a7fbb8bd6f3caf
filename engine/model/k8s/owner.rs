//! Programs that put an object back when somebody else changes it.

use std::fmt;

use serde_json::Value;

/// A program that keeps an object as its own source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Argo CD, and the application.
    ArgoCd(String),
    /// OpenTofu or Terraform.
    OpenTofu,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArgoCd(application) => write!(f, "Argo CD (application `{application}`)"),
            Self::OpenTofu => f.write_str("OpenTofu"),
        }
    }
}

/// Finds the program that owns an object, by the marks that such programs leave.
///
/// Argo CD tracks by annotation, by label, or by both
/// (<https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/>); OpenTofu's provider for Kubernetes writes as the
/// field manager `Terraform` unless told otherwise.
pub fn owner(object: &Value) -> Option<Owner> {
    let metadata = object.get("metadata")?;
    let mark = |part: &str, key: &str| metadata.get(part)?.get(key)?.as_str();
    if let Some(tracking) = mark("annotations", "argocd.argoproj.io/tracking-id") {
        let application = tracking.split(':').next().unwrap_or(tracking);
        return Some(Owner::ArgoCd(application.to_owned()));
    }
    if let Some(application) = mark("labels", "argocd.argoproj.io/instance") {
        return Some(Owner::ArgoCd(application.to_owned()));
    }
    let is_tofu = |name: &str| ["terraform", "opentofu"].contains(&name.to_ascii_lowercase().as_str());
    let by_label = mark("labels", "app.kubernetes.io/managed-by").is_some_and(is_tofu);
    let managers = metadata.get("managedFields").and_then(Value::as_array);
    let by_fields = managers.is_some_and(|managers| {
        managers.iter().any(|entry| entry.get("manager").and_then(Value::as_str).is_some_and(is_tofu))
    });
    (by_label || by_fields).then_some(Owner::OpenTofu)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_tell_the_owner() {
        let argo = || Some(Owner::ArgoCd("shop".to_owned()));
        for (metadata, expected) in [
            (json!({ "labels": { "argocd.argoproj.io/instance": "shop" } }), argo()),
            (
                json!({ "annotations": { "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:web/shop" } }),
                argo(),
            ),
            (json!({ "managedFields": [{ "manager": "Terraform" }] }), Some(Owner::OpenTofu)),
            (json!({ "labels": { "app.kubernetes.io/managed-by": "OpenTofu" } }), Some(Owner::OpenTofu)),
            (json!({ "labels": { "app.kubernetes.io/instance": "shop" } }), None),
            (json!({ "managedFields": [{ "manager": "nlrun" }] }), None),
        ] {
            assert_eq!(owner(&json!({ "metadata": metadata })), expected, "{metadata}");
        }
    }
}
