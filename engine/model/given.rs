//! Values given for parameters: how they are read and bound.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::duration;
use crate::model::nearest::did_you_mean;
use crate::model::parameter::{Parameter, ParameterType, plain};

/// What the inventory knows, as far as checks need it.
pub trait Names {
    /// Whether a host of this name exists.
    fn host(&self, name: &str) -> bool;
    /// Whether a group of this name exists.
    fn group(&self, name: &str) -> bool;
    /// Returns the hosts of a pattern, or why it is none.
    fn hosts_in(&self, pattern: &str) -> Result<Vec<String>, String>;
    /// Returns the host name closest to a mistyped one.
    fn nearest_host(&self, name: &str) -> Option<String>;
    /// Returns the group name closest to a mistyped one.
    fn nearest_group(&self, name: &str) -> Option<String>;
}

/// A value as it came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Given {
    /// Text of `--set name=text`, read by the type of the parameter.
    Text(String),
    /// A typed value, from JSON.
    Value(Value),
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Value(Value::String(text)) => f.write_str(text),
            Self::Value(value) => value.fmt(f),
        }
    }
}

/// Why given values do not fit the parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The runbook has no such parameter.
    #[error("the runbook has no parameter `{name}`{}", suggestion.as_ref().map(|s| format!("; {s}")).unwrap_or_default())]
    Unknown {
        /// The name that was given.
        name: String,
        /// The parameter that was probably meant, as a question.
        suggestion: Option<String>,
    },
    /// A required parameter was not given.
    #[error("parameter `{name}` is required; give `--set {name}=…` ({ty})")]
    Missing {
        /// The parameter.
        name: String,
        /// What it takes.
        ty: ParameterType,
    },
    /// The value is not of the type.
    #[error("parameter `{name}` wants {wants}, got `{got}`; {advice}")]
    Type {
        /// The parameter.
        name: String,
        /// What it takes, in words.
        wants: String,
        /// The value.
        got: String,
        /// What to write.
        advice: String,
    },
    /// The value breaks `choices`, `pattern`, `group`, `min` or `max`, or names something unknown.
    #[error("parameter `{name}`: {reason}")]
    Value {
        /// The parameter.
        name: String,
        /// What the value breaks.
        reason: String,
    },
}

impl Parameter {
    /// Reads one given value; without an inventory, hosts and groups are taken on trust.
    pub fn read_value(&self, given: &Given, names: Option<&dyn Names>) -> Result<Value, ParameterError> {
        let wrong = |wants: &str, advice: &str| ParameterError::Type {
            name: self.name.clone(),
            wants: wants.to_owned(),
            got: given.to_string(),
            advice: advice.to_owned(),
        };
        let broken = |reason: String| ParameterError::Value { name: self.name.clone(), reason };
        let text = match given {
            Given::Text(text) | Given::Value(Value::String(text)) => Some(text.trim()),
            Given::Value(_) => None,
        };
        let value = match self.ty {
            ParameterType::String | ParameterType::Choice => match given {
                Given::Text(text) | Given::Value(Value::String(text)) => Value::String(text.clone()),
                Given::Value(scalar @ (Value::Number(_) | Value::Bool(_)))
                    if self.ty == ParameterType::Choice =>
                {
                    Value::String(scalar.to_string())
                }
                Given::Value(_) => return Err(wrong("a string", "write text")),
            },
            ParameterType::Int => {
                let number = match given {
                    Given::Text(text) => text.trim().parse().ok(),
                    Given::Value(value) => value.as_i64(),
                };
                number.map(Value::from).ok_or_else(|| wrong("int", "write a whole number such as 3"))?
            }
            ParameterType::Number => {
                let number = match given {
                    Given::Text(text) => text.trim().parse::<f64>().ok(),
                    Given::Value(value) => value.as_f64(),
                };
                let number = number.and_then(serde_json::Number::from_f64);
                number.map(Value::Number).ok_or_else(|| wrong("number", "write a number such as 0.5"))?
            }
            ParameterType::Bool => {
                let flag = match given {
                    Given::Text(text) => text.trim().parse().ok(),
                    Given::Value(value) => value.as_bool(),
                };
                flag.map(Value::Bool).ok_or_else(|| wrong("bool", "write true or false"))?
            }
            ParameterType::Host => {
                let host = text
                    .filter(|host| !host.is_empty())
                    .ok_or_else(|| wrong("host", "write the name of a host"))?;
                self.known_hosts(&[host.to_owned()], names).map_err(broken)?;
                Value::from(host)
            }
            ParameterType::Hosts => {
                let hosts = match (given, text) {
                    (_, Some(pattern)) if !pattern.is_empty() => match names {
                        Some(names) => names.hosts_in(pattern).map_err(&broken)?,
                        None => return Ok(Value::from(pattern)),
                    },
                    (Given::Value(Value::Array(all)), _) => all
                        .iter()
                        .map(|host| host.as_str().map(str::to_owned))
                        .collect::<Option<Vec<_>>>()
                        .ok_or_else(|| wrong("hosts", "write a pattern or an array of names"))?,
                    _ => return Err(wrong("hosts", "write a pattern such as web:!edge-3")),
                };
                self.known_hosts(&hosts, names).map_err(broken)?;
                Value::from(hosts)
            }
            ParameterType::Group => {
                let group = text
                    .filter(|group| !group.is_empty())
                    .ok_or_else(|| wrong("group", "write the name of a group"))?;
                let group = group.trim_start_matches('@');
                if let Some(names) = names
                    && !names.group(group)
                {
                    let near = names.nearest_group(group).map(|near| format!("; did you mean `{near}`?"));
                    return Err(broken(format!("`{group}` is not a group{}", near.unwrap_or_default())));
                }
                Value::from(group)
            }
            ParameterType::Secret => {
                let name = text.filter(|name| !name.is_empty());
                Value::from(name.ok_or_else(|| wrong("secret", "write the name of a secret"))?)
            }
            ParameterType::Json => match given {
                Given::Text(text) => serde_json::from_str(text)
                    .map_err(|cause| broken(format!("`{text}` is not JSON: {cause}")))?,
                Given::Value(value) => value.clone(),
            },
            ParameterType::Duration => {
                let parsed = match given {
                    Given::Value(Value::Number(number)) => {
                        duration::from_seconds(number.as_f64().unwrap_or(f64::NAN))
                    }
                    _ => duration::parse(text.ok_or_else(|| wrong("duration", "write 90s, 5m or 1h30m"))?),
                };
                Value::from(duration::text(parsed.map_err(|_| wrong("duration", "write 90s, 5m or 1h30m"))?))
            }
        };
        self.within_bounds(&value).map_err(broken)?;
        Ok(value)
    }

