//! Files of the project as people edit them in the web page: listed, read, checked as they are typed, saved.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::model::diagnostic::Diagnostic;
use crate::model::schedule;
use crate::runner::sources::{Disk, SourceError, Sources};
use crate::service::prepare::check_all;
use crate::service::{Desk, Project, ServiceError};
use crate::store::sha256;
use crate::world::files;

/// The folders of a project that people edit here.
const FOLDERS: [&str; 5] = ["runbooks", "lib", "schedules", "calendars", "inventory"];
/// Endings of files that are text.
const ENDINGS: [&str; 12] =
    ["rhai", "yaml", "yml", "j2", "ics", "ini", "conf", "txt", "md", "json", "toml", "sh"];
/// The largest file that is edited, in bytes.
const LARGEST: u64 = 1 << 20;
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
}

/// What is to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path in the project, checked by [`Desk::save_text`].
    pub path: String,
    /// The new text.
    pub text: String,
    /// The SHA-256 of what it was made from; empty for a new file.
    pub before: String,
    /// Who saves it.
    pub who: String,
    /// Why, in words; may be empty.
    pub message: String,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The SHA-256 of the file now.
    pub hash: String,
    /// Where it is, in words: in the folder, or on a branch.
    pub place: String,
    /// What to look at next, such as a merge request.
    pub link: Option<String>,
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
    /// The project is not one that can be edited.
    #[error("this project cannot be edited here: {0}")]
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
    pub fn text_of(&self, path: &str) -> Result<Text, ServiceError> {
        read(&self.project_now()?, path)
    }

    /// Checks a file of the project as somebody is typing it, with everything that it imports.
    pub fn look_over(&self, path: &str, text: &str) -> Result<Vec<Diagnostic>, ServiceError> {
        let project = self.project_now()?;
        checked(path)?;
        look_over(self, &project, path, text)
    }

    /// Saves a file that passes the check and that nobody else has changed meanwhile.
    pub fn save_text(&self, change: &Change) -> Result<Kept, ServiceError> {
        checked(&change.path)?;
        if change.text.len() as u64 > LARGEST {
            return Err(TextError::Refused(format!("a file has at most {LARGEST} bytes")).into());
        }
        let project = self.project_now()?;
        let found = look_over(self, &project, &change.path, &change.text)?;
        if found.iter().any(Diagnostic::is_error) {
            return Err(TextError::Check { path: change.path.clone(), found }.into());
        }
        if read(&project, &change.path)?.hash != change.before {
            return Err(TextError::Changed(change.path.clone()).into());
        }
        Ok(self.folders().save(change)?)
    }
}

/// Writes a change into a folder that people work in, whole or not at all.
pub(super) fn save_in(root: &Path, change: &Change) -> Result<Kept, TextError> {
    let file = |source| TextError::File { path: change.path.clone(), source };
    let path = root.join(&change.path);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(file)?;
    }
    let path = inside(root, &change.path)?;
    let mode = std::fs::metadata(&path).map_or(0o644, |about| {
        use std::os::unix::fs::PermissionsExt as _;
        about.permissions().mode() & 0o777
    });
    files::replace(&path, change.text.as_bytes(), mode).map_err(file)?;
    Ok(Kept { hash: sha256(change.text.as_bytes()), place: "the project's folder".to_owned(), link: None })
}

fn look_over(
    desk: &Desk,
    project: &Project,
    path: &str,
    text: &str,
) -> Result<Vec<Diagnostic>, ServiceError> {
    if !path.ends_with(".rhai") {
        let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        return Ok(if path.starts_with("schedules/") {
            schedule::read(text, path, stem).err().unwrap_or_default()
        } else {
            Vec::new()
        });
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

fn read(project: &Project, path: &str) -> Result<Text, ServiceError> {
    checked(path)?;
    let place = inside(project.root(), path)?;
    let file = |source| TextError::File { path: path.to_owned(), source };
    let about = match std::fs::metadata(&place) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Text { path: path.to_owned(), text: String::new(), hash: String::new() });
        }
        Err(error) => return Err(file(error).into()),
    };
    if about.len() > LARGEST {
        return Err(TextError::Refused(format!("`{path}` has more than {LARGEST} bytes")).into());
    }
    let text = std::fs::read_to_string(&place).map_err(file)?;
    Ok(Text { path: path.to_owned(), hash: sha256(text.as_bytes()), text })
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
            text: "1".to_owned(),
            before: String::new(),
            who: "me".to_owned(),
            message: String::new(),
        };
        for path in ["lib/out/a.rhai", "lib/new.rhai"] {
            assert!(matches!(save_in(root.path(), &change(path)), Err(TextError::Path(_))), "{path}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let saved = save_in(root.path(), &change("lib/deep/a.rhai")).unwrap();
        assert_eq!(saved.hash, sha256(b"1"));
        assert_eq!(std::fs::read_to_string(root.path().join("lib/deep/a.rhai")).unwrap(), "1");
    }
}
