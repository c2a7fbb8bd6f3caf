//! Merge requests.

use serde_json::{Value, json};

use super::super::server::{Answer, Asked};
use super::{Asker, Note, Project, at_least, error, message, paged};

/// A merge request.
#[derive(Debug, Clone)]
pub struct MergeRequest {
    /// Its number in the project.
    pub number: u64,
    /// The title.
    pub title: String,
    /// The description.
    pub description: String,
    /// The branch that is to be merged.
    pub source: String,
    /// The branch that it is merged into.
    pub target: String,
    /// The head of its source branch.
    pub head: String,
    /// `opened`, `merged` or `closed`.
    pub state: String,
    /// Labels.
    pub labels: Vec<String>,
    /// Whether its branch goes with it.
    pub removes: bool,
    /// Whether its commits become one.
    pub squash: bool,
    /// The number of the project that its branch is in.
    pub source_project: i64,
    /// What GitLab says one after the other when it is asked whether it can be merged; the last stays.
    pub readiness: Vec<&'static str>,
    /// The commit by which it was merged.
    pub merge_commit: Option<String>,
    /// Notes, the oldest first.
    pub notes: Vec<Note>,
}

impl MergeRequest {
    fn detailed(&self) -> &'static str {
        if self.state == "opened" {
            self.readiness.first().copied().unwrap_or("mergeable")
        } else {
            "not_open"
        }
    }

    fn json(&self, project: &Project) -> Value {
        json!({
            "id": 1000 + self.number, "iid": self.number, "project_id": project.id, "title": self.title,
            "description": self.description, "state": self.state, "source_branch": self.source, "target_branch": self.target,
            "sha": self.head, "labels": self.labels, "squash": self.squash, "draft": self.title.starts_with("Draft:"),
            "force_remove_source_branch": self.removes, "should_remove_source_branch": null,
            "source_project_id": self.source_project, "target_project_id": project.id,
            "merge_commit_sha": self.merge_commit, "squash_commit_sha": null, "detailed_merge_status": self.detailed(),
            "web_url": format!("https://gitlab.example.net/{}/-/merge_requests/{}", project.path, self.number),
        })
    }
}

fn text<'a>(body: &'a Value, key: &str) -> Option<&'a str> {
    body[key].as_str()
}

fn labels(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => {
            Some(text.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect())
        }
        Value::Array(all) => Some(all.iter().filter_map(|label| label.as_str().map(str::to_owned)).collect()),
        _ => None,
    }
}

impl Project {
    pub(super) fn merge_requests(
        &mut self,
        rest: &[&str],
        asked: &Asked,
        asker: &Asker,
        next: i64,
    ) -> Result<Answer, Answer> {
        match (asked.method.as_str(), rest) {
            ("GET", []) => self.list(asked),
            ("POST", []) => self.create(asked, asker),
            (_, [number, rest @ ..]) => {
                let number: u64 = number.parse().map_err(|_| error("merge_request_iid is invalid"))?;
                if !self.merge_requests.contains_key(&number) {
                    return Err(message(404, "404 Not found"));
                }
                match (asked.method.as_str(), rest) {
                    ("GET", []) => {
                        let shown = self.merge_requests[&number].json(self);
                        let one = self
                            .merge_requests
                            .get_mut(&number)
                            .ok_or_else(|| message(404, "404 Not found"))?;
                        if one.readiness.len() > 1 {
                            one.readiness.remove(0);
                        }
                        Ok(Answer::json(200, &shown))
                    }
                    ("PUT", []) => self.change(number, asked, asker),
                    ("PUT", ["merge"]) => self.merge(number, asked, asker),
                    (_, ["notes", rest @ ..]) => self.notes(number, rest, asked, asker, next),
                    _ => Err(Answer::json(404, &json!({ "error": "404 Not Found" }))),
                }
            }
            _ => Err(Answer::json(404, &json!({ "error": "404 Not Found" }))),
        }
    }

    fn list(&self, asked: &Asked) -> Result<Answer, Answer> {
        let state = asked.query("state").unwrap_or("all");
        if !["all", "opened", "closed", "locked", "merged"].contains(&state) {
            return Err(error("state does not have a valid value"));
        }
        let is = |value: &str, name: &str| asked.query(name).is_none_or(|wanted| wanted == value);
        let mut found: Vec<&MergeRequest> = self.merge_requests.values().collect();
        found.retain(|one| {
            (state == "all" || one.state == state)
                && is(&one.source, "source_branch")
                && is(&one.target, "target_branch")
        });
        if asked.query("sort").unwrap_or("desc") == "desc" {
            found.reverse();
        }
        paged(asked, found.into_iter().map(|one| one.json(self)).collect())
    }

