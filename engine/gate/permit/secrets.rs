//! The way to stores of secrets that are written to.

use serde_json::{Map, Value};

use super::{Permit, cancelled, invalid};
use crate::gate::sentence;
use crate::model::event::Failure;
use crate::world::secrets::bao::{Error, Stored};

impl Permit<'_> {
    /// Reads a path of OpenBao with all its fields; nothing of it is recorded.
    pub async fn stored(&self, source: Option<&str>, path: &str) -> Result<Stored, Failure> {
        let cancel = self.gate.cancellation.token().clone();
        let found = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(cancelled()),
            found = self.gate.world.secrets().stored(source, path) => found,
        };
        self.gate.tell(self.gate.world.secrets().warnings()).await?;
        found.map_err(|error| self.no_secret(&error))
    }

    /// Writes all fields of a path of OpenBao over this version; one that is cancelled meanwhile may have been written.
    pub async fn store(
        &self,
        source: Option<&str>,
        path: &str,
        fields: Map<String, Value>,
        version: u64,
    ) -> Result<u64, Failure> {
        let cancel = self.gate.cancellation.token().clone();
        let written = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(cancelled()),
            written = self.gate.world.secrets().store(source, path, fields, version) => written,
        };
        self.gate.tell(self.gate.world.secrets().warnings()).await?;
        written.map_err(|error| self.no_secret(&error))
    }

    fn no_secret(&self, error: &Error) -> Failure {
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let kind = if matches!(error, Error::Overtaken { .. }) { "conflict" } else { "secret" };
        let message = self.redact(&format!("{}{hint}", sentence(error)));
        Failure { kind: kind.to_owned(), ..invalid(message) }
    }
}
