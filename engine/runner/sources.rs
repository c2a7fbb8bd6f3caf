//! Where the text of scripts comes from: the project on disk, the embedded library, or what a run has pinned.
//!
//! A script has one path everywhere: relative to the project (`runbooks/patch.rhai`), or `stdlib:apt.rhai` for the
//! embedded library. An `import` is looked up in this order:
//!
//! 1. `"./x"` and `"../x"`: beside the importing script;
//! 2. any other name: `lib/x.rhai` of the project, then `stdlib:x.rhai`; from within the embedded library only the
//!    latter, so that a project cannot change what the library itself imports.
//!
//! `.rhai` is appended unless it is there. Absolute paths, and paths and symbolic links that lead out of the project,
//! are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::runner::stdlib::STDLIB;

/// Begins the paths of embedded scripts.
pub const EMBEDDED: &str = "stdlib:";

/// A script larger than this is no script.
const LARGEST: u64 = 4 << 20;

/// Why there is no text for a path.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such script.
    #[error("there is no `{0}`")]
    NotFound(String),
    /// The path leads out of the project.
    #[error("`{0}` leads out of the project")]
    Outside(String),
    /// The name is empty or holds characters that no path of ours has.
    #[error("`{0}` is not a path of a script")]
    Name(String),
    /// The file is too large.
    #[error("`{0}` is larger than 4 MiB")]
    TooLarge(String),
    /// The file system refused.
    #[error("`{path}` cannot be read: {source}")]
    Read {
        /// The path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Gives the text of scripts by path.
pub trait Sources: Send + Sync {
    /// Returns the text of the script at a path.
    fn text(&self, path: &str) -> Result<Arc<str>, SourceError>;
}

/// The project on disk and the embedded library.
#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Opens a project; `root` must exist.
    pub fn new(root: &Path) -> Result<Self, SourceError> {
        let root = root
            .canonicalize()
            .map_err(|source| SourceError::Read { path: root.display().to_string(), source })?;
        Ok(Self { root })
    }
}

impl Sources for Disk {
    fn text(&self, path: &str) -> Result<Arc<str>, SourceError> {
        if let Some(embedded) = path.strip_prefix(EMBEDDED) {
            let found = STDLIB.iter().find(|(name, _)| *name == embedded);
            return found
                .map(|(_, text)| Arc::from(*text))
                .ok_or_else(|| SourceError::NotFound(path.to_owned()));
        }
        let read = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => SourceError::NotFound(path.to_owned()),
            _ => SourceError::Read { path: path.to_owned(), source },
        };
        let place = self.root.join(path).canonicalize().map_err(read)?;
        if !place.starts_with(&self.root) {
            return Err(SourceError::Outside(path.to_owned()));
        }
        let about = std::fs::metadata(&place).map_err(read)?;
        if !about.is_file() {
            return Err(SourceError::NotFound(path.to_owned()));
        }
        if about.len() > LARGEST {
            return Err(SourceError::TooLarge(path.to_owned()));
        }
        std::fs::read_to_string(&place).map(Arc::from).map_err(read)
    }
}

/// The scripts that a run has pinned: it sees these and nothing else.
#[derive(Debug, Clone, Default)]
pub struct Pinned(pub BTreeMap<String, Arc<str>>);

impl Sources for Pinned {
    fn text(&self, path: &str) -> Result<Arc<str>, SourceError> {
        self.0.get(path).cloned().ok_or_else(|| SourceError::NotFound(path.to_owned()))
    }
}

/// Returns the paths at which an import may be, best first.
pub fn candidates(importer: &str, name: &str) -> Result<Vec<String>, SourceError> {
    let wrong = || SourceError::Name(name.to_owned());
    if name.is_empty() || name.ends_with('/') || name.contains(['\\', ':', '\0', '\n']) {
        return Err(wrong());
    }
    if name.starts_with('/') {
        return Err(SourceError::Outside(name.to_owned()));
    }
    let file = if name.strip_suffix(".rhai").is_some() { name.to_owned() } else { format!("{name}.rhai") };
    let (place, inside) = match importer.strip_prefix(EMBEDDED) {
        Some(inside) => (EMBEDDED, inside),
        None => ("", importer),
    };
    if name.starts_with("./") || name.starts_with("../") {
        let folder = inside.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = normal(folder, &file).ok_or_else(|| SourceError::Outside(name.to_owned()))?;
        return Ok(vec![format!("{place}{path}")]);
    }
    let path = normal("", &file).ok_or_else(|| SourceError::Outside(name.to_owned()))?;
    let mut found = Vec::new();
    if place.is_empty() {
        found.push(format!("lib/{path}"));
    }
    found.push(format!("{EMBEDDED}{path}"));
    Ok(found)
}

