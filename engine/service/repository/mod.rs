//! Projects from Git: the server follows a branch of a repository, and each run uses the folder of one commit.
//!
//! A thread of its own fetches on a timer and when it is asked to. What it has found usable is in force: the newest commit of
//! the followed branch that has a project in it, and a signature where one is demanded. When nothing can be fetched, or what
//! was fetched cannot be used, the last good commit stays in force, and `stale_sync` says for how long.

mod commits;
mod edit;
mod follow;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Condvar, Mutex, RwLock};

pub use follow::Following;

use crate::model::duration;
use crate::model::schedule::StaleSync;
use crate::service::{Place, Project};
use crate::store::Store;
use crate::world::repository::{About, COMMITS, FOLDER, Fault, Login, MIRROR, Mirror, Most, Refs, Settings};
use crate::world::secrets;

/// How far the clock may be set back until a fetch seems to be yet to come.
const APART: SignedDuration = SignedDuration::from_mins(1);

/// How the repository was fetched last.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sync {
    /// The commit in force.
    pub commit: Option<String>,
    /// What it says of itself.
    pub about: Option<About>,
    /// When a fetch last went well.
    pub at: Option<Timestamp>,
    /// Why the last one did not.
    pub trouble: Option<String>,
    /// How many in a row did not.
    pub failures: u32,
    /// What of the commit in force was left out.
    pub warnings: Vec<String>,
}

/// A repository that the server follows. Cheap to clone.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    settings: Settings,
    project: Project,
    place: Place,
    store: Store,
    mirror: Mirror,
    folder: PathBuf,
    most: Most,
    state: RwLock<State>,
    /// Held while something is fetched, written or removed.
    work: Mutex<()>,
    asked: Mutex<Asked>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    refs: Refs,
    sync: Sync,
    /// The folders that are there, and which of them were handed out, and when.
    handed: HashMap<PathBuf, Instant>,
    /// Commits by whether the followed branch, as it is now, has them.
    followed: HashMap<String, bool>,
    /// Commits whose signature was looked at, with what is wrong with it.
    verified: HashMap<String, Option<String>>,
    /// Whether the mirror was looked through since something went wrong.
    is_searched: bool,
    /// `nlrun.yaml` of the commit in force, with the number of its content.
    config: Option<Config>,
}

#[derive(Clone)]
struct Config {
    commit: String,
    blob: String,
    text: Arc<[u8]>,
}

#[derive(Default)]
struct Asked {
    is_wanted: bool,
    is_ending: bool,
    /// Fetches that were begun and ended.
    begun: u64,
    ended: u64,
}

impl Repository {
    /// Opens the mirror in the state folder; what it knows from before is in force at once.
    pub fn open(project: &Project, place: &Place, store: &Store, settings: &Settings) -> Result<Self, Fault> {
        let folder = store.dir().join(FOLDER);
        let mirror = Mirror::open(&folder.join(MIRROR), &folder.join(COMMITS))?;
        let repository = Self(Arc::new(Inner {
            settings: settings.clone(),
            project: project.clone(),
            place: place.clone(),
            store: store.clone(),
            mirror,
            most: Most::default(),
            state: RwLock::default(),
            work: Mutex::default(),
            asked: Mutex::default(),
            bell: Condvar::new(),
            folder,
        }));
        let mirror = &repository.0.mirror;
        let refs = match mirror.refs() {
            Err(fault) if !mirror.is_whole(&fault.to_string()) => {
                tracing::error!(%fault, "the mirror of the project is broken: it is put aside, and all is fetched anew");
                mirror.renew()?;
                mirror.refs()?
            }
            other => other?,
        };
        let about = refs.followed().map(|commit| mirror.about(commit)).transpose()?;
        let mut state = repository.0.state.write();
        state.sync.about = about;
        state.sync.commit = refs.followed().map(str::to_owned);
        state.sync.at = repository.last_sync();
        state.refs = refs;
        drop(state);
        Ok(repository)
    }

    /// Returns how the repository was fetched last.
    pub fn sync(&self) -> Sync {
        self.0.state.read().sync.clone()
    }

    /// Returns what is configured.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Returns the names of all branches.
    pub fn branches(&self) -> Vec<String> {
        self.0.state.read().refs.branches().map(str::to_owned).collect()
    }

    /// Returns why a run may not begin now, where the last fetch is too long ago; a schedule may have limits of its own.
    pub fn stale(&self, limits: Option<(Option<Duration>, StaleSync)>, now: Timestamp) -> Option<String> {
        let own = (self.0.settings.max_sync_age, self.0.settings.stale_sync);
        let (age, policy) = match limits {
            Some((Some(age), policy)) => (Some(age), policy),
            _ => own,
        };
        let (Some(age), StaleSync::Fail) = (age, policy) else { return None };
        let sync = self.sync();
        let since = sync.at.map(|at| now.duration_since(at));
        // A time that is yet to come says that the clock was set, and nothing of the fetch.
        let most = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        if since.is_some_and(|since| (-APART..=most).contains(&since)) {
            return None;
        }
        let when = since.map_or_else(
            || "never".to_owned(),
            |since| format!("{} ago", duration::text(Duration::from_secs(since.as_secs().max(0) as u64))),
        );
        let why = sync.trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
        Some(format!(
            "the project was fetched {when}, and may be {} old at most (`max_sync_age`){why}",
            duration::text(age)
        ))
    }

    fn last_sync(&self) -> Option<Timestamp> {
        std::fs::read_to_string(self.0.folder.join("synced")).ok()?.trim().parse().ok()
    }

    /// Returns a path as `nlrun.yaml` of the server's own folder names it.
    fn own_place(&self) -> secrets::Place {
        secrets::Place::new(self.0.project.root(), self.0.place.variables.iter().cloned())
    }

    /// Returns the file that says which servers are the right ones.
    fn trusted(&self) -> Option<PathBuf> {
        self.0.settings.trusted(&self.own_place(), &self.0.place.person.home)
    }

    /// Returns who asks, with the secret as it is now.
    fn login(&self) -> Result<Login, String> {
        let login = &self.0.settings.login;
        let secret = login.secret().map(|name| self.0.project.secret_now(&self.0.place, name)).transpose()?;
        login.with(secret.as_ref(), &self.own_place())
    }
}
