//! Files of the project as people edit them in the web page: listed, read, checked as they are typed, saved.
//!
//! In a folder that people work in, what is saved is in force at once. Where the server follows a repository, it becomes a commit on a
//! branch (`repository/edit.rs`), and a merge request where GitLab is configured.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use crate::model::diagnostic::Diagnostic;
use crate::model::role::Caller;
use crate::model::{hook, schedule};
use crate::runner::sources::{Disk, SourceError, Sources};
use crate::service::prepare::check_all;
use crate::service::{Desk, Project, ServiceError, hooks};
use crate::store::sha256;
use crate::world::files;

/// The folders of a project that people edit here.
const FOLDERS: [&str; 6] = ["runbooks", "lib", "schedules", "calendars", "triggers", "inventory"];
/// Endings of files that are text.
const ENDINGS: [&str; 12] =
    ["rhai", "yaml", "yml", "j2", "ics", "ini", "conf", "txt", "md", "json", "toml", "sh"];
/// The largest file that is edited, in bytes: half of a request's body, for JSON makes some characters longer.
const LARGEST: u64 = 512 << 10;
/// The most files that are listed.
const MOST: usize = 5000;

/// A file that somebody edits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// Its path in the project.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Its SHA-256 (hex); empty for a file that is not there yet.
    pub hash: String,
    /// The branch that it was read from, where it is not the one that is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Where it goes when it is saved.
    pub saves: Saves,
}

/// Where a file goes that somebody saves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Saves {
    /// The branch that gets the commit; none where the project is a folder that people work in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The branch in force that it has to be merged into; none where the commit goes there at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// Whether a merge request is opened for that.
    pub opens: bool,
}

/// What is to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path in the project, checked by [`Desk::save_text`].
    pub path: String,
    /// The new text; nothing to delete the file.
    pub text: Option<String>,
    /// The SHA-256 of what it was made from; empty for a new file.
    pub before: String,
    /// Who saves it.
    pub who: String,
    /// Why, in words; may be empty.
    pub message: String,
    /// The branch of the repository that gets it; by default one that is this person's and this file's own.
    pub branch: Option<String>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The SHA-256 of the file now; empty for one that was deleted.
    pub hash: String,
    /// Where it is, in words: in the folder, or on a branch.
    pub place: String,
    /// What to look at next, such as a merge request.
    pub link: Option<String>,
    /// Why there is none, where there should be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Where the commit can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_link: Option<String>,
    /// The branch, where it became a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit; the one that was there before where nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Why a file cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// Not one of the files that are edited here.
    #[error("`{0}` is no file that can be edited here")]
    Path(String),
    /// Somebody else has saved it meanwhile.
    #[error("`{0}` has changed since you opened it")]
    Changed(String),
    /// The check found errors in it.
    #[error("the check finds errors in `{path}`")]
    Check {
        /// The file.
        path: String,
        /// What it found.
        found: Vec<Diagnostic>,
    },
    /// It cannot be made, for what the sentence says.
    #[error("this cannot be edited here: {0}")]
    Refused(String),
    /// The file system says no.
    #[error("`{path}`: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// The project on disk with one file as somebody is typing it.
struct Overlay<'a> {
    disk: Disk,
    path: &'a str,
    text: Arc<str>,
}

impl Sources for Overlay<'_> {
    fn text(&self, path: &str) -> Result<Arc<str>, SourceError> {
        if path == self.path { Ok(self.text.clone()) } else { self.disk.text(path) }
    }
}

