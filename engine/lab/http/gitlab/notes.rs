//! Notes of merge requests.

use serde_json::{Value, json};

use super::super::server::{Answer, Asked};
use super::{Asker, Project, at_least, error, message, paged};

/// The most characters of a note.
const MOST: usize = 1_000_000;

/// A note.
#[derive(Debug, Clone)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// The account that wrote it.
    pub author: i64,
    /// The account's name.
    pub username: String,
    /// Its text.
    pub body: String,
    /// Whether GitLab itself wrote it.
    pub is_system: bool,
    /// Signs that were given to it.
    pub awards: Vec<String>,
}

impl Note {
    fn json(&self) -> Value {
        json!({
            "id": self.id, "body": self.body, "system": self.is_system, "noteable_type": "MergeRequest",
            "author": { "id": self.author, "username": self.username },
        })
    }
}

fn body(asked: &Asked) -> Result<String, Answer> {
    let body = asked.json().and_then(|body| body["body"].as_str().map(str::to_owned));
    let body = body.ok_or_else(|| error("body is missing"))?;
    if body.trim().is_empty() {
        return Err(message(400, "400 Bad request - Note {:note=>[\"can't be blank\"]}"));
    }
    if body.chars().count() > MOST {
        let why = format!("is too long (maximum is {MOST} characters)");
        return Err(Answer::json(400, &json!({ "message": { "note": [why] } })));
    }
    // It keeps line ends as it likes them, and no white space at the end.
    Ok(body.replace("\r\n", "\n").trim_end().to_owned())
}

impl Project {
    pub(super) fn notes(
        &mut self,
        number: u64,
        rest: &[&str],
        asked: &Asked,
        asker: &Asker,
        next: i64,
    ) -> Result<Answer, Answer> {
        let one = self.merge_requests.get_mut(&number).ok_or_else(|| message(404, "404 Not found"))?;
        match (asked.method.as_str(), rest) {
            ("GET", []) => {
                let mut notes: Vec<Value> = one.notes.iter().map(Note::json).collect();
                if asked.query("sort").unwrap_or("desc") == "desc" {
                    notes.reverse();
                }
                paged(asked, notes)
            }
            ("POST", []) => {
                at_least(asker, 10)?;
                let note = Note {
                    id: next,
                    author: asker.id,
                    username: asker.username.clone(),
                    body: body(asked)?,
                    is_system: false,
                    awards: Vec::new(),
                };
                let shown = note.json();
                one.notes.push(note);
                Ok(Answer::json(201, &shown))
            }
            (method, [id, rest @ ..]) => {
                let id: i64 = id.parse().map_err(|_| error("note_id is invalid"))?;
                let note = one.notes.iter_mut().find(|note| note.id == id);
                let note = note.ok_or_else(|| message(404, "404 Note Not Found"))?;
                match (method, rest) {
                    ("GET", []) => Ok(Answer::json(200, &note.json())),
                    ("PUT", []) => {
                        if note.author != asker.id && asker.level < 40 {
                            return Err(message(403, "403 Forbidden"));
                        }
                        note.body = body(asked)?;
                        Ok(Answer::json(200, &note.json()))
                    }
                    ("POST", ["award_emoji"]) => {
                        let name = asked.json().and_then(|body| body["name"].as_str().map(str::to_owned));
                        let name = name.ok_or_else(|| error("name is missing"))?;
                        if note.awards.contains(&name) {
                            return Err(message(404, "404 Award Emoji Name has already been taken"));
                        }
                        note.awards.push(name.clone());
                        Ok(Answer::json(201, &json!({ "id": next, "name": name })))
                    }
                    _ => Err(Answer::json(404, &json!({ "error": "404 Not Found" }))),
                }
            }
            _ => Err(Answer::json(404, &json!({ "error": "404 Not Found" }))),
        }
    }
}
