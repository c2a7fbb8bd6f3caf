//! Reads `triggers/*.yaml`: what GitLab's events make run. One trigger a file, which has the file's name, or several below
//! `triggers:`.
//!
//! ```yaml
//! triggers:
//!   docker-deploy:
//!     on: push
//!     branches: [main]
//!     paths: ["docker/**"]
//!     runbook: docker/deploy
//!     params: { from: "{{ before }}", to: "{{ commit }}" }
//! ```

use std::collections::BTreeMap;
use std::sync::LazyLock;

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::access::Access;
use super::event::{Event, Kind};
use crate::model::capability::Capability;
use crate::model::diagnostic::Diagnostic;
use crate::model::given::Given;
use crate::model::nearest::did_you_mean;
use crate::model::order::{DEFAULT_QUEUE, USUAL_PRIORITY};
use crate::model::run::Mode;
use crate::model::schedule::source::Source;
use crate::model::yaml::{self, Content};

/// What was done to a merge request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It was opened, or opened again.
    Open,
    /// It has new commits.
    Push,
    /// It was merged.
    Merge,
    /// It was closed.
    Close,
}

/// A trigger: which events make which runbook run, and how.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Its name.
    pub id: String,
    /// What it is for.
    pub doc: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// The kind of its events.
    pub on: Kind,
    branches: Vec<GlobMatcher>,
    paths: Vec<GlobMatcher>,
    not_paths: Vec<GlobMatcher>,
    actions: Vec<Action>,
    status: Vec<String>,
    says: Option<String>,
    /// The least access level of whoever writes the note.
    pub access: Option<Access>,
    /// The runbook.
    pub runbook: String,
    params: BTreeMap<String, Value>,
    /// Plan or apply.
    pub mode: Mode,
    /// What its runs may do.
    pub grants: Vec<String>,
    /// The queue.
    pub queue: String,
    /// 0 to 100, the higher before the lower.
    pub priority: u8,
    /// Locks that its runs hold.
    pub locks: Vec<String>,
}

/// A trigger and where it was written.
#[derive(Debug, Clone)]
pub struct Definition {
    /// What was written.
    pub trigger: Trigger,
    /// The file, relative to the project.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Several {
    triggers: BTreeMap<String, Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    doc: String,
    #[serde(default = "yes")]
    enabled: bool,
    on: Kind,
    #[serde(default)]
    branches: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    not_paths: Vec<String>,
    actions: Option<Vec<Action>>,
    #[serde(default)]
    status: Vec<String>,
    says: Option<String>,
    access: Option<Access>,
    runbook: String,
    #[serde(default)]
    params: BTreeMap<String, Value>,
    mode: Option<Mode>,
    grants: Option<Vec<String>>,
    queue: Option<String>,
    priority: Option<u8>,
    #[serde(default)]
    locks: Vec<String>,
}

fn yes() -> bool {
    true
}

static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{(.*?)\}\}").expect("a pattern of ours"));

impl Trigger {
    /// Whether an event is one of its own, as far as the event alone tells.
    pub fn matches(&self, event: &Event) -> bool {
        let is_own = self.enabled && self.on == event.kind;
        let is_branch =
            self.branches.is_empty() || self.branches.iter().any(|glob| glob.is_match(&event.branch));
        let is_action = match (&event.merge_request, self.on) {
            (Some(request), Kind::MergeRequest) => {
                let action = match request.action.as_str() {
                    "open" | "reopen" => Some(Action::Open),
                    "update" if request.has_moved => Some(Action::Push),
                    "merge" => Some(Action::Merge),
                    "close" => Some(Action::Close),
                    _ => None,
                };
                action.is_some_and(|action| self.actions.contains(&action))
            }
            _ => true,
        };
        let is_status = match &event.pipeline {
            Some(pipeline) => self.status.contains(&pipeline.status) && !pipeline.is_tag,
            None => true,
        };
        let is_said = match (&event.note, &self.says) {
            (Some(note), Some(says)) => note.is_new && first_line(&note.text) == says,
            _ => true,
        };
        is_own && is_branch && is_action && is_status && is_said
    }

    /// Whether it cares which files have changed.
    pub fn has_paths(&self) -> bool {
        !self.paths.is_empty() || !self.not_paths.is_empty()
    }

