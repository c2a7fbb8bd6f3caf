//! Edits that become commits: made in the mirror, without a work tree, and pushed.

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::changed::trailers;
use super::mirror::check_name;
use super::{Fault, Login, Mirror, Remote};

/// The most of a text that is edited, in bytes.
const LARGEST: usize = 1 << 20;

/// A name and an address, as commits have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The address for mail.
    pub mail: String,
}

impl Author {
    fn line(&self) -> Result<(String, String), Fault> {
        let clean = |text: &str| -> String {
            text.chars().filter(|c| !c.is_control() && !"<>".contains(*c)).collect()
        };
        let (name, mail) = (clean(&self.name).trim().to_owned(), clean(&self.mail).trim().to_owned());
        if name.is_empty() {
            return Err(Fault::Invalid("a commit needs the name of its author".to_owned()));
        }
        Ok((name, mail))
    }
}

/// One file that becomes another one.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The file's path in the repository.
    pub path: String,
    /// What it holds then; nothing to delete it.
    pub text: Option<String>,
    /// The commit that the author has seen.
    pub base: String,
    /// The branch that gets the commit; one that is not there, or that `base` has whole, goes on from `base`.
    pub branch: String,
    /// Whether the branch begins anew at `base`, whatever it has now.
    pub anew: bool,
    /// The first line and more, in the author's words.
    pub message: String,
    /// Who edits.
    pub author: Author,
    /// Who makes the commit for them.
    pub committer: Author,
    /// The run that makes it, where it is no person.
    pub run: Option<i64>,
}

/// A commit that was made and pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The commit.
    pub commit: String,
    /// Whether there was something to do; else it is the commit that was there.
    pub changed: bool,
    /// Whether the branch is new.
    pub is_new: bool,
}

impl Mirror {
    /// Makes a commit on top of a branch and pushes it. The mirror has to be fresh.
    ///
    /// It is a conflict when the file is another one there than in the commit that the author has seen; what else has changed
    /// meanwhile stays. A push that is refused because the branch has moved is a [`Fault::Conflict`], too, and can be tried again
    /// after a fetch.
    pub fn write(
        &self,
        edit: &Edit,
        remote: &Remote,
        login: &Login,
        trusted: Option<&Path>,
        patience: Duration,
    ) -> Result<Written, Fault> {
        check_edit(edit)?;
        let conflict = |why: &str| Fault::Conflict {
            branch: edit.branch.clone(),
            path: edit.path.clone(),
            why: why.to_owned(),
        };
        let base = self.commit(&edit.base)?;
        let tip = self.refs()?.find(&format!("refs/heads/{}", edit.branch)).map(str::to_owned);
        let top = match &tip {
            None => base.clone(),
            Some(tip) if edit.anew || self.is_ancestor(tip, &base)? => base.clone(),
            Some(tip) => tip.clone(),
        };
        if top != base && self.blob(&base, &edit.path)? != self.blob(&top, &edit.path)? {
            return Err(conflict("somebody else has changed it"));
        }
        let tree = self.tree_with(&top, edit)?;
        let old_tree =
            self.git().line(&["rev-parse", "--verify", "--end-of-options", &format!("{top}^{{tree}}")])?;
        if tree == old_tree {
            return Ok(Written { commit: top, changed: false, is_new: false });
        }
        let commit = self.make(&tree, &top, edit)?;
        let name = format!("refs/heads/{}", edit.branch);
        // The branch has to be where it was, or not be there: else somebody was faster.
        let lease = format!("--force-with-lease={name}:{}", tip.as_deref().unwrap_or_default());
        let target = format!("{commit}:{name}");
        let git = self.git().remote(remote, login, trusted, patience);
        let pushed = git.ask(&[
            "push",
            "--quiet",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            &lease,
            "--end-of-options",
            remote.as_str(),
            &target,
        ]);
        match pushed {
            Ok(_) => {}
            Err(Fault::Failed { words, .. })
                if ["stale info", "fetch first", "non-fast-forward", "cannot lock ref"]
                    .iter()
                    .any(|part| words.contains(part)) =>
            {
                return Err(conflict("the branch has moved"));
            }
            Err(fault) => return Err(fault),
        }
        self.git().ask(&["update-ref", &name, &commit])?;
        Ok(Written { commit, changed: true, is_new: tip.is_none() })
    }

