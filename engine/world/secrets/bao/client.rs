//! Exchanges with the servers of one source: which of them is active, and what an answer says.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use super::super::ear::Ear;
use super::super::place::Place;
use super::config::Config;
use super::error::Error;
use crate::world::http::{self, Fault, Http, Reply, Trust};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long nobody looks again for a server after none was found.
const ANEW: Duration = Duration::from_secs(10);
/// More than any secret has: OpenBao itself takes no more than 32 MiB, and KV a good deal less.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// How a request proves who asks.
#[derive(Clone)]
pub(super) enum Proof {
    /// It does not.
    None,
    /// By a token.
    Token(Arc<Zeroizing<String>>),
    /// By the parameters of a login at this path.
    Inline(String, Arc<Parameters>),
}

/// What a login is made of; values may be secret.
pub(super) type Parameters = Vec<(&'static str, Zeroizing<String>)>;

/// An answer of the server: the envelope that all share.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    #[serde(skip)]
    pub(super) status: u16,
    errors: Vec<String>,
    pub(super) lease_id: String,
    pub(super) renewable: bool,
    pub(super) lease_duration: u64,
    pub(super) data: Value,
    warnings: Option<Vec<String>>,
    pub(super) auth: Option<Granted>,
}

/// What a login gives.
#[derive(Deserialize)]
pub(super) struct Granted {
    /// Empty where a second factor is wanted.
    #[serde(default)]
    pub(super) client_token: String,
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    #[serde(default)]
    pub(super) token_type: String,
}

impl Answer {
    /// Returns what the server said, on one line.
    pub(super) fn words(&self) -> String {
        let words: Vec<String> = self
            .errors
            .iter()
            .map(|error| {
                let line = error.split_whitespace().collect::<Vec<_>>().join(" ");
                line.trim_start_matches("1 error occurred: * ").to_owned()
            })
            .collect();
        words.join("; ")
    }

    /// Whether policies refuse, as the server words it for a token that it knows.
    pub(super) fn names_policies(&self) -> bool {
        self.errors.iter().any(|error| error.contains("occurred")) && !self.words().contains("invalid token")
    }
}

/// The server that is asked, once one was found.
#[derive(Default)]
struct Active {
    server: Option<usize>,
    /// Why none was found, and when.
    failed: Option<(Instant, Arc<Error>)>,
}

/// The servers of one source.
pub(super) struct Client {
    http: Http,
    servers: Vec<Url>,
    trust: Trust,
    pub(super) namespace: Option<String>,
    active: Mutex<Active>,
    ear: Ear,
}

impl Client {
    /// Reads the configuration, with the environment for what it leaves out.
    pub(super) fn open(config: &Config, place: &Place, ear: Ear) -> Result<Self, Error> {
        let mut addresses: Vec<String> = config.addresses().map(str::to_owned).collect();
        if addresses.is_empty() {
            addresses.extend(variable(place, "ADDR"));
        }
        if addresses.is_empty() {
            return Err(Error::NoAddress);
        }
        let servers = addresses.iter().map(|address| server(address)).collect::<Result<Vec<_>, _>>()?;
        for server in &servers {
            if server.scheme() == "http" && !is_loopback(server) {
                let address = told(server);
                ear.warn(format!(
                    "OpenBao at `{address}` is asked without TLS: anybody between can read along"
                ));
            }
        }
        let namespace = config.namespace.clone().or_else(|| variable(place, "NAMESPACE"));
        let namespace =
            namespace.map(|name| name.trim_matches('/').to_owned()).filter(|name| !name.is_empty());
        Ok(Self {
            http: Http::default(),
            servers,
            trust: trust(config, place)?,
            namespace,
            active: Mutex::default(),
            ear,
        })
    }

    /// Returns the addresses in words.
    pub(super) fn addresses(&self) -> String {
        self.servers.iter().map(told).collect::<Vec<_>>().join(", ")
    }

    /// Asks the active server; another one if it has stopped to be that and has done nothing.
    pub(super) async fn ask(
        &self,
        verb: &str,
        path: &str,
        body: Option<&Value>,
        proof: &Proof,
    ) -> Result<Answer, Error> {
        let server = self.active().await?;
        let failed = match self.exchange(server, verb, path, body, proof).await {
            Err(error) if self.servers.len() > 1 && is_elsewhere(&error) => error,
            done => return done,
        };
        {
            let mut active = self.active.lock().await;
            if active.server == Some(server) {
                active.server = None;
            }
        }
        let other = self.active().await?;
        self.ear.warn(format!("{failed}; `{}` is asked instead", told(&self.servers[other])));
        self.exchange(other, verb, path, body, proof).await
    }

