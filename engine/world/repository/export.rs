//! A commit becomes a folder that can be read only: nothing of it is run, and nothing of it leads out.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Fault, Mirror};

/// The file that makes a commit a project.
const PROJECT: &[u8] = b"nlrun.yaml";
/// The most of a pointer to a file of Git LFS (its specification says less than 1024 bytes).
const POINTER: u64 = 1024;

/// The most that a commit may hold.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of all files.
    pub whole: u64,
    /// Files.
    pub files: usize,
}

impl Default for Most {
    fn default() -> Self {
        Self { file: 64 << 20, whole: 1 << 30, files: 100_000 }
    }
}

/// What was left out of the folder of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// In words, for people.
    pub warnings: Vec<String>,
}

/// One entry of a tree.
struct Entry {
    path: Vec<u8>,
    object: String,
    is_executable: bool,
    is_link: bool,
}

impl Mirror {
    /// Makes the folder of a commit, at once or not at all; what is there already stays.
    ///
    /// `instead` takes the place of the commit's own `nlrun.yaml`.
    pub fn export(
        &self,
        commit: &str,
        to: &Path,
        instead: Option<&[u8]>,
        most: Most,
    ) -> Result<Exported, Fault> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Fault::Write { path, source }
        };
        let mut exported = Exported::default();
        if to.exists() {
            return Ok(exported);
        }
        let entries = self.entries(commit, most, &mut exported.warnings)?;
        let above = to.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(above).map_err(failed(above))?;
        let folder = tempfile::Builder::new().prefix(".new-").tempdir_in(above).map_err(failed(above))?;
        let root = folder.path();
        let (links, files): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.is_link);
        let mut folders = BTreeSet::new();
        for entry in files.iter().chain(&links) {
            let path = Path::new(OsStr::from_bytes(&entry.path));
            folders.extend(
                path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).map(Path::to_owned),
            );
        }
        for below in &folders {
            // A tree that names a file and a folder the same is refused here.
            std::fs::create_dir(root.join(below)).map_err(failed(below))?;
        }
        self.write_files(commit, root, &files, instead, &mut exported.warnings)?;
        self.write_links(root, &links, &mut exported.warnings)?;
        for below in folders.iter().rev() {
            let path = root.join(below);
            std::fs::set_permissions(&path, Permissions::from_mode(0o555)).map_err(failed(&path))?;
        }
        // A folder that has its name is whole, also after the power was gone.
        let whole = std::fs::File::open(root).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
        whole.map_err(failed(root))?;
        let made = folder.keep();
        if let Err(source) = std::fs::rename(&made, to) {
            remove(&made);
            // Somebody else was faster: it is the same commit.
            return if to.exists() {
                Ok(exported)
            } else {
                Err(Fault::Write { path: to.to_owned(), source })
            };
        }
        std::fs::set_permissions(to, Permissions::from_mode(0o555)).map_err(failed(to))?;
        Ok(exported)
    }

    /// Lists the files and links of a commit; what may lead anywhere, and what is too much, is refused before anything is written.
    fn entries(&self, commit: &str, most: Most, warnings: &mut Vec<String>) -> Result<Vec<Entry>, Fault> {
        let listing = self.git().ask(&["ls-tree", "-r", "-z", "-l", "--full-tree", commit])?;
        let odd = |entry: &[u8]| Fault::Odd {
            what: "ls-tree".to_owned(),
            words: String::from_utf8_lossy(entry).into_owned(),
        };
        let (mut entries, mut whole, mut submodules) = (Vec::new(), 0_u64, Vec::new());
        for entry in listing.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let tab = entry.iter().position(|byte| *byte == b'\t').ok_or_else(|| odd(entry))?;
            let (about, path) = (String::from_utf8_lossy(&entry[..tab]).into_owned(), &entry[tab + 1..]);
            let words: Vec<&str> = about.split_whitespace().collect();
            let [mode, kind, object, size] = words[..] else { return Err(odd(entry)) };
            let shown = || String::from_utf8_lossy(path).into_owned();
            if !is_safe(path) {
                return Err(Fault::Hostile { commit: commit.to_owned(), path: shown() });
            }
            if kind == "commit" {
                submodules.push(shown());
                continue;
            }
            let bytes: u64 = size.parse().map_err(|_| odd(entry))?;
            let limit = if mode == "120000" { 4096 } else { most.file };
            if bytes > limit {
                return Err(Fault::LargeFile {
                    commit: commit.to_owned(),
                    path: shown(),
                    bytes,
                    most: limit,
                });
            }
            whole += bytes;
            entries.push(Entry {
                path: path.to_vec(),
                object: object.to_owned(),
                is_executable: mode == "100755",
                is_link: mode == "120000",
            });
        }
        let large = |what: String, most: String| Fault::Large { commit: commit.to_owned(), what, most };
        if whole > most.whole {
            return Err(large(format!("{whole} bytes"), format!("{} bytes", most.whole)));
        }
        if entries.len() > most.files {
            return Err(large(format!("{} files", entries.len()), format!("{} files", most.files)));
        }
        if !entries.iter().any(|entry| entry.path == PROJECT && !entry.is_link) {
            return Err(Fault::NoProject(commit.to_owned()));
        }
        if !submodules.is_empty() {
            warnings.push(format!("submodules are left out: {}", some(&submodules)));
        }
        Ok(entries)
    }

    /// Writes the contents of files, in one call, as they are in the repository: no filter and no attribute is applied.
    fn write_files(
        &self,
        commit: &str,
        root: &Path,
        files: &[Entry],
        instead: Option<&[u8]>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let mut pointers = Vec::new();
        self.contents(files, |entry, size, content| {
            let path = root.join(OsStr::from_bytes(&entry.path));
            let mode = if entry.is_executable { 0o555 } else { 0o444 };
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            match instead.filter(|_| entry.path == PROJECT) {
                Some(text) => file.write_all(text)?,
                None if size < POINTER => {
                    let mut text = Vec::new();
                    content.read_to_end(&mut text)?;
                    if text.starts_with(b"version https://git-lfs.github.com/spec/") {
                        pointers.push(String::from_utf8_lossy(&entry.path).into_owned());
                    }
                    file.write_all(&text)?;
                }
                None => {
                    io::copy(content, &mut file)?;
                }
            }
            // A mask of the process takes bits away that `open` was given.
            file.set_permissions(Permissions::from_mode(mode))
        })
        .map_err(|fault| match fault {
            Fault::Write { source, .. } => {
                Fault::Write { path: format!("the folder of commit {commit}").into(), source }
            }
            other => other,
        })?;
        if !pointers.is_empty() {
            warnings
                .push(format!("files of Git LFS are not fetched, only their pointers: {}", some(&pointers)));
        }
        Ok(())
    }

    /// Makes links, after everything else: nothing is ever written through one.
    fn write_links(&self, root: &Path, links: &[Entry], warnings: &mut Vec<String>) -> Result<(), Fault> {
        let mut targets = Vec::new();
        self.contents(links, |_, _, content| {
            let mut target = Vec::new();
            content.read_to_end(&mut target)?;
            targets.push(target);
            Ok(())
        })?;
        let mut made: Vec<PathBuf> = Vec::new();
        for (entry, target) in links.iter().zip(&targets) {
            let path = root.join(OsStr::from_bytes(&entry.path));
            let link = std::os::unix::fs::symlink(OsStr::from_bytes(target), &path);
            link.map_err(|source| Fault::Write { path: path.clone(), source })?;
            made.push(path);
        }
        let real = root.canonicalize().map_err(|source| Fault::Write { path: root.to_owned(), source })?;
        let mut left_out: Vec<String> = Vec::new();
        // Through another link a link may lead elsewhere than its text says, so each is followed for real.
        let leads_out: Vec<bool> = made
            .iter()
            .zip(&targets)
            .map(|(path, target)| {
                target.first() == Some(&b'/')
                    || !path.canonicalize().is_ok_and(|path| path.starts_with(&real))
            })
            .collect();
        for (path, _) in made.iter().zip(leads_out).filter(|(_, leads_out)| *leads_out) {
            std::fs::remove_file(path).map_err(|source| Fault::Write { path: path.clone(), source })?;
            left_out.push(path.strip_prefix(root).unwrap_or(path).display().to_string());
        }
        if !left_out.is_empty() {
            warnings.push(format!(
                "links that lead out of the project or nowhere are left out: {}",
                some(&left_out)
            ));
        }
        Ok(())
    }

    /// Hands over the content of each entry, in one call of Git.
    fn contents(
        &self,
        entries: &[Entry],
        mut take: impl FnMut(&Entry, u64, &mut dyn io::Read) -> io::Result<()>,
    ) -> Result<(), Fault> {
        if entries.is_empty() {
            return Ok(());
        }
        let unwritten = |source| Fault::Write { path: "a temporary file".into(), source };
        let mut wanted = tempfile::tempfile().map_err(unwritten)?;
        let objects: Vec<&str> = entries.iter().map(|entry| entry.object.as_str()).collect();
        wanted
            .write_all((objects.join("\n") + "\n").as_bytes())
            .and_then(|()| wanted.rewind())
            .map_err(unwritten)?;
        self.git().stream(&["cat-file", "--batch"], Stdio::from(wanted), |what, mut out| {
            for entry in entries {
                let size = header(&mut out).map_err(|words| Fault::Odd { what: what.to_owned(), words })?;
                let mut content = (&mut out).take(size);
                take(entry, size, &mut content).map_err(unwritten)?;
                io::copy(&mut content, &mut io::sink()).map_err(unwritten)?;
                out.read_exact(&mut [0])
                    .map_err(|error| Fault::Odd { what: what.to_owned(), words: error.to_string() })?;
            }
            Ok(())
        })
    }
}

