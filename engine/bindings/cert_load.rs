//! A certificate and its key from wherever they are: `cert_load`.

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::bindings::call::Content;
use crate::bindings::cert::parsed;
use crate::bindings::{Call, Raise, SecretValue};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::nearest::did_you_mean;
use crate::model::secret::{Secret, SecretName};
use crate::x509::{Bundle, Error, Order, Pair, PrivateKey};

/// How the two are called: here, and in the TLS secrets of Kubernetes.
const NAMES: [(&str, &str); 2] = [("certificate", "key"), ("tls.crt", "tls.key")];

/// What a script gave as a certificate with its key.
struct Source {
    certificate: Content,
    /// Where it does not stand beside the certificate.
    key: Option<Content>,
}

impl Source {
    /// Reads a secret that holds both, or a map of the two; `asked` is the function that it was given to.
    ///
    /// What else is in the map is not looked at where it is one that another function returned.
    fn read(value: &Dynamic, asked: &str) -> Result<Self, Failure> {
        let Some(map) = value.read_lock::<Map>() else {
            let certificate = Content::from(value).ok_or_else(|| {
                invalid(format!(
                    "`{asked}` wants a map `#{{ certificate, key }}` or a secret that holds both"
                ))
            })?;
            return Ok(Self { certificate, key: None });
        };
        let given = |name: &str| map.get(name).filter(|value| !value.is_unit());
        let Some((certificate, key)) = NAMES.iter().find(|(certificate, _)| given(certificate).is_some())
        else {
            let near = map.keys().find_map(|key| did_you_mean(key, NAMES.iter().flat_map(|(a, b)| [*a, *b])));
            let near = near.map(|near| format!("; {near}")).unwrap_or_default();
            let message = format!(
                "`{asked}` wants a certificate as `certificate` or `tls.crt`, and there is none{near}"
            );
            return Err(invalid(message));
        };
        let content = |name: &str| {
            let read = |value: &Dynamic| {
                let wrong = || invalid(format!("`{asked}` wants text, bytes or a secret as `{name}`"));
                Content::from(value).ok_or_else(wrong)
            };
            given(name).map(read).transpose()
        };
        let both = content(certificate)?.map(|certificate| Ok((certificate, content(key)?)));
        let (certificate, key) =
            both.unwrap_or_else(|| Err(invalid(format!("`{asked}` got no certificate"))))?;
        Ok(Self { certificate, key })
    }

    /// Returns what holds the key: a secret, for what was read in clear is in the log by then.
    fn holder(&self) -> Result<&Secret, Failure> {
        match self.key.as_ref().unwrap_or(&self.certificate) {
            Content::Secret(secret) => Ok(secret),
            Content::Plain(_) => Err(invalid(
                "a private key is taken as a secret only: as `secret(…)`, or out of a file by `load_files` or `load_from`".to_owned(),
            )),
        }
    }

    /// Puts them in order.
    fn pair(&self, asked: &str) -> Result<Pair, Failure> {
        self.holder()?;
        let wrong = |error| unusable(&self.certificate, asked, "certificate", &error);
        let bundle = Bundle::read(self.certificate.bytes()).map_err(wrong)?;
        let key = self.key.as_ref().map(|key| private(key, asked)).transpose()?;
        Pair::of(bundle, key).map_err(wrong)
    }

    /// Writes the leaf and its chain, with the root where it is there, and the key.
    fn written(&self, asked: &str) -> Result<(String, Zeroizing<String>), Failure> {
        let pair = self.pair(asked)?;
        let both = whole(&pair).and_then(|certificate| Ok((certificate, write(&pair, "key")?)));
        both.map_err(|error| unusable(&self.certificate, asked, "certificate", &error))
    }
}

fn write(pair: &Pair, order: &str) -> Result<Zeroizing<String>, Error> {
    order.parse::<Order>().and_then(|order| order.write(pair))
}

fn whole(pair: &Pair) -> Result<String, Error> {
    let order = if pair.root().is_some() { "leaf+chain+root" } else { "leaf+chain" };
    write(pair, order).map(|text| text.to_string())
}

fn private(key: &Content, asked: &str) -> Result<PrivateKey, Failure> {
    let key_of = Bundle::read(key.bytes()).and_then(Bundle::key);
    key_of.map_err(|error| unusable(key, asked, "key", &error))
}

