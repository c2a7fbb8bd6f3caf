//! Certificates: `cert_parse cert_days_left cert_matches cert_bundle cert_check`, pure but for what a secret says; the list of all
//! functions of the area, `cert_load` and `cert_sync` included.

use std::time::Duration;

use jiff::Timestamp;
use rhai::{Dynamic, Map};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bindings::call::Content;
use crate::bindings::cert_load::{Origin, cert_load};
use crate::bindings::cert_sync::cert_sync;
use crate::bindings::declare::of_the_run;
use crate::bindings::{Binding, Call, Function, Raise, SecretValue, json as as_json, to_dynamic};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::secret::{Secret, SecretName};
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};
use crate::x509::{self, Bundle, Certificate, Error, Expected, Order, Pair, PrivateKey};

/// Days before the end from which on a certificate is warned of, unless `warn_days` says otherwise.
const WARN_DAYS: i64 = 21;
/// Days that can be asked for: a hundred years.
const MOST_DAYS: i64 = 36_500;

/// What a script gave: its bytes, and the secret's name if it is one.
struct Given {
    content: Content,
    /// What it is in messages.
    words: &'static str,
    /// Whom it was given to.
    asked: &'static str,
}

impl Given {
    fn bundle(&self) -> Result<Bundle, Failure> {
        Bundle::read(self.content.bytes()).map_err(|error| self.unreadable(&error))
    }

    fn private_key(&self) -> Result<PrivateKey, Failure> {
        self.bundle()?.key().map_err(|error| self.unreadable(&error))
    }

    fn pair(&self, key: Option<PrivateKey>) -> Result<Pair, Failure> {
        Pair::of(self.bundle()?, key).map_err(|error| self.unreadable(&error))
    }

    fn secret_name(&self) -> Option<&SecretName> {
        match &self.content {
            Content::Secret(secret) => Some(secret.name()),
            Content::Plain(_) => None,
        }
    }

    fn unreadable(&self, error: &Error) -> Failure {
        let name = self.secret_name().map(|name| format!(" (secret `{name}`)")).unwrap_or_default();
        invalid(format!("`{}` cannot use its `{}`{name}: {error}", self.asked, self.words))
    }
}

fn certificate(call: &Call<'_>) -> Result<Given, Raise> {
    Ok(Given { content: call.content(0)?, words: "certificate", asked: call.name() })
}

fn key(call: &Call<'_>) -> Result<Given, Raise> {
    Ok(Given { content: call.content(1)?, words: "key", asked: call.name() })
}

/// A question about a certificate and a key of which at least one is a secret.
///
/// The answer is journaled: it hangs on what a secret holds, which a replay has not, and which may be another one when a run is
/// resumed. It never says anything of the key but whose it is.
#[derive(Serialize)]
struct Look<F> {
    question: &'static str,
    certificate: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Origin>,
    #[serde(skip_serializing_if = "Value::is_null")]
    with: Value,
    #[serde(skip)]
    answer: F,
}

impl<F: Fn() -> Result<Value, Failure>> Effect for Look<F> {
    const NAME: &'static str = "cert.look";
    const KIND: Kind = Kind::Read;
    type Output = Value;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(&self, _permit: &Permit<'_>, _seen: &Seen<Value>) -> Result<Done<Value>, Failure> {
        (self.answer)().map(Done::ok)
    }
}

/// Answers a question, which is that of the call, `with` what else it depends on.
fn looked(
    call: &Call<'_>,
    certificate: &Given,
    key: Option<&Given>,
    with: Value,
    answer: impl Fn() -> Result<Value, Failure>,
) -> Result<Value, Raise> {
    let is_secret = |given: &Given| given.secret_name().is_some();
    if !is_secret(certificate) && !key.is_some_and(is_secret) {
        return Ok(answer()?);
    }
    let origin = |given: &Given| Origin::of(&given.content);
    let (certificate, key) = (origin(certificate), key.map(origin));
    call.perform(&Look { question: call.name(), certificate, key, with, answer })
}

