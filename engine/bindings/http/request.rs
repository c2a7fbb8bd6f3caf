//! A request as a script describes it; what it serialises to is what the journal compares.

use std::time::Duration;

use ::url::Url;
use base64::Engine as _;
use rhai::Dynamic;
use serde::{Serialize, Serializer};
use serde_json::json;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::body::{Body, fields};
use super::text::{Text, exposed};
use crate::bindings::value::SecretValue;
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::sentence;
use crate::model::event::Failure;
use crate::model::secret::Secret;
use crate::model::url;
use crate::world::http::{Request as Wire, Trust};

/// How long a call may take, with every try, pause and redirect.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer's body.
const MAX_BYTES: usize = 4 << 20;

/// What is asked.
#[derive(Clone, Serialize)]
pub(super) struct Request {
    pub(super) method: String,
    #[serde(serialize_with = "as_text")]
    pub(super) url: Url,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    query: Vec<(String, Text)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, Text)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Body>,
    #[serde(skip_serializing_if = "is_system", serialize_with = "trusted")]
    trust: Trust,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<String>,
    #[serde(skip)]
    pub(super) accepts: Accepts,
    #[serde(skip)]
    pub(super) timeout: Duration,
    #[serde(skip)]
    max_bytes: usize,
    #[serde(skip)]
    pub(super) retry: Option<Retry>,
    /// JSON pointers (RFC 6901) to what is secret in the answer.
    #[serde(skip)]
    pub(super) secrets: Vec<String>,
    /// Whether the script gets the body as bytes.
    #[serde(skip)]
    pub(super) wants_bytes: bool,
    /// Whether the script gets the session's cookies.
    #[serde(skip)]
    pub(super) wants_cookies: bool,
}

/// Who asks.
#[derive(Clone, Serialize)]
#[serde(rename_all = "lowercase")]
enum Auth {
    Bearer(Secret),
    Basic(Text, Secret),
}

/// Which statuses are no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Accepts {
    Success,
    These(Vec<u16>),
    Any,
}

impl Accepts {
    pub(super) fn covers(&self, status: u16) -> bool {
        match self {
            Self::Success => (200..300).contains(&status),
            Self::These(statuses) => statuses.contains(&status),
            Self::Any => true,
        }
    }

    /// Whether its author named this status.
    pub(super) fn names(&self, status: u16) -> bool {
        matches!(self, Self::These(statuses) if statuses.contains(&status))
    }
}

/// When a call is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Retry {
    /// Tries at most, the first included.
    pub(super) times: u32,
    /// The first pause.
    pub(super) delay: Duration,
    /// Statuses after which it is tried again.
    pub(super) on: Vec<u16>,
}

/// Statuses that say that the same request may succeed later (RFC 6585, 4; RFC 9110, 15.6).
const TRANSIENT: [u16; 4] = [429, 502, 503, 504];

impl Request {
    /// Reads a call whose URL is the argument of this index.
    pub(super) fn read(call: &Call<'_>, method: &str, index: usize) -> Result<Self, Raise> {
        let url = url::parse(&call.string(index)?).map_err(|error| invalid(sentence(&error)))?;
        let secrets = secrets(call)?;
        let wants_bytes = call.option_bool("bytes", false)?;
        if wants_bytes && !secrets.is_empty() {
            return Err(invalid("`secrets` are in JSON, which is text: leave `bytes` out".to_owned()).into());
        }
        Ok(Self {
            method: method.to_owned(),
            url,
            query: fields(call, "query")?,
            headers: headers(call)?,
            auth: auth(call)?,
            body: Body::read(call)?,
            trust: trust(call)?,
            sni: sni(call)?,
            accepts: accepts(call)?,
            timeout: call.option_duration("timeout")?.unwrap_or(TIMEOUT),
            max_bytes: call.option_int("max_bytes", 0)?.map_or(MAX_BYTES, |bytes| bytes as usize),
            retry: retry(call)?,
            secrets,
            wants_bytes,
            wants_cookies: call.option_bool("cookies", false)?,
        })
    }

    /// Returns the URL's name for grants and people.
    pub(super) fn name(&self) -> String {
        url::name_of(&self.url)
    }

