//! Edits that become commits: made in the mirror, without a work tree, and pushed.

use std::collections::BTreeMap;
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

/// Files that become others.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The paths of files in the repository with what they hold then; nothing to delete one.
    pub files: BTreeMap<String, Option<String>>,
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

/// What an edit would do to a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The commit on top of which it would be made.
    pub top: String,
    /// The branch's commit; none where it is new.
    pub tip: Option<String>,
    /// What each of the files holds there; nothing where it is not there.
    pub before: BTreeMap<String, Option<Vec<u8>>>,
}

impl Mirror {
    /// Finds where an edit would be made, and what is there. The mirror has to be fresh.
    ///
    /// It is a conflict when one of the files is another one there than in the commit that the author has seen.
    pub fn compare(&self, edit: &Edit) -> Result<Compared, Fault> {
        check_edit(edit)?;
        let base = self.commit(&edit.base)?;
        let tip = self.refs()?.find(&format!("refs/heads/{}", edit.branch)).map(str::to_owned);
        let top = match &tip {
            None => base.clone(),
            Some(tip) if edit.anew || self.is_ancestor(tip, &base)? => base.clone(),
            Some(tip) => tip.clone(),
        };
        let mut before = BTreeMap::new();
        for path in edit.files.keys() {
            if top != base && self.blob(&base, path)? != self.blob(&top, path)? {
                return Err(conflict(edit, Some(path), "somebody else has changed it"));
            }
            before.insert(path.clone(), self.read(&top, path)?);
        }
        Ok(Compared { top, tip, before })
    }

    /// Makes a commit on top of a branch and pushes it. The mirror has to be fresh.
    ///
    /// What else than the files has changed on the branch stays. A push that is refused because the branch has moved is a [`Fault::Conflict`],
    /// as is what [`Mirror::compare`] calls one, and can be tried again after a fetch.
    pub fn write(
        &self,
        edit: &Edit,
        remote: &Remote,
        login: &Login,
        trusted: Option<&Path>,
        patience: Duration,
    ) -> Result<Written, Fault> {
        let Compared { top, tip, .. } = self.compare(edit)?;
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
                return Err(conflict(edit, None, "the branch has moved"));
            }
            Err(fault) => return Err(fault),
        }
        self.git().ask(&["update-ref", &name, &commit])?;
        Ok(Written { commit, changed: true, is_new: tip.is_none() })
    }

    /// Writes the tree of a commit with some files changed, by an index of its own.
    fn tree_with(&self, top: &str, edit: &Edit) -> Result<String, Fault> {
        let unwritten = |source| Fault::Write { path: "a temporary file".into(), source };
        let folder = tempfile::tempdir().map_err(unwritten)?;
        let index = folder.path().join("index");
        let git = || self.git().variable("GIT_INDEX_FILE", &index);
        let fed = |text: &[u8]| {
            let mut file = tempfile::tempfile().map_err(unwritten)?;
            file.write_all(text).and_then(|()| file.rewind()).map_err(unwritten)?;
            Ok(Stdio::from(file))
        };
        git().ask(&["read-tree", top])?;
        let (mut gone, mut words) = (String::new(), vec!["update-index".to_owned(), "--add".to_owned()]);
        for (path, text) in &edit.files {
            match text {
                Some(text) => {
                    let blob = self
                        .git()
                        .ask_with(&["hash-object", "-w", "--no-filters", "--stdin"], fed(text.as_bytes())?)?;
                    let mode = if self.is_executable(top, path)? { "100755" } else { "100644" };
                    words.push("--cacheinfo".to_owned());
                    words.push(format!("{mode},{},{path}", String::from_utf8_lossy(&blob).trim()));
                }
                None if self.blob(top, path)?.is_none() => {
                    return Err(Fault::Invalid(format!("there is no file `{path}` to delete")));
                }
                // Mode 0 takes an entry out, and needs no work tree.
                None => gone += &format!("0 {}\t{path}\0", "0".repeat(40)),
            }
        }
        git().ask_with(&["update-index", "-z", "--index-info"], fed(gone.as_bytes())?)?;
        // These do not go below a file or a link, as entries by `--index-info` would, in its place.
        git().ask(&words)?;
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
            let paths: Vec<&str> = edit.files.keys().map(String::as_str).collect();
            message = format!("Edit {}", paths.join(", "));
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

/// A conflict about one of the files, or about all of them.
fn conflict(edit: &Edit, path: Option<&str>, why: &str) -> Fault {
    let path = path.or_else(|| edit.files.keys().next().map(String::as_str)).unwrap_or_default();
    Fault::Conflict { branch: edit.branch.clone(), path: path.to_owned(), why: why.to_owned() }
}

fn check_edit(edit: &Edit) -> Result<(), Fault> {
    check_name(&edit.branch)?;
    for (path, text) in &edit.files {
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
        if text.as_ref().is_some_and(|text| text.len() > LARGEST) {
            return Err(Fault::Invalid(format!("`{path}` would have more than {LARGEST} bytes")));
        }
    }
    Ok(())
}