    /// Returns the first server that is active.
    async fn active(&self) -> Result<usize, Error> {
        let mut active = self.active.lock().await;
        if let Some(server) = active.server {
            return Ok(server);
        }
        // Two hundred hosts that want a password each must not wait for a server that is gone one after the other.
        if let Some((at, error)) = &active.failed
            && at.elapsed() < ANEW
        {
            return Err(Error::Again(error.clone()));
        }
        let mut passed = Vec::new();
        for server in 0..self.servers.len() {
            match self.health(server).await {
                Ok(()) => {
                    for error in passed {
                        let other = told(&self.servers[server]);
                        self.ear.warn(format!("{error}; `{other}` is asked instead"));
                    }
                    active.server = Some(server);
                    return Ok(server);
                }
                Err(error) => passed.push(error),
            }
        }
        let error = Arc::new(match passed.len() {
            1 => passed.remove(0),
            _ => Error::NoneActive(passed),
        });
        active.failed = Some((Instant::now(), error.clone()));
        Err(Error::Again(error))
    }

    async fn health(&self, server: usize) -> Result<(), Error> {
        // Not in a namespace: the server has no answer there.
        let reply = self.send(server, "GET", "sys/health", None, &Proof::None, None).await?;
        let address = told(&self.servers[server]);
        let json: Option<Value> = serde_json::from_slice(&reply.body).ok();
        let is_bao = json.is_some_and(|json| json.get("sealed").is_some_and(Value::is_boolean));
        match reply.status {
            300..=399 => Err(redirected(address, &reply)),
            502..=504 if !is_bao => Err(Error::Gateway { address, status: reply.status }),
            _ if !is_bao => Err(stranger(address, &reply, "it does not tell its health as JSON")),
            200 => Ok(()),
            429 | 472 | 473 => Err(Error::Standby(address)),
            501 => Err(Error::Uninitialised(address)),
            503 => Err(Error::Sealed(address)),
            _ => Err(stranger(address, &reply, "such a status means nothing for its health")),
        }
    }

    async fn exchange(
        &self,
        server: usize,
        verb: &str,
        path: &str,
        body: Option<&Value>,
        proof: &Proof,
    ) -> Result<Answer, Error> {
        let namespace = self.namespace.as_deref();
        let reply = self.send(server, verb, path, body, proof, namespace).await?;
        let address = told(&self.servers[server]);
        let status = reply.status;
        if (300..400).contains(&status) {
            return Err(redirected(address, &reply));
        }
        let bytes = Zeroizing::new(reply.body);
        let parsed = if bytes.trim_ascii().is_empty() && status < 300 {
            Ok(Answer::default())
        } else {
            serde_json::from_slice::<Answer>(&bytes)
        };
        let reply = Reply { body: Vec::new(), ..reply };
        match (status, parsed) {
            (502..=504, Err(_)) => Err(Error::Gateway { address, status }),
            // The words of the error would show a part of the answer.
            (_, Err(error)) => {
                let reason = match error.classify() {
                    serde_json::error::Category::Eof => "its answer ends in the middle",
                    serde_json::error::Category::Syntax => "its answer is not JSON",
                    serde_json::error::Category::Data | serde_json::error::Category::Io => {
                        "its answer has other parts"
                    }
                };
                Err(stranger(address, &reply, reason))
            }
            (503, Ok(answer)) if answer.words().contains("sealed") => Err(Error::Sealed(address)),
            (429, Ok(_)) => Err(Error::Limited(address)),
            (404, Ok(answer)) if answer.words().contains("namespace not found") => {
                Err(Error::Namespace(self.namespace.clone().unwrap_or_default()))
            }
            (_, Ok(mut answer)) => {
                answer.status = status;
                for warning in answer.warnings.iter().flatten() {
                    // KV says so of a path without `data/`, which is told as a missing path.
                    if !warning.starts_with("Invalid path for a versioned") {
                        self.ear.warn(format!("OpenBao says of `{path}`: {warning}"));
                    }
                }
                Ok(answer)
            }
        }
    }

