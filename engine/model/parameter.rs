//! The parameters that a header declares.

use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::given::Given;
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
}

/// Returns the text of a string, and the JSON of everything else.
pub(super) fn plain(value: &Value) -> String {
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
}
