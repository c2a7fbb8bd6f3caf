//! Edits of the project's files: each becomes a commit on a branch of the remote repository.

use super::Repository;
use crate::service::edit::{Change, Kept, Saves, Text, TextError, hash_of};
use crate::world::repository::{Author, Edit, Fault};

/// How often an edit is made anew because somebody else has pushed meanwhile.
const TRIES: usize = 4;

/// Where a file is read that somebody edits, and where the edit goes.
struct Ground {
    /// The commit that holds the file.
    commit: String,
    /// The branch that gets the edit.
    branch: String,
    /// Whether that branch has something that is not merged yet: then the commit is its own.
    is_open: bool,
    /// Whether the branch begins anew at the commit, for all that it has is merged.
    anew: bool,
}

impl Repository {
    /// Reads a file as its editor gets it: from the branch that has their edit of it, or else as it is in force.
    pub fn text_of(&self, path: &str, branch: Option<&str>, who: &str) -> Result<Text, TextError> {
        let ground = self.ground(path, branch, who)?;
        let bytes = self.read(&ground.commit, path)?;
        let hash = hash_of(bytes.as_deref());
        let text = String::from_utf8(bytes.unwrap_or_default());
        let text = text.map_err(|_| TextError::Refused(format!("`{path}` is no text in UTF-8")))?;
        let followed = &self.0.settings.branch;
        let into = (ground.branch != *followed).then(|| followed.clone());
        let saves = Saves { branch: Some(ground.branch.clone()), into, opens: false };
        Ok(Text { path: path.to_owned(), text, hash, branch: ground.is_open.then_some(ground.branch), saves })
    }

    /// Makes a commit on a branch and pushes it.
    ///
    /// Without a name it is the author's own branch for this file. It begins at what is in force, also when all that it has is merged. It is
    /// a conflict when the file is another one there than the author has seen; what others have pushed to other files stays, and
    /// the commit is made on top of it.
    pub fn save(&self, change: &Change) -> Result<Kept, TextError> {
        let _work = self.0.work.lock();
        let login = self.login().map_err(TextError::Refused)?;
        let (settings, trusted) = (&self.0.settings, self.trusted());
        let changed = || TextError::Changed(change.path.clone());
        let mut tries = 1;
        let (written, branch) = loop {
            self.0.mirror.fetch(&settings.remote, &login, trusted.as_deref(), settings.timeout)?;
            let refs = self.0.mirror.refs()?;
            self.0.state.write().refs = refs;
            let ground = self.ground(&change.path, change.branch.as_deref(), &change.who)?;
            if hash_of(self.read(&ground.commit, &change.path)?.as_deref()) != change.before {
                return Err(changed());
            }
            let edit = Edit {
                files: [(change.path.clone(), change.text.clone())].into(),
                base: ground.commit,
                branch: ground.branch,
                anew: ground.anew,
                message: change.message.clone(),
                author: Author { name: change.who.clone(), mail: settings.committer.mail.clone() },
                committer: settings.committer.clone(),
                run: None,
            };
            let written =
                self.0.mirror.write(&edit, &settings.remote, &login, trusted.as_deref(), settings.timeout);
            match written {
                Ok(written) => break (written, edit.branch),
                // Whether it is the file itself that has changed, the next try sees before anything is pushed.
                Err(Fault::Conflict { .. }) if tries < TRIES => tries += 1,
                Err(Fault::Conflict { .. }) => return Err(changed()),
                Err(fault) => return Err(fault.into()),
            }
        };
        let refs = self.0.mirror.refs()?;
        self.0.state.write().refs = refs;
        // The followed branch may have moved.
        self.ask();
        let place = if written.changed {
            format!("branch `{branch}`")
        } else {
            "the repository already: nothing has changed".to_owned()
        };
        Ok(Kept {
            hash: hash_of(change.text.as_deref().map(str::as_bytes)),
            place,
            link: None,
            trouble: None,
            commit_link: None,
            branch: written.changed.then_some(branch),
            commit: Some(written.commit),
        })
    }

    fn ground(&self, path: &str, branch: Option<&str>, who: &str) -> Result<Ground, TextError> {
        let sync = self.sync();
        let Some(followed) = sync.commit else {
            let why = sync.trouble.unwrap_or_else(|| "it is being fetched for the first time".to_owned());
            return Err(TextError::Refused(format!("there is no project yet: {why}")));
        };
        let own = own_branch(who, path);
        let branch = branch.map_or(own, str::to_owned);
        let tip = self.0.state.read().refs.find(&format!("refs/heads/{branch}")).map(str::to_owned);
        let begins = |anew| Ground { commit: followed.clone(), branch: branch.clone(), is_open: false, anew };
        let Some(tip) = tip else { return Ok(begins(false)) };
        if self.is_followed(&tip).map_err(TextError::Refused)? {
            return Ok(begins(false));
        }
        // Merged as another commit: squashed, or rebased.
        if branch != self.0.settings.branch && self.is_held(&tip, &followed)? {
            return Ok(begins(true));
        }
        Ok(Ground { commit: tip, branch, is_open: true, anew: false })
    }

    /// Whether all that a branch has changed since it left another one is there, too.
    fn is_held(&self, tip: &str, by: &str) -> Result<bool, Fault> {
        let mirror = &self.0.mirror;
        let Some(fork) = mirror.merge_base(by, tip)? else { return Ok(false) };
        for file in mirror.changed(Some(&fork), tip, false)?.files {
            if mirror.blob(tip, &file.path)? != mirror.blob(by, &file.path)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl From<Fault> for TextError {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault.told())
    }
}

/// Returns the branch that gets a person's edits of a file, as long as they are not merged.
fn own_branch(who: &str, path: &str) -> String {
    let word = |text: &str| -> String {
        let kept = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let text: String = text.chars().map(kept).take(100).collect();
        // Names of Git have neither (git-check-ref-format).
        text.replace("..", "-").trim_matches(['.', '-']).to_owned()
    };
    let parts: Vec<String> = path.split('/').map(word).filter(|part| !part.is_empty()).collect();
    format!("edit/{}/{}", word(who), parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_of_edits_have_names_that_git_takes() {
        for (who, path, expected) in [
            ("ann", "runbooks/web.rhai", "edit/ann/runbooks/web.rhai"),
            ("token ed", "lib/a b.rhai", "edit/token-ed/lib/a-b.rhai"),
            ("-x", "runbooks/--upload-pack=id.rhai", "edit/x/runbooks/upload-pack-id.rhai"),
            ("a@b", "runbooks/a..b.rhai", "edit/a-b/runbooks/a-b.rhai"),
            ("ä", "runbooks/~^:.rhai", "edit//runbooks/rhai"),
        ] {
            let branch = own_branch(who, path);
            assert_eq!(branch, expected);
        }
    }
}
