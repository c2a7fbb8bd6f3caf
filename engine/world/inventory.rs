//! Reads inventories from disk: ours in YAML, and existing Ansible ones in place.
//!
//! The path is a file or a folder, and its contents say what it is:
//!
//! - YAML with `hosts`, `groups` or `vars` at its top is ours ([`Format::of`]). In a folder, every file (`*.yaml`, `*.yml`)
//!   is read in the order of names.
//! - YAML with groups at its top, and every file that is not YAML, is Ansible's. In a folder, every file is read in the
//!   order of names, subfolders too, without what Ansible skips (`*.md`, `*.bak`, `.hidden`, …); `group_vars/` and
//!   `host_vars/` beside the inventory files are read after them.
//! - A folder holds one of the two; both in one is an error. Executable inventories are refused: nothing is run
//!   to find out what to run on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::model::inventory::{self, Draft, Format, Inventory, VarsOf};
use crate::model::yaml::{self, Booleans};

/// An inventory and what was read for it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The inventory.
    pub inventory: Inventory,
    /// What the operator should know: settings that are not used, files without effect.
    pub warnings: Vec<String>,
    /// Every file that was read, in this order.
    pub files: Vec<PathBuf>,
}

/// Why there is no inventory.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The path leads nowhere, or not to something readable.
    #[error("cannot read the inventory `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not text in UTF-8.
    #[error("`{}` is not text in UTF-8", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
    },
    /// An inventory that is a program.
    #[error("`{}` is a program: executable inventories are not run", path.display())]
    Script {
        /// The file.
        path: PathBuf,
    },
    /// A folder with inventories of both formats.
    #[error("`{}` is an inventory of ours and `{}` is one of Ansible's: a folder holds one of the two", own.display(), ansible.display())]
    Mixed {
        /// A file in our format.
        own: PathBuf,
        /// A file in Ansible's.
        ansible: PathBuf,
    },
    /// A file says something wrong.
    #[error(transparent)]
    Invalid(#[from] inventory::Error),
}

impl InventoryError {
    /// Returns file, line and column (from 1; 0 when unknown) of what is wrong.
    pub fn place(&self) -> (&Path, u64, u64) {
        match self {
            Self::Invalid(error) => (&error.file, error.line, error.column),
            Self::Read { path, .. }
            | Self::Encoding { path }
            | Self::Script { path }
            | Self::Mixed { own: path, .. } => (path, 0, 0),
        }
    }

    /// Returns what to do about it, when that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid(error) => error.hint(),
            Self::Script { path } => Some(format!(
                "write down what it says: `ansible-inventory -i {} --list --yaml --output inventory.yml`",
                path.display()
            )),
            Self::Mixed { .. } => Some("move one of them into a folder of its own".to_owned()),
            Self::Read { .. } | Self::Encoding { .. } => None,
        }
    }
}

/// Reads the inventory at a path, a file or a folder.
pub fn load(path: &Path) -> Result<Loaded, InventoryError> {
    let is_folder = std::fs::metadata(path).map_err(unreadable(path))?.is_dir();
    let sources = if is_folder { folder(path)? } else { vec![source(path)?] };
    let own = sources.iter().find(|source| source.format() == Some(Format::Own));
    let ansible = sources.iter().find(|source| source.format() == Some(Format::Ansible));
    if let (Some(own), Some(ansible)) = (own, ansible) {
        return Err(InventoryError::Mixed { own: own.path.clone(), ansible: ansible.path.clone() });
    }
    let mut files: Vec<PathBuf> = sources.iter().map(|source| source.path.clone()).collect();
    let draft = if ansible.is_some() {
        let root = if is_folder { path } else { path.parent().unwrap_or(Path::new("")) };
        ansible_draft(&sources, root, &mut files)?
    } else {
        own_draft(sources)?
    };
    let (inventory, warnings) = draft.finish()?;
    Ok(Loaded { inventory, warnings, files })
}

/// One inventory file, its YAML already parsed: telling the formats apart needs it.
struct Source {
    path: PathBuf,
    text: String,
    contents: Contents,
}

enum Contents {
    Yaml(yaml::Node),
    Ini,
}

impl Source {
    fn format(&self) -> Option<Format> {
        match &self.contents {
            Contents::Yaml(node) => Format::of(node),
            Contents::Ini => Some(Format::Ansible),
        }
    }
}

