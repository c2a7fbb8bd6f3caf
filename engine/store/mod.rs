//! The run log: SQLite in WAL mode, one writer a process, events as the only truth.
//!
//! Every process opens the same file. A process writes only to runs that it holds (a lock on a file under `locks/`, which
//! the kernel gives back when the process dies), so the numbers and the hash chain of a run have one author at a time.

mod audit;
mod claim;
mod codec;
mod error;
mod hook;
mod id_token;
mod list;
mod log;
mod look;
mod migration;
mod outbox;
mod question;
mod queue;
mod reader;
mod retention;
mod schedule;
mod search;
mod standing;
mod token;
mod user;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub use audit::{AuditFilter, Audited, Verdict};
pub use claim::{Claim, HeldLock, NamedLock};
pub use codec::{hex, sha256};
pub use error::StoreError;
pub use hook::{Reported, Review, Waiting};
pub use id_token::Bound;
pub use list::Filter;
pub use log::{NewRun, Passing, Record, RunLog};
pub use outbox::{Mail, Outgoing, Untold};
pub use question::Question;
pub use queue::{Enqueued, InQueue, Keys, Orders};
pub use reader::{Reader, RunRow};
pub use retention::{Keep, Pruned, partial};
pub use schedule::{Fate, Move, Moved};
pub use search::Hit;
pub use standing::{BOUNDS, LastOf, Standing, Tally};
pub use token::Token;
pub use user::{Session, User, UserChange};
pub use verify::{Break, Verified};

use crate::model::run::RunId;
use crate::world::machine;

/// How the store is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The size in bytes beyond which the database file may not grow; appends then fail as on a full disk.
    pub max_size: Option<u64>,
}

/// The run log of one project.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    file: PathBuf,
    max_size: Option<u64>,
    writer: writer::Writer,
    // For everything but appending events; opened when first needed.
    side: Mutex<Option<Connection>>,
}

impl Store {
    /// Opens the run log in this folder, makes it if it is missing, and brings its schema up to date.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, StoreError> {
        let locks = dir.join("locks");
        std::fs::create_dir_all(&locks).map_err(|source| StoreError::File { path: locks, source })?;
        let file = dir.join("nlrun.db");
        // One process after the other: SQLite does not wait for the lock that turning WAL on needs.
        let turn = dir.join("locks").join("open");
        let _turn = claim::wait_for_lock(&turn)?;
        if std::fs::metadata(&file).map_or(true, |found| found.len() == 0) {
            migration::create(&file)?;
        }
        let mut connection = connect(&file, OpenFlags::default())?;
        let fail = sqlite(&file);
        // A backup that was put in its place is in no such mode.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(&fail)?;
        migration::migrate(&mut connection, &file)?;
        limit(&connection, options.max_size).map_err(&fail)?;
        let writer = writer::Writer::start(connection, file.clone())?;
        let max_size = options.max_size;
        let side = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { dir: dir.to_owned(), file, max_size, writer, side }) })
    }

    /// Opens a connection that only reads; it sees what any process has committed.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::open(&self.inner.file)
    }

    /// Returns the folder that holds the database and the locks.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Returns the database file.
    pub fn file(&self) -> &Path {
        &self.inner.file
    }

    /// Lends the connection for everything but appending events.
    fn side<T>(&self, run: impl FnOnce(&mut Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut slot = self.inner.side.lock();
        let connection = match slot.take() {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.inner.file, OpenFlags::default())?;
                limit(&connection, self.inner.max_size).map_err(sqlite(self.file()))?;
                connection
            }
        };
        run(slot.insert(connection))
    }

    /// Returns the runs that some process should be running.
    pub fn running(&self) -> Result<Vec<RunId>, StoreError> {
        let fail = sqlite(self.file());
        self.side(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT id FROM runs WHERE status = 'running' ORDER BY id")
                .map_err(&fail)?;
            let rows = statement.query_map([], |row| row.get(0).map(RunId)).map_err(&fail)?;
            rows.collect::<Result<_, _>>().map_err(&fail)
        })
    }

    /// Returns the bytes that the database takes on disk, its write-ahead log included.
    pub fn size(&self) -> u64 {
        retention::size(self.file())
    }

    /// Whether the log may grow by so many bytes: by its own limit, and by what is free on the disk.
    pub fn has_room(&self, bytes: u64) -> bool {
        let is_within = self.inner.max_size.is_none_or(|most| self.size().saturating_add(bytes) <= most);
        // Where nobody knows, the next write finds out.
        is_within && machine::free_bytes(self.dir()).map_or(true, |free| free >= bytes)
    }

    fn writer(&self) -> &writer::Writer {
        &self.inner.writer
    }
}

