//! `gitlab_note`.

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{about, needed, project, told};
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::diff;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::store::sha256;
use crate::world::gitlab::{MOST_NOTE, Note, marked, marker};

/// A note that is to hold a text.
#[derive(Serialize)]
struct Keep {
    project: String,
    number: u64,
    name: String,
    /// The text itself is in the diff; a megabyte of it need not stand in the log twice.
    sha256: String,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    id: Option<i64>,
}

impl Keep {
    /// Returns what is sent: nothing that is secret.
    fn body(&self, permit: &Permit<'_>) -> String {
        let artifact = self.artifact();
        marked(&self.name, &permit.redact(&self.text), &format!("the whole is `{artifact}` of the run"))
    }

    fn artifact(&self) -> String {
        format!("note-{}.md", self.name.replace('/', "-"))
    }
}

impl Effect for Keep {
    const NAME: &'static str = "gitlab.note";
    const KIND: Kind = Kind::Ensure;
    type Output = Kept;

    fn target(&self) -> Target {
        about(&self.project)
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Kept>, Failure> {
        let found = Note::find(permit, &self.project, self.number, &self.name).await?;
        let body = self.body(permit);
        let changes = !found.as_ref().is_some_and(|note| note.holds(&self.name, &body));
        let there = found.as_ref().map(|note| note.text.as_str()).unwrap_or_default();
        let head = format!("{}\n", marker(&self.name));
        let wanted = body.strip_prefix(&head).unwrap_or(&body);
        let label = format!("{}!{} note {}", self.project, self.number, self.name);
        let with_end =
            |text: &str| if text.is_empty() { String::new() } else { format!("{}\n", text.trim_end()) };
        let old_label = if found.is_some() { label.as_str() } else { "/dev/null" };
        let diff = changes.then(|| diff::unified(&with_end(there), &with_end(wanted), old_label, &label, 3));
        let id = found.as_ref().map(|note| note.id);
        let pre = json!({ "note": id, "sha256": found.as_ref().map(|note| sha256(note.text.as_bytes())) });
        Ok(Seen { pre, changes, diff, output: Some(Kept { id }) })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Kept>) -> Result<Done<Kept>, Failure> {
        let found = seen.output.as_ref().and_then(|kept| kept.id);
        if !seen.changes {
            return Ok(Done::ok(Kept { id: found }));
        }
        if self.text.chars().count() + self.name.len() + 32 > MOST_NOTE {
            permit.artifact(&self.artifact(), "text/markdown", self.text.as_bytes()).await?;
        }
        let id = Note::write(permit, &self.project, self.number, found, &self.body(permit)).await?;
        Ok(Done::changed(Kept { id: Some(id) }))
    }
}

pub(super) fn gitlab_note(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let project = project(call)?;
    let number = call.int(1)?;
    let number = u64::try_from(number).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| invalid("a merge request has a number of at least 1".to_owned()))?;
    let text = call.string(2)?;
    needed(&text, "the text of a note")?;
    let name = match call.option_string("name")? {
        Some(name) => name,
        None => {
            let runbook = &call.session.gate().runbook;
            runbook.trim_start_matches("runbooks/").trim_end_matches(".rhai").to_owned()
        }
    };
    let is_name = !name.is_empty()
        && name.len() <= 100
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    if !is_name || name.contains("--") {
        let message =
            format!("`{name}` cannot name a note: use letters, digits, `.`, `_`, `/` and single `-`");
        return Err(invalid(message).into());
    }
    let effect = Keep { sha256: sha256(text.as_bytes()), project, number, name, text };
    told(call, &effect, |kept| Map::from([("id".into(), kept.id.map_or(Dynamic::UNIT, Dynamic::from))]))
}
