//! What Ansible's variables say about a connection.
//!
//! | variable | setting |
//! |---|---|
//! | `ansible_host`, `ansible_port`, `ansible_user` (also with `ssh_`) | address, port, user |
//! | `ansible_ssh_private_key_file`, `ansible_private_key_file` | identity files |
//! | `ansible_connection: local` | transport |
//! | `ansible_become`, `ansible_become_user` | sudo, sudo user |
//! | `ansible_ssh_common_args`, `ansible_ssh_extra_args`, `ansible_ssh_args` | jump, and what else we know |
//! | `ansible_timeout` | connect time-out |
//! | `nlrun_` and the name of a setting (`nlrun_password: edge-login`, `nlrun_legacy: true`) | that setting |
//!
//! A password in an inventory is neither used nor kept: a note says so, and `nlrun_password` names a secret instead.
//! In texts, `{{ name }}` is replaced by the host's own variables; whatever is more than that stays as it stands, so
//! that connecting fails with the template in its message instead of reaching some other host.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::ansible_ssh;
use super::setting::{SETTINGS, is_secret_name, normal};
use crate::model::yaml::VAULT_KEY;

/// What the reader of an Ansible inventory should know, each sentence once, with the hosts it is about.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<String, Vec<String>>);

impl Notes {
    pub(super) fn add(&mut self, host: &str, sentence: impl Into<String>) {
        self.0.entry(sentence.into()).or_default().push(host.to_owned());
    }

    pub(super) fn into_lines(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(sentence, hosts)| match hosts.as_slice() {
            [host] => format!("{sentence} (host `{host}`)"),
            [host, others @ ..] => format!("{sentence} (host `{host}` and {} more)", others.len()),
            [] => sentence,
        })
    }
}

/// Whether a variable may be kept: passwords only while encrypted, names of secrets only when they can be names.
pub(super) fn may_stay(key: &str, value: &Value) -> bool {
    if !is_about_secret(key) || is_blank(value) {
        return true;
    }
    if key.starts_with("nlrun_") { value.as_str().is_some_and(is_secret_name) } else { is_vaulted(value) }
}

fn is_about_secret(key: &str) -> bool {
    (key.starts_with("ansible_") || key.starts_with("nlrun_"))
        && ["pass", "password", "passphrase", "_secret"].iter().any(|end| key.ends_with(end))
}

/// Whether a value is still encrypted by Ansible Vault.
fn is_vaulted(value: &Value) -> bool {
    value.get(VAULT_KEY).is_some()
}

/// Reads the connection settings out of a host's merged variables, and takes readable passwords out of these.
pub(super) fn settings(host: &str, vars: &mut Map<String, Value>, notes: &mut Notes) -> Map<String, Value> {
    take_passwords(host, vars, notes);
    let mut settings = Map::new();
    let first = |names: &[&str]| names.iter().find_map(|name| vars.get(*name));
    for (key, names) in [
        ("address", &["ansible_host", "ansible_ssh_host"][..]),
        ("port", &["ansible_port", "ansible_ssh_port"]),
        ("user", &["ansible_user", "ansible_ssh_user"]),
        ("identity_files", &["ansible_ssh_private_key_file", "ansible_private_key_file"]),
        ("sudo", &["ansible_become", "ansible_sudo"]),
        ("sudo_user", &["ansible_become_user", "ansible_sudo_user"]),
        ("connect_timeout", &["ansible_ssh_timeout", "ansible_timeout"]),
    ] {
        if let Some(value) = first(names).filter(|value| !is_blank(value)) {
            put(&mut settings, host, key, names[0], value, vars, notes);
        }
    }
    match first(&["ansible_connection"]).and_then(Value::as_str) {
        Some("local") => drop(settings.insert("transport".to_owned(), "local".into())),
        None | Some("ssh" | "smart" | "paramiko" | "paramiko_ssh" | "network_cli" | "libssh") => {}
        Some(other) => notes.add(host, format!("`ansible_connection: {other}` is not known, SSH is used")),
    }
    let os = match first(&["ansible_network_os"]).and_then(Value::as_str) {
        Some("ios" | "cisco.ios.ios" | "iosxe") => Some("ios"),
        Some("asa" | "cisco.asa.asa") => Some("asa"),
        Some(_) | None => None,
    };
    if let Some(os) = os {
        settings.insert("os".to_owned(), os.into());
    }
    match first(&["ansible_become_method"]).and_then(Value::as_str) {
        None | Some("sudo") => {}
        // A network device asks for its own password, and what needs rights asks for them by itself.
        Some("enable") if os.is_some() => drop(settings.remove("sudo")),
        Some(other) => {
            notes.add(host, format!("`ansible_become_method: {other}` is not known, sudo is used"));
        }
    }
    for name in ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"] {
        let Some(text) = first(&[name]).and_then(Value::as_str) else { continue };
        let text = expanded(host, text, vars);
        for (key, value) in ansible_ssh::settings(&text, |option| {
            notes.add(host, format!("`{option}` in `{name}` is not used"));
        }) {
            put(&mut settings, host, key, name, &value, vars, notes);
        }
    }
    for key in SETTINGS {
        let name = format!("nlrun_{key}");
        if let Some(value) = vars.get(&name) {
            put(&mut settings, host, key, &name, value, vars, notes);
        }
    }
    settings
}

