//! The parameters of a runbook: what a header declares and how given values are read.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::duration;
use crate::model::nearest::did_you_mean;
use crate::model::runbook::HeaderError;

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// A number with or without a fraction.
    Number,
    /// `true` or `false`.
    Bool,
    /// One of `choices`.
    Choice,
    /// The name of one host.
    Host,
    /// A pattern of hosts; bound to the array of their names.
    Hosts,
    /// The name of a group.
    Group,
    /// The name of a secret.
    Secret,
    /// Any JSON value.
    Json,
    /// A length of time; bound to its text.
    Duration,
}

const TYPES: [(&str, ParameterType); 11] = [
    ("string", ParameterType::String),
    ("int", ParameterType::Int),
    ("number", ParameterType::Number),
    ("bool", ParameterType::Bool),
    ("choice", ParameterType::Choice),
    ("host", ParameterType::Host),
    ("hosts", ParameterType::Hosts),
    ("group", ParameterType::Group),
    ("secret", ParameterType::Secret),
    ("json", ParameterType::Json),
    ("duration", ParameterType::Duration),
];

const KEYS: [&str; 9] = ["type", "default", "required", "choices", "pattern", "group", "min", "max", "doc"];

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = TYPES.iter().find(|(_, ty)| ty == self).map_or("", |(name, _)| name);
        f.pad(name)
    }
}

/// One parameter of a runbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The name: `params.NAME` in the script, `--set NAME=…` outside.
    pub name: String,
    /// What it takes.
    #[serde(rename = "type")]
    pub ty: ParameterType,
    /// The value when none is given; without one and not required it is `()`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether a run cannot start without it.
    pub required: bool,
    /// The allowed values; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// A regular expression that the whole text must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The group that the host, or every one of the hosts, must be in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The least number, or the least length of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest number, or the greatest length of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What it is for; one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
}

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
#[derive(Debug, Clone, PartialEq)]
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
    /// Reads one entry of `PARAMS`: a map of its keys, or a plain default that tells the type.
    ///
    /// Returns what could be read together with everything that is wrong.
    pub fn from_value(name: &str, value: &Value) -> (Self, Vec<HeaderError>) {
        let mut parameter = Self {
            name: name.to_owned(),
            ty: ParameterType::String,
            default: None,
            required: false,
            choices: Vec::new(),
            pattern: None,
            group: None,
            min: None,
            max: None,
            doc: String::new(),
        };
        let mut errors = Vec::new();
        let map = match value {
            Value::Object(map) => map,
            Value::Array(_) | Value::Null => {
                errors.push(
                    HeaderError::new(
                        &[name],
                        format!("parameter `{name}` is neither a map nor a plain default"),
                    )
                    .hint(Some(format!("write {name}: #{{ type: \"json\", default: {value} }}"))),
                );
                return (parameter, errors);
            }
            plain => {
                parameter.ty = match plain {
                    Value::Bool(_) => ParameterType::Bool,
                    Value::Number(number) if number.is_i64() => ParameterType::Int,
                    Value::Number(_) => ParameterType::Number,
                    _ => ParameterType::String,
                };
                parameter.default = Some(plain.clone());
                return (parameter, errors);
            }
        };
        parameter.read(map, &mut errors);
        (parameter, errors)
    }

    fn read(&mut self, map: &Map<String, Value>, errors: &mut Vec<HeaderError>) {
        let name = self.name.clone();
        let wrong = |key: &str, wanted: &str, value: &Value| {
            HeaderError::new(
                &[&name, key],
                format!("`{key}` of parameter `{name}` wants {wanted}, got `{value}`"),
            )
        };
        let mut required = None;
        for (key, value) in map {
            let text = || value.as_str().map(str::to_owned);
            match key.as_str() {
                "type" => {
                    match value.as_str().and_then(|word| TYPES.iter().find(|(name, _)| *name == word)) {
                        Some((_, ty)) => self.ty = *ty,
                        None => errors.push(
                            HeaderError::new(
                                &[&name, key],
                                format!("parameter `{name}` has no type `{}`", plain(value)),
                            )
                            .hint(
                                did_you_mean(&plain(value), TYPES.iter().map(|(name, _)| *name)).or_else(
                                    || Some(format!("types are {}", TYPES.map(|(name, _)| name).join(", "))),
                                ),
                            ),
                        ),
                    }
                }
                "default" => self.default = Some(value.clone()),
                "required" => match value.as_bool() {
                    Some(flag) => required = Some(flag),
                    None => errors.push(wrong(key, "true or false", value)),
                },
                "choices" => match value.as_array() {
                    Some(all) if !all.is_empty() => self.choices = all.iter().map(plain).collect(),
                    Some(_) | None => errors.push(wrong(key, "an array of values", value)),
                },
                "pattern" => match text() {
                    Some(pattern) => match Regex::new(&pattern) {
                        Ok(_) => self.pattern = Some(pattern),
                        Err(cause) => errors.push(HeaderError::new(
                            &[&name, key],
                            format!(
                                "pattern of parameter `{name}` is not a regular expression: {}",
                                last_line(&cause)
                            ),
                        )),
                    },
                    None => errors.push(wrong(key, "a string", value)),
                },
                "group" => match text() {
                    Some(group) => self.group = Some(group.trim_start_matches('@').to_owned()),
                    None => errors.push(wrong(key, "the name of a group", value)),
                },
                "min" | "max" => match value.as_f64() {
                    Some(bound) if key == "min" => self.min = Some(bound),
                    Some(bound) => self.max = Some(bound),
                    None => errors.push(wrong(key, "a number", value)),
                },
                "doc" => match text() {
                    Some(doc) => self.doc = doc,
                    None => errors.push(wrong(key, "a string", value)),
                },
                _ => errors.push(
                    HeaderError::new(&[&name, key], format!("parameter `{name}` has an unknown key `{key}`"))
                        .hint(
                            did_you_mean(key, KEYS).or_else(|| Some(format!("keys are {}", KEYS.join(", ")))),
                        ),
                ),
            }
        }
        self.required = required.unwrap_or(self.default.is_none());
        if !map.contains_key("type") && errors.is_empty() {
            match &self.default {
                _ if !self.choices.is_empty() => self.ty = ParameterType::Choice,
                Some(Value::Bool(_)) => self.ty = ParameterType::Bool,
                Some(Value::Number(number)) if number.is_i64() => self.ty = ParameterType::Int,
                Some(Value::Number(_)) => self.ty = ParameterType::Number,
                Some(Value::Array(_) | Value::Object(_)) => self.ty = ParameterType::Json,
                Some(Value::String(_) | Value::Null) | None => {}
            }
        }
        if self.required && self.default.is_some() {
            errors.push(
                HeaderError::new(
                    &[&name, "required"],
                    format!("parameter `{name}` is required and has a default"),
                )
                .hint(Some("a parameter with a default is never missing: drop one of the two".into())),
            );
        }
        if self.ty == ParameterType::Choice && self.choices.is_empty() {
            errors.push(HeaderError::new(
                &[&name, "type"],
                format!("parameter `{name}` of type choice has no `choices`"),
            ));
        }
        if let Some(default) = self.default.clone().filter(|value| !value.is_null())
            && errors.is_empty()
            && let Err(cause) = self.read_value(&Given::Value(default), None)
        {
            errors.push(HeaderError::new(&[&name, "default"], format!("default of {cause}")));
        }
    }

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

