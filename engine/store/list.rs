//! The list of runs: newest first, filtered, and quick with a million of them.

use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension as _, params_from_iter};

use crate::model::run::{RunId, Status};
use crate::store::reader::{finish_run, raw_run};
use crate::store::{Reader, RunRow, StoreError, sqlite};

/// The most combinations of runbook and status that are looked up one by one; beyond that a walk over all runs finds enough soon.
const COMBINATIONS: usize = 64;

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A glob over the runbook's path; a word without `/` or `*` matches the file's stem.
    pub runbook: Option<String>,
    /// A host of a fan-out of the run.
    pub host: Option<String>,
    /// Any of these.
    pub status: Vec<Status>,
    /// Begun at or after this: microseconds since 1970, UTC.
    pub since: Option<i64>,
    /// Begun before this.
    pub until: Option<i64>,
    /// Numbers below this, for the next page.
    pub before: Option<RunId>,
    /// How many at most; newest first.
    pub limit: usize,
}

/// Conditions with their values, numbered as SQLite wants them.
#[derive(Default, Clone)]
struct Conditions {
    text: String,
    values: Vec<Sql>,
}

impl Conditions {
    fn and(&mut self, condition: &str, value: impl Into<Sql>) {
        self.values.push(value.into());
        self.text.push_str(" AND ");
        self.text.push_str(&condition.replace('?', &format!("?{}", self.values.len())));
    }

    fn and_one_of(&mut self, column: &str, words: &[String]) {
        let places: Vec<String> = words
            .iter()
            .map(|word| {
                self.values.push(word.clone().into());
                format!("?{}", self.values.len())
            })
            .collect();
        self.text.push_str(&format!(" AND {column} IN ({})", places.join(", ")));
    }
}

impl Reader {
    /// Lists runs, newest first.
    pub fn runs(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        let limit = if filter.limit == 0 { 50 } else { filter.limit };
        let names = match &filter.runbook {
            None => None,
            Some(pattern) => Some(self.runbooks_like(pattern)?),
        };
        let mut bounds = Conditions::default();
        if let Some(before) = filter.before {
            bounds.and("r.id < ?", before.0);
        }
        // Numbers and times mostly rise together, so that a time becomes a bound of numbers, which walks no further than it must.
        for (time, condition, best, bound) in [
            (filter.since, "started_at >= ?1", "min", "r.id >= ?"),
            (filter.until, "started_at < ?1", "max", "r.id <= ?"),
        ] {
            let Some(time) = time else { continue };
            let Some(id) = self.outermost(best, condition, time)? else { return Ok(Vec::new()) };
            bounds.and(bound, id);
            bounds.and(&format!("r.{}", condition.replace("?1", "?")), time);
        }
        let statuses: Vec<String> = filter.status.iter().map(|status| status.as_str().to_owned()).collect();
        let combinations = names.as_ref().map_or(1, Vec::len).saturating_mul(statuses.len().max(1));
        if combinations == 0 {
            return Ok(Vec::new());
        }
        let is_single = filter.host.is_none() && combinations <= COMBINATIONS;
        let mut all = bounds;
        let mut parts = Vec::new();
        if is_single {
            let names = names.map_or(vec![None], |names| names.into_iter().map(Some).collect());
            let statuses =
                if statuses.is_empty() { vec![None] } else { statuses.into_iter().map(Some).collect() };
            let shared = all.text.clone();
            for name in &names {
                for status in &statuses {
                    all.text.clone_from(&shared);
                    if let Some(name) = name {
                        all.and("r.runbook = ?", name.clone());
                    }
                    if let Some(status) = status {
                        all.and("r.status = ?", status.clone());
                    }
                    parts.push(format!(
                        "SELECT * FROM (SELECT r.id FROM runs r WHERE 1{} ORDER BY r.id DESC LIMIT {limit})",
                        all.text
                    ));
                }
            }
        } else {
            if let Some(names) = &names {
                all.and_one_of("r.runbook", names);
            }
            if !statuses.is_empty() {
                all.and_one_of("r.status", &statuses);
            }
            let (from, order) = match &filter.host {
                None => ("runs r", "r.id"),
                Some(host) => {
                    all.and("h.host = ?", host.clone());
                    ("run_hosts h CROSS JOIN runs r ON r.id = h.run", "h.run")
                }
            };
            parts.push(format!(
                "SELECT * FROM (SELECT r.id FROM {from} WHERE 1{} ORDER BY {order} DESC LIMIT {limit})",
                all.text
            ));
        }
        let sql = format!(
            "SELECT id, started_at, ended_at, last_seq, summary FROM runs WHERE id IN ({}) ORDER BY id DESC LIMIT {limit}",
            parts.join(" UNION ALL ")
        );
        let fail = sqlite(&self.file);
        let mut statement = self.connection.prepare_cached(&sql).map_err(&fail)?;
        let rows = statement.query_map(params_from_iter(all.values), raw_run).map_err(&fail)?;
        rows.map(|row| finish_run(row.map_err(&fail)?)).collect()
    }