    /// Returns the cookies that it sends, one header each.
    pub(super) fn cookies(&self) -> Result<Vec<String>, Failure> {
        let sent = self.headers.iter().filter(|(name, _)| name == "cookie");
        sent.map(|(_, value)| value.exposed().map(str::to_owned)).collect()
    }

    /// Returns the request as it goes out.
    pub(super) fn wire(&self) -> Result<Wire, Failure> {
        let mut asked = self.url.clone();
        if !self.query.is_empty() {
            let mut pairs = asked.query_pairs_mut();
            for (name, value) in &self.query {
                pairs.append_pair(name, value.exposed()?);
            }
        }
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            headers.push((name.clone(), Zeroizing::new(value.exposed()?.as_bytes().to_vec())));
        }
        if let Some(auth) = &self.auth {
            let value = match auth {
                Auth::Bearer(token) => format!("Bearer {}", exposed(token)?),
                Auth::Basic(user, password) => {
                    let pair = Zeroizing::new(format!("{}:{}", user.exposed()?, exposed(password)?));
                    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()))
                }
            };
            headers.push(("authorization".to_owned(), Zeroizing::new(value.into_bytes())));
        }
        let mut body = None;
        if let Some(given) = &self.body {
            let (media, bytes) = given.wire()?;
            if let Some(media) = media.filter(|_| !headers.iter().any(|(name, _)| name == "content-type")) {
                headers.push(("content-type".to_owned(), Zeroizing::new(media.into_bytes())));
            }
            body = Some(bytes.into());
        }
        Ok(Wire {
            method: self.method.clone(),
            url: asked,
            headers,
            body,
            trust: self.trust.clone(),
            server_name: self.sni.clone(),
            max_bytes: self.max_bytes,
            deadline: Instant::now() + self.timeout,
            timeout: self.timeout,
        })
    }
}

fn as_text<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_str())
}

fn is_system(trust: &Trust) -> bool {
    *trust == Trust::System
}

fn trusted<S: Serializer>(trust: &Trust, serializer: S) -> Result<S::Ok, S::Error> {
    match trust {
        Trust::System => serializer.serialize_none(),
        Trust::Roots(pem) => json!({ "ca": crate::store::sha256(pem) }).serialize(serializer),
        Trust::Pin(hash) => json!({ "pin": crate::store::hex(hash) }).serialize(serializer),
    }
}

fn headers(call: &Call<'_>) -> Result<Vec<(String, Text)>, Raise> {
    let mut headers = fields(call, "headers")?;
    for (name, value) in &mut headers {
        name.make_ascii_lowercase();
        if name == "authorization" && !value.is_secret() {
            let message = "the header `Authorization` holds a secret: give it as `bearer` or `basic`";
            return Err(invalid(message.to_owned()).into());
        }
        if matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "connection") {
            let hint = if name == "host" { "; `sni` names another host" } else { "" };
            return Err(invalid(format!("the header `{name}` follows from the request{hint}")).into());
        }
    }
    Ok(headers)
}

fn auth(call: &Call<'_>) -> Result<Option<Auth>, Raise> {
    let secret = |value: &Dynamic| value.read_lock::<SecretValue>().map(|secret| secret.0.clone());
    match (call.option("bearer"), call.option("basic")) {
        (None, None) => Ok(None),
        (Some(token), None) => match secret(&token) {
            Some(token) => Ok(Some(Auth::Bearer(token))),
            None => Err(call.wrong_option("bearer", "a secret", &token)),
        },
        (None, Some(pair)) => {
            let wrong =
                || call.wrong_option("basic", "a user and a secret, such as [\"op\", secret(\"x\")]", &pair);
            let array = pair.clone().try_cast::<rhai::Array>().ok_or_else(wrong)?;
            let [user, password] = &array[..] else { return Err(wrong()) };
            let (user, password) = (Text::from(user).ok_or_else(wrong)?, secret(password).ok_or_else(wrong)?);
            Ok(Some(Auth::Basic(user, password)))
        }
        (Some(_), Some(_)) => Err(invalid("a request has `bearer` or `basic`, not both".to_owned()).into()),
    }
}

fn trust(call: &Call<'_>) -> Result<Trust, Raise> {
    trusted_by(call, call.option_string("ca")?, call.option_string("pin")?)
}

