//! Reading of devices: `cisco_running cisco_show cisco_backup cisco_drift`.

use std::sync::Arc;
use std::time::Duration;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::text::{Given, digest, plan_value};
use crate::bindings::call::on_host;
use crate::bindings::each::each_host;
use crate::bindings::{Call, Raise, SecretValue, to_dynamic};
use crate::cisco::{self, Drift, Os, filter, masked};
use crate::gate::permit::cisco::os_of;
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Kept, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::secret::{Secret, SecretName};

/// The most that is kept of a text.
const MOST: usize = 64 << 20;

/// A text of a device without secrets; it is kept beside the events.
#[derive(Serialize, Deserialize)]
pub(super) struct Shown {
    bytes: u64,
    #[serde(skip)]
    pub(super) text: String,
    /// The whole text with its secrets, where it was asked for; never recorded.
    #[serde(skip)]
    pub(super) whole: Option<Zeroizing<String>>,
}

impl Shown {
    pub(super) async fn keep(permit: &Permit<'_>, text: String) -> Result<Self, Failure> {
        permit.keep("out", text.as_bytes()).await?;
        Ok(Self { bytes: text.len() as u64, text, whole: None })
    }

    pub(super) fn restore(self, kept: &dyn Kept) -> Self {
        let bytes = kept.stream("out", MOST).unwrap_or_default();
        Self { text: String::from_utf8_lossy(&bytes).into_owned(), ..self }
    }
}

/// What runs on a device.
#[derive(Serialize)]
struct Running {
    #[serde(skip)]
    host: Arc<Host>,
    #[serde(skip)]
    os: Os,
    #[serde(skip)]
    timeout: Option<Duration>,
}

impl Effect for Running {
    const NAME: &'static str = "cisco.running";
    const KIND: Kind = Kind::Read;
    type Output = Shown;

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Shown>) -> Result<Done<Shown>, Failure> {
        let text = permit.device_running(self.timeout).await?;
        Ok(Done::ok(Shown::keep(permit, masked(&filter(self.os, &text))).await?))
    }

    fn restore(&self, output: Shown, kept: &dyn Kept) -> Shown {
        output.restore(kept)
    }
}

pub(super) fn cisco_running(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let timeout = call.option_duration("timeout")?;
    let make = |_: &Call<'_>, host: &Arc<Host>| Ok(Running { host: host.clone(), os: os_of(host)?, timeout });
    each_host(call, make, |_, shown, _| Ok(shown.text.into()))
}

/// What a command of a device shows.
#[derive(Serialize)]
struct Show {
    #[serde(skip)]
    host: Arc<Host>,
    command: String,
    #[serde(skip)]
    timeout: Option<Duration>,
}

impl Effect for Show {
    const NAME: &'static str = "cisco.show";
    const KIND: Kind = Kind::Read;
    type Output = Shown;

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Shown>) -> Result<Done<Shown>, Failure> {
        let text = permit.device_show(&self.command, self.timeout).await?;
        Ok(Done::ok(Shown::keep(permit, masked(&text)).await?))
    }

    fn restore(&self, output: Shown, kept: &dyn Kept) -> Shown {
        output.restore(kept)
    }
}

/// Demands that a command shows something and does nothing else: what it shows could be written into a file.
fn shows(command: &str) -> Result<String, Failure> {
    let command = command.trim();
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let is_short_for = |word: &str, whole: &str| word.len() >= 2 && whole.starts_with(word);
    if !words.first().is_some_and(|word| is_short_for(word, "show")) || command.chars().any(char::is_control)
    {
        return Err(invalid(format!(
            "`cisco_show` takes one command that begins with `show`, not `{}`",
            masked(command).escape_debug()
        )));
    }
    let filters = command.split(" |").skip(1).filter_map(|filter| filter.split_ascii_whitespace().next());
    let writes = |word: &&str| {
        ["redirect", "tee", "append"].iter().any(|whole| whole.starts_with(*word) && !word.is_empty())
    };
    if let Some(word) = filters.into_iter().find(writes) {
        return Err(invalid(format!(
            "`| {word}` writes what is shown into a file of the device; `cisco_show` only reads"
        )));
    }
    Ok(command.to_owned())
}

pub(super) fn cisco_show(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let command = shows(&call.string(1)?)?;
    let timeout = call.option_duration("timeout")?;
    let make = |_: &Call<'_>, host: &Arc<Host>| {
        os_of(host)?;
        Ok(Show { host: host.clone(), command: command.clone(), timeout })
    };
    each_host(call, make, |_, shown, _| Ok(shown.text.into()))
}

