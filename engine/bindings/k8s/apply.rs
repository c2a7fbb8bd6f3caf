//! `k8s_apply`: server-side apply of one object, one effect each.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::exchange::{Ask, is_absent, kind, parsed, refusal, refuse_owned, unknown_kind};
use super::look::{is_certificate, secret_name, values};
use super::reference::query;
use crate::bindings::wait::{patience, poll};
use crate::gate::permit::invalid;
use crate::gate::redactor::Redactor;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::diff::unified;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::k8s::{Id, Manifest, Resource, UnknownKind, normal, yaml};
use crate::model::run::Mode;
use crate::model::secret::Secret;
use crate::world::k8s::Reply;

/// The type of a server-side apply; JSON is YAML, too.
const APPLY: &str = "application/apply-patch+yaml";
/// Lines around a change.
const CONTEXT: usize = 3;
/// How long a new kind may take until it is served.
const ESTABLISHED: Duration = Duration::from_secs(60);

/// Brings one object to what a manifest says; fields that the manifest does not name are left to others.
#[derive(Serialize)]
pub(super) struct Apply {
    pub(super) cluster: String,
    #[serde(flatten)]
    pub(super) id: Id,
    /// Stands for the manifest: it may be long, and hold secrets.
    pub(super) manifest: Digest,
    #[serde(skip)]
    pub(super) body: Arc<Zeroizing<Vec<u8>>>,
    #[serde(skip)]
    pub(super) wanted: Arc<Value>,
    /// The kind that it defines.
    #[serde(skip)]
    pub(super) defines: Option<(String, String)>,
    /// Whether its kind comes with the same manifests.
    #[serde(skip)]
    pub(super) is_new_kind: bool,
    pub(super) manager: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) force: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) take_over: bool,
}

/// What a manifest is recorded as.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Digest {
    Plain {
        sha256: String,
        bytes: usize,
    },
    /// A digest of a short secret could be tried out.
    Secret {
        keys: Vec<String>,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Applied {
    pub(super) action: Action,
    /// What the server warns of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
    /// The object as it was found, on its way from looking to doing.
    #[serde(skip)]
    live: Option<Arc<Value>>,
}

impl Applied {
    fn new(action: Action, warnings: Vec<String>) -> Self {
        Self { action, warnings, live: None }
    }
}

/// What was done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Created,
    Configured,
    Unchanged,
}

/// That a plan would bring an object.
pub(super) struct Promised;

impl Apply {
    pub(super) fn new(
        cluster: &str,
        manifest: &Manifest,
        manager: &str,
        force: bool,
        take_over: bool,
        redactor: &Redactor,
    ) -> Self {
        let body = manifest.body.to_string().into_bytes();
        let digest = if manifest.id.is_secret() {
            let keys = manifest.body["data"].as_object().into_iter().flatten();
            Digest::Secret { keys: keys.map(|(key, _)| key.clone()).collect() }
        } else {
            // Secrets stand in it by name, as everywhere in the record: their digest could be tried out, and a replay has no more.
            let recorded = redactor.bytes(&body);
            Digest::Plain { sha256: crate::store::sha256(&recorded), bytes: recorded.len() }
        };
        Self {
            cluster: cluster.to_owned(),
            id: manifest.id.clone(),
            manifest: digest,
            body: Arc::new(Zeroizing::new(body)),
            wanted: manifest.body.clone(),
            defines: manifest.defines(),
            is_new_kind: false,
            manager: manager.to_owned(),
            force,
            take_over,
        }
    }

    fn words(&self) -> String {
        self.id.to_string()
    }