fn source(path: &Path) -> Result<Source, InventoryError> {
    let text = text(path)?;
    if text.starts_with("#!") {
        return Err(InventoryError::Script { path: path.to_owned() });
    }
    let is_yaml = has_extension(path, &["yaml", "yml", "json"])
        || text
            .lines()
            .find(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .is_some_and(|line| line == "---");
    let contents = if is_yaml {
        let label = path.display().to_string();
        Contents::Yaml(yaml::parse(&text, &label, Booleans::Strict).map_err(inventory::Error::from)?)
    } else {
        Contents::Ini
    };
    Ok(Source { path: path.to_owned(), text, contents })
}

/// Reads the inventory files of a folder, depth first in the order of names.
fn folder(path: &Path) -> Result<Vec<Source>, InventoryError> {
    let mut sources = Vec::new();
    for entry in entries(path)? {
        let name = name_of(&entry);
        if name == "group_vars" || name == "host_vars" {
            continue;
        }
        if entry.is_dir() {
            sources.extend(folder(&entry)?);
        } else {
            sources.push(source(&entry)?);
        }
    }
    Ok(sources)
}

fn own_draft(sources: Vec<Source>) -> Result<Draft, InventoryError> {
    let mut draft = Draft::new(Format::Own);
    for source in sources {
        if let Contents::Yaml(node) = source.contents {
            draft.read_own_tree(node, &source.path.display().to_string())?;
        }
    }
    Ok(draft)
}

fn ansible_draft(sources: &[Source], root: &Path, files: &mut Vec<PathBuf>) -> Result<Draft, InventoryError> {
    let mut draft = Draft::new(Format::Ansible);
    let mut folders = BTreeSet::from([root]);
    for source in sources {
        let label = source.path.display().to_string();
        match source.contents {
            // Parsed again: in Ansible's YAML `yes` is a boolean.
            Contents::Yaml(_) => draft.read_ansible_yaml(&source.text, &label)?,
            Contents::Ini => draft.read_ansible_ini(&source.text, &label)?,
        }
        folders.extend(source.path.parent());
    }
    for folder in folders {
        let group = |name: &str| VarsOf::Group(name.to_owned());
        let host = |name: &str| VarsOf::Host(name.to_owned());
        variables(&mut draft, &folder.join("group_vars"), &group, files)?;
        variables(&mut draft, &folder.join("host_vars"), &host, files)?;
    }
    Ok(draft)
}

/// Reads `web`, `web.yml`, `web.yaml`, `web.json` and every file below a folder `web/`.
fn variables(
    draft: &mut Draft,
    folder: &Path,
    owner: &dyn Fn(&str) -> VarsOf,
    files: &mut Vec<PathBuf>,
) -> Result<(), InventoryError> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in entries(folder)? {
        let name = name_of(&entry);
        let name = ["yml", "yaml", "json"]
            .iter()
            .find_map(|extension| name.strip_suffix(extension)?.strip_suffix('.'))
            .filter(|_| entry.is_file())
            .unwrap_or(&name);
        let owner = owner(name);
        for path in if entry.is_dir() { files_below(&entry)? } else { vec![entry] } {
            draft.read_ansible_vars(&owner, &text(&path)?, &path.display().to_string())?;
            files.push(path);
        }
    }
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, InventoryError> {
    let mut files = Vec::new();
    for entry in entries(folder)? {
        if entry.is_dir() {
            files.extend(files_below(&entry)?);
        } else {
            files.push(entry);
        }
    }
    Ok(files)
}

/// Lists a folder in the order of names, without what Ansible ignores (`INVENTORY_IGNORE_EXTS`) and hidden files.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, InventoryError> {
    let ignored = ["pyc", "pyo", "swp", "bak", "rpm", "md", "txt", "rst", "orig", "cfg", "retry"];
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let name = name_of(&path);
        if !name.starts_with('.') && !name.ends_with('~') && !has_extension(&path, &ignored) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> Result<String, InventoryError> {
    let bytes = std::fs::read(path).map_err(unreadable(path))?;
    String::from_utf8(bytes).map_err(|_| InventoryError::Encoding { path: path.to_owned() })
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> InventoryError + '_ {
    |source| InventoryError::Read { path: path.to_owned(), source }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn has_extension(path: &Path, known: &[&str]) -> bool {
    path.extension().is_some_and(|extension| known.iter().any(|name| extension == *name))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay out inventories in a temporary folder")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(loaded: &Loaded) -> String {
        loaded.inventory.hosts().map(|host| host.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn our_folder_is_read_in_the_order_of_names() {
        let folder = tree(&[
            ("20-web.yaml", "hosts: {web: {}}"),
            ("10-edge.yml", "hosts: {edge: {}}\ngroups: {g: {hosts: [web]}}"),
            ("empty.yaml", "# nothing yet\n"),
            ("README.md", "not YAML: ["),
            (".hidden.yaml", "nonsense: 1"),
        ]);
        let loaded = load(folder.path()).unwrap();
        assert_eq!(names(&loaded), "edge web localhost");
        assert_eq!(loaded.files.len(), 3);
        let single = load(&folder.path().join("20-web.yaml")).unwrap();
        assert_eq!(names(&single), "web localhost");
    }

    const VARS: [(&str, &str); 6] = [
        ("group_vars/all.yml", "ntp: all\nflag: yes"),
        ("group_vars/web/10-main.yaml", "ntp: web\nx: 1"),
        ("group_vars/web/20-more", "x: 2"),
        ("host_vars/a.yml", "y: 3"),
        ("host_vars/a.yml.bak", "y: 4"),
        ("host_vars/b.nl", "{\"z\": 5}"),
    ];

    #[test]
    fn ansible_folders_and_files_are_read_in_place() {
        for (name, text) in [
            ("hosts", "[web]\na\nb.nl\n"),
            ("hosts.ini", "[web]\na\nb.nl\n"),
            ("hosts.yml", "web: {hosts: {a: , b.nl: }}"),
            ("inventory", "---\nall: {children: {web: {hosts: {a: , b.nl: }}}}"),
        ] {
            let folder = tree(&[&VARS[..], &[(name, text)]].concat());
            for path in [folder.path().to_owned(), folder.path().join(name)] {
                let loaded = load(&path).unwrap();
                assert_eq!(names(&loaded), "a b.nl localhost", "{name}");
                let vars = |host: &str| json!(loaded.inventory.host(host).unwrap().vars);
                assert_eq!(vars("a"), json!({"ntp": "web", "flag": true, "x": 2, "y": 3}), "{name}");
                assert_eq!(vars("b.nl"), json!({"ntp": "web", "flag": true, "x": 2, "z": 5}), "{name}");
                assert_eq!(loaded.files.len(), 6, "{name}");
                assert_eq!(loaded.warnings, Vec::<String>::new());
            }
        }
    }

    #[test]
    fn subfolders_of_ansible_inventories_have_their_own_variables() {
        let folder = tree(&[("a/hosts", "one"), ("b/hosts", "two"), ("b/host_vars/two.yml", "x: 1")]);
        let loaded = load(folder.path()).unwrap();
        assert_eq!(names(&loaded), "one two localhost");
        assert_eq!(loaded.inventory.host("two").unwrap().vars["x"], 1);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tree(&[
            ("ec2.py", "#!/usr/bin/python3\n"),
            ("mixed/a.yaml", "hosts: {a: {}}"),
            ("mixed/hosts", "b"),
            ("bad.yaml", "hosts:\n  a: {prot: 1}\n"),
        ]);
        let at = |name: &str| folder.path().join(name);
        std::fs::set_permissions(at("ec2.py"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(at("latin1"), b"caf\xe9").unwrap();
        for (name, message) in [
            ("ec2.py", "is a program"),
            ("mixed", "a folder holds one of the two"),
            ("none", "cannot read the inventory"),
            ("latin1", "is not text in UTF-8"),
            ("bad.yaml", "unknown key `prot` in host `a`"),
        ] {
            let error = load(&at(name)).expect_err(name);
            assert!(error.to_string().contains(message), "{name}: {error}");
        }
        let error = load(&at("bad.yaml")).unwrap_err();
        assert_eq!(error.place(), (at("bad.yaml").as_path(), 2, 7));
        assert_eq!(error.hint().as_deref(), Some("did you mean `port`?"));
    }
}
