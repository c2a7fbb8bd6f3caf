//! What TLS servers show: `tls_probe`.

use std::sync::Arc;
use std::time::Duration;

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};

use crate::bindings::cert::fields;
use crate::bindings::{Binding, Call, Function, HostValue, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen, sentence};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::port::Port;
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};
use crate::world::tls::probe::{Request, StartTls, Verified};
use crate::x509::{self, Certificate};

/// How long a probe may take unless `timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A look at what a server shows.
#[derive(Serialize)]
struct Probe {
    port: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starttls: Option<StartTls>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alpn: Vec<String>,
    /// The SHA-256 of the authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[serde(skip)]
    request: Request,
}

/// What was seen; certificates are PEM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shown {
    chain: Vec<String>,
    address: String,
    protocol: Option<String>,
    cipher: Option<String>,
    alpn: Option<String>,
    client_certificate: bool,
    handshake_error: Option<String>,
    /// Nothing where nobody can tell.
    verified: Option<bool>,
    verify_cause: Option<String>,
    verify_error: Option<String>,
    ms: u64,
}

impl Effect for Probe {
    const NAME: &'static str = "tls.probe";
    const KIND: Kind = Kind::Read;
    type Output = Shown;

    fn target(&self) -> Target {
        Target::Named { name: self.port.clone() }
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Shown>) -> Result<Done<Shown>, Failure> {
        let begun = std::time::Instant::now();
        let sight = permit.look(&self.request).await?;
        let (verified, cause, error) = match sight.trust {
            Verified::Yes => (Some(true), None, None),
            Verified::No(cause, reason) => (Some(false), Some(cause), Some(reason)),
            Verified::Unknown(reason) => (None, None, Some(reason)),
        };
        let cause = cause.and_then(|cause| serde_json::to_value(cause).ok());
        Ok(Done::ok(Shown {
            chain: sight.chain.iter().map(|der| x509::pem(der)).collect(),
            address: sight.address.to_string(),
            protocol: sight.protocol,
            cipher: sight.cipher,
            alpn: sight.alpn,
            client_certificate: sight.wants_client,
            handshake_error: sight.handshake_error,
            verified,
            verify_cause: cause.and_then(|cause| cause.as_str().map(str::to_owned)),
            verify_error: error,
            ms: begun.elapsed().as_millis() as u64,
        }))
    }
}

impl Shown {
    fn map(self) -> Map {
        let chain: Vec<Map> = self.chain.iter().map(|pem| certificate(pem)).collect();
        let mut map = chain.first().cloned().unwrap_or_default();
        let text = |text: Option<String>| text.map_or(Dynamic::UNIT, Dynamic::from);
        map.insert("pem".into(), self.chain.concat().into());
        map.insert("chain".into(), chain.into_iter().map(Dynamic::from_map).collect::<rhai::Array>().into());
        map.insert("address".into(), self.address.into());
        map.insert("protocol".into(), text(self.protocol));
        map.insert("cipher".into(), text(self.cipher));
        map.insert("alpn".into(), text(self.alpn));
        map.insert("client_certificate".into(), self.client_certificate.into());
        map.insert("handshake_error".into(), text(self.handshake_error));
        map.insert("verified".into(), self.verified.map_or(Dynamic::UNIT, Dynamic::from));
        map.insert("verify_cause".into(), text(self.verify_cause));
        map.insert("verify_error".into(), text(self.verify_error));
        map.insert("ms".into(), (self.ms as i64).into());
        map
    }
}

/// Returns what one certificate says; of one that cannot be read, why.
fn certificate(pem: &str) -> Map {
    let read = x509::Bundle::read(pem.as_bytes()).map(|bundle| bundle.certificates);
    let mut map = match &read.as_deref() {
        Ok([certificate @ Certificate { .. }, ..]) => fields(certificate),
        Ok([]) => Map::new(),
        Err(error) => Map::from([("error".into(), error.to_string().into())]),
    };
    map.insert("pem".into(), pem.into());
    map
}

/// Returns the host in an argument: that of the inventory by its address, any other by its name or address.
fn host(call: &Call<'_>, index: usize) -> Result<String, Raise> {
    let value = call.value(index);
    if let Some(host) = value.read_lock::<HostValue>() {
        return Ok(host.0.connection.address.clone().unwrap_or_else(|| host.0.name.clone()));
    }
    value.clone().into_string().map_err(|_| call.wrong(index, "a host or its name", &value))
}

fn port(call: &Call<'_>) -> Result<Port, Raise> {
    let number = call.int(1)?;
    let known = u16::try_from(number).ok().filter(|number| *number > 0);
    let known = known.ok_or_else(|| invalid(format!("`{number}` is not a TCP port")))?;
    Ok(Port::new(&host(call, 0)?, known).map_err(|error| invalid(error.to_string()))?)
}

