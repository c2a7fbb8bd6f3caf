//! `k8s_delete`: an object that shall not be there.

use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::exchange::{Ask, refusal, refuse_owned};
use super::reference::Reference;
use crate::bindings::wait::poll;
use crate::bindings::{Call, Outcome, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::diff::unified;
use crate::model::duration;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::k8s::{Id, normal, yaml};

/// How long an object may take to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// Removes an object, and waits until it is gone.
#[derive(Serialize)]
pub(super) struct Delete {
    #[serde(flatten)]
    object: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_seconds: Option<u64>,
    orphan: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    take_over: bool,
    #[serde(with = "duration")]
    patience: Duration,
}

/// Whether it was there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Deleted {
    existed: bool,
}

impl Delete {
    /// Removes what is no longer among the manifests.
    pub(super) fn pruned(cluster: &str, id: &Id) -> Self {
        let group = if id.group().is_empty() { String::new() } else { format!(".{}", id.group()) };
        Self {
            object: Reference {
                cluster: cluster.to_owned(),
                kind: format!("{}{group}", id.kind),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
            },
            grace_seconds: None,
            orphan: false,
            take_over: false,
            patience: PATIENCE,
        }
    }

    async fn live(&self, permit: &Permit<'_>) -> Result<(String, Option<Value>), Failure> {
        let path = self.object.path(permit).await?;
        let found = Ask::get(&self.object.cluster, path.clone()).found(permit, &self.object.words()).await?;
        Ok((path, found))
    }
}

impl Effect for Delete {
    const NAME: &'static str = "k8s.delete";
    const KIND: Kind = Kind::Ensure;
    type Output = Deleted;

    fn target(&self) -> Target {
        self.object.target()
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Deleted>, Failure> {
        let (_, live) = self.live(permit).await?;
        let Some(live) = live else {
            let output = Some(Deleted { existed: false });
            return Ok(Seen { pre: json!({ "live": null }), changes: false, diff: None, output });
        };
        let instead = "which would bring it back; remove it there";
        refuse_owned(&self.object.cluster, &self.object.words(), &live, self.take_over, instead)?;
        let name = self.object.named();
        let (text, _) = yaml(Some(&normal(&live)), None);
        let diff = unified(&text, "", &name, "/dev/null", 3);
        // Which object it is, whatever becomes of its contents meanwhile.
        let pre = json!({ "live": live["metadata"]["uid"] });
        Ok(Seen { pre, changes: true, diff: Some(diff), output: Some(Deleted { existed: true }) })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Deleted>) -> Result<Done<Deleted>, Failure> {
        let path = self.object.path(permit).await?;
        let mut options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": if self.orphan { "Orphan" } else { "Background" },
            // Another object of the same name is not what was looked at.
            "preconditions": { "uid": seen.pre["live"] },
        });
        if let Some(seconds) = self.grace_seconds {
            options["gracePeriodSeconds"] = seconds.into();
        }
        let ask = Ask::json(&self.object.cluster, "DELETE", path, "application/json", &options);
        let what = self.object.words();
        let reply = ask.send(permit).await?;
        if reply.status != 404 && !(200..300).contains(&reply.status) {
            return Err(refusal(&self.object.cluster, &what, &reply));
        }
        let gone = poll(permit, self.patience, async |_| {
            let (_, live) = self.live(permit).await?;
            let same = live.filter(|live| live["metadata"]["uid"] == seen.pre["live"]);
            Ok(match same {
                None => Ok(()),
                Some(live) => Err(finalizers(&live)),
            })
        });
        gone.await?.map_err(|why| {
            let message = format!(
                "cluster `{}`: {what} is still there after {}{why}",
                self.object.cluster,
                duration::text(self.patience)
            );
            Failure { kind: "timed_out".to_owned(), ..invalid(message) }
        })?;
        Ok(Done::changed(Deleted { existed: true }))
    }
}

/// Names what keeps an object from going.
fn finalizers(object: &Value) -> String {
    let names: Vec<&str> =
        object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let conditions = object["status"]["conditions"].as_array();
    let told = conditions.into_iter().flatten().filter(|condition| condition["status"] == "True");
    let told: Vec<&str> = told.filter_map(|condition| condition["message"].as_str()).collect();
    match (names.is_empty(), told.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(": its finalizers wait: {}", names.join(", ")),
        (_, false) => format!(": {}", told.join("; ")),
    }
}

pub(super) fn k8s_delete(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = Delete {
        object: Reference::read(call)?,
        grace_seconds: call.option_duration("grace")?.map(|grace| grace.as_secs()),
        orphan: call.option_bool("orphan", false)?,
        take_over: call.option_bool("take_over", false)?,
        patience: call.option_duration("timeout")?.unwrap_or(PATIENCE),
    };
    call.answer(&effect, |deleted, changed| {
        Outcome::known(json!({ "ok": true, "changed": changed, "existed": deleted.existed }))
    })
}
