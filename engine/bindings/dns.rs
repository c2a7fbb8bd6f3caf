//! What DNS servers say: `dns_query`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bindings::{Binding, Call, Function, Raise, to_dynamic};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};
use crate::world::dns::{self, PORT, Question, Record};

/// How long a question may take unless `timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One question.
#[derive(Serialize)]
struct Query {
    name: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<SocketAddr>,
    #[serde(skip)]
    question: Question,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Answered {
    code: String,
    answers: Vec<Record>,
    authoritative: bool,
    server: String,
    ms: u64,
}

impl Effect for Query {
    const NAME: &'static str = "dns.query";
    const KIND: Kind = Kind::Read;
    type Output = Answered;

    fn target(&self) -> Target {
        Target::Named { name: self.name.clone() }
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Answered>) -> Result<Done<Answered>, Failure> {
        let begun = std::time::Instant::now();
        let reply = permit.resolve(&self.question).await?;
        Ok(Done::ok(Answered {
            code: reply.code,
            answers: reply.answers,
            authoritative: reply.is_authoritative,
            server: reply.server.to_string(),
            ms: begun.elapsed().as_millis() as u64,
        }))
    }
}

fn dns_query(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let name = call.string(0)?;
    let kind = call.option_string("type")?.unwrap_or_else(|| "A".to_owned());
    let kind: dns::Kind = kind.parse().map_err(|error: dns::UnknownKind| invalid(error.to_string()))?;
    let server = match call.option_string("server")? {
        None => None,
        Some(text) => {
            let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
            let server = address.or_else(|_| text.parse::<SocketAddr>());
            let wrong = || {
                invalid(format!(
                    "`server` is an address, with or without a port, not `{text}`: a name would have to be asked for first"
                ))
            };
            Some(server.map_err(|_| wrong())?)
        }
    };
    let timeout = call.option_duration("timeout")?.unwrap_or(TIMEOUT);
    let question = Question { name: name.clone(), kind, server, timeout };
    let answered = call.perform(&Query { name, r#type: kind.to_string(), server, question })?;
    let fields = json!({
        "code": answered.code,
        "answers": answered.answers,
        "authoritative": answered.authoritative,
        "server": answered.server,
        "ms": answered.ms,
    });
    Ok(to_dynamic(&fields)?)
}

/// DNS servers.
pub const BINDING: Binding = Binding {
    area: "dns",
    doc: "What DNS servers say.",
    functions: &[function!(
        dns_query,
        &[Param { name: "name", ty: Type::String, optional: false }],
        &[
            Opt {
                name: "type",
                ty: Type::String,
                doc: "What is asked for: `A` (the default), `AAAA`, `CAA`, `CNAME`, `MX`, `NS`, `PTR`, `SOA`, `SRV` or `TXT`.",
            },
            Opt {
                name: "server",
                ty: Type::String,
                doc: "The address of who is asked, with or without a port; those of `/etc/resolv.conf` by default.",
            },
            Opt {
                name: "timeout",
                ty: Type::Duration,
                doc: "How long it may take with every try; 5 s by default."
            },
        ],
        Some(Performs { effect: "dns.query", kind: Kind::Read, touches: Touches::Text(0) }),
        "A map `.code .answers .authoritative .server .ms`; `.answers` is an array of maps `.name .type .ttl .data`, in the order in \
         which they came.",
        "Asks a DNS server for records of a name.\n\nA name that does not exist is an answer: `.code` is `NXDOMAIN`, and `NOERROR` \
         with no answers where it exists without such records. `SERVFAIL` and `REFUSED` of one server are asked again of the next. \
         Nobody's answer is a failure `timed_out`, `refused`, `unreachable` or `protocol`. Names are whole: no search list is tried, \
         nor `/etc/hosts`, and a `CNAME` on the way is one of the answers. `.data` is what zone files write: `10 mail.example.com` \
         for `MX`; texts are without quotes. For `PTR` an address may stand in place of its name. A grant names the name: \
         `dns.query:*.example.com`.",
        r#"try {
    let found = dns_query("www.example.com", #{ type: "A", server: "127.0.0.1:9", timeout: "2s" });
    for answer in found.answers { print(`${answer.type} ${answer.data}`) }
} catch (e) { print(`${e.kind}: ${e.message}`) }"#
    )],
};