    /// Whether one of the files that have changed is one of its own.
    pub fn covers<'a>(&self, mut files: impl Iterator<Item = &'a str>) -> bool {
        files.any(|file| {
            (self.paths.is_empty() || self.paths.iter().any(|glob| glob.is_match(file)))
                && !self.not_paths.iter().any(|glob| glob.is_match(file))
        })
    }

    /// Returns the parameters for an event.
    pub fn given(&self, event: &Event) -> BTreeMap<String, Given> {
        let names = event.names();
        let filled = |value: &Value| match value {
            Value::String(text) => {
                let text = NAME.replace_all(text, |found: &regex::Captures<'_>| {
                    names.get(found[1].trim()).cloned().unwrap_or_default()
                });
                Given::Text(text.into_owned())
            }
            other => Given::Value(other.clone()),
        };
        self.params.iter().map(|(name, value)| (name.clone(), filled(value))).collect()
    }
}

fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Reads a file of triggers; `stem` is its name without folder and ending. Returns everything that is wrong.
pub fn read(text: &str, file: &str, stem: &str) -> Result<Vec<Definition>, Vec<Diagnostic>> {
    let source = Source::new(text, file).map_err(|error| vec![error])?;
    let is_several = match &source.root().content {
        Content::Map(entries) => entries.iter().any(|(key, _)| key.text == "triggers"),
        Content::Scalar(Value::Null) => return Ok(Vec::new()),
        _ => return Err(vec![source.error(&[], "trigger", "a file of triggers is a mapping")]),
    };
    let wrong = |error: yaml::Error| vec![source.yaml(&error)];
    let raw = if is_several {
        yaml::from_str::<Several>(text, file).map_err(wrong)?.triggers
    } else {
        BTreeMap::from([(stem.to_owned(), yaml::from_str::<Raw>(text, file).map_err(wrong)?)])
    };
    let (mut definitions, mut errors) = (Vec::new(), Vec::new());
    for (id, raw) in raw {
        let base = if is_several { vec!["triggers", id.as_str()] } else { Vec::new() };
        let line = source.place(&base).0;
        match finish(&source, &base, &id, raw) {
            Ok(trigger) => definitions.push(Definition { trigger, file: file.to_owned(), line }),
            Err(more) => errors.extend(more),
        }
    }
    definitions.sort_by_key(|definition| definition.line);
    if errors.is_empty() { Ok(definitions) } else { Err(errors) }
}

