//! Where a session writes what happens: the run log, or nothing but the screen when a run is replayed.

use tokio::sync::mpsc;

use crate::gate::Stop;
use crate::model::address::Address;
use crate::model::event::Event;
use crate::model::run::{RunId, Seq};
use crate::store::{Record, RunLog, StoreError};
use crate::world::clock;

/// Writes events down.
pub enum Recorder {
    /// Into the run log.
    Log(RunLog),
    /// Only to whoever watches: nothing new happens in a replay.
    Replay {
        /// The run that is replayed.
        run: RunId,
        /// Who watches.
        observer: Option<mpsc::UnboundedSender<Record>>,
    },
}

impl Recorder {
    /// Returns the run.
    pub fn run(&self) -> RunId {
        match self {
            Self::Log(log) => log.run(),
            Self::Replay { run, .. } => *run,
        }
    }

    /// Writes an event; it is in order, but not necessarily on disk when this returns.
    pub async fn append(&self, event: Event) -> Result<(), Stop> {
        match self {
            Self::Log(log) => log.append(event).await.map_err(unrecorded),
            Self::Replay { .. } => {
                self.show(event);
                Ok(())
            }
        }
    }

    /// Writes an event from a thread that is not asynchronous.
    pub fn append_blocking(&self, event: Event) -> Result<(), Stop> {
        match self {
            Self::Log(log) => log.append_blocking(event).map_err(unrecorded),
            Self::Replay { .. } => {
                self.show(event);
                Ok(())
            }
        }
    }

    /// Writes an event and waits until it is on disk.
    pub async fn append_durable(&self, event: Event) -> Result<(), Stop> {
        match self {
            Self::Log(log) => log.append_durable(event).await.map(|_| ()).map_err(unrecorded),
            Self::Replay { .. } => {
                self.show(event);
                Ok(())
            }
        }
    }

    /// Writes output of an effect.
    pub(super) async fn output(&self, address: &Address, stream: &str, bytes: &[u8]) -> Result<(), Stop> {
        match self {
            Self::Log(log) => log.output(address, stream, bytes).await.map_err(unrecorded),
            Self::Replay { .. } => Ok(()),
        }
    }

    /// Keeps a file of the run.
    pub(super) async fn artifact(&self, name: &str, media: &str, bytes: &[u8]) -> Result<(), Stop> {
        match self {
            Self::Log(log) => log.artifact(name, media, bytes).await.map(|_| ()).map_err(unrecorded),
            Self::Replay { .. } => Ok(()),
        }
    }

    /// Fails when something could not be written: nothing more may happen then.
    fn check(&self) -> Result<(), Stop> {
        match self {
            Self::Log(log) => log.check().map_err(unrecorded),
            Self::Replay { .. } => Ok(()),
        }
    }

    /// Whether something could not be written.
    pub fn is_broken(&self) -> bool {
        self.check().is_err()
    }

    /// Writes the last event of a run, even if earlier ones could not be written.
    pub async fn append_last(&self, event: Event) -> Result<(), StoreError> {
        match self {
            Self::Log(log) => log.append_last(event).await.map(|_| ()),
            Self::Replay { .. } => {
                self.show(event);
                Ok(())
            }
        }
    }

    fn show(&self, event: Event) {
        if let Self::Replay { run, observer: Some(observer) } = self {
            let body = serde_json::to_string(&event).unwrap_or_default();
            let at = clock::now().as_microsecond();
            let _ = observer.send(Record { run: *run, seq: Seq(0), at, event, body, passing: None });
        }
    }
}

fn unrecorded(error: StoreError) -> Stop {
    use std::error::Error as _;
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    match error {
        StoreError::Poisoned(reason) => Stop::Unrecorded(reason),
        other => Stop::Unrecorded(format!("{other}{cause}")),
    }
}