    fn get(&self, path: String) -> Ask<'_> {
        Ask::get(&self.cluster, path)
    }

    /// Makes the values of a secret known, should an answer of the server quote one.
    fn learn(&self, permit: &Permit<'_>) {
        if !self.id.is_secret() {
            return;
        }
        let Id { namespace, name, .. } = &self.id;
        for (key, bytes) in values(&self.wanted).filter(|(_, bytes)| !is_certificate(bytes)) {
            let name = secret_name(&self.cluster, namespace.as_deref(), name, key);
            // One that is too short to be told from other text cannot be replaced in it.
            let _ = permit.learn(&Secret::new(name, bytes));
        }
    }

    /// Finds the kind; in a plan it may be one that the plan brings.
    ///
    /// A kind that was just defined is served before discovery tells of it.
    async fn resource(&self, permit: &Permit<'_>) -> Result<Result<Resource, UnknownKind>, Failure> {
        let Id { api_version, kind: name, .. } = &self.id;
        let limit = if self.is_new_kind { patience(permit, ESTABLISHED) } else { Duration::ZERO };
        poll(permit, limit, async |_| {
            kind(permit, &self.cluster, |catalog| catalog.of_manifest(api_version, name).cloned()).await
        })
        .await
    }

    /// Demands that the manifest's namespace fits its kind, and that the run may do this where the kind has none.
    fn placed(&self, permit: &Permit<'_>, resource: &Resource) -> Result<(), Failure> {
        if resource.is_namespaced && self.id.namespace.is_none() {
            let message = format!(
                "{}: a {} is in a namespace: write it in the manifest, or give it as option `namespace`",
                self.words(),
                self.id.kind
            );
            return Err(invalid(message));
        }
        if !resource.is_namespaced && self.id.namespace.is_some() {
            let real = Id { namespace: None, ..self.id.clone() };
            permit.may_named(Self::NAME, &real.target(&self.cluster))?;
        }
        Ok(())
    }

    /// Sends the manifest; with `dry_run` the server answers what would come of it.
    async fn send(&self, permit: &Permit<'_>, path: &str, dry_run: bool) -> Result<Reply, Failure> {
        let mut pairs = vec![("fieldManager", self.manager.as_str()), ("fieldValidation", "Strict")];
        if self.force {
            pairs.push(("force", "true"));
        }
        if dry_run {
            pairs.push(("dryRun", "All"));
        }
        let ask = Ask {
            cluster: &self.cluster,
            method: "PATCH",
            path: format!("{path}{}", query(&pairs)),
            body: Some((APPLY, self.body.clone())),
            is_repeatable: true,
            is_once: false,
        };
        ask.send(permit).await
    }

    fn diff(&self, before: Option<&Value>, after: &Value) -> Option<String> {
        let (before, after) = (before.map(normal), normal(after));
        let (old, new) = yaml(before.as_ref(), Some(&after));
        let label = self.id.target(&self.cluster);
        let from = if before.is_some() { format!("{label} (live)") } else { "/dev/null".to_owned() };
        Some(unified(&old, &new, &from, &label, CONTEXT)).filter(|diff| !diff.is_empty())
    }

    /// Returns what a plan promises where the server cannot be asked yet: the manifest as it is.
    fn promise_creation(&self, permit: &Permit<'_>) -> Seen<Applied> {
        self.promise(permit);
        Seen {
            pre: json!({ "live": null }),
            changes: true,
            diff: self.diff(None, &self.wanted),
            output: Some(Applied::new(Action::Created, Vec::new())),
        }
    }

    fn promise(&self, permit: &Permit<'_>) {
        permit.promise(&self.id.target(&self.cluster), Promised);
        if let Some((group, kind)) = &self.defines {
            permit.promise(&kind_key(&self.cluster, group, kind), Promised);
        }
    }

    /// Whether the plan brings what the server misses: the object's namespace or kind.
    fn is_promised(&self, permit: &Permit<'_>, key: &str) -> bool {
        permit.promised::<Promised>(key).is_some() && permit.mode() == Mode::Plan
    }

    async fn forecast(
        &self,
        permit: &Permit<'_>,
        path: &str,
        live: Option<&Value>,
    ) -> Result<Seen<Applied>, Failure> {
        let reply = self.send(permit, path, true).await?;
        if let Some(namespace) = self.missing_namespace(&reply) {
            let key = format!("{}/Namespace/{namespace}", self.cluster);
            if self.is_promised(permit, &key) {
                return Ok(self.promise_creation(permit));
            }
            return Err(self.no_namespace(namespace));
        }
        if !(200..300).contains(&reply.status) {
            return Err(refusal(&self.cluster, &self.words(), &reply));
        }
        let after = parsed(&self.cluster, &self.words(), &reply)?;
        let changes = live.is_none_or(|live| self.differs(live, &after));
        let action = match (live, changes) {
            (None, _) => Action::Created,
            (Some(_), true) => Action::Configured,
            (Some(_), false) => Action::Unchanged,
        };
        let diff = self.diff(live, &after).or_else(|| changes.then(|| self.ownership_only()));
        self.promise(permit);
        Ok(Seen {
            pre: pre(live),
            changes,
            diff: diff.filter(|_| changes),
            output: Some(Applied::new(action, reply.warnings)),
        })
    }

    /// Whether something that people decide about differs: the object, or which of its fields are ours.
    ///
    /// The server rewrites its notes about others by itself, so that its version of the object may differ all the same.
    fn differs(&self, before: &Value, after: &Value) -> bool {
        normal(before) != normal(after) || self.own_fields(before) != self.own_fields(after)
    }

    fn own_fields<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        let entries = object["metadata"]["managedFields"].as_array()?;
        let own =
            entries.iter().find(|entry| entry["manager"] == *self.manager && entry["operation"] == "Apply");
        own.map(|entry| &entry["fieldsV1"])
    }

    fn ownership_only(&self) -> String {
        format!("{}: nothing but who owns the fields: `{}`\n", self.words(), self.manager)
    }

    /// Returns the namespace, where the server says that it is not there: an object that is applied need not be.
    fn missing_namespace(&self, reply: &Reply) -> Option<&str> {
        self.id.namespace.as_deref().filter(|_| is_absent(reply))
    }

    fn no_namespace(&self, namespace: &str) -> Failure {
        let message = format!(
            "cluster `{}`: {}: there is no namespace `{namespace}`; apply it before, or among the same manifests",
            self.cluster,
            self.words()
        );
        Failure { kind: "not_found".to_owned(), ..invalid(message) }
    }

    /// Waits until a new kind is served: what is applied after it may be of that kind.
    async fn established(&self, permit: &Permit<'_>, path: &str) -> Result<(), Failure> {
        let Some((group, kind)) = &self.defines else { return Ok(()) };
        let found = poll(permit, ESTABLISHED, async |_| {
            let live = self.get(path.to_owned()).object(permit, &self.words()).await?;
            let conditions = live["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let state = |name: &str| conditions.iter().find(|condition| condition["type"] == name);
            if let Some(refused) = state("NamesAccepted").filter(|condition| condition["status"] == "False") {
                let why = refused["message"].as_str().unwrap_or_default();
                let message = format!("cluster `{}`: {}: {why}", self.cluster, self.words());
                return Err(Failure { kind: "rejected".to_owned(), ..invalid(message) });
            }
            let is_there = state("Established").is_some_and(|condition| condition["status"] == "True");
            Ok(if is_there { Ok(()) } else { Err(()) })
        });
        found.await?.map_err(|()| {
            let message = format!("cluster `{}`: {kind}.{group} is not served yet", self.cluster);
            Failure { kind: "timed_out".to_owned(), ..invalid(message) }
        })
    }
}

