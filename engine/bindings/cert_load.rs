//! A certificate and its key from wherever they are: `cert_load`.

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};

use crate::bindings::call::Content;
use crate::bindings::cert::loaded;
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
pub(super) struct Source {
    certificate: Content,
    /// Where it does not stand beside the certificate.
    key: Option<Content>,
}

impl Source {
    /// Reads a secret that holds both, or a map of the two; `asked` is the function that it was given to.
    ///
    /// What else is in the map is not looked at where it is one that another function returned.
    pub(super) fn read(value: &Dynamic, asked: &str) -> Result<Self, Failure> {
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

    /// Puts them in order; in a replay there is no key.
    pub(super) fn pair(&self, asked: &str, is_replay: bool) -> Result<Pair, Failure> {
        self.holder()?;
        let bundle = self.bundle(asked)?;
        let key = match &self.key {
            _ if is_replay => None,
            Some(key) => Some(private(key, asked)?),
            None => None,
        };
        Pair::of(bundle, key).map_err(|error| unusable(&self.certificate, asked, "certificate", &error))
    }

    fn bundle(&self, asked: &str) -> Result<Bundle, Failure> {
        let read = Bundle::read(self.certificate.bytes());
        read.map_err(|error| unusable(&self.certificate, asked, "certificate", &error))
    }
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
}

/// What a certificate is recorded as.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    Sha256(String),
    Secret(SecretName),
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
        let pair = self.source.pair("cert_load", false)?;
        if pair.key.is_none() {
            return Err(unusable(&self.source.certificate, "cert_load", "certificate", &Error::NoKey));
        }
        let text = written(&pair, "leaf+chain", &self.source.certificate)?;
        Ok(Done::ok(Loaded { certificate: text.to_string() }))
    }
}

fn written(pair: &Pair, order: &str, content: &Content) -> Result<zeroize::Zeroizing<String>, Failure> {
    let order: Result<Order, Error> = order.parse();
    let text = order.and_then(|order| order.write(pair));
    text.map_err(|error| unusable(content, "cert_load", "certificate", &error))
}

pub(super) fn cert_load(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let source = Source::read(&call.value(0), call.name())?;
    let key = source.holder()?.name().clone();
    let certificate = match &source.certificate {
        Content::Plain(bytes) => Origin::Sha256(crate::store::sha256(bytes)),
        Content::Secret(secret) => Origin::Secret(secret.name().clone()),
    };
    let Loaded { certificate } = call.perform(&Load { certificate, key: key.clone(), source: &source })?;
    let bytes = if call.session.gate().replay {
        // A replay has no keys: the placeholder is what the log would show.
        format!("«secret:{key}»").into_bytes()
    } else {
        let pair = source.pair(call.name(), false)?;
        let text = written(&pair, "leaf+chain", &source.certificate)?;
        if *text != certificate {
            let message = format!(
                "the certificate of `{}` was renewed since this run loaded it; begin a new run",
                pair.leaf.words()
            );
            return Err(Failure { kind: "renewed".to_owned(), ..invalid(message) }.into());
        }
        written(&pair, "key", &source.certificate)?.as_bytes().to_vec()
    };
    let mut map = loaded(call, &certificate)?;
    map.insert("certificate".into(), certificate.into());
    map.insert("key".into(), Dynamic::from(SecretValue(Secret::new(key, bytes))));
    Ok(map.into())
}