/// Returns the text of a string, and the JSON of everything else.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn last_line(cause: &regex::Error) -> String {
    let text = cause.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
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
    fn header_mistakes_are_named() {
        let cases = [
            (json!({ "type": "hots" }), "parameter `p` has no type `hots`", Some("did you mean `host`?")),
            (
                json!({ "type": "int", "defualt": 1 }),
                "parameter `p` has an unknown key `defualt`",
                Some("did you mean `default`?"),
            ),
            (
                json!({ "type": "int", "default": "x" }),
                "default of parameter `p` wants int, got `x`; write a whole number such as 3",
                None,
            ),
            (json!({ "type": "choice" }), "parameter `p` of type choice has no `choices`", None),
            (
                json!({ "pattern": "(" }),
                "pattern of parameter `p` is not a regular expression: unclosed group",
                None,
            ),
            (json!({ "min": "a" }), "`min` of parameter `p` wants a number, got `\"a\"`", None),
            (
                json!([]),
                "parameter `p` is neither a map nor a plain default",
                Some("write p: #{ type: \"json\", default: [] }"),
            ),
        ];
        for (value, message, hint) in cases {
            let (_, errors) = Parameter::from_value("p", &value);
            assert_eq!(errors.len(), 1, "{value}: {errors:?}");
            assert_eq!((errors[0].message.as_str(), errors[0].hint.as_deref()), (message, hint));
        }
        assert_eq!(Parameter::from_value("p", &json!({ "default": 1, "required": true })).1.len(), 1);
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
