//! Questions of runs to people who are elsewhere, and their answers.

use rusqlite::{OptionalExtension as _, params};

use crate::model::run::RunId;
use crate::store::{Reader, Store, StoreError, sqlite};
use crate::world::clock;

/// A question that a run waits for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Question {
    /// Its number.
    pub id: i64,
    /// The run.
    pub run: RunId,
    /// What is asked.
    pub text: String,
    /// When: microseconds since 1970, UTC.
    pub asked_at: i64,
}

impl Store {
    /// Asks a question in the name of a run; returns its number.
    pub fn question(&self, run: RunId, text: &str) -> Result<i64, StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "INSERT INTO questions (run, text, asked_at) VALUES (?1, ?2, ?3)",
                    params![run.0, text, clock::now().as_microsecond()],
                )
                .map_err(sqlite(self.file()))?;
            Ok(connection.last_insert_rowid())
        })
    }

    /// Answers a question; `false` if it is not open any more.
    pub fn reply(&self, question: i64, yes: bool, who: &str) -> Result<bool, StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "UPDATE questions SET answer = ?2, answered_by = ?3, answered_at = ?4
                     WHERE id = ?1 AND answer IS NULL",
                    params![question, yes, who, clock::now().as_microsecond()],
                )
                .map(|rows| rows > 0)
                .map_err(sqlite(self.file()))
        })
    }

    /// Takes back a question that nobody needs to answer any more.
    pub fn withdraw(&self, question: i64) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute("DELETE FROM questions WHERE id = ?1 AND answer IS NULL", [question])
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }
}

impl Reader {
    /// Lists open questions of runs that a process runs, oldest first.
    pub fn questions(&self) -> Result<Vec<Question>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT q.id, q.run, q.text, q.asked_at FROM questions q JOIN runs r ON r.id = q.run
                 WHERE q.answer IS NULL AND r.status = 'running' ORDER BY q.id",
            )
            .map_err(&fail)?;
        let question = |row: &rusqlite::Row<'_>| {
            Ok(Question {
                id: row.get(0)?,
                run: RunId(row.get(1)?),
                text: row.get(2)?,
                asked_at: row.get(3)?,
            })
        };
        let rows = statement.query_map([], question).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }

    /// Returns the answer to a question, and who gave it, once there is one.
    pub fn answer(&self, question: i64) -> Result<Option<(bool, String)>, StoreError> {
        self.connection
            .prepare_cached("SELECT answer, answered_by FROM questions WHERE id = ?1 AND answer IS NOT NULL")
            .and_then(|mut statement| {
                statement.query_row([question], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map_err(sqlite(&self.file))
    }
}
