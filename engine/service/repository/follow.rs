//! The thread that fetches: on a timer and when it is asked to, and what it puts in force.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Inner, Repository, State};
use crate::store::StoreError;
use crate::world::clock;
use crate::world::http::retry::pause;
use crate::world::repository::{COMMITS, Login, Mirror};

/// How long a folder stays that was handed out, before anybody has noted that a run uses it.
const HANDED: Duration = Duration::from_secs(600);
/// The longest pause between two fetches that fail.
const LONGEST: Duration = Duration::from_secs(900);

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
        loop {
            let (every, failures) = (self.0.settings.every, self.sync().failures.min(16));
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
            self.fetch();
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

    /// Fetches once.
    fn fetch(&self) {
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
                state.sync.failures = 0;
                if state.sync.trouble.take().is_some() {
                    tracing::info!("the project is fetched again");
                }
            }
            Err(trouble) => {
                if state.sync.trouble.as_ref() != Some(trouble) {
                    tracing::error!(%trouble, ms = begun.elapsed().as_millis() as u64, "the project cannot be fetched");
                }
                state.sync.trouble = Some(trouble.clone());
                state.sync.failures += 1;
            }
        }
        drop(state);
        let mut asked = self.0.asked.lock();
        asked.ended = asked.begun;
        drop(asked);
        self.0.bell.notify_all();
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
        let fetched = mirror.fetch(&settings.remote, login, self.trusted().as_deref(), settings.timeout);
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
        let about = mirror.about(&tip).map_err(|fault| fault.told())?;
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
        state.sync.about = Some(about);
        state.sync.at = Some(at);
        Ok(())
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
