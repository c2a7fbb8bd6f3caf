//! `k8s_drain`: a node without pods that somebody would miss.

use std::collections::BTreeMap;
use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::exchange::{Ask, refusal};
use super::look::list;
use super::node::{close, is_closed, path};
use super::reference::{Reference, check, cluster, word};
use crate::bindings::wait::{PATIENCE, poll};
use crate::bindings::{Call, Outcome, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::duration;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::k8s::Status;

/// Closes a node and evicts its pods, within their disruption budgets.
#[derive(Serialize)]
struct Drain {
    cluster: String,
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_seconds: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    delete_emptydir: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force: bool,
    #[serde(with = "duration")]
    patience: Duration,
}

/// Which pods went and which stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Drained {
    pods: Vec<String>,
    left: Vec<String>,
}

/// A pod on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pod {
    namespace: String,
    name: String,
    uid: String,
}

impl Pod {
    fn words(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// What a drain does with the pods of a node.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sorted {
    /// Those that go.
    evict: Vec<Pod>,
    /// Those that stay, with why: they would come back at once.
    stay: Vec<String>,
    /// Those that nobody would bring back, or whose data would be lost.
    refuse: Vec<String>,
}

fn sort(pods: &[Value], delete_emptydir: bool, force: bool) -> Sorted {
    let mut sorted = Sorted::default();
    for pod in pods {
        let metadata = &pod["metadata"];
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        let one = Pod { namespace: text("namespace"), name: text("name"), uid: text("uid") };
        let words = one.words();
        let owners = metadata["ownerReferences"].as_array();
        let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
        let is_over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let volumes = pod["spec"]["volumes"].as_array();
        let has_emptydir = volumes.into_iter().flatten().any(|volume| volume.get("emptyDir").is_some());
        if metadata["annotations"].get("kubernetes.io/config.mirror").is_some() {
            sorted.stay.push(format!("{words} (static)"));
        } else if controller.is_some_and(|owner| owner["kind"] == "DaemonSet") {
            sorted.stay.push(format!("{words} (daemon set)"));
        } else if is_over || metadata.get("deletionTimestamp").is_some() {
            sorted.evict.push(one);
        } else if controller.is_none() && !force {
            sorted.refuse.push(format!(
                "{words} has no controller that would bring it back (`force: true` evicts it)"
            ));
        } else if has_emptydir && !delete_emptydir {
            sorted
                .refuse
                .push(format!("{words} keeps data in an emptyDir (`delete_emptydir: true` gives it up)"));
        } else {
            sorted.evict.push(one);
        }
    }
    sorted
}

impl Drain {
    fn failed(&self, kind: &str, text: &str) -> Failure {
        let message = format!("cluster `{}`: node `{}`: {text}", self.cluster, self.node);
        Failure { kind: kind.to_owned(), ..invalid(message) }
    }

    async fn look(&self, permit: &Permit<'_>) -> Result<(Value, Sorted), Failure> {
        let node = Ask::get(&self.cluster, path(&self.node));
        let node = node.object(permit, &format!("Node {}", self.node)).await?;
        let pods = Reference {
            cluster: self.cluster.clone(),
            kind: "Pod".to_owned(),
            namespace: None,
            name: String::new(),
        };
        let on_node = format!("spec.nodeName={}", self.node);
        let pods = list(permit, &pods, "", &on_node).await?;
        Ok((node, sort(&pods, self.delete_emptydir, self.force)))
    }

    /// Asks for the eviction of a pod: gone, on its way, or why not.
    async fn evict(&self, permit: &Permit<'_>, pod: &Pod) -> Result<Option<String>, Failure> {
        let Pod { namespace, name, uid } = pod;
        let mut options = json!({ "preconditions": { "uid": uid } });
        if let Some(seconds) = self.grace_seconds {
            options["gracePeriodSeconds"] = seconds.into();
        }
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": name, "namespace": namespace }, "deleteOptions": options,
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
        // A budget is not a server in trouble: the other pods come first.
        let ask = Ask { is_once: true, ..Ask::json(&self.cluster, "POST", path, "application/json", &body) };
        let reply = ask.send(permit).await?;
        match reply.status {
            // Another pod of that name has another uid.
            404 | 409 => Ok(None),
            200..300 => Ok(None),
            429 => {
                let status = Status::read(&reply.body);
                let causes = status.causes().iter().map(|cause| cause.message.clone());
                let causes = causes.collect::<Vec<_>>().join("; ");
                Ok(Some(if causes.is_empty() { status.sentence() } else { causes }))
            }
            _ => Err(refusal(&self.cluster, &format!("eviction of {}", pod.words()), &reply)),
        }
    }

    async fn is_gone(&self, permit: &Permit<'_>, pod: &Pod) -> Result<bool, Failure> {
        let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
        let live = Ask::get(&self.cluster, path).found(permit, &pod.words()).await?;
        Ok(live.is_none_or(|live| live["metadata"]["uid"] != *pod.uid))
    }
}

impl Effect for Drain {
    const NAME: &'static str = "k8s.drain";
    const KIND: Kind = Kind::Ensure;
    type Output = Drained;

