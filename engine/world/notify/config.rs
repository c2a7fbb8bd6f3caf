//! `server.notify` in `nlrun.yaml`: who is told, by which way.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Time;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::model::duration;
use crate::model::notice::{Occasion, Quiet};
use crate::model::schedule::Zone;
use crate::model::secret::SecretName;

/// Who is told what; every key is optional, unknown keys are errors.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Targets by name.
    pub targets: BTreeMap<String, Target>,
    /// The targets that are told of what a schedule names nobody for.
    pub default: Vec<String>,
    /// How long a failure goes on before people are told again; 4 h by default.
    #[serde(deserialize_with = "time")]
    pub repeat: Option<Duration>,
    /// Hours in which only what is urgent is told; a target may have its own.
    #[serde(deserialize_with = "quiet")]
    pub quiet: Option<Quiet>,
}

/// One way to tell people something.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// By mail.
    pub mail: Option<Mail>,
    /// In a room of Matrix.
    pub matrix: Option<Matrix>,
    /// By a request to a URL.
    pub webhook: Option<Webhook>,
    /// Hours in which only what is urgent is told there.
    #[serde(default, deserialize_with = "quiet")]
    pub quiet: Option<Quiet>,
}

/// How a connection to a mail server is kept private.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// It begins in the open and must go on in TLS.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all: for a relay on this machine.
    None,
}

/// Mail by SMTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// To whom.
    pub to: Vec<String>,
    /// From whom.
    pub from: String,
    /// The mail server.
    pub host: String,
    /// Its port; 587, 465 with `tls: tls`, 25 with `tls: none`.
    pub port: Option<u16>,
    /// How the connection is kept private.
    #[serde(default)]
    pub tls: MailTls,
    /// The name to log in with.
    pub user: Option<String>,
    /// The secret to log in with.
    pub password: Option<SecretName>,
    /// A file of the project with the authority that signed the server's certificate, in PEM.
    pub ca: Option<std::path::PathBuf>,
}

/// A room of Matrix.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// The homeserver: `https://matrix.example.org`.
    pub homeserver: String,
    /// The room's id.
    pub room: String,
    /// The secret that is the access token.
    pub token: SecretName,
    /// A file of the project with the authority that signed the server's certificate, in PEM.
    pub ca: Option<std::path::PathBuf>,
}

/// A request to a URL, signed as Standard Webhooks says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The URL.
    pub url: Option<String>,
    /// Or the secret that is the URL.
    pub url_secret: Option<SecretName>,
    /// The secret that signs.
    pub secret: Option<SecretName>,
    /// A file of the project with the authority that signed the server's certificate, in PEM.
    pub ca: Option<std::path::PathBuf>,
}

impl Target {
    /// Returns what is wrong with it, if something is.
    pub fn fault(&self) -> Option<String> {
        let ways = usize::from(self.mail.is_some())
            + usize::from(self.matrix.is_some())
            + usize::from(self.webhook.is_some());
        if ways != 1 {
            return Some("a target has one of `mail`, `matrix` and `webhook`".to_owned());
        }
        if let Some(mail) = &self.mail {
            if mail.to.is_empty() {
                return Some("`to` names nobody".to_owned());
            }
            for address in mail.to.iter().chain([&mail.from]) {
                if address.parse::<lettre::message::Mailbox>().is_err() {
                    return Some(format!("`{address}` is no mail address"));
                }
            }
            if mail.user.is_some() != mail.password.is_some() {
                return Some("`user` and `password` belong together".to_owned());
            }
        }
        if let Some(matrix) = &self.matrix
            && url::Url::parse(&matrix.homeserver).is_err()
        {
            return Some(format!("`{}` is no URL of a homeserver", matrix.homeserver));
        }
        if let Some(webhook) = &self.webhook {
            if webhook.url.is_some() == webhook.url_secret.is_some() {
                return Some("a webhook has one of `url` and `url_secret`".to_owned());
            }
            if webhook.url.as_ref().is_some_and(|text| url::Url::parse(text).is_err()) {
                return Some("`url` is no URL".to_owned());
            }
        }
        None
    }

    /// Returns the way in a word.
    pub fn way(&self) -> &'static str {
        match (&self.mail, &self.matrix) {
            (Some(_), _) => "mail",
            (None, Some(_)) => "matrix",
            (None, None) => "webhook",
        }
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| duration::parse(&text).map_err(D::Error::custom)).transpose()
}

fn quiet<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Quiet>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        from: String,
        until: String,
        tz: String,
        #[serde(default)]
        urgent: Option<Vec<Occasion>>,
    }
    let Some(raw) = Option::<Raw>::deserialize(deserializer)? else { return Ok(None) };
    let time = |text: &str| {
        text.parse::<Time>()
            .map_err(|_| D::Error::custom(format!("`{text}` is no time of day such as `07:00`")))
    };
    let tz: Zone =
        raw.tz.parse().map_err(|error: crate::model::schedule::ZoneError| D::Error::custom(error))?;
    let urgent = raw.urgent.unwrap_or_else(|| vec![Occasion::Stale, Occasion::Server]);
    Ok(Some(Quiet { from: time(&raw.from)?, until: time(&raw.until)?, tz, urgent }))
}
