//! The header of a runbook: what it is for, what it takes, what it needs and what bounds it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::capability::Capability;
use crate::model::duration;
use crate::model::nearest::did_you_mean;

pub use crate::model::given::{Given, Names, ParameterError, bind};
pub use crate::model::parameter::{Parameter, ParameterType};

/// Everything that is known about a runbook without running it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The `//!` lines, without the marks; the first line is the summary.
    pub doc: String,
    /// `PARAMS`, in the order of the source.
    pub params: Vec<Parameter>,
    /// `NEEDS`; `None` when the runbook has none, which is not the same as needing nothing.
    pub needs: Option<Vec<Capability>>,
    /// `LIMITS`.
    pub limits: Limits,
}

impl Header {
    /// Returns the first line of the documentation.
    pub fn summary(&self) -> &str {
        self.doc.lines().next().unwrap_or_default()
    }
}

/// What bounds a run; every bound has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest wall time of a run; 1 h by default.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Locks that the run holds from start to end, in this order.
    pub locks: Vec<String>,
    /// The most hosts that a run may write to; no bound by default.
    pub max_hosts: Option<usize>,
    /// The most script operations of a run, all branches together; 500 million by default.
    pub operations: u64,
    /// The most resident memory of the process in bytes while the script runs; 1 GiB by default.
    pub memory: u64,
    /// The deepest nesting of script function calls; 64 by default and at most.
    pub depth: usize,
}

/// The deepest nesting of calls for which the stacks of run and branches are sized.
pub const DEEPEST: usize = 64;

const KEYS: [&str; 6] = ["timeout", "locks", "max_hosts", "operations", "memory", "depth"];

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3600),
            locks: Vec::new(),
            max_hosts: None,
            operations: 500_000_000,
            memory: 1 << 30,
            depth: DEEPEST,
        }
    }
}

