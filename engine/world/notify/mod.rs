//! Ways to tell people something: mail, Matrix, webhooks. One attempt each; when to try again is for others to say.

pub mod config;
mod mail;
mod matrix;
mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use crate::model::notice::Notice;
use crate::world::http::{Fault, Http, Reply, Request, Trust};
use crate::world::secrets::{SecretError, Secrets};
use config::Target;

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// More than any answer has that is worth reading.
const MOST_BYTES: usize = 64 * 1024;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// A secret of the target.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A secret of the target is not the text that it should be.
    #[error("secret `{0}` is not what the target needs: {1}")]
    Unfit(String, &'static str),
    /// There was no answer.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The other side said no.
    #[error("{who} answers {status}: {text}")]
    Refused {
        /// Which side.
        who: &'static str,
        /// The status.
        status: u16,
        /// What it said.
        text: String,
    },
    /// The mail server said no, or did not answer.
    #[error("mail: {0}")]
    Mail(String),
    /// The target itself is not right.
    #[error("{0}")]
    Invalid(String),
}

/// Tells people something.
pub struct Messenger {
    http: Http,
    root: PathBuf,
}

impl Messenger {
    /// Makes a messenger; files that targets name are in this folder.
    pub fn new(root: PathBuf) -> Self {
        Self { http: Http::default(), root }
    }

    /// Makes one attempt. A message with an id that has been delivered before is told once, where the other side can tell.
    pub async fn send(
        &self,
        target: &Target,
        secrets: &Secrets,
        notice: &Notice,
        id: &str,
    ) -> Result<(), Undelivered> {
        if let Some(fault) = target.fault() {
            return Err(Undelivered::Invalid(fault));
        }
        if let Some(mail) = &target.mail {
            return mail::send(self, mail, secrets, notice, id).await;
        }
        if let Some(matrix) = &target.matrix {
            return matrix::send(self, matrix, secrets, notice, id).await;
        }
        match &target.webhook {
            Some(webhook) => webhook::send(self, webhook, secrets, notice, id).await,
            None => Ok(()),
        }
    }

    fn read(&self, path: &std::path::Path) -> Result<Vec<u8>, Undelivered> {
        std::fs::read(self.root.join(path))
            .map_err(|error| Undelivered::Invalid(format!("cannot read `{}`: {error}", path.display())))
    }

    async fn exchange(
        &self,
        method: &str,
        url: Url,
        headers: Vec<(String, Zeroizing<Vec<u8>>)>,
        body: String,
        ca: Option<&std::path::Path>,
    ) -> Result<Reply, Undelivered> {
        let trust = match ca {
            Some(path) => Trust::Roots(self.read(path)?.into()),
            None => Trust::System,
        };
        let request = Request {
            method: method.to_owned(),
            url,
            headers,
            body: Some(std::sync::Arc::new(Zeroizing::new(body.into_bytes()))),
            trust,
            server_name: None,
            max_bytes: MOST_BYTES,
            deadline: Instant::now() + TIMEOUT,
            timeout: TIMEOUT,
        };
        Ok(self.http.exchange(&request, &CancellationToken::new()).await?)
    }
}

fn plain(name: &str, value: impl Into<Vec<u8>>) -> (String, Zeroizing<Vec<u8>>) {
    (name.to_owned(), Zeroizing::new(value.into()))
}

fn refused(who: &'static str, reply: &Reply) -> Undelivered {
    let text = String::from_utf8_lossy(&reply.body);
    let line: String = text.lines().next().unwrap_or_default().chars().take(300).collect();
    Undelivered::Refused { who, status: reply.status, text: line }
}