/// What runs on a device, with its secrets.
#[derive(Serialize)]
struct Backup {
    #[serde(skip)]
    host: Arc<Host>,
    secret: SecretName,
    #[serde(skip)]
    os: Os,
    #[serde(skip)]
    timeout: Option<Duration>,
}

impl Effect for Backup {
    const NAME: &'static str = "cisco.backup";
    const KIND: Kind = Kind::Read;
    type Output = Shown;

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Shown>) -> Result<Done<Shown>, Failure> {
        let text = permit.device_running(self.timeout).await?;
        permit.conceal();
        let shown = Shown::keep(permit, masked(&filter(self.os, &text))).await?;
        Ok(Done::ok(Shown { whole: Some(Zeroizing::new(text)), ..shown }))
    }

    fn restore(&self, output: Shown, kept: &dyn Kept) -> Shown {
        output.restore(kept)
    }
}

pub(super) fn cisco_backup(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let timeout = call.option_duration("timeout")?;
    let make = |_: &Call<'_>, host: &Arc<Host>| {
        let name =
            host.name.to_ascii_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let secret = SecretName::try_from(format!("cisco/{name}/backup"))
            .or_else(|_| SecretName::try_from("cisco/backup".to_owned()))
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Backup { host: host.clone(), secret, os: os_of(host)?, timeout })
    };
    each_host(call, make, |backup, shown, _| {
        let content = match shown.whole {
            Some(whole) => Secret::new(backup.secret.clone(), whole.as_bytes().to_vec()),
            None => Secret::placeholder(backup.secret.clone()),
        };
        Ok(Dynamic::from_map(rhai::Map::from([
            ("host".into(), backup.host.name.clone().into()),
            ("os".into(), backup.os.as_str().into()),
            ("content".into(), Dynamic::from(SecretValue(content))),
            ("text".into(), shown.text.into()),
        ])))
    })
}

/// How a device stands to what is intended.
#[derive(Serialize)]
struct Drifts {
    #[serde(skip)]
    host: Arc<Host>,
    #[serde(skip)]
    os: Os,
    intended: String,
    #[serde(skip)]
    text: Zeroizing<String>,
    #[serde(skip)]
    timeout: Option<Duration>,
}

impl Effect for Drifts {
    const NAME: &'static str = "cisco.drift";
    const KIND: Kind = Kind::Read;
    type Output = Value;

    fn target(&self) -> Target {
        on_host(&self.host, None)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Value>) -> Result<Done<Value>, Failure> {
        permit.hide(&self.text)?;
        let running = permit.device_running(self.timeout).await?;
        Ok(Done::ok(judged(self.os, &running, &self.text)))
    }
}

/// Returns a comparison as scripts see it.
fn judged(os: Os, running: &str, intended: &str) -> Value {
    let mut value = match cisco::drift(os, running, intended) {
        Drift::Same => json!({ "state": "same" }),
        Drift::Textual { notes } => {
            let notes: Vec<Value> =
                notes.iter().map(|note| json!({ "line": masked(&note.line), "text": note.text })).collect();
            json!({ "state": "textual", "notes": notes })
        }
        Drift::Different { classes, plan } => {
            let mut value = plan_value(&plan);
            value["state"] = "different".into();
            value["classes"] = json!(classes);
            value
        }
        Drift::Unknown { why } => json!({ "state": "unknown", "why": masked(&why) }),
    };
    for (key, empty) in [
        ("changes", json!(false)),
        ("classes", json!([])),
        ("commands", json!([])),
        ("risks", json!([])),
        ("blocks", json!([])),
        ("notes", json!([])),
        ("why", Value::Null),
    ] {
        if value.get(key).is_none() {
            value[key] = empty;
        }
    }
    value["running"] = digest(os, running).into();
    value
}

pub(super) fn cisco_drift(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let host = call.host(0)?;
    let os = os_of(&host)?;
    let given = Given::read(call, 1)?;
    let timeout = call.option_duration("timeout")?;
    let intended = digest(os, &given.text);
    let drift = Drifts { host, os, intended, text: Zeroizing::new(given.text), timeout };
    Ok(to_dynamic(&call.perform(&drift)?)?)
}

#[cfg(test)]
mod tests {
    use super::shows;

    #[test]
    fn only_what_shows_is_taken() {
        for good in [
            "show version",
            "sh ip int brief",
            "show run | include hostname",
            "show log | begin 10:00 | exclude x",
        ] {
            assert!(shows(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "s",
            "reload",
            "configure terminal",
            "show run | redirect flash:x",
            "show run | tee flash:x",
            "show run | a flash:x",
            "show run | i x | red tftp://x",
            "show version\nreload",
            "clear counters",
        ] {
            assert!(shows(bad).is_err(), "{bad}");
        }
    }
}
