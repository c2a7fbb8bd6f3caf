//! The schedules as a server sees them: those that its scheduler has in force, or those of the project as long as it has none, because another
//! server is in the lead or its own has only just begun.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::service::dispatch::Folders;
use crate::service::scheduler::{InForce, fingerprint};
use crate::service::{Project, Schedules};

/// A folder and what tells whether its files are others than before.
type Seen = (PathBuf, Vec<(PathBuf, SystemTime, u64)>);

/// What a server sees.
pub(super) struct Sight {
    in_force: InForce,
    folders: Arc<dyn Folders>,
    /// What was read last without a scheduler.
    last: Mutex<Option<(Seen, Arc<Schedules>)>>,
}

impl Sight {
    /// Takes what the scheduler here has in force, and where the project is.
    pub(super) fn new(in_force: InForce, folders: Arc<dyn Folders>) -> Self {
        Self { in_force, folders, last: Mutex::default() }
    }

    /// Returns the schedules.
    pub(super) fn schedules(&self) -> Arc<Schedules> {
        let in_force = self.in_force.read().clone();
        if in_force.definitions.is_empty() { self.read().unwrap_or(in_force) } else { in_force }
    }

    /// Reads the schedules of the project, unless nothing has changed since they were read; none where they cannot be used.
    fn read(&self) -> Option<Arc<Schedules>> {
        let folder = self.folders.folder(None).ok()?.path;
        let seen = (folder.clone(), fingerprint(&folder));
        let mut last = self.last.lock();
        if let Some((_, schedules)) = last.as_ref().filter(|(before, _)| *before == seen) {
            return Some(schedules.clone());
        }
        let schedules = Arc::new(Project::find(&folder).ok()?.schedules().ok()?);
        *last = Some((seen, schedules.clone()));
        Some(schedules)
    }
}
