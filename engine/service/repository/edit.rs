//! Edits of the project's files: each becomes a commit on a branch of the remote repository.

use super::Repository;
use crate::world::repository::{Author, Edit, Fault, Written};

/// How often an edit is made anew because somebody else has pushed meanwhile.
const TRIES: usize = 4;

/// What somebody wants a file to be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The file's path in the project.
    pub path: String,
    /// What it holds then; nothing to delete it.
    pub text: Option<String>,
    /// The commit that the author has seen.
    pub base: String,
    /// The branch; one that is not there yet begins at `base`.
    pub branch: String,
    /// What is changed, in words.
    pub message: String,
    /// Who edits.
    pub author: Author,
}

/// Why an edit was not made.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file is another one by now.
    #[error("{0}; read it again and edit anew")]
    Conflict(String),
    /// It cannot be made.
    #[error("{0}")]
    Refused(String),
}

impl From<Fault> for EditError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Conflict { .. } => Self::Conflict(fault.to_string()),
            other => Self::Refused(other.told()),
        }
    }
}

impl Repository {
    /// Makes a commit on a branch and pushes it.
    ///
    /// It is a conflict when the file is another one on that branch than in the commit that the author has seen. What others
    /// have pushed to other files stays, and the commit is made on top of it.
    pub fn save(&self, wish: &Wish) -> Result<Written, EditError> {
        let _work = self.0.work.lock();
        let login = self.login().map_err(EditError::Refused)?;
        let (settings, known_hosts) = (&self.0.settings, self.known_hosts());
        let edit = Edit {
            path: wish.path.clone(),
            text: wish.text.clone(),
            base: wish.base.clone(),
            branch: wish.branch.clone(),
            message: wish.message.clone(),
            author: wish.author.clone(),
            committer: settings.committer.clone(),
            run: None,
        };
        let mut tries = 1;
        let written = loop {
            self.0.mirror.fetch(&settings.remote, &login, Some(&known_hosts), settings.timeout)?;
            let written =
                self.0.mirror.write(&edit, &settings.remote, &login, Some(&known_hosts), settings.timeout);
            match written {
                // That the file itself has changed is seen before anything is pushed; the next try says so.
                Err(Fault::Conflict { .. }) if tries < TRIES => tries += 1,
                other => break other?,
            }
        };
        let refs = self.0.mirror.refs()?;
        self.0.state.write().refs = refs;
        // The followed branch may have moved.
        self.ask();
        Ok(written)
    }
}
