//! Statuses of commits, and how one becomes another (GitLab: `app/models/commit_status.rs`).

use serde_json::{Value, json};

use super::super::server::{Answer, Asked};
use super::{Asker, Project, at_least, error, message, paged};

/// A status.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its number.
    pub id: i64,
    /// The commit.
    pub commit: String,
    /// Its name.
    pub name: String,
    /// The branch.
    pub reference: Option<String>,
    /// How far it has come.
    pub state: String,
    /// Where more is to be seen.
    pub url: Option<String>,
    /// In a few words.
    pub description: Option<String>,
    /// Every state that it had, in order.
    pub history: Vec<String>,
}

impl Status {
    fn is_over(&self) -> bool {
        !["pending", "running"].contains(&self.state.as_str())
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id, "sha": self.commit, "name": self.name, "ref": self.reference, "status": self.state,
            "target_url": self.url, "description": self.description, "allow_failure": false,
        })
    }
}

/// Returns the event by which a status gets a state, and the states from which that is possible.
fn event(state: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match state {
        "pending" => ("enqueue", &["created"]),
        "running" => ("run", &["created", "pending"]),
        "success" => ("success", &["created", "pending", "running"]),
        "failed" => ("drop", &["created", "pending", "running"]),
        "canceled" => ("cancel", &["created", "pending", "running"]),
        "skipped" => ("skip", &["created", "pending"]),
        _ => return None,
    })
}

impl Project {
    pub(super) fn list_statuses(&self, commit: &str, asked: &Asked) -> Result<Answer, Answer> {
        self.has(commit)?;
        let is =
            |value: Option<&str>, name: &str| asked.query(name).is_none_or(|wanted| value == Some(wanted));
        let mut newest: Vec<&Status> = Vec::new();
        for status in self.statuses.iter().filter(|status| status.commit == commit) {
            newest.retain(|other| other.name != status.name || other.reference != status.reference);
            newest.push(status);
        }
        newest.retain(|status| is(Some(&status.name), "name") && is(status.reference.as_deref(), "ref"));
        paged(asked, newest.into_iter().map(Status::json).collect())
    }

    pub(super) fn post_status(
        &mut self,
        commit: &str,
        asked: &Asked,
        asker: &Asker,
        next: i64,
    ) -> Result<Answer, Answer> {
        at_least(asker, 30)?;
        let body = asked.json().ok_or_else(|| error("state is missing"))?;
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        let state = text("state").ok_or_else(|| error("state is missing"))?;
        let (event, from) = event(&state).ok_or_else(|| error("state does not have a valid value"))?;
        self.has(commit)?;
        let (name, reference) = (text("name").unwrap_or_else(|| "default".to_owned()), text("ref"));
        if text("description").is_some_and(|text| text.chars().count() > 255) {
            return Err(Answer::json(
                400,
                &json!({ "message": { "description": ["is too long (maximum is 255 characters)"] } }),
            ));
        }
        let place = self.statuses.iter().rposition(|status| {
            status.commit == commit
                && status.name == name
                && status.reference == reference
                && !status.is_over()
        });
        let place = place.unwrap_or_else(|| {
            // One that is over stays as it is, and a new one takes its place.
            self.statuses.push(Status {
                id: next,
                commit: commit.to_owned(),
                name,
                reference,
                state: "created".to_owned(),
                url: None,
                description: None,
                history: Vec::new(),
            });
            self.statuses.len() - 1
        });
        let status = &mut self.statuses[place];
        if !from.contains(&status.state.as_str()) {
            let why = format!(
                "Cannot transition status via :{event} from :{0} (Reason(s): Status cannot transition via \"{event}\")",
                status.state
            );
            return Err(message(400, &why));
        }
        status.history.push(state.clone());
        status.state = state;
        status.url = text("target_url").or(status.url.take());
        status.description = text("description").or(status.description.take());
        Ok(Answer::json(201, &status.json()))
    }
}
