//! Nodes: `k8s_cordon k8s_uncordon`.

use std::marker::PhantomData;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::exchange::Ask;
use super::reference::{cluster, word};
use crate::bindings::{Call, Outcome, Raise};
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;

/// Whether pods may be placed on a node.
pub(super) trait Side {
    const NAME: &'static str;
    const CLOSED: bool;
}

pub(super) struct Cordon;
pub(super) struct Uncordon;

impl Side for Cordon {
    const NAME: &'static str = "k8s.cordon";
    const CLOSED: bool = true;
}

impl Side for Uncordon {
    const NAME: &'static str = "k8s.uncordon";
    const CLOSED: bool = false;
}

/// Closes a node for new pods, or opens it.
#[derive(Serialize)]
struct Close<S> {
    cluster: String,
    node: String,
    #[serde(skip)]
    side: PhantomData<S>,
}

/// Nothing to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Closed {}

/// Returns a node's path.
pub(super) fn path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

/// Closes or opens a node.
pub(super) async fn close(
    permit: &Permit<'_>,
    cluster: &str,
    node: &str,
    closed: bool,
) -> Result<Value, Failure> {
    // Null takes the field away, as `kubectl uncordon` does.
    let body = json!({ "spec": { "unschedulable": if closed { Value::Bool(true) } else { Value::Null } } });
    let path = format!("{}?fieldManager=nlrun-patch", path(node));
    let ask = Ask::json(cluster, "PATCH", path, "application/merge-patch+json", &body);
    ask.object(permit, &format!("Node {node}")).await
}

/// Whether a node is closed for new pods.
pub(super) fn is_closed(node: &Value) -> bool {
    node["spec"]["unschedulable"].as_bool().unwrap_or(false)
}

impl<S: Side> Effect for Close<S> {
    const NAME: &'static str = S::NAME;
    const KIND: Kind = Kind::Ensure;
    type Output = Closed;

    fn target(&self) -> Target {
        Target::Named { name: format!("{}/{}", self.cluster, self.node) }
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Closed>, Failure> {
        let node = Ask::get(&self.cluster, path(&self.node));
        let node = node.object(permit, &format!("Node {}", self.node)).await?;
        let closed = is_closed(&node);
        let line = |closed: bool| format!("unschedulable: {closed}\n");
        let changes = closed != S::CLOSED;
        let diff = changes.then(|| format!("-{}+{}", line(closed), line(S::CLOSED)));
        Ok(Seen { pre: json!({ "unschedulable": closed }), changes, diff, output: Some(Closed {}) })
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Closed>) -> Result<Done<Closed>, Failure> {
        close(permit, &self.cluster, &self.node, S::CLOSED).await?;
        Ok(Done::changed(Closed {}))
    }
}

fn closing<S: Side>(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = Close::<S> { cluster: cluster(call)?, node: word(call, 1)?, side: PhantomData };
    super::reference::check(call, "node", &effect.node)?;
    call.answer(&effect, |_, changed| Outcome::known(json!({ "ok": true, "changed": changed })))
}

pub(super) fn k8s_cordon(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    closing::<Cordon>(call)
}

pub(super) fn k8s_uncordon(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    closing::<Uncordon>(call)
}