    /// Writes the tree of a commit with one file changed, by an index of its own.
    fn tree_with(&self, top: &str, edit: &Edit) -> Result<String, Fault> {
        let unwritten = |source| Fault::Write { path: "a temporary file".into(), source };
        let folder = tempfile::tempdir().map_err(unwritten)?;
        let index = folder.path().join("index");
        let git = || self.git().variable("GIT_INDEX_FILE", &index);
        git().ask(&["read-tree", top])?;
        let entry = match &edit.text {
            Some(text) => {
                let mut file = tempfile::tempfile().map_err(unwritten)?;
                file.write_all(text.as_bytes()).and_then(|()| file.rewind()).map_err(unwritten)?;
                let words = self
                    .git()
                    .ask_with(&["hash-object", "-w", "--no-filters", "--stdin"], Stdio::from(file))?;
                let blob = String::from_utf8_lossy(&words).trim().to_owned();
                let mode = if self.is_executable(top, &edit.path)? { "100755" } else { "100644" };
                format!("{mode},{blob},{}", edit.path)
            }
            None => {
                if self.blob(top, &edit.path)?.is_none() {
                    return Err(Fault::Invalid(format!("there is no file `{}` to delete", edit.path)));
                }
                // Mode 0 takes an entry out, and needs no work tree.
                let mut file = tempfile::tempfile().map_err(unwritten)?;
                let line = format!("0 {}\t{}\0", "0".repeat(40), edit.path);
                file.write_all(line.as_bytes()).and_then(|()| file.rewind()).map_err(unwritten)?;
                git().ask_with(&["update-index", "-z", "--index-info"], Stdio::from(file))?;
                return git().line(&["write-tree"]);
            }
        };
        git().ask(&["update-index", "--add", "--cacheinfo", &entry])?;
        git().line(&["write-tree"])
    }

    fn is_executable(&self, commit: &str, path: &str) -> Result<bool, Fault> {
        let listed = self.git().ask(&["ls-tree", "-z", "--full-tree", commit, "--", path])?;
        Ok(listed.starts_with(b"100755"))
    }

    fn make(&self, tree: &str, parent: &str, edit: &Edit) -> Result<String, Fault> {
        let unwritten = |source| Fault::Write { path: "a temporary file".into(), source };
        let (author, committer) = (edit.author.line()?, edit.committer.line()?);
        let mut message = edit.message.trim().to_owned();
        if message.is_empty() {
            message = format!("Edit {}", edit.path);
        }
        message.push('\n');
        if let Some(run) = edit.run {
            message.push('\n');
            message.push_str(&trailers(run, tree));
        }
        let mut file = tempfile::tempfile().map_err(unwritten)?;
        file.write_all(message.as_bytes()).and_then(|()| file.rewind()).map_err(unwritten)?;
        let git = self
            .git()
            .variable("GIT_AUTHOR_NAME", author.0)
            .variable("GIT_AUTHOR_EMAIL", author.1)
            .variable("GIT_COMMITTER_NAME", committer.0)
            .variable("GIT_COMMITTER_EMAIL", committer.1);
        let words = git.ask_with(&["commit-tree", tree, "-p", parent, "-F", "-"], Stdio::from(file))?;
        Ok(String::from_utf8_lossy(&words).trim().to_owned())
    }
}

fn check_edit(edit: &Edit) -> Result<(), Fault> {
    check_name(&edit.branch)?;
    let path = &edit.path;
    let is_path = !path.is_empty()
        && path.len() <= 1024
        && path.split('/').all(|part| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && !part.eq_ignore_ascii_case(".git")
                && part.len() <= 255
        })
        && !path.chars().any(char::is_control);
    if !is_path {
        return Err(Fault::Invalid(format!("`{path}` is not the path of a file in the project")));
    }
    if edit.text.as_ref().is_some_and(|text| text.len() > LARGEST) {
        return Err(Fault::Invalid(format!("`{path}` would have more than {LARGEST} bytes")));
    }
    Ok(())
}
