//! `k8s_rollout`: the pods of a workload anew, one after the other.

use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::exchange::Ask;
use super::reference::Reference;
use super::wait::until;
use crate::bindings::wait::PATIENCE;
use crate::bindings::{Call, Outcome, Raise};
use crate::gate::{Done, Doubt, Effect, Permit, Seen};
use crate::model::duration;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;

/// What `kubectl rollout restart` writes, too.
const STAMP: &str = "kubectl.kubernetes.io/restartedAt";

/// Restarts the pods of a workload and waits until the new ones are there.
#[derive(Serialize)]
struct Rollout {
    #[serde(flatten)]
    object: Reference,
    #[serde(with = "duration")]
    patience: Duration,
}

/// How long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Restarted {
    seconds: f64,
}

impl Rollout {
    async fn stamp(&self, permit: &Permit<'_>) -> Result<Value, Failure> {
        let path = self.object.path(permit).await?;
        let live = Ask::get(&self.object.cluster, path).object(permit, &self.object.words()).await?;
        Ok(live["spec"]["template"]["metadata"]["annotations"][STAMP].clone())
    }

    async fn settle(&self, permit: &Permit<'_>) -> Result<Done<Restarted>, Failure> {
        let took = until(permit, &self.object, &["rollout".to_owned()], &[], self.patience).await?;
        Ok(Done::changed(Restarted { seconds: took.as_secs_f64() }))
    }
}

impl Effect for Rollout {
    const NAME: &'static str = "k8s.rollout";
    const KIND: Kind = Kind::Act;
    type Output = Restarted;

    fn target(&self) -> Target {
        self.object.target()
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Restarted>, Failure> {
        Ok(Seen { pre: json!({ "stamp": self.stamp(permit).await? }), ..Seen::unknown() })
    }

    async fn perform(
        &self,
        permit: &Permit<'_>,
        _seen: &Seen<Restarted>,
    ) -> Result<Done<Restarted>, Failure> {
        let now = permit.now().to_string();
        let body = json!({ "spec": { "template": { "metadata": { "annotations": { STAMP: now } } } } });
        let path = format!("{}?fieldManager=nlrun-patch", self.object.path(permit).await?);
        // The same stamp twice is one restart.
        let ask = Ask::json(&self.object.cluster, "PATCH", path, "application/merge-patch+json", &body);
        ask.object(permit, &self.object.words()).await?;
        self.settle(permit).await
    }

    async fn probe(&self, permit: &Permit<'_>, pre: &Value) -> Result<Doubt<Restarted>, Failure> {
        let Some(before) = pre.get("stamp") else { return Ok(Doubt::Unknown) };
        if self.stamp(permit).await? == *before {
            return Ok(Doubt::DidNot);
        }
        Ok(Doubt::Happened(self.settle(permit).await?))
    }
}

pub(super) fn k8s_rollout(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = Rollout {
        object: Reference::read(call)?,
        patience: call.option_duration("timeout")?.unwrap_or(PATIENCE),
    };
    call.answer(&effect, |restarted, changed| {
        Outcome::known(json!({ "ok": true, "changed": changed, "seconds": restarted.seconds }))
    })
}
