//! Messages to people: made in the transaction that notes what they are about, kept until they are delivered.

use rusqlite::{Row, TransactionBehavior, params};

use crate::model::notice::Notice;
use crate::model::run::{RunId, Status};
use crate::store::{Reader, Store, StoreError, sqlite};
use crate::world::clock;

/// Something that happened and of which nobody has been told yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// Its number.
    pub id: i64,
    /// When it happened: microseconds since 1970, UTC.
    pub at: i64,
    /// The run that ended, and how.
    pub ended: Option<(RunId, Status)>,
    /// The schedule.
    pub schedule: Option<String>,
    /// How many runs of the schedule before this one failed in a row.
    pub failures: i64,
    /// When the first of these ended.
    pub failing_since: Option<i64>,
    /// When the last run before this one was done.
    pub success_at: Option<i64>,
    /// When people were last told that it fails.
    pub told_at: Option<i64>,
    /// What became of an instant: state, reason, how many, the first one.
    pub fate: Option<(String, String, i64, i64)>,
}

/// A message for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// What is told once; a second message with this key is not taken.
    pub key: String,
    /// The target's name.
    pub target: String,
    /// What it says.
    pub notice: Notice,
    /// Not before this: microseconds since 1970, UTC.
    pub due_at: i64,
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Outgoing {
    /// Its number.
    pub id: i64,
    /// What is told once.
    pub key: String,
    /// The target's name.
    pub target: String,
    /// What it says.
    pub notice: Notice,
    /// When it was made: microseconds since 1970, UTC.
    pub made_at: i64,
    /// When it is tried next.
    pub due_at: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was delivered.
    pub delivered_at: Option<i64>,
    /// When it was given up.
    pub given_up_at: Option<i64>,
}

const COLUMNS: &str = "id, key, target, notice, made_at, due_at, attempts, error, delivered_at, given_up_at";

impl Store {
    /// Takes messages for delivery and notes that what they are about has been looked at, all or nothing.
    ///
    /// `failing` are schedules whose failure is told by one of them, `stale` those that are told to be stale or no longer.
    pub fn tell(
        &self,
        untold: &[i64],
        mail: &[Mail],
        failing: &[String],
        stale: &[(String, bool)],
    ) -> Result<(), StoreError> {
        let fail = sqlite(self.file());
        let now = clock::now().as_microsecond();
        self.side(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
            let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
                transaction
                    .prepare_cached(sql)
                    .and_then(|mut statement| statement.execute(values))
                    .map(drop)
                    .map_err(&fail)
            };
            for one in mail {
                let notice = serde_json::to_string(&one.notice).expect("a notice is plain data");
                run(
                    "INSERT OR IGNORE INTO outbox (key, target, notice, made_at, due_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    &[&one.key, &one.target, &notice, &now, &one.due_at],
                )?;
            }
            for id in untold {
                run("DELETE FROM untold WHERE id = ?1", &[id])?;
            }
            for schedule in failing {
                run("UPDATE standings SET told_at = ?2 WHERE schedule = ?1", &[schedule, &now])?;
            }
            for (schedule, is_stale) in stale {
                let at = is_stale.then_some(now);
                run("UPDATE standings SET stale_at = ?2 WHERE schedule = ?1", &[schedule, &at])?;
            }
            transaction.commit().map_err(&fail)
        })
    }

    /// Notes that a message was delivered.
    pub fn delivered(&self, id: i64) -> Result<(), StoreError> {
        let now = clock::now().as_microsecond();
        self.of_outbox(
            "UPDATE outbox SET delivered_at = ?2, attempts = attempts + 1, error = NULL WHERE id = ?1",
            params![id, now],
        )
    }

    /// Notes that a message could not be delivered, and when it is tried again; without that it is given up.
    pub fn undelivered(&self, id: i64, error: &str, again: Option<i64>) -> Result<(), StoreError> {
        let now = clock::now().as_microsecond();
        self.of_outbox(
            "UPDATE outbox SET attempts = attempts + 1, error = ?2, due_at = coalesce(?3, due_at),
             given_up_at = iif(?3 IS NULL, ?4, NULL) WHERE id = ?1",
            params![id, error, again, now],
        )?;
        self.of_outbox(
            "INSERT INTO counters SELECT 'notify_failures', target, 1 FROM outbox WHERE id = ?1
             ON CONFLICT DO UPDATE SET value = value + 1",
            [id],
        )
    }

    /// Forgets messages that were delivered or given up before this: microseconds since 1970, UTC.
    pub fn forget_messages(&self, before: i64) -> Result<(), StoreError> {
        self.of_outbox("DELETE FROM outbox WHERE coalesce(delivered_at, given_up_at) < ?1", [before])
    }

    fn of_outbox(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        self.side(|connection| connection.execute(sql, values).map(drop).map_err(sqlite(self.file())))
    }
}

