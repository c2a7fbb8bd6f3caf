//! A plan: the effects of a planned run, with everything needed to apply exactly them.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::address::Address;
use crate::model::effect::Kind;
use crate::model::event::{Event, Request};

/// The format written by this version.
pub const FORMAT: u32 = 1;

/// A planned run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The format's number.
    pub format: u32,
    /// Version of nlrun that made it.
    pub version: String,
    /// When it was made: microseconds since 1970, UTC.
    pub made_at: i64,
    /// The run that made it.
    pub run: i64,
    /// The runbook's path.
    pub runbook: String,
    /// Git commit of the project, when it is a checkout.
    pub commit: Option<String>,
    /// Whether the checkout had uncommitted changes.
    pub dirty: bool,
    /// The text of every script, by path.
    pub sources: BTreeMap<String, String>,
    /// The parameters as bound; secrets by name.
    pub params: Value,
    /// The inventory as it was.
    pub inventory: Value,
    /// Capabilities granted by answers.
    pub allow: Vec<String>,
    /// What it would do, in order.
    pub effects: Vec<Planned>,
    /// The line from which it could not go on.
    pub incomplete: Option<String>,
}

/// One effect of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Its place.
    pub address: Address,
    /// The effect's name.
    pub effect: String,
    /// Ensure or act; reads are done again and are not part of a plan.
    pub kind: Kind,
    /// Its target in words.
    pub target: String,
    /// What it asks.
    pub request: Value,
    /// The state that was seen.
    pub pre: Value,
    /// Whether it would change something.
    pub changes: bool,
}

impl Planned {
    /// Reads the planned effect out of an event of a planned run.
    pub fn from_event(event: &Event) -> Option<Self> {
        match event {
            Event::Forecast { address, request, pre, changes, .. } => {
                let Request { effect, kind, target, request, .. } = request.as_ref();
                Some(Self {
                    address: address.clone(),
                    effect: effect.clone(),
                    kind: *kind,
                    target: target.to_string(),
                    request: request.clone(),
                    pre: pre.clone(),
                    changes: *changes,
                })
            }
            _ => None,
        }
    }
}

/// The planned effects by address, for the gate.
#[derive(Debug, Default)]
pub struct Expected {
    effects: HashMap<Address, Planned>,
    /// The line from which the plan could not go on.
    pub incomplete: Option<String>,
    /// Whether the run may go on past an incomplete plan's end.
    pub beyond: bool,
}

impl Expected {
    /// Takes the effects of a plan.
    pub fn new(effects: Vec<Planned>, incomplete: Option<String>, beyond: bool) -> Self {
        let effects = effects.into_iter().map(|planned| (planned.address.clone(), planned)).collect();
        Self { effects, incomplete, beyond }
    }

    /// Whether the plan has an act on this host.
    pub fn has_act_on(&self, host: &str) -> bool {
        let on = |planned: &Planned| planned.kind == Kind::Act && planned.target == host;
        self.effects.values().any(on)
    }

    /// Returns the planned effect at an address.
    pub fn at(&self, address: &Address) -> Option<&Planned> {
        self.effects.get(address)
    }
}

/// Says how a state differs from the one that a plan was made for: each fact that was, is, or was and is another.
///
/// A state holds no content: of a file its hash, of a secret one only whether it is the wanted one.
pub fn differences(planned: &Value, found: &Value) -> String {
    let (Value::Object(planned), Value::Object(found)) = (planned, found) else {
        return format!("it was {} and is {}", fact("", planned), fact("", found));
    };
    let mut keys: Vec<&String> =
        planned.keys().chain(found.keys().filter(|key| !planned.contains_key(*key))).collect();
    if planned.get("type") != found.get("type") {
        // Of another sort of thing, everything else differs as a matter of course.
        keys.retain(|key| *key == "type");
    }
    let told = keys.into_iter().filter_map(|key| match (planned.get(key), found.get(key)) {
        (Some(was), Some(is)) if was == is => None,
        (Some(was), Some(is)) => Some(format!("{key} was {} and is {}", fact(key, was), fact(key, is))),
        (Some(was), None) => Some(format!("{key} was {} and is gone", fact(key, was))),
        (None, Some(is)) => Some(format!("{key} was not there and is {}", fact(key, is))),
        (None, None) => None,
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Writes a fact of a state; the beginning of a hash is enough to tell it from another.
fn fact(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) if key == "sha256" => format!("{}…", text.chars().take(12).collect::<String>()),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_state_differs_by_its_facts() {
        let file = json!({ "type": "file", "mode": "0644", "sha256": "0123456789abcdef" });
        let cases = [
            (json!({ "type": "absent" }), file.clone(), "type was `absent` and is `file`"),
            (
                file.clone(),
                json!({ "type": "file", "mode": "0600", "sha256": "fedcba9876543210" }),
                "mode was `0644` and is `0600`, sha256 was 0123456789ab… and is fedcba987654…",
            ),
            (
                file.clone(),
                json!({ "type": "file", "sha256": "0123456789abcdef" }),
                "mode was `0644` and is gone",
            ),
            (
                json!({ "type": "absent" }),
                json!({ "type": "absent", "real": "/b" }),
                "real was not there and is `/b`",
            ),
            (Value::Null, json!("x"), "it was `null` and is `x`"),
        ];
        for (planned, found, expected) in cases {
            assert_eq!(differences(&planned, &found), expected);
        }
    }
}
