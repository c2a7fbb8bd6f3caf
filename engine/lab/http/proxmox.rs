//! The certificates of a Proxmox VE node, behind its own TLS port (libpve-http-server, pve-manager 9.1).
//!
//! What went wrong stands in the reason phrase; the body says it on newer nodes only.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::program::{Api, Program};
use super::server::{Answer, Asked};
use super::shown::{Shown, first};
use super::{ANYWHERE, Identity};
use crate::x509::Bundle;

/// What a node is like when it starts.
pub struct Config {
    /// Where it listens.
    pub at: SocketAddr,
    /// The node's name.
    pub node: String,
    /// A token: `root@pam!nlrun` and its secret.
    pub token: (String, String),
    /// Whether the token may change the node (`Sys.Modify`).
    pub may_modify: bool,
    /// The certificate that the cluster gave it: `pve-ssl.pem`.
    pub own: Identity,
    /// How long a refused login takes.
    pub pause: Duration,
    /// Whether the body repeats the reason phrase, as nodes do since 2025.
    pub has_message: bool,
}

impl Config {
    /// Listens on any free port, with a token of its own and no pauses.
    pub fn new(own: Identity) -> Self {
        Self {
            at: ANYWHERE,
            node: "pve01".to_owned(),
            token: ("root@pam!nlrun".to_owned(), "6b5a3c1e-0d6f-4a52-9f0e-2b8f7c1d9e44".to_owned()),
            may_modify: true,
            own,
            pause: Duration::ZERO,
            has_message: true,
        }
    }
}

/// The files and the proxy of one node.
pub struct State {
    /// `METHOD path` of every request.
    pub requests: Vec<String>,
    /// `pveproxy-ssl.pem` and its key.
    pub custom: Option<Identity>,
    /// Restarts of pveproxy.
    pub restarts: usize,
    /// Whether a restart takes the connection with it.
    pub drops: bool,
    config: Config,
    shown: Shown,
}

/// A running node; it ends with this value.
pub type Proxmox = Program<State>;

impl Proxmox {
    /// Starts a node that has no certificate but the cluster's.
    pub fn start(config: Config) -> io::Result<Self> {
        let (at, own) = (config.at, config.own.clone());
        Self::run("proxmox", at, &own, |shown| State {
            requests: Vec::new(),
            custom: None,
            restarts: 0,
            drops: false,
            config,
            shown,
        })
    }
}

impl Api for State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.requests.push(format!("{} {}", asked.method, asked.path));
        self.route(asked).unwrap_or_else(|refusal| refusal)
    }
}

impl State {
    fn route(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let segments = asked.segments();
        let ["api2", "json", rest @ ..] = &segments[..] else {
            return Err(Answer::empty(404).reason("no such file"));
        };
        if matches!(asked.method.as_str(), "GET" | "DELETE") && !asked.body.is_empty() {
            let words = format!("Unexpected content for method '{}'", asked.method);
            return Err(Answer::empty(501).reason(&words));
        }
        self.admit(asked)?;
        let path = format!("/{}", rest.join("/"));
        match (&asked.method[..], rest) {
            ("GET", ["version"]) => {
                Ok(data(&json!({ "version": "9.1.2", "release": "9.1", "repoid": "1a2b3c4d5e6f7a8b" })))
            }
            (_, ["nodes", node, ..]) if *node != self.config.node => {
                let why = format!(
                    "hostname lookup '{node}' failed - failed to get address info for: {node}: Name or service not known"
                );
                Err(self.refuse(500, &why))
            }
            ("GET", ["nodes", _, "certificates", "info"]) => Ok(self.info()),
            ("POST", ["nodes", _, "certificates", "custom"]) => self.upload(asked),
            (method, _) => Err(self.refuse(501, &format!("Method '{method} {path}' not implemented"))),
        }
    }

    fn admit(&self, asked: &Asked) -> Result<(), Answer> {
        let refused = |words: &str| Answer::empty(401).reason(words).after(self.config.pause);
        let Some(header) = asked.header("authorization") else { return Err(refused("No ticket")) };
        // The secret stands behind `=`; with any other mark there is no token.
        let token = header.strip_prefix("PVEAPIToken=").and_then(|token| token.split_once('='));
        let (name, secret) = token.ok_or_else(|| refused("No ticket"))?;
        if (name, secret) == (&self.config.token.0, &self.config.token.1) {
            Ok(())
        } else {
            Err(refused("Authentication failed!"))
        }
    }

