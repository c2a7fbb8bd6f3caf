//! What an act returns, and what one host of a fan-out came to. In plan mode an act's outcome has no answer.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, Module, Position};
use serde_json::{Map, Value, json};

use crate::bindings::call::{Current, Raise};
use crate::bindings::value::{self, FailureValue, text, to_dynamic};
use crate::gate::Stop;
use crate::gate::UNKNOWN_OUTCOME;
use crate::gate::permit::invalid;
use crate::model::event::{Failure, Site, Verdict};
use crate::model::run::Mode;

/// The answer of an effect, or the knowledge that there is none yet.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// What it answered.
    Known {
        /// Its fields.
        fields: Arc<Map<String, Value>>,
        /// Fields that hold what JSON cannot, such as secrets.
        values: Arc<rhai::Map>,
    },
    /// Plan mode only listed the effect.
    Unplanned {
        /// The effect's name.
        effect: &'static str,
        /// Where it was asked for.
        site: Site,
    },
}

impl Outcome {
    /// Makes an outcome from its fields.
    pub fn known(fields: Value) -> Self {
        Self::holding(fields, [])
    }

    /// Makes an outcome from its fields and from values that take the place of some of them.
    pub(super) fn holding<'a>(fields: Value, values: impl IntoIterator<Item = (&'a str, Dynamic)>) -> Self {
        let fields = match fields {
            Value::Object(map) => map,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        let values = values.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Self::Known { fields: Arc::new(fields), values: Arc::new(values) }
    }

    pub(super) fn unplanned(effect: &'static str, site: Site) -> Self {
        Self::Unplanned { effect, site }
    }

    fn fields(&self) -> Answer<&Map<String, Value>> {
        match self {
            Self::Known { fields, .. } => Ok(fields),
            Self::Unplanned { effect, site } => Err(unanswered(site, effect).into_script(Position::NONE)),
        }
    }

    fn get(&self, key: &str) -> Answer<Dynamic> {
        let fields = self.fields()?;
        if let Self::Known { values, .. } = self
            && let Some(value) = values.get(key)
        {
            return Ok(value.clone());
        }
        if fields
            .get("truncated")
            .and_then(Value::as_array)
            .is_some_and(|cut| cut.iter().any(|name| name == key))
        {
            let message = format!("`.{key}` is longer than `max_output` allows; the log has all of it");
            return Err(Raise::from(invalid(message)).into_script(Position::NONE));
        }
        match fields.get(key) {
            Some(value) => to_dynamic(value),
            None => {
                let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                let message = format!("this outcome has no `.{key}`; it has {}", known.join(", "));
                Err(Raise::from(invalid(message)).into_script(Position::NONE))
            }
        }
    }

    /// Returns the fields as JSON.
    pub fn json(&self) -> std::result::Result<Value, Failure> {
        match self {
            Self::Known { fields, values } => {
                let mut fields = fields.as_ref().clone();
                for (key, value) in values.iter() {
                    fields.insert(key.to_string(), value::json(value)?);
                }
                Ok(Value::Object(fields))
            }
            Self::Unplanned { effect, .. } => {
                Err(invalid(format!("in a plan nobody knows what `{effect}` answers")))
            }
        }
    }
}

impl From<Outcome> for Dynamic {
    fn from(outcome: Outcome) -> Self {
        Dynamic::from(outcome)
    }
}

fn is_plan() -> bool {
    Current::session().is_none_or(|session| session.gate().mode == Mode::Plan)
}

/// Returns what reading an answer raises that nobody has: a plan ends there, a run fails.
pub(super) fn unanswered(site: &Site, effect: &str) -> Raise {
    if is_plan() {
        return Stop::PlanEnds { site: site.clone(), effect: effect.to_owned() }.into();
    }
    let message =
        format!("a person decided that `{effect}` happened ({site}); nobody knows what it answered");
    Failure { kind: UNKNOWN_OUTCOME.to_owned(), ..invalid(message) }.into()
}

type Answer<T> = std::result::Result<T, Box<EvalAltResult>>;

