//! The bare mirror: fetched, asked, and made to keep what runs have used.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::call::Git;
use super::{Fault, Login, Remote};

/// The names under which the mirror keeps commits that are not on any branch any more.
const USED: &str = "refs/nlrun/used/";
/// The name of the commit that the followed branch had when it was last usable.
const FOLLOWED: &str = "refs/nlrun/followed";

/// Names of a repository and the commits that they stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refs(BTreeMap<String, String>);

impl Refs {
    /// Returns the commit of a branch, a tag, a merge request (`!12`), or a whole name such as `refs/heads/main`.
    pub fn find(&self, revision: &str) -> Option<&str> {
        let names = match merge_request(revision) {
            Some(number) => vec![format!("refs/merge-requests/{number}/head")],
            None => {
                vec![format!("refs/heads/{revision}"), format!("refs/tags/{revision}"), revision.to_owned()]
            }
        };
        names.iter().find_map(|name| self.0.get(name)).map(String::as_str)
    }

    /// Returns the names of all branches.
    pub fn branches(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.strip_prefix("refs/heads/"))
    }

    /// Returns every commit that a branch or a merge request ends in.
    pub fn tips(&self) -> impl Iterator<Item = &str> {
        let named = self
            .0
            .iter()
            .filter(|(name, _)| !name.starts_with("refs/nlrun/") && !name.starts_with("refs/tags/"));
        named.map(|(_, commit)| commit.as_str())
    }

    /// Returns the commits that are kept for runs.
    pub fn used(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.strip_prefix(USED))
    }

    /// Returns the commit that the followed branch had when it was last usable.
    pub fn followed(&self) -> Option<&str> {
        self.0.get(FOLLOWED).map(String::as_str)
    }
}

/// Reads `!12`, the merge request of this number.
pub fn merge_request(revision: &str) -> Option<u64> {
    revision.strip_prefix('!')?.parse().ok()
}

/// Whether a signature is the commit's own, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Who signed.
    pub signer: String,
    /// With which key.
    pub key: String,
}

/// What a commit says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct About {
    /// Who wrote it.
    pub author: String,
    /// When it was made: seconds since 1970, UTC.
    pub at: i64,
    /// The first line of its message.
    pub subject: String,
}

/// A bare repository that follows another one.
#[derive(Debug, Clone)]
pub struct Mirror {
    pub(super) path: PathBuf,
    /// Held by a server and by every Git that it starts.
    pub(super) lock: Option<Arc<File>>,
}

