//! `gitlab_merge`.

use std::time::Duration;

use rhai::Dynamic;
use serde::Serialize;
use serde_json::json;

use super::request::{branches, flag, promise};
use super::{Numbered, about, numbered, project};
use crate::bindings::wait::{PATIENCE, poll};
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::world::gitlab::{Merge, MergeRequest, Readiness};

/// A merge request that is to be merged.
#[derive(Serialize)]
struct Merged {
    project: String,
    source: String,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    squash: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove_source_branch: Option<bool>,
    #[serde(skip)]
    timeout: Duration,
}

impl Merged {
    async fn find(&self, permit: &Permit<'_>, state: &str) -> Result<Option<MergeRequest>, Failure> {
        MergeRequest::find(permit, &self.project, &self.source, &self.target, state).await
    }

    fn missing(&self) -> Failure {
        let message = format!(
            "{} has no merge request from `{}` to `{}`; `gitlab_mr` makes one",
            self.project, self.source, self.target
        );
        Failure { kind: "not_found".to_owned(), ..invalid(message) }
    }
}

impl Effect for Merged {
    const NAME: &'static str = "gitlab.merge";
    const KIND: Kind = Kind::Ensure;
    type Output = Numbered;

    fn target(&self) -> Target {
        about(&self.project)
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Numbered>, Failure> {
        if let Some(open) = self.find(permit, "opened").await? {
            let diff = format!(
                "--- {0}!{1}\n+++ {0}!{1}\n-state: opened\n+state: merged\n",
                self.project, open.number
            );
            let pre = json!({ "number": open.number, "head": open.head });
            return Ok(Seen { pre, changes: true, diff: Some(diff), output: None });
        }
        if permit.promised::<()>(&promise(&self.project, &self.source, &self.target)).is_some() {
            return Ok(Seen::unknown());
        }
        let merged = self.find(permit, "merged").await?.ok_or_else(|| self.missing())?;
        let pre = json!({ "number": merged.number, "head": merged.head, "state": "merged" });
        Ok(Seen { pre, changes: false, diff: None, output: Some(Numbered::from(&merged)) })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Numbered>) -> Result<Done<Numbered>, Failure> {
        if let (false, Some(output)) = (seen.changes, &seen.output) {
            return Ok(Done::ok(output.clone()));
        }
        let open = self.find(permit, "opened").await?.ok_or_else(|| self.missing())?;
        let (number, head) = (open.number, open.head);
        let waited = poll(permit, self.timeout, async |_| {
            let now =
                MergeRequest::get(permit, &self.project, number).await?.ok_or_else(|| self.missing())?;
            if now.state == "merged" {
                return Ok(Ok(now));
            }
            if now.head != head {
                let message =
                    format!("{}!{number} has moved since it was looked at: nothing was merged", self.project);
                return Err(Failure { kind: "moved".to_owned(), ..invalid(message) });
            }
            match now.readiness() {
                Readiness::Later => Ok(Err(now.detailed)),
                Readiness::Never => Err(self.refused(number, &now.detailed)),
                Readiness::Ready => {
                    let asked =
                        Merge::ask(permit, &self.project, &now, self.squash, self.remove_source_branch);
                    Ok(match asked.await? {
                        Merge::Done(merged) => Ok(*merged),
                        Merge::NotYet(why) => Err(why),
                    })
                }
            }
        });
        match waited.await? {
            Ok(merged) if merged.state == "merged" => Ok(Done::changed(Numbered::from(&merged))),
            Ok(other) => Err(self.refused(number, &format!("it is {}", other.state))),
            Err(why) => Err(self.refused(number, &format!("{why}, for {} s", self.timeout.as_secs()))),
        }
    }
}

impl Merged {
    fn refused(&self, number: u64, why: &str) -> Failure {
        let message =
            format!("GitLab does not let {}!{number} be merged: {}", self.project, why.replace('_', " "));
        let details = json!({ "fault": "not_mergeable", "status": why });
        Failure { kind: "not_mergeable".to_owned(), details, ..invalid(message) }
    }
}

pub(super) fn gitlab_merge(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let project = project(call)?;
    let (source, target) = branches(call)?;
    let effect = Merged {
        project,
        source,
        target,
        squash: flag(call, "squash")?,
        remove_source_branch: flag(call, "remove_source_branch")?,
        timeout: call.option_duration("timeout")?.unwrap_or(PATIENCE),
    };
    numbered(call, &effect)
}
