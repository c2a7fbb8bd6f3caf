//! Merge requests: found, made, changed, merged.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ask::project;
use super::{Ask, Way, answer, failure, list, maybe, refused, value};
use crate::model::event::Failure;

/// A merge request as GitLab has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRequest {
    /// Its number in the project.
    pub number: u64,
    /// Its address for people.
    pub url: String,
    /// `opened`, `merged`, `closed` or `locked`.
    pub state: String,
    /// The newest commit of its source branch.
    pub head: String,
    /// The branch that is to be merged.
    pub source: String,
    /// The branch that it is merged into.
    pub target: String,
    /// Whether its source branch is in another project.
    pub is_fork: bool,
    /// The commit by which it was merged.
    pub merge_commit: Option<String>,
    /// What GitLab says of whether it can be merged.
    pub detailed: String,
    /// All that GitLab says of it.
    pub raw: Value,
}

impl MergeRequest {
    fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        // Of a fast-forward there is no commit of its own.
        let merge_commit =
            ["merge_commit_sha", "squash_commit_sha"].iter().find_map(|key| value[*key].as_str());
        Self {
            number: value["iid"].as_u64().unwrap_or(0),
            url: text("web_url"),
            state: text("state"),
            head: text("sha"),
            source: text("source_branch"),
            target: text("target_branch"),
            is_fork: value["source_project_id"] != value["target_project_id"],
            merge_commit: merge_commit.map(str::to_owned),
            detailed: text("detailed_merge_status"),
            raw: value.clone(),
        }
    }

    /// Returns a merge request by its number.
    pub async fn get(way: &impl Way, name: &str, number: u64) -> Result<Option<Self>, Failure> {
        let found = maybe(way, &Ask::get(project(name, &format!("merge_requests/{number}")))).await?;
        Ok(found.as_ref().map(Self::of))
    }

    /// Finds the newest merge request from one branch of the project to another, in this state.
    pub async fn find(
        way: &impl Way,
        name: &str,
        source: &str,
        target: &str,
        state: &str,
    ) -> Result<Option<Self>, Failure> {
        let ask = Ask::get(project(name, "merge_requests"))
            .query("state", state)
            .query("source_branch", source)
            .query("target_branch", target)
            .query("order_by", "created_at")
            .query("sort", "desc");
        list(way, &ask, |one| Some(Self::of(one)).filter(|one| !one.is_fork)).await
    }

    /// Returns the address of a note of it.
    pub fn note_url(&self, note: i64) -> Option<String> {
        super::note::url(&self.raw, note)
    }

    /// What the state of merging means for somebody who waits.
    pub fn readiness(&self) -> Readiness {
        match self.detailed.as_str() {
            "mergeable" => Readiness::Ready,
            // GitLab still works it out, or something still runs.
            "unchecked" | "checking" | "preparing" | "approvals_syncing" | "ci_still_running"
            | "ci_must_pass" => Readiness::Later,
            _ => Readiness::Never,
        }
    }
}

/// Whether a merge request can be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It may by itself soon.
    Later,
    /// Somebody has to do something first.
    Never,
}

/// What a merge request is to be like; what is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Shape {
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All its labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Whether the source branch goes when it is merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_source_branch: Option<bool>,
    /// Whether its commits become one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub squash: Option<bool>,
}

impl Shape {
    /// Returns the lines of what is given, as they are there and as they are wanted.
    pub fn compare(&self, there: Option<&MergeRequest>) -> (String, String) {
        let raw = there.map_or(&Value::Null, |there| &there.raw);
        let (mut old, mut new) = (String::new(), String::new());
        for (key, wanted) in self.fields() {
            let held = match key.as_str() {
                "remove_source_branch" => raw["force_remove_source_branch"].clone(),
                "labels" => sorted(&raw["labels"]),
                other => raw[other].clone(),
            };
            let line = |value: &Value| match value {
                Value::String(text) => format!("{key}: {}\n", text.trim_end().replace('\n', "\n  ")),
                Value::Null => String::new(),
                other => format!("{key}: {other}\n"),
            };
            if there.is_some() {
                old.push_str(&line(&held));
            }
            new.push_str(&line(&if key == "labels" { sorted(&wanted) } else { wanted }));
        }
        (old, new)
    }

    fn fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }

    fn body(&self) -> Value {
        let mut fields = self.fields();
        if let Some(labels) = &self.labels {
            fields.insert("labels".to_owned(), labels.join(",").into());
        }
        Value::Object(fields)
    }

    /// Makes a merge request, or takes the one that somebody else has made at the same moment.
    pub async fn create(
        &self,
        way: &impl Way,
        name: &str,
        source: &str,
        target: &str,
    ) -> Result<MergeRequest, Failure> {
        let mut body = self.body();
        body["source_branch"] = source.into();
        body["target_branch"] = target.into();
        if self.title.is_none() {
            body["title"] = format!("Merge {source} into {target}").into();
        }
        let ask = Ask::post(project(name, "merge_requests"), body);
        let reply = answer(way, &ask).await?;
        match reply.status {
            200..300 => Ok(MergeRequest::of(&super::read(&ask, &reply)?)),
            409 => {
                let there = MergeRequest::find(way, name, source, target, "opened").await?;
                let there = there.ok_or_else(|| refused(&ask, &reply))?;
                self.update(way, name, &there).await
            }
            _ => Err(refused(&ask, &reply)),
        }
    }

    /// Gives a merge request this shape.
    pub async fn update(
        &self,
        way: &impl Way,
        name: &str,
        there: &MergeRequest,
    ) -> Result<MergeRequest, Failure> {
        let (old, new) = self.compare(Some(there));
        if old == new {
            return Ok(there.clone());
        }
        let ask = Ask::put(project(name, &format!("merge_requests/{}", there.number)), self.body());
        Ok(MergeRequest::of(&value(way, &ask).await?))
    }
}

fn sorted(labels: &Value) -> Value {
    let mut names: Vec<&str> = labels.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.sort_unstable();
    json!(names)
}

/// What became of asking to merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// It is merged.
    Done(Box<MergeRequest>),
    /// Not yet, for this reason.
    NotYet(String),
}

impl Merge {
    /// Asks to merge exactly the commit that was seen.
    pub async fn ask(
        way: &impl Way,
        name: &str,
        seen: &MergeRequest,
        squash: Option<bool>,
        remove: Option<bool>,
    ) -> Result<Self, Failure> {
        let mut body = json!({ "sha": seen.head });
        if let Some(squash) = squash {
            body["squash"] = squash.into();
        }
        if let Some(remove) = remove {
            body["should_remove_source_branch"] = remove.into();
        }
        let ask = Ask::put(project(name, &format!("merge_requests/{}/merge", seen.number)), body);
        let reply = answer(way, &ask).await?;
        match reply.status {
            200..300 => Ok(Self::Done(Box::new(MergeRequest::of(&super::read(&ask, &reply)?)))),
            // What was said to be mergeable a moment ago need not be now.
            405 | 406 | 422 => Ok(Self::NotYet(super::said(&reply))),
            409 => {
                let message =
                    format!("{name}!{} has moved since it was looked at: nothing was merged", seen.number);
                Err(failure("moved", message))
            }
            _ => Err(refused(&ask, &reply)),
        }
    }
}
