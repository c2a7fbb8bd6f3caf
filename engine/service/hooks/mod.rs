//! What GitLab reports: proved, taken in, answered, and then worked on.
//!
//! An event is in the run log before it is answered, so none is lost; it is worked on by the server that leads, on a thread of its own.
//! Everything that comes of it has a key, so that an event that is reported twice, or worked on again after a crash, comes to the
//! same.

mod door;
mod note;
mod proof;
mod settings;
mod tell;
mod text;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use zeroize::Zeroizing;

pub(crate) use door::{has_gitlab, merge_request};
pub use proof::{Keys, Shown, Unproved};
pub use settings::{Notes, Settings as GitLabSettings};

use crate::service::Desk;
use crate::store::{StoreError, sha256};
use crate::world::clock;

/// How long the secrets of the webhook are remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// The least time between two looks at them for events that prove nothing.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest time between two rounds of the work.
const ROUND: Duration = Duration::from_secs(1);

/// Takes events of GitLab in. Cheap to clone.
#[derive(Clone)]
pub struct Hooks(Arc<Inner>);

struct Inner {
    desk: Desk,
    /// The path of the project whose events are taken.
    project: String,
    settings: GitLabSettings,
    keys: Mutex<Option<(Instant, Arc<Keys>)>>,
    is_due: Mutex<bool>,
    bell: Condvar,
    is_ending: AtomicBool,
    tried: Mutex<tell::Tried>,
}

/// Why an event is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody knows who sent it.
    #[error(transparent)]
    Unproved(#[from] Unproved),
    /// It is no event.
    #[error("{0}")]
    Invalid(String),
    /// The secrets that prove it cannot be read.
    #[error("the secrets of the webhook cannot be read: {0}")]
    Secrets(String),
    /// The run log takes nothing in.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Works on events until it is dropped.
pub struct Working {
    hooks: Hooks,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.hooks.0.is_ending.store(true, Ordering::Relaxed);
        self.hooks.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Hooks {
    /// Takes what `server.gitlab` says; nothing where it names no project.
    pub fn new(desk: &Desk) -> Result<Option<Self>, String> {
        let config = desk.project().config();
        let settings = &config.server.gitlab;
        let Some(project) = settings.project.clone() else {
            let is_meant = settings.webhook_token.is_some()
                || settings.signing_token.is_some()
                || settings.require_signature
                || settings.notes.is_some();
            if is_meant {
                return Err(
                    "`server.gitlab` needs `project`, such as `infra/nl`: whose events are taken".to_owned()
                );
            }
            return Ok(None);
        };
        if config.gitlab.is_none() {
            return Err(
                "`server.gitlab` needs `gitlab:` with `url` and `token`, to answer merge requests".to_owned()
            );
        }
        if config.server.project.is_none() {
            return Err(
                "`server.gitlab` needs `server.project`, the repository that its events are about".to_owned()
            );
        }
        if settings.webhook_token.is_none() && settings.signing_token.is_none() {
            return Err(
                "`server.gitlab` needs `webhook_token` or `signing_token`, the name of a secret".to_owned()
            );
        }
        if settings.require_signature && settings.signing_token.is_none() {
            return Err("`require_signature` needs `signing_token`, the name of a secret".to_owned());
        }
        Ok(Some(Self(Arc::new(Inner {
            desk: desk.clone(),
            project,
            settings: settings.clone(),
            keys: Mutex::default(),
            is_due: Mutex::default(),
            bell: Condvar::new(),
            is_ending: AtomicBool::new(false),
            tried: Mutex::default(),
        }))))
    }

    /// Works on events from now on, on a thread of its own.
    pub fn work(&self) -> std::io::Result<Working> {
        let hooks = self.clone();
        let thread = std::thread::Builder::new().name("hooks".to_owned()).spawn(move || hooks.rounds())?;
        Ok(Working { hooks: self.clone(), thread: Some(thread) })
    }

    fn ring(&self) {
        *self.0.is_due.lock() = true;
        self.0.bell.notify_all();
    }

    fn rounds(&self) {
        loop {
            {
                let mut is_due = self.0.is_due.lock();
                if !*is_due {
                    let _ = self.0.bell.wait_for(&mut is_due, ROUND);
                }
                *is_due = false;
            }
            if self.0.is_ending.load(Ordering::Relaxed) {
                return;
            }
            if !self.0.desk.leads() {
                continue;
            }
            if let Err(error) = self.round() {
                tracing::error!(%error, "events of GitLab cannot be worked on; they will be again");
            }
            if let Err(error) = self.tell() {
                tracing::error!(%error, "merge requests cannot be told about their runs; they will be");
            }
        }
    }

    /// Takes an event in that has proved where it comes from; `false` if it was reported before.
    ///
    /// `name` is what GitLab calls the event: `Idempotency-Key`, or `X-Gitlab-Event-UUID`.
    pub fn receive(&self, shown: &Shown<'_>, name: Option<&str>) -> Result<bool, Refused> {
        let (keys, age) = self.keys(REMEMBERED)?;
        if let Err(unproved) = keys.check(shown, clock::now()) {
            // The secret may be another one since it was read.
            if age < AGAIN {
                return Err(unproved.into());
            }
            let (keys, _) = self.keys(AGAIN)?;
            keys.check(shown, clock::now())?;
        }
        let payload: serde_json::Value = serde_json::from_slice(shown.body)
            .map_err(|error| Refused::Invalid(format!("the body is no JSON: {error}")))?;
        if !payload.is_object() {
            return Err(Refused::Invalid("the body is no event".to_owned()));
        }
        let is_name =
            |text: &&str| (1..=200).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
        // What the signature covers counts for more than what anybody may write beside it.
        let id = match shown.id.filter(|_| shown.signature.is_some()).or(name).filter(is_name) {
            Some(id) => id.to_owned(),
            None => format!("body:{}", sha256(shown.body)),
        };
        let text = String::from_utf8_lossy(shown.body);
        let is_new = self.0.desk.store().receive(&id, &text)?;
        if is_new {
            self.ring();
        }
        Ok(is_new)
    }

    /// Returns the secrets of the webhook, read at most this long ago, and how old they are.
    fn keys(&self, most: Duration) -> Result<(Arc<Keys>, Duration), Refused> {
        let mut known = self.0.keys.lock();
        if let Some((at, keys)) = known.as_ref().filter(|(at, _)| at.elapsed() < most) {
            return Ok((keys.clone(), at.elapsed()));
        }
        let (desk, settings) = (&self.0.desk, &self.0.settings);
        let read = |name: &crate::model::secret::SecretName| {
            desk.project().secret_now(desk.place(), name).map_err(Refused::Secrets)
        };
        let token = settings.webhook_token.as_ref().map(read).transpose()?;
        let signing = settings.signing_token.as_ref().map(read).transpose()?;
        let keys = Arc::new(Keys {
            // An empty secret would be known to everybody.
            token: token
                .map(|secret| Zeroizing::new(secret.expose().to_vec()))
                .filter(|token| !token.trim_ascii().is_empty()),
            signing: signing
                .filter(|secret| !secret.expose().trim_ascii().is_empty())
                .map(|secret| Keys::signing(secret.expose())),
            require_signature: settings.require_signature,
        });
        *known = Some((Instant::now(), keys.clone()));
        Ok((keys, Duration::ZERO))
    }
}