/// Reads `OBJECT blob SIZE` and returns the size.
fn header(out: &mut BufReader<impl io::Read>) -> Result<u64, String> {
    let mut line = String::new();
    out.take(256).read_line(&mut line).map_err(|error| error.to_string())?;
    let mut words = line.trim_end().split(' ').skip(1);
    match (words.next(), words.next().and_then(|size| size.parse().ok())) {
        (Some("blob"), Some(size)) => Ok(size),
        _ => Err(line),
    }
}

/// Whether a path of a tree stays below the folder that it is written to, and out of Git's own.
fn is_safe(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').all(|part| {
        !part.is_empty()
            && part != b"."
            && part != b".."
            && !part.eq_ignore_ascii_case(b".git")
            && part.len() <= 255
    })
}

/// Names the first few of many.
fn some(names: &[String]) -> String {
    const FEW: usize = 5;
    let mut text = names.iter().take(FEW).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > FEW {
        text.push_str(&format!(" and {} more", names.len() - FEW));
    }
    text
}

/// Removes a folder that can be read only.
pub(super) fn remove(folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // Else nothing in it can be removed.
        let _ = std::fs::set_permissions(&folder, Permissions::from_mode(0o755));
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    let _ = std::fs::remove_dir_all(folder);
}

impl Mirror {
    /// Removes the folder of a commit; it is gone at once for whoever looks by its name.
    pub fn remove(folder: &Path) {
        let aside = folder.with_file_name(format!(
            ".old-{}-{}",
            std::process::id(),
            folder.file_name().unwrap_or_default().to_string_lossy()
        ));
        // Renaming a folder within another one needs the right to write to that one only.
        match std::fs::rename(folder, &aside) {
            Ok(()) => remove(&aside),
            Err(_) => remove(folder),
        }
    }

    /// Removes what a crash left half made or half removed.
    pub(super) fn tidy(commits: &Path) {
        for entry in std::fs::read_dir(commits).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(b".") {
                remove(&entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below() {
        for path in ["a", "a/b", "a/..b", "a/.gitignore", ".github/x", "ü/é"] {
            assert!(is_safe(path.as_bytes()), "{path}");
        }
        for path in ["", "/a", "a//b", "../a", "a/../b", "a/..", "./a", ".git/config", "a/.GIT/hooks/x", "a/"]
        {
            assert!(!is_safe(path.as_bytes()), "{path}");
        }
    }
}
