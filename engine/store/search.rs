//! Full-text search in output; the index is brought up to date when somebody searches, so that runs do not pay for it.

use rusqlite::{OpenFlags, TransactionBehavior, params};
use serde::Serialize;

use crate::model::run::{RunId, Seq};
use crate::store::codec::unpack;
use crate::store::{Store, StoreError, connect, sqlite};

/// A piece of output that holds the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// The run.
    pub run: RunId,
    /// The output event.
    pub seq: Seq,
    /// The effect's address.
    pub address: String,
    /// The lines that match, at most five.
    pub lines: Vec<String>,
}

/// Chunks indexed in one transaction: bounds how long appends wait for the write lock.
const STRIDE: usize = 256;

impl Store {
    /// Finds output that holds all the words (`"two words"` in quotes are a phrase, `fail*` a prefix), newest first.
    pub fn search(&self, query: &str, run: Option<RunId>, limit: usize) -> Result<Vec<Hit>, StoreError> {
        let fail = sqlite(self.file());
        let mut connection = connect(self.file(), OpenFlags::default())?;
        while index_some(&mut connection).map_err(&fail)? == STRIDE {}
        let terms = terms(query);
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        let expression: Vec<String> = terms.iter().map(Term::expression).collect();
        let range = run.map_or((0, i64::MAX), |run| (run.0 << 32, (run.0 << 32) | i64::from(u32::MAX)));
        let mut statement = connection
            .prepare(
                "SELECT c.id, c.address, c.codec, c.length, c.data FROM words w JOIN chunks c ON c.id = w.rowid
                 WHERE words MATCH ?1 AND w.rowid BETWEEN ?2 AND ?3 ORDER BY w.rowid DESC LIMIT ?4",
            )
            .map_err(&fail)?;
        let mut rows =
            statement.query(params![expression.join(" "), range.0, range.1, limit as i64]).map_err(&fail)?;
        let mut hits = Vec::new();
        while let Some(row) = rows.next().map_err(&fail)? {
            let id: i64 = row.get(0).map_err(&fail)?;
            let length: i64 = row.get(3).map_err(&fail)?;
            let data = row.get_ref(4).and_then(|v| Ok(v.as_blob()?)).map_err(&fail)?;
            let bytes = unpack(row.get(2).map_err(&fail)?, length as usize, data).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let matches = |line: &&str| terms.iter().any(|term| term.is_in(line));
            hits.push(Hit {
                run: RunId(id >> 32),
                seq: Seq(id & i64::from(u32::MAX)),
                address: row.get(1).map_err(&fail)?,
                lines: text.lines().filter(matches).take(5).map(str::to_owned).collect(),
            });
        }
        Ok(hits)
    }
}

/// Indexes the next chunks and returns how many there were.
fn index_some(connection: &mut rusqlite::Connection) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Rows of a run that still goes on arrive out of the order of ids, so the mark may only move past finished runs.
    let rows: Vec<(i64, String)> = transaction
        .prepare_cached(
            "SELECT c.id, c.codec, c.length, c.data FROM chunks c
             WHERE c.id > (SELECT chunk FROM searched)
               AND c.address != '' AND c.id NOT IN (SELECT rowid FROM words) ORDER BY c.id LIMIT ?1",
        )?
        .query_map([STRIDE as i64], |row| {
            let length: i64 = row.get(2)?;
            let bytes = unpack(row.get(1)?, length as usize, row.get_ref(3)?.as_blob()?).unwrap_or_default();
            Ok((row.get(0)?, String::from_utf8_lossy(&bytes).into_owned()))
        })?
        .collect::<Result<_, _>>()?;
    for (id, text) in &rows {
        transaction
            .prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?
            .execute(params![id, text])?;
    }
    if rows.len() < STRIDE {
        transaction.execute(
            "UPDATE searched SET chunk = coalesce(
                 (SELECT (min(id) << 32) - 1 FROM runs WHERE status IN ('running', 'interrupted', 'in_doubt')),
                 (SELECT max(id) FROM chunks), 0)",
            [],
        )?;
    }
    transaction.commit()?;
    Ok(rows.len())
}

/// One word or phrase of a query.
#[derive(Debug, PartialEq, Eq)]
struct Term {
    text: String,
    prefix: bool,
}

impl Term {
    fn expression(&self) -> String {
        format!("\"{}\"{}", self.text.replace('"', "\"\""), if self.prefix { "*" } else { "" })
    }

    fn is_in(&self, line: &str) -> bool {
        line.to_lowercase().contains(&self.text.to_lowercase())
    }
}

fn terms(query: &str) -> Vec<Term> {
    let mut terms = Vec::new();
    for (index, part) in query.split('"').enumerate() {
        let words: Vec<&str> = if index % 2 == 1 { vec![part] } else { part.split_whitespace().collect() };
        for word in words.into_iter().filter(|word| !word.trim().is_empty()) {
            let (text, prefix) = word.strip_suffix('*').map_or((word, false), |stem| (stem, true));
            if text.chars().any(char::is_alphanumeric) {
                terms.push(Term { text: text.to_owned(), prefix });
            }
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_words_phrases_and_prefixes() {
        let term = |text: &str, prefix| Term { text: text.into(), prefix };
        assert_eq!(
            terms(r#"disk "no space" fail* * """#),
            [term("disk", false), term("no space", false), term("fail", true)]
        );
        assert_eq!(term(r#"a"b"#, true).expression(), r#""a""b"*"#);
    }
}
