//! Pods: `k8s_exec k8s_logs`.

use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::exchange::{Ask, refusal};
use super::reference::{Reference, query};
use crate::bindings::call::Content;
use crate::bindings::{Call, Outcome, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Captured, Done, Effect, Kept, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::world::k8s::{Exec as Wire, Remote};
use crate::world::transport::Line;

/// Bytes of each stream that a script sees.
const MAX_OUTPUT: usize = 4 << 20;
/// How long a command may take.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Runs a command in a container.
#[derive(Serialize)]
struct Exec {
    #[serde(flatten)]
    pod: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    command: Vec<String>,
    #[serde(skip)]
    stdin: Option<Content>,
    /// What stands for the input.
    #[serde(skip_serializing_if = "Option::is_none", rename = "stdin")]
    given: Option<serde_json::Value>,
    #[serde(skip)]
    ok: Vec<i64>,
    #[serde(skip)]
    timeout: Duration,
}

/// How it ended; its output is kept beside the events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ended {
    code: i32,
    out: Captured,
    err: Captured,
}

impl Effect for Exec {
    const NAME: &'static str = "k8s.exec";
    const KIND: Kind = Kind::Act;
    type Output = Ended;

    fn target(&self) -> Target {
        self.pod.target()
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Ended>) -> Result<Done<Ended>, Failure> {
        let wire = Wire {
            namespace: self.pod.namespace.clone().unwrap_or_default(),
            pod: self.pod.name.clone(),
            container: self.container.clone(),
            words: self.command.clone(),
            stdin: self.stdin.as_ref().map(|content| content.bytes().to_vec()),
        };
        let (remote, out, err) = permit.k8s_exec(&self.pod.cluster, wire, MAX_OUTPUT, self.timeout).await?;
        let what = format!("cluster `{}`: {}", self.pod.cluster, self.pod.words());
        let code = match remote {
            Remote::Exited(code) => code,
            Remote::Refused(status) => {
                let kind = match status.reason.as_str() {
                    "NotFound" => "not_found",
                    "Forbidden" => "forbidden",
                    "Unauthorized" => "unauthorized",
                    _ => "rejected",
                };
                let message = format!("{what}: `{}` was not run: {}", self.command[0], status.sentence());
                return Err(Failure { kind: kind.to_owned(), ..invalid(message) });
            }
        };
        if !self.ok.contains(&i64::from(code)) {
            let said = [err.tail(300), out.tail(300)].into_iter().find(|text| !text.is_empty());
            let said = said.map(|text| format!(": {text}")).unwrap_or_default();
            return Err(Failure {
                kind: "command".to_owned(),
                details: json!({ "code": code, "out": out.tail(MAX_OUTPUT), "err": err.tail(MAX_OUTPUT) }),
                ..invalid(format!("{what}: `{}` exit code {code}{said}", self.command.join(" ")))
            });
        }
        Ok(Done::changed(Ended { code, out, err }))
    }

    fn restore(&self, mut output: Ended, kept: &dyn Kept) -> Ended {
        for (name, captured) in [("out", &mut output.out), ("err", &mut output.err)] {
            if captured.bytes > 0 {
                captured.data = kept.stream(name, MAX_OUTPUT).unwrap_or_default();
            }
        }
        output
    }
}

/// Reads what a container has said.
#[derive(Serialize)]
struct Logs {
    #[serde(flatten)]
    pod: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tail: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_seconds: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    previous: bool,
}

/// The text; kept beside the events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Said {
    out: Captured,
}

impl Effect for Logs {
    const NAME: &'static str = "k8s.logs";
    const KIND: Kind = Kind::Read;
    type Output = Said;

    fn target(&self) -> Target {
        self.pod.target()
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Said>) -> Result<Done<Said>, Failure> {
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let pairs = [
            ("container", self.container.clone().unwrap_or_default()),
            ("tailLines", number(self.tail)),
            ("sinceSeconds", number(self.since_seconds.map(|seconds| seconds as i64))),
            ("previous", if self.previous { "true".to_owned() } else { String::new() }),
            ("limitBytes", MAX_OUTPUT.to_string()),
        ];
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let path = format!("{}/log{}", self.pod.path(permit).await?, query(&pairs));
        let reply = Ask::get(&self.pod.cluster, path).send(permit).await?;
        if reply.status != 200 {
            return Err(refusal(&self.pod.cluster, &format!("log of {}", self.pod.words()), &reply));
        }
        permit.keep("out", &reply.body).await?;
        let bytes = reply.body.len() as u64;
        Ok(Done::ok(Said { out: Captured { bytes, truncated: false, data: reply.body } }))
    }

    fn restore(&self, mut output: Said, kept: &dyn Kept) -> Said {
        if output.out.bytes > 0 {
            output.out.data = kept.stream("out", usize::MAX).unwrap_or_default();
        }
        output
    }
}

pub(super) fn k8s_exec(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let Line::Words(command) = call.command(3)? else {
        return Err(call.wrong(3, "an array of words (a container need not have a shell)", &call.value(3)));
    };
    let ok = match call.option("ok") {
        None => vec![0],
        Some(value) => match (value.as_int(), value.clone().try_cast::<rhai::Array>()) {
            (Ok(code), _) => vec![code],
            (_, Some(codes)) => codes.iter().filter_map(|code| code.as_int().ok()).collect(),
            (Err(_), None) => return Err(call.wrong_option("ok", "exit codes", &value)),
        },
    };
    let stdin = call.option_content("stdin")?;
    let given = stdin.as_ref().map(|content| match content {
        Content::Secret(secret) => json!({ "$secret": secret.name() }),
        Content::Plain(bytes) => json!({ "sha256": crate::store::sha256(bytes), "bytes": bytes.len() }),
    });
    let effect = Exec {
        pod: Reference::in_namespace(call, "Pod")?,
        container: call.option_string("container")?,
        command,
        stdin,
        given,
        ok,
        timeout: call.option_duration("timeout")?.unwrap_or(TIMEOUT),
    };
    call.answer(&effect, |ended, changed| {
        Outcome::known(json!({
            "ok": true, "changed": changed, "code": ended.code, "out": ended.out.text(), "err": ended.err.text(),
        }))
    })
}

pub(super) fn k8s_logs(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let effect = Logs {
        pod: Reference::in_namespace(call, "Pod")?,
        container: call.option_string("container")?,
        tail: call.option_int("tail", 0)?,
        since_seconds: call.option_duration("since")?.map(|since| since.as_secs().max(1)),
        previous: call.option_bool("previous", false)?,
    };
    Ok(call.perform(&effect)?.out.text().into())
}
