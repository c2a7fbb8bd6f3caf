//! Programs with an API over HTTP: how they are asked, when they are asked again, and what they show by TLS.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use ::url::Url;
use rhai::Dynamic;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::keys::Keys;
use super::place::{Found, Holds, Part};
use super::wanted::Wanted;
use crate::bindings::http::trusted_by;
use crate::bindings::retry::{Again, Tries};
use crate::bindings::value::SecretValue;
use crate::bindings::wait::poll;
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Permit, sentence};
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::port::Port;
use crate::model::secret::{Secret, SecretName};
use crate::model::url;
use crate::world::http::{Reply, Request, Trust, status_words};
use crate::world::tls::probe;
use crate::x509::{Certificate, Order, pem};

/// How long one request may take, unless `timeout` says otherwise: a large nginx takes its time to reload.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How often a request is sent at most, and how long it rests after the first time; that doubles.
const TRIES: u32 = 3;
const DELAY: Duration = Duration::from_secs(10);
/// How long a server may take until it shows what it was given.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one look at what is shown may take.
const LOOK: Duration = Duration::from_secs(10);
/// Bytes of an answer's body: a list of certificates with their chains and keys.
const MOST: usize = 16 << 20;
/// Characters of an answer that failures repeat.
const SHOWN: usize = 300;

/// A program behind a URL.
pub(super) struct Api {
    /// It ends in `/`.
    base: Url,
    trust: Trust,
    timeout: Duration,
    tries: u32,
    delay: Duration,
    patience: Duration,
}

impl Serialize for Api {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&url::name_of(&self.base))
    }
}

/// One request.
#[derive(Default)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    /// Below the program's URL.
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, Zeroizing<String>)>,
    /// A media type, and what is sent.
    pub(super) body: Option<(String, Zeroizing<Vec<u8>>)>,
    /// Whether it does the same when it is done twice.
    pub(super) is_safe_twice: bool,
}

impl Ask {
    /// Asks without changing anything.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), is_safe_twice: true, ..Self::default() }
    }

    /// Sends JSON.
    pub(super) fn json(method: &'static str, path: impl Into<String>, value: &Value) -> Self {
        let bytes = Zeroizing::new(value.to_string().into_bytes());
        let body = Some(("application/json".to_owned(), bytes));
        Self { method, path: path.into(), body, is_safe_twice: method == "PUT", ..Self::default() }
    }

    /// Sends a form.
    pub(super) fn form(method: &'static str, path: impl Into<String>, fields: &[(&str, &str)]) -> Self {
        let mut form = ::url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let bytes = Zeroizing::new(form.finish().into_bytes());
        let body = Some(("application/x-www-form-urlencoded".to_owned(), bytes));
        Self { method, path: path.into(), body, ..Self::default() }
    }
}

impl Api {
    /// Reads the keys that all programs have.
    pub(super) fn read(call: &Call<'_>, keys: &mut Keys) -> Result<Self, Raise> {
        let mut base = url::parse(&keys.needed("url")?).map_err(|error| invalid(sentence(&error)))?;
        base.set_query(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let tries = keys.value("tries");
        let count =
            |value: &Dynamic| value.as_int().ok().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        let tries =
            tries.as_ref().map(|value| count(value).ok_or_else(|| keys.wrong("tries", "a number of tries")));
        let tries = tries.transpose()?.unwrap_or(TRIES);
        Ok(Self {
            trust: trusted_by(call, keys.text("ca")?, keys.text("pin")?)?,
            timeout: keys.duration("timeout")?.unwrap_or(TIMEOUT),
            delay: keys.duration("delay")?.unwrap_or(DELAY),
            // The area's own key: the effect waits as long for what `served` names.
            patience: keys.duration("patience")?.unwrap_or(PATIENCE),
            base,
            tries,
        })
    }

    /// Returns what a grant must cover.
    pub(super) fn target(&self) -> Target {
        Target::Named { name: url::name_of(&self.base) }
    }

    /// Returns the program's URL.
    pub(super) fn name(&self) -> String {
        url::name_of(&self.base)
    }

    /// Returns the program's port.
    pub(super) fn port(&self) -> Result<Port, Failure> {
        self.other_port(self.base.port_or_known_default().unwrap_or(443))
    }

    /// Returns another port of the program's host.
    pub(super) fn other_port(&self, number: u16) -> Result<Port, Failure> {
        let host = self.base.host_str().unwrap_or_default();
        Port::new(host, number).map_err(|error| invalid(error.to_string()))
    }

    /// Begins to ask, for the time of one effect.
    ///
    /// A server that shows the wanted certificate is trusted whatever else is: only who was given the key can show it. Else a run
    /// that replaces the very certificate by which it trusts the server could not ask any more.
    pub(super) fn client<'a>(&'a self, permit: &'a Permit<'a>, wanted: &Wanted) -> Client<'a> {
        let mut own = [0; 32];
        let mut trusts = vec![self.trust.clone()];
        if base16ct::mixed::decode(wanted.fingerprint(), &mut own).is_ok() {
            trusts.push(Trust::Pin(own));
        }
        Client { api: self, permit, trusts, at: Cell::new(0) }
    }
}

