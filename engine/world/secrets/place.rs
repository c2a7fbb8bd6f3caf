//! Where sources look: the project's folder and the environment of the process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The project's folder, and the environment as it was when the process began.
#[derive(Clone)]
pub struct Place {
    root: PathBuf,
    variables: BTreeMap<OsString, OsString>,
}

impl Place {
    /// Takes the folder that relative paths begin at and the environment.
    pub fn new(root: &Path, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self { root: root.to_owned(), variables: variables.into_iter().collect() }
    }

    /// Returns where relative paths begin.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a path below the project, with a leading `~/` replaced by the home folder.
    pub fn path(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), self.variables.get(std::ffi::OsStr::new("HOME"))) {
            (Ok(rest), Some(home)) => Path::new(home).join(rest),
            _ => self.root.join(path),
        }
    }

    /// Returns the bytes of a variable.
    pub fn variable(&self, name: &str) -> Option<Vec<u8>> {
        self.variables.get(std::ffi::OsStr::new(name)).map(|value| value.clone().into_vec())
    }

    /// Returns all variables.
    pub fn variables(&self) -> &BTreeMap<OsString, OsString> {
        &self.variables
    }
}
