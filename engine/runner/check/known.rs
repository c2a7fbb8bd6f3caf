//! What the check knows about a value without running anything.

use crate::model::duration;
use crate::model::runbook::{Parameter, ParameterType};
use crate::model::signature::Type;

/// What is known about a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// Nothing.
    Unknown,
    /// This text.
    Text(String),
    /// One of these texts.
    OneText(Vec<String>),
    /// Some text.
    AnyText,
    /// This whole number.
    Int(i64),
    /// Some whole number.
    AnyInt,
    /// Some number with a fraction.
    Float,
    /// Some truth value.
    Bool,
    /// A character.
    Char,
    /// Nothing at all: `()`.
    Unit,
    /// An array of these.
    Array(Vec<Known>),
    /// Some array.
    AnyArray,
    /// Some map.
    Map,
    /// A closure with this many parameters.
    Closure(usize),
    /// One host of this pattern.
    OneOf(String),
    /// The array of all hosts of this pattern.
    AllOf(String),
}

impl Known {
    /// Tells it in words, for messages.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Unknown => "a value",
            Self::Text(_) | Self::OneText(_) | Self::AnyText => "a string",
            Self::Int(_) | Self::AnyInt => "a whole number",
            Self::Float => "a number with a fraction",
            Self::Bool => "true or false",
            Self::Char => "a character",
            Self::Unit => "nothing",
            Self::Array(_) | Self::AnyArray => "an array",
            Self::Map => "a map",
            Self::Closure(_) => "a closure",
            Self::OneOf(_) => "a host",
            Self::AllOf(_) => "an array of hosts",
        }
    }

    /// Whether it is certainly text.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_) | Self::OneText(_) | Self::AnyText)
    }

    /// Whether it is certainly a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::AnyInt | Self::Float)
    }

    /// Returns what one element of it is, for `for` and fan-out.
    pub fn element(&self) -> Self {
        match self {
            Self::AllOf(pattern) => Self::OneOf(pattern.clone()),
            Self::Array(all) => {
                let names: Option<Vec<String>> = all
                    .iter()
                    .map(|one| if let Self::Text(text) = one { Some(text.clone()) } else { None })
                    .collect();
                match names {
                    Some(names) if names.len() == 1 => Self::Text(names[0].clone()),
                    Some(names) if !names.is_empty() => Self::OneText(names),
                    Some(_) | None => Self::Unknown,
                }
            }
            _ => Self::Unknown,
        }
    }

    /// Returns what is known about a parameter.
    pub fn of_parameter(parameter: &Parameter) -> Self {
        if !parameter.required && parameter.default.as_ref().is_none_or(serde_json::Value::is_null) {
            return Self::Unknown;
        }
        match (parameter.ty, &parameter.group) {
            (ParameterType::Host, Some(group)) => Self::OneOf(group.clone()),
            (ParameterType::Hosts, Some(group)) => Self::AllOf(group.clone()),
            (ParameterType::Hosts, None) => Self::AnyArray,
            (ParameterType::Int, _) => Self::AnyInt,
            (ParameterType::Number, _) => Self::Float,
            (ParameterType::Bool, _) => Self::Bool,
            (ParameterType::Json, _) => Self::Unknown,
            (
                ParameterType::String
                | ParameterType::Choice
                | ParameterType::Host
                | ParameterType::Group
                | ParameterType::Secret
                | ParameterType::Duration,
                _,
            ) => Self::AnyText,
        }
    }
}

/// Tells what a type wants when the value certainly does not fit; `None` when it fits or might.
pub fn misfit(ty: Type, value: &Known) -> Option<String> {
    if let (Type::Duration, Known::Text(text)) = (ty, value) {
        return duration::parse(text).err().map(|_| "a length of time such as \"90s\" or \"5m\"".to_owned());
    }
    if let (Type::Function(wanted), Known::Closure(got)) = (ty, value)
        && usize::from(wanted) != *got
    {
        return Some(format!("a closure with {wanted} parameter{}", if wanted == 1 { "" } else { "s" }));
    }
    let text = value.is_text();
    let array = matches!(value, Known::Array(_) | Known::AnyArray | Known::AllOf(_));
    let host = matches!(value, Known::OneOf(_));
    let (fits, wants) = match ty {
        Type::Any => (true, ""),
        Type::String => (text || host, "a string"),
        Type::RemotePath | Type::LocalPath => (text, "a path"),
        Type::Pattern => (text || host, "a pattern of hosts"),
        Type::SecretName => (text, "the name of a secret"),
        Type::Int => (matches!(value, Known::Int(_) | Known::AnyInt), "a whole number"),
        Type::Number => (value.is_number(), "a number"),
        Type::Bool => (*value == Known::Bool, "true or false"),
        Type::Host => (text || host, "a host"),
        Type::Hosts => (text || host || array, "a host or an array of hosts"),
        Type::Items => (array, "an array of hosts, or of maps with a `name`"),
        Type::Command => (text || array, "a command: an array of words, or a string for the remote shell"),
        Type::Duration => (value.is_number() || text, "a length of time such as \"90s\" or \"5m\""),
        Type::Secret => (false, "a secret: write secret(\"name\")"),
        Type::Content => (text, "text, bytes or a secret"),
        Type::Array => (array, "an array"),
        Type::Map => (*value == Known::Map, "a map"),
        Type::Function(_) => (matches!(value, Known::Closure(_)), "a closure"),
        Type::Unit => (*value == Known::Unit, "nothing"),
    };
    if fits || *value == Known::Unknown { None } else { Some(wants.to_owned()) }
}