fn finish(source: &Source<'_>, base: &[&str], id: &str, raw: Raw) -> Result<Trigger, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut wrong = |path: &[&str], message: String, hint: Option<&str>| {
        let whole: Vec<&str> = base.iter().chain(path).copied().collect();
        errors.push(source.error(&whole, "trigger", message).maybe_hint(hint.map(str::to_owned)));
    };
    let mut globs = |key: &str, list: &[String]| -> Vec<GlobMatcher> {
        let mut found = Vec::new();
        for (index, text) in list.iter().enumerate() {
            match GlobBuilder::new(text).literal_separator(true).build() {
                Ok(glob) => found.push(glob.compile_matcher()),
                Err(_) => wrong(&[key, &index.to_string()], format!("`{text}` is not a glob"), None),
            }
        }
        found
    };
    let branches = globs("branches", &raw.branches);
    let (paths, not_paths) = (globs("paths", &raw.paths), globs("not_paths", &raw.not_paths));
    let is_id = !id.is_empty()
        && id.len() <= 100
        && id.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    if !is_id {
        wrong(
            &[],
            format!("`{id}` is no name of a trigger: use letters, digits, `.`, `_`, `/` and `-`"),
            None,
        );
    }
    let mut only = |key: &str, is_given: bool, kinds: &[Kind]| {
        if is_given && !kinds.contains(&raw.on) {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            wrong(&[key], format!("`{key}` is for `on: {}`", kinds.join("` and `on: ")), None);
        }
    };
    only("paths", !raw.paths.is_empty() || !raw.not_paths.is_empty(), &[Kind::Push, Kind::MergeRequest]);
    only("actions", raw.actions.is_some(), &[Kind::MergeRequest]);
    only("status", !raw.status.is_empty(), &[Kind::Pipeline]);
    only("says", raw.says.is_some(), &[Kind::Note]);
    only("access", raw.access.is_some(), &[Kind::Note]);
    let actions = raw.actions.unwrap_or_else(|| vec![Action::Open, Action::Push]);
    let is_of_open_request = actions.iter().any(|action| matches!(action, Action::Open | Action::Push));
    let mode = raw.mode.unwrap_or(match raw.on {
        Kind::MergeRequest if is_of_open_request => Mode::Plan,
        _ => Mode::Apply,
    });
    match raw.on {
        Kind::MergeRequest if is_of_open_request && mode == Mode::Apply => wrong(
            &["mode"],
            "an open merge request is planned, not applied".to_owned(),
            Some("`nlrun apply` in a note applies its plan; `actions: [merge]` is about what was merged"),
        ),
        Kind::MergeRequest if is_of_open_request && raw.grants.is_none() => wrong(
            &[],
            "a trigger for merge requests needs `grants`: its runbooks are those of the branch, and nobody has reviewed them".to_owned(),
            Some("name what a plan may look at, such as `grants: [\"ssh.read:@web\", \"gitlab.*:infra/nl\"]`"),
        ),
        Kind::Pipeline if raw.status.is_empty() => {
            wrong(&[], "a trigger for pipelines needs `status`".to_owned(), Some("such as `status: [success]`"));
        }
        Kind::Note => match raw.says.as_deref().map(str::trim) {
            None | Some("") => wrong(&[], "a trigger for notes needs `says`, the first line of the note".to_owned(), None),
            Some(says) if says == "nlrun" || says.starts_with("nlrun ") => {
                wrong(&["says"], format!("`{says}` is an order of nlrun's own"), None);
            }
            Some(_) => {}
        },
        Kind::Push | Kind::MergeRequest | Kind::Pipeline => {}
    }
    for (name, value) in &raw.params {
        let Value::String(text) = value else { continue };
        for found in NAME.captures_iter(text) {
            let word = found[1].trim();
            if !Event::NAMES.contains(&word) {
                let near = did_you_mean(word, Event::NAMES);
                let hint = near.unwrap_or_else(|| format!("there are {}", Event::NAMES.join(", ")));
                wrong(&["params", name], format!("an event has no `{word}`"), Some(&hint));
            }
        }
    }
    if raw.priority.is_some_and(|priority| priority > 100) {
        wrong(&["priority"], "a priority is from 0 to 100".to_owned(), None);
    }
    if raw.runbook.trim().is_empty() {
        wrong(&["runbook"], "a trigger needs a runbook".to_owned(), None);
    }
    let grants = raw.grants.unwrap_or_else(|| vec!["*".to_owned()]);
    for (index, grant) in grants.iter().enumerate() {
        if let Err(error) = grant.parse::<Capability>() {
            wrong(&["grants", &index.to_string()], error.to_string(), None);
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Trigger {
        id: id.to_owned(),
        doc: raw.doc,
        enabled: raw.enabled,
        on: raw.on,
        branches,
        paths,
        not_paths,
        actions,
        status: raw.status,
        says: raw.says.map(|says| says.trim().to_owned()),
        access: match (raw.access, raw.on, mode) {
            (Some(access), ..) => Some(access),
            // On a public project anybody may write a note.
            (None, Kind::Note, Mode::Apply) => Some(Access::Maintainer),
            (None, Kind::Note, Mode::Plan) => Some(Access::Developer),
            (None, Kind::Push | Kind::MergeRequest | Kind::Pipeline, _) => None,
        },
        runbook: raw.runbook,
        params: raw.params,
        mode,
        grants,
        queue: raw.queue.unwrap_or_else(|| DEFAULT_QUEUE.to_owned()),
        priority: raw.priority.unwrap_or(USUAL_PRIORITY),
        locks: raw.locks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn push(branch: &str) -> Event {
        let payload = json!({
            "object_kind": "push", "ref": format!("refs/heads/{branch}"), "before": "a1", "after": "b2", "user_username": "ada",
            "project": { "path_with_namespace": "infra/nl" },
        });
        Event::read(&payload).unwrap().unwrap()
    }

    #[test]
    fn a_trigger_covers_its_branches_and_paths_and_fills_its_parameters() {
        let text = "on: push\nbranches: [main, 'release/*']\npaths: ['docker/**']\nnot_paths: ['**/*.md']\nrunbook: d\n\
                    params: {from: '{{ before }}', to: 'to {{commit}}', n: 3}\n";
        let trigger = &read(text, "triggers/d.yaml", "d").unwrap()[0].trigger;
        for (branch, expected) in
            [("main", true), ("release/1", true), ("release/1/x", false), ("feature", false)]
        {
            assert_eq!(trigger.matches(&push(branch)), expected, "{branch}");
        }
        for (files, expected) in [
            (vec!["docker/a/compose.yaml"], true),
            (vec!["docker/README.md"], false),
            (vec!["docker/README.md", "docker/x"], true),
            (vec!["k8s/x"], false),
            (vec![], false),
        ] {
            assert_eq!(trigger.covers(files.iter().copied()), expected, "{files:?}");
        }
        let given = trigger.given(&push("main"));
        assert_eq!(given["from"], Given::Text("a1".to_owned()));
        assert_eq!(given["to"], Given::Text("to b2".to_owned()));
        assert_eq!(given["n"], Given::Value(json!(3)));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, line, part) in [
            ("on: push\nrunbook: x\nbrnches: [a]", 3, "brnches"),
            ("on: pull\nrunbook: x", 1, "pull"),
            ("on: push", 0, "runbook"),
            ("on: push\nrunbook: x\npaths: ['a{']", 3, "is not a glob"),
            ("on: push\nrunbook: x\nactions: [open]", 3, "`actions` is for `on: merge_request`"),
            ("on: merge_request\nrunbook: x", 1, "needs `grants`"),
            ("on: merge_request\nrunbook: x\ngrants: [ssh.read]\nmode: apply", 4, "is planned, not applied"),
            ("on: pipeline\nrunbook: x", 1, "needs `status`"),
            ("on: note\nrunbook: x", 1, "needs `says`"),
            ("on: note\nrunbook: x\nsays: nlrun apply", 3, "an order of nlrun's own"),
            ("on: push\nrunbook: x\nparams:\n  a: '{{ befor }}'", 4, "an event has no `befor`"),
            ("on: push\nrunbook: x\ngrants: [':x']", 3, "has no verb"),
            ("on: push\nrunbook: x\npriority: 101", 3, "from 0 to 100"),
            ("- x", 1, "is a mapping"),
        ] {
            let errors = read(text, "triggers/x.yaml", "x").unwrap_err();
            let found =
                errors.iter().any(|error| error.message.contains(part) && (line == 0 || error.line == line));
            assert!(found, "{text}: {errors:?}");
        }
    }

    #[test]
    fn merged_and_opened_are_told_apart() {
        let request = |action: &str, oldrev: Value| {
            let payload = json!({
                "object_kind": "merge_request", "user": { "username": "ada" }, "project": { "path_with_namespace": "infra/nl" },
                "object_attributes": { "iid": 1, "action": action, "source_branch": "x", "target_branch": "main", "oldrev": oldrev,
                    "source_project_id": 1, "target_project_id": 1, "last_commit": { "id": "b2" } },
            });
            Event::read(&payload).unwrap().unwrap()
        };
        let plan =
            &read("on: merge_request\nrunbook: x\ngrants: [ssh.read]", "t.yaml", "t").unwrap()[0].trigger;
        let merged =
            &read("on: merge_request\nrunbook: x\nactions: [merge]", "t.yaml", "t").unwrap()[0].trigger;
        assert_eq!((plan.mode, merged.mode), (Mode::Plan, Mode::Apply));
        for (action, oldrev, opens, merges) in [
            ("open", Value::Null, true, false),
            ("update", json!("a1"), true, false),
            // A new title changes no code.
            ("update", Value::Null, false, false),
            ("merge", Value::Null, false, true),
            ("approved", Value::Null, false, false),
        ] {
            let event = request(action, oldrev);
            assert_eq!((plan.matches(&event), merged.matches(&event)), (opens, merges), "{action}");
        }
    }
}