/// What is wrong in a header, with the way to it: the keys from the constant down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HeaderError {
    /// Keys or indices from the top of the constant down to the wrong part.
    pub path: Vec<String>,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl HeaderError {
    /// Makes an error at a path.
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl Limits {
    /// Reads the value of `LIMITS`; what is wrong keeps its default.
    pub fn from_value(value: &Value) -> (Self, Vec<HeaderError>) {
        let (mut limits, mut errors) = (Self::default(), Vec::new());
        let Value::Object(map) = value else {
            errors.push(
                HeaderError::new(&[], "LIMITS is not a map").hint(Some("write #{ timeout: \"30m\" }".into())),
            );
            return (limits, errors);
        };
        for (key, value) in map {
            let read = match key.as_str() {
                "timeout" => duration_of(value).map(|timeout| limits.timeout = timeout),
                "locks" => strings_of(value).map(|locks| limits.locks = locks),
                "max_hosts" => count_of(value, 1, u64::MAX).map(|n| limits.max_hosts = Some(n as usize)),
                "operations" => count_of(value, 1, u64::MAX).map(|n| limits.operations = n),
                "memory" => bytes_of(value).map(|n| limits.memory = n),
                "depth" => count_of(value, 1, DEEPEST as u64).map(|n| limits.depth = n as usize),
                _ => {
                    errors.push(HeaderError::new(&[key], format!("LIMITS has no key `{key}`")).hint(
                        did_you_mean(key, KEYS).or_else(|| Some(format!("keys are {}", KEYS.join(", ")))),
                    ));
                    continue;
                }
            };
            if let Err(wanted) = read {
                errors.push(HeaderError::new(&[key], format!("limit `{key}` wants {wanted}, got `{value}`")));
            }
        }
        (limits, errors)
    }
}

fn duration_of(value: &Value) -> Result<Duration, String> {
    let parsed = match value {
        Value::String(text) => duration::parse(text),
        Value::Number(number) => duration::from_seconds(number.as_f64().unwrap_or(f64::NAN)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err("a length of time such as \"30m\"".into());
        }
    };
    match parsed {
        Ok(length) if !length.is_zero() => Ok(length),
        Ok(_) => Err("a length of time above zero".into()),
        Err(_) => Err("a length of time such as \"30m\"".into()),
    }
}

fn strings_of(value: &Value) -> Result<Vec<String>, String> {
    let texts =
        value.as_array().and_then(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    texts.ok_or_else(|| "an array of strings".into())
}

fn count_of(value: &Value, least: u64, most: u64) -> Result<u64, String> {
    match value.as_u64() {
        Some(count) if (least..=most).contains(&count) => Ok(count),
        Some(_) | None if most == u64::MAX => Err(format!("a whole number of at least {least}")),
        Some(_) | None => Err(format!("a whole number from {least} to {most}")),
    }
}

fn bytes_of(value: &Value) -> Result<u64, String> {
    const WANTED: &str = "bytes or a size such as \"512MiB\", at least 64MiB";
    let bytes = match value {
        Value::String(text) => {
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let unit: u64 = match text[digits..].trim() {
                "" | "B" => 1,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                _ => return Err(WANTED.into()),
            };
            text[..digits].parse().ok().and_then(|count: u64| count.checked_mul(unit))
        }
        other => other.as_u64(),
    };
    bytes.filter(|bytes| *bytes >= 64 << 20).ok_or_else(|| WANTED.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_read_their_units() {
        let (limits, errors) = Limits::from_value(&json!({
            "timeout": "30m", "locks": ["cluster/nl"], "max_hosts": 5, "operations": 1000, "memory": "256MiB", "depth": 10
        }));
        assert_eq!(errors, []);
        assert_eq!(limits.timeout, Duration::from_secs(1800));
        assert_eq!(
            (limits.max_hosts, limits.operations, limits.memory, limits.depth),
            (Some(5), 1000, 256 << 20, 10)
        );
        assert_eq!(Limits::from_value(&json!({ "timeout": 90 })).0.timeout, Duration::from_secs(90));
    }

    #[test]
    fn limits_refuse_the_rest() {
        let cases = [
            (json!({ "timout": "1m" }), "LIMITS has no key `timout`", Some("did you mean `timeout`?")),
            (
                json!({ "timeout": "soon" }),
                "limit `timeout` wants a length of time such as \"30m\", got `\"soon\"`",
                None,
            ),
            (json!({ "timeout": 0 }), "limit `timeout` wants a length of time above zero, got `0`", None),
            (json!({ "locks": "a" }), "limit `locks` wants an array of strings, got `\"a\"`", None),
            (json!({ "depth": 65 }), "limit `depth` wants a whole number from 1 to 64, got `65`", None),
            (
                json!({ "max_hosts": 0 }),
                "limit `max_hosts` wants a whole number of at least 1, got `0`",
                None,
            ),
            (json!([1]), "LIMITS is not a map", Some("write #{ timeout: \"30m\" }")),
        ];
        for (value, message, hint) in cases {
            let (limits, errors) = Limits::from_value(&value);
            assert_eq!(errors.len(), 1, "{value}");
            assert_eq!((errors[0].message.as_str(), errors[0].hint.as_deref()), (message, hint));
            assert_eq!(limits, Limits::default());
        }
        assert_eq!(Limits::from_value(&json!({ "memory": "1KiB" })).1.len(), 1);
    }

    #[test]
    fn a_header_survives_json() {
        let header = Header {
            doc: "One.\n\nMore.".into(),
            params: vec![Parameter::from_value("reboot", &json!(true)).0],
            needs: Some(vec!["ssh.exec:@web".parse().expect("a capability")]),
            limits: Limits::default(),
        };
        let text = serde_json::to_string(&header).expect("plain data");
        assert_eq!(serde_json::from_str::<Header>(&text).expect("the same"), header);
        assert_eq!(header.summary(), "One.");
    }
}