    fn target(&self) -> Target {
        Target::Named { name: format!("{}/{}", self.cluster, self.node) }
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Drained>, Failure> {
        let (node, sorted) = self.look(permit).await?;
        if !sorted.refuse.is_empty() {
            return Err(self.failed("blocked", &sorted.refuse.join("; ")));
        }
        let closed = is_closed(&node);
        let pods: Vec<String> = sorted.evict.iter().map(Pod::words).collect();
        let mut diff = String::new();
        if !closed {
            diff.push_str("-unschedulable: false\n+unschedulable: true\n");
        }
        for pod in &pods {
            diff.push_str(&format!("-pod {pod}\n"));
        }
        Ok(Seen {
            pre: json!({ "unschedulable": closed, "pods": pods }),
            changes: !closed || !pods.is_empty(),
            diff: Some(diff).filter(|diff| !diff.is_empty()),
            output: Some(Drained { pods, left: sorted.stay }),
        })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Drained>) -> Result<Done<Drained>, Failure> {
        close(permit, &self.cluster, &self.node, true).await?;
        // What was placed there between the look and now goes, too.
        let (_, sorted) = self.look(permit).await?;
        if !sorted.refuse.is_empty() {
            let text = format!("{}; it stays closed for new pods", sorted.refuse.join("; "));
            return Err(self.failed("blocked", &text));
        }
        let mut left = sorted.evict.clone();
        let mut asked: BTreeMap<String, Option<String>> = BTreeMap::new();
        let gone = poll(permit, self.patience, async |_| {
            let mut remaining = Vec::new();
            for pod in &left {
                if !matches!(asked.get(&pod.uid), Some(None)) {
                    asked.insert(pod.uid.clone(), self.evict(permit, pod).await?);
                }
                if !self.is_gone(permit, pod).await? {
                    remaining.push(pod.clone());
                }
            }
            left = remaining;
            Ok(if left.is_empty() { Ok(()) } else { Err(()) })
        });
        if gone.await?.is_err() {
            let why = left.iter().map(|pod| match asked.get(&pod.uid) {
                Some(Some(why)) => format!("{}: {why}", pod.words()),
                Some(None) | None => format!("{}: evicted, but it has not ended", pod.words()),
            });
            let why = why.collect::<Vec<_>>().join("; ");
            let text = format!(
                "after {} there are still pods: {why}; it stays closed for new pods",
                duration::text(self.patience)
            );
            return Err(self.failed("timed_out", &text));
        }
        let stay = seen.output.as_ref().map(|output| output.left.clone()).unwrap_or_default();
        let pods = sorted.evict.iter().map(Pod::words).collect();
        Ok(Done::changed(Drained { pods, left: stay }))
    }
}

pub(super) fn k8s_drain(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = Drain {
        cluster: cluster(call)?,
        node: word(call, 1)?,
        grace_seconds: call.option_duration("grace")?.map(|grace| grace.as_secs()),
        delete_emptydir: call.option_bool("delete_emptydir", false)?,
        force: call.option_bool("force", false)?,
        patience: call.option_duration("timeout")?.unwrap_or(PATIENCE),
    };
    check(call, "node", &effect.node)?;
    call.answer(&effect, |drained, changed| {
        Outcome::known(json!({ "ok": true, "changed": changed, "pods": drained.pods, "left": drained.left }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, more: Value) -> Value {
        let mut pod = json!({ "metadata": { "name": name, "namespace": "web", "uid": name } });
        for (part, fields) in more.as_object().unwrap() {
            for (key, value) in fields.as_object().unwrap() {
                pod[part][key] = value.clone();
            }
        }
        pod
    }

    #[test]
    fn pods_are_told_apart_by_what_becomes_of_them() {
        let owned = |kind: &str| json!([{ "controller": true, "kind": kind }]);
        let pods = [
            pod("set", json!({ "metadata": { "ownerReferences": owned("ReplicaSet") } })),
            pod("daemon", json!({ "metadata": { "ownerReferences": owned("DaemonSet") } })),
            pod("static", json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "1" } } })),
            pod("alone", json!({})),
            pod("over", json!({ "status": { "phase": "Succeeded" } })),
            pod(
                "data",
                json!({
                    "metadata": { "ownerReferences": owned("ReplicaSet") },
                    "spec": { "volumes": [{ "name": "x", "emptyDir": {} }] },
                }),
            ),
        ];
        let sorted = sort(&pods, false, false);
        let evicted: Vec<&str> = sorted.evict.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(evicted, ["set", "over"]);
        assert_eq!(sorted.stay, ["web/daemon (daemon set)", "web/static (static)"]);
        assert_eq!(sorted.refuse.len(), 2, "{:?}", sorted.refuse);
        let sorted = sort(&pods, true, true);
        assert_eq!((sorted.evict.len(), sorted.refuse.len()), (4, 0));
    }
}
