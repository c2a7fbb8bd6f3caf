//! Editing an encrypted file as YAML text that exists in memory only.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::encrypted::{self, Locked, Unlocked};
use super::key::Key;
use super::place::Place;
use crate::model::secret::SecretName;

/// Why an edit changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The encrypted file cannot be read or written.
    #[error(transparent)]
    File(#[from] encrypted::Error),
    /// No folder in memory was found, and a file on disk cannot be wiped for certain.
    #[error(
        "neither $XDG_RUNTIME_DIR nor /dev/shm is a file system in memory, and secrets are not written to disk"
    )]
    NoMemory,
    /// The text cannot be handed to the editor or read back.
    #[error("the text for the editor cannot be kept in `{folder}`")]
    Scratch {
        /// Which folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The editor failed, or the person gave up.
    #[error("the editor did not end well; nothing was changed")]
    Editor(#[source] io::Error),
}

/// What an edit did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Secrets that are new.
    pub added: Vec<SecretName>,
    /// Secrets with another value.
    pub changed: Vec<SecretName>,
    /// Secrets that are gone.
    pub removed: Vec<SecretName>,
}

/// A value as it stands in the text: as a string, or in base64 when it is no text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shown {
    Text(String),
    Binary { base64: String },
}

/// Returns a folder that lives in memory, where text in clear may exist for a while.
pub fn memory_folder(place: &Place) -> Result<PathBuf, Error> {
    const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6]; // tmpfs, ramfs: linux/magic.h
    let runtime = place
        .variable("XDG_RUNTIME_DIR")
        .map(|bytes| PathBuf::from(String::from_utf8_lossy(&bytes).into_owned()));
    runtime
        .into_iter()
        .chain([PathBuf::from("/dev/shm")])
        .find(|folder| {
            #[expect(clippy::unnecessary_cast, reason = "the type of `f_type` differs between platforms")]
            rustix::fs::statfs(folder).is_ok_and(|stat| IN_MEMORY.contains(&(stat.f_type as i64)))
        })
        .ok_or(Error::NoMemory)
}

/// Decrypts a file to YAML text in `folder` (see [`memory_folder`]), lets `editor` change it, and encrypts it again.
///
/// The editor is called again with a complaint when the text cannot be read, and gives up by an error. A file that is
/// not there begins empty. Whatever the editor leaves in its folder is overwritten and removed.
pub fn edit(
    path: &Path,
    key: &Key,
    folder: &Path,
    mut editor: impl FnMut(&Path, Option<&str>) -> io::Result<()>,
) -> Result<Changes, Error> {
    let mut file =
        if path.exists() { Locked::load(path)?.unlock(key)? } else { Unlocked::create(path, key)? };
    let mut before = BTreeMap::new();
    for name in file.names() {
        before.insert(name.clone(), file.get(name)?.unwrap_or_default());
    }
    let fail = |source| Error::Scratch { folder: folder.to_owned(), source };
    let desk = Desk::new(folder).map_err(fail)?;
    let text = desk.0.path().join("secrets.yaml");
    let mut out =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&text).map_err(fail)?;
    out.write_all(written(&before).as_bytes()).map_err(fail)?;
    drop(out);
    let mut complaint: Option<String> = None;
    let after = loop {
        editor(&text, complaint.as_deref()).map_err(Error::Editor)?;
        match read(&Zeroizing::new(std::fs::read_to_string(&text).map_err(fail)?)) {
            Ok(after) => break after,
            Err(words) => complaint = Some(words),
        }
    };
    let mut changes = Changes::default();
    for (name, value) in &after {
        match before.get(name) {
            Some(old) if old == value => continue,
            Some(_) => changes.changed.push(name.clone()),
            None => changes.added.push(name.clone()),
        }
        file.set(name, value)?;
    }
    for name in before.keys().filter(|name| !after.contains_key(name)) {
        file.remove(name);
        changes.removed.push(name.clone());
    }
    if changes != Changes::default() {
        file.save()?;
    }
    Ok(changes)
}

fn written(secrets: &BTreeMap<SecretName, Zeroizing<Vec<u8>>>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(
        "# One secret a line: `name: value`. What is removed here is removed from the file.\n".to_owned(),
    );
    if secrets.is_empty() {
        return text;
    }
    let shown: BTreeMap<&SecretName, Shown> = secrets
        .iter()
        .map(|(name, value)| {
            let shown = match std::str::from_utf8(value) {
                Ok(text) => Shown::Text(text.to_owned()),
                Err(_) => Shown::Binary { base64: STANDARD.encode(value) },
            };
            (name, shown)
        })
        .collect();
    text.push_str(&serde_saphyr::to_string(&shown).expect("a map of names to strings is always YAML"));
    text
}

