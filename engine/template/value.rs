//! Values of templates: from and to JSON, and as Python would print them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Makes a template value of JSON; `resolve` gives the value of each secret, which stands as `{"$secret": "name"}`.
pub(super) fn from_json(value: &serde_json::Value, resolve: &mut dyn FnMut(&str) -> Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text),
        Json::Array(items) => items.iter().map(|item| from_json(item, resolve)).collect(),
        Json::Object(map) => match (map.len(), map.get("$secret")) {
            (1, Some(Json::String(name))) => resolve(name),
            _ => {
                Value::from_pairs(map.iter().map(|(key, item)| (Value::from(key), from_json(item, resolve))))
            }
        },
    }
}

/// Makes JSON of a template value.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, Error> {
    use serde_json::Value as Json;
    Ok(match value.kind() {
        ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => match value.as_i64() {
            Some(number) if value.is_integer() => number.into(),
            _ => match u64::try_from(value.clone()) {
                Ok(number) if value.is_integer() => number.into(),
                _ => f64::try_from(value.clone())?.into(),
            },
        },
        ValueKind::String => Json::String(value.to_string()),
        ValueKind::Seq | ValueKind::Iterable => {
            Json::Array(value.try_iter()?.map(|item| to_json(&item)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut map = serde_json::Map::new();
            for key in value.try_iter()? {
                map.insert(text(&key), to_json(&value.get_item(&key)?)?);
            }
            Json::Object(map)
        }
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        other => return Err(Error::new(ErrorKind::BadSerialization, format!("{other} has no JSON form"))),
    })
}

/// Returns the pairs of a map, in order.
pub(super) fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    if value.kind() != ValueKind::Map {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("a map is needed, not {}", value.kind()),
        ));
    }
    value.try_iter()?.map(|key| Ok((key.clone(), value.get_item(&key)?))).collect()
}

/// Returns the items of a list.
pub(super) fn items(value: &Value) -> Result<Vec<Value>, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => Ok(value.try_iter()?.collect()),
        other => Err(Error::new(ErrorKind::InvalidOperation, format!("a list is needed, not {other}"))),
    }
}

/// Returns what Python's `str()` gives: text as it is, everything else as [`python`].
pub(super) fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => python(value),
    }
}

/// Returns what Python's `repr()` gives.
pub(super) fn python(value: &Value) -> String {
    let mut out = String::new();
    write_python(value, &mut out);
    out
}

fn write_python(value: &Value, out: &mut String) {
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => out.push_str(&float(number)),
            Err(_) => out.push_str(&value.to_string()),
        },
        ValueKind::String => write_quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_python(&item, out);
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_python(&key, out);
                out.push_str(": ");
                write_python(&value.get_item(&key).unwrap_or_default(), out);
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
}

/// Writes a float with the digits and exponent of Python.
pub(super) fn float(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string().to_lowercase();
    }
    if number != 0.0 && number.abs() < 1e-4 || number.abs() >= 1e16 {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number:?}")
}

fn write_quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            _ if c == quote => {
                out.push('\\');
                out.push(c);
            }
            _ if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            _ => out.push(c),
        }
    }
    out.push(quote);
}

/// How JSON text is laid out, in the words of Python's `json.dumps`.
pub(super) struct Layout {
    pub(super) indent: Option<usize>,
    pub(super) sort_keys: bool,
    pub(super) ensure_ascii: bool,
}

/// Writes JSON text with Python's separators.
pub(super) fn write_json(
    value: &Value,
    layout: &Layout,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = layout.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    let comma = if layout.indent.is_some() { "," } else { ", " };
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let items = items(value)?;
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { comma });
                line(depth + 1, out);
                write_json(item, layout, depth + 1, out)?;
            }
            if !items.is_empty() {
                line(depth, out);
            }
            out.push(']');
        }
        ValueKind::Map => {
            let mut pairs: Vec<(String, Value)> =
                pairs(value)?.into_iter().map(|(key, item)| (text(&key), item)).collect();
            if layout.sort_keys {
                pairs = pairs.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
            }
            out.push('{');
            for (index, (key, item)) in pairs.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { comma });
                line(depth + 1, out);
                write_json_string(key, layout.ensure_ascii, out);
                out.push_str(": ");
                write_json(item, layout, depth + 1, out)?;
            }
            if !pairs.is_empty() {
                line(depth, out);
            }
            out.push('}');
        }
        ValueKind::String => write_json_string(value.as_str().unwrap_or_default(), layout.ensure_ascii, out),
        ValueKind::Number if !value.is_integer() => out.push_str(&float(f64::try_from(value.clone())?)),
        _ => out.push_str(&to_json(value)?.to_string()),
    }
    Ok(())
}

fn write_json_string(text: &str, ensure_ascii: bool, out: &mut String) {
    for c in serde_json::Value::from(text).to_string().chars() {
        if ensure_ascii && !c.is_ascii() {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
}
