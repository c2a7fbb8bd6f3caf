//! How a script names objects: cluster, kind, name, and the namespace as an option.

use serde::Serialize;

use crate::bindings::{Call, Raise};
use crate::gate::Permit;
use crate::gate::permit::invalid;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::k8s::Resource;
use crate::model::signature::{Opt, Param, Type};

use super::exchange::kind_of_script;

/// An object, or with an empty name all of a kind.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Reference {
    pub(super) cluster: String,
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
}

pub(super) const CLUSTER: Param = Param { name: "cluster", ty: Type::String, optional: false };
pub(super) const KIND: Param = Param { name: "kind", ty: Type::String, optional: false };
pub(super) const NAME: Param = Param { name: "name", ty: Type::String, optional: false };
pub(super) const NAMESPACE: Opt = Opt {
    name: "namespace",
    ty: Type::String,
    doc: "The namespace; demanded where the kind has namespaces.",
};

impl Reference {
    /// Reads cluster, kind and name.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Raise> {
        let name = word(call, 2)?;
        check(call, "name", &name)?;
        Self::of(call, call.string(1)?, name, call.option_string("namespace")?)
    }

    /// Reads cluster, namespace and name.
    pub(super) fn in_namespace(call: &Call<'_>, kind: &str) -> Result<Self, Raise> {
        let name = call.string(2)?;
        check(call, "name", &name)?;
        Self::of(call, kind.to_owned(), name, Some(call.string(1)?))
    }

    /// Checks names, which become parts of a path and of a grant.
    pub(super) fn of(
        call: &Call<'_>,
        kind: String,
        name: String,
        namespace: Option<String>,
    ) -> Result<Self, Raise> {
        let cluster = cluster(call)?;
        let texts = [
            ("kind", Some(&kind)),
            // Without one it is all of a kind.
            ("name", Some(&name).filter(|name| !name.is_empty())),
            ("namespace", namespace.as_ref()),
        ];
        for (what, text) in texts.into_iter().filter_map(|(what, text)| Some((what, text?))) {
            check(call, what, text)?;
        }
        Ok(Self { cluster, kind, namespace, name })
    }

    /// Returns what a grant must cover.
    pub(super) fn target(&self) -> Target {
        Target::Named { name: self.named() }
    }

    /// Returns the name for grants and diffs: `nl/web/Deployment/shop`.
    pub(super) fn named(&self) -> String {
        let Self { cluster, kind, namespace, name } = self;
        let mut text = cluster.clone();
        for part in [namespace.as_deref().unwrap_or_default(), kind, name] {
            if !part.is_empty() {
                text.push('/');
                text.push_str(part);
            }
        }
        text
    }

    /// Returns the words for errors: `Deployment web/shop`.
    pub(super) fn words(&self) -> String {
        let Self { kind, namespace, name, .. } = self;
        match namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        }
    }

    /// Returns the words for all of the kind.
    pub(super) fn words_of_all(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} of namespace {namespace}", self.kind),
            None => self.kind.clone(),
        }
    }

    /// Finds the kind, and demands a namespace where objects have one and none where they have not.
    pub(super) async fn resource(&self, permit: &Permit<'_>) -> Result<Resource, Failure> {
        let resource = kind_of_script(permit, &self.cluster, &self.kind).await?;
        if !resource.is_namespaced && self.namespace.is_some() {
            return Err(invalid(format!("a {} has no namespace: leave `namespace` out", resource.kind)));
        }
        if resource.is_namespaced && self.namespace.is_none() && !self.name.is_empty() {
            let message = format!("a {} is in a namespace: give it as option `namespace`", resource.kind);
            return Err(invalid(message));
        }
        Ok(resource)
    }

    /// Returns the object's path.
    pub(super) async fn path(&self, permit: &Permit<'_>) -> Result<String, Failure> {
        let resource = self.resource(permit).await?;
        Ok(resource.path(self.namespace.as_deref(), Some(&self.name)))
    }
}

/// Reads the name of a cluster.
pub(super) fn cluster(call: &Call<'_>) -> Result<String, Raise> {
    let cluster = call.string(0)?;
    check(call, "cluster", &cluster)?;
    Ok(cluster)
}

/// Reads a name that may be that of a host of the inventory, such as a node.
pub(super) fn word(call: &Call<'_>, index: usize) -> Result<String, Raise> {
    let value = call.value(index);
    if let Some(host) = value.read_lock::<crate::bindings::HostValue>() {
        return Ok(host.0.name.clone());
    }
    call.string(index)
}

pub(super) fn check(call: &Call<'_>, what: &str, text: &str) -> Result<(), Raise> {
    // A slash would name another object to the grant, a star all of them.
    let is_plain =
        !text.is_empty() && !text.contains(['/', '*', '?', '[', '{']) && !text.contains(char::is_whitespace);
    if is_plain && text != "." && text != ".." {
        return Ok(());
    }
    Err(invalid(format!("`{}` wants a name as `{what}`, got `{text}`", call.name())).into())
}

/// Escapes a value of a query.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(key, value);
    }
    let text = query.finish();
    if text.is_empty() { text } else { format!("?{text}") }
}
