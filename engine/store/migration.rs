//! The schema and its numbered migrations; the number of the newest one is in `PRAGMA user_version`.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::store::{StoreError, sqlite};

/// Each entry is applied once, in order, in a transaction of its own; entries are never edited after a release. A new one goes to the end,
/// or a database that has the others would not get it.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
];

/// Brings the schema to the newest version; an existing database is copied beside itself first.
pub(super) fn migrate(connection: &mut Connection, file: &Path) -> Result<(), StoreError> {
    let fail = sqlite(file);
    let known = MIGRATIONS.len() as i64;
    let version = |connection: &Connection| -> Result<i64, StoreError> {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite(file))
    };
    let found = version(connection)?;
    if found > known {
        return Err(StoreError::Newer { path: file.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    if found > 0 {
        let copy = file.with_extension(format!("before-{known}.db"));
        if !copy.exists() {
            connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(&fail)?;
        }
    }
    for (number, sql) in (1..).zip(MIGRATIONS) {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
        // Another process may have migrated while this one waited for the write lock.
        if version(&transaction)? < number {
            transaction.execute_batch(sql).map_err(&fail)?;
            transaction.pragma_update(None, "user_version", number).map_err(&fail)?;
        }
        transaction.commit().map_err(&fail)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_database_is_refused_and_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nlrun.db");
        let mut connection = Connection::open(&file).unwrap();
        connection.pragma_update(None, "user_version", 999).unwrap();
        let error = migrate(&mut connection, &file).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).unwrap();
        assert_eq!(tables, 0);
    }

    #[test]
    fn a_database_of_any_version_becomes_what_a_new_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let schema = |connection: &Connection| -> Vec<(String, Option<String>)> {
            let mut statement =
                connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .map(Result::unwrap)
                .collect()
        };
        let of = |version: usize| {
            let file = dir.path().join(format!("{version}.db"));
            let mut connection = Connection::open(&file).unwrap();
            for sql in &MIGRATIONS[..version] {
                connection.execute_batch(sql).unwrap();
            }
            connection.pragma_update(None, "user_version", version as i64).unwrap();
            migrate(&mut connection, &file).unwrap();
            schema(&connection)
        };
        let new = of(0);
        for version in 1..=MIGRATIONS.len() {
            assert_eq!(of(version), new, "{version}");
        }
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nlrun.db");
        let mut connection = Connection::open(&file).unwrap();
        migrate(&mut connection, &file).unwrap();
        migrate(&mut connection, &file).unwrap();
        let version: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0)).unwrap();
        assert_eq!(version, MIGRATIONS.len() as i64);
    }
}
