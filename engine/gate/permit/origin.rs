//! The way to the repository that the project comes from.

use std::path::PathBuf;
use std::time::Duration;

use super::{Permit, invalid};
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::world::repository::{COMMITS, Edit, FOLDER, Fault, Login, MIRROR, Mirror, Settings, Written};

/// How often it is fetched anew while another process works on the same mirror.
const TRIES: u32 = 5;

/// The repository that the project comes from, as it was a moment ago.
pub struct Origin {
    mirror: Mirror,
    settings: Settings,
    login: Login,
    trusted: Option<PathBuf>,
    branch: String,
    run: i64,
}

impl Origin {
    /// Returns its mirror on this machine.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Returns what `nlrun.yaml` says of it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Fetches everything anew.
    fn fetch(&self) -> Result<(), Fault> {
        self.mirror.fetch(&self.settings.remote, &self.login, self.trusted.as_deref(), self.settings.timeout)
    }

    /// Makes a commit on the effect's own branch, in the name of the run, and pushes it.
    pub fn write(&self, mut edit: Edit) -> Result<Written, Fault> {
        if edit.branch != self.branch {
            return Err(Fault::Invalid(format!("the effect is not about the branch `{}`", edit.branch)));
        }
        edit.run = Some(self.run);
        let settings = &self.settings;
        self.mirror.write(&edit, &settings.remote, &self.login, self.trusted.as_deref(), settings.timeout)
    }
}

impl Permit<'_> {
    /// Fetches the repository that the project comes from: `server.project` of nlrun.yaml.
    ///
    /// A server's mirror is used where there is one; its own fetches may go on beside this.
    pub async fn origin(&self) -> Result<Origin, Failure> {
        let (settings, place, trusted) = self.gate.world.origin().ok_or_else(|| {
            let text = "nlrun.yaml does not say where the project comes from; write \
                        `server: {project: {url: git@…, key: NAME-OF-A-SECRET}}`";
            invalid(text.to_owned())
        })?;
        let secret = match settings.login.secret() {
            Some(name) => Some(self.gate.secret(name).await?),
            None => None,
        };
        let login = settings.login.with(secret.as_ref(), place).map_err(invalid)?;
        let (settings, folder) = (settings.clone(), self.gate.store.dir().join(FOLDER));
        let opened = self.on_disk(move || Mirror::open(&folder.join(MIRROR), &folder.join(COMMITS))).await?;
        let mirror = opened.map_err(|fault| git_failure(&fault))?;
        let Target::Named { name: branch } = self.target else {
            return Err(invalid("the effect is about no branch".to_owned()));
        };
        let (branch, run) = (branch.clone(), self.gate.recorder.run().0);
        let mut origin = Origin { mirror, settings, login, trusted, branch, run };
        let mut tries = 1;
        loop {
            let (back, fetched) = self
                .on_disk(move || {
                    let fetched = origin.fetch();
                    (origin, fetched)
                })
                .await?;
            origin = back;
            match fetched {
                Ok(()) => return Ok(origin),
                Err(Fault::Failed { words, .. }) if words.contains("cannot lock ref") && tries < TRIES => {
                    tries += 1;
                    self.sleep(Duration::from_millis(200)).await?;
                }
                Err(fault) => return Err(git_failure(&fault)),
            }
        }
    }
}

/// Turns a fault of Git into a failure of the effect.
pub fn git_failure(fault: &Fault) -> Failure {
    let kind = match fault {
        Fault::Unknown(_) => "unknown_commit",
        Fault::Conflict { .. } => "conflict",
        _ => "git",
    };
    Failure { kind: kind.to_owned(), ..invalid(fault.told()) }
}