/// What one host or item of a fan-out came to: `.host .status .ok .changed .value .error`.
#[derive(Debug, Clone)]
pub struct Result {
    /// The host's name, or the item's.
    pub host: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What its function returned.
    pub value: Dynamic,
    /// Why it failed, was skipped or was unreachable.
    pub failure: Option<Arc<Failure>>,
    /// In plan mode, the act because of which nobody knows how it would end.
    pub unplanned: Option<Site>,
}

impl Result {
    fn known(&self) -> Answer<&Self> {
        match &self.unplanned {
            // Only its value is unknown when a person decided that the act happened.
            Some(_) if !is_plan() => Ok(self),
            None => Ok(self),
            Some(site) => Err(unanswered(site, "each").into_script(Position::NONE)),
        }
    }

    /// Returns the fields as JSON.
    pub fn json(&self) -> std::result::Result<Value, Failure> {
        if self.unplanned.is_some() {
            return Err(invalid(format!("in a plan nobody knows how `{}` ends", self.host)));
        }
        Ok(json!({
            "host": self.host,
            "status": self.verdict.as_str(),
            "value": value::json(&self.value)?,
            "error": self.failure.as_ref().map(|failure| failure.message.clone()),
        }))
    }
}

/// Registers both types and their getters.
pub(super) fn register(module: &mut Module) {
    module.set_custom_type::<Outcome>("outcome");
    for key in FIELDS {
        module.set_getter_fn(key, move |outcome: &mut Outcome| outcome.get(key));
    }
    module.set_native_fn("get", |outcome: &mut Outcome, key: rhai::ImmutableString| outcome.get(&key));
    text(module, |outcome: &mut Outcome| {
        let fields = outcome.fields()?;
        Ok(serde_json::to_string(fields).unwrap_or_default())
    });
    for operator in ["==", "!=", "in", "contains"] {
        module.set_native_fn(operator, move |a: Outcome, b: Dynamic| compare(&a, operator, &b));
        module.set_native_fn(operator, move |a: Dynamic, b: Outcome| compare(&b, operator, &a));
    }

    module.set_custom_type::<Result>("result");
    module.set_getter_fn("host", |result: &mut Result| Ok(result.host.clone()));
    module
        .set_getter_fn("status", |result: &mut Result| result.known().map(|r| r.verdict.as_str().to_owned()));
    module.set_getter_fn("ok", |result: &mut Result| {
        result.known().map(|r| matches!(r.verdict, Verdict::Ok | Verdict::Changed))
    });
    for (key, verdict) in [
        ("changed", Verdict::Changed),
        ("failed", Verdict::Failed),
        ("skipped", Verdict::Skipped),
        ("unreachable", Verdict::Unreachable),
    ] {
        module.set_getter_fn(key, move |result: &mut Result| result.known().map(|r| r.verdict == verdict));
    }
    module.set_getter_fn("value", |result: &mut Result| result.known().map(|r| r.value.clone()));
    module.set_getter_fn("error", |result: &mut Result| {
        let result = result.known()?;
        Ok(result.failure.clone().map_or(Dynamic::UNIT, |failure| Dynamic::from(FailureValue(failure))))
    });
    text(module, |result: &mut Result| {
        let result = result.known()?;
        let reason =
            result.failure.as_ref().map(|failure| format!(" ({})", failure.message)).unwrap_or_default();
        Ok(format!("{}: {}{reason}", result.host, result.verdict.as_str()))
    });
}

/// Every field that some outcome has.
const FIELDS: [&str; 30] = [
    "ok",
    "code",
    "signal",
    "out",
    "err",
    "ms",
    "kind",
    "namespace",
    "name",
    "action",
    "warnings",
    "existed",
    "pods",
    "left",
    "sha256",
    "host",
    "changed",
    "value",
    "pid",
    "before_boot_id",
    "after_boot_id",
    "seconds",
    "path",
    "status",
    "headers",
    "body",
    "json",
    "cookies",
    "url",
    "attempts",
];

fn compare(outcome: &Outcome, operator: &str, other: &Dynamic) -> Answer<bool> {
    outcome.fields()?;
    let message =
        format!("an outcome cannot be used with `{operator}` and `{other}`; name a field, such as `.out`");
    Err(Raise::from(invalid(message)).into_script(Position::NONE))
}