impl Mirror {
    /// Takes a mirror that is there.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, lock: None }
    }

    /// Uses a repository that somebody works in, such as the checkout of a pipeline.
    pub fn of_checkout(root: &Path) -> Option<Self> {
        let folder = root.ancestors().find(|folder| folder.join(".git").exists())?;
        let inside = folder.join(".git");
        if inside.is_dir() {
            return Some(Self::at(inside));
        }
        // A worktree or a submodule: `gitdir: PATH`.
        let text = std::fs::read_to_string(&inside).ok()?;
        let path = folder.join(text.trim().strip_prefix("gitdir:")?.trim());
        path.join("HEAD").is_file().then(|| Self::at(path))
    }

    pub(super) fn git(&self) -> Git<'_> {
        Git::of(&self.path, self.lock.as_deref())
    }

    /// Returns the folder of the mirror.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fetches all branches and tags; those that are gone there are gone here, but no commit that a run has used.
    pub fn fetch(
        &self,
        remote: &Remote,
        login: &Login,
        trusted: Option<&Path>,
        patience: Duration,
    ) -> Result<(), Fault> {
        self.fetch_some(
            remote,
            login,
            trusted,
            patience,
            &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"],
            true,
        )
    }

    /// Fetches the newest commit of a merge request.
    pub fn fetch_merge_request(
        &self,
        remote: &Remote,
        login: &Login,
        trusted: Option<&Path>,
        patience: Duration,
        number: u64,
    ) -> Result<(), Fault> {
        let name = format!("refs/merge-requests/{number}/head");
        self.fetch_some(remote, login, trusted, patience, &[&format!("+{name}:{name}")], false)
    }

    fn fetch_some(
        &self,
        remote: &Remote,
        login: &Login,
        trusted: Option<&Path>,
        patience: Duration,
        names: &[&str],
        prune: bool,
    ) -> Result<(), Fault> {
        let git = self.git().remote(remote, login, trusted, patience);
        let mut words =
            vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        words.push(if prune { "--prune" } else { "--no-prune" });
        words.extend(["--end-of-options", remote.as_str()]);
        words.extend(names);
        git.ask(&words).map(drop)
    }

    /// Returns every name with its commit.
    pub fn refs(&self) -> Result<Refs, Fault> {
        let format = "--format=%(refname)%00%(objectname)%00%(*objectname)%00%(objecttype)%00%(*objecttype)";
        let text = self.git().ask(&["for-each-ref", format])?;
        let mut refs = BTreeMap::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let parts: Vec<&str> =
                line.split(|byte| *byte == 0).filter_map(|part| std::str::from_utf8(part).ok()).collect();
            // A name that is not UTF-8 cannot be asked for, and a tag of something else than a commit not be run.
            let [name, object, peeled, kind, peeled_kind] = parts[..] else { continue };
            match (kind, peeled_kind) {
                ("commit", _) => refs.insert(name.to_owned(), object.to_owned()),
                (_, "commit") => refs.insert(name.to_owned(), peeled.to_owned()),
                _ => None,
            };
        }
        Ok(Refs(refs))
    }

    /// Finds a commit by its number, whole or the first seven digits and more.
    pub fn commit(&self, number: &str) -> Result<String, Fault> {
        let is_number =
            (7..=64).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_number {
            return Err(Fault::Unknown(number.to_owned()));
        }
        let found = self.git().line(&[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &format!("{number}^{{commit}}"),
        ]);
        match found {
            Ok(commit) => Ok(commit),
            Err(Fault::Failed { .. }) => Err(Fault::Unknown(number.to_owned())),
            Err(fault) => Err(fault),
        }
    }

    /// Finds what a person may have meant: a branch, a tag, a commit, `HEAD` of a checkout.
    pub fn resolve(&self, revision: &str) -> Result<String, Fault> {
        check_name(revision)?;
        let name = match merge_request(revision) {
            Some(number) => format!("refs/merge-requests/{number}/head"),
            None => revision.to_owned(),
        };
        let found = self.git().line(&[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &format!("{name}^{{commit}}"),
        ]);
        match found {
            Ok(commit) => Ok(commit),
            Err(Fault::Failed { .. }) => Err(Fault::Unknown(revision.to_owned())),
            Err(fault) => Err(fault),
        }
    }

    /// Whether a commit is another one or was made before it, on the way to it.
    pub fn is_ancestor(&self, commit: &str, of: &str) -> Result<bool, Fault> {
        self.git().is(&["merge-base", "--is-ancestor", commit, of])
    }

    /// Returns the first parent of a commit; none for the first commit.
    pub fn parent(&self, commit: &str) -> Result<Option<String>, Fault> {
        let line = self.git().line(&["rev-list", "--parents", "--max-count=1", commit])?;
        Ok(line.split(' ').nth(1).map(str::to_owned))
    }

    /// Returns the newest commit that two others have in common.
    pub fn merge_base(&self, one: &str, other: &str) -> Result<Option<String>, Fault> {
        match self.git().line(&["merge-base", one, other]) {
            Ok(commit) => Ok(Some(commit)),
            Err(Fault::Failed { words, .. }) if words == "exit code 1" => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Returns what a commit says of itself.
    pub fn about(&self, commit: &str) -> Result<About, Fault> {
        let words =
            ["log", "--max-count=1", "--no-show-signature", "--format=%an%x00%ct%x00%s", "--end-of-options"];
        let line = self.git().line(&[&words[..], &[commit]].concat())?;
        let mut parts = line.split('\0').map(str::to_owned);
        let (author, at) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Ok(About { author, at: at.parse().unwrap_or_default(), subject: parts.next().unwrap_or_default() })
    }

    /// Keeps a commit, whatever becomes of its branch.
    pub fn keep(&self, commit: &str) -> Result<(), Fault> {
        self.git().ask(&["update-ref", &format!("{USED}{commit}"), commit]).map(drop)
    }

    /// Keeps a commit no longer.
    pub fn forget(&self, commit: &str) -> Result<(), Fault> {
        self.git().ask(&["update-ref", "-d", &format!("{USED}{commit}")]).map(drop)
    }

    /// Notes the commit that the followed branch has and that can be used.
    pub fn follow(&self, commit: &str) -> Result<(), Fault> {
        self.git().ask(&["update-ref", FOLLOWED, commit]).map(drop)
    }

    /// Returns the text of a file of a commit; none where there is no such file.
    pub fn read(&self, commit: &str, path: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some(blob) = self.blob(commit, path)? else { return Ok(None) };
        self.git().ask(&["cat-file", "blob", &blob]).map(Some)
    }

    /// Returns the number of a file's content in a commit.
    pub fn blob(&self, commit: &str, path: &str) -> Result<Option<String>, Fault> {
        let listed = self.git().ask(&["ls-tree", "-z", "--full-tree", commit, "--", path])?;
        let text = String::from_utf8_lossy(&listed).into_owned();
        let entry = text.split('\0').find_map(|entry| {
            let (about, name) = entry.split_once('\t')?;
            let mut words = about.split(' ');
            let (mode, kind, object) = (words.next()?, words.next()?, words.next()?);
            (name == path && kind == "blob" && mode.starts_with("100")).then(|| object.to_owned())
        });
        Ok(entry)
    }

    /// Demands a signature that a key of this file made, or, without a file, one that this user's keys of GnuPG vouch for.
    pub fn verify(
        &self,
        commit: &str,
        allowed_signers: Option<&Path>,
        home: &Path,
    ) -> Result<Checked, Fault> {
        let mut git = self.git().variable("HOME", home);
        if let Some(file) = allowed_signers {
            let mut setting = std::ffi::OsString::from("gpg.ssh.allowedSignersFile=");
            setting.push(file);
            git = git.with(setting);
        }
        let unsigned = |why: &str| Fault::Unsigned { commit: commit.to_owned(), why: why.to_owned() };
        if let Some(file) = allowed_signers.filter(|file| !file.is_file()) {
            return Err(unsigned(&format!(
                "`{}`, the file of allowed signers, is not there",
                file.display()
            )));
        }
        let line = git.line(&[
            "log",
            "--max-count=1",
            "--no-show-signature",
            "--format=%G?%x00%GS%x00%GK",
            "--end-of-options",
            commit,
        ])?;
        let mut parts = line.split('\0').map(str::to_owned);
        let (state, signer, key) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        match state.as_str() {
            "G" => Ok(Checked { signer, key }),
            "N" => Err(unsigned("it is not signed")),
            "B" => Err(unsigned("its signature is wrong")),
            "U" => Err(unsigned(&format!("the key {key} that signed it belongs to nobody who may sign"))),
            "X" | "Y" => Err(unsigned(&format!("the signature or the key {key} has expired"))),
            "R" => Err(unsigned(&format!("the key {key} was revoked"))),
            _ => Err(unsigned("its signature cannot be checked: the key is not known here")),
        }
    }
}

/// Refuses what Git would read as more than a name.
pub(super) fn check_name(revision: &str) -> Result<(), Fault> {
    let is_name = !revision.is_empty()
        && revision.len() <= 255
        && !revision.starts_with(['-', '/', '.'])
        && !revision.ends_with(['/', '.'])
        && !revision.contains("..")
        && !revision.contains("//")
        && !revision.contains("@{")
        && !revision.contains("/.")
        && !revision.ends_with(".lock")
        && !revision.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c));
    if is_name { Ok(()) } else { Err(Fault::NoName(revision.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_nothing_more() {
        for name in ["main", "feature/x", "v1.2", "!12", "3f2a9c1", "release-2027.01"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "-x",
            "--upload-pack=id",
            "a..b",
            "main~1",
            "main^",
            "HEAD:file",
            "a b",
            "x.lock",
            "/x",
            "@{u}",
            "a/.b",
            "a\nb",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
