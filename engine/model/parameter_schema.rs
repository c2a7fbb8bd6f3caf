//! The parameters of a runbook as JSON Schema (draft 2020-12), for forms and for programs.

use serde_json::{Map, Value, json};

use crate::model::parameter::{Parameter, ParameterType};

/// Returns the schema of what `params` of a run takes.
pub fn schema(parameters: &[Parameter]) -> Value {
    let properties: Map<String, Value> =
        parameters.iter().map(|parameter| (parameter.name.clone(), property(parameter))).collect();
    let required: Vec<&str> = parameters
        .iter()
        .filter(|parameter| parameter.required && parameter.default.is_none())
        .map(|parameter| parameter.name.as_str())
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(parameter: &Parameter) -> Value {
    let mut schema = match parameter.ty {
        ParameterType::String | ParameterType::Choice | ParameterType::Host => json!({ "type": "string" }),
        ParameterType::Group | ParameterType::Secret | ParameterType::Duration => json!({ "type": "string" }),
        // A pattern, or the names.
        ParameterType::Hosts => {
            json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
        }
        ParameterType::Int => json!({ "type": "integer" }),
        ParameterType::Number => json!({ "type": "number" }),
        ParameterType::Bool => json!({ "type": "boolean" }),
        ParameterType::Json => json!({}),
    };
    // What the types of JSON do not tell apart.
    schema["x-nlrun-type"] = parameter.ty.to_string().into();
    if !parameter.doc.is_empty() {
        schema["description"] = parameter.doc.clone().into();
    }
    if let Some(default) = &parameter.default {
        schema["default"] = default.clone();
    }
    if !parameter.choices.is_empty() {
        schema["enum"] = parameter.choices.clone().into();
    }
    if let Some(pattern) = &parameter.pattern {
        schema["pattern"] = format!("^(?:{pattern})$").into();
    }
    if let Some(group) = &parameter.group {
        schema["x-nlrun-group"] = group.clone().into();
    }
    let is_number = matches!(parameter.ty, ParameterType::Int | ParameterType::Number);
    for (bound, number, length) in
        [(parameter.min, "minimum", "minLength"), (parameter.max, "maximum", "maxLength")]
    {
        match bound {
            Some(bound) if is_number => schema[number] = whole(bound),
            Some(bound) => schema[length] = whole(bound),
            None => {}
        }
    }
    schema
}

/// Writes a bound without a fraction that is none.
fn whole(bound: f64) -> Value {
    if bound.fract() == 0.0 { (bound as i64).into() } else { bound.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_declares_is_what_the_schema_asks_for() {
        let read = |name: &str, value: Value| Parameter::from_value(name, &value).0;
        let parameters = [
            read("node", json!({ "type": "host", "group": "workers", "required": true, "doc": "the node" })),
            read("level", json!({ "type": "choice", "choices": ["a", "b"], "default": "a" })),
            read("count", json!({ "type": "int", "min": 1, "max": 9 })),
            read("name", json!({ "type": "string", "pattern": "[a-z]+", "max": 8 })),
            read("on", json!({ "type": "hosts" })),
        ];
        let schema = schema(&parameters);
        assert_eq!(schema["required"], json!(["node", "count", "name", "on"]));
        let of = |name: &str| &schema["properties"][name];
        assert_eq!(
            of("node"),
            &json!({ "type": "string", "x-nlrun-type": "host", "x-nlrun-group": "workers", "description": "the node" })
        );
        assert_eq!(of("level")["enum"], json!(["a", "b"]));
        assert_eq!((&of("count")["minimum"], &of("count")["maximum"]), (&json!(1), &json!(9)));
        assert_eq!((&of("name")["pattern"], &of("name")["maxLength"]), (&json!("^(?:[a-z]+)$"), &json!(8)));
        assert_eq!(of("on")["anyOf"].as_array().map(Vec::len), Some(2));
    }
}