impl Desk {
    /// Lists the files that can be edited, by path.
    pub fn editable(&self) -> Result<Vec<String>, ServiceError> {
        let project = self.project_now()?;
        let mut found = Vec::new();
        let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| project.root().join(folder)).collect();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(sort) = entry.file_type() else { continue };
                let path = entry.path();
                let name = path.strip_prefix(project.root()).unwrap_or(&path).display().to_string();
                if sort.is_dir() && !is_hidden(&path) {
                    folders.push(path);
                } else if sort.is_file() && checked(&name).is_ok() && found.len() < MOST {
                    found.push(name);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Reads a file to edit it; of one that is not there the text is empty.
    ///
    /// Where somebody has an edit of it that is not merged yet, they get that; everybody else gets what is in force, or the named branch's.
    pub fn text_of(&self, path: &str, branch: Option<&str>, who: &str) -> Result<Text, ServiceError> {
        checked(path)?;
        match self.folders().repository() {
            Some(repository) => {
                let mut text = repository.text_of(path, branch, who)?;
                text.saves.opens = text.saves.into.is_some() && hooks::has_gitlab(self);
                Ok(text)
            }
            None => Ok(read(&self.project_now()?, path)?),
        }
    }

    /// Checks a file of the project as somebody is typing it, with everything that it imports.
    pub fn look_over(&self, path: &str, text: &str) -> Result<Vec<Diagnostic>, ServiceError> {
        let project = self.project_now()?;
        checked(path)?;
        look_over(self, &project, path, text)
    }

    /// Saves a file that passes the check and that nobody else has changed meanwhile.
    ///
    /// Who may run some runbooks only, may edit those only.
    pub fn save_text(&self, change: &Change, caller: &Caller) -> Result<Kept, ServiceError> {
        checked(&change.path)?;
        self.may_run(&change.path, caller)?;
        if let Some(text) = &change.text {
            if text.len() as u64 > LARGEST {
                return Err(TextError::Refused(format!("a file has at most {LARGEST} bytes")).into());
            }
            let found = look_over(self, &self.project_now()?, &change.path, text)?;
            if found.iter().any(Diagnostic::is_error) {
                return Err(TextError::Check { path: change.path.clone(), found }.into());
            }
        }
        let Some(repository) = self.folders().repository() else {
            return Ok(save_in(self.project_now()?.root(), change)?);
        };
        let mut saved = repository.save(change)?;
        saved.commit_link = saved.commit.as_deref().and_then(|commit| self.commit_link(commit));
        let target = &repository.settings().branch;
        let Some(branch) = saved.branch.as_ref().filter(|branch| *branch != target) else { return Ok(saved) };
        let title = change.message.lines().map(str::trim).find(|line| !line.is_empty());
        let title = title.map_or_else(|| format!("Edit {}", change.path), str::to_owned);
        match hooks::merge_request(self, branch, target, &title) {
            Some(Ok(url)) => saved.link = Some(url),
            // The commit is there; the merge request is opened with the next edit, or by hand.
            Some(Err(failure)) => {
                let trouble = format!("no merge request was opened: {}", failure.message);
                tracing::warn!("{trouble}");
                saved.trouble = Some(trouble);
            }
            None => {}
        }
        Ok(saved)
    }
}

/// Returns the SHA-256 of a text as editors name it: that of a file which is not there is empty.
pub(super) fn hash_of(bytes: Option<&[u8]>) -> String {
    bytes.map(sha256).unwrap_or_default()
}

/// Held while a folder is changed: of two who save one file at once, the second one is told.
static TURN: Mutex<()> = Mutex::new(());

/// Writes a change into a folder that people work in, whole or not at all.
fn save_in(root: &Path, change: &Change) -> Result<Kept, TextError> {
    let _turn = TURN.lock();
    let file = |source| TextError::File { path: change.path.clone(), source };
    if change.branch.is_some() {
        return Err(TextError::Refused("the server runs a plain folder, which has no branches".to_owned()));
    }
    let path = inside(root, &change.path)?;
    let there = read_in(root, &change.path)?;
    if hash_of(there.as_deref().map(str::as_bytes)) != change.before {
        return Err(TextError::Changed(change.path.clone()));
    }
    let Some(text) = &change.text else {
        if there.is_some() {
            std::fs::remove_file(&path).map_err(file)?;
        }
        return Ok(saved_here(String::new()));
    };
    if let Some(folder) = root.join(&change.path).parent() {
        std::fs::create_dir_all(folder).map_err(file)?;
    }
    let path = inside(root, &change.path)?;
    let mode = std::fs::metadata(&path).map_or(0o644, |about| {
        use std::os::unix::fs::PermissionsExt as _;
        about.permissions().mode() & 0o777
    });
    files::replace(&path, text.as_bytes(), mode).map_err(file)?;
    Ok(saved_here(sha256(text.as_bytes())))
}

fn saved_here(hash: String) -> Kept {
    let place = "the project's folder".to_owned();
    Kept { hash, place, link: None, trouble: None, commit_link: None, branch: None, commit: None }
}

fn look_over(
    desk: &Desk,
    project: &Project,
    path: &str,
    text: &str,
) -> Result<Vec<Diagnostic>, ServiceError> {
    if !path.ends_with(".rhai") {
        let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let found = match path.split('/').next() {
            Some("schedules") => schedule::read(text, path, stem).err(),
            Some("triggers") => hook::read(text, path, stem).err(),
            _ => None,
        };
        return Ok(found.unwrap_or_default());
    }
    let (inventory, _) = project.load_inventory(None, project.root())?;
    let secrets = project.secrets(desk.place()).all_names().unwrap_or_default();
    let disk = Disk::new(project.root()).map_err(|error| TextError::Refused(error.to_string()))?;
    let overlay = Overlay { disk, path, text: Arc::from(text) };
    let checked = check_all(&overlay, &[path.to_owned()], &inventory, &secrets).pop();
    Ok(checked.unwrap_or_default().diagnostics)
}

/// Refuses a path that is not one of the files that are edited here, whatever is on disk.
fn checked(path: &str) -> Result<(), TextError> {
    let wrong = || TextError::Path(path.to_owned());
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let first = path.split('/').next().unwrap_or_default();
    let is_clean = path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    let has_ending = Path::new(path)
        .extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| ENDINGS.contains(&ending));
    let is_text = !path.chars().any(char::is_control) && !path.contains('\\');
    if plain && is_clean && is_text && has_ending && FOLDERS.contains(&first) && path.contains('/') {
        Ok(())
    } else {
        Err(wrong())
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with('.'))
}

