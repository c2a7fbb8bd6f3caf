//! What GitLab reports by a webhook: the parts of a payload that anything here looks at.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Commits were pushed to a branch.
    Push,
    /// A merge request was opened, changed, merged or closed.
    MergeRequest,
    /// A pipeline has got another status.
    Pipeline,
    /// Somebody has written a note.
    Note,
}

impl Kind {
    /// Returns GitLab's word, which is `object_kind` in a payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::MergeRequest => "merge_request",
            Self::Pipeline => "pipeline",
            Self::Note => "note",
        }
    }
}

/// A merge request that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRequest {
    /// Its number in the project.
    pub number: u64,
    /// What was done to it: `open`, `update`, `reopen`, `merge`, `close` …; empty for a note.
    pub action: String,
    /// `opened`, `merged` or `closed`.
    pub state: String,
    /// The branch that is to be merged.
    pub source: String,
    /// The branch that it is merged into.
    pub target: String,
    /// The newest commit of the source branch.
    pub head: String,
    /// Whether its head is another one than before.
    pub has_moved: bool,
    /// Whether the source branch is in another project.
    pub is_fork: bool,
    /// Its title.
    pub title: String,
    /// Its address.
    pub url: String,
}

/// A pipeline that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Its number.
    pub id: i64,
    /// `success`, `failed` …
    pub status: String,
    /// Whether it is a tag's.
    pub is_tag: bool,
}

/// A note that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// Its text.
    pub text: String,
    /// Whether it is new; else its author has changed it.
    pub is_new: bool,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What has happened.
    pub kind: Kind,
    /// The project's path.
    pub project: String,
    /// The account that caused it.
    pub user: String,
    /// The account's number.
    pub user_id: i64,
    /// The branch: that was pushed to, that the pipeline ran for, or into which it is to be merged.
    pub branch: String,
    /// The commit before a push; zeros for a new branch.
    pub before: String,
    /// The commit that it is about; zeros for a branch that is gone.
    pub commit: String,
    /// The merge request.
    pub merge_request: Option<MergeRequest>,
    /// The pipeline.
    pub pipeline: Option<Pipeline>,
    /// The note.
    pub note: Option<Note>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn merge_request(value: &Value) -> Option<MergeRequest> {
    Some(MergeRequest {
        number: value["iid"].as_u64()?,
        action: text(&value["action"]),
        state: text(&value["state"]),
        source: text(&value["source_branch"]),
        target: text(&value["target_branch"]),
        head: text(&value["last_commit"]["id"]),
        has_moved: value["oldrev"].is_string(),
        // One that says nothing of its projects may be from anywhere.
        is_fork: value["source_project_id"].is_null()
            || value["source_project_id"] != value["target_project_id"],
        title: text(&value["title"]),
        url: text(&value["url"]),
    })
}

impl Event {
    /// Reads a payload; nothing comes of kinds that nothing here looks at.
    pub fn read(payload: &Value) -> Result<Option<Self>, String> {
        let project = text(&payload["project"]["path_with_namespace"]);
        let attributes = &payload["object_attributes"];
        let (user, user_id) = (text(&payload["user"]["username"]), payload["user"]["id"].as_i64());
        let kind = payload["object_kind"].as_str().ok_or("it has no `object_kind`")?;
        if project.is_empty() {
            return Err("it names no project".to_owned());
        }
        let needed = |what: &str, is_there: bool| {
            if is_there { Ok(()) } else { Err(format!("a {kind} event without {what}")) }
        };
        let event = match kind {
            "push" => {
                let reference = text(&payload["ref"]);
                let Some(branch) = reference.strip_prefix("refs/heads/") else { return Ok(None) };
                Self {
                    kind: Kind::Push,
                    project,
                    user: text(&payload["user_username"]),
                    user_id: payload["user_id"].as_i64().unwrap_or(-1),
                    branch: branch.to_owned(),
                    before: text(&payload["before"]),
                    commit: text(&payload["after"]),
                    merge_request: None,
                    pipeline: None,
                    note: None,
                }
            }
            "merge_request" => {
                let request = merge_request(attributes).ok_or("a merge request without a number")?;
                Self {
                    kind: Kind::MergeRequest,
                    project,
                    user,
                    user_id: user_id.unwrap_or(-1),
                    branch: request.target.clone(),
                    before: text(&attributes["oldrev"]),
                    commit: request.head.clone(),
                    merge_request: Some(request),
                    pipeline: None,
                    note: None,
                }
            }
            "pipeline" => Self {
                kind: Kind::Pipeline,
                project,
                user,
                user_id: user_id.unwrap_or(-1),
                branch: text(&attributes["ref"]),
                before: text(&attributes["before_sha"]),
                commit: text(&attributes["sha"]),
                merge_request: None,
                pipeline: Some(Pipeline {
                    id: attributes["id"].as_i64().ok_or("a pipeline without a number")?,
                    status: text(&attributes["status"]),
                    is_tag: attributes["tag"].as_bool().unwrap_or(false),
                }),
                note: None,
            },
            "note" => {
                // Notes of commits, issues and snippets are nobody's orders.
                let Some(request) = merge_request(&payload["merge_request"]) else { return Ok(None) };
                Self {
                    kind: Kind::Note,
                    project,
                    user,
                    user_id: user_id.or(attributes["author_id"].as_i64()).unwrap_or(-1),
                    branch: request.target.clone(),
                    before: String::new(),
                    commit: request.head.clone(),
                    merge_request: Some(request),
                    pipeline: None,
                    note: Some(Note {
                        id: attributes["id"].as_i64().ok_or("a note without a number")?,
                        text: text(&attributes["note"]),
                        is_new: attributes["action"].as_str().is_none_or(|action| action == "create"),
                    }),
                }
            }
            _ => return Ok(None),
        };
        // These go into calls of Git.
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_commit = !event.commit.is_empty() && is_number(&event.commit) && is_number(&event.before);
        needed("the number of a commit", is_commit)?;
        needed("a branch", !event.branch.is_empty())?;
        Ok(Some(event))
    }

