//! An issuer of ID tokens: what it says of itself (OpenID Connect Discovery 1.0), and its keys.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use super::{Algorithm, Expected, JwtError, Key, Unverified, keys};
use crate::model::bucket::{Bucket, Rate};
use crate::world::clock;
use crate::world::http::{Fault, Http, Reply, Request, Trust};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MOST: usize = 1 << 20;
/// How long keys and addresses count as known.
const FRESH: Duration = Duration::from_secs(3600);
/// How often the issuer is asked, whoever shows tokens with whatever keys.
const ASKING: Rate = Rate { burst: 4.0, per_second: 1.0 / 30.0 };

/// Why an issuer is of no use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProviderError {
    /// Its address is none, or its words would travel in the clear.
    #[error("`{0}` is no address with https:// (http:// is for this machine only)")]
    Address(String),
    /// There is no answer.
    #[error("{url}: {fault}")]
    Silent {
        /// What was asked.
        url: String,
        /// Why.
        fault: Fault,
    },
    /// The answer is not one.
    #[error("{url}: {reason}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// It was asked often enough.
    #[error("it was asked too often; wait a minute")]
    TooOften,
}

/// What an issuer says of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Discovery {
    issuer: String,
    jwks_uri: String,
    /// Where people sign in.
    #[serde(default)]
    pub authorization_endpoint: String,
    /// Where a code becomes a token.
    #[serde(default)]
    pub token_endpoint: String,
    /// Where people sign out.
    pub end_session_endpoint: Option<String>,
    /// How a client shows who it is; `client_secret_basic` when it says nothing.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether its answers name it (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// An issuer.
pub struct Provider {
    issuer: String,
    trust: Trust,
    http: Http,
    known: Mutex<Known>,
    turn: tokio::sync::Mutex<()>,
}

struct Known {
    discovery: Option<(Arc<Discovery>, Instant)>,
    keys: Option<(Arc<[Key]>, Instant)>,
    asking: Bucket,
}