    fn refuse(&self, status: u16, why: &str) -> Answer {
        let mut body = json!({ "data": null });
        if self.config.has_message {
            body["message"] = format!("{why}\n").into();
        }
        Answer::json(status, &body).reason(why)
    }

    fn info(&self) -> Answer {
        let mut rows = vec![described("pve-ssl.pem", &self.config.own.certificate)];
        if let Some(custom) = &self.custom {
            rows.push(described("pveproxy-ssl.pem", &custom.certificate));
        }
        data(&rows.into())
    }

    fn upload(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        if !self.config.may_modify {
            let why = format!("Permission check failed (/nodes/{}, Sys.Modify)", self.config.node);
            return Err(self.refuse(403, &why));
        }
        let fields = fields(asked).ok_or_else(|| self.refuse(400, "malformed JSON string"))?;
        let mut errors = Map::new();
        for key in fields.keys() {
            if !["certificates", "key", "force", "restart"].contains(&key.as_str()) {
                let why =
                    "property is not defined in schema and the schema does not allow additional properties";
                errors.insert(key.clone(), why.into());
            }
        }
        for key in ["force", "restart"] {
            if fields.get(key).is_some_and(|value| !matches!(value.as_str(), "0" | "1")) {
                let why = format!("type check ('boolean') failed - got '{}'", fields[key]);
                errors.insert(key.to_owned(), why.into());
            }
        }
        let is_set = |key: &str| fields.get(key).is_some_and(|value| value == "1");
        if !fields.contains_key("certificates") {
            errors.insert("certificates".to_owned(), "property is missing and it is not optional".into());
        } else if self.custom.is_some() && !is_set("force") {
            errors.insert("force".to_owned(), "Custom certificate exists but 'force' is not set.".into());
        }
        if !errors.is_empty() {
            let why = "Parameter verification failed.";
            let body = json!({ "data": null, "errors": errors, "message": format!("{why}\n") });
            return Err(Answer::json(400, &body).reason(why));
        }
        let old_key = self.custom.as_ref().map(|custom| custom.key.clone());
        let key = fields.get("key").cloned().or(old_key);
        let key = key.ok_or_else(|| self.refuse(500, "No key provided and no existing key found"))?;
        let pair = Identity { certificate: fields["certificates"].clone(), key };
        // What cannot be used is not kept: the old pair is put back.
        let loaded = pair.load().map_err(|why| {
            self.refuse(500, &format!("unable to set certificate: certificate does not match key ({why})"))
        })?;
        let answer = data(&described("pveproxy-ssl.pem", &pair.certificate));
        self.custom = Some(pair);
        if !is_set("restart") {
            return Ok(answer);
        }
        self.restarts += 1;
        self.shown.fall_back(loaded);
        Ok(if self.drops { answer.dropped() } else { answer })
    }
}

fn data(value: &Value) -> Answer {
    Answer::json(200, &json!({ "data": value }))
}

fn described(file: &str, pem: &str) -> Value {
    let count = Bundle::read(pem.as_bytes()).map_or(0, |bundle| bundle.certificates.len());
    let Some(leaf) = first(pem) else { return json!({ "filename": file, "certificates": count }) };
    let bytes: Vec<&str> = (0..32).map(|at| &leaf.fingerprint[at * 2..at * 2 + 2]).collect();
    json!({
        "filename": file, "fingerprint": bytes.join(":").to_uppercase(), "subject": leaf.subject, "issuer": leaf.issuer,
        "notbefore": leaf.not_before.as_second(), "notafter": leaf.not_after.as_second(),
        "san": leaf.names.iter().map(ToString::to_string).collect::<Vec<_>>(), "pem": pem,
    })
}

/// Reads a form as the node does: `;` parts fields, too, and a value ends at a raw `=`. JSON is taken as well.
fn fields(asked: &Asked) -> Option<std::collections::BTreeMap<String, String>> {
    if let Some(json) = asked.json() {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        return Some(json.as_object()?.iter().map(|(key, value)| (key.clone(), text(value))).collect());
    }
    let text = std::str::from_utf8(&asked.body).ok()?;
    // Without `&` and `=` it is one name, which is decoded as a value is.
    let decoded = |part: &str| {
        form_urlencoded::parse(part.as_bytes()).map(|(name, _)| name.into_owned()).collect::<String>()
    };
    let pairs = text.split(['&', ';']).filter(|pair| !pair.is_empty()).map(|pair| {
        let mut parts = pair.split('=');
        (decoded(parts.next().unwrap_or_default()), decoded(parts.next().unwrap_or_default()))
    });
    Some(pairs.collect())
}