fn unusable(content: &Content, asked: &str, words: &str, error: &Error) -> Failure {
    let name = match content {
        Content::Secret(secret) => format!(" (secret `{}`)", secret.name()),
        Content::Plain(_) => String::new(),
    };
    invalid(format!("`{asked}` cannot use its `{words}`{name}: {error}"))
}

/// A pair that is put in order.
///
/// It is journaled, so that a replay, which has no key and none of what a secret holds, comes to the same certificate.
#[derive(Serialize)]
struct Load<'a> {
    certificate: Origin,
    key: SecretName,
    #[serde(skip)]
    source: &'a Source,
    #[serde(skip)]
    asked: &'static str,
}

/// What a certificate or a key is recorded as.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Origin {
    Sha256(String),
    Secret(SecretName),
}

impl Origin {
    /// Returns where a content is from.
    pub(super) fn of(content: &Content) -> Self {
        match content {
            Content::Plain(bytes) => Self::Sha256(crate::store::sha256(bytes)),
            Content::Secret(secret) => Self::Secret(secret.name().clone()),
        }
    }
}

/// What was loaded; the key is not part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Loaded {
    /// The leaf and its chain, in PEM.
    certificate: String,
}

impl Effect for Load<'_> {
    const NAME: &'static str = "cert.load";
    const KIND: Kind = Kind::Read;
    type Output = Loaded;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(&self, _permit: &Permit<'_>, _seen: &Seen<Loaded>) -> Result<Done<Loaded>, Failure> {
        let (certificate, _) = self.source.written(self.asked)?;
        Ok(Done::ok(Loaded { certificate }))
    }
}

/// A pair in order, as scripts and other functions have it.
pub(super) struct Ready {
    /// The leaf and its chain in PEM; with the root, which nobody is sent, where it is known that nothing is missing.
    pub(super) certificate: String,
    /// The key alone; in a replay, which has none, what stands for it.
    pub(super) key: Secret,
}

/// Puts a pair in order, and records which certificate it is.
fn load(call: &Call<'_>, source: &Source) -> Result<Ready, Raise> {
    let name = source.holder()?.name().clone();
    let asked = call.name();
    let effect = Load { certificate: Origin::of(&source.certificate), key: name.clone(), source, asked };
    let Loaded { certificate } = call.perform(&effect)?;
    if call.session.gate().replay {
        return Ok(Ready { certificate, key: Secret::placeholder(name) });
    }
    let (found, key) = source.written(asked)?;
    if found != certificate {
        let leaf = source.pair(asked)?.leaf.words();
        let message =
            format!("the certificate of `{leaf}` was renewed since this run loaded it; begin a new run");
        return Err(Failure { kind: "renewed".to_owned(), ..invalid(message) }.into());
    }
    Ok(Ready { certificate, key: Secret::new(name, key.as_bytes().to_vec()) })
}

/// Takes what `cert_load` returned as it is; anything else is loaded, so that a replay knows which certificate it was.
pub(super) fn ready(call: &Call<'_>, value: &Dynamic) -> Result<Ready, Raise> {
    let field = |name: &str| value.read_lock::<Map>()?.get(name).cloned();
    let text = |name: &str| field(name).and_then(|text| text.into_string().ok());
    let certificate = text("certificate").map(|sent| sent + &text("root").unwrap_or_default());
    let key = field("key").and_then(Dynamic::try_cast::<SecretValue>);
    match (certificate, key) {
        (Some(certificate), Some(SecretValue(key))) if field("spki").is_some() => {
            Ok(Ready { certificate, key })
        }
        _ => load(call, &Source::read(value, call.name())?),
    }
}

pub(super) fn cert_load(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let Ready { certificate, key } = load(call, &Source::read(&call.value(0), call.name())?)?;
    let unusable = |error: Error| invalid(format!("`cert_load` cannot use its `certificate`: {error}"));
    let pair =
        Bundle::read(certificate.as_bytes()).and_then(|bundle| Pair::of(bundle, None)).map_err(unusable)?;
    let mut map = parsed(&pair);
    map.insert("certificate".into(), write(&pair, "leaf+chain").map_err(unusable)?.to_string().into());
    if pair.root().is_some() {
        map.insert("root".into(), write(&pair, "root").map_err(unusable)?.to_string().into());
    }
    map.insert("key".into(), Dynamic::from(SecretValue(key)));
    Ok(map.into())
}