impl Reader {
    /// Lists what happened and nobody has been told of yet, oldest first.
    pub fn untold(&self, limit: usize) -> Result<Vec<Untold>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT u.id, u.at, u.run, u.status, u.schedule, coalesce(u.failures, 0), u.failing_since, u.success_at,
                 u.told_at, d.state, d.reason, d.count, d.instant
                 FROM untold u LEFT JOIN decisions d ON d.id = u.decision ORDER BY u.id LIMIT ?1",
            )
            .map_err(&fail)?;
        let rows = statement.query_map([limit as i64], untold).map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }

    /// Lists messages that are to be delivered by this time, the one that waits longest first.
    pub fn due_messages(&self, by: i64, limit: usize) -> Result<Vec<Outgoing>, StoreError> {
        self.messages_where(
            "delivered_at IS NULL AND given_up_at IS NULL AND due_at <= ?1 ORDER BY due_at, id LIMIT ?2",
            params![by, limit as i64],
        )
    }

    /// Lists messages, the newest first.
    pub fn messages(&self, before: Option<i64>, limit: usize) -> Result<Vec<Outgoing>, StoreError> {
        self.messages_where(
            "(?1 IS NULL OR id < ?1) ORDER BY id DESC LIMIT ?2",
            params![before, limit as i64],
        )
    }

    fn messages_where(
        &self,
        condition: &str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<Outgoing>, StoreError> {
        let fail = sqlite(&self.file);
        let sql = format!("SELECT {COLUMNS} FROM outbox WHERE {condition}");
        let mut statement = self.connection.prepare_cached(&sql).map_err(&fail)?;
        let rows = statement.query_map(values, outgoing).map_err(&fail)?;
        let mut found = Vec::new();
        for row in rows {
            let (message, notice) = row.map_err(&fail)?;
            let notice = serde_json::from_str(&notice)
                .map_err(|_| StoreError::Lost(format!("what message {} says", message.id)))?;
            found.push(Outgoing { notice, ..message });
        }
        Ok(found)
    }
}

fn untold(row: &Row<'_>) -> rusqlite::Result<Untold> {
    let (run, status): (Option<i64>, Option<String>) = (row.get(2)?, row.get(3)?);
    let state: Option<String> = row.get(9)?;
    let fate = match state {
        None => None,
        Some(state) => Some((state, row.get(10)?, row.get(11)?, row.get(12)?)),
    };
    Ok(Untold {
        id: row.get(0)?,
        at: row.get(1)?,
        ended: run.map(RunId).zip(status.and_then(|word| Status::parse(&word))),
        schedule: row.get(4)?,
        failures: row.get(5)?,
        failing_since: row.get(6)?,
        success_at: row.get(7)?,
        told_at: row.get(8)?,
        fate,
    })
}

fn outgoing(row: &Row<'_>) -> rusqlite::Result<(Outgoing, String)> {
    let message = Outgoing {
        id: row.get(0)?,
        key: row.get(1)?,
        target: row.get(2)?,
        notice: Notice::default(),
        made_at: row.get(4)?,
        due_at: row.get(5)?,
        attempts: row.get(6)?,
        error: row.get(7)?,
        delivered_at: row.get(8)?,
        given_up_at: row.get(9)?,
    };
    Ok((message, row.get(3)?))
}
