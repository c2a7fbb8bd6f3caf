//! The lab's folder: a project whose files are the user's as soon as they are edited, and what the lab remembers.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::world::files;

/// What the lab keeps for itself, inside the folder.
const OWN: &str = ".lab";
/// What it remembers from one start to the next.
const RECORD: &str = "lab.json";

/// The lab's folder; while this lives, no other lab uses it.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    record: Record,
    kept: Vec<String>,
    // Held for its lock, which the kernel gives back when the process dies.
    _lock: File,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Record {
    base: Option<u16>,
    hosts: Option<usize>,
    ports: BTreeMap<String, u16>,
    /// What the lab has written for the user, by path, as a digest.
    written: BTreeMap<String, String>,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It belongs to something else.
    #[error("`{0}` is no lab, and it is not empty")]
    Foreign(PathBuf),
    /// Another lab runs in it.
    #[error("a lab runs in `{folder}` already ({holder})")]
    Held {
        /// Which folder.
        folder: PathBuf,
        /// What the other says of itself.
        holder: String,
    },
    /// Its ports are others.
    #[error("the ports of the lab in `{folder}` begin at {before}, and stay so")]
    Fixed {
        /// Which folder.
        folder: PathBuf,
        /// Its first port; 0 for any.
        before: u16,
    },
    /// What it remembers cannot be read.
    #[error("`{path}` cannot be understood; remove the folder to begin anew")]
    Record {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The file system says no.
    #[error("cannot use `{path}`")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    |source| FolderError::File { path, source }
}

impl Folder {
    /// Opens a folder, or makes it.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        let own = root.join(OWN);
        if !own.is_dir() && root.exists() {
            let mut entries = std::fs::read_dir(root).map_err(file(root))?;
            if entries.next().is_some() {
                return Err(FolderError::Foreign(root.to_owned()));
            }
        }
        std::fs::create_dir_all(root).map_err(file(root))?;
        let root = root.canonicalize().map_err(file(root))?;
        let own = root.join(OWN);
        // Keys are in there, and hosts whose files have whatever mode a runbook gives them.
        DirBuilder::new().recursive(true).mode(0o700).create(&own).map_err(file(&own))?;
        std::fs::set_permissions(&own, Permissions::from_mode(0o700)).map_err(file(&own))?;
        let lock = lock(&root, &own.join("lock"))?;
        let path = own.join(RECORD);
        let record = match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| FolderError::Record { path, source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(error) => return Err(file(&path)(error)),
        };
        Ok(Self { root, record, kept: Vec::new(), _lock: lock })
    }

    /// Returns the folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a path among what the lab keeps for itself.
    pub fn own(&self, name: &str) -> PathBuf {
        self.root.join(OWN).join(name)
    }

    /// Returns the files that the user has edited, and that are no longer what the lab would write.
    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// Returns how many hosts there are: as many as is said now, or was before.
    pub fn hosts(&mut self, wanted: Option<usize>, otherwise: usize) -> usize {
        *self.record.hosts.insert(wanted.or(self.record.hosts).unwrap_or(otherwise))
    }

    /// Returns the first port, as it is said now or was before; hosts have theirs on their disks, so it stays.
    pub fn base(&mut self, wanted: Option<u16>, otherwise: u16) -> Result<u16, FolderError> {
        if let (Some(wanted), Some(before)) = (wanted, self.record.base)
            && wanted != before
        {
            return Err(FolderError::Fixed { folder: self.root.clone(), before });
        }
        Ok(*self.record.base.insert(wanted.or(self.record.base).unwrap_or(otherwise)))
    }

    /// Returns the port of a part, if it has one.
    pub fn port(&self, part: &str) -> Option<u16> {
        self.record.ports.get(part).copied()
    }

    /// Remembers the port of a part.
    pub fn set_port(&mut self, part: &str, port: u16) {
        self.record.ports.insert(part.to_owned(), port);
    }

    /// Writes a file of the project, unless the user has made it his own.
    pub fn put(&mut self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.root.join(name);
        let digest = digest(text.as_bytes());
        match std::fs::read(&path) {
            Ok(bytes) => {
                let found = self::digest(&bytes);
                if found != digest && self.record.written.get(name) != Some(&found) {
                    self.kept.push(name.to_owned());
                    return Ok(());
                }
                if found == digest {
                    self.record.written.insert(name.to_owned(), digest);
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file(&path)(error)),
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(file(folder))?;
        }
        files::replace(&path, text.as_bytes(), 0o644).map_err(file(&path))?;
        self.record.written.insert(name.to_owned(), digest);
        Ok(())
    }

    /// Returns what stands in a file that is made once, and that nobody else may read.
    pub fn once(&self, name: &str, make: impl FnOnce() -> String) -> Result<String, FolderError> {
        let path = self.own(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = make();
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(file(folder))?;
                }
                files::replace(&path, text.as_bytes(), 0o600).map_err(file(&path))?;
                Ok(text)
            }
            Err(error) => Err(file(&path)(error)),
        }
    }

    /// Writes what the lab remembers.
    pub fn remember(&self) -> Result<(), FolderError> {
        let path = self.own(RECORD);
        let bytes = serde_json::to_vec_pretty(&self.record)
            .map_err(|source| FolderError::Record { path: path.clone(), source })?;
        files::replace(&path, &bytes, 0o600).map_err(file(&path))
    }
}

