//! Events that GitLab has reported, and the merge requests that are told about runs.

use rusqlite::{OptionalExtension as _, Row, params};

use crate::model::run::{Mode, RunId, Status};
use crate::store::{Reader, Store, StoreError, sqlite};
use crate::world::clock;

/// How long an event is remembered: as long as somebody might report it again, and people ask what came of it.
const REMEMBERED: i64 = 14 * 86_400 * 1_000_000;

/// An event that waits to be worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What its sender calls it.
    pub id: String,
    /// The payload as JSON.
    pub body: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// What has become of an event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reported {
    /// What its sender calls it.
    pub id: String,
    /// When it came: microseconds since 1970, UTC.
    pub at: i64,
    /// `waiting`, `done`, `ignored` or `failed`.
    pub state: String,
    /// What came of it, for people.
    pub result: String,
    /// How often it was worked on.
    pub attempts: u32,
    /// When it is worked on (again), as long as it waits.
    pub next_at: Option<i64>,
}

/// A run that a merge request is told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The run.
    pub run: RunId,
    /// The project's path.
    pub project: String,
    /// The number of the merge request.
    pub merge_request: u64,
    /// The head that it was asked for.
    pub commit: String,
    /// The runbook's path.
    pub runbook: String,
    /// Plan or apply.
    pub mode: Mode,
    /// How far it has come.
    pub status: Status,
    /// Whether the merge request has not been told so.
    pub is_news: bool,
}

const REVIEW: &str = "SELECT v.run, v.project, v.merge_request, v.commit_id, v.runbook, v.mode, r.status, v.told IS NOT r.status
                      FROM reviews v JOIN runs r ON r.id = v.run";

impl Store {
    /// Takes an event in; `false` if it was reported before.
    pub fn receive(&self, id: &str, body: &str) -> Result<bool, StoreError> {
        let now = clock::now().as_microsecond();
        self.side(|connection| {
            connection
                .execute("DELETE FROM hooks WHERE at < ?1 AND state <> 'waiting'", [now - REMEMBERED])
                .and_then(|_| {
                    connection.execute(
                        "INSERT OR IGNORE INTO hooks (id, body, at, state, next_at) VALUES (?1, ?2, ?3, 'waiting', ?3)",
                        params![id, body, now],
                    )
                })
                .map(|rows| rows > 0)
                .map_err(sqlite(self.file()))
        })
    }

    /// Notes what has become of an event; its payload is kept no longer.
    pub fn settle(&self, id: &str, state: &str, result: &str) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "UPDATE hooks SET state = ?2, result = ?3, body = '', attempts = attempts + 1 WHERE id = ?1",
                    params![id, state, result],
                )
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }

    /// Has an event tried again in this many seconds.
    pub fn again(&self, id: &str, seconds: i64, why: &str) -> Result<(), StoreError> {
        let at = clock::now().as_microsecond().saturating_add(seconds * 1_000_000);
        self.side(|connection| {
            connection
                .execute(
                    "UPDATE hooks SET next_at = ?2, result = ?3, attempts = attempts + 1 WHERE id = ?1",
                    params![id, at, why],
                )
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }

    /// Has a merge request told about a run.
    pub fn review(
        &self,
        run: RunId,
        project: &str,
        merge_request: u64,
        commit: &str,
        runbook: &str,
        mode: Mode,
    ) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "INSERT OR IGNORE INTO reviews (run, project, merge_request, commit_id, runbook, mode)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![run.0, project, merge_request as i64, commit, runbook, mode.as_str()],
                )
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }

    /// Notes that a merge request knows of a run's status.
    pub fn told(&self, run: RunId, status: Status) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute("UPDATE reviews SET told = ?2 WHERE run = ?1", params![run.0, status.as_str()])
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }

    /// Keeps what is answered in a merge request; it takes the place of the answer before.
    pub fn answer_note(&self, project: &str, merge_request: u64, text: &str) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "INSERT INTO answers (project, merge_request, text, is_told) VALUES (?1, ?2, ?3, 0)
                     ON CONFLICT (project, merge_request) DO UPDATE SET text = ?3, is_told = (text = ?3 AND is_told)",
                    params![project, merge_request as i64, text],
                )
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }

    /// Notes that the answer of a merge request stands there.
    pub fn answer_told(&self, project: &str, merge_request: u64, text: &str) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "UPDATE answers SET is_told = 1 WHERE project = ?1 AND merge_request = ?2 AND text = ?3",
                    params![project, merge_request as i64, text],
                )
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }
}

