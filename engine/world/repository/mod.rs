//! A repository that a server follows: a bare mirror, and one read-only folder a commit.
//!
//! Everything is done by the `git` of this machine, which may run nothing of the repository's: no hooks, no filters, no
//! submodules, no external programs.

mod call;
mod changed;
mod commit;
mod export;
mod mirror;
mod repair;
mod sealed;
mod settings;
mod url;

pub use changed::{Change, Changed, Kind as ChangeKind, is_nothing};
pub use commit::{Author, Compared, Edit, Written};
pub use export::{Exported, Most};
pub use mirror::{About, Checked, Mirror, Refs, merge_request};
pub use sealed::Sealed;
pub use settings::{LoginSettings, Settings, Verify, author};
pub use url::{Remote, RemoteError, Scheme};

/// The folder of a run log's folder that holds the two below.
pub const FOLDER: &str = "project";
/// The folder of the mirror, beside that of the commits.
pub const MIRROR: &str = "mirror.git";
/// The folder of the commits: one folder each.
pub const COMMITS: &str = "commits";

/// Who asks the remote repository.
#[derive(Debug, Default)]
pub enum Login {
    /// Nobody in particular.
    #[default]
    None,
    /// The holder of a key for SSH, in a file.
    KeyFile(std::path::PathBuf),
    /// The holder of a key for SSH that is in memory only.
    Key(Sealed),
    /// A user and a token, for HTTPS; in memory only, as `git credential` reads it.
    Token(Sealed),
}

/// Why Git did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no Git.
    #[error("`git` cannot be started: {0}")]
    Start(std::io::Error),
    /// It took too long and was ended.
    #[error("`git {what}` was not done in {seconds} s")]
    TimedOut {
        /// The command.
        what: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// It said more than anybody reads.
    #[error("`git {what}` says more than {most} bytes")]
    TooLong {
        /// The command.
        what: String,
        /// The limit.
        most: u64,
    },
    /// It failed.
    #[error("`git {what}` failed: {words}")]
    Failed {
        /// The command.
        what: String,
        /// The last of what it wrote to standard error.
        words: String,
    },
    /// What it says cannot be understood.
    #[error("`git {what}` says what cannot be understood: {words}")]
    Odd {
        /// The command.
        what: String,
        /// What it said.
        words: String,
    },
    /// There is no such branch, tag or commit.
    #[error("there is no branch, tag or commit `{0}` in the repository")]
    Unknown(String),
    /// A text that can name no branch, tag or commit.
    #[error("`{0}` cannot be the name of a branch, a tag or a commit")]
    NoName(String),
    /// A tree holds what Git itself would not write.
    #[error("commit {commit} holds the path `{path}`, which may lead anywhere: it is not used")]
    Hostile {
        /// The commit.
        commit: String,
        /// The path.
        path: String,
    },
    /// A file is too large.
    #[error("commit {commit}: `{path}` has {bytes} bytes, and a file of a project has at most {most}")]
    LargeFile {
        /// The commit.
        commit: String,
        /// The path.
        path: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// All files together are too many or too large.
    #[error("commit {commit} has {what}, and a project has at most {most}")]
    Large {
        /// The commit.
        commit: String,
        /// How much it is.
        what: String,
        /// The limit.
        most: String,
    },
    /// The commit is no project.
    #[error("commit {0} has no `nlrun.yaml` at its top")]
    NoProject(String),
    /// The commit has no signature that counts.
    #[error("commit {commit} is not used: {why}")]
    Unsigned {
        /// The commit.
        commit: String,
        /// What is wrong with its signature.
        why: String,
    },
    /// Somebody else has changed what was to be changed.
    #[error("`{path}` on `{branch}` is not what it was when the edit began: {why}")]
    Conflict {
        /// The branch.
        branch: String,
        /// The file.
        path: String,
        /// What happened.
        why: String,
    },
    /// An edit that cannot be made.
    #[error("{0}")]
    Invalid(String),
    /// The file system says no.
    #[error("cannot write `{path}`: {source}")]
    Write {
        /// What was to be written.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Fault {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Start(_) => Some("install Git 2.34 or newer on this machine"),
            Self::Failed { words, .. } => advice(words),
            Self::LargeFile { .. } | Self::Large { .. } => Some(
                "keep images, dumps and archives out of the repository, and fetch them where they are used",
            ),
            Self::NoProject(_) => Some("a project has the file `nlrun.yaml` at its top; it may be empty"),
            Self::Unsigned { .. } => Some(
                "sign the commit (`git commit -S`) with a key of the file `allowed_signers`, or with one that the server's user trusts in GnuPG; \
                 or leave out `verify: signed`",
            ),
            Self::Conflict { .. } => Some("read the file again and make the edit anew"),
            Self::TimedOut { .. }
            | Self::TooLong { .. }
            | Self::Odd { .. }
            | Self::Unknown(_)
            | Self::NoName(_)
            | Self::Hostile { .. }
            | Self::Invalid(_)
            | Self::Write { .. } => None,
        }
    }

    /// Returns the text with what to do about it.
    pub fn told(&self) -> String {
        match self.hint() {
            Some(hint) => format!("{self}; {hint}"),
            None => self.to_string(),
        }
    }
}

/// Returns what to do about words of Git, SSH and servers, where they say the same everywhere.
fn advice(words: &str) -> Option<&'static str> {
    let table = [
        (
            "Host key verification failed",
            "add the server's host key to `known_hosts`: `ssh-keyscan` shows it, the server's keeper vouches for it",
        ),
        (
            "Permission denied (",
            "give the server's key access to the repository: a deploy key, with write access where edits are pushed",
        ),
        ("Could not resolve host", "look at the name in `server.project.url`"),
        ("Connection refused", "look at host and port in `server.project.url`"),
        ("Connection timed out", "look whether this machine may reach the server of `server.project.url`"),
        ("could not read Username", "give `server.project.token` the name of a secret that holds a token"),
        (
            "Authentication failed",
            "look whether the token of `server.project.token` is valid and may read the repository",
        ),
        (
            "certificate verification failed",
            "name the file with the authority of the server's certificate in `server.project.ca`",
        ),
        ("does not appear to be a git repository", "look at the path in `server.project.url`"),
        ("dubious ownership", "a repository in a folder has to belong to the user who runs the server"),
        ("protected branch", "edit on a branch of your own, and merge that"),
    ];
    let found = table.iter().find(|(part, _)| words.contains(part));
    found.map(|(_, hint)| *hint).or_else(|| {
        words
            .contains("not found")
            .then_some("look at the path in `server.project.url`, and at the login's rights")
    })
}

/// Returns the repository that a project's folder belongs to: the mirror behind a commit's folder, or the checkout around it.
pub fn of(root: &std::path::Path) -> Option<Mirror> {
    mirror_of(root).or_else(|| Mirror::of_checkout(root))
}

/// Returns the mirror of the folder of a commit, if the folder is one that a server made.
fn mirror_of(folder: &std::path::Path) -> Option<Mirror> {
    let commits = folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == COMMITS))?;
    let mirror = commits.parent()?.join(MIRROR);
    mirror.join("HEAD").is_file().then(|| Mirror::at(mirror))
}
