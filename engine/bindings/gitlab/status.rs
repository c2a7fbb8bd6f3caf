//! `gitlab_status`.

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};

use super::{about, needed, project, told};
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::diff;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::nearest::did_you_mean;
use crate::world::gitlab::{Posted, State, Status};

/// A status of a commit.
#[derive(Serialize)]
struct Set {
    project: String,
    #[serde(flatten)]
    status: Status,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Said {
    state: String,
}

fn lines(state: &str, url: Option<&str>, description: Option<&str>) -> String {
    let mut text = format!("state: {state}\n");
    for (key, value) in [("url", url), ("description", description)] {
        if let Some(value) = value {
            text.push_str(&format!("{key}: {value}\n"));
        }
    }
    text
}

impl Effect for Set {
    const NAME: &'static str = "gitlab.status";
    const KIND: Kind = Kind::Ensure;
    type Output = Said;

    fn target(&self) -> Target {
        about(&self.project)
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Said>, Failure> {
        let status = &self.status;
        let found = status.find(permit, &self.project).await?;
        let changes = !found.as_ref().is_some_and(|posted| status.is(posted));
        let label = format!("{} {} {}", self.project, status.commit, status.name);
        let old = found.as_ref().map(|Posted { state, url, description }| {
            // Only what is asked for is compared, and so only that is shown.
            let url = url.as_deref().filter(|_| status.url.is_some());
            lines(state, url, description.as_deref().filter(|_| status.description.is_some()))
        });
        let new = lines(status.state.as_str(), status.url.as_deref(), status.description.as_deref());
        let old_label = if old.is_some() { label.as_str() } else { "/dev/null" };
        let diff =
            changes.then(|| diff::unified(old.as_deref().unwrap_or_default(), &new, old_label, &label, 3));
        let pre = serde_json::to_value(&found).unwrap_or_default();
        Ok(Seen { pre, changes, diff, output: Some(Said { state: status.state.as_str().to_owned() }) })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Said>) -> Result<Done<Said>, Failure> {
        let state = self.status.state.as_str().to_owned();
        if !seen.changes {
            return Ok(Done::ok(Said { state }));
        }
        let clean = |text: &Option<String>| text.as_ref().map(|text| permit.redact(text));
        let status = Status {
            url: clean(&self.status.url),
            description: clean(&self.status.description),
            ..self.status.clone()
        };
        let posted = status.post(permit, &self.project).await?;
        Ok(Done::changed(Said { state: posted.state }))
    }
}

pub(super) fn gitlab_status(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let project = project(call)?;
    let (commit, word) = (call.string(1)?, call.string(2)?);
    if !(7..=64).contains(&commit.len()) || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid(format!("`{commit}` is not the number of a commit")).into());
    }
    let state = State::parse(&word).ok_or_else(|| {
        let words = State::ALL.map(State::as_str);
        let near = did_you_mean(&word, words).map(|near| format!("; {near}")).unwrap_or_default();
        invalid(format!("`{word}` is no status of a commit: it is one of {}{near}", words.join(", ")))
    })?;
    let coverage = call.option("coverage").map(|value| {
        let number = value.as_float().ok().or_else(|| value.as_int().ok().map(|number| number as f64));
        number
            .filter(|number| (0.0..=100.0).contains(number))
            .ok_or_else(|| call.wrong_option("coverage", "a number from 0 to 100", &value))
    });
    let name = call.option_string("name")?.unwrap_or_else(|| "nlrun".to_owned());
    needed(&name, "the name of a status")?;
    let status = Status {
        commit,
        name,
        state,
        reference: call.option_string("ref")?,
        url: call.option_string("url")?,
        description: call.option_string("description")?,
        pipeline: call.option_int("pipeline", 1)?,
        coverage: coverage.transpose()?,
    };
    told(call, &Set { project, status }, |said| Map::from([("state".into(), said.state.into())]))
}