/// The key under which a plan remembers that it brings a kind.
fn kind_key(cluster: &str, group: &str, kind: &str) -> String {
    format!("{cluster}/kind/{kind}.{group}")
}

/// Returns what a plan compares of the state before.
fn pre(live: Option<&Value>) -> Value {
    match live {
        Some(live) => {
            let text = normal(live).to_string();
            let owners = owners(live);
            // Of a secret, no digest without what only the server knows.
            let salt = live["metadata"]["uid"].as_str().unwrap_or_default();
            let digest = crate::store::sha256(format!("{salt}{text}{owners}").as_bytes());
            json!({ "live": digest })
        }
        None => json!({ "live": null }),
    }
}

/// Returns who owns which fields, without the times at which they were written.
fn owners(object: &Value) -> Value {
    let mut managers = object["metadata"]["managedFields"].clone();
    for entry in managers.as_array_mut().into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
    }
    managers
}

impl Effect for Apply {
    const NAME: &'static str = "k8s.apply";
    const KIND: Kind = Kind::Ensure;
    type Output = Applied;

    fn target(&self) -> Target {
        Target::Named { name: self.id.target(&self.cluster) }
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Applied>, Failure> {
        self.learn(permit);
        let resource = match self.resource(permit).await? {
            Ok(resource) => resource,
            Err(unknown) => {
                let key = kind_key(&self.cluster, self.id.group(), &self.id.kind);
                if self.is_promised(permit, &key) {
                    return Ok(self.promise_creation(permit));
                }
                return Err(unknown_kind(&self.cluster, &unknown));
            }
        };
        self.placed(permit, &resource)?;
        let path = resource.path(self.id.namespace.as_deref(), Some(&self.id.name));
        let live = self.get(path.clone()).found(permit, &self.words()).await?;
        if let Some(live) = &live {
            let instead = "which would put it back; change it there";
            refuse_owned(&self.cluster, &self.words(), live, self.take_over, instead)?;
        }
        if permit.mode() == Mode::Plan {
            return self.forecast(permit, &path, live.as_ref()).await;
        }
        // The server finds out by itself whether something changes, and says so by the object's version.
        let pre = pre(live.as_ref());
        let applied = Applied { live: live.map(Arc::new), ..Applied::new(Action::Configured, Vec::new()) };
        Ok(Seen { pre, changes: true, diff: None, output: Some(applied) })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Applied>) -> Result<Done<Applied>, Failure> {
        let before = seen.output.as_ref().and_then(|applied| applied.live.as_deref());
        let resource =
            self.resource(permit).await?.map_err(|unknown| unknown_kind(&self.cluster, &unknown))?;
        let path = resource.path(self.id.namespace.as_deref(), Some(&self.id.name));
        let reply = self.send(permit, &path, false).await?;
        if let Some(namespace) = self.missing_namespace(&reply) {
            return Err(self.no_namespace(namespace));
        }
        if !(200..300).contains(&reply.status) {
            return Err(refusal(&self.cluster, &self.words(), &reply));
        }
        let after = parsed(&self.cluster, &self.words(), &reply)?;
        self.established(permit, &path).await?;
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let action = match before {
            None => Action::Created,
            Some(before) if version(before) == version(&after) || !self.differs(before, &after) => {
                Action::Unchanged
            }
            Some(_) => Action::Configured,
        };
        let output = Applied::new(action, reply.warnings);
        if action == Action::Unchanged {
            return Ok(Done::ok(output));
        }
        let diff = self.diff(before, &after).unwrap_or_else(|| self.ownership_only());
        Ok(Done { diff: Some(diff), ..Done::changed(output) })
    }
}
