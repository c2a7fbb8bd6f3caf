//! Projects from Git: the server follows a branch of a repository, and each run uses the folder of one commit.
//!
//! A thread of its own fetches on a timer and when it is asked to. What it has found usable is in force: the newest commit of
//! the followed branch that has a project in it, and a signature where one is demanded. When nothing can be fetched, or what
//! was fetched cannot be used, the last good commit stays in force, and `stale_sync` says for how long.

mod edit;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::model::duration;
use crate::model::schedule::StaleSync;
use crate::service::dispatch::{Folder, Folders};
use crate::service::{Place, Project};
use crate::store::{Store, StoreError};
use crate::world::http::retry::pause;
use crate::world::repository::{
    COMMITS, Changed, FOLDER, Fault, Login, MIRROR, Mirror, Most, Refs, Settings, Verify, merge_request,
};
use crate::world::{clock, secrets};

/// How long a folder stays that was handed out, before anybody has noted that a run uses it.
const HANDED: Duration = Duration::from_secs(600);
/// How far the clock may be set back until a fetch seems to be yet to come.
const APART: SignedDuration = SignedDuration::from_mins(1);
/// The longest pause between two fetches that fail.
const LONGEST: Duration = Duration::from_secs(900);

/// How the repository was fetched last.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sync {
    /// The commit in force.
    pub commit: Option<String>,
    /// When a fetch last went well.
    pub at: Option<Timestamp>,
    /// Why the last one did not.
    pub trouble: Option<String>,
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