/// Returns an instant as `now()` does.
fn moment(instant: Timestamp) -> Dynamic {
    let mut fields = Map::new();
    fields.insert("ms".into(), instant.as_millisecond().into());
    fields.insert("seconds".into(), instant.as_second().into());
    fields.insert("text".into(), instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
    fields.insert("date".into(), instant.strftime("%Y-%m-%d").to_string().into());
    fields.into()
}

/// Reads an instant as `now()` gives it.
fn instant(call: &Call<'_>, value: &Dynamic) -> Result<Timestamp, Raise> {
    let ms = value.read_lock::<Map>().and_then(|fields| fields.get("ms")?.as_int().ok());
    ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()).ok_or_else(|| {
        invalid(format!("`{}` wants an instant as `at`, as `now()` gives it", call.name())).into()
    })
}

/// Returns what a certificate says, for scripts.
pub(super) fn fields(certificate: &Certificate) -> Map {
    let names = certificate.names.iter().map(|name| Dynamic::from(name.to_string())).collect();
    let mut fields = Map::new();
    fields.insert("subject".into(), certificate.subject.clone().into());
    fields.insert("issuer".into(), certificate.issuer.clone().into());
    fields.insert("serial".into(), certificate.serial.clone().into());
    fields.insert("not_before".into(), moment(certificate.not_before));
    fields.insert("not_after".into(), moment(certificate.not_after));
    fields.insert("names".into(), Dynamic::from_array(names));
    fields.insert("fingerprint".into(), certificate.fingerprint.clone().into());
    fields.insert("spki".into(), certificate.spki.clone().into());
    fields.insert("key".into(), certificate.key.words().into());
    fields.insert("is_ca".into(), certificate.is_ca.into());
    fields
}

fn cert_parse(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let given = certificate(call)?;
    let answer = || as_json(&parsed(&given.pair(None)?).into());
    Ok(to_dynamic(&looked(call, &given, None, Value::Null, answer)?)?)
}

/// Returns what a certificate and its chain say, for scripts.
pub(super) fn parsed(pair: &Pair) -> Map {
    let mut map = fields(&pair.leaf);
    let chain = pair.chain.iter().map(|certificate| Dynamic::from_map(fields(certificate))).collect();
    map.insert("chain".into(), Dynamic::from_array(chain));
    map
}

fn cert_days_left(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let at = instant(call, &call.value(1))?;
    let given = certificate(call)?;
    let answer = || Ok(given.pair(None)?.leaf.days_left(at).into());
    Ok(to_dynamic(&looked(call, &given, None, json!({ "at": at }), answer)?)?)
}

fn cert_matches(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let (given, key) = (certificate(call)?, key(call)?);
    let answer = || {
        let key = key.private_key()?;
        // The key given must not choose among the certificates, or one of the chain's could be taken for the leaf.
        Ok(given.pair(None)?.leaf.has_key(&key).into())
    };
    Ok(to_dynamic(&looked(call, &given, Some(&key), Value::Null, answer)?)?)
}

fn cert_bundle(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let spelled = call.string(2)?;
    let order: Order = spelled
        .parse()
        .map_err(|error: Error| Raise::from(invalid(format!("`{}`: {error}", call.name()))))?;
    let given = certificate(call)?;
    let key = if call.value(1).is_unit() { None } else { Some(key(call)?) };
    let holder = key.as_ref().unwrap_or(&given);
    let name = holder.secret_name().cloned();
    if order.has_key() && name.is_none() {
        let message = format!("`{}` writes a private key only if it is given as a secret", call.name());
        return Err(invalid(message).into());
    }
    let write = || {
        let private = key.as_ref().map(Given::private_key).transpose()?;
        order.write(&given.pair(private)?).map_err(|error| given.unreadable(&error))
    };
    // With the key in it, it is never an answer that is recorded, but only that it can be written.
    let answer = || write().map(|text| if order.has_key() { Value::Null } else { text.as_str().into() });
    let text = looked(call, &given, key.as_ref(), json!({ "order": spelled }), answer)?;
    Ok(match name.filter(|_| order.has_key()) {
        Some(name) if call.session.gate().replay => Dynamic::from(SecretValue(Secret::placeholder(name))),
        Some(name) => Dynamic::from(SecretValue(Secret::new(name, write()?.as_bytes().to_vec()))),
        None => to_dynamic(&text)?,
    })
}