    async fn send(
        &self,
        server: usize,
        verb: &str,
        path: &str,
        body: Option<&Value>,
        proof: &Proof,
        namespace: Option<&str>,
    ) -> Result<Reply, Error> {
        let mut url = self.servers[server].clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path.split('/'));
        }
        let plain = |name: &str, value: &str| (name.to_owned(), Zeroizing::new(value.as_bytes().to_vec()));
        // An agent may demand it, so that no page of a browser can ask in its name.
        let mut headers = vec![plain("x-vault-request", "true"), plain("accept", "application/json")];
        headers.extend(namespace.map(|namespace| plain("x-vault-namespace", namespace)));
        match proof {
            Proof::None => {}
            Proof::Token(token) => headers.push(plain("x-vault-token", token)),
            Proof::Inline(login, parameters) => {
                headers.push(plain("x-vault-inline-auth-path", login));
                for (name, value) in parameters.iter() {
                    let pair = Zeroizing::new(json!({ "key": name, "value": value.as_str() }).to_string());
                    let header = format!("x-vault-inline-auth-parameter-{}", name.replace('_', "-"));
                    let value = Zeroizing::new(URL_SAFE_NO_PAD.encode(pair.as_bytes()));
                    headers.push(plain(&header, &value));
                }
            }
        }
        if body.is_some() {
            headers.push(plain("content-type", "application/json"));
        }
        let body = body.map(|body| Arc::new(Zeroizing::new(body.to_string().into_bytes())));
        let request = http::Request {
            method: verb.to_owned(),
            url,
            headers,
            body,
            trust: self.trust.clone(),
            server_name: None,
            max_bytes: MOST_BYTES,
            deadline: Instant::now() + TIMEOUT,
            timeout: TIMEOUT,
        };
        let reply = self.http.exchange(&request, &CancellationToken::new()).await;
        reply.map_err(|fault| Error::Unreachable { address: told(&self.servers[server]), fault })
    }
}

/// Returns a variable of OpenBao, or the one of Vault with the same meaning.
pub(super) fn variable(place: &Place, name: &str) -> Option<String> {
    ["BAO", "VAULT"].iter().find_map(|family| {
        let value = place.variable(&format!("{family}_{name}"))?;
        String::from_utf8(value).ok().filter(|value| !value.is_empty())
    })
}

fn server(address: &str) -> Result<Url, Error> {
    let wrong = |reason: String| Error::Address { address: address.to_owned(), reason };
    let mut url = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        // The address is told in errors.
        let _ = (url.set_password(None), url.set_username(""));
        return Err(Error::Address {
            address: url.to_string(),
            reason: "a user or a password has no place in it".to_owned(),
        });
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("it begins with `https://` or `http://`".to_owned()));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn trust(config: &Config, place: &Place) -> Result<Trust, Error> {
    let roots = match (&config.ca, &config.pin) {
        (Some(_), Some(_)) => {
            return Err(Error::Trust("OpenBao is trusted by `ca` or by `pin`, not both".to_owned()));
        }
        (None, Some(pin)) => {
            let digits: String = pin.chars().filter(|c| *c != ':').collect();
            let mut hash = [0; 32];
            return match base16ct::mixed::decode(&digits, &mut hash) {
                Ok(decoded) if decoded.len() == 32 => Ok(Trust::Pin(hash)),
                Ok(_) | Err(_) => Err(Error::Trust(format!(
                    "`pin` is a SHA-256 in hex, with or without colons, not `{pin}`"
                ))),
            };
        }
        (Some(ca), None) => Some(ca.clone()),
        (None, None) => variable(place, "CACERT"),
    };
    let Some(roots) = roots else { return Ok(Trust::System) };
    if roots.contains("-----BEGIN") {
        return Ok(Trust::Roots(roots.into_bytes().into()));
    }
    let path = place.path(roots.as_ref());
    match std::fs::read(&path) {
        Ok(pem) => Ok(Trust::Roots(pem.into())),
        Err(source) => Err(Error::Ca { path, source }),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Returns an address as people write it.
fn told(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Whether another server can be asked the same: this one has not done it.
fn is_elsewhere(error: &Error) -> bool {
    match error {
        Error::Unreachable { fault, .. } => {
            matches!(fault, Fault::Unreachable { .. } | Fault::Refused { .. })
        }
        Error::Sealed(_) | Error::Redirected { .. } => true,
        _ => false,
    }
}

fn redirected(address: String, reply: &Reply) -> Error {
    let to = reply.header("location").unwrap_or("nowhere");
    // What stands behind it may be a part of the question.
    let to = to.split(['?', '#']).next().unwrap_or_default().to_owned();
    Error::Redirected { address, status: reply.status, to }
}

fn stranger(address: String, reply: &Reply, reason: &str) -> Error {
    let media = reply.header("content-type").unwrap_or("no media type").to_owned();
    Error::Stranger { address, status: reply.status, media, reason: reason.to_owned() }
}