/// The complaint shows no part of the text but names.
fn read(text: &str) -> Result<BTreeMap<SecretName, Zeroizing<Vec<u8>>>, String> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(BTreeMap::new());
    }
    let options = serde_saphyr::options! { strict_booleans: true, leading_zero_numbers_as_strings: true };
    let tree: BTreeMap<String, serde_json::Value> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| {
            let line =
                error.location().map(|location| format!(" at line {}", location.line())).unwrap_or_default();
            format!("this is not a YAML map of names to values{line}")
        })?;
    let mut secrets = BTreeMap::new();
    for (name, value) in tree {
        let name: SecretName =
            name.parse().map_err(|error: crate::model::secret::InvalidName| error.to_string())?;
        let value = match serde_json::from_value(value) {
            Ok(Shown::Text(text)) => text.into_bytes(),
            Ok(Shown::Binary { base64 }) => {
                STANDARD.decode(base64).map_err(|_| format!("`{name}` is not base64"))?
            }
            Err(_) => return Err(format!("the value of `{name}` is not a string: put it in quotes")),
        };
        secrets.insert(name, Zeroizing::new(value));
    }
    Ok(secrets)
}

/// A private folder whose files are overwritten and removed in the end, however the end comes.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new(folder: &Path) -> io::Result<Self> {
        tempfile::Builder::new()
            .prefix("nlrun-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(folder)
            .map(Self)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Editors leave swap files and backups beside the text. Nothing more can be done about one that resists.
        for entry in std::fs::read_dir(self.0.path()).into_iter().flatten().flatten() {
            let Ok(length) = entry.metadata().map(|metadata| metadata.len()) else { continue };
            if let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(entry.path()) {
                let _ = io::copy(&mut io::Read::take(io::repeat(0), length), &mut file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::read_to_string;

    use super::*;

    fn save(path: &Path, text: &str) -> io::Result<()> {
        std::fs::File::create(path)?.write_all(text.as_bytes())
    }

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    #[test]
    fn an_edit_adds_changes_and_removes_and_leaves_nothing_behind() {
        let (home, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = home.path().join("secrets.enc");
        let key = Key::Random(Zeroizing::new([3; 32]));
        let changes = edit(&path, &key, scratch.path(), |text, _| {
            assert_eq!(std::fs::metadata(text)?.permissions().mode() & 0o777, 0o600);
            save(&text.with_extension("swp"), "x")?;
            save(text, "a: one\nkey: |\n  line 1\n  line 2\nblob: {base64: /w==}\n")
        })
        .unwrap();
        assert_eq!(changes.added, [name("a"), name("blob"), name("key")]);
        let mut seen = String::new();
        let changes = edit(&path, &key, scratch.path(), |text, complaint| {
            if complaint.is_none() {
                seen = read_to_string(text)?;
                return save(text, "a: [hunter2]\n");
            }
            assert_eq!(complaint, Some("the value of `a` is not a string: put it in quotes"));
            save(
                text,
                &seen
                    .replace("one", "'007'")
                    .replace("blob:", "# blob:")
                    .replace("base64:", "#")
                    .replace("key", "b/key"),
            )
        })
        .unwrap();
        assert!(seen.contains("line 1\n") && seen.contains("/w=="), "{seen}");
        assert_eq!(
            changes,
            Changes {
                added: vec![name("b/key")],
                changed: vec![name("a")],
                removed: vec![name("blob"), name("key")]
            }
        );
        let file = Locked::load(&path).unwrap().unlock(&key).unwrap();
        assert_eq!(file.get(&name("a")).unwrap().unwrap().as_slice(), b"007");
        assert_eq!(file.get(&name("b/key")).unwrap().unwrap().as_slice(), b"line 1\nline 2\n");
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    #[test]
    fn giving_up_changes_nothing() {
        let (home, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = home.path().join("secrets.enc");
        let key = Key::Random(Zeroizing::new([3; 32]));
        let mut complaints = Vec::new();
        for bad in ["a: [", "- a", "A: x", "a: 1", "a: x\na: y"] {
            let result = edit(&path, &key, scratch.path(), |text, complaint| match complaint {
                None => save(text, bad),
                Some(words) => {
                    complaints.push(words.to_owned());
                    Err(io::ErrorKind::Interrupted.into())
                }
            });
            assert!(matches!(result, Err(Error::Editor(_))));
        }
        assert_eq!(complaints.len(), 5);
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        let same = edit(&path, &key, scratch.path(), |_, _| Ok(())).unwrap();
        assert_eq!((same, path.exists()), (Changes::default(), false));
    }
}