    /// Returns the least or greatest number of the runs that a condition on their beginning holds for.
    fn outermost(&self, best: &str, condition: &str, time: i64) -> Result<Option<i64>, StoreError> {
        // With `+`, SQLite reads the index of times and nothing else.
        let sql = format!("SELECT {best}(+id) FROM runs INDEXED BY runs_by_start WHERE {condition}");
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([time], |row| row.get(0)).optional())
            .map(Option::flatten)
            .map_err(sqlite(&self.file))
    }

    /// Returns the paths of runbooks that have run and that a pattern means.
    fn runbooks_like(&self, pattern: &str) -> Result<Vec<String>, StoreError> {
        let is_word = !pattern.contains(['*', '/']);
        let pattern = if is_word { format!("*{pattern}.rhai") } else { pattern.to_owned() };
        let fail = sqlite(&self.file);
        // From one name to the next in the index, not through a million rows.
        let mut statement = self
            .connection
            .prepare_cached(
                "WITH RECURSIVE names (name) AS (
                     SELECT min(runbook) FROM runs
                     UNION ALL
                     SELECT (SELECT min(runbook) FROM runs WHERE runbook > name) FROM names WHERE name IS NOT NULL
                 )
                 SELECT name FROM names WHERE name IS NOT NULL AND name GLOB ?1",
            )
            .map_err(&fail)?;
        let rows = statement.query_map([pattern], |row| row.get(0)).map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_finds_the_same_rows_as_a_plain_walk() {
        let (_dir, store) = crate::store::tests::store(None);
        let connection = crate::store::connect(store.file(), rusqlite::OpenFlags::default()).unwrap();
        let names = ["runbooks/a.rhai", "runbooks/b.rhai", "runbooks/x/a.rhai"];
        let states = [Status::Done, Status::Failed, Status::Queued];
        let mut summary = crate::model::run::Summary::default();
        let mut rows = Vec::new();
        for id in 1..=90_i64 {
            let (name, status) = (names[id as usize % 3], states[(id as usize / 3) % 3]);
            // One of the times is out of order, as after a clock that was set back.
            let at = if id == 50 { 3 } else { id };
            (summary.runbook, summary.status) = (name.to_owned(), status);
            connection
                .execute(
                    "INSERT INTO runs (id, runbook, status, mode, started_at, last_seq, last_hash, summary)
                     VALUES (?1, ?2, ?3, 'apply', ?4, 1, x'00', ?5)",
                    rusqlite::params![
                        id,
                        name,
                        status.as_str(),
                        at,
                        serde_json::to_string(&summary).unwrap()
                    ],
                )
                .unwrap();
            if id % 4 == 0 {
                let host = "INSERT INTO run_hosts (run, host, verdict) VALUES (?1, 'h', 'ok')";
                connection.execute(host, [id]).unwrap();
            }
            rows.push((id, name, status, at));
        }
        let reader = store.reader().unwrap();
        let mut tried = 0;
        for runbook in [None, Some("a"), Some("runbooks/a.rhai"), Some("runbooks/*"), Some("none")] {
            for host in [None, Some("h")] {
                for status in [vec![], vec![Status::Failed], vec![Status::Done, Status::Queued]] {
                    for (since, until, before) in [
                        (None, None, None),
                        (Some(40), None, Some(80)),
                        (Some(2), Some(60), None),
                        (Some(999), None, None),
                    ] {
                        let fits = |(id, name, is, at): &&(i64, &str, Status, i64)| {
                            let is_named = match runbook {
                                None => true,
                                Some("a") => name.ends_with("a.rhai"),
                                Some("runbooks/*") => true,
                                Some(wanted) => *name == wanted,
                            };
                            is_named
                                && (host.is_none() || id % 4 == 0)
                                && (status.is_empty() || status.contains(is))
                                && since.is_none_or(|since| *at >= since)
                                && until.is_none_or(|until| *at < until)
                                && before.is_none_or(|before| *id < before)
                        };
                        let expected: Vec<i64> =
                            rows.iter().rev().filter(fits).take(7).map(|row| row.0).collect();
                        let filter = Filter {
                            runbook: runbook.map(str::to_owned),
                            host: host.map(str::to_owned),
                            status: status.clone(),
                            since,
                            until,
                            before: before.map(RunId),
                            limit: 7,
                        };
                        let found: Vec<i64> =
                            reader.runs(&filter).unwrap().iter().map(|row| row.id.0).collect();
                        assert_eq!(found, expected, "{filter:?}");
                        tried += 1;
                    }
                }
            }
        }
        assert_eq!(tried, 120);
    }
}
