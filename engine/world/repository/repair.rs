//! What a crash may leave of a mirror, and what is done about it.
//!
//! Every server that uses a mirror holds a shared lock on a file beside it, and so does every Git that a server has started, by its standard
//! input: a Git that outlives its server is still seen. Who gets the lock alone knows that nothing there is at work, and removes what is
//! only half there.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::export::remove;
use super::{Fault, Mirror};

/// Words of Git about objects that are not what they should be.
const BROKEN: &[&str] = &[
    "corrupt",
    "inflate",
    "unable to read",
    "bad object",
    "mismatch",
    "missing object",
    "missing blob",
    "missing tree",
    "missing commit",
    "not a git repository",
    "garbage",
    "object file",
];

impl Mirror {
    /// Opens a mirror, and makes one where there is none; what a crash has left of Git's work is removed first.
    ///
    /// Folders of commits that are only half there, beside it, go as well.
    pub fn open(path: &Path, commits: &Path) -> Result<Self, Fault> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Fault::Write { path, source }
        };
        std::fs::create_dir_all(path).map_err(failed(path))?;
        let beside = path.with_extension("lock");
        let lock = File::create(&beside).map_err(failed(&beside))?;
        match alone(&lock) {
            Ok(()) => {
                clear(path);
                Self::tidy(commits);
            }
            // Another server, or a Git that one has left behind.
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(&beside)(source)),
        }
        lock.lock_shared().map_err(failed(&beside))?;
        let mirror = Self { path: path.to_owned(), lock: Some(Arc::new(lock)) };
        if !mirror.is_repository() {
            // One that was only half made is made whole.
            if mirror.init().is_err() || !mirror.is_repository() {
                mirror.renew()?;
            }
        }
        Ok(mirror)
    }

    fn init(&self) -> Result<(), Fault> {
        self.git().ask(&["init", "--bare", "--quiet", "--template=", "--initial-branch=none"]).map(drop)
    }

    fn is_repository(&self) -> bool {
        self.path.join("HEAD").is_file()
            && self.git().line(&["rev-parse", "--is-bare-repository"]).is_ok_and(|line| line == "true")
    }

    /// Whether the objects that names stand for are all there, and the words of a failure say nothing else.
    pub fn is_whole(&self, words: &str) -> bool {
        if BROKEN.iter().any(|part| words.contains(part)) {
            return false;
        }
        let looked = self.git().ask(&["fsck", "--connectivity-only", "--no-dangling", "--no-progress"]);
        // One that is too large to be looked through is taken as whole.
        !matches!(looked, Err(Fault::Failed { .. }))
    }

    /// Puts the mirror aside and begins with an empty one.
    pub fn renew(&self) -> Result<(), Fault> {
        let aside = self.path.with_extension("broken");
        remove(&aside);
        let moved = std::fs::rename(&self.path, &aside).and_then(|()| std::fs::create_dir(&self.path));
        moved.map_err(|source| Fault::Write { path: self.path.clone(), source })?;
        self.init()
    }
}

/// Takes the lock alone, if nobody else has it for longer than a moment.
///
/// A process that any thread of this one starts has it, too, until it becomes another program.
#[expect(clippy::disallowed_methods, reason = "nothing tells when another process becomes another program")]
fn alone(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..20 {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
    lock.try_lock()
}

/// Removes what Git writes before it is whole: locks, and packs and objects under names for the time being.
fn clear(path: &Path) {
    for file in left(path).unwrap_or_default() {
        tracing::warn!(file = %file.display(), "what a Git that was killed has left is removed");
        let _ = std::fs::remove_file(&file);
    }
}

fn left(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if name.ends_with(".lock") || name.starts_with("tmp_") || name.ends_with(".keep") {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "what a crash leaves is written by hand")]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_has_left_is_removed_unless_somebody_is_at_work() {
        let folder = tempfile::tempdir().unwrap();
        let (path, commits) = (folder.path().join("mirror.git"), folder.path().join("commits"));
        let open = || Mirror::open(&path, &commits).unwrap();
        drop(open());
        let left =
            ["packed-refs.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_x", "objects/aa/tmp_obj_x"];
        let half = commits.join(".new-x");
        let leave = || {
            for name in left {
                std::fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
                std::fs::write(path.join(name), "").unwrap();
            }
            std::fs::create_dir_all(&half).unwrap();
        };
        leave();
        let one = open();
        assert!(left.iter().all(|name| !path.join(name).exists()) && !half.exists());
        leave();
        let two = open();
        assert!(left.iter().all(|name| path.join(name).exists()) && half.exists(), "another one is at work");
        drop((one, two));
        drop(open());
        assert!(left.iter().all(|name| !path.join(name).exists()) && !half.exists());
    }

    #[test]
    fn one_that_is_half_made_is_made_whole_and_one_that_is_broken_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, commits) = (folder.path().join("mirror.git"), folder.path().join("commits"));
        let open = || Mirror::open(&path, &commits).unwrap();
        drop(open());
        std::fs::remove_dir_all(path.join("objects")).unwrap();
        std::fs::remove_file(path.join("config")).unwrap();
        assert!(open().is_repository());
        std::fs::write(path.join("config"), "[core\nrepositoryformatversion = 99\n").unwrap();
        let mirror = open();
        assert!(mirror.is_repository() && mirror.is_whole("Connection refused"));
        assert!(!mirror.is_whole("fatal: loose object aa (stored in x) is corrupt"));
        // A name whose commit is gone.
        std::fs::write(path.join("refs/heads/main"), "0123456789abcdef0123456789abcdef01234567\n").unwrap();
        assert!(!mirror.is_whole(""));
        mirror.renew().unwrap();
        assert!(mirror.is_whole(""));
    }
}