/// Returns where a path of the project is, unless a link leads out of the project.
fn inside(root: &Path, path: &str) -> Result<PathBuf, TextError> {
    let wrong = || TextError::Path(path.to_owned());
    let root = root.canonicalize().map_err(|_| wrong())?;
    let place = root.join(path);
    let real = match place.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link that leads nowhere would be followed when it is written.
            if place.symlink_metadata().is_ok() {
                return Err(wrong());
            }
            let folder = place.parent().ok_or_else(wrong)?;
            let name = place.file_name().ok_or_else(wrong)?;
            match folder.canonicalize() {
                Ok(folder) => folder.join(name),
                // Its folder will be made; what is there of it is looked at again then.
                Err(_) => return Ok(place),
            }
        }
        Err(_) => return Err(wrong()),
    };
    if real.starts_with(&root) && !real.is_dir() { Ok(real) } else { Err(wrong()) }
}

fn read(project: &Project, path: &str) -> Result<Text, TextError> {
    let text = read_in(project.root(), path)?;
    let hash = hash_of(text.as_deref().map(str::as_bytes));
    Ok(Text {
        path: path.to_owned(),
        text: text.unwrap_or_default(),
        hash,
        branch: None,
        saves: Saves::default(),
    })
}

fn read_in(root: &Path, path: &str) -> Result<Option<String>, TextError> {
    let place = inside(root, path)?;
    let file = |source| TextError::File { path: path.to_owned(), source };
    match std::fs::metadata(&place) {
        Ok(about) if about.len() > LARGEST => {
            Err(TextError::Refused(format!("`{path}` has more than {LARGEST} bytes")))
        }
        Ok(_) => std::fs::read_to_string(&place).map(Some).map_err(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_of_the_project_are_edited() {
        for path in ["runbooks/a.rhai", "lib/x/y.rhai", "schedules/s.yaml", "runbooks/files/a.conf.j2"] {
            assert!(checked(path).is_ok(), "{path}");
        }
        for path in [
            "nlrun.yaml",
            "runbooks",
            "runbooks/",
            "runbooks/a",
            "runbooks/../nlrun.yaml",
            "runbooks//a.rhai",
            "./runbooks/a.rhai",
            "/etc/passwd.txt",
            "runbooks/.git/a.rhai",
            "runbooks/.a.rhai",
            ".nlrun/a.json",
            "runbooks/a\\..\\b.rhai",
            "runbooks/a\n.rhai",
            "other/a.rhai",
            "",
        ] {
            assert!(checked(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn links_lead_nowhere_else() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(root.path().join("lib")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("lib/out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("new.rhai"), root.path().join("lib/new.rhai"))
            .unwrap();
        let change = |path: &str| Change {
            path: path.to_owned(),
            text: Some("1".to_owned()),
            before: String::new(),
            who: "me".to_owned(),
            message: String::new(),
            branch: None,
        };
        for path in ["lib/out/a.rhai", "lib/new.rhai"] {
            assert!(matches!(save_in(root.path(), &change(path)), Err(TextError::Path(_))), "{path}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let file = root.path().join("lib/deep/a.rhai");
        let saved = save_in(root.path(), &change("lib/deep/a.rhai")).unwrap();
        assert_eq!(
            (saved.hash.as_str(), std::fs::read_to_string(&file).unwrap().as_str()),
            (&*sha256(b"1"), "1")
        );
        // It is there by now, and another one than the author thinks.
        let again = save_in(root.path(), &change("lib/deep/a.rhai"));
        assert!(matches!(again, Err(TextError::Changed(_))), "{again:?}");
        save_in(root.path(), &Change { text: None, before: saved.hash, ..change("lib/deep/a.rhai") })
            .unwrap();
        assert!(!file.exists());
    }
}
