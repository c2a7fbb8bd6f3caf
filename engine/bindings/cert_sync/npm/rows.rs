//! What the list of certificates says. It holds every private key in clear, which is known to the redactor before anything else is
//! done with it.

use serde_json::Value;
use zeroize::Zeroizing;

use crate::bindings::cert_sync::api::Client;
use crate::bindings::cert_sync::place::Holds;
use crate::bindings::cert_sync::wanted::Wanted;
use crate::model::event::Failure;
use crate::x509::{Bundle, Certificate};

/// Those that can use a certificate: what the list calls them, and where they are.
const SECTIONS: [(&str, &str); 4] = [
    ("proxy_hosts", "proxy-hosts"),
    ("redirection_hosts", "redirection-hosts"),
    ("dead_hosts", "dead-hosts"),
    ("streams", "streams"),
];

/// A certificate there.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) name: String,
    /// Whether it was uploaded, and not fetched by the instance itself.
    pub(super) is_custom: bool,
    /// The leaf, then what stands behind it; empty where nothing was uploaded.
    chain: Vec<Certificate>,
    /// The key that was uploaded with it.
    key: Kept,
    pub(super) hosts: Vec<Host>,
}

/// A key there.
#[derive(Clone, PartialEq, Eq)]
enum Kept {
    None,
    Own,
    Other,
}

/// One that uses a certificate.
#[derive(Clone)]
pub(super) struct Host {
    /// Its part of a path.
    pub(super) section: &'static str,
    pub(super) id: u64,
    /// What it is to people.
    pub(super) words: String,
    names: Vec<String>,
    pub(super) is_enabled: bool,
    /// Whether nginx should have it, and has not.
    pub(super) is_offline: bool,
}

impl Host {
    /// Returns a name to ask nginx for.
    pub(super) fn name(&self) -> Option<String> {
        let exact = self.names.iter().find(|name| !name.contains('*'));
        exact.or(self.names.first()).map(|name| name.replace('*', "www"))
    }
}

impl Row {
    /// Makes one to which nothing was uploaded yet.
    pub(super) fn new(id: u64, name: &str) -> Self {
        Self {
            id,
            name: name.to_owned(),
            is_custom: true,
            chain: Vec::new(),
            key: Kept::None,
            hosts: Vec::new(),
        }
    }

    /// Whether it is the wanted pair with its chain, by content: dates and names there are not to be relied on.
    pub(super) fn holds(&self, wanted: &Wanted) -> bool {
        let pair = wanted.pair();
        let wanted = std::iter::once(&pair.leaf).chain(pair.intermediates()).map(|one| &one.der);
        self.key == Kept::Own && self.chain.iter().map(|one| &one.der).eq(wanted)
    }

    /// Whether nginx cannot load it.
    pub(super) fn is_broken(&self) -> bool {
        // Those that it fetches itself are files only, and not in the list.
        !self.chain.is_empty() && self.key != Kept::Own
    }

    /// Says what it is to people.
    pub(super) fn words(&self) -> String {
        format!("certificate {} `{}`", self.id, self.name)
    }

    /// Says what it holds.
    pub(super) fn seen(&self) -> Holds {
        let Some(leaf) = self.chain.first() else { return Holds::Other("nothing uploaded".to_owned()) };
        let but = match self.key {
            Kept::Own => None,
            Kept::Other => Some("with a key that is not its own".to_owned()),
            Kept::None => Some("without a key".to_owned()),
        };
        Holds::certificate(leaf, but)
    }
}

/// Counts hosts in words.
pub(super) fn count(hosts: usize) -> String {
    if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") }
}

/// Reads the list; nothing where it is none.
pub(super) fn read(client: &Client<'_>, body: &[u8]) -> Result<Option<Vec<Row>>, Failure> {
    let Ok(Value::Array(list)) = serde_json::from_slice::<Value>(body) else { return Ok(None) };
    let mut rows = Vec::with_capacity(list.len());
    for mut one in list {
        let key = one["meta"].as_object_mut().and_then(|meta| meta.remove("certificate_key"));
        let key = match key {
            Some(Value::String(key)) => Some(Zeroizing::new(key)),
            _ => None,
        };
        if let Some(key) = &key {
            client.learn("npm/key", key)?;
        }
        let Some(id) = one["id"].as_u64() else { return Ok(None) };
        rows.push(row(id, &one, key.as_deref().map(String::as_str)));
    }
    Ok(Some(rows))
}

fn row(id: u64, value: &Value, key: Option<&str>) -> Row {
    let pem = |name: &str| value["meta"][name].as_str().unwrap_or_default();
    let text = format!("{}\n{}", pem("certificate"), pem("intermediate_certificate"));
    let chain = Bundle::read(text.as_bytes()).map(|bundle| bundle.certificates).unwrap_or_default();
    let key = match (key, chain.first()) {
        (None, _) => Kept::None,
        (Some(key), Some(leaf)) => {
            let key = Bundle::read(key.as_bytes()).and_then(Bundle::key);
            if key.is_ok_and(|key| leaf.has_key(&key)) { Kept::Own } else { Kept::Other }
        }
        (Some(_), None) => Kept::Other,
    };
    let hosts = SECTIONS.iter().flat_map(|(list, section)| {
        value[list].as_array().into_iter().flatten().filter_map(|value| host(section, value))
    });
    let name = value["nice_name"].as_str().unwrap_or_default().to_owned();
    Row { id, name, is_custom: value["provider"] == "other", chain, key, hosts: hosts.collect() }
}

fn host(section: &'static str, value: &Value) -> Option<Host> {
    let id = value["id"].as_u64()?;
    let names = value["domain_names"].as_array().into_iter().flatten();
    let names: Vec<String> = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let called =
        names.first().cloned().or_else(|| Some(format!("port {}", value["incoming_port"].as_u64()?)));
    // A number in some databases, and a truth value in others.
    let is_enabled = value["enabled"].as_bool().unwrap_or(value["enabled"] != 0);
    let is_offline = is_enabled && value["meta"].is_object() && value["meta"]["nginx_online"] != true;
    let words = format!(
        "{} {id} ({})",
        section.trim_end_matches('s').replace('-', " "),
        called.unwrap_or_else(|| "no name".to_owned())
    );
    Some(Host { section, id, words, names, is_enabled, is_offline })
}