/// Returns whom `ca` and `pin` trust; `ca` is a file of the project, or the text itself.
pub(in crate::bindings) fn trusted_by(
    call: &Call<'_>,
    ca: Option<String>,
    pin: Option<String>,
) -> Result<Trust, Raise> {
    match (ca, pin) {
        (None, None) => Ok(Trust::System),
        (Some(ca), None) if ca.contains("-----BEGIN") => Ok(Trust::Roots(ca.into_bytes().into())),
        (Some(path), None) => {
            let read = call.session.gate().world.project().read(&path);
            Ok(Trust::Roots(read.map_err(|error| invalid(sentence(&error)))?.into()))
        }
        (None, Some(pin)) => {
            let digits: String = pin.chars().filter(|c| *c != ':').collect();
            let mut hash = [0; 32];
            match base16ct::mixed::decode(&digits, &mut hash) {
                Ok(decoded) if decoded.len() == 32 => Ok(Trust::Pin(hash)),
                Ok(_) | Err(_) => {
                    let message = format!("`pin` is a SHA-256 in hex, with or without colons, not `{pin}`");
                    Err(invalid(message).into())
                }
            }
        }
        (Some(_), Some(_)) => {
            Err(invalid("a server is trusted by `ca` or by `pin`, not both".to_owned()).into())
        }
    }
}

fn sni(call: &Call<'_>) -> Result<Option<String>, Raise> {
    let Some(name) = call.option_string("sni")? else { return Ok(None) };
    match ::url::Host::parse(&name) {
        Ok(::url::Host::Domain(name)) => Ok(Some(name)),
        _ => Err(invalid(format!("`sni` is a name of a host, not `{name}`")).into()),
    }
}

fn statuses(value: &Dynamic) -> Option<Vec<u16>> {
    let status = |value: &Dynamic| {
        let number = value.as_int().ok().and_then(|number| u16::try_from(number).ok())?;
        (100..600).contains(&number).then_some(number)
    };
    if value.is_int() {
        return Some(vec![status(value)?]);
    }
    let array = value.read_lock::<rhai::Array>()?;
    array.iter().map(status).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
}

fn accepts(call: &Call<'_>) -> Result<Accepts, Raise> {
    match call.option("ok") {
        None => Ok(Accepts::Success),
        Some(value) if value.is_string() && value.to_string() == "any" => Ok(Accepts::Any),
        Some(value) => match statuses(&value) {
            Some(statuses) => Ok(Accepts::These(statuses)),
            None => Err(call.wrong_option("ok", "a status, an array of them or \"any\"", &value)),
        },
    }
}

fn retry(call: &Call<'_>) -> Result<Option<Retry>, Raise> {
    let Some(value) = call.option("retry") else { return Ok(None) };
    let wanted = "how many tries at most, or a map such as #{ times: 5, delay: \"1s\", on: [503] }";
    let wrong = || call.wrong_option("retry", wanted, &value);
    let times = |value: &Dynamic| {
        value.as_int().ok().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(wrong)
    };
    let mut retry = Retry { times: 3, delay: Duration::from_secs(1), on: TRANSIENT.to_vec() };
    let Some(map) = value.clone().try_cast::<rhai::Map>() else {
        return Ok(Some(Retry { times: times(&value)?, ..retry }));
    };
    for (key, value) in &map {
        match key.as_str() {
            "times" => retry.times = times(value)?,
            "delay" => retry.delay = crate::bindings::call::duration_of(value).ok_or_else(wrong)?,
            "on" => retry.on = statuses(value).ok_or_else(wrong)?,
            _ => return Err(wrong()),
        }
    }
    Ok(Some(retry))
}

fn secrets(call: &Call<'_>) -> Result<Vec<String>, Raise> {
    let Some(value) = call.option("secrets") else { return Ok(Vec::new()) };
    let wrong = || call.wrong_option("secrets", "JSON pointers such as [\"/token\"]", &value);
    let array = value.clone().try_cast::<rhai::Array>().ok_or_else(wrong)?;
    let pointer =
        |one: Dynamic| one.into_string().ok().filter(|text| text.is_empty() || text.starts_with('/'));
    array.into_iter().map(pointer).collect::<Option<Vec<_>>>().ok_or_else(wrong)
}