/// Fetches until it is dropped.
pub struct Following {
    repository: Repository,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.repository.0.asked.lock().is_ending = true;
        self.repository.0.bell.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
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
        let mut state = repository.0.state.write();
        state.sync.commit = refs.followed().map(str::to_owned);
        state.sync.at = repository.last_sync();
        state.refs = refs;
        drop(state);
        Ok(repository)
    }

    /// Fetches from now on, on a thread of its own; without a commit in force the first fetch is waited for.
    pub fn follow(&self) -> std::io::Result<Following> {
        if self.sync().commit.is_none() {
            self.fetch();
        }
        let repository = self.clone();
        let thread =
            std::thread::Builder::new().name("project".to_owned()).spawn(move || repository.work())?;
        Ok(Following { repository: self.clone(), thread: Some(thread) })
    }

    fn work(&self) {
        let mut failures = u32::from(self.sync().trouble.is_some());
        loop {
            let every = self.0.settings.every;
            let rest = if failures == 0 { every } else { pause(every, failures).min(LONGEST.max(every)) };
            {
                let mut asked = self.0.asked.lock();
                if !asked.is_wanted && !asked.is_ending {
                    let _ = self.0.bell.wait_for(&mut asked, rest);
                }
                if asked.is_ending {
                    return;
                }
                asked.is_wanted = false;
            }
            failures = if self.fetch() { 0 } else { (failures + 1).min(16) };
        }
    }

    /// Has the repository fetched soon.
    pub fn ask(&self) {
        self.0.asked.lock().is_wanted = true;
        self.0.bell.notify_all();
    }

    /// Waits for a fetch that begins after this call, at most this long; returns whether it was done.
    pub fn wait(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut asked = self.0.asked.lock();
        let next = asked.begun + 1;
        asked.is_wanted = true;
        self.0.bell.notify_all();
        while asked.ended < next && !asked.is_ending {
            if self.0.bell.wait_until(&mut asked, end).timed_out() {
                return asked.ended >= next;
            }
        }
        asked.ended >= next
    }

    /// Fetches once; returns whether that went well.
    fn fetch(&self) -> bool {
        self.0.asked.lock().begun += 1;
        let begun = Instant::now();
        let result = {
            let _work = self.0.work.lock();
            let result = self.login().and_then(|login| {
                let brought = self.bring_up(&login);
                // What is broken here is fetched anew once; trouble elsewhere does not become less by that.
                match brought {
                    Err(trouble) if self.is_broken(&trouble) => self.begin_anew(&login, &trouble),
                    other => other,
                }
            });
            // Also when nothing was fetched: runs have ended meanwhile.
            if let Err(error) = self.tidy() {
                tracing::warn!(%error, "folders of commits cannot be removed");
            }
            result
        };
        let mut state = self.0.state.write();
        match &result {
            Ok(()) => {
                state.is_searched = false;
                if state.sync.trouble.take().is_some() {
                    tracing::info!("the project is fetched again");
                }
            }
            Err(trouble) => {
                if state.sync.trouble.as_ref() != Some(trouble) {
                    tracing::error!(%trouble, ms = begun.elapsed().as_millis() as u64, "the project cannot be fetched");
                }
                state.sync.trouble = Some(trouble.clone());
            }
        }
        drop(state);
        let mut asked = self.0.asked.lock();
        asked.ended = asked.begun;
        drop(asked);
        self.0.bell.notify_all();
        result.is_ok()
    }

    /// Whether trouble comes from a mirror that is broken; looked for once until all is well again.
    fn is_broken(&self, trouble: &str) -> bool {
        // What Git did not say, names and contents of files can say.
        trouble.starts_with("`git ")
            && !std::mem::replace(&mut self.0.state.write().is_searched, true)
            && !self.0.mirror.is_whole(trouble)
    }

    fn begin_anew(&self, login: &Login, trouble: &str) -> Result<(), String> {
        tracing::error!(%trouble, "the mirror of the project is broken: it is put aside, and all is fetched anew");
        self.0.mirror.renew().map_err(|fault| fault.told())?;
        self.bring_up(login)
    }

    /// Fetches, and puts the newest commit in force that can be used.
    fn bring_up(&self, login: &Login) -> Result<(), String> {
        let Inner { settings, mirror, .. } = &*self.0;
        let known_hosts = self.known_hosts();
        let fetched = mirror.fetch(&settings.remote, login, Some(&known_hosts), settings.timeout);
        fetched.map_err(|fault| fault.told())?;
        let refs = mirror.refs().map_err(|fault| fault.told())?;
        let tip = refs.find(&format!("refs/heads/{}", settings.branch)).map(str::to_owned);
        {
            let mut state = self.0.state.write();
            state.refs = refs;
            state.followed.clear();
            // Who may sign is read again.
            state.verified.clear();
        }
        let tip = tip.ok_or_else(|| {
            format!(
                "there is no branch `{}` in `{}`; name another one in `server.project.branch`, or push it again",
                settings.branch, settings.remote
            )
        })?;
        self.verify(&tip)?;
        let (_, warnings) = self.export(&tip, None).map_err(|fault| fault.told())?;
        mirror.follow(&tip).map_err(|fault| fault.told())?;
        let at = clock::now();
        let mark = self.0.folder.join("synced");
        let written = crate::world::files::replace(&mark, format!("{at}\n").as_bytes(), 0o600);
        written.map_err(|error| format!("cannot write `{}`: {error}", mark.display()))?;
        let mut state = self.0.state.write();
        if state.sync.commit.as_deref() != Some(&*tip) {
            for warning in &warnings {
                tracing::warn!(commit = %tip, "{warning}");
            }
            tracing::info!(commit = %tip, branch = %settings.branch, "a new commit is in force");
            state.sync.warnings = warnings;
        }
        state.sync.commit = Some(tip);
        state.sync.at = Some(at);
        Ok(())
    }

    fn verify(&self, commit: &str) -> Result<(), String> {
        match self.0.settings.verify {
            Verify::None => Ok(()),
            Verify::Signed => {
                if let Some(known) = self.0.state.read().verified.get(commit) {
                    return known.clone().map_or(Ok(()), Err);
                }
                let allowed =
                    self.0.settings.allowed_signers.as_deref().map(|path| self.own_place().path(path));
                let home = &self.0.place.person.home;
                let checked = self.0.mirror.verify(commit, allowed.as_deref(), home);
                let wrong = checked.err().map(|fault| fault.told());
                self.0.state.write().verified.insert(commit.to_owned(), wrong.clone());
                wrong.map_or(Ok(()), Err)
            }
        }
    }

    /// Makes the folder of a commit, unless it is there; returns it with what was left out.
    fn export(&self, commit: &str, instead: Option<(&str, &[u8])>) -> Result<(PathBuf, Vec<String>), Fault> {
        let name = match instead {
            None => commit.to_owned(),
            Some((blob, _)) => format!("{commit}+{blob}"),
        };
        let folder = self.0.folder.join(COMMITS).join(name);
        self.0.state.write().handed.insert(folder.clone(), Instant::now());
        if folder.exists() {
            return Ok((folder, Vec::new()));
        }
        self.0.mirror.keep(commit)?;
        let exported = self.0.mirror.export(commit, &folder, instead.map(|(_, text)| text), self.0.most)?;
        Ok((folder, exported.warnings))
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

    /// Makes sure that a branch, a tag, a commit or a merge request (`!12`) is here, fetching it where needed; returns its commit.
    pub fn bring(&self, revision: &str) -> Result<String, String> {
        if let Some(number) = merge_request(revision) {
            let _work = self.0.work.lock();
            let Inner { settings, mirror, .. } = &*self.0;
            let login = self.login()?;
            let known_hosts = self.known_hosts();
            let fetched = mirror.fetch_merge_request(
                &settings.remote,
                &login,
                Some(&known_hosts),
                settings.timeout,
                number,
            );
            fetched.map_err(|fault| fault.told())?;
            let refs = mirror.refs().map_err(|fault| fault.told())?;
            let found = refs.find(revision).map(str::to_owned);
            self.0.state.write().refs = refs;
            return found.ok_or_else(|| Fault::Unknown(revision.to_owned()).told());
        }
        if let Ok(commit) = self.find(revision) {
            return Ok(commit);
        }
        self.wait(self.0.settings.timeout);
        self.find(revision)
    }

    /// Finds a commit among what is here.
    fn find(&self, revision: &str) -> Result<String, String> {
        {
            let state = self.0.state.read();
            // What waits in a queue is looked for every second, and its number is known.
            if state.followed.contains_key(revision) {
                return Ok(revision.to_owned());
            }
            if let Some(commit) = state.refs.find(revision) {
                return Ok(commit.to_owned());
            }
        }
        self.0.mirror.commit(revision).map_err(|fault| fault.told())
    }

    /// Whether the followed branch has a commit.
    pub fn is_followed(&self, commit: &str) -> Result<bool, String> {
        let Some(tip) = self.sync().commit else { return Ok(false) };
        if tip == commit {
            return Ok(true);
        }
        if let Some(known) = self.0.state.read().followed.get(commit) {
            return Ok(*known);
        }
        let is_followed = self.0.mirror.is_ancestor(commit, &tip).map_err(|fault| fault.told())?;
        self.0.state.write().followed.insert(commit.to_owned(), is_followed);
        Ok(is_followed)
    }

    /// Compares two commits by content.
    pub fn changed(&self, from: Option<&str>, to: &str) -> Result<Changed, Fault> {
        self.0.mirror.changed(from, to, false)
    }

    /// Whether every commit after one, up to another, is one that a run made, and as it made it.
    pub fn is_own(&self, from: &str, to: &str) -> Result<bool, Fault> {
        self.0.mirror.is_own(from, to)
    }

    /// Returns the newest commit that a commit and the followed branch have in common.
    pub fn fork(&self, commit: &str) -> Result<Option<String>, Fault> {
        match self.sync().commit {
            Some(tip) => self.0.mirror.merge_base(&tip, commit),
            None => Ok(None),
        }
    }

    /// Returns the text of a file of a commit, as an editor shows it.
    pub fn read(&self, commit: &str, path: &str) -> Result<Option<Vec<u8>>, Fault> {
        let commit = self.0.mirror.commit(commit)?;
        self.0.mirror.read(&commit, path)
    }

    /// Returns `nlrun.yaml` of the commit in force.
    fn config(&self, tip: &str) -> Result<Config, Fault> {
        if let Some(config) = self.0.state.read().config.as_ref().filter(|config| config.commit == tip) {
            return Ok(config.clone());
        }
        let mirror = &self.0.mirror;
        let (Some(blob), Some(text)) =
            (mirror.blob(tip, crate::service::FILE)?, mirror.read(tip, crate::service::FILE)?)
        else {
            return Err(Fault::NoProject(tip.to_owned()));
        };
        let config = Config { commit: tip.to_owned(), blob, text: text.into() };
        self.0.state.write().config = Some(config.clone());
        Ok(config)
    }

    fn last_sync(&self) -> Option<Timestamp> {
        std::fs::read_to_string(self.0.folder.join("synced")).ok()?.trim().parse().ok()
    }

    /// Returns a path as `nlrun.yaml` of the server's own folder names it.
    fn own_place(&self) -> secrets::Place {
        secrets::Place::new(self.0.project.root(), self.0.place.variables.iter().cloned())
    }

    fn known_hosts(&self) -> PathBuf {
        self.0.settings.known_hosts(&self.own_place(), &self.0.place.person.home)
    }

    /// Returns who asks, with the secret as it is now.
    fn login(&self) -> Result<Login, String> {
        let login = &self.0.settings.login;
        let secret = login.secret().map(|name| self.0.project.secret_now(&self.0.place, name)).transpose()?;
        login.with(secret.as_ref(), &self.own_place())
    }

    /// Removes folders that no run and no branch uses, and lets go of commits that no run remembers.
    fn tidy(&self) -> Result<(), StoreError> {
        let reader = self.0.store.reader()?;
        let folders: BTreeSet<PathBuf> = reader.folders_in_use()?.into_iter().map(PathBuf::from).collect();
        let commits: BTreeSet<String> = reader.commits_known()?.into_iter().collect();
        let (tips, kept): (BTreeSet<String>, Vec<String>) = {
            let state = self.0.state.read();
            let tips = state.refs.tips().chain(state.sync.commit.as_deref()).map(str::to_owned).collect();
            (tips, state.refs.used().map(str::to_owned).collect())
        };
        let mut there = BTreeSet::new();
        for entry in std::fs::read_dir(self.0.folder.join(COMMITS)).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let commit = name.split('+').next().unwrap_or_default().to_owned();
            let is_handed = |state: &State| state.handed.get(&path).is_some_and(|at| at.elapsed() < HANDED);
            if name.starts_with('.') {
                continue;
            }
            if folders.contains(&path) || tips.contains(&commit) {
                there.insert(commit);
                continue;
            }
            // Under the lock by which folders are handed out.
            let mut state = self.0.state.write();
            if is_handed(&state) {
                there.insert(commit);
                continue;
            }
            state.handed.remove(&path);
            Mirror::remove(&path);
        }
        for commit in kept.iter().filter(|commit| !there.contains(*commit) && !commits.contains(*commit)) {
            if let Err(fault) = self.0.mirror.forget(commit) {
                tracing::warn!(%fault, %commit, "a commit that nobody uses is kept");
            }
        }
        Ok(())
    }
}

impl Folders for Repository {
    fn folder(&self, revision: Option<&str>) -> Result<Folder, String> {
        let sync = self.sync();
        let Some(tip) = sync.commit else {
            let why = sync.trouble.unwrap_or_else(|| "it is being fetched for the first time".to_owned());
            return Err(format!("there is no project yet: {why}"));
        };
        let commit = match revision {
            None => tip.clone(),
            Some(revision) => self.find(revision)?,
        };
        let is_followed = self.is_followed(&commit)?;
        if is_followed {
            if commit != tip {
                self.verify(&commit)?;
            }
            let (path, _) = self.export(&commit, None).map_err(|fault| fault.told())?;
            return Ok(Folder { path, commit: Some(commit), is_followed, unsigned: None });
        }
        let unsigned = self.verify(&commit).err();
        // What a branch says of secrets, clusters and SSH would run programs here before anybody has reviewed it.
        let config = self.config(&tip).map_err(|fault| fault.told())?;
        let (path, _) =
            self.export(&commit, Some((&config.blob, &config.text))).map_err(|fault| fault.told())?;
        Ok(Folder { path, commit: Some(commit), is_followed, unsigned })
    }

    fn repository(&self) -> Option<&Repository> {
        Some(self)
    }
}