    /// Returns what tells it from every other event: reported twice, it is the same.
    pub fn identity(&self) -> String {
        match (self.kind, &self.merge_request, &self.pipeline, &self.note) {
            (Kind::Note, _, _, Some(note)) => format!("note:{}", note.id),
            (Kind::Pipeline, _, Some(pipeline), _) => format!("pipeline:{}:{}", pipeline.id, pipeline.status),
            (Kind::MergeRequest, Some(request), _, note) => {
                let note = note.as_ref().map(|note| format!(":note:{}", note.id)).unwrap_or_default();
                format!("mr:{}:{}{note}", request.number, request.head)
            }
            _ => format!("push:{}:{}:{}", self.branch, self.before, self.commit),
        }
    }

    /// The names that parameters of triggers may use, for any kind.
    pub const NAMES: [&'static str; 13] = [
        "project",
        "user",
        "branch",
        "before",
        "commit",
        "merge_request",
        "source_branch",
        "target_branch",
        "title",
        "url",
        "pipeline",
        "status",
        "note",
    ];

    /// Returns what these names stand for; those that the event says nothing of are empty.
    pub fn names(&self) -> BTreeMap<&'static str, String> {
        let request = self.merge_request.as_ref();
        let of = |get: fn(&MergeRequest) -> String| request.map(get).unwrap_or_default();
        BTreeMap::from([
            ("project", self.project.clone()),
            ("user", self.user.clone()),
            ("branch", self.branch.clone()),
            ("before", self.before.clone()),
            ("commit", self.commit.clone()),
            ("merge_request", of(|one| one.number.to_string())),
            ("source_branch", of(|one| one.source.clone())),
            ("target_branch", of(|one| one.target.clone())),
            ("title", of(|one| one.title.clone())),
            ("url", of(|one| one.url.clone())),
            ("pipeline", self.pipeline.as_ref().map(|one| one.id.to_string()).unwrap_or_default()),
            ("status", self.pipeline.as_ref().map(|one| one.status.clone()).unwrap_or_default()),
            ("note", self.note.as_ref().map(|one| one.text.clone()).unwrap_or_default()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn payloads_are_read_and_what_is_missing_is_said() {
        let push = json!({
            "object_kind": "push", "ref": "refs/heads/feature/x", "before": "a1", "after": "b2", "user_id": 7,
            "user_username": "ada", "project": { "path_with_namespace": "infra/nl" },
        });
        let event = Event::read(&push).unwrap().unwrap();
        assert_eq!((event.branch.as_str(), event.identity().as_str()), ("feature/x", "push:feature/x:a1:b2"));
        let request = json!({
            "object_kind": "merge_request", "user": { "id": 7, "username": "ada" },
            "project": { "path_with_namespace": "infra/nl" },
            "object_attributes": { "iid": 12, "action": "update", "state": "opened", "source_branch": "x", "target_branch": "main",
                "source_project_id": 1, "target_project_id": 1, "last_commit": { "id": "b2" }, "oldrev": "a1", "title": "T", "url": "u" },
        });
        let event = Event::read(&request).unwrap().unwrap();
        let one = event.merge_request.as_ref().unwrap();
        assert!(one.has_moved && !one.is_fork && event.identity() == "mr:12:b2");
        let mut fork = request.clone();
        fork["object_attributes"]["source_project_id"] = 2.into();
        assert!(Event::read(&fork).unwrap().unwrap().merge_request.unwrap().is_fork);
        fork["object_attributes"]["source_project_id"] = Value::Null;
        fork["object_attributes"]["target_project_id"] = Value::Null;
        assert!(
            Event::read(&fork).unwrap().unwrap().merge_request.unwrap().is_fork,
            "who says nothing may be anybody"
        );
        let names = event.names();
        assert_eq!(names.keys().copied().collect::<std::collections::BTreeSet<_>>(), Event::NAMES.into());
        assert_eq!(names["merge_request"], "12");
        assert_eq!(
            Event::read(&json!({ "object_kind": "wiki_page", "project": { "path_with_namespace": "a/b" } })),
            Ok(None)
        );
        let issue = json!({ "object_kind": "note", "project": { "path_with_namespace": "a/b" }, "object_attributes": { "id": 1 }, "issue": {} });
        assert_eq!(Event::read(&issue), Ok(None));
        let mut odd = push.clone();
        odd["before"] = "--output=x".into();
        for broken in [
            odd,
            json!({}),
            json!([]),
            json!({ "object_kind": "push" }),
            json!({ "object_kind": "merge_request", "project": { "path_with_namespace": "a/b" } }),
        ] {
            assert!(Event::read(&broken).is_err(), "{broken}");
        }
    }
}
