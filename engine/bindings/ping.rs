//! Whether hosts answer: `ping`.

use std::sync::Arc;
use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bindings::call::on_host;
use crate::bindings::{Binding, Call, Function, HostValue, Raise, to_dynamic};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::port;
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};

/// Echoes that are sent unless `count` says otherwise.
const COUNT: i64 = 3;
/// More are a load, not a look.
const MOST: i64 = 1000;
/// How long after one the next is sent, and no less than that.
const INTERVAL: Duration = Duration::from_millis(500);
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// How long each answer may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Who is asked.
enum Subject {
    Host(Arc<Host>),
    Name(String),
}

/// Some echoes.
#[derive(Serialize)]
struct Ping {
    #[serde(skip)]
    subject: Subject,
    count: u16,
    interval_ms: u64,
    timeout_ms: u64,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Answers {
    address: String,
    sent: u16,
    /// Milliseconds.
    times: Vec<f64>,
    trouble: Option<String>,
}

impl Effect for Ping {
    const NAME: &'static str = "host.ping";
    const KIND: Kind = Kind::Read;
    type Output = Answers;

    fn target(&self) -> Target {
        match &self.subject {
            Subject::Host(host) => on_host(host, None),
            Subject::Name(name) => Target::Named { name: name.clone() },
        }
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Answers>) -> Result<Done<Answers>, Failure> {
        let (interval, timeout) =
            (Duration::from_millis(self.interval_ms), Duration::from_millis(self.timeout_ms));
        let tally = permit.ping(self.count, interval, timeout).await?;
        Ok(Done::ok(Answers {
            address: tally.address.to_string(),
            sent: tally.sent,
            times: tally.answers.into_iter().flatten().map(|took| took.as_secs_f64() * 1000.0).collect(),
            trouble: tally.trouble,
        }))
    }
}

fn subject(call: &Call<'_>) -> Result<Subject, Raise> {
    let value = call.value(0);
    if let Some(host) = value.read_lock::<HostValue>() {
        return Ok(Subject::Host(host.0.clone()));
    }
    let text =
        value.clone().into_string().map_err(|_| call.wrong(0, "a host, a name or an address", &value))?;
    if let Some(host) = call.session.gate().inventory.host(&text) {
        return Ok(Subject::Host(host.clone()));
    }
    Ok(Subject::Name(port::host(&text).map_err(|error| invalid(error.to_string()))?))
}

fn ping(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let count = call.option_int("count", 1)?.unwrap_or(COUNT);
    if count > MOST {
        return Err(invalid(format!("`ping` sends at most {MOST} echoes, not {count}")).into());
    }
    let interval = call.option_duration("interval")?.unwrap_or(INTERVAL).max(LEAST_INTERVAL);
    let timeout = call.option_duration("timeout")?.unwrap_or(TIMEOUT);
    let effect = Ping {
        subject: subject(call)?,
        count: count as u16,
        interval_ms: interval.as_millis() as u64,
        timeout_ms: timeout.as_millis() as u64,
    };
    let answers = call.perform(&effect)?;
    let (sent, times) = (f64::from(answers.sent), &answers.times);
    let received = times.len() as f64;
    let known = |value: f64| if times.is_empty() { json!(null) } else { json!(value) };
    Ok(to_dynamic(&json!({
        "address": answers.address,
        "sent": answers.sent,
        "received": times.len(),
        "loss": if sent > 0.0 { 100.0 * (sent - received) / sent } else { 0.0 },
        "min_ms": known(times.iter().copied().fold(f64::INFINITY, f64::min)),
        "avg_ms": known(times.iter().sum::<f64>() / received.max(1.0)),
        "max_ms": known(times.iter().copied().fold(0.0, f64::max)),
        "trouble": answers.trouble,
    }))?)
}

/// Echoes.
pub const BINDING: Binding = Binding {
    area: "ping",
    doc: "Whether hosts answer echoes.",
    functions: &[function!(
        ping,
        &[Param { name: "host", ty: Type::Any, optional: false }],
        &[
            Opt {
                name: "count",
                ty: Type::Int,
                doc: "How many echoes are sent; 3 by default, 1000 at most."
            },
            Opt {
                name: "interval",
                ty: Type::Duration,
                doc: "How long after one the next is sent; 500 ms by default, 10 ms at least.",
            },
            Opt {
                name: "timeout",
                ty: Type::Duration,
                doc: "How long each answer may take; 1 s by default."
            },
        ],
        Some(Performs { effect: "host.ping", kind: Kind::Read, touches: Touches::HostOrName }),
        "A map `.address .sent .received .loss .min_ms .avg_ms .max_ms .trouble`; `.loss` is a percentage, the times are `()` where \
         nothing came back, and `.trouble` is what the network said last instead of an answer, or `()`.",
        "Sends ICMP echoes from this machine to a host of the inventory, a name or an address.\n\nNo answer is no failure: \
         `.received` is 0, also where no way leads there. A name without an address is a failure `unreachable`, and where this user \
         may not send echoes it is a failure `denied` that names the `sysctl`. Jump hosts are not used. A grant names the host, its \
         group, or the name: `host.ping:@web`, `host.ping:10.0.0.*`.",
        r#"try {
    if ping("localhost", #{ count: 1, timeout: "2s" }).received == 0 { warn("no answer") }
} catch (e) { print(`${e.kind}: ${e.message}`) }"#
    )],
};