    fn known_hosts(&self, hosts: &[String], names: Option<&dyn Names>) -> Result<(), String> {
        let Some(names) = names else { return Ok(()) };
        if let Some(unknown) = hosts.iter().find(|host| !names.host(host)) {
            let near = names.nearest_host(unknown).map(|near| format!("; did you mean `{near}`?"));
            return Err(format!("`{unknown}` is not a host of the inventory{}", near.unwrap_or_default()));
        }
        if let Some(group) = &self.group {
            let members = names.hosts_in(group)?;
            if let Some(outside) = hosts.iter().find(|host| !members.contains(host)) {
                return Err(format!("`{outside}` is not in group `{group}`"));
            }
        }
        Ok(())
    }

    fn within_bounds(&self, value: &Value) -> Result<(), String> {
        let shown = plain(value);
        if !self.choices.is_empty() && !self.choices.contains(&shown) {
            let near = did_you_mean(&shown, self.choices.iter().map(String::as_str));
            let advice = near.unwrap_or_else(|| format!("write one of {}", self.choices.join(", ")));
            return Err(format!("`{shown}` is not one of its choices; {advice}"));
        }
        if let Some(pattern) = &self.pattern
            && let Value::String(text) = value
            && !Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(text))
        {
            return Err(format!("`{text}` does not match the pattern `{pattern}`"));
        }
        let (size, unit) = match value {
            Value::Number(number) => (number.as_f64(), ""),
            Value::String(text) => (Some(text.chars().count() as f64), " characters"),
            Value::Array(all) => (Some(all.len() as f64), " entries"),
            Value::Null | Value::Bool(_) | Value::Object(_) => (None, ""),
        };
        match (size, self.min, self.max) {
            (Some(size), Some(min), _) if size < min => {
                Err(format!("`{shown}` is below the least, {min}{unit}"))
            }
            (Some(size), _, Some(max)) if size > max => {
                Err(format!("`{shown}` is above the greatest, {max}{unit}"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads all given values; returns every parameter by name, or everything that is wrong.
pub fn bind(
    params: &[Parameter],
    given: &BTreeMap<String, Given>,
    names: Option<&dyn Names>,
) -> Result<Map<String, Value>, Vec<ParameterError>> {
    let (mut bound, mut errors) = (Map::new(), Vec::new());
    for name in given.keys().filter(|name| params.iter().all(|parameter| parameter.name != **name)) {
        let suggestion = did_you_mean(name, params.iter().map(|parameter| parameter.name.as_str()));
        errors.push(ParameterError::Unknown { name: name.clone(), suggestion });
    }
    for parameter in params {
        let default = || parameter.default.clone().filter(|value| !value.is_null()).map(Given::Value);
        match given.get(&parameter.name).cloned().or_else(default) {
            Some(value) => match parameter.read_value(&value, names) {
                Ok(value) => {
                    bound.insert(parameter.name.clone(), value);
                }
                Err(error) => errors.push(error),
            },
            None if parameter.required => {
                errors.push(ParameterError::Missing { name: parameter.name.clone(), ty: parameter.ty });
            }
            None => {
                bound.insert(parameter.name.clone(), Value::Null);
            }
        }
    }
    if errors.is_empty() { Ok(bound) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Inventory;

    impl Names for Inventory {
        fn host(&self, name: &str) -> bool {
            ["edge-1", "edge-2", "db-1"].contains(&name)
        }
        fn group(&self, name: &str) -> bool {
            ["edge", "db"].contains(&name)
        }
        fn hosts_in(&self, pattern: &str) -> Result<Vec<String>, String> {
            match pattern {
                "edge" => Ok(vec!["edge-1".into(), "edge-2".into()]),
                "db" => Ok(vec!["db-1".into()]),
                _ => Err(format!("pattern `{pattern}` names nothing")),
            }
        }
        fn nearest_host(&self, name: &str) -> Option<String> {
            crate::model::nearest::nearest(name, ["edge-1", "edge-2", "db-1"]).map(str::to_owned)
        }
        fn nearest_group(&self, name: &str) -> Option<String> {
            crate::model::nearest::nearest(name, ["edge", "db"]).map(str::to_owned)
        }
    }

    fn parameter(value: Value) -> Parameter {
        let (parameter, errors) = Parameter::from_value("p", &value);
        assert_eq!(errors, [], "{value}");
        parameter
    }

    #[test]
    fn reads_text_by_type() {
        let cases = [
            (json!({ "type": "string" }), "a b", Ok(json!("a b"))),
            (json!({ "type": "int" }), "-3", Ok(json!(-3))),
            (
                json!({ "type": "int" }),
                "3.5",
                Err("parameter `p` wants int, got `3.5`; write a whole number such as 3"),
            ),
            (json!({ "type": "number" }), "0.5", Ok(json!(0.5))),
            (
                json!({ "type": "number" }),
                "NaN",
                Err("parameter `p` wants number, got `NaN`; write a number such as 0.5"),
            ),
            (json!(true), "false", Ok(json!(false))),
            (
                json!(true),
                "yes please",
                Err("parameter `p` wants bool, got `yes please`; write true or false"),
            ),
            (json!({ "choices": ["nl", "de"] }), "de", Ok(json!("de"))),
            (
                json!({ "choices": ["nl", "de"] }),
                "nk",
                Err("parameter `p`: `nk` is not one of its choices; did you mean `nl`?"),
            ),
            (json!({ "type": "host" }), "edge-1", Ok(json!("edge-1"))),
            (
                json!({ "type": "host" }),
                "edge-3",
                Err("parameter `p`: `edge-3` is not a host of the inventory; did you mean `edge-1`?"),
            ),
            (
                json!({ "type": "host", "group": "edge" }),
                "db-1",
                Err("parameter `p`: `db-1` is not in group `edge`"),
            ),
            (json!({ "type": "hosts" }), "edge", Ok(json!(["edge-1", "edge-2"]))),
            (
                json!({ "type": "hosts", "group": "edge" }),
                "db",
                Err("parameter `p`: `db-1` is not in group `edge`"),
            ),
            (json!({ "type": "hosts" }), "nix", Err("parameter `p`: pattern `nix` names nothing")),
            (json!({ "type": "group" }), "@db", Ok(json!("db"))),
            (
                json!({ "type": "group" }),
                "edg",
                Err("parameter `p`: `edg` is not a group; did you mean `edge`?"),
            ),
            (json!({ "type": "secret" }), "db/root", Ok(json!("db/root"))),
            (json!({ "type": "json" }), "{\"a\":[1]}", Ok(json!({ "a": [1] }))),
            (json!({ "type": "duration" }), "90", Ok(json!("1m30s"))),
            (
                json!({ "type": "duration" }),
                "soon",
                Err("parameter `p` wants duration, got `soon`; write 90s, 5m or 1h30m"),
            ),
            (json!({ "type": "string", "pattern": "[a-z]+" }), "abc", Ok(json!("abc"))),
            (
                json!({ "type": "string", "pattern": "[a-z]+" }),
                "abc1",
                Err("parameter `p`: `abc1` does not match the pattern `[a-z]+`"),
            ),
            (
                json!({ "type": "int", "min": 1, "max": 5 }),
                "6",
                Err("parameter `p`: `6` is above the greatest, 5"),
            ),
            (
                json!({ "type": "string", "min": 2 }),
                "a",
                Err("parameter `p`: `a` is below the least, 2 characters"),
            ),
        ];
        for (declared, text, expected) in cases {
            let read = parameter(declared).read_value(&Given::Text(text.into()), Some(&Inventory));
            assert_eq!(read.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn binds_all_or_tells_everything() {
        let params = [
            parameter(json!({ "type": "host" })),
            Parameter { name: "reboot".into(), ..parameter(json!(true)) },
            Parameter { name: "note".into(), ..parameter(json!({ "type": "string", "required": false })) },
        ];
        let given = |pairs: &[(&str, &str)]| -> BTreeMap<String, Given> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), Given::Text((*v).to_owned()))).collect()
        };
        let bound = bind(&params, &given(&[("p", "db-1")]), Some(&Inventory)).expect("all fit");
        assert_eq!(Value::Object(bound), json!({ "p": "db-1", "reboot": true, "note": null }));
        let errors = bind(&params, &given(&[("rebot", "true"), ("reboot", "1")]), Some(&Inventory))
            .expect_err("none fit");
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "the runbook has no parameter `rebot`; did you mean `reboot`?",
                "parameter `p` is required; give `--set p=…` (host)",
                "parameter `reboot` wants bool, got `1`; write true or false",
            ]
        );
    }
}
