//! The schema and its numbered migrations; the number of the newest one is in `PRAGMA user_version`.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use crate::store::{StoreError, sqlite};

/// Each entry is applied once, in order, all that are missing in one transaction: what is half new nobody sees, and a new database costs one
/// write to the disk. Entries are never edited after a release. A new one goes to the end, or a database that has the others would not get it.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
];

/// Makes a database that is whole or not there: it is made beside its place, without a journal, and comes there when the disk has it.
///
/// SQLite alone would wait for the disk eight times more, and each first run with it.
pub(super) fn create(file: &Path) -> Result<(), StoreError> {
    let fail = sqlite(file);
    let refused = |path: PathBuf| move |source| StoreError::File { path, source };
    let beside = |ending: &str| file.with_extension(format!("db{ending}"));
    let draft = beside(".new");
    // What a crash has left; and the log of a database that somebody has removed is no log of this one.
    for left in [draft.clone(), beside("-wal"), beside("-shm")] {
        remove(&left).map_err(refused(left))?;
    }
    let mut connection = Connection::open(&draft).map_err(&fail)?;
    for (pragma, value) in [("synchronous", "OFF"), ("journal_mode", "OFF"), ("auto_vacuum", "INCREMENTAL")] {
        connection.pragma_update(None, pragma, value).map_err(&fail)?;
    }
    migrate(&mut connection, &draft)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(&fail)?;
    connection.close().map_err(|(_, error)| fail(error))?;
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    sync(&draft).and_then(|()| std::fs::rename(&draft, file)).map_err(refused(draft))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    sync(folder).map_err(refused(folder.to_owned()))
}

fn remove(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

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
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
    // Another process may have migrated while this one waited for the write lock.
    let found = version(&transaction)?;
    for (_, sql) in (1..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
        transaction.execute_batch(sql).map_err(&fail)?;
    }
    transaction.pragma_update(None, "user_version", known.max(found)).map_err(&fail)?;
    transaction.commit().map_err(&fail)
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
    #[expect(clippy::disallowed_methods, reason = "what a crash has left is written by hand")]
    fn a_new_database_is_whole_whatever_lies_around() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nlrun.db");
        // Half of one that a crash has left, and the log of one that somebody has removed.
        let mut old = Connection::open(dir.path().join("old.db")).unwrap();
        old.pragma_update(None, "journal_mode", "WAL").unwrap();
        migrate(&mut old, Path::new("old.db")).unwrap();
        std::fs::copy(dir.path().join("old.db-wal"), dir.path().join("nlrun.db-wal")).unwrap();
        std::fs::write(dir.path().join("nlrun.db.new"), [7; 5000]).unwrap();
        create(&file).unwrap();
        let connection = Connection::open(&file).unwrap();
        let of = |pragma: &str| -> String {
            connection
                .pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0))
                .map(|value| format!("{value:?}"))
                .unwrap()
        };
        assert_eq!(of("journal_mode"), "Text(\"wal\")");
        assert_eq!(of("auto_vacuum"), "Integer(2)");
        assert_eq!(of("user_version"), format!("Integer({})", MIGRATIONS.len()));
        assert_eq!(of("integrity_check"), "Text(\"ok\")");
        drop(connection);
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.into_iter().any(|name| name == "nlrun.db.new"));
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
