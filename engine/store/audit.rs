//! The audit: every decision about who may do what, allowed or refused.

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use crate::store::{Reader, Store, StoreError, sqlite};
use crate::world::clock;

/// A decision, as it is put down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Who asked.
    pub who: String,
    /// Where the request came from: an address, or `terminal`.
    pub address: String,
    /// What was asked for: `runs.create`, `session.create` …
    pub action: String,
    /// Of what.
    pub target: String,
    /// Whether it was allowed.
    pub allowed: bool,
    /// Why not, or nothing.
    pub reason: String,
}

/// A decision as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Its number.
    pub id: i64,
    /// When: microseconds since 1970, UTC.
    pub at: i64,
    /// The decision.
    pub verdict: Verdict,
}

/// Which decisions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Who asked, exactly.
    pub who: Option<String>,
    /// What was asked for; `runs.*` is everything about runs.
    pub action: Option<String>,
    /// Part of what it was about.
    pub target: Option<String>,
    /// Part of any of its words, in small letters or capitals.
    pub words: Option<String>,
    /// Only what was allowed, or only what was refused.
    pub allowed: Option<bool>,
    /// At or after this: microseconds since 1970, UTC.
    pub since: Option<i64>,
    /// Before this.
    pub until: Option<i64>,
    /// Numbers below this.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: usize,
}

impl Store {
    /// Puts a decision down.
    pub fn audit(&self, verdict: &Verdict) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO audit (at, who, address, action, target, allowed, reason)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )
                .and_then(|mut statement| {
                    statement.execute(rusqlite::params![
                        clock::now().as_microsecond(),
                        verdict.who,
                        verdict.address,
                        verdict.action,
                        verdict.target,
                        verdict.allowed,
                        verdict.reason,
                    ])
                })
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }
}

impl Reader {
    /// Lists decisions, the newest first.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Vec<Audited>, StoreError> {
        let fail = sqlite(&self.file);
        let (mut terms, mut values) = (Vec::new(), Vec::<Value>::new());
        let mut term = |sql: &'static str, value: Option<Value>| {
            if let Some(value) = value {
                terms.push(sql);
                values.push(value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Value::Text);
        term("who = ?", text(&filter.who));
        match filter.action.as_deref().and_then(|action| action.strip_suffix('*')) {
            Some(beginning) => {
                term("substr(action, 1, length(?)) = ?", Some(Value::Text(beginning.to_owned())));
            }
            None => term("action = ?", text(&filter.action)),
        }
        term("instr(target, ?) > 0", text(&filter.target));
        term(
            "instr(lower(who || ' ' || address || ' ' || action || ' ' || target || ' ' || reason), lower(?)) > 0",
            text(&filter.words),
        );
        term("allowed = ?", filter.allowed.map(|allowed| Value::Integer(i64::from(allowed))));
        term("at >= ?", filter.since.map(Value::Integer));
        term("at < ?", filter.until.map(Value::Integer));
        term("id < ?", filter.before.map(Value::Integer));
        // The beginning of an action stands twice in its term.
        let mut bound = Vec::new();
        for (sql, value) in terms.iter().zip(values) {
            bound.extend(std::iter::repeat_n(value, sql.matches('?').count()));
        }
        bound.push(Value::Integer(filter.limit as i64));
        let terms = if terms.is_empty() { String::new() } else { format!("WHERE {}", terms.join(" AND ")) };
        let mut statement = self
            .connection
            .prepare_cached(&format!(
                "SELECT id, at, who, address, action, target, allowed, reason FROM audit {terms}
                 ORDER BY id DESC LIMIT ?"
            ))
            .map_err(&fail)?;
        let audited = |row: &rusqlite::Row<'_>| {
            Ok(Audited {
                id: row.get(0)?,
                at: row.get(1)?,
                verdict: Verdict {
                    who: row.get(2)?,
                    address: row.get(3)?,
                    action: row.get(4)?,
                    target: row.get(5)?,
                    allowed: row.get(6)?,
                    reason: row.get(7)?,
                },
            })
        };
        let rows = statement.query_map(params_from_iter(bound), audited).map_err(&fail)?;
        rows.map(|row| row.map_err(&fail)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn decisions_are_listed_by_what_they_say_and_by_page() {
        let (_dir, store) = store(None);
        for (who, action, target, allowed) in [
            ("ann", "runs.create", "runbooks/a.rhai", true),
            ("bob", "runs.cancel", "runs/1", false),
            ("ann", "users.add", "users/carl", true),
            ("ann", "session.create", "ann", false),
        ] {
            let verdict = Verdict {
                who: who.into(),
                address: "127.0.0.1".into(),
                action: action.into(),
                target: target.into(),
                allowed,
                reason: String::new(),
            };
            store.audit(&verdict).unwrap();
        }
        let reader = store.reader().unwrap();
        let usual = || AuditFilter { limit: 10, ..AuditFilter::default() };
        let ids = |filter: AuditFilter| -> Vec<i64> {
            reader.audit(&filter).unwrap().iter().map(|one| one.id).collect()
        };
        assert_eq!(ids(usual()), [4, 3, 2, 1]);
        assert_eq!(ids(AuditFilter { limit: 2, before: Some(4), ..usual() }), [3, 2]);
        assert_eq!(ids(AuditFilter { who: Some("ann".into()), allowed: Some(true), ..usual() }), [3, 1]);
        assert_eq!(ids(AuditFilter { action: Some("runs.*".into()), ..usual() }), [2, 1]);
        assert_eq!(ids(AuditFilter { action: Some("runs".into()), ..usual() }), [0_i64; 0]);
        assert_eq!(ids(AuditFilter { target: Some("carl".into()), ..usual() }), [3]);
        assert_eq!(ids(AuditFilter { until: Some(0), ..usual() }), [0_i64; 0]);
        assert_eq!(ids(AuditFilter { since: Some(0), ..usual() }).len(), 4);
    }
}
