//! The part `gitlab:` of `nlrun.yaml`, and requests as they go out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use super::ask::escaped;
use super::{Ask, failure};
use crate::model::event::Failure;
use crate::model::secret::{Secret, SecretName};
use crate::model::url as names;
use crate::world::http::{Request, Trust};
use crate::world::secrets::Place;

/// How long one exchange may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer: a page of a hundred notes of a megabyte each would be more than anybody reads.
const MOST: usize = 32 << 20;

/// Where GitLab is, and who asks it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its address, such as `https://gitlab.example.net`.
    pub url: String,
    /// The secret that holds a token with the scope `api`: of a project, a group or a person.
    pub token: SecretName,
    /// The only authorities to trust, in PEM: a file of the project.
    pub ca: Option<PathBuf>,
    /// The SHA-256 of the one certificate to accept, in hex.
    pub pin: Option<String>,
}

/// A GitLab that can be asked.
#[derive(Debug, Clone)]
pub struct Server {
    base: Url,
    trust: Trust,
}

impl Server {
    /// Reads the configuration; files are looked for in the project's folder.
    pub fn new(config: &Config, place: &Place) -> Result<Self, Failure> {
        let invalid = |message: String| failure("invalid", format!("`gitlab:` in nlrun.yaml: {message}"));
        let mut base = names::parse(&config.url).map_err(|error| invalid(error.to_string()))?;
        base.set_query(None);
        let path = format!("{}/api/v4/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        let trust = match (&config.ca, &config.pin) {
            (None, None) => Trust::System,
            (Some(path), None) => {
                let path = place.path(path);
                let pem = std::fs::read(&path)
                    .map_err(|error| invalid(format!("cannot read `{}`: {error}", path.display())))?;
                Trust::Roots(pem.into())
            }
            (None, Some(pin)) => {
                let digits: String = pin.chars().filter(|c| *c != ':').collect();
                let mut hash = [0; 32];
                match base16ct::mixed::decode(&digits, &mut hash) {
                    Ok(decoded) if decoded.len() == 32 => Trust::Pin(hash),
                    Ok(_) | Err(_) => return Err(invalid("`pin` is a SHA-256 in hex".to_owned())),
                }
            }
            (Some(_), Some(_)) => return Err(invalid("it has `ca` or `pin`, not both".to_owned())),
        };
        Ok(Self { base, trust })
    }

    /// Whether a question is about this project alone, or about who asks.
    pub fn is_about(ask: &Ask, project: &str) -> bool {
        let own = format!("projects/{}", escaped(project));
        ask.path == "user"
            || ask.path == own
            || ask.path.strip_prefix(&own).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Returns a question as it goes out.
    pub fn request(&self, ask: &Ask, token: &Secret) -> Result<Request, Failure> {
        let invalid = |message: String| failure("invalid", message);
        let mut url = self.base.join(&ask.path).map_err(|error| invalid(error.to_string()))?;
        if !url.as_str().starts_with(self.base.as_str()) {
            return Err(invalid(format!("`{}` leads out of GitLab's API", ask.path)));
        }
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let text = token.expose_str().map_err(|error| invalid(error.to_string()))?.trim();
        let mut headers = vec![("private-token".to_owned(), Zeroizing::new(text.as_bytes().to_vec()))];
        let body = ask.body.as_ref().map(|body| Arc::new(Zeroizing::new(body.to_string().into_bytes())));
        if body.is_some() {
            headers.push(("content-type".to_owned(), Zeroizing::new(b"application/json".to_vec())));
        }
        Ok(Request {
            method: ask.method.to_owned(),
            url,
            headers,
            body,
            trust: self.trust.clone(),
            server_name: None,
            max_bytes: MOST,
            deadline: Instant::now() + TIMEOUT,
            timeout: TIMEOUT,
        })
    }
}