/// Joins and resolves `.` and `..`; `None` when the path climbs over the top.
fn normal(folder: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(file.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Finds the script of an import: its path and text.
pub fn find(sources: &dyn Sources, importer: &str, name: &str) -> Result<(String, Arc<str>), SourceError> {
    let places = candidates(importer, name)?;
    for path in &places {
        match sources.text(path) {
            Ok(text) => return Ok((path.clone(), text)),
            Err(SourceError::NotFound(_)) => {}
            Err(other) => return Err(other),
        }
    }
    Err(SourceError::NotFound(places.join("` and no `")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_have_an_order_and_stay_inside() {
        let cases = [
            ("runbooks/a.rhai", "apt", Ok("lib/apt.rhai stdlib:apt.rhai")),
            ("runbooks/a.rhai", "net/dns.rhai", Ok("lib/net/dns.rhai stdlib:net/dns.rhai")),
            ("runbooks/a.rhai", "v1.2", Ok("lib/v1.2.rhai stdlib:v1.2.rhai")),
            ("runbooks/a.rhai", "./b", Ok("runbooks/b.rhai")),
            ("runbooks/x/a.rhai", "../b", Ok("runbooks/b.rhai")),
            ("stdlib:apt.rhai", "facts", Ok("stdlib:facts.rhai")),
            ("stdlib:apt.rhai", "./facts", Ok("stdlib:facts.rhai")),
            ("runbooks/a.rhai", "../../b", Err("`../../b` leads out of the project")),
            ("stdlib:apt.rhai", "../lib/x", Err("`../lib/x` leads out of the project")),
            ("runbooks/a.rhai", "x/../../../b", Err("`x/../../../b` leads out of the project")),
            ("runbooks/a.rhai", "/etc/passwd", Err("`/etc/passwd` leads out of the project")),
            ("runbooks/a.rhai", "", Err("`` is not a path of a script")),
            ("runbooks/a.rhai", "stdlib:apt", Err("`stdlib:apt` is not a path of a script")),
        ];
        for (importer, name, expected) in cases {
            let found =
                candidates(importer, name).map(|all| all.join(" ")).map_err(|error| error.to_string());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{importer} {name}");
        }
    }

    #[test]
    fn the_disk_is_confined() {
        let outside = tempfile::tempdir().expect("a folder");
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join("lib")).expect("a folder");
        let put = |path: PathBuf, text: &str| {
            use std::io::Write;
            std::fs::File::create(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .expect("written");
        };
        put(outside.path().join("secret.rhai"), "1");
        put(root.path().join("lib/a.rhai"), "2");
        std::os::unix::fs::symlink(outside.path().join("secret.rhai"), root.path().join("lib/out.rhai"))
            .expect("a link");
        std::os::unix::fs::symlink(root.path().join("lib/a.rhai"), root.path().join("lib/in.rhai"))
            .expect("a link");
        std::os::unix::fs::symlink(outside.path(), root.path().join("away")).expect("a link");
        let disk = Disk::new(root.path()).expect("a project");
        assert_eq!(disk.text("lib/a.rhai").expect("there").as_ref(), "2");
        assert_eq!(disk.text("lib/in.rhai").expect("there").as_ref(), "2");
        assert!(matches!(disk.text("lib/out.rhai"), Err(SourceError::Outside(_))));
        assert!(matches!(disk.text("away/secret.rhai"), Err(SourceError::Outside(_))));
        assert!(matches!(disk.text("../x.rhai"), Err(SourceError::NotFound(_) | SourceError::Outside(_))));
        assert!(matches!(disk.text("lib/none.rhai"), Err(SourceError::NotFound(_))));
        assert!(matches!(disk.text("lib"), Err(SourceError::NotFound(_))));
        assert!(matches!(disk.text("stdlib:none.rhai"), Err(SourceError::NotFound(_))));
        let (path, _) = find(&disk, "runbooks/x.rhai", "a").expect("there");
        assert_eq!(path, "lib/a.rhai");
        let missing = find(&disk, "runbooks/x.rhai", "b").expect_err("not there").to_string();
        assert_eq!(missing, "there is no `lib/b.rhai` and no `stdlib:b.rhai`");
    }
}