fn tls_probe(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let port = port(call)?;
    let sni = call.option_string("sni")?;
    let sni = match sni.map(|name| ::url::Host::parse(&name).map_err(|_| name)) {
        None => None,
        Some(Ok(::url::Host::Domain(name))) => Some(name),
        Some(Ok(other)) => {
            return Err(invalid(format!("`sni` is a name of a host, not `{other}`")).into());
        }
        Some(Err(name)) => return Err(invalid(format!("`sni` is a name of a host, not `{name}`")).into()),
    };
    let starttls = call.option_string("starttls")?.map(|name| name.parse::<StartTls>()).transpose();
    let starttls = starttls.map_err(|error| invalid(error.to_string()))?;
    let alpn = match call.option("alpn") {
        None => Vec::new(),
        Some(value) => {
            let wrong = || call.wrong_option("alpn", "an array of names such as [\"h2\"]", &value);
            let names = value.clone().try_cast::<rhai::Array>().ok_or_else(wrong)?;
            let name = |name: Dynamic| {
                name.into_string().ok().filter(|name| (1..=255).contains(&name.len())).ok_or_else(wrong)
            };
            names.into_iter().map(name).collect::<Result<Vec<_>, _>>()?
        }
    };
    let ca: Option<Arc<[u8]>> = match call.option_string("ca")? {
        None => None,
        Some(text) if text.contains("-----BEGIN") => Some(text.into_bytes().into()),
        Some(path) => {
            let read = call.session.gate().world.project().read(&path);
            Some(read.map_err(|error| invalid(sentence(&error)))?.into())
        }
    };
    let timeout = call.option_duration("timeout")?.unwrap_or(TIMEOUT);
    let effect = Probe {
        port: port.name(),
        sni: sni.clone(),
        starttls,
        alpn: alpn.clone(),
        ca: ca.as_deref().map(crate::store::sha256),
        request: Request { port, server_name: sni, starttls, alpn, ca, timeout },
    };
    Ok(call.perform(&effect)?.map().into())
}

const OPTIONS: &[Opt] = &[
    Opt {
        name: "sni",
        ty: Type::String,
        doc: "The name to ask the server for, where it is not the host's own; an address asks for none.",
    },
    Opt {
        name: "starttls",
        ty: Type::String,
        doc: "What is spoken in clear before TLS: `smtp`, `imap`, `pop3`, `ldap` or `postgres`.",
    },
    Opt {
        name: "alpn",
        ty: Type::Array,
        doc: "Protocols to offer, such as `[\"h2\", \"http/1.1\"]`; none by default.",
    },
    Opt {
        name: "ca",
        ty: Type::String,
        doc: "The authorities that `.verified` is about, in PEM: a file of the project, or the text itself; this machine's by default.",
    },
    Opt { name: "timeout", ty: Type::Duration, doc: "How long it may take; 10 s by default." },
];

/// TLS servers.
pub const BINDING: Binding = Binding {
    area: "tls",
    doc: "What TLS servers show, whether one trusts them or not.",
    functions: &[function!(
        tls_probe,
        &[
            Param { name: "host", ty: Type::Any, optional: false },
            Param { name: "port", ty: Type::Int, optional: false }
        ],
        OPTIONS,
        Some(Performs { effect: "tls.probe", kind: Kind::Read, touches: Touches::Port }),
        "A map with what `cert_parse` tells of the leaf, and `.chain` (an array of such maps with `.pem`, as the server sent them, the \
         leaf included), `.pem` (all of them), `.address .protocol .cipher .alpn .client_certificate .handshake_error .verified \
         .verify_cause .verify_error .ms`.",
        "Looks at the certificates that a server shows; it trusts nothing and sends nothing.\n\nThe chain comes whatever is wrong with \
         it, and also where the server then refuses the client, as for want of a client's certificate (`.client_certificate` says \
         that it asked for one): `.handshake_error` tells why there is no connection, or is `()`. `.verified` says whether a client \
         would trust it for this name, `.verify_cause` and `.verify_error` why not; it is `()` where nobody can tell. Where there is \
         no certificate it is a failure: `unreachable`, `refused`, `timed_out`, `lost`, `protocol` (before TLS) or `tls`. A host of \
         the inventory is looked at from this machine, by its address. A grant names the port: `tls.probe:*.example.com:443`.",
        r#"try {
    let seen = tls_probe("localhost", 9, #{ timeout: "2s" });
    for finding in cert_check(seen.pem, #{ at: now(), names: ["www.example.com"] }) { warn(finding.text) }
} catch (e) { print(`${e.kind}: ${e.message}`) }"#
    )],
};
