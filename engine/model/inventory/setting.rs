//! Connection settings as they are written: their names, shapes and bounds.

use serde_json::{Value, json};

use super::error::Problem;

/// Every connection setting that a host or a group can have.
pub(super) const SETTINGS: [&str; 16] = [
    "address",
    "port",
    "user",
    "identity_files",
    "jump",
    "legacy",
    "password",
    "passphrase",
    "sudo_password",
    "sudo",
    "sudo_user",
    "known_hosts",
    "connect_timeout",
    "transport",
    "os",
    "enable_password",
];

/// Checks a setting and brings it into the form that [`Connection`](super::Connection) is read from.
pub(super) fn normal(key: &str, value: Value) -> Result<Value, Problem> {
    match key {
        "port" => match value.as_u64() {
            Some(1..=65535) => Ok(value),
            _ => Err(wrong(key, "a number from 1 to 65535", &value)),
        },
        "legacy" | "sudo" if value.is_boolean() => Ok(value),
        "legacy" | "sudo" => Err(wrong(key, "`true` or `false`", &value)),
        "identity_files" | "jump" => words(key, value),
        "password" | "passphrase" | "sudo_password" | "enable_password" => match value.as_str() {
            Some(name) if is_secret_name(name) => Ok(value),
            _ => Err(Problem::SecretName { key: key.to_owned() }),
        },
        "known_hosts" => one_of(key, value, &["strict", "accept-new"], "`strict` or `accept-new`"),
        "os" => one_of(key, value, &["ios", "asa", "ap"], "`ios`, `asa` or `ap`"),
        "transport" => one_of(key, value, &["ssh", "local"], "`ssh` or `local`"),
        "connect_timeout" => match seconds(&value) {
            Some(secs @ 1..=86_400) => Ok(json!({ "secs": secs, "nanos": 0 })),
            _ => Err(wrong(key, "seconds, or a text such as `10s` or `2m`", &value)),
        },
        _ => match value.as_str() {
            Some(text) if is_word(text) => Ok(value),
            _ => Err(wrong(key, "a word", &value)),
        },
    }
}

fn words(key: &str, value: Value) -> Result<Value, Problem> {
    let wanted = "a text or a list of texts";
    let list = match value {
        Value::String(_) => vec![value],
        Value::Array(list) => list,
        other => return Err(wrong(key, wanted, &other)),
    };
    match list.iter().find(|item| item.as_str().is_none_or(|text| text.trim().is_empty())) {
        Some(item) => Err(wrong(key, wanted, item)),
        None => Ok(Value::Array(list)),
    }
}

fn one_of(key: &str, value: Value, choices: &[&str], expected: &'static str) -> Result<Value, Problem> {
    if value.as_str().is_some_and(|text| choices.contains(&text)) {
        return Ok(value);
    }
    Err(wrong(key, expected, &value))
}

fn seconds(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let text = value.as_str()?;
    let (number, factor) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Whether a text can be the name of a secret: no blanks and none of the characters that passwords like.
pub(super) fn is_secret_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
}

/// Refuses what could become an option of a command or a second word.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control())
}

fn wrong(key: &str, expected: &'static str, value: &Value) -> Problem {
    let found = match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(text) => format!("`{}`", text.escape_debug()),
    };
    Problem::Value { key: format!("`{key}`"), expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_one_by_one() {
        for (key, value, expected) in [
            ("port", json!(22), Some(json!(22))),
            ("port", json!(0), None),
            ("port", json!(65536), None),
            ("port", json!("22"), None),
            ("user", json!("root"), Some(json!("root"))),
            ("user", json!("-oProxyCommand=x"), None),
            ("address", json!("a b"), None),
            ("address", json!(10), None),
            ("jump", json!("bastion"), Some(json!(["bastion"]))),
            ("jump", json!(["a", "b"]), Some(json!(["a", "b"]))),
            ("jump", json!(["a", 1]), None),
            ("legacy", json!("true"), None),
            ("password", json!("edge-login"), Some(json!("edge-login"))),
            ("password", json!("hunter2!"), None),
            ("password", json!({"__vault": "x"}), None),
            ("known_hosts", json!("off"), None),
            ("known_hosts", json!("accept-new"), Some(json!("accept-new"))),
            ("connect_timeout", json!("2m"), Some(json!({"secs": 120, "nanos": 0}))),
            ("connect_timeout", json!(5), Some(json!({"secs": 5, "nanos": 0}))),
            ("connect_timeout", json!("soon"), None),
            ("transport", json!("winrm"), None),
            ("os", json!("asa"), Some(json!("asa"))),
            ("os", json!("junos"), None),
            ("enable_password", json!("cisco/enable"), Some(json!("cisco/enable"))),
            ("enable_password", json!("hunter2!"), None),
        ] {
            assert_eq!(normal(key, value.clone()).ok(), expected, "{key}: {value}");
        }
    }

    #[test]
    fn a_refused_password_is_not_shown() {
        let problem = normal("password", json!("hunter2 with blanks")).unwrap_err();
        assert!(!format!("{problem} {problem:?}").contains("hunter2"));
    }
}