fn digest(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

fn lock(folder: &Path, path: &Path) -> Result<File, FolderError> {
    let mut options = OpenOptions::new();
    let mut lock =
        options.read(true).write(true).create(true).truncate(false).open(path).map_err(file(path))?;
    match lock.try_lock() {
        Ok(()) => {
            // For people only; the lock is the truth.
            let _ = lock.set_len(0).and_then(|()| writeln!(lock, "process {}", std::process::id()));
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = lock.rewind().and_then(|()| lock.read_to_string(&mut holder));
            let holder = match holder.trim() {
                "" => "it has just started".to_owned(),
                said => said.to_owned(),
            };
            Err(FolderError::Held { folder: folder.to_owned(), holder })
        }
        Err(TryLockError::Error(source)) => Err(FolderError::File { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_edited_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("lab");
        let edit = |text: &str| files::replace(&root.join("a/b"), text.as_bytes(), 0o644).unwrap();
        let start = |text: &str| {
            let mut folder = Folder::open(&root).unwrap();
            folder.put("a/b", text).unwrap();
            folder.remember().unwrap();
            (std::fs::read_to_string(root.join("a/b")).unwrap(), folder.kept().len())
        };
        assert_eq!(start("one"), ("one".to_owned(), 0));
        assert_eq!(start("two"), ("two".to_owned(), 0), "nobody has touched it");
        edit("mine");
        assert_eq!(start("three"), ("mine".to_owned(), 1));
        assert_eq!(start("mine"), ("mine".to_owned(), 0), "both want the same");
        std::fs::remove_file(root.join("a/b")).unwrap();
        assert_eq!(start("four"), ("four".to_owned(), 0), "a removed file comes back");
    }

    #[test]
    fn a_folder_is_one_labs_and_nobody_elses() {
        let place = tempfile::tempdir().unwrap();
        let first = Folder::open(&place.path().join("lab")).unwrap();
        let second = Folder::open(&place.path().join("lab")).unwrap_err();
        assert!(second.to_string().contains(&format!("process {}", std::process::id())), "{second}");
        drop(first);
        Folder::open(&place.path().join("lab")).unwrap();
        let foreign = Folder::open(place.path()).unwrap_err();
        assert!(matches!(foreign, FolderError::Foreign(_)), "{foreign}");
    }

    #[test]
    fn ports_stay_as_they_are() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(&place.path().join("lab")).unwrap();
        assert_eq!(folder.base(None, 7).unwrap(), 7);
        assert_eq!(folder.base(Some(7), 9).unwrap(), 7);
        let fixed = folder.base(Some(8), 7).unwrap_err().to_string();
        assert!(fixed.contains("begin at 7, and stay so"), "{fixed}");
    }

    #[test]
    fn secrets_are_for_their_owner_only() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("lab")).unwrap();
        assert_eq!(folder.once("key", || "a".to_owned()).unwrap(), "a");
        assert_eq!(folder.once("key", || "b".to_owned()).unwrap(), "a");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder.own("key")), mode(&folder.own(""))), (0o600, 0o700));
    }
}