impl Reader {
    /// Lists events whose time has come, the oldest first.
    pub fn hooks_waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, body, attempts FROM hooks WHERE state = 'waiting' AND next_at <= ?1 ORDER BY at LIMIT 50",
            )
            .map_err(&fail)?;
        let now = clock::now().as_microsecond();
        let row = |row: &Row<'_>| Ok(Waiting { id: row.get(0)?, body: row.get(1)?, attempts: row.get(2)? });
        let rows = statement.query_map([now], row).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }

    /// Lists the newest events with what has become of them.
    pub fn hooks(&self, limit: usize) -> Result<Vec<Reported>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, at, state, result, attempts, iif(state = 'waiting', next_at, NULL) FROM hooks ORDER BY at DESC LIMIT ?1",
            )
            .map_err(&fail)?;
        let row = |row: &Row<'_>| {
            Ok(Reported {
                id: row.get(0)?,
                at: row.get(1)?,
                state: row.get(2)?,
                result: row.get(3)?,
                attempts: row.get(4)?,
                next_at: row.get(5)?,
            })
        };
        let rows = statement.query_map([limit as i64], row).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }

    /// Lists the runs of which merge requests do not know the newest status.
    pub fn reviews_to_tell(&self) -> Result<Vec<Review>, StoreError> {
        self.reviews(&format!("{REVIEW} WHERE v.told IS NOT r.status ORDER BY v.run LIMIT 200"), [])
    }

    /// Lists the runs of a merge request, the oldest first.
    pub fn reviews_of(&self, project: &str, merge_request: u64) -> Result<Vec<Review>, StoreError> {
        let query = format!("{REVIEW} WHERE v.project = ?1 AND v.merge_request = ?2 ORDER BY v.run");
        self.reviews(&query, params![project, merge_request as i64])
    }

    /// Lists the newest runs that merge requests are told about.
    pub fn reviews_newest(&self, limit: usize) -> Result<Vec<Review>, StoreError> {
        self.reviews(&format!("{REVIEW} ORDER BY v.run DESC LIMIT ?1"), [limit as i64])
    }

    fn reviews(&self, query: &str, parameters: impl rusqlite::Params) -> Result<Vec<Review>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self.connection.prepare_cached(query).map_err(&fail)?;
        let rows = statement.query_map(parameters, review).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }

    /// Returns what was answered last in a merge request, and whether it stands there.
    pub fn answered(&self, project: &str, merge_request: u64) -> Result<Option<(String, bool)>, StoreError> {
        self.connection
            .prepare_cached("SELECT text, is_told FROM answers WHERE project = ?1 AND merge_request = ?2")
            .and_then(|mut statement| {
                let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
                statement.query_row(params![project, merge_request as i64], row).optional()
            })
            .map_err(sqlite(&self.file))
    }

    /// Lists the merge requests that were answered and not told.
    pub fn answers_to_tell(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached("SELECT project, merge_request FROM answers WHERE NOT is_told LIMIT 50")
            .map_err(&fail)?;
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64));
        let rows = statement.query_map([], row).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }
}

fn review(row: &Row<'_>) -> rusqlite::Result<Review> {
    let (mode, status): (String, String) = (row.get(5)?, row.get(6)?);
    Ok(Review {
        run: RunId(row.get(0)?),
        project: row.get(1)?,
        merge_request: row.get::<_, i64>(2)? as u64,
        commit: row.get(3)?,
        runbook: row.get(4)?,
        mode: if mode == Mode::Plan.as_str() { Mode::Plan } else { Mode::Apply },
        status: Status::parse(&status).unwrap_or(Status::Failed),
        is_news: row.get(7)?,
    })
}
