//! Users of the server: who may sign in, and their sessions.

use rusqlite::{OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use crate::model::role::{Caller, Role};
use crate::model::run::Trigger;
use crate::store::token::{json, list};
use crate::store::{Reader, Store, StoreError, sqlite};
use crate::world::clock;

/// A user as they are listed: never the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// How the user's provider calls them: its issuer, a space, its `sub`; none for those with a password here.
    pub subject: Option<String>,
    /// What they may do.
    pub role: Role,
    /// The capabilities of their runs; those of the role when empty.
    pub grants: Vec<String>,
    /// Globs of the runbooks that they may run; those of the role when empty.
    pub runbooks: Vec<String>,
    /// When they were made: microseconds since 1970, UTC.
    pub made_at: i64,
    /// By whom.
    pub made_by: String,
    /// When they signed in last.
    pub signed_in_at: Option<i64>,
}

impl User {
    /// Returns the user as somebody who asks.
    pub fn caller(&self) -> Caller {
        Caller {
            role: self.role,
            grants: self.grants.clone(),
            runbooks: self.runbooks.clone(),
            trigger: Trigger::User { user: self.name.clone() },
            plans_only: false,
        }
    }
}

/// What changes of a user; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The role.
    pub role: Option<Role>,
    /// The capabilities.
    pub grants: Option<Vec<String>>,
    /// The runbooks.
    pub runbooks: Option<Vec<String>>,
    /// The password's hash.
    pub password: Option<String>,
}

/// A session that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who is signed in.
    pub user: User,
    /// When it began: microseconds since 1970, UTC.
    pub began_at: i64,
    /// When it was used last, give or take a minute.
    pub used_at: i64,
    /// When it ends, however much it is used.
    pub ends_at: i64,
}

const USER: &str = "name, subject, role, grants, runbooks, made_at, made_by, signed_in_at";

impl Store {
    /// Keeps a user; `false` if the name is taken.
    pub fn add_user(&self, user: &User, password: Option<&str>) -> Result<bool, StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "INSERT OR IGNORE INTO users (name, subject, role, grants, runbooks, made_at, made_by, password)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        user.name,
                        user.subject,
                        user.role.as_str(),
                        json(&user.grants),
                        json(&user.runbooks),
                        user.made_at,
                        user.made_by,
                        password,
                    ],
                )
                .map(|rows| rows > 0)
                .map_err(sqlite(self.file()))
        })
    }

    /// Changes a user and ends all their sessions; `false` if there is none of this name.
    pub fn change_user(&self, name: &str, change: &UserChange) -> Result<bool, StoreError> {
        let fail = sqlite(self.file());
        self.side(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
            let is_known = change_within(&transaction, name, change).map_err(&fail)?;
            transaction.commit().map_err(&fail)?;
            Ok(is_known)
        })
    }

    /// Forgets a user and ends their sessions; `false` if there is none of this name.
    pub fn remove_user(&self, name: &str) -> Result<bool, StoreError> {
        self.side(|connection| {
            connection
                .execute("DELETE FROM users WHERE name = ?1", [name])
                .map(|rows| rows > 0)
                .map_err(sqlite(self.file()))
        })
    }

    /// Begins a session of a user, under the SHA-256 of what their browser will show.
    pub fn begin_session(
        &self,
        user: &str,
        hash: &[u8],
        address: &str,
        ends_at: i64,
    ) -> Result<(), StoreError> {
        let now = clock::now().as_microsecond();
        let fail = sqlite(self.file());
        self.side(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
            transaction
                .execute(
                    "INSERT INTO sessions (hash, user, address, began_at, used_at, ends_at)
                     VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
                    params![hash, user, address, now, ends_at],
                )
                .map_err(&fail)?;
            transaction
                .execute("UPDATE users SET signed_in_at = ?2 WHERE name = ?1", params![user, now])
                .map_err(&fail)?;
            transaction.execute("DELETE FROM sessions WHERE ends_at <= ?1", [now]).map_err(&fail)?;
            transaction.commit().map_err(&fail)
        })
    }

    /// Notes that a session is used.
    pub fn touch_session(&self, hash: &[u8]) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute(
                    "UPDATE sessions SET used_at = ?2 WHERE hash = ?1",
                    params![hash, clock::now().as_microsecond()],
                )
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }

    /// Ends a session.
    pub fn end_session(&self, hash: &[u8]) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute("DELETE FROM sessions WHERE hash = ?1", [hash])
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }
}

