//! Tokens of the server's API: kept as hashes, with what their holders may do.

use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, params};

use crate::model::role::{Caller, Role};
use crate::model::run::Trigger;
use crate::store::{Reader, Store, StoreError, sqlite};
use crate::world::clock;

/// A token as it is listed: never the token itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Token {
    /// Its name.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// The capabilities of runs that its holder asks for; those of the role when empty.
    pub grants: Vec<String>,
    /// Globs of the runbooks that its holder may run; those of the role when empty.
    pub runbooks: Vec<String>,
    /// When it was made: microseconds since 1970, UTC.
    pub made_at: i64,
    /// By whom.
    pub made_by: String,
    /// When it ends.
    pub expires_at: Option<i64>,
    /// When it was shown last, give or take a minute.
    pub used_at: Option<i64>,
}

impl Token {
    /// Returns who its holder is.
    pub fn caller(&self) -> Caller {
        Caller {
            role: self.role,
            grants: self.grants.clone(),
            runbooks: self.runbooks.clone(),
            trigger: Trigger::Token { token: self.name.clone() },
            plans_only: false,
        }
    }
}

impl Store {
    /// Keeps a token under the SHA-256 of what its holder shows; `false` if the name is taken.
    pub fn add_token(&self, token: &Token, hash: &[u8]) -> Result<bool, StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "INSERT OR IGNORE INTO tokens (name, hash, role, grants, runbooks, made_at, made_by, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        token.name,
                        hash,
                        token.role.as_str(),
                        json(&token.grants),
                        json(&token.runbooks),
                        token.made_at,
                        token.made_by,
                        token.expires_at,
                    ],
                )
                .map(|rows| rows > 0)
                .map_err(sqlite(self.file()))
        })
    }

    /// Notes that a token was shown.
    pub fn touch_token(&self, name: &str) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "UPDATE tokens SET used_at = ?2 WHERE name = ?1",
                    params![name, clock::now().as_microsecond()],
                )
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }

    /// Forgets a token; `false` if there is none of this name.
    pub fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        self.side(|connection| {
            connection
                .execute("DELETE FROM tokens WHERE name = ?1", [name])
                .map(|rows| rows > 0)
                .map_err(sqlite(self.file()))
        })
    }
}

impl Reader {
    /// Lists tokens by name.
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT name, role, grants, runbooks, made_at, made_by, expires_at, used_at FROM tokens ORDER BY name",
            )
            .map_err(&fail)?;
        let rows = statement.query_map([], token).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }

    /// Returns the token with this hash, unless it has expired.
    pub fn token(&self, hash: &[u8]) -> Result<Option<Token>, StoreError> {
        let now = clock::now().as_microsecond();
        self.connection
            .prepare_cached(
                "SELECT name, role, grants, runbooks, made_at, made_by, expires_at, used_at FROM tokens
                 WHERE hash = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
            )
            .and_then(|mut statement| statement.query_row(params![hash, now], token).optional())
            .map_err(sqlite(&self.file))
    }
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let role: String = row.get(1)?;
    Ok(Token {
        name: row.get(0)?,
        role: Role::parse(&role).unwrap_or(Role::Viewer),
        grants: list(row, 2)?,
        runbooks: list(row, 3)?,
        made_at: row.get(4)?,
        made_by: row.get(5)?,
        expires_at: row.get(6)?,
        used_at: row.get(7)?,
    })
}

/// Writes a list of texts as it is kept.
pub(super) fn json(list: &[String]) -> String {
    serde_json::to_string(list).expect("a list of texts")
}

/// Reads a list of texts; one that cannot be read is an error, for an empty list may mean everything.
pub(super) fn list(row: &Row<'_>, index: usize) -> rusqlite::Result<Vec<String>> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error)))
}