/// Asks one program.
pub(super) struct Client<'a> {
    api: &'a Api,
    pub(super) permit: &'a Permit<'a>,
    trusts: Vec<Trust>,
    /// Which of them fitted last.
    at: Cell<usize>,
}

impl Client<'_> {
    /// Asks, and asks again where that can do no harm.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Reply, Failure> {
        let limit = self.api.timeout.saturating_mul(self.api.tries);
        let mut tries = Tries::new(self.permit, self.api.tries, self.api.delay, limit);
        loop {
            let tried = self.once(ask).await;
            let again = match &tried {
                Ok(reply) if ask.is_safe_twice && matches!(reply.status, 429 | 502 | 503 | 504) => {
                    Some(Again::answered(reply.status, reply.header("retry-after")))
                }
                Ok(_) => None,
                Err(failure) => {
                    let is_safe = match failure.kind.as_str() {
                        // Nothing was sent.
                        "unreachable" | "refused" => true,
                        "lost" | "timed_out" => ask.is_safe_twice,
                        _ => false,
                    };
                    is_safe.then(|| Again::failed(failure))
                }
            };
            if !tries.wait(again).await? {
                return tried.map_err(|failure| tries.told(failure));
            }
        }
    }

    async fn once(&self, ask: &Ask) -> Result<Reply, Failure> {
        let url = self.api.base.join(&ask.path).map_err(|error| invalid(sentence(&error)))?;
        let mut headers: Vec<(String, Zeroizing<Vec<u8>>)> = Vec::new();
        for (name, value) in &ask.headers {
            headers.push(((*name).to_owned(), Zeroizing::new(value.as_bytes().to_vec())));
        }
        if let Some((media, _)) = &ask.body {
            headers.push(("content-type".to_owned(), Zeroizing::new(media.clone().into_bytes())));
        }
        let mut request = Request {
            method: ask.method.to_owned(),
            url,
            headers,
            body: ask.body.as_ref().map(|(_, bytes)| Arc::new(bytes.clone())),
            trust: Trust::System,
            server_name: None,
            max_bytes: MOST,
            deadline: Instant::now() + self.api.timeout,
            timeout: self.api.timeout,
        };
        let mut first = None;
        for _ in 0..self.trusts.len() {
            request.trust = self.trusts[self.at.get()].clone();
            match self.permit.below(&request).await {
                // Nothing was sent to a server that is not trusted.
                Err(failure) if failure.kind == "tls" => {
                    // The one of `ca` or `pin` is what its author can do something about.
                    if first.is_none() || self.at.get() == 0 {
                        first = Some(failure);
                    }
                    self.at.set((self.at.get() + 1) % self.trusts.len());
                }
                other => return other,
            }
        }
        Err(first.unwrap_or_else(|| invalid("nobody is trusted".to_owned())))
    }

    /// Learns what came in an answer and is secret.
    pub(super) fn learn(&self, name: &str, value: &str) -> Result<Secret, Failure> {
        let name = SecretName::try_from(name.to_owned()).map_err(|error| invalid(error.to_string()))?;
        let secret = Secret::new(name, value.as_bytes().to_vec());
        self.permit.learn(&secret)?;
        Ok(secret)
    }

    /// Makes the failure of an answer that is none of the right ones.
    pub(super) fn refused(&self, ask: &Ask, reply: &Reply, why: &str) -> Failure {
        let status =
            format!("{} {}", reply.status, reply.reason.as_deref().unwrap_or(status_words(reply.status)));
        let path = ask.path.split('?').next().unwrap_or_default();
        let why = self.permit.redact(why);
        let why: String = why.trim().chars().take(SHOWN).collect();
        let colon = if why.is_empty() { "" } else { ": " };
        let message = format!("{} {}{path}: {}{colon}{why}", ask.method, self.api.name(), status.trim());
        let details = json!({ "fault": "status", "status": reply.status });
        Failure { kind: "status".to_owned(), details, ..invalid(message) }
    }

    /// Looks once at what a port of the program's host shows; nothing where nobody can tell.
    pub(super) async fn shown(&self, port: &Port, sni: Option<&str>) -> Result<Option<Certificate>, Failure> {
        let request = probe::Request {
            port: port.clone(),
            server_name: sni.map(str::to_owned),
            starttls: None,
            alpn: Vec::new(),
            ca: None,
            timeout: LOOK.min(self.api.timeout),
        };
        match self.permit.look_served(&request).await {
            Ok(sight) => Ok(sight.chain.first().and_then(|der| Certificate::read(der).ok())),
            Err(failure) if matches!(failure.kind.as_str(), "denied" | "cancelled" | "invalid") => {
                Err(failure)
            }
            Err(_) => Ok(None),
        }
    }

    /// Describes what a port shows, as something that holds the certificate.
    pub(super) async fn part(
        &self,
        wanted: &Wanted,
        port: &Port,
        sni: Option<&str>,
    ) -> Result<Part, Failure> {
        let shown = self.shown(port, sni).await?;
        let name = sni.map(|sni| format!(" ({sni})")).unwrap_or_default();
        Ok(Part {
            name: format!("{}{name}", port.name()),
            is_right: shown.as_ref().is_some_and(|leaf| leaf.fingerprint == wanted.fingerprint()),
            holds: shown.map_or_else(
                // Why may differ from look to look, and is no other state.
                || Holds::Unknown("it shows no certificate".to_owned()),
                |leaf| Holds::certificate(&leaf, None),
            ),
            wanted: format!("serves {}", wanted.words()),
        })
    }

    /// Waits until a port shows the wanted certificate: a server that restarts shows nothing for a while.
    pub(super) async fn verify(
        &self,
        wanted: &Wanted,
        port: &Port,
        sni: Option<&str>,
    ) -> Result<(), Failure> {
        let seen = poll(self.permit, self.api.patience, async |_| {
            let part = self.part(wanted, port, sni).await?;
            Ok(if part.is_right { Ok(()) } else { Err(part) })
        });
        seen.await?.map_err(|part| {
            let message = format!(
                "{} was given to {}, and after {} s it is not served at {}; the next run goes on from there",
                wanted.words(),
                self.api.name(),
                self.api.patience.as_secs(),
                part.name,
            );
            let details = json!({ "fault": "not_served" });
            Failure { kind: "not_served".to_owned(), details, ..invalid(message) }
        })
    }
}