/// Keeps the file from growing through this connection beyond a size in bytes.
fn limit(connection: &Connection, max_size: Option<u64>) -> rusqlite::Result<()> {
    let Some(bytes) = max_size else { return Ok(()) };
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page;
    connection.pragma_update(None, "max_page_count", pages.max(1))
}

/// Opens a connection with the settings that every connection needs.
fn connect(file: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let fail = sqlite(file);
    let connection = Connection::open_with_flags(file, flags).map_err(&fail)?;
    connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(&fail)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(&fail)?;
    // The last connection to close would copy the whole log into the database, and every short run would wait for it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(&fail)?;
    // 1 MiB: appends touch the last page of each tree only, and a runner should stay small.
    connection.pragma_update(None, "cache_size", -1024).map_err(&fail)?;
    Ok(connection)
}

/// Turns an SQLite error of this file into ours.
fn sqlite(file: &Path) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
    let path = file.to_owned();
    move |source| match source.sqlite_error_code() {
        // A short write is how SQLite reports EFBIG and some full file systems.
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
        Some(rusqlite::ErrorCode::SystemIoFailure) if is_write_failure(&source) => StoreError::Full,
        _ => StoreError::Sqlite { path: path.clone(), source },
    }
}

fn is_write_failure(error: &rusqlite::Error) -> bool {
    const IOERR_WRITE: i32 = 778; // SQLITE_IOERR_WRITE, sqlite3.h
    matches!(error, rusqlite::Error::SqliteFailure(code, _) if code.extended_code == IOERR_WRITE)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::model::address::{Address, Branch};
    use crate::model::event::{Event, Level, Start};
    use crate::model::run::{Mode, Seq, Status, Trigger};

    pub(super) fn start() -> Start {
        Start {
            runbook: "runbooks/uptime.rhai".into(),
            sources: std::collections::BTreeMap::new(),
            commit: None,
            dirty: false,
            params: Value::Null,
            inventory: String::new(),
            grants: Vec::new(),
            allow: Vec::new(),
            trigger: Trigger::Person { user: "op".into() },
            mode: Mode::Apply,
            plan: None,
            beyond: false,
            version: "0".into(),
        }
    }

    pub(super) fn message(text: &str) -> Event {
        Event::Message { level: Level::Info, text: text.into(), site: None, branch: Branch::root() }
    }

    fn ended() -> Event {
        let (error, incomplete) = (None, None);
        Event::Ended {
            status: Status::Done,
            error,
            left_behind: Vec::new(),
            in_doubt: Vec::new(),
            incomplete,
            result: Value::Null,
        }
    }

    pub(super) fn store(max_size: Option<u64>) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &Options { max_size }).unwrap();
        (dir, store)
    }

    /// A finished run with this much output in a word that only it holds.
    async fn finished(store: &Store, word: &str, bytes: usize) -> RunId {
        let (claim, _) = store.create(&NewRun { start: start(), texts: vec!["text"], plan: None }).unwrap();
        let log = store.log(claim, None);
        let mut output = String::new();
        while output.len() < bytes {
            output.push_str(&format!(
                "{word} {}\n",
                sha256(&output.as_bytes()[output.len().saturating_sub(64)..])
            ));
        }
        for part in output.as_bytes().chunks(64 * 1024) {
            log.output(&Address::parse("1"), "out", part).await.unwrap();
        }
        log.append_durable(ended()).await.unwrap();
        log.run()
    }

    #[tokio::test]
    async fn what_is_appended_reads_back_in_order_and_verifies() {
        let (_dir, store) = store(None);
        let run = finished(&store, "needle", 200_000).await;
        let reader = store.reader().unwrap();
        let events = reader.events(run, Seq(0), 100).unwrap();
        assert_eq!(
            events.iter().map(|e| e.seq.0).collect::<Vec<_>>(),
            (1..=events.len() as i64).collect::<Vec<_>>()
        );
        let mut out = Vec::new();
        let all = (Seq(1), events.last().unwrap().seq);
        let keep = |part: &[u8]| {
            out.extend_from_slice(part);
            true
        };
        reader.pour(run, all, &Address::parse("1"), "out", keep).unwrap();
        assert!(out.len() >= 200_000 && out.starts_with(b"needle "));
        let row = reader.run(run).unwrap();
        assert_eq!((row.summary.status, row.summary.counts.output), (Status::Done, out.len() as u64));
        assert_eq!(reader.verify(run).unwrap().broken, None);
        assert_eq!(reader.text(&sha256(b"text")).unwrap(), "text");
    }

    #[tokio::test]
    async fn verify_names_the_first_broken_link() {
        let (_dir, store) = store(None);
        for (sql, seq, reason) in [
            (
                "UPDATE events SET body = replace(body, '\"out\"', '\"err\"') WHERE id & 4294967295 = 2",
                2,
                "was changed",
            ),
            ("UPDATE events SET at = at + 1 WHERE id & 4294967295 = 4", 4, "was changed"),
            ("DELETE FROM events WHERE id & 4294967295 = 3", 3, "the event is missing"),
            ("UPDATE chunks SET data = x'00', codec = 0, length = 1 WHERE id & 4294967295 = 2", 2, "bytes"),
            ("DELETE FROM chunks WHERE id & 4294967295 = 3", 3, "bytes"),
            (
                "UPDATE runs SET status = 'done', summary = replace(summary, '\"done\"', '\"failed\"')",
                5,
                "the run row",
            ),
            ("DELETE FROM events WHERE id & 4294967295 = 5", 5, "at the end are missing"),
        ] {
            let run = finished(&store, "x", 150_000).await;
            let connection = connect(store.file(), OpenFlags::default()).unwrap();
            connection.execute(sql, []).unwrap();
            let broken = store.reader().unwrap().verify(run).unwrap().broken.expect(sql);
            assert_eq!(broken.seq, Seq(seq), "{sql}: {}", broken.reason);
            assert!(broken.reason.contains(reason), "{sql}: {}", broken.reason);
            connection.execute_batch("DELETE FROM events; DELETE FROM chunks; DELETE FROM runs;").unwrap();
        }
    }

    #[tokio::test]
    async fn a_full_log_stops_the_run_and_leaves_the_database_whole() {
        let (_dir, store) = store(Some(400_000));
        let (claim, _) = store.create(&NewRun { start: start(), texts: vec![], plan: None }).unwrap();
        let log = store.log(claim, None);
        let mut durable = 0;
        let error = loop {
            match log.append_durable(message(&"x".repeat(3000))).await {
                Ok(seq) => durable = seq.0,
                Err(error) => break error,
            }
        };
        assert!(error.is_full(), "{error}");
        assert!(matches!(log.append(message("more")).await, Err(StoreError::Poisoned(_))));
        assert!(matches!(log.check(), Err(StoreError::Poisoned(_))));
        assert!(store.integrity().unwrap().is_empty());
        let reader = store.reader().unwrap();
        assert_eq!(reader.run(log.run()).unwrap().last_seq, Seq(durable));
        assert_eq!(reader.verify(log.run()).unwrap().broken, None);
    }

    #[tokio::test]
    async fn one_process_holds_a_run_and_a_dead_one_gives_it_back() {
        let (_dir, store) = store(None);
        let (claim, _) = store.create(&NewRun { start: start(), texts: vec![], plan: None }).unwrap();
        let run = claim.run();
        assert!(matches!(store.claim(run), Err(StoreError::Held { .. })));
        assert!(store.is_held(run));
        drop(claim);
        assert!(!store.is_held(run));
        store.claim(run).unwrap();
    }

    #[tokio::test]
    async fn pruning_keeps_what_it_should_and_the_file_shrinks() {
        let (_dir, store) = store(None);
        let mut runs = Vec::new();
        for index in 0..6 {
            runs.push(finished(&store, &format!("word{index}"), 3_000_000).await);
        }
        let (claim, _) = store.create(&NewRun { start: start(), texts: vec![], plan: None }).unwrap();
        let keep = Keep { count: Some(2), ..Keep::default() };
        assert_eq!(store.prune(&keep, true).unwrap().runs, runs[..4]);
        assert_eq!(store.search("word0", None, 9).unwrap().len(), 9);
        let pruned = store.prune(&keep, false).unwrap();
        assert_eq!(pruned.runs, runs[..4]);
        assert!(pruned.after < pruned.before, "{pruned:?}");
        let reader = store.reader().unwrap();
        let left: Vec<RunId> = reader.runs(&Filter::default()).unwrap().iter().map(|r| r.id).collect();
        assert_eq!(left, [claim.run(), runs[5], runs[4]]);
        assert!(store.search("word0", None, 9).unwrap().is_empty());
        assert!(!store.search("word5", None, 9).unwrap().is_empty());
        assert_eq!(reader.verify(runs[5]).unwrap().broken, None);
    }

    #[test]
    fn the_chain_holds_each_event_at_its_place() {
        let events = [(1_i64, 10_i64, "a"), (2, 10, "a"), (1, 11, "a"), (1, 10, "b")];
        let links: std::collections::BTreeSet<[u8; 32]> = events
            .iter()
            .flat_map(|(id, at, body)| {
                [[0; 32], [1; 32]].map(|before| writer::chain(&before, *id, *at, body))
            })
            .collect();
        assert_eq!(links.len(), 8, "number, time, text and the link before it each make another link");
    }

    #[tokio::test]
    async fn pruning_by_age_and_size_spares_the_young_and_who_is_still_held() {
        let (_dir, store) = store(None);
        let old = finished(&store, "old", 100_000).await;
        let (claim, _) = store.create(&NewRun { start: start(), texts: vec![], plan: None }).unwrap();
        let held = store.log(claim, None);
        held.append_durable(ended()).await.unwrap();
        let young = finished(&store, "young", 100_000).await;
        let connection = connect(store.file(), OpenFlags::default()).unwrap();
        let age = "UPDATE runs SET started_at = started_at - 7200000000 WHERE id <= ?1";
        connection.execute(age, [held.run().0]).unwrap();
        let prune = |keep: Keep| store.prune(&keep, false).unwrap().runs;
        assert_eq!(prune(Keep { age: Some(86400), bytes: Some(1 << 30), ..Keep::default() }), []);
        assert_eq!(prune(Keep { age: Some(3600), ..Keep::default() }), [old]);
        let held_run = held.run();
        drop(held);
        assert_eq!(prune(Keep { age: Some(3600), ..Keep::default() }), [held_run]);
        assert_eq!(prune(Keep { bytes: Some(1000), ..Keep::default() }), [young]);
    }

    #[tokio::test]
    async fn a_backup_is_whole_and_writes_over_nothing() {
        let (dir, store) = store(None);
        let run = finished(&store, "x", 100_000).await;
        let copy = dir.path().join("copy/nlrun.db");
        std::fs::create_dir(dir.path().join("copy")).unwrap();
        store.backup(&copy).unwrap();
        let size = std::fs::metadata(&copy).unwrap().len();
        finished(&store, "y", 100_000).await;
        let again = store.backup(&copy);
        assert!(matches!(again, Err(StoreError::File { .. })), "{again:?}");
        assert_eq!(std::fs::metadata(&copy).unwrap().len(), size);
        let copied = Store::open(&dir.path().join("copy"), &Options::default()).unwrap();
        assert_eq!(copied.reader().unwrap().verify(run).unwrap().broken, None);
    }

    #[tokio::test]
    async fn a_plan_is_used_once() {
        let (_dir, store) = store(None);
        let new = || NewRun { start: start(), texts: vec![], plan: Some("digest") };
        let (claim, _) = store.create(&new()).unwrap();
        assert!(matches!(store.create(&new()), Err(StoreError::PlanUsed(run)) if run == claim.run()));
    }

    #[tokio::test]
    async fn search_finds_words_of_a_run_that_is_still_going_on_later_too() {
        let (_dir, store) = store(None);
        let (claim, _) = store.create(&NewRun { start: start(), texts: vec![], plan: None }).unwrap();
        let log = store.log(claim, None);
        finished(&store, "other", 10).await;
        for word in ["alpha", "beta"] {
            log.output(&Address::parse("1"), "out", format!("first\nan {word} line\n").as_bytes())
                .await
                .unwrap();
            log.append_durable(message("x")).await.unwrap();
            let hits = store.search(word, Some(log.run()), 5).unwrap();
            assert_eq!(hits.len(), 1, "{word}");
            assert_eq!(hits[0].lines, [format!("an {word} line")]);
        }
    }
}
