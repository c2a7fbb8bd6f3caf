//! `k8s_wait`: until an object is in a state, and what a state is.

use std::time::{Duration, Instant};

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::apply::Promised;
use super::exchange::Ask;
use super::reference::Reference;
use crate::bindings::wait::{PATIENCE, patience, poll};
use crate::bindings::{Call, Outcome, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::duration;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::run::Mode;

/// Waits until an object is in a state.
#[derive(Serialize)]
struct Wait {
    #[serde(flatten)]
    object: Reference,
    /// All of these.
    until: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fails: Vec<String>,
    #[serde(with = "duration")]
    patience: Duration,
}

/// How long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waited {
    seconds: f64,
}

/// How an object stands to a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It is in it.
    There,
    /// Not yet, and why.
    NotYet(String),
    /// It will never be, and why.
    Never(String),
}

/// Compares an object with a state: `deleted`, `rollout`, `complete`, a condition such as `Ready` or `Ready=False`, or the value
/// of a field such as `status.phase=Running`.
pub(super) fn state(object: Option<&Value>, until: &str) -> State {
    let Some(object) = object else {
        return if until == "deleted" { State::There } else { State::NotYet("it is not there".to_owned()) };
    };
    match until {
        "deleted" => State::NotYet("it is still there".to_owned()),
        "rollout" => rollout(object),
        "complete" => match condition(object, "Failed") {
            Some((true, why)) => State::Never(format!("it failed: {why}")),
            _ => of_condition(object, "Complete", true),
        },
        other => {
            let (left, right) = other.split_once('=').unwrap_or((other, "True"));
            if left.contains('.') {
                return field(object, left.trim_start_matches('.'), right);
            }
            of_condition(object, left, right.eq_ignore_ascii_case("true"))
        }
    }
}

fn field(object: &Value, path: &str, wanted: &str) -> State {
    let found = path.split('.').try_fold(object, |value, key| match key.parse::<usize>() {
        Ok(index) if value.is_array() => value.get(index),
        Ok(_) | Err(_) => value.get(key),
    });
    let text = match found {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text == wanted { State::There } else { State::NotYet(format!("`{path}` is {text}")) }
}

/// Returns whether a condition is true, and its words.
fn condition(object: &Value, name: &str) -> Option<(bool, String)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    let why = [text("reason"), text("message")].into_iter().filter(|text| !text.is_empty());
    Some((found["status"] == "True", why.collect::<Vec<_>>().join(": ")))
}

fn of_condition(object: &Value, name: &str, wanted: bool) -> State {
    match condition(object, name) {
        Some((is_true, _)) if is_true == wanted => State::There,
        Some((_, why)) if why.is_empty() => State::NotYet(format!("`{name}` is {}", !wanted)),
        Some((_, why)) => State::NotYet(format!("`{name}` is {}: {why}", !wanted)),
        None => State::NotYet(format!("it has no condition `{name}` yet")),
    }
}