fn take_passwords(host: &str, vars: &mut Map<String, Value>, notes: &mut Notes) {
    let is_device = vars.get("ansible_become_method").and_then(Value::as_str) == Some("enable");
    vars.retain(|key, value| {
        let stays = may_stay(key, value);
        if stays && !(is_about_secret(key) && is_vaulted(value)) {
            return true;
        }
        let what = match value.as_str() {
            _ if key.starts_with("nlrun_") => "not the name of a secret",
            _ if is_vaulted(value) => "encrypted by Ansible Vault",
            Some(text) if text.contains("{{") => "a template",
            Some(_) | None => "written in plain text",
        };
        let setting = if key.contains("phrase") {
            "nlrun_passphrase"
        } else if key.contains("become") && is_device {
            "nlrun_enable_password"
        } else if key.contains("become") || key.contains("sudo") {
            "nlrun_sudo_password"
        } else {
            "nlrun_password"
        };
        notes.add(host, format!("`{key}` is {what} and is not used: name a secret with `{setting}`"));
        stays
    });
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

fn put(
    settings: &mut Map<String, Value>,
    host: &str,
    key: &'static str,
    name: &str,
    value: &Value,
    vars: &Map<String, Value>,
    notes: &mut Notes,
) {
    let value = match value {
        Value::String(text) => typed(key, expanded(host, text, vars)),
        // `ansible_user: 1000` is a name that looks like a number.
        Value::Number(number) if matches!(key, "address" | "user" | "sudo_user") => number.to_string().into(),
        other => other.clone(),
    };
    if value.to_string().contains("{{") {
        notes.add(host, format!("`{name}` is a template that is not understood"));
    }
    match normal(key, value) {
        Ok(value) => drop(settings.insert(key.to_owned(), value)),
        Err(problem) => notes.add(host, format!("`{name}` is not used: {problem}")),
    }
}

/// Gives texts of INI files the type that the setting wants.
fn typed(key: &str, text: String) -> Value {
    match (key, text.to_lowercase().as_str()) {
        ("sudo" | "legacy", "yes" | "true" | "on" | "1" | "y" | "t") => true.into(),
        ("sudo" | "legacy", "no" | "false" | "off" | "0" | "n" | "f") => false.into(),
        ("port", number) => number.parse::<u64>().map_or_else(|_| text.clone().into(), Value::from),
        // A template that stays one loses its blanks, else it could not stand as a name.
        ("address" | "user" | "sudo_user", _) if text.contains("{{") => text.replace(' ', "").into(),
        _ => text.into(),
    }
}

/// Replaces `{{ name }}` by variables of the host, and variables in these; the rest stays as it stands.
fn expanded(host: &str, text: &str, vars: &Map<String, Value>) -> String {
    let mut text = text.to_owned();
    // A bound instead of a check for circles: real inventories nest two or three deep.
    for _ in 0..8 {
        let mut result = String::new();
        let mut rest = text.as_str();
        while let Some((before, (name, after))) =
            rest.split_once("{{").and_then(|(before, tail)| Some((before, tail.split_once("}}")?)))
        {
            result.push_str(before);
            match lookup(host, name.trim(), vars) {
                Some(value) => result.push_str(&value),
                None => result.extend(["{{", name, "}}"]),
            }
            rest = after;
        }
        result.push_str(rest);
        if result == text || result.len() > 4096 {
            break;
        }
        text = result;
    }
    text
}

fn lookup(host: &str, name: &str, vars: &Map<String, Value>) -> Option<String> {
    match (name, vars.get(name)) {
        ("inventory_hostname", _) => Some(host.to_owned()),
        ("inventory_hostname_short", _) => host.split('.').next().map(str::to_owned),
        (_, Some(Value::String(text))) => Some(text.clone()),
        (_, Some(Value::Number(number))) => Some(number.to_string()),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(vars: Value) -> (Value, Value, Vec<String>) {
        let Value::Object(mut vars) = vars else { panic!("a mapping") };
        let mut notes = Notes::default();
        let settings = settings("web1.nl", &mut vars, &mut notes);
        (json!(settings), json!(vars), notes.into_lines().collect())
    }

    #[test]
    fn variables_become_settings() {
        for (vars, expected) in [
            (
                json!({"ansible_host": "10.0.0.1", "ansible_port": "2222"}),
                json!({"address": "10.0.0.1", "port": 2222}),
            ),
            (
                json!({"ansible_ssh_host": "a", "ansible_ssh_port": 22, "ansible_ssh_user": "u"}),
                json!({"address": "a", "port": 22, "user": "u"}),
            ),
            (
                json!({"ansible_become": "yes", "ansible_become_user": "app"}),
                json!({"sudo": true, "sudo_user": "app"}),
            ),
            (json!({"ansible_connection": "local"}), json!({"transport": "local"})),
            (json!({"ansible_private_key_file": "~/.ssh/k"}), json!({"identity_files": ["~/.ssh/k"]})),
            (
                json!({"ansible_ssh_common_args": "-o ProxyJump=a@b:1,c -o ConnectTimeout=5"}),
                json!({"jump": ["a@b:1", "c"], "connect_timeout": {"secs": 5, "nanos": 0}}),
            ),
            (
                json!({"ansible_host": "{{ inventory_hostname_short }}.{{ zone }}", "zone": "{{dc}}.example", "dc": "ams"}),
                json!({"address": "web1.ams.example"}),
            ),
            (json!({"ansible_host": "{{ lookup('x') }}"}), json!({"address": "{{lookup('x')}}"})),
            (
                json!({"nlrun_password": "edge-login", "nlrun_legacy": "true"}),
                json!({"password": "edge-login", "legacy": true}),
            ),
            (
                json!({"ansible_network_os": "cisco.asa.asa", "ansible_become": true, "ansible_become_method": "enable"}),
                json!({"os": "asa"}),
            ),
            (json!({"ansible_network_os": "junipernetworks.junos.junos"}), json!({})),
            (json!({"ansible_user": 1000, "ansible_host": null}), json!({"user": "1000"})),
            (json!({"ansible_user": "{{ ansible_user }}"}), json!({"user": "{{ansible_user}}"})),
        ] {
            assert_eq!(read(vars.clone()).0, expected, "{vars}");
        }
    }

    #[test]
    fn passwords_are_neither_used_nor_kept_nor_shown() {
        let vault = json!({"__vault": "$ANSIBLE_VAULT;1.1;AES256\n30"});
        let (settings, vars, notes) = read(json!({
            "ansible_password": "hunter2", "ansible_become_pass": "{{ vault_hunter2 }}",
            "ansible_ssh_pass": vault, "nlrun_password": "hunter2 !", "x": 1,
        }));
        assert_eq!(settings, json!({}));
        assert_eq!(vars, json!({"ansible_ssh_pass": vault, "x": 1}));
        assert_eq!(notes.len(), 4);
        assert!(notes.iter().all(|note| !note.contains("hunter2")), "{notes:?}");
        assert_eq!(
            notes[0],
            "`ansible_become_pass` is a template and is not used: name a secret with `nlrun_sudo_password` (host `web1.nl`)"
        );
    }
}
