//! OpenBao and Vault as a source: one login a run, each path read once, everything given back at the end.

mod client;
mod config;
mod error;
mod login;
mod read;
mod session;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

pub use self::config::{Auth, Config, CreationPath, Entry, Kv, Method, OnUnreachable, RoleId, Wrong};
pub use self::error::Error;
use self::read::Document;
pub use self::session::Identity;
use self::session::Session;
pub use self::write::Stored;
use super::ear::Ear;
use super::place::Place;
use crate::model::secret::SecretName;

/// One source, with what was asked of it in this run.
pub(super) struct Bao {
    config: Config,
    place: Place,
    ear: Ear,
    opened: Mutex<Option<Arc<Session>>>,
    documents: Mutex<HashMap<String, Arc<OnceCell<Document>>>>,
}

/// A value, and what is known of it.
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    /// Which version, for KV 2.
    pub(super) version: Option<u64>,
    /// What it is in JSON, if it is no text.
    pub(super) form: Option<&'static str>,
}

impl Bao {
    pub(super) fn new(config: Config, place: Place, ear: Ear) -> Self {
        Self { config, place, ear, opened: Mutex::default(), documents: Mutex::default() }
    }

    /// Returns what `names` call it.
    pub(super) fn name(&self) -> Option<&str> {
        self.config.name.as_deref()
    }

    /// Whether the next source is asked where this one cannot be.
    pub(super) fn yields(&self) -> bool {
        self.config.on_unreachable == OnUnreachable::Next
    }

    /// Returns the source in words.
    pub(super) fn in_words(&self) -> String {
        let configured: Vec<&str> = self.config.addresses().collect();
        let addresses = match self.session() {
            Ok(session) => session.client.addresses(),
            Err(_) if configured.is_empty() => return "OpenBao".to_owned(),
            Err(_) => configured.join(", "),
        };
        format!("OpenBao at `{addresses}`")
    }

    /// Returns the place of a name without one of its own: its last segment is the field, the rest the path.
    pub(super) fn entry(&self, name: &SecretName) -> Option<Entry> {
        let (path, field) = match name.as_str().rsplit_once('/') {
            Some(parts) => parts,
            // A single word is a field of the path that stands before all.
            None => self.config.prefix.as_ref().map(|_| ("", name.as_str()))?,
        };
        Some(Entry { source: None, path: path.to_owned(), field: field.to_owned(), with: None })
    }

    /// Reads a field; the path is read once.
    pub(super) async fn read(self: &Arc<Self>, entry: &Entry) -> Result<Value, Error> {
        let whole = read::whole_path(&self.config, &entry.path)?;
        let key = format!("{whole} {}", serde_json::to_string(&entry.with).unwrap_or_default());
        let cell = self.documents.lock().entry(key).or_default().clone();
        let (this, with, filled) = (self.clone(), entry.with.clone(), cell.clone());
        // On a thread of the world's own: a caller that gives up in the middle must not lose a token or a lease.
        let reading = tokio::spawn(async move {
            let read = || async {
                let session = this.session()?;
                let _busy = session.busy.read().await;
                read::read(&session, &this.config, &whole, with.as_ref()).await
            };
            filled.get_or_try_init(read).await.map(drop)
        });
        reading.await.map_err(|_| Error::Interrupted)??;
        let document = cell.get().ok_or(Error::Interrupted)?;
        let found = document.field(&entry.field)?;
        Ok(Value { bytes: found.bytes, version: document.version, form: found.form })
    }

    /// Reads a path with all its fields, anew.
    pub(super) async fn stored(self: &Arc<Self>, path: &str) -> Result<Stored, Error> {
        let (this, whole) = (self.clone(), read::whole_path(&self.config, path)?);
        // As above: a login that it makes must not be lost.
        let looking = tokio::spawn(async move {
            let session = this.session()?;
            let _busy = session.busy.read().await;
            write::look(&session, &this.config, &whole).await
        });
        looking.await.map_err(|_| Error::Interrupted)?
    }

    /// Writes all fields of a path over a version; what was read of it is forgotten.
    pub(super) async fn store(
        self: &Arc<Self>,
        path: &str,
        fields: serde_json::Map<String, serde_json::Value>,
        version: u64,
    ) -> Result<u64, Error> {
        let (this, whole) = (self.clone(), read::whole_path(&self.config, path)?);
        let writing = tokio::spawn(async move {
            let session = this.session()?;
            let _busy = session.busy.read().await;
            let written = write::write(&session, &this.config, &whole, fields, version).await;
            this.documents.lock().retain(|key, _| !key.starts_with(&format!("{whole} ")));
            written
        });
        writing.await.map_err(|_| Error::Interrupted)?
    }

    /// Whether a place is at a path.
    pub(super) fn is_at(&self, entry: &Entry, path: &str) -> bool {
        let whole = |path: &str| read::whole_path(&self.config, path).ok();
        whole(path).is_some_and(|wanted| whole(&entry.path) == Some(wanted))
    }

    /// Logs in and returns who that is, where the login may know itself.
    pub(super) async fn identity(&self) -> Result<Option<Identity>, Error> {
        self.session()?.identity().await
    }

    /// Gives back tokens and leases; returns, in words, what could not be given back.
    pub(super) async fn close(&self) -> Vec<String> {
        let opened = self.opened.lock().take();
        match opened {
            Some(session) => session.close().await,
            None => Vec::new(),
        }
    }

    fn session(&self) -> Result<Arc<Session>, Error> {
        let mut opened = self.opened.lock();
        if let Some(session) = opened.as_ref() {
            return Ok(session.clone());
        }
        let client = client::Client::open(&self.config, &self.place, self.ear.clone())?;
        let session = Session::new(client, self.config.auth.clone(), self.place.clone(), self.ear.clone());
        Ok(opened.insert(Arc::new(session)).clone())
    }
}
