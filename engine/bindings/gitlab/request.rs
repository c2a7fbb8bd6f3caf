//! `gitlab_mr`.

use rhai::Dynamic;
use serde::Serialize;
use serde_json::json;

use super::{Numbered, about, needed, numbered, project};
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::diff;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::world::gitlab::{MergeRequest, Shape};

/// A merge request that is to be open, with this shape.
#[derive(Serialize)]
struct Open {
    project: String,
    source: String,
    target: String,
    #[serde(flatten)]
    shape: Shape,
}

/// The name under which a plan remembers that a merge request would be open.
pub(super) fn promise(project: &str, source: &str, target: &str) -> String {
    format!("gitlab:{project}:{source}:{target}")
}

impl Open {
    fn clean(&self, permit: &Permit<'_>) -> Shape {
        let clean = |text: &Option<String>| text.as_ref().map(|text| permit.redact(text));
        Shape {
            title: clean(&self.shape.title),
            description: clean(&self.shape.description),
            labels: self
                .shape
                .labels
                .as_ref()
                .map(|labels| labels.iter().map(|label| permit.redact(label)).collect()),
            ..self.shape.clone()
        }
    }

    async fn find(&self, permit: &Permit<'_>) -> Result<Option<MergeRequest>, Failure> {
        MergeRequest::find(permit, &self.project, &self.source, &self.target, "opened").await
    }
}

impl Effect for Open {
    const NAME: &'static str = "gitlab.mr";
    const KIND: Kind = Kind::Ensure;
    type Output = Numbered;

    fn target(&self) -> Target {
        about(&self.project)
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Numbered>, Failure> {
        let found = self.find(permit).await?;
        let (old, mut new) = self.clean(permit).compare(found.as_ref());
        let changes = found.is_none() || old != new;
        let label = match &found {
            Some(found) => format!("{}!{}", self.project, found.number),
            None => format!("{} {} into {}", self.project, self.source, self.target),
        };
        if found.is_none() && new.is_empty() {
            new = format!("title: Merge {} into {}\n", self.source, self.target);
        }
        let old_label = if found.is_some() { label.as_str() } else { "/dev/null" };
        let diff = changes.then(|| diff::unified(&old, &new, old_label, &label, 3));
        permit.promise(&promise(&self.project, &self.source, &self.target), ());
        // Its head is not part of what is compared: who plans a merge request plans no commits.
        let pre = json!({ "number": found.as_ref().map(|found| found.number), "shape": old });
        Ok(Seen { pre, changes, diff, output: found.as_ref().map(Numbered::from) })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Numbered>) -> Result<Done<Numbered>, Failure> {
        if let (false, Some(output)) = (seen.changes, &seen.output) {
            return Ok(Done::ok(output.clone()));
        }
        let shape = self.clean(permit);
        let made = match self.find(permit).await? {
            Some(there) => shape.update(permit, &self.project, &there).await?,
            None => shape.create(permit, &self.project, &self.source, &self.target).await?,
        };
        let (old, new) = shape.compare(Some(&made));
        if old != new {
            let message = format!(
                "GitLab took {}!{}, but holds something else than was asked",
                self.project, made.number
            );
            return Err(Failure {
                kind: "not_kept".to_owned(),
                details: json!({ "held": old, "wanted": new }),
                ..invalid(message)
            });
        }
        Ok(Done::changed(Numbered::from(&made)))
    }
}

/// Reads the two branches.
pub(super) fn branches(call: &Call<'_>) -> Result<(String, String), Raise> {
    let (source, target) = (call.string(1)?, call.string(2)?);
    needed(&source, "the source branch")?;
    needed(&target, "the target branch")?;
    if source == target {
        return Err(invalid(format!("`{source}` cannot be merged into itself")).into());
    }
    Ok((source, target))
}

pub(super) fn flag(call: &Call<'_>, key: &str) -> Result<Option<bool>, Raise> {
    match call.option(key) {
        None => Ok(None),
        Some(_) => call.option_bool(key, false).map(Some),
    }
}

pub(super) fn gitlab_mr(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let project = project(call)?;
    let (source, target) = branches(call)?;
    let labels = call.option("labels").map(|value| {
        let wrong = || call.wrong_option("labels", "an array of texts", &value);
        let array = value.clone().try_cast::<rhai::Array>().ok_or_else(wrong)?;
        array
            .into_iter()
            .map(|label| {
                label
                    .into_string()
                    .ok()
                    .filter(|label| !label.is_empty() && !label.contains(','))
                    .ok_or_else(wrong)
            })
            .collect::<Result<Vec<String>, Raise>>()
    });
    let shape = Shape {
        title: call.option_string("title")?,
        description: call.option_string("description")?,
        labels: labels.transpose()?,
        remove_source_branch: flag(call, "remove_source_branch")?,
        squash: flag(call, "squash")?,
    };
    numbered(call, &Open { project, source, target, shape })
}
