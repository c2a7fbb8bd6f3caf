//! One note of a merge request that is kept up to date: found by a mark that nobody sees.

use serde_json::{Value, json};

use super::ask::project;
use super::{Ask, Person, Way, list, value};
use crate::model::event::Failure;

/// The most characters of a note that GitLab takes.
pub const MOST_NOTE: usize = 1_000_000;

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// Its text, without the mark.
    pub text: String,
}

/// Returns the mark of the note of this name.
pub fn marker(name: &str) -> String {
    format!("<!-- nlrun:{name} -->")
}

/// Returns a note's text with its mark, cut to what GitLab takes; what is cut off is said, with where the whole is.
pub fn marked(name: &str, text: &str, rest: &str) -> String {
    let head = format!("{}\n", marker(name));
    let text = text.trim_end();
    let room = MOST_NOTE - head.chars().count();
    if text.chars().count() <= room {
        return head + text;
    }
    let tail = format!("\n\n_The rest is cut off; {rest}_");
    let cut: String = text.chars().take(room.saturating_sub(tail.chars().count() + 8)).collect();
    // A cut within a block of code would take what follows into it.
    let open = cut.lines().filter(|line| line.starts_with("```")).count() % 2 == 1;
    head + &cut + if open { "\n```" } else { "" } + &tail
}

/// Compares texts as GitLab keeps them: line ends are its own, and white space at the end is nobody's.
fn is_same(one: &str, other: &str) -> bool {
    one.replace("\r\n", "\n").trim_end() == other.replace("\r\n", "\n").trim_end()
}

impl Note {
    /// Finds the note of this name that this token's user has written.
    ///
    /// A note that somebody else has given the mark cannot be changed, and is not ours.
    pub async fn find(
        way: &impl Way,
        name: &str,
        merge_request: u64,
        mark: &str,
    ) -> Result<Option<Self>, Failure> {
        let me = Person::me(way).await?;
        let head = format!("{}\n", marker(mark));
        let path = project(name, &format!("merge_requests/{merge_request}/notes"));
        let ask = Ask::get(path).query("sort", "asc").query("order_by", "created_at");
        list(way, &ask, |note| {
            let body = note["body"].as_str()?.replace("\r\n", "\n");
            let text = body.strip_prefix(&head)?;
            (note["author"]["id"].as_i64() == Some(me.id))
                .then(|| Self { id: note["id"].as_i64().unwrap_or(-1), text: text.to_owned() })
        })
        .await
    }

    /// Whether it holds this text, marked as it is.
    pub fn holds(&self, name: &str, body: &str) -> bool {
        is_same(&format!("{}\n{}", marker(name), self.text), body)
    }

    /// Writes a note, over the one that was found; returns its number once GitLab holds the text.
    pub async fn write(
        way: &impl Way,
        name: &str,
        merge_request: u64,
        found: Option<i64>,
        body: &str,
    ) -> Result<i64, Failure> {
        let path = project(name, &format!("merge_requests/{merge_request}/notes"));
        let ask = match found {
            Some(id) => Ask::put(format!("{path}/{id}"), json!({ "body": body })),
            None => Ask::post(path, json!({ "body": body })),
        };
        let written = value(way, &ask).await?;
        let id = written["id"].as_i64().unwrap_or(-1);
        if !written["body"].as_str().is_some_and(|kept| is_same(kept, body)) {
            let message =
                format!("GitLab took the note {id} of {name}!{merge_request}, but holds another text");
            return Err(super::failure("not_kept", message));
        }
        Ok(id)
    }

    /// Answers a note with a small sign, which is no note of its own.
    pub async fn award(
        way: &impl Way,
        name: &str,
        merge_request: u64,
        note: i64,
        sign: &str,
    ) -> Result<(), Failure> {
        let path = project(name, &format!("merge_requests/{merge_request}/notes/{note}/award_emoji"));
        let ask = Ask::post(path, json!({ "name": sign }));
        let reply = super::answer(way, &ask).await?;
        match reply.status {
            // It is there already, or nobody may give one: the note says the same in words.
            200..300 | 404 => Ok(()),
            _ => Err(super::refused(&ask, &reply)),
        }
    }
}

/// Returns the URL of a note, where the merge request's is known.
pub(super) fn url(merge_request: &Value, note: i64) -> Option<String> {
    Some(format!("{}#note_{note}", merge_request["web_url"].as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_outside_of_code() {
        let short = marked("plan", "hello\n", "see run 7");
        assert_eq!(short, "<!-- nlrun:plan -->\nhello");
        let long = format!("```diff\n{}", "+ ü\n".repeat(400_000));
        let cut = marked("plan", &long, "see run 7");
        assert!(cut.chars().count() <= MOST_NOTE, "{}", cut.chars().count());
        assert!(cut.ends_with("\n```\n\n_The rest is cut off; see run 7_"), "{}", &cut[cut.len() - 80..]);
    }
}
