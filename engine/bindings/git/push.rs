//! `git_commit_push`.

use std::collections::BTreeMap;

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bindings::{Call, Outcome, Raise};
use crate::gate::permit::{Origin, git_failure, invalid};
use crate::gate::{Answered, Done, Effect, Permit, Seen};
use crate::model::diff;
use crate::model::effect::{Kind, Target};
use crate::model::event::{Failure, Verdict};
use crate::store::sha256;
use crate::world::repository::{Author, Compared, Edit, Fault, author};

/// How often a commit is made anew because somebody else has pushed meanwhile.
const TRIES: u32 = 4;

/// Files of a branch that are to hold these texts.
#[derive(Serialize)]
struct Push {
    branch: String,
    files: BTreeMap<String, Option<String>>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    anew: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
}

/// Where the texts are.
#[derive(Clone, Serialize, Deserialize)]
struct Pushed {
    commit: String,
    is_new: bool,
}

impl Push {
    /// Says what is to be done, for a repository as it is now.
    fn edit(&self, origin: &Origin) -> Result<Edit, Failure> {
        let settings = origin.settings();
        let refs = origin.mirror().refs().map_err(|fault| git_failure(&fault))?;
        let tip = |branch: &str| refs.find(&format!("refs/heads/{branch}")).map(str::to_owned);
        let base = self.base.clone().or_else(|| tip(&self.branch)).or_else(|| tip(&settings.branch));
        let base = base.ok_or_else(|| {
            invalid(format!("there is no branch `{}` to begin `{}` at", settings.branch, self.branch))
        })?;
        let author = match &self.author {
            Some(text) => author(text).ok_or_else(|| {
                invalid(format!(
                    "`{text}` is no author; write `NAME <MAIL>`, such as `nlrun <nlrun@example.net>`"
                ))
            })?,
            None => settings.committer.clone(),
        };
        let committer: Author = settings.committer.clone();
        Ok(Edit {
            files: self.files.clone(),
            base,
            branch: self.branch.clone(),
            anew: self.anew,
            message: self.message.clone(),
            author,
            committer,
            run: None,
        })
    }

    /// Refuses to put a secret where everybody reads it.
    fn demand_no_secret(&self, permit: &Permit<'_>) -> Result<(), Failure> {
        let texts = self.files.iter().filter_map(|(path, text)| Some((path, text.as_ref()?)));
        for (path, text) in texts {
            if permit.redact(text) != *text {
                let message = format!("`{path}` would hold a secret, and a repository is no place for one");
                return Err(Failure { kind: "secret".to_owned(), ..invalid(message) });
            }
        }
        Ok(())
    }

    fn diff(&self, compared: &Compared) -> String {
        let mut text = String::new();
        for (path, new) in &self.files {
            let old = compared.before.get(path).and_then(Option::as_deref);
            let old_text = old.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            if old_text == *new {
                continue;
            }
            let label = |there: bool| if there { path.as_str() } else { "/dev/null" };
            let (before, after) = (old_text.unwrap_or_default(), new.clone().unwrap_or_default());
            text += &diff::unified(&before, &after, label(old.is_some()), label(new.is_some()), 3);
        }
        text
    }
}

impl Effect for Push {
    const NAME: &'static str = "git.commit_push";
    const KIND: Kind = Kind::Ensure;
    type Output = Pushed;

    fn target(&self) -> Target {
        Target::Named { name: self.branch.clone() }
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Pushed>, Failure> {
        self.demand_no_secret(permit)?;
        let origin = permit.origin().await?;
        let edit = self.edit(&origin)?;
        let compared = permit.on_disk(move || origin.mirror().compare(&edit)).await?;
        let compared = compared.map_err(|fault| git_failure(&fault))?;
        let is_as_wanted = |(path, new): (&String, &Option<String>)| {
            compared.before.get(path).map(Option::as_deref) == Some(new.as_ref().map(String::as_bytes))
        };
        let changes = !self.files.iter().all(is_as_wanted);
        let held: BTreeMap<&String, Option<String>> =
            compared.before.iter().map(|(path, old)| (path, old.as_deref().map(sha256))).collect();
        // The commit itself is not compared: others may push to other files between a plan and its application.
        let pre = json!({ "files": held, "is_new": compared.tip.is_none() });
        let diff = changes.then(|| permit.redact(&self.diff(&compared)));
        let output = (!changes).then(|| Pushed { commit: compared.top.clone(), is_new: false });
        Ok(Seen { pre, changes, diff, output })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Pushed>) -> Result<Done<Pushed>, Failure> {
        if let (false, Some(output)) = (seen.changes, &seen.output) {
            return Ok(Done::ok(output.clone()));
        }
        let mut tries = 1;
        loop {
            let origin = permit.origin().await?;
            let edit = self.edit(&origin)?;
            match permit.on_disk(move || origin.write(edit)).await? {
                Ok(written) => {
                    let output = Pushed { commit: written.commit, is_new: written.is_new };
                    return Ok(if written.changed { Done::changed(output) } else { Done::ok(output) });
                }
                // Whether it is a file itself that has changed, the next try sees before anything is pushed.
                Err(Fault::Conflict { .. }) if tries < TRIES => tries += 1,
                Err(fault) => return Err(git_failure(&fault)),
            }
        }
    }
}

/// Reads the texts by path.
fn files(call: &Call<'_>) -> Result<BTreeMap<String, Option<String>>, Raise> {
    let given = call.value(1).try_cast::<Map>().unwrap_or_default();
    if given.is_empty() {
        return Err(invalid("there are no files to commit".to_owned()).into());
    }
    let text = |path: &str, value: Dynamic| {
        if value.is_unit() {
            return Ok(None);
        }
        let wrong = || {
            invalid(format!(
                "`git_commit_push` wants the text of `{path}`, or `()` for a file that is to go; a secret belongs in no repository"
            ))
        };
        value.into_string().map(Some).map_err(|_| wrong())
    };
    given
        .into_iter()
        .map(|(path, value)| Ok((path.to_string(), text(&path, value)?)))
        .collect::<Result<_, Failure>>()
        .map_err(Raise::from)
}

pub(super) fn git_commit_push(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let push = Push {
        branch: call.string(0)?,
        files: files(call)?,
        message: call.string(2)?,
        base: call.option_string("base")?,
        anew: call.option_bool("anew", false)?,
        author: call.option_string("author")?,
    };
    if push.message.trim().is_empty() {
        return Err(invalid("a commit needs a message that says what it does".to_owned()).into());
    }
    match call.session.perform(Some(call.site.clone()), &push)? {
        Answered::Known(Pushed { commit, is_new }, verdict) => Ok(Map::from([
            ("commit".into(), commit.into()),
            ("branch".into(), push.branch.into()),
            ("changed".into(), (verdict == Verdict::Changed).into()),
            ("is_new".into(), is_new.into()),
        ])
        .into()),
        Answered::Unplanned => Ok(Outcome::unplanned(Push::NAME, call.site.clone()).into()),
    }
}
