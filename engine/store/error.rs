//! What can go wrong with the run log.

use std::path::PathBuf;

use crate::model::run::{RunId, Status};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says so.
    #[error("the run log `{path}` cannot be used")]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// Another server, or a person, has moved what this one has decided from.
    #[error("somebody else has taken the lead or moved a schedule meanwhile")]
    Overtaken,
    /// The disk, or the limit set for the log, is full.
    #[error("the run log cannot grow: the disk or its `max_size` is full")]
    Full,
    /// An earlier append failed, so nothing more is recorded in this run.
    #[error("the run log cannot be written: {0}")]
    Poisoned(String),
    /// A folder or lock file cannot be made.
    #[error("cannot use `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A newer nlrun wrote it.
    #[error("`{path}` was written by a newer nlrun (schema {found}, this one knows {known})")]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest one that this program knows.
        known: i64,
    },
    /// No such run.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// Another process holds the run.
    #[error("run {run} is held by another process ({holder})")]
    Held {
        /// Which run.
        run: RunId,
        /// What the lock file says about its holder.
        holder: String,
    },
    /// The run is over.
    #[error("run {run} is {status}: there is nothing to resume")]
    Over {
        /// Which run.
        run: RunId,
        /// How it ended.
        status: Status,
    },
    /// The plan was applied before.
    #[error("this plan was already applied, by run {0}")]
    PlanUsed(RunId),
    /// A row does not read back.
    #[error("run {run}, event {seq}: the record is damaged")]
    Damaged {
        /// Which run.
        run: RunId,
        /// Which event.
        seq: i64,
        /// How.
        #[source]
        source: serde_json::Error,
    },
    /// Stored bytes do not decompress, or a text is missing.
    #[error("stored data `{0}` is damaged or missing")]
    Lost(String),
}

impl StoreError {
    /// Whether trying the same again later can succeed.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full)
    }
}