impl Provider {
    /// Takes the issuer as its tokens name it; nothing is asked yet.
    pub fn new(issuer: &str, trust: Trust) -> Result<Self, ProviderError> {
        address(issuer)?;
        let known = Known { discovery: None, keys: None, asking: Bucket::full(ASKING, clock::steady()) };
        Ok(Self {
            issuer: issuer.to_owned(),
            trust,
            http: Http::default(),
            known: Mutex::new(known),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Returns the issuer as its tokens name it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Checks a token of this issuer, whose keys are asked for when they are not known; returns its claims.
    pub async fn verify(
        &self,
        token: &str,
        audience: &str,
        algorithms: &[Algorithm],
    ) -> Result<Map<String, Value>, JwtError> {
        let token = Unverified::read(token)?;
        let failed = |error: ProviderError| JwtError::Provider(error.to_string());
        let known = self.known.lock().keys.clone();
        let keys = match known {
            Some((keys, at)) if at.elapsed() < FRESH && token.key(&keys).is_ok() => keys,
            known => match (self.fetch_keys(known.as_ref().map(|(_, at)| *at)).await, known) {
                (Ok(keys), _) => keys,
                // Old keys are better than none: a provider that is away locks nobody out at once.
                (Err(error), Some((keys, _))) if token.key(&keys).is_ok() => {
                    tracing::warn!(%error, issuer = self.issuer, "the issuer's keys are old");
                    keys
                }
                (Err(ProviderError::TooOften), _) => return Err(JwtError::UnknownKey),
                (Err(error), _) => return Err(failed(error)),
            },
        };
        let key = token.key(&keys)?;
        let (issuer, now) = (self.issuer.as_str(), clock::now());
        token.verify(key, &Expected { issuer, audience, algorithms, now })
    }

    /// Returns what the issuer says of itself.
    pub async fn discovery(&self) -> Result<Arc<Discovery>, ProviderError> {
        let fresh = |known: &Known| {
            known.discovery.as_ref().filter(|(_, at)| at.elapsed() < FRESH).map(|(found, _)| found.clone())
        };
        if let Some(found) = fresh(&self.known.lock()) {
            return Ok(found);
        }
        let _turn = self.turn.lock().await;
        if let Some(found) = fresh(&self.known.lock()) {
            return Ok(found);
        }
        self.discover().await
    }

    async fn discover(&self) -> Result<Arc<Discovery>, ProviderError> {
        self.may_ask()?;
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let reply = self.get(&url).await?;
        let wrong = |reason: String| ProviderError::Answer { url: url.clone(), reason };
        let found: Discovery = serde_json::from_slice(&reply.body)
            .map_err(|error| wrong(format!("it is no description of an issuer: {error}")))?;
        if found.issuer != self.issuer {
            return Err(wrong(format!("it describes `{}` and not `{}`", found.issuer, self.issuer)));
        }
        for endpoint in [&found.jwks_uri, &found.authorization_endpoint, &found.token_endpoint] {
            if !endpoint.is_empty() {
                address(endpoint)?;
            }
        }
        let found = Arc::new(found);
        self.known.lock().discovery = Some((found.clone(), Instant::now()));
        Ok(found)
    }

    /// Asks for the keys, unless somebody else has done so since.
    async fn fetch_keys(&self, seen: Option<Instant>) -> Result<Arc<[Key]>, ProviderError> {
        let discovery = self.discovery().await?;
        let _turn = self.turn.lock().await;
        if let Some((keys, at)) = &self.known.lock().keys
            && Some(*at) != seen
        {
            return Ok(keys.clone());
        }
        self.may_ask()?;
        let reply = self.get(&discovery.jwks_uri).await?;
        let found = keys(&reply.body).filter(|keys| !keys.is_empty());
        let found: Arc<[Key]> = found
            .ok_or_else(|| ProviderError::Answer {
                url: discovery.jwks_uri.clone(),
                reason: "there is no key of a known kind".to_owned(),
            })?
            .into();
        self.known.lock().keys = Some((found.clone(), Instant::now()));
        Ok(found)
    }

    fn may_ask(&self) -> Result<(), ProviderError> {
        let taken = self.known.lock().asking.take(ASKING, clock::steady());
        taken.map_err(|_| ProviderError::TooOften)
    }

    async fn get(&self, url: &str) -> Result<Reply, ProviderError> {
        self.ask("GET", url, &[], None).await
    }

    /// Sends a form; returns the answer, whatever its status is.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        form: &str,
    ) -> Result<Reply, ProviderError> {
        self.ask("POST", url, headers, Some(form)).await
    }

    async fn ask(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        form: Option<&str>,
    ) -> Result<Reply, ProviderError> {
        let value = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let mut sent = vec![("accept".to_owned(), value("application/json"))];
        sent.extend(headers.iter().map(|(name, text)| ((*name).to_owned(), value(text))));
        if form.is_some() {
            sent.push(("content-type".to_owned(), value("application/x-www-form-urlencoded")));
        }
        let request = Request {
            method: method.to_owned(),
            url: address(url)?,
            headers: sent,
            body: form.map(|form| Arc::new(value(form))),
            trust: self.trust.clone(),
            server_name: None,
            max_bytes: MOST,
            deadline: Instant::now() + TIMEOUT,
            timeout: TIMEOUT,
        };
        let reply = self.http.exchange(&request, &CancellationToken::new()).await;
        let reply = reply.map_err(|fault| ProviderError::Silent { url: url.to_owned(), fault })?;
        if method == "GET" && reply.status != 200 {
            let reason = format!("the answer has status {}", reply.status);
            return Err(ProviderError::Answer { url: url.to_owned(), reason });
        }
        Ok(reply)
    }
}

/// Reads an address: https, or http to this machine.
fn address(text: &str) -> Result<Url, ProviderError> {
    let wrong = || ProviderError::Address(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_travel_in_the_clear_on_this_machine_only() {
        for text in
            ["https://gitlab.example.net", "http://127.0.0.1:9/x", "http://[::1]/", "http://localhost"]
        {
            assert!(address(text).is_ok(), "{text}");
        }
        for text in
            ["http://gitlab.example.net", "http://127.0.0.1.example.net", "file:///etc/passwd", "x", ""]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
