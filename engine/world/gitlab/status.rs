//! The status of a commit: what shows beside it, and in its merge request.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ask::{escaped, project};
use super::{Ask, Way, answer, failure, list, maybe, refused, said};
use crate::model::event::Failure;

/// The most characters of a description that GitLab takes.
const DESCRIPTION: usize = 255;

/// How far something has come that runs for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits.
    Pending,
    /// It runs.
    Running,
    /// It went well.
    Success,
    /// It failed.
    Failed,
    /// It was ended.
    Canceled,
    /// It was left out.
    Skipped,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Success, Self::Failed, Self::Canceled, Self::Skipped];

    /// Returns GitLab's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A status as it is wanted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The commit.
    pub commit: String,
    /// Its name: what tells it from others of the commit.
    pub name: String,
    /// How far it has come.
    pub state: State,
    /// The branch, where the commit is on several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Where more is to be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// In a few words; cut to 255 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The pipeline that it belongs to, where the commit has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<i64>,
    /// The share of code that tests reach, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
}

/// A status as GitLab has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// How far it has come, in GitLab's word.
    pub state: String,
    /// Where more is to be seen.
    pub url: Option<String>,
    /// In a few words.
    pub description: Option<String>,
}

impl Posted {
    fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Self {
            state: text("status").unwrap_or_default(),
            url: text("target_url"),
            description: text("description"),
        }
    }
}

impl Status {
    fn description(&self) -> Option<String> {
        self.description.as_ref().map(|text| text.chars().take(DESCRIPTION).collect())
    }

    /// Finds the newest status of this name.
    pub async fn find(&self, way: &impl Way, name: &str) -> Result<Option<Posted>, Failure> {
        let commit = project(name, &format!("repository/commits/{}", escaped(&self.commit)));
        let mut ask = Ask::get(format!("{commit}/statuses")).query("name", &self.name);
        if let Some(reference) = &self.reference {
            ask = ask.query("ref", reference);
        }
        if let Some(pipeline) = self.pipeline {
            ask = ask.query("pipeline_id", pipeline);
        }
        // Whoever filters by name alone gets every name that holds it in some versions.
        let found = list(way, &ask, |status| {
            (status["name"].as_str() == Some(&self.name)).then(|| Posted::of(status))
        });
        match found.await {
            Err(failure) if failure.details["status"] == 404 => {
                if maybe(way, &Ask::get(commit)).await?.is_none() {
                    let message = format!("{name} has no commit {}; push it first", self.commit);
                    return Err(super::failure("not_found", message));
                }
                Err(failure)
            }
            other => other,
        }
    }

    /// Whether it says what is wanted.
    pub fn is(&self, posted: &Posted) -> bool {
        posted.state == self.state.as_str()
            && (self.url.is_none() || posted.url == self.url)
            && (self.description.is_none() || posted.description == self.description())
    }

    /// Sets it.
    ///
    /// That it has the wanted state already is no failure, although GitLab answers with one; that it would go back is.
    pub async fn post(&self, way: &impl Way, name: &str) -> Result<Posted, Failure> {
        let mut body = json!({ "state": self.state, "name": self.name });
        for (key, value) in [
            ("ref", self.reference.clone().map(Value::from)),
            ("target_url", self.url.clone().map(Value::from)),
            ("description", self.description().map(Value::from)),
            ("pipeline_id", self.pipeline.map(Value::from)),
            ("coverage", self.coverage.map(Value::from)),
        ] {
            if let Some(value) = value {
                body[key] = value;
            }
        }
        let ask = Ask::post(project(name, &format!("statuses/{}", escaped(&self.commit))), body);
        let reply = answer(way, &ask).await?;
        let posted = match reply.status {
            200..300 => Posted::of(&super::read(&ask, &reply)?),
            400 if said(&reply).contains("Cannot transition status") => {
                let posted = self.find(way, name).await?;
                let state = posted.as_ref().map_or("nothing", |posted| posted.state.as_str());
                if state != self.state.as_str() {
                    let message = format!(
                        "the status `{}` of {} is `{state}` and does not become `{}`: GitLab lets none go back; use another name",
                        self.name,
                        self.commit,
                        self.state.as_str()
                    );
                    return Err(failure("transition", message));
                }
                return posted.ok_or_else(|| refused(&ask, &reply));
            }
            _ => return Err(refused(&ask, &reply)),
        };
        if posted.state != self.state.as_str() {
            let message = format!("GitLab took the status `{}`, but holds `{}`", self.name, posted.state);
            return Err(failure("not_kept", message));
        }
        Ok(posted)
    }
}
