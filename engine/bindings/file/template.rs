//! A rendered template of the project as a file: `template_put`.

use std::collections::BTreeMap;

use rhai::Dynamic;
use serde_json::{Map, Value, json};

use crate::bindings::call::Content;
use crate::bindings::each::PARALLEL_OPTION;
use crate::bindings::file::attributes::{GROUP, MODE, OWNER};
use crate::bindings::file::content::{Fixed, project_file};
use crate::bindings::file::put::{BACKUP, DIFF, FOLLOW, PARENTS, VALIDATE, Wanted, put_each};
use crate::bindings::sudo::{SUDO, SUDO_PASSWORD};
use crate::bindings::{Call, Raise, SecretValue};
use crate::gate::permit::invalid;
use crate::model::event::Failure;
use crate::model::inventory::{Host, Inventory};
use crate::model::secret::Secret;
use crate::model::signature::Opt;
use crate::template::{self, render_with_secrets};

pub(super) fn template_put(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let path = call.string(2)?;
    let source = String::from_utf8(project_file(call, &path)?)
        .map_err(|_| invalid(format!("the template `{path}` is not text in UTF-8")))?;
    let own = match call.json(3)? {
        Value::Object(map) => map,
        Value::Null => Map::new(),
        _ => return Err(call.wrong(3, "a map", &call.value(3))),
    };
    let mut secrets = BTreeMap::new();
    if let Some(map) = call.value(3).read_lock::<rhai::Map>() {
        for (name, value) in map.iter() {
            collect(name, value, &mut secrets);
        }
    }
    let inventory = &call.session.gate().inventory;
    put_each(call, |host| {
        let mut vars = known(host, inventory, &source);
        vars.extend(own.clone());
        let vars = Value::Object(vars);
        Ok(Wanted::Content(render(&path, &source, &vars, &secrets)?))
    })
}

fn render(
    path: &str,
    source: &str,
    vars: &Value,
    secrets: &BTreeMap<String, Secret>,
) -> Result<Fixed, Failure> {
    let failed = |error: template::Error| {
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        Failure { kind: "template".to_owned(), ..invalid(format!("{error}{hint}")) }
    };
    let rendered = render_with_secrets(path, source, vars, secrets).map_err(failed)?;
    if !rendered.has_secrets {
        return Ok(Fixed::new(Content::Plain(rendered.bytes.to_vec())));
    }
    // What is recorded must change when the file would, but a hash of it would help to guess the secret: so the same
    // template with names in place of values is hashed.
    let stand_ins: BTreeMap<String, Secret> = secrets
        .iter()
        .map(|(key, secret)| {
            let value = format!("«secret:{}»", secret.name());
            (key.clone(), Secret::new(secret.name().clone(), value.into_bytes()))
        })
        .collect();
    let shape = match render_with_secrets(path, source, vars, &stand_ins) {
        Ok(rendered) => crate::store::sha256(&rendered.bytes),
        // A template that looks into a secret cannot be rendered without it.
        Err(_) => crate::store::sha256(format!("{source}\0{vars}").as_bytes()),
    };
    let mut names: Vec<&str> = secrets.values().map(|secret| secret.name().as_str()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(Fixed::with_secret(&rendered.bytes, json!({ "template": path, "shape": shape, "secrets": names })))
}

/// Gathers the secrets in a value: one that is a variable by its name, others under a key that no template can write.
fn collect(name: &str, value: &Dynamic, secrets: &mut BTreeMap<String, Secret>) {
    if let Some(secret) = value.read_lock::<SecretValue>() {
        secrets.insert(name.to_owned(), secret.0.clone());
    } else if let Some(map) = value.read_lock::<rhai::Map>() {
        for (key, value) in map.iter() {
            collect(&format!("{name}/{key}"), value, secrets);
        }
    } else if let Some(array) = value.read_lock::<rhai::Array>() {
        for (index, value) in array.iter().enumerate() {
            collect(&format!("{name}/{index}"), value, secrets);
        }
    }
}

/// Returns what every template knows: the host's variables, and the names that Ansible gives.
fn known(host: &Host, inventory: &Inventory, source: &str) -> Map<String, Value> {
    let mut vars = host.vars.clone();
    let address = host.connection.address.as_deref().unwrap_or(&host.name);
    vars.insert("inventory_hostname".to_owned(), json!(host.name));
    let short = host.name.split('.').next().unwrap_or_default();
    vars.insert("inventory_hostname_short".to_owned(), json!(short));
    vars.insert("ansible_host".to_owned(), json!(address));
    let groups: Vec<&String> = host.groups.iter().filter(|group| *group != "all").collect();
    vars.insert("group_names".to_owned(), json!(groups));
    vars.insert(
        "host".to_owned(),
        json!({ "name": host.name, "address": address, "groups": host.groups, "vars": host.vars }),
    );
    // These two are as large as the inventory, so they are made only where the template names them.
    if source.contains("groups") {
        let groups: Map<String, Value> =
            inventory.groups().map(|group| (group.name.clone(), json!(group.hosts))).collect();
        vars.insert("groups".to_owned(), groups.into());
    }
    if source.contains("hostvars") {
        let hosts: Map<String, Value> =
            inventory.hosts().map(|host| (host.name.clone(), Value::Object(host.vars.clone()))).collect();
        vars.insert("hostvars".to_owned(), hosts.into());
    }
    vars
}

/// The options of `template_put`.
pub(super) const OPTIONS: &[Opt] =
    &[MODE, OWNER, GROUP, BACKUP, VALIDATE, FOLLOW, PARENTS, DIFF, SUDO, SUDO_PASSWORD, PARALLEL_OPTION];
