//! Files that differ between two commits, and whether a commit is one that a run made.

use serde::{Deserialize, Serialize};

use super::{Fault, Mirror};

/// The trailer that says which run made a commit.
const RUN: &str = "Nlrun-Run";
/// The trailer that says which tree the run made: who changes the commit changes the tree.
const CONTENT: &str = "Nlrun-Content";
/// The commit that stands for none (`before` of a new branch, `after` of one that is gone).
const NOTHING: &str = "0000000000000000000000000000000000000000";

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is new.
    Added,
    /// Its content, its mode or what it is are others.
    Modified,
    /// It is gone.
    Deleted,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its path in the repository.
    pub path: String,
    /// What happened to it.
    pub kind: Kind,
}

/// The files that differ between two commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The older commit; none where everything is new.
    pub from: Option<String>,
    /// The newer commit.
    pub to: String,
    /// The files, by path.
    pub files: Vec<Change>,
}

impl Mirror {
    /// Compares two commits by content, whatever lies between them; moved files are deleted and added.
    ///
    /// Without an older one, or with the one of zeros, the newer one is compared with its first parent: of a merge that is
    /// the branch that was merged into.
    pub fn changed(&self, from: Option<&str>, to: &str, since_fork: bool) -> Result<Changed, Fault> {
        let to = self.resolve(to)?;
        let from = match from.filter(|from| !is_nothing(from)) {
            Some(from) => {
                let from = self.resolve(from)?;
                if since_fork {
                    Some(self.merge_base(&from, &to)?.ok_or_else(|| unrelated(&from, &to))?)
                } else {
                    Some(from)
                }
            }
            None => self.parent(&to)?,
        };
        let mut words = vec![
            "diff-tree",
            "-r",
            "-z",
            "--no-commit-id",
            "--name-status",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
        ];
        match &from {
            Some(from) => words.extend([from.as_str(), &to]),
            None => words.extend(["--root", to.as_str()]),
        }
        let listed = self.git().ask(&words)?;
        let mut parts =
            listed.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        let mut files = Vec::new();
        while let (Some(status), Some(path)) = (parts.next(), parts.next()) {
            let kind = match status.chars().next() {
                Some('A') => Kind::Added,
                Some('D') => Kind::Deleted,
                _ => Kind::Modified,
            };
            files.push(Change { path, kind });
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Changed { from, to, files })
    }

    /// Whether all commits from one to another were made by runs, and are as these made them.
    ///
    /// A trailer alone says nothing, for it is copied with the message: it has to name the commit's own tree.
    pub fn is_own(&self, from: &str, to: &str) -> Result<bool, Fault> {
        let format = format!(
            "--format=%T%x00%(trailers:key={RUN},valueonly)%x00%(trailers:key={CONTENT},valueonly)%x01"
        );
        let range = format!("{from}..{to}");
        let text = self.git().line(&["log", "--max-count=1000", &format, "--end-of-options", &range])?;
        let mut commits = text.split('\x01').map(str::trim).filter(|commit| !commit.is_empty()).peekable();
        Ok(commits.peek().is_some()
            && commits.all(|commit| {
                let parts: Vec<&str> = commit.split('\0').map(str::trim).collect();
                matches!(parts[..], [tree, run, content] if !run.is_empty() && tree == content)
            }))
    }
}

/// Whether a number of a commit stands for none.
pub fn is_nothing(commit: &str) -> bool {
    commit.is_empty() || (commit.len() >= NOTHING.len() && commit.bytes().all(|byte| byte == b'0'))
}

/// Returns the trailers of a commit that a run makes with this tree.
pub(super) fn trailers(run: i64, tree: &str) -> String {
    format!("{RUN}: {run}\n{CONTENT}: {tree}\n")
}

fn unrelated(from: &str, to: &str) -> Fault {
    Fault::Invalid(format!("commits {from} and {to} have no commit in common"))
}
