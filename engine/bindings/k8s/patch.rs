//! `k8s_patch`: fields of an object that exists.

use std::sync::Arc;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::exchange::{Ask, refuse_owned};
use super::many::exposed;
use super::reference::{Reference, query};
use crate::bindings::{Call, Outcome, Raise, json as recorded};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::diff::unified;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::k8s::{normal, yaml};

/// Changes fields of an object.
#[derive(Serialize)]
struct Patch {
    #[serde(flatten)]
    object: Reference,
    #[serde(rename = "type")]
    form: Form,
    /// Secrets stand there by name.
    patch: Value,
    #[serde(skip)]
    body: Arc<Zeroizing<Vec<u8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subresource: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    take_over: bool,
}

/// How the patch is written.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
    /// Lists are merged by the keys that the kind defines.
    Strategic,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Json => "application/json-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// The object's version afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Patched {}

impl Patch {
    /// Whether it touches the status; not every kind has a subresource for that.
    fn is_about_status(&self) -> bool {
        let in_pointers = || {
            let pointers = self.patch.as_array().into_iter().flatten().filter_map(|one| one["path"].as_str());
            pointers.map(|path| path.split('/').nth(1)).any(|first| matches!(first, Some("status" | "")))
        };
        self.subresource.as_deref() == Some("status") || self.patch.get("status").is_some() || in_pointers()
    }

    async fn send(&self, permit: &Permit<'_>, dry_run: bool) -> Result<Value, Failure> {
        let mut path = self.object.path(permit).await?;
        if let Some(subresource) = &self.subresource {
            path.push_str(&format!("/{subresource}"));
        }
        let pairs = [
            ("fieldManager", "nlrun-patch"),
            ("fieldValidation", "Strict"),
            ("dryRun", if dry_run { "All" } else { "" }),
        ];
        let ask = Ask {
            cluster: &self.object.cluster,
            method: "PATCH",
            path: format!("{path}{}", query(&pairs)),
            body: Some((self.form.content_type(), self.body.clone())),
            // Adding to a list twice adds two elements.
            is_repeatable: matches!(self.form, Form::Merge | Form::Strategic),
            is_once: false,
        };
        ask.object(permit, &self.object.words()).await
    }
}

/// Returns what of two states is compared: the status counts only where the patch is about it.
fn compared(object: &Value, with_status: bool) -> Value {
    let mut compared = normal(object);
    if with_status {
        compared["status"] = object["status"].clone();
    }
    compared
}

impl Effect for Patch {
    const NAME: &'static str = "k8s.patch";
    const KIND: Kind = Kind::Ensure;
    type Output = Patched;

    fn target(&self) -> Target {
        self.object.target()
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Patched>, Failure> {
        let mut path = self.object.path(permit).await?;
        if let Some(subresource) = &self.subresource {
            path.push_str(&format!("/{subresource}"));
        }
        let what = self.object.words();
        let live = Ask::get(&self.object.cluster, path).object(permit, &what).await?;
        let instead = "which would put it back; change it there";
        refuse_owned(&self.object.cluster, &what, &live, self.take_over, instead)?;
        let after = self.send(permit, true).await?;
        let with_status = self.is_about_status();
        let (before, after) = (compared(&live, with_status), compared(&after, with_status));
        let name = self.object.named();
        let (old, new) = yaml(Some(&before), Some(&after));
        let diff = unified(&old, &new, &format!("{name} (live)"), &name, 3);
        let pre = json!({ "live": crate::store::sha256(format!("{}{before}", live["metadata"]["uid"]).as_bytes()) });
        let changes = before != after;
        Ok(Seen { pre, changes, diff: Some(diff).filter(|_| changes), output: Some(Patched {}) })
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Patched>) -> Result<Done<Patched>, Failure> {
        self.send(permit, false).await?;
        Ok(Done::changed(Patched {}))
    }
}

pub(super) fn k8s_patch(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let form = match call.option_string("type")?.as_deref() {
        None | Some("merge") => Form::Merge,
        Some("json") => Form::Json,
        Some("strategic") => Form::Strategic,
        Some(other) => {
            let message =
                format!("`k8s_patch` wants `merge`, `json` or `strategic` as option `type`, got `{other}`");
            return Err(invalid(message).into());
        }
    };
    let value = call.value(3);
    let fits = if matches!(form, Form::Json) { value.is_array() } else { value.is_map() };
    if !fits {
        let wanted = if matches!(form, Form::Json) { "an array of operations" } else { "a map of fields" };
        return Err(call.wrong(3, wanted, &value));
    }
    let body = exposed(&value)?.to_string().into_bytes();
    let effect = Patch {
        object: Reference::read(call)?,
        form,
        patch: recorded(&value)?,
        body: Arc::new(Zeroizing::new(body)),
        subresource: call.option_string("subresource")?,
        take_over: call.option_bool("take_over", false)?,
    };
    if let Some(subresource) =
        effect.subresource.as_deref().filter(|name| !matches!(*name, "status" | "scale"))
    {
        let message =
            format!("`k8s_patch` wants `status` or `scale` as option `subresource`, got `{subresource}`");
        return Err(invalid(message).into());
    }
    call.answer(&effect, |_, changed| Outcome::known(json!({ "ok": true, "changed": changed })))
}
