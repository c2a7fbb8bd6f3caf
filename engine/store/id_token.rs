//! ID tokens that have asked for a run: each does so once.

use rusqlite::{OptionalExtension as _, TransactionBehavior, params};

use crate::store::{Store, StoreError, sqlite};
use crate::world::clock;

/// How often an ID token has asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Never before.
    New,
    /// Before, with the same idempotency key: it asks again what became of it.
    Again,
    /// Before, and with no key or another one.
    Replayed,
}

impl Store {
    /// Binds an ID token to the run that it asks for.
    pub fn bind_id_token(
        &self,
        issuer: &str,
        jti: &str,
        key: Option<&str>,
        expires_at: i64,
    ) -> Result<Bound, StoreError> {
        let fail = sqlite(self.file());
        self.side(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
            let now = clock::now().as_microsecond();
            transaction.execute("DELETE FROM id_tokens WHERE expires_at <= ?1", [now]).map_err(&fail)?;
            let known: Option<Option<String>> = transaction
                .query_row("SELECT key FROM id_tokens WHERE issuer = ?1 AND jti = ?2", [issuer, jti], |row| {
                    row.get(0)
                })
                .optional()
                .map_err(&fail)?;
            let bound = match known {
                None => {
                    transaction
                        .execute(
                            "INSERT INTO id_tokens (issuer, jti, key, expires_at) VALUES (?1, ?2, ?3, ?4)",
                            params![issuer, jti, key, expires_at],
                        )
                        .map_err(&fail)?;
                    Bound::New
                }
                Some(Some(known)) if key == Some(&known) => Bound::Again,
                Some(_) => Bound::Replayed,
            };
            transaction.commit().map_err(&fail)?;
            Ok(bound)
        })
    }

    /// Lets an ID token go that has not become a run after all.
    pub fn unbind_id_token(&self, issuer: &str, jti: &str) -> Result<(), StoreError> {
        self.side(|connection| {
            connection
                .execute("DELETE FROM id_tokens WHERE issuer = ?1 AND jti = ?2", [issuer, jti])
                .map(drop)
                .map_err(sqlite(self.file()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn a_token_asks_once_and_may_ask_again_with_its_key() {
        let (_dir, store) = store(None);
        let later = clock::now().as_microsecond() + 60_000_000;
        let bind = |jti, key| store.bind_id_token("https://gitlab", jti, key, later).unwrap();
        assert_eq!(bind("a", None), Bound::New);
        assert_eq!((bind("a", None), bind("a", Some("k"))), (Bound::Replayed, Bound::Replayed));
        assert_eq!((bind("b", Some("k")), bind("b", Some("k"))), (Bound::New, Bound::Again));
        assert_eq!((bind("b", Some("other")), bind("b", None)), (Bound::Replayed, Bound::Replayed));
        store.unbind_id_token("https://gitlab", "a").unwrap();
        assert_eq!(bind("a", None), Bound::New);
        assert_eq!(store.bind_id_token("https://other", "a", None, later).unwrap(), Bound::New);
    }
}
