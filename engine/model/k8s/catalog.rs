//! The kinds that a cluster serves, from its aggregated discovery.

use serde::Deserialize;

use crate::model::nearest::nearest;

/// One kind of one version, and where it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `apps`; empty for the core.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
    /// Whether its objects belong to namespaces.
    pub is_namespaced: bool,
}

impl Resource {
    /// Returns `apps/v1`, or `v1` for the core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Returns the path of the collection, or of one object; a namespace is left out where the kind has none.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path =
            if self.group.is_empty() { "/api/".to_owned() } else { format!("/apis/{}/", self.group) };
        path.push_str(&self.version);
        if let Some(namespace) = namespace.filter(|_| self.is_namespaced) {
            path.push_str("/namespaces/");
            path.push_str(&segment(namespace));
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(&segment(name));
        }
        path
    }
}

/// Escapes what would end a segment of a path; names of some kinds may hold colons and the like.
fn segment(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,;=".contains(byte);
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(&byte) {
            escaped.push(byte.into());
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Why a kind is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownKind {
    /// Nothing of that name.
    #[error("the cluster serves no kind `{kind}`{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Kind {
        /// What was asked for.
        kind: String,
        /// The kind that was probably meant.
        near: Option<String>,
    },
    /// The kind, but not in that version.
    #[error("the cluster serves `{kind}` not as `{wanted}` but as {served}")]
    Version {
        /// What was asked for.
        kind: String,
        /// The version asked for.
        wanted: String,
        /// Those that there are, in words.
        served: String,
    },
    /// Several groups have a kind of that name.
    #[error("the cluster serves several kinds `{kind}`: write {choices}")]
    Ambiguous {
        /// What was asked for.
        kind: String,
        /// How to write each, in words.
        choices: String,
    },
}

/// The kinds of a cluster; each group's preferred version first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Groups {
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Served>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    resource: String,
    #[serde(default)]
    response_kind: Option<Kind>,
    scope: String,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

impl Catalog {
    /// Adds the kinds of an `APIGroupDiscoveryList`.
    pub fn add(&mut self, body: &[u8]) -> Result<(), serde_json::Error> {
        let groups: Groups = serde_json::from_slice(body)?;
        for group in groups.items {
            for Version { version, resources } in group.versions {
                for served in resources {
                    let Some(Kind { kind }) = served.response_kind else { continue };
                    self.resources.push(Resource {
                        group: group.metadata.name.clone(),
                        version: version.clone(),
                        kind,
                        plural: served.resource,
                        is_namespaced: served.scope == "Namespaced",
                    });
                }
            }
        }
        Ok(())
    }

    /// Finds what a manifest names.
    pub fn of_manifest(&self, api_version: &str, kind: &str) -> Result<&Resource, UnknownKind> {
        let found = self.resources.iter().find(|one| one.kind == kind && one.api_version() == api_version);
        found.ok_or_else(|| {
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            let same = self.resources.iter().filter(|one| one.kind == kind && one.group == group);
            let served = same.map(|one| format!("`{}`", one.api_version())).collect::<Vec<_>>().join(", ");
            if served.is_empty() {
                return self.unknown(kind);
            }
            UnknownKind::Version { kind: kind.to_owned(), wanted: api_version.to_owned(), served }
        })
    }

    /// Finds what a script names: `Deployment`, or `Certificate.cert-manager.io` where several groups have one.
    pub fn of_script(&self, text: &str) -> Result<&Resource, UnknownKind> {
        let (kind, group) = text.split_once('.').map_or((text, None), |(kind, group)| (kind, Some(group)));
        let mut found: Vec<&Resource> = Vec::new();
        for one in self.resources.iter().filter(|one| one.kind == kind) {
            let is_asked = group.is_none_or(|group| one.group == group);
            if is_asked && !found.iter().any(|other| other.group == one.group) {
                found.push(one);
            }
        }
        // Events are in two groups, and have been for years: the core's is what everybody means.
        if let (None, Some(core)) = (group, found.iter().find(|one| one.group.is_empty())) {
            return Ok(core);
        }
        match found.as_slice() {
            [] => Err(self.unknown(text)),
            [one] => Ok(one),
            several => {
                let written = several.iter().map(|one| format!("`{}.{}`", one.kind, one.group));
                let choices = written.collect::<Vec<_>>().join(" or ");
                Err(UnknownKind::Ambiguous { kind: text.to_owned(), choices })
            }
        }
    }

    fn unknown(&self, text: &str) -> UnknownKind {
        let by_plural = |one: &&Resource| {
            let lower = text.to_ascii_lowercase();
            one.plural == lower || one.kind.to_ascii_lowercase() == lower
        };
        let exact = self.resources.iter().find(by_plural).map(|one| one.kind.as_str());
        let near = exact.or_else(|| nearest(text, self.resources.iter().map(|one| one.kind.as_str())));
        UnknownKind::Kind { kind: text.to_owned(), near: near.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        catalog
            .add(
                br#"{"items":[{"metadata":{},"versions":[{"version":"v1","resources":[
                {"resource":"nodes","responseKind":{"group":"","version":"","kind":"Node"},"scope":"Cluster"},
                {"resource":"events","responseKind":{"kind":"Event"},"scope":"Namespaced"}]}]}]}"#,
            )
            .unwrap();
        catalog
            .add(br#"{"items":[
                {"metadata":{"name":"apps"},"versions":[{"version":"v1","resources":[
                    {"resource":"deployments","responseKind":{"kind":"Deployment"},"scope":"Namespaced"}]}]},
                {"metadata":{"name":"events.k8s.io"},"versions":[{"version":"v1","resources":[
                    {"resource":"events","responseKind":{"kind":"Event"},"scope":"Namespaced"}]}]},
                {"metadata":{"name":"cert-manager.io"},"versions":[
                    {"version":"v1","resources":[
                        {"resource":"certificates","responseKind":{"kind":"Certificate"},"scope":"Namespaced"}]},
                    {"version":"v1alpha2","resources":[
                        {"resource":"certificates","responseKind":{"kind":"Certificate"},"scope":"Namespaced"}]}]},
                {"metadata":{"name":"other.io"},"versions":[{"version":"v1","resources":[
                    {"resource":"certificates","responseKind":{"kind":"Certificate"},"scope":"Namespaced"}]}]}]}"#)
            .unwrap();
        catalog
    }

    #[test]
    fn paths_follow_group_and_scope() {
        let catalog = catalog();
        let node = catalog.of_script("Node").unwrap();
        assert_eq!(node.path(Some("web"), Some("worker-1")), "/api/v1/nodes/worker-1");
        let deployment = catalog.of_manifest("apps/v1", "Deployment").unwrap();
        assert_eq!(deployment.path(Some("web"), None), "/apis/apps/v1/namespaces/web/deployments");
        assert_eq!(deployment.path(None, None), "/apis/apps/v1/deployments");
        assert_eq!(
            deployment.path(Some("web"), Some("a/b?c")),
            "/apis/apps/v1/namespaces/web/deployments/a%2Fb%3Fc"
        );
    }

    #[test]
    fn a_script_names_kinds_as_manifests_do() {
        let catalog = catalog();
        assert_eq!(catalog.of_script("Event").unwrap().group, "");
        assert_eq!(catalog.of_script("Certificate.cert-manager.io").unwrap().version, "v1");
        for (text, says) in [
            ("Certificate", "write `Certificate.cert-manager.io` or `Certificate.other.io`"),
            ("deployments", "did you mean `Deployment`?"),
            ("Deploymnt", "did you mean `Deployment`?"),
        ] {
            let error = catalog.of_script(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_version_that_is_gone_names_those_that_are_served() {
        let error = catalog().of_manifest("apps/v1beta1", "Deployment").unwrap_err().to_string();
        assert_eq!(error, "the cluster serves `Deployment` not as `apps/v1beta1` but as `apps/v1`");
        let error = catalog().of_manifest("example.com/v1", "Thing").unwrap_err().to_string();
        assert_eq!(error, "the cluster serves no kind `Thing`");
    }
}