fn cert_check(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let at = instant(call, &call.option("at").unwrap_or_default())?;
    let days = call.option_int("warn_days", 0)?.unwrap_or(WARN_DAYS).min(MOST_DAYS);
    let names = match call.option("names") {
        Some(value) => {
            let wrong = || invalid(format!("`{}` wants an array of texts as `names`", call.name()));
            let texts = value.try_cast::<rhai::Array>().ok_or_else(wrong)?;
            texts.into_iter().map(|name| name.into_string().map_err(|_| wrong())).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    let key = call.option_content("key")?.map(|content| Given { content, words: "key", asked: call.name() });
    let given = certificate(call)?;
    let answer = || {
        let pair = given.pair(key.as_ref().map(Given::private_key).transpose()?)?;
        let expected = Expected { names: &names, at, warn: Duration::from_secs(days as u64 * 86_400) };
        let findings = x509::check(&pair, &expected).into_iter().map(|finding| {
            json!({ "severity": finding.severity.as_str(), "kind": finding.kind, "text": finding.text })
        });
        Ok(findings.collect())
    };
    let with = json!({ "at": at, "names": names, "warn_days": days });
    Ok(to_dynamic(&looked(call, &given, key.as_ref(), with, answer)?)?)
}

const CERTIFICATE: Param = Param { name: "certificate", ty: Type::Content, optional: false };
const KEY: Param = Param { name: "key", ty: Type::Content, optional: false };
/// Of a secret only: what stands in sight is looked at without an effect.
const LOOK: Performs = of_the_run("cert.look", Kind::Read);

/// Certificates.
pub const BINDING: Binding = Binding {
    area: "cert",
    doc: "Certificates and their private keys, as PEM or DER; no key is ever recorded. What is said of one that is a secret is, and of \
          one that is in sight nothing.",
    functions: &[
        function!(
            cert_parse,
            &[CERTIFICATE],
            &[],
            Some(LOOK),
            "A map `.subject .issuer .serial .not_before .not_after .names .fingerprint .spki .key .is_ca .chain`; instants are maps \
             as `now()` gives them, `.fingerprint` and `.spki` SHA-256 in lower-case hexadecimal, `.chain` an array of such maps.",
            "Reads a certificate and those that lead from it to its root, in whatever order they stand.\n\nThe map is that of the \
             leaf: the certificate of the private key if one stands there, too, otherwise the one that signed no other. `.spki` is \
             the hash of its public key, and stays the same when the key is certified again. The private key is left out.",
            r#"let cert = cert_parse(project_read("files/site.pem"));
print(`${cert.subject} until ${cert.not_after.date}`);"#
        ),
        function!(
            cert_days_left,
            &[CERTIFICATE, Param { name: "at", ty: Type::Map, optional: false }],
            &[],
            Some(LOOK),
            "A whole number of days, rounded down; negative after the end.",
            "Says how many days a certificate is still valid at an instant: `now()`, most of the time.",
            r#"let days = cert_days_left(project_read("files/site.pem"), now());
check(days >= 21, `${days} days left`);"#
        ),
        function!(
            cert_matches,
            &[CERTIFICATE, KEY],
            &[],
            Some(LOOK),
            "`true` or `false`.",
            "Says whether a private key is that of a certificate: RSA, ECDSA on P-256, P-384 and P-521, Ed25519.\n\nThe key is \
             PKCS#8, PKCS#1 or SEC1; one that is encrypted or damaged is a failure, not `false`.",
            r#"check(cert_matches(project_read("files/site.pem"), secret("site/key")), "the key is that of the certificate");"#
        ),
        function!(
            cert_bundle,
            &[
                CERTIFICATE,
                Param { name: "key", ty: Type::Any, optional: false },
                super::declare::text("order")
            ],
            &[],
            Some(LOOK),
            "A secret with the name of the key's if the order has the key; otherwise text.",
            "Writes a certificate, its chain and its key as PEM, in the order that a server wants.\n\nThe order is parts joined by \
             `+`: `leaf`, `chain` (without the root), `root`, `key`. `leaf+chain` suits nginx, Apache and Proxmox, `leaf+chain+key` \
             HAProxy, `key+leaf+chain` Postfix and stunnel. The key is a secret, or `()` where none is written; one that is not the \
             certificate's is a failure.",
            r#"let pem = cert_bundle(project_read("files/site.pem"), secret("site/key"), "key+leaf+chain");
file_put("localhost", "/tmp/nlrun-example/site.pem", pem, #{ mode: "0600" });"#
        ),
        function!(
            cert_load,
            &[Param { name: "source", ty: Type::Any, optional: false }],
            &[],
            Some(of_the_run("cert.load", Kind::Read)),
            "What `cert_parse` tells, with `.certificate` (text, the leaf and its chain without the root), `.root` (text, if it was there) and `.key` (a secret) on top.",
            "Puts a certificate, its chain and its private key together.\n\nThe source is a map `#{ certificate, key }`, the map that \
             `k8s_secret` returns for a TLS secret, or one secret that holds both. The chain may be in any order. A key that is not the \
             certificate's is a failure, and so is one that is not given as a secret.",
            r#"let site = cert_load(#{ certificate: project_read("files/site.pem"), key: secret("site/key") });
print(`${site.subject} until ${site.not_after.date}`);"#
        ),
        function!(
            cert_sync,
            &[
                Param { name: "cert", ty: Type::Any, optional: false },
                Param { name: "target", ty: Type::Map, optional: false }
            ],
            &[],
            Some(Performs { effect: "cert.sync", kind: Kind::Ensure, touches: Touches::Text(1) }),
            "A map `.target .changed .activated .fingerprint .served .warnings`; `.served` is an array of `.at .fingerprint`, `.warnings` one of texts.",
            "Makes sure that a server has a certificate with its key, and serves it.\n\nThe certificate is what `cert_load` returns or \
             takes; the target a map that says where, such as the functions of `certs` make it. Compared are the content at its place \
             (leaf, chain and key) and what is served at each of `served`: a place that is right behind a server that shows another \
             certificate is activated again, and an endpoint that nobody reaches counts as one that shows another. An expired pair, a \
             foreign key or one of `names` that is not covered is refused before anything is touched. Certificate and key are put there \
             together, tested before the server is told, and the old ones come back where the test fails; then what is served is looked \
             at for up to `patience` (30 s). A run that was ended at any point is put right by the next one.\n\nThe kind `files` has \
             `host`, `files` (maps `#{ path, order, mode, owner, group }`, orders as `cert_bundle` has them), `test`, `reload` (lines \
             for a shell), `timeout` (of both; 2 min by default), `sudo` and `sudo_password`. `served` are ports or maps \
             `#{ port, host, sni, starttls }`; another host than the target's own needs `tls.probe:HOST:PORT`, too.\n\nThe kinds \
             `npm`, `proxmox`, `synology` and `unifi` are programs with an API, below the `url` of the target, which the grant names with \
             a `/` at its end; the functions of `appliances` make such targets and describe their keys.",
            r#"let site = cert_load(#{ certificate: project_read("files/site.pem"), key: secret("site/key") });
let done = cert_sync(site, #{
    kind: "files",
    host: "localhost",
    files: [
        #{ path: "/tmp/nlrun-example/site.pem", order: "leaf+chain" },
        #{ path: "/tmp/nlrun-example/site.key", order: "key", mode: "0600" },
    ],
    test: "nginx -t",
    reload: "nginx -s reload",
    names: ["www.example.com"],
});
print(`${done.target}: ${done.fingerprint}`);"#
        ),
        Function {
            signature: Signature {
                name: "cert_check",
                params: &[CERTIFICATE],
                options: &[
                    Opt {
                        name: "at",
                        ty: Type::Map,
                        doc: "When it must be valid: `now()`, most of the time.",
                    },
                    Opt {
                        name: "key",
                        ty: Type::Content,
                        doc: "The private key that should be the certificate's.",
                    },
                    Opt {
                        name: "names",
                        ty: Type::Array,
                        doc: "Hosts that it must cover: names or addresses.",
                    },
                    Opt {
                        name: "warn_days",
                        ty: Type::Int,
                        doc: "Days before its end from which on it is warned of; 21 by default.",
                    },
                ],
                required_options: &["at"],
                returns: "An array of findings `.severity .kind .text`, the worst first; `.severity` is `error`, `warning` or `note`.",
                performs: Some(LOOK),
                doc: "Says what is wrong with a certificate, its chain and its key: dates, names, signatures, strength, order.\n\nAn \
                      `error` is what clients or servers refuse; whether they trust the root is not looked at. `.kind` is a word for \
                      scripts, such as `expired`, `name` or `key_mismatch`.",
                example: r#"let pem = project_read("files/site.pem");
for finding in cert_check(pem, #{ at: now(), key: secret("site/key"), names: ["www.example.com"] }) {
    check(finding.severity != "error", finding.text);
}"#,
            },
            run: cert_check,
        },
    ],
};
