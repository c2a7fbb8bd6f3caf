//! Who holds a run, and named locks: locks on files, which the kernel gives back when a process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::model::run::RunId;
use crate::store::{Store, StoreError};

/// The right to append to a run; at most one process has it.
#[derive(Debug)]
pub struct Claim {
    run: RunId,
    // Held for its lock; closing the file gives the lock back.
    _file: File,
}

impl Claim {
    /// Returns the run.
    pub fn run(&self) -> RunId {
        self.run
    }
}

/// A named lock between runs on this machine.
#[derive(Debug)]
pub struct NamedLock {
    _file: File,
}

impl Store {
    /// Takes the right to append to this run.
    ///
    /// The lock file is removed only by pruning, never by its holder: two processes must not lock two files of one name.
    pub fn claim(&self, run: RunId) -> Result<Claim, StoreError> {
        let path = self.dir().join("locks").join(format!("run-{run}"));
        match try_lock(&path, &format!("process {}", std::process::id()))? {
            Ok(file) => Ok(Claim { run, _file: file }),
            Err(holder) => Err(StoreError::Held { run, holder }),
        }
    }

    /// Whether a living process holds this run.
    pub fn is_held(&self, run: RunId) -> bool {
        let path = self.dir().join("locks").join(format!("run-{run}"));
        let Ok(file) = File::open(path) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Returns the named locks that living processes hold: the lock's name, and what its holder said about itself.
    pub fn held_locks(&self) -> Vec<(String, String)> {
        let mut held = Vec::new();
        for entry in std::fs::read_dir(self.dir().join("locks")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(name) = name.strip_prefix("name-") else { continue };
            let Ok(mut file) = File::open(entry.path()) else { continue };
            if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                held.push((name.to_owned(), holder.trim().to_owned()));
            }
        }
        held.sort();
        held
    }

    /// Returns what the living holder of a named lock says about itself.
    pub fn lock_holder(&self, name: &str) -> Option<String> {
        let mut file = File::open(self.lock_path(name)).ok()?;
        if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return None;
        }
        Some(holder_of(&mut file))
    }

    /// Tries to take a named lock; the error is what its holder said about itself.
    pub fn try_named_lock(&self, name: &str, holder: &str) -> Result<Result<NamedLock, String>, StoreError> {
        Ok(try_lock(&self.lock_path(name), holder)?.map(|file| NamedLock { _file: file }))
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-.".contains(c) {
                    c.to_string()
                } else {
                    format!("_{:x}", c as u32)
                }
            })
            .collect();
        self.dir().join("locks").join(format!("name-{name}"))
    }
}

/// Waits until no other process holds the lock on this file.
pub(super) fn wait_for_lock(path: &Path) -> Result<File, StoreError> {
    let fail = |source| StoreError::File { path: PathBuf::from(path), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

fn try_lock(path: &Path, holder: &str) -> Result<Result<File, String>, StoreError> {
    let fail = |source| StoreError::File { path: PathBuf::from(path), source };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {
            // What the file says is for people only; the lock is the truth, so a full disk does not matter here.
            let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{holder}"));
            Ok(Ok(file))
        }
        Err(TryLockError::WouldBlock) => Ok(Err(holder_of(&mut file))),
        Err(TryLockError::Error(source)) => Err(fail(source)),
    }
}

/// Reads what the holder of a lock says about itself; one that has just taken it may need a moment for that.
#[expect(
    clippy::disallowed_methods,
    reason = "the holder is another process that does nothing but write now"
)]
fn holder_of(file: &mut File) -> String {
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        let mut text = String::new();
        let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
        if !text.trim().is_empty() {
            return text.trim().to_owned();
        }
    }
    "unknown".to_owned()
}
