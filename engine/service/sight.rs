//! The schedules as a server sees them that does not decide them: another one is in the lead, or its own scheduler has not begun yet.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::service::dispatch::Folders;
use crate::service::scheduler::fingerprint;
use crate::service::{Project, Schedules};

/// A folder and what tells whether its files are others than before.
type Seen = (PathBuf, Vec<(PathBuf, SystemTime, u64)>);

/// What was read last.
#[derive(Default)]
pub(super) struct Sight(Mutex<Option<(Seen, Arc<Schedules>)>>);

impl Sight {
    /// Reads the schedules of the project, unless nothing has changed since they were read; none where they cannot be used.
    pub(super) fn read(&self, folders: &dyn Folders) -> Option<Arc<Schedules>> {
        let folder = folders.folder(None).ok()?.path;
        let seen = (folder.clone(), fingerprint(&folder));
        let mut known = self.0.lock();
        if let Some((_, schedules)) = known.as_ref().filter(|(before, _)| *before == seen) {
            return Some(schedules.clone());
        }
        let schedules = Arc::new(Project::find(&folder).ok()?.schedules().ok()?);
        *known = Some((seen, schedules.clone()));
        Some(schedules)
    }
}
