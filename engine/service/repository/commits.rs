//! Commits: found, verified, compared, and made into the folders that runs use.

use std::path::PathBuf;
use std::time::Instant;

use super::{Config, Inner, Repository};
use crate::service::dispatch::{Folder, Folders};
use crate::world::repository::{COMMITS, Changed, Fault, Verify, merge_request};

impl Repository {
    /// Demands a signature of a commit, where the settings demand one.
    pub(super) fn verify(&self, commit: &str) -> Result<(), String> {
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
    pub(super) fn export(
        &self,
        commit: &str,
        instead: Option<(&str, &[u8])>,
    ) -> Result<(PathBuf, Vec<String>), Fault> {
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

    /// Makes sure that a branch, a tag, a commit or a merge request (`!12`) is here, fetching it where needed; returns its commit.
    pub fn bring(&self, revision: &str) -> Result<String, String> {
        if let Some(number) = merge_request(revision) {
            let _work = self.0.work.lock();
            let Inner { settings, mirror, .. } = &*self.0;
            let login = self.login()?;
            let fetched = mirror.fetch_merge_request(
                &settings.remote,
                &login,
                self.trusted().as_deref(),
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