fn change_within(transaction: &Transaction<'_>, name: &str, change: &UserChange) -> rusqlite::Result<bool> {
    let rows = transaction.execute(
        "UPDATE users SET role = coalesce(?2, role), grants = coalesce(?3, grants),
         runbooks = coalesce(?4, runbooks), password = coalesce(?5, password) WHERE name = ?1",
        params![
            name,
            change.role.map(Role::as_str),
            change.grants.as_deref().map(json),
            change.runbooks.as_deref().map(json),
            change.password,
        ],
    )?;
    transaction.execute("DELETE FROM sessions WHERE user = ?1", [name])?;
    Ok(rows > 0)
}

impl Reader {
    /// Lists users by name.
    pub fn users(&self) -> Result<Vec<User>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT {USER} FROM users ORDER BY name"))
            .map_err(&fail)?;
        let rows = statement.query_map([], |row| user(row, 0)).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }

    /// Returns a user by name.
    pub fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        self.user_where("name", name)
    }

    /// Returns a user of a provider by its issuer, a space, and its `sub`.
    pub fn user_of(&self, subject: &str) -> Result<Option<User>, StoreError> {
        self.user_where("subject", subject)
    }

    fn user_where(&self, column: &str, value: &str) -> Result<Option<User>, StoreError> {
        self.connection
            .prepare_cached(&format!("SELECT {USER} FROM users WHERE {column} = ?1"))
            .and_then(|mut statement| statement.query_row([value], |row| user(row, 0)).optional())
            .map_err(sqlite(&self.file))
    }

    /// Returns the hash of a user's password, if there is such a user who has one.
    pub fn password(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.connection
            .prepare_cached("SELECT password FROM users WHERE name = ?1")
            .and_then(|mut statement| statement.query_row([name], |row| row.get(0)).optional())
            .map(Option::flatten)
            .map_err(sqlite(&self.file))
    }

    /// Returns the session with this hash, unless it has ended; one unused since before `idle_since` has.
    pub fn session(&self, hash: &[u8], idle_since: i64) -> Result<Option<Session>, StoreError> {
        let now = clock::now().as_microsecond();
        let session = |row: &Row<'_>| {
            Ok(Session {
                began_at: row.get(0)?,
                used_at: row.get(1)?,
                ends_at: row.get(2)?,
                user: user(row, 3)?,
            })
        };
        self.connection
            .prepare_cached(&format!(
                "SELECT s.began_at, s.used_at, s.ends_at, {USER} FROM sessions s JOIN users u ON u.name = s.user
                 WHERE s.hash = ?1 AND s.ends_at > ?2 AND s.used_at > ?3"
            ))
            .and_then(|mut statement| {
                statement.query_row(params![hash, now, idle_since], session).optional()
            })
            .map_err(sqlite(&self.file))
    }
}

fn user(row: &Row<'_>, first: usize) -> rusqlite::Result<User> {
    let role: String = row.get(first + 2)?;
    Ok(User {
        name: row.get(first)?,
        subject: row.get(first + 1)?,
        role: Role::parse(&role).unwrap_or(Role::Viewer),
        grants: list(row, first + 3)?,
        runbooks: list(row, first + 4)?,
        made_at: row.get(first + 5)?,
        made_by: row.get(first + 6)?,
        signed_in_at: row.get(first + 7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn a_session_ends_by_idleness_by_age_and_when_its_user_changes() {
        let (_dir, store) = store(None);
        let user = User {
            name: "ann".into(),
            subject: None,
            role: Role::Operator,
            grants: Vec::new(),
            runbooks: Vec::new(),
            made_at: 0,
            made_by: "root".into(),
            signed_in_at: None,
        };
        assert!(store.add_user(&user, Some("hash")).unwrap());
        assert!(!store.add_user(&user, Some("other")).unwrap());
        let now = clock::now().as_microsecond();
        let reader = store.reader().unwrap();
        let found = |hash: &[u8], idle_since| reader.session(hash, idle_since).unwrap().is_some();
        store.begin_session("ann", b"one", "::1", now + 3_600_000_000).unwrap();
        store.begin_session("ann", b"old", "::1", now - 1).unwrap();
        assert!(found(b"one", now - 1_000_000) && !found(b"two", 0));
        assert!(!found(b"old", 0), "its time is over");
        assert!(!found(b"one", now + 60_000_000), "nobody has used it");
        let change = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
        assert!(store.change_user("ann", &change).unwrap() && !store.change_user("bob", &change).unwrap());
        assert!(!found(b"one", 0), "it was begun with another role");
        let after = reader.user("ann").unwrap().unwrap();
        assert_eq!((after.role, reader.password("ann").unwrap().as_deref()), (Role::Viewer, Some("hash")));
        store.begin_session("ann", b"one", "::1", now + 3_600_000_000).unwrap();
        assert!(store.remove_user("ann").unwrap() && !store.remove_user("ann").unwrap());
        assert!(!found(b"one", 0) && reader.password("ann").unwrap().is_none());
    }
}
