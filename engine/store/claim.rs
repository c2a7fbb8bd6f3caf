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

/// A named lock that a living process holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HeldLock {
    /// Its name.
    pub name: String,
    /// What its holder says of itself.
    pub holder: String,
    /// The run that holds it, where a run does.
    pub run: Option<RunId>,
    /// Since when: microseconds since 1970, UTC.
    pub since: Option<i64>,
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

    /// Lists the named locks that living processes hold, with their age.
    pub fn locks(&self) -> Vec<HeldLock> {
        let held = self.held_locks().into_iter().map(|(file, holder)| {
            let path = self.dir().join("locks").join(format!("name-{file}"));
            // The holder writes the file when it takes the lock, and never again.
            let taken = std::fs::metadata(path).and_then(|about| about.modified()).ok();
            let since = taken.and_then(|time| jiff::Timestamp::try_from(time).ok());
            let run = holder.strip_prefix("run ").and_then(|rest| rest.split(' ').next()?.parse().ok());
            HeldLock {
                name: unescaped(&file),
                holder,
                run: run.map(RunId),
                since: since.map(jiff::Timestamp::as_microsecond),
            }
        });
        held.collect()
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

/// Returns the name that a lock's file stands for; characters beyond ASCII stay as they are written there.
fn unescaped(file: &str) -> String {
    let mut parts = file.split('_');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(u8::is_ascii_graphic) {
            Some(code) => {
                name.push(char::from(code));
                name.push_str(&part[2..]);
            }
            None => {
                name.push('_');
                name.push_str(part);
            }
        }
    }
    name
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_shown_by_its_name_with_its_holder_and_age() {
        let (_dir, store) = crate::store::tests::store(None);
        let before = crate::world::clock::now().as_microsecond();
        let _lock = store.try_named_lock("cluster/nl_1", "run 7 (process 12)").unwrap().unwrap();
        let locks = store.locks();
        assert_eq!(locks.len(), 1);
        assert_eq!((locks[0].name.as_str(), locks[0].run), ("cluster/nl_1", Some(RunId(7))));
        assert!(locks[0].since.unwrap() >= before - 1_000_000, "{locks:?}");
        assert_eq!(unescaped("a_b_"), "a_b_");
    }
}