/// Makes the failure of a login that was refused.
pub(super) fn unknown_here(api: &Api, why: &str) -> Failure {
    let message = format!("{} refuses the login: {why}", api.name());
    Failure {
        kind: "authentication".to_owned(),
        details: json!({ "fault": "authentication" }),
        ..invalid(message)
    }
}

/// Reads a secret of a target.
pub(super) fn secret(keys: &mut Keys, key: &'static str) -> Result<Secret, Failure> {
    let value = keys.value(key);
    let secret = value.and_then(|value| value.read_lock::<SecretValue>().map(|secret| secret.0.clone()));
    secret.ok_or_else(|| keys.wrong(key, "a secret such as secret(\"site/api\")"))
}

/// Returns a secret as text to send.
pub(super) fn exposed(secret: &Secret) -> Result<&str, Failure> {
    secret.expose_str().map_err(|error| invalid(error.to_string()))
}

/// Writes a pair apart: the leaf, the chain (which may be empty), both, and the key.
pub(super) struct Apart {
    pub(super) leaf: String,
    pub(super) chain: String,
    pub(super) whole: String,
    pub(super) key: Zeroizing<String>,
}

impl Apart {
    pub(super) fn of(wanted: &Wanted) -> Result<Self, Failure> {
        let order = |text: &str| text.parse::<Order>().map_err(|error| invalid(error.to_string()));
        let pair = wanted.pair();
        let leaf = pem(&pair.leaf.der);
        let chain: String = pair.intermediates().iter().map(|one| pem(&one.der)).collect();
        // Refuses a key that is not the leaf's: no program here does.
        let key = wanted.write(&order("key")?)?;
        Ok(Self { whole: format!("{leaf}{chain}"), leaf, chain, key })
    }
}

/// Says that nothing but one port is there to be looked at.
pub(super) fn only(part: Part) -> Found {
    Found { parts: vec![part], ..Found::default() }
}