    fn create(&mut self, asked: &Asked, asker: &Asker) -> Result<Answer, Answer> {
        at_least(asker, 30)?;
        let body = asked
            .json()
            .ok_or_else(|| error("title is missing, source_branch is missing, target_branch is missing"))?;
        let missing: Vec<String> = ["title", "source_branch", "target_branch"]
            .iter()
            .filter(|key| text(&body, key).is_none_or(str::is_empty))
            .map(|key| format!("{key} is missing"))
            .collect();
        if !missing.is_empty() {
            return Err(error(&missing.join(", ")));
        }
        let of = |key: &str| text(&body, key).unwrap_or_default().to_owned();
        let (source, target) = (of("source_branch"), of("target_branch"));
        if source == target {
            return Err(Answer::json(
                422,
                &json!({ "message": ["You can't use same project/branch for source and target"] }),
            ));
        }
        for (branch, what) in [(&source, "Source"), (&target, "Target")] {
            if !self.branches.contains_key(branch) {
                return Err(Answer::json(
                    400,
                    &json!({ "message": [format!("{what} branch \"{branch}\" does not exist")] }),
                ));
            }
        }
        if let Some(there) = self
            .merge_requests
            .values()
            .find(|one| one.state == "opened" && one.source == source && one.target == target)
        {
            let why = format!(
                "Another open merge request already exists for this source branch: !{}",
                there.number
            );
            return Err(Answer::json(409, &json!({ "message": [why] })));
        }
        let number = self.merge_requests.keys().last().copied().unwrap_or(0) + 1;
        let one = MergeRequest {
            number,
            title: of("title"),
            description: of("description"),
            head: self.branches[&source].clone(),
            source,
            target,
            state: "opened".to_owned(),
            labels: labels(&body["labels"]).unwrap_or_default(),
            removes: body["remove_source_branch"].as_bool().unwrap_or(false),
            squash: body["squash"].as_bool().unwrap_or(false),
            source_project: self.id,
            readiness: vec!["preparing", "checking", "mergeable"],
            merge_commit: None,
            notes: Vec::new(),
        };
        let shown = one.json(self);
        self.merge_requests.insert(number, one);
        Ok(Answer::json(201, &shown))
    }

    fn change(&mut self, number: u64, asked: &Asked, asker: &Asker) -> Result<Answer, Answer> {
        at_least(asker, 30)?;
        let known = ["title", "description", "labels", "remove_source_branch", "squash", "state_event"];
        let body = asked.json().filter(|body| known.iter().any(|key| !body[*key].is_null()));
        let body = body.ok_or_else(|| {
            error(&format!("{} are missing, at least one parameter must be provided", known.join(", ")))
        })?;
        let one = self.merge_requests.get_mut(&number).ok_or_else(|| message(404, "404 Not found"))?;
        if let Some(title) = text(&body, "title") {
            if title.is_empty() {
                return Err(Answer::json(400, &json!({ "message": { "title": ["can't be blank"] } })));
            }
            title.clone_into(&mut one.title);
        }
        if let Some(description) = text(&body, "description") {
            description.clone_into(&mut one.description);
        }
        if let Some(labels) = labels(&body["labels"]) {
            one.labels = labels;
        }
        one.removes = body["remove_source_branch"].as_bool().unwrap_or(one.removes);
        one.squash = body["squash"].as_bool().unwrap_or(one.squash);
        match text(&body, "state_event") {
            Some("close") => "closed".clone_into(&mut one.state),
            Some("reopen") => "opened".clone_into(&mut one.state),
            Some(_) => return Err(error("state_event does not have a valid value")),
            None => {}
        }
        let one = one.clone();
        Ok(Answer::json(200, &one.json(self)))
    }

    fn merge(&mut self, number: u64, asked: &Asked, asker: &Asker) -> Result<Answer, Answer> {
        let body = asked.json().unwrap_or(Value::Null);
        let one = self.merge_requests.get(&number).cloned().ok_or_else(|| message(404, "404 Not found"))?;
        let needed = if self.protected.contains(&one.target) { 40 } else { 30 };
        if asker.level < needed {
            return Err(message(401, "401 Unauthorized"));
        }
        if one.state != "opened" || one.detailed() != "mergeable" {
            return Err(message(405, "405 Method Not Allowed"));
        }
        if text(&body, "sha").is_some_and(|sha| sha != one.head) {
            return Err(message(409, "SHA does not match HEAD of source branch"));
        }
        let commit = format!("{:0>40}", format!("abcdef{number}"));
        self.commits.insert(commit.clone());
        self.commits.insert(one.head.clone());
        self.branches.insert(one.target.clone(), commit.clone());
        if body["should_remove_source_branch"].as_bool().unwrap_or(one.removes) {
            self.branches.remove(&one.source);
        }
        let merged = MergeRequest { state: "merged".to_owned(), merge_commit: Some(commit), ..one };
        self.merge_requests.insert(number, merged.clone());
        Ok(Answer::json(200, &merged.json(self)))
    }
}
