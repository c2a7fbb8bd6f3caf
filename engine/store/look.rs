//! What people look up who watch runs: the end of a long log, which hosts are at work, how runs went before.

use rusqlite::{Row, params};

use crate::model::event::Event;
use crate::model::run::{RunId, Seq};
use crate::store::reader::record;
use crate::store::schedule::{Fate, fate};
use crate::store::writer::event_id;
use crate::store::{LastOf, Reader, Record, StoreError, sqlite};

/// The most fates that stand for many.
const GROUPS: usize = 1000;

impl Reader {
    /// Returns up to `limit` events before the given one, in order.
    pub fn events_before(&self, run: RunId, before: Seq, limit: usize) -> Result<Vec<Record>, StoreError> {
        let sql = "SELECT id, at, body FROM events WHERE id > ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
        let mut records = self.records(sql, run, event_id(run, before.0), limit)?;
        records.reverse();
        Ok(records)
    }

    /// Returns up to `limit` events of a sort whose bodies also hold a text, in order: `outcome` with `"diff":`.
    ///
    /// Looks through the whole run.
    pub fn events_with(
        &self,
        run: RunId,
        sort: &str,
        text: &str,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, at, body FROM events WHERE id > ?1 AND id < ?2
                 AND body >= ?4 AND body < ?5 AND instr(body, ?6) > 0 ORDER BY id LIMIT ?3",
            )
            .map_err(&fail)?;
        // Two comparisons instead of a function: it is every event of a run that is looked at. `#` comes next after `"`.
        let (first, end) = (format!("{{\"event\":\"{sort}\""), format!("{{\"event\":\"{sort}#"));
        let range = params![event_id(run, 0), event_id(RunId(run.0 + 1), 0), limit as i64, first, end, text];
        let rows = statement.query_map(range, raw).map_err(&fail)?;
        rows.map(|row| record(run, row.map_err(&fail)?)).collect()
    }

    /// Returns the arms of fan-outs that have begun and not ended, at most `limit` of them: branch and host.
    pub fn arms(&self, run: RunId, limit: usize) -> Result<Vec<(String, String)>, StoreError> {
        let sql = "SELECT id, at, body FROM events INDEXED BY events_of_branches
                   WHERE substr(body, 1, 17) = '{\"event\":\"branch_' AND id > ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
        let end = event_id(RunId(run.0 + 1), 0);
        let mut ended = std::collections::HashSet::new();
        let mut open = Vec::new();
        // The newest first: what has ended is known before its beginning comes.
        for record in self.records(sql, run, end, 20 * limit.max(1))? {
            match record.event {
                Event::BranchEnded { branch, .. } => {
                    ended.insert(branch);
                }
                Event::BranchBegan { branch, host } if !ended.contains(&branch) => {
                    open.push((branch.as_str().to_owned(), host));
                }
                _ => {}
            }
        }
        open.reverse();
        open.truncate(limit);
        Ok(open)
    }

    fn records(&self, sql: &str, run: RunId, end: i64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self.connection.prepare_cached(sql).map_err(&fail)?;
        let rows = statement.query_map(params![event_id(run, 0), end, limit as i64], raw).map_err(&fail)?;
        rows.map(|row| record(run, row.map_err(&fail)?)).collect()
    }

    /// Returns how the last run that had this host in a fan-out ended for it.
    pub fn last_of_host(&self, host: &str) -> Result<Option<LastOf>, StoreError> {
        let fail = sqlite(&self.file);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT h.run, h.verdict, r.started_at FROM run_hosts h CROSS JOIN runs r ON r.id = h.run
                 WHERE h.host = ?1 ORDER BY h.run DESC LIMIT 1",
            )
            .map_err(&fail)?;
        let last = |row: &Row<'_>| {
            Ok(LastOf {
                host: host.to_owned(),
                run: RunId(row.get(0)?),
                verdict: row.get(1)?,
                at: row.get(2)?,
            })
        };
        let mut rows = statement.query_map([host], last).map_err(&fail)?;
        rows.next().transpose().map_err(&fail)
    }

    /// Lists what became of the instants from one on and before another, of all schedules; `state` is the status of the run where there is one.
    ///
    /// Where they are more than `most`, one fate stands for all of a schedule with one state.
    pub fn fates_between(&self, from: i64, until: i64, most: usize) -> Result<Vec<Fate>, StoreError> {
        let of = "FROM decisions d LEFT JOIN runs r ON r.id = d.run WHERE d.instant >= ?1 AND d.instant < ?2";
        let each = format!(
            "SELECT d.id, d.schedule, d.instant, d.until, d.count, coalesce(r.status, d.state), d.reason, d.run
             {of} ORDER BY d.instant LIMIT ?3"
        );
        let together = format!(
            "SELECT d.id, d.schedule, min(d.instant), d.until, sum(d.count), coalesce(r.status, d.state) AS became, d.reason,
                 CASE count(*) WHEN 1 THEN d.run END
             {of} GROUP BY d.schedule, became ORDER BY min(d.instant) LIMIT ?3"
        );
        let fail = sqlite(&self.file);
        let list = |sql: &str, limit: usize| -> Result<Vec<Fate>, StoreError> {
            let mut statement = self.connection.prepare_cached(sql).map_err(&fail)?;
            let rows = statement.query_map(params![from, until, limit as i64], fate).map_err(&fail)?;
            rows.collect::<Result<_, _>>().map_err(&fail)
        };
        let found = list(&each, most + 1)?;
        if found.len() > most { list(&together, GROUPS) } else { Ok(found) }
    }
}

fn raw(row: &Row<'_>) -> rusqlite::Result<(i64, i64, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::Branch;
    use crate::model::event::Verdict;
    use crate::store::NewRun;
    use crate::store::tests::{message, start, store};

    #[tokio::test]
    async fn a_log_is_read_from_its_end_and_open_arms_are_found() {
        let (_dir, store) = store(None);
        let (claim, _) = store.create(&NewRun { start: start(), texts: vec![], plan: None }).unwrap();
        let log = store.log(claim, None);
        let arm = |host: &str| Branch::root().arm(1, host);
        for host in ["a", "b", "c"] {
            log.append(Event::BranchBegan { branch: arm(host), host: host.into() }).await.unwrap();
        }
        let ended =
            Event::BranchEnded { branch: arm("b"), host: "b".into(), verdict: Verdict::Ok, reason: None };
        log.append(ended).await.unwrap();
        log.append_durable(message("one")).await.unwrap();
        let reader = store.reader().unwrap();
        let before = reader.events_before(log.run(), Seq(6), 2).unwrap();
        assert_eq!(before.iter().map(|record| record.seq.0).collect::<Vec<_>>(), [4, 5]);
        let arms = reader.arms(log.run(), 9).unwrap();
        assert_eq!(arms.iter().map(|(_, host)| host.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        let found = reader.events_with(log.run(), "message", "one", 9).unwrap();
        assert_eq!(found.iter().map(|record| record.seq.0).collect::<Vec<_>>(), [6]);
        assert!(reader.events_with(log.run(), "message", "two", 9).unwrap().is_empty());
        let last = reader.last_of_host("b").unwrap().unwrap();
        assert_eq!((last.run, last.verdict.as_str()), (log.run(), "ok"));
        assert_eq!(reader.last_of_host("a").unwrap(), None);
    }
}
