//! The project's folder on this machine: runbooks may read what is in it, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use blake2::{Blake2b512, Digest as _};
use parking_lot::Mutex;

use crate::store::{hex, sha256};

/// The project's root, and the files that are being sent.
#[derive(Debug)]
pub struct Project {
    root: PathBuf,
    shared: Mutex<HashMap<PathBuf, Kept>>,
    given: BTreeMap<String, Vec<u8>>,
}

/// A file that somebody may still hold, and when it was read.
#[derive(Debug)]
struct Kept {
    stamp: (Option<SystemTime>, u64),
    bytes: Weak<[u8]>,
    digests: Digests,
}

/// What tells a content from others, in lower-case hex.
#[derive(Debug, Clone)]
pub struct Digests {
    /// Its SHA-256.
    pub sha256: Arc<str>,
    /// Its BLAKE2b of 512 bits (RFC 7693), where it is long enough for that to be worth while.
    pub blake2b: Option<Arc<str>>,
}

/// From here on, in bytes, hosts compare by BLAKE2b where they can: coreutils' own SHA-256 takes more than twice as long.
const LONG: usize = 64 << 10;

impl Digests {
    fn of(bytes: &[u8]) -> Self {
        let blake2b = (bytes.len() >= LONG).then(|| hex(&Blake2b512::digest(bytes)).into());
        Self { sha256: sha256(bytes).into(), blake2b }
    }
}

/// Why a file of the project cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The path leads out of the project.
    #[error("`{0}` is outside the project")]
    Outside(String),
    /// The file system says no.
    #[error("cannot read `{path}` in the project")]
    Read {
        /// The path as given.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Larger than a file that is sent to hosts may be.
    #[error("`{path}` has {bytes} bytes; files up to {limit} bytes are read whole")]
    TooLarge {
        /// The path as given.
        path: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

/// A file below a folder of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path below the folder.
    pub name: String,
    /// What it holds; `None` for a folder.
    pub content: Option<Vec<u8>>,
    /// Whether its owner may execute it.
    pub is_executable: bool,
}

/// Files are held in memory while they are sent.
const LARGEST: u64 = 256 << 20;

impl Project {
    /// Takes the root folder.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), shared: Mutex::default(), given: BTreeMap::new() }
    }

    /// Adds files that a person gave beside the project, by name.
    #[must_use]
    pub fn with(self, given: BTreeMap<String, Vec<u8>>) -> Self {
        Self { given, ..self }
    }

    /// Returns the root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the real path of something in the project; links that lead out are refused.
    pub fn path(&self, path: &str) -> Result<PathBuf, ProjectError> {
        let read = |source| ProjectError::Read { path: path.to_owned(), source };
        let root = self.root.canonicalize().map_err(read)?;
        let real = root.join(path).canonicalize().map_err(read)?;
        if !real.starts_with(&root) {
            return Err(ProjectError::Outside(path.to_owned()));
        }
        Ok(real)
    }

    /// Reads a file of the project.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, ProjectError> {
        if let Some(bytes) = self.given.get(path) {
            return Ok(bytes.clone());
        }
        let real = self.path(path)?;
        let read = |source| ProjectError::Read { path: path.to_owned(), source };
        let bytes = std::fs::metadata(&real).map_err(read)?.len();
        if bytes > LARGEST {
            return Err(ProjectError::TooLarge { path: path.to_owned(), bytes, limit: LARGEST });
        }
        std::fs::read(&real).map_err(read)
    }

    /// Reads a file that many hosts get: as long as one of them holds it, the others get the same bytes.
    ///
    /// Returns them with their digests.
    pub fn share(&self, path: &str) -> Result<(Arc<[u8]>, Digests), ProjectError> {
        let real = self.path(path)?;
        let about = std::fs::metadata(&real)
            .map_err(|source| ProjectError::Read { path: path.to_owned(), source })?;
        let stamp = (about.modified().ok(), about.len());
        // Held while the file is read: of fifty arms that want it at once, one reads it.
        let mut kept = self.shared.lock();
        if let Some(file) = kept.get(&real)
            && file.stamp == stamp
            && let Some(bytes) = file.bytes.upgrade()
        {
            return Ok((bytes, file.digests.clone()));
        }
        let bytes: Arc<[u8]> = self.read(path)?.into();
        let digests = Digests::of(&bytes);
        kept.insert(real, Kept { stamp, bytes: Arc::downgrade(&bytes), digests: digests.clone() });
        Ok((bytes, digests))
    }

    /// Reads all that is below a folder of the project, in the order of names, each folder before what it holds.
    ///
    /// Links are read as what they lead to; what `is_wanted` refuses is left out with all it holds.
    pub fn tree(&self, folder: &str, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Found>, ProjectError> {
        let mut found = Vec::new();
        let mut left = LARGEST;
        self.branch(folder, "", is_wanted, &mut left, &mut found)?;
        Ok(found)
    }

    fn branch(
        &self,
        folder: &str,
        below: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        left: &mut u64,
        found: &mut Vec<Found>,
    ) -> Result<(), ProjectError> {
        let here = if below.is_empty() { folder.to_owned() } else { format!("{folder}/{below}") };
        let fail = |source| ProjectError::Read { path: here.clone(), source };
        // A link to a folder above it would never end.
        if below.matches('/').count() > 64 {
            return Err(fail(io::Error::other("folders are nested too deeply")));
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(&here)?).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            names.push(name.into_string().map_err(|_| fail(io::Error::other("a name is not UTF-8")))?);
        }
        names.sort_unstable();
        for name in names {
            let name = if below.is_empty() { name } else { format!("{below}/{name}") };
            if !is_wanted(&name) {
                continue;
            }
            let path = format!("{folder}/{name}");
            let facts = std::fs::metadata(self.path(&path)?).map_err(fail)?;
            if facts.is_dir() {
                found.push(Found { name: name.clone(), content: None, is_executable: true });
                self.branch(folder, &name, is_wanted, left, found)?;
                continue;
            }
            if facts.len() > *left {
                return Err(ProjectError::TooLarge { path, bytes: facts.len(), limit: LARGEST });
            }
            *left -= facts.len();
            let is_executable = std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o100 != 0;
            found.push(Found { name, content: Some(self.read(&path)?), is_executable });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_project_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("project");
        std::fs::create_dir_all(root.join("files")).unwrap();
        let outside = dir.path().join("outside");
        for (path, text) in [(&root.join("files/a"), "a"), (&outside, "secret")] {
            std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
        }
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        let project = Project::new(&root);
        assert_eq!(project.read("files/a").unwrap(), b"a");
        for path in ["../outside", "link", outside.to_str().unwrap()] {
            assert!(matches!(project.read(path), Err(ProjectError::Outside(_))), "{path}");
        }
        assert!(matches!(project.read("files/b"), Err(ProjectError::Read { .. })));
    }
}