/// Whether all pods are of the newest template and available, as `kubectl rollout status` asks.
fn rollout(object: &Value) -> State {
    let number = |part: &str, key: &str| object[part][key].as_i64();
    let status = |key: &str| number("status", key).unwrap_or(0);
    if number("status", "observedGeneration") < number("metadata", "generation") {
        return State::NotYet("its controller has not seen the change yet".to_owned());
    }
    let not_yet = |have: i64, want: i64, words: &str| State::NotYet(format!("{have} of {want} pods {words}"));
    match object["kind"].as_str().unwrap_or_default() {
        "Deployment" => {
            if let Some((false, why)) = condition(object, "Progressing")
                && why.starts_with("ProgressDeadlineExceeded")
            {
                return State::Never(why);
            }
            let want = number("spec", "replicas").unwrap_or(1);
            if status("updatedReplicas") < want {
                return not_yet(status("updatedReplicas"), want, "are of the new template");
            }
            if status("replicas") > status("updatedReplicas") {
                let old = status("replicas") - status("updatedReplicas");
                return State::NotYet(format!("{old} pods of the old template are still there"));
            }
            if status("availableReplicas") < want {
                return not_yet(status("availableReplicas"), want, "are available");
            }
            State::There
        }
        "StatefulSet" => {
            let want = number("spec", "replicas").unwrap_or(1);
            let kept = object["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
            if status("readyReplicas") < want {
                return not_yet(status("readyReplicas"), want, "are ready");
            }
            if status("updatedReplicas") < want - kept {
                return not_yet(status("updatedReplicas"), want - kept, "are of the new template");
            }
            State::There
        }
        "DaemonSet" => {
            let want = status("desiredNumberScheduled");
            if status("updatedNumberScheduled") < want {
                return not_yet(status("updatedNumberScheduled"), want, "are of the new template");
            }
            if status("numberAvailable") < want {
                return not_yet(status("numberAvailable"), want, "are available");
            }
            State::There
        }
        other => State::Never(format!("a {other} has no rollout")),
    }
}

/// Waits for all states; says why it is not there when the time is over. One of `fails` ends it.
pub(super) async fn until(
    permit: &Permit<'_>,
    object: &Reference,
    wanted: &[String],
    fails: &[String],
    limit: Duration,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let what = object.words();
    let told = |kind: &str, text: String| {
        let message = format!("cluster `{}`: {what}: {text}", object.cluster);
        Failure { kind: kind.to_owned(), ..invalid(message) }
    };
    let found = poll(permit, limit, async |_| {
        let path = object.path(permit).await?;
        let live = Ask::get(&object.cluster, path).found(permit, &what).await?;
        if let Some(failed) = fails.iter().find(|failed| state(live.as_ref(), failed) == State::There) {
            let message = live.as_ref().and_then(message).map(|text| format!(": {text}"));
            return Err(told("failed", format!("`{failed}`{}", message.unwrap_or_default())));
        }
        for one in wanted {
            match state(live.as_ref(), one) {
                State::There => {}
                State::NotYet(why) => return Ok(Err((one.clone(), why))),
                State::Never(why) => return Err(told("failed", why)),
            }
        }
        Ok(Ok(()))
    });
    match found.await? {
        Ok(()) => Ok(begun.elapsed()),
        Err((wanted, why)) => {
            Err(told("timed_out", format!("not `{wanted}` after {}: {why}", duration::text(limit))))
        }
    }
}

/// Returns what an object says about itself, in one of the places where controllers write it.
fn message(object: &Value) -> Option<String> {
    let status = &object["status"];
    let places = [&status["operationState"]["message"], &status["failureReason"], &status["message"]];
    let found = places.into_iter().find_map(Value::as_str).map(str::to_owned);
    found.or_else(|| {
        let errors = status["validationErrors"].as_array()?;
        Some(errors.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "))
    })
}

impl Effect for Wait {
    const NAME: &'static str = "k8s.wait";
    const KIND: Kind = Kind::Read;
    type Output = Waited;

    fn target(&self) -> Target {
        self.object.target()
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Waited>) -> Result<Done<Waited>, Failure> {
        let name = self.object.named();
        // What the plan itself would bring or change cannot be there yet.
        if permit.mode() == Mode::Plan && permit.promised::<Promised>(&name).is_some() {
            return Ok(Done::ok(Waited { seconds: 0.0 }));
        }
        let limit = patience(permit, self.patience);
        let took = until(permit, &self.object, &self.until, &self.fails, limit).await?;
        Ok(Done::ok(Waited { seconds: took.as_secs_f64() }))
    }
}

/// Reads one state or an array of them.
fn states(value: &Dynamic) -> Option<Vec<String>> {
    let texts = match value.clone().try_cast::<rhai::Array>() {
        Some(array) => array.into_iter().map(|text| text.into_string().ok()).collect::<Option<Vec<_>>>()?,
        None => vec![value.clone().into_string().ok()?],
    };
    Some(texts).filter(|texts| texts.iter().all(|text| !text.trim().is_empty()))
}

pub(super) fn k8s_wait(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let wrong = "a state such as `Ready`, `rollout`, `complete` or `deleted`, or an array of them,";
    let until = states(&call.value(3)).filter(|states| !states.is_empty());
    let fails = call
        .option("fails")
        .map(|value| states(&value).ok_or_else(|| call.wrong_option("fails", wrong, &value)));
    let effect = Wait {
        object: Reference::read(call)?,
        until: until.ok_or_else(|| call.wrong(3, wrong, &call.value(3)))?,
        fails: fails.transpose()?.unwrap_or_default(),
        patience: call.option_duration("timeout")?.unwrap_or(PATIENCE),
    };
    call.answer(&effect, |waited, _| Outcome::known(json!({ "ok": true, "seconds": waited.seconds })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_yet(state: State) -> String {
        match state {
            State::NotYet(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn conditions_and_fields() {
        let object = json!({ "status": { "phase": "Pending", "conditions": [
            { "type": "Ready", "status": "False", "reason": "Issuing", "message": "waiting" },
        ] } });
        assert_eq!(state(Some(&object), "Ready=False"), State::There);
        assert_eq!(not_yet(state(Some(&object), "Ready")), "`Ready` is false: Issuing: waiting");
        assert_eq!(not_yet(state(Some(&object), "Other")), "it has no condition `Other` yet");
        assert_eq!(state(Some(&object), "status.phase=Pending"), State::There);
        assert_eq!(not_yet(state(Some(&object), "status.phase=Running")), "`status.phase` is Pending");
        assert_eq!(not_yet(state(Some(&object), ".status.phase=nothing")), "`status.phase` is Pending");
        assert_eq!(state(Some(&object), ".operation=nothing"), State::There);
        assert_eq!(state(None, "deleted"), State::There);
        assert_eq!(not_yet(state(Some(&object), "deleted")), "it is still there");
    }

    #[test]
    fn a_failed_run_of_pods_ends_the_wait() {
        let failed = json!({ "status": { "conditions": [
            { "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded" },
        ] } });
        assert_eq!(
            state(Some(&failed), "complete"),
            State::Never("it failed: BackoffLimitExceeded".to_owned())
        );
    }

    #[test]
    fn a_rollout_counts_what_its_controller_has_seen() {
        let deployment = |generation: i64, updated: i64, all: i64, available: i64| {
            json!({
                "kind": "Deployment", "metadata": { "generation": generation }, "spec": { "replicas": 3 },
                "status": {
                    "observedGeneration": 2, "updatedReplicas": updated, "replicas": all, "availableReplicas": available,
                },
            })
        };
        assert_eq!(rollout(&deployment(2, 3, 3, 3)), State::There);
        for (object, says) in [
            (deployment(3, 3, 3, 3), "has not seen the change"),
            (deployment(2, 1, 3, 3), "1 of 3 pods are of the new template"),
            (deployment(2, 3, 4, 3), "1 pods of the old template"),
            (deployment(2, 3, 3, 2), "2 of 3 pods are available"),
        ] {
            assert!(not_yet(rollout(&object)).contains(says), "{object}");
        }
        assert!(matches!(rollout(&json!({ "kind": "ConfigMap" })), State::Never(_)));
    }
}
