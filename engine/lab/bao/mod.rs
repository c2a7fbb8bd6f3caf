//! A store of secrets that answers as OpenBao does: KV 2, tokens and AppRole. Nothing but values outlives the process.

pub(super) mod answer;
mod kv;
mod tokens;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use self::answer::{Answer, bare, errors, told};
use self::kv::Kv;
use self::tokens::{Token, Tokens};
use super::http::server::{self, Asked, Face};
use crate::world::{clock, files};

/// The mount of the values.
const MOUNT: &str = "secret";

/// A store of secrets.
#[derive(Debug)]
pub struct Bao {
    state: Mutex<State>,
    file: Option<PathBuf>,
}

#[derive(Debug)]
struct State {
    kv: Kv,
    tokens: Tokens,
    is_sealed: bool,
}

/// What may log in.
#[derive(Debug, Clone)]
pub struct Logins {
    /// The token that may do everything.
    pub root: String,
    /// The role whose logins may read every value.
    pub role_id: String,
    /// Its secret.
    pub secret_id: String,
}

impl Bao {
    /// Makes a store that keeps its values in a file, or nowhere.
    pub fn new(logins: Logins, file: Option<&Path>) -> std::io::Result<Self> {
        let kv = match file {
            Some(file) if file.exists() => serde_json::from_slice(&std::fs::read(file)?)?,
            _ => Kv::default(),
        };
        let state = State { kv, tokens: Tokens::new(logins, clock::now()), is_sealed: false };
        Ok(Self { state: Mutex::new(state), file: file.map(Path::to_owned) })
    }

    /// Writes values, unless there are some at the path.
    pub fn seed(&self, path: &str, values: Map<String, Value>) -> std::io::Result<()> {
        let mut state = self.state.lock();
        if !state.kv.is_known(path) {
            state.kv.write(path, values, clock::now());
            self.keep(&state)?;
        }
        Ok(())
    }

    fn answered(&self, asked: &Asked) -> Answer {
        let mut state = self.state.lock();
        let answer = state.answer(asked, clock::now());
        let is_write = answer.status < 300 && asked.path.starts_with(&format!("/v1/{MOUNT}/"));
        if is_write && !matches!(asked.method.as_str(), "GET" | "LIST") && self.keep(&state).is_err() {
            return errors(500, ["the disk does not take it"]);
        }
        answer
    }

    fn keep(&self, state: &State) -> std::io::Result<()> {
        match &self.file {
            Some(file) => files::replace(file, &serde_json::to_vec_pretty(&state.kv)?, 0o600),
            None => Ok(()),
        }
    }
}

impl Face for Bao {
    fn answer(&self, asked: &Asked) -> server::Answer {
        let Answer { status, body } = self.answered(asked);
        let answer = match body {
            Some(body) => server::Answer::json(status, &body),
            None => server::Answer::empty(status),
        };
        answer.header("cache-control", "no-store".to_owned())
    }
}

impl State {
    fn answer(&mut self, asked: &Asked, now: Timestamp) -> Answer {
        let Some(path) = asked.path.strip_prefix("/v1/") else { return bare(404) };
        let method = asked.method.as_str();
        match (method, path) {
            ("GET" | "HEAD", "sys/health") => return self.health(now),
            (_, "sys/health") => return bare(405),
            ("GET", "sys/seal-status") => return self.seal_status(),
            ("POST" | "PUT", "sys/unseal") => {
                self.is_sealed = false;
                return self.seal_status();
            }
            _ => {}
        }
        if self.is_sealed {
            return errors(503, ["Vault is sealed"]);
        }
        let body: Map<String, Value> = serde_json::from_slice(&asked.body).unwrap_or_default();
        if path == "auth/approle/login" {
            return self.tokens.login(&body, now);
        }
        let given =
            asked.header("x-vault-token").or_else(|| asked.header("authorization")).unwrap_or_default();
        let given = given.strip_prefix("Bearer ").unwrap_or(given);
        let Some(token) = self.tokens.find(given, now) else { return errors(403, ["permission denied"]) };
        match (method, path) {
            ("GET", "auth/token/lookup-self") => return token.look(given, now),
            ("POST" | "PUT", "auth/token/renew-self") => return self.tokens.renew(given, now),
            ("POST" | "PUT", "auth/token/revoke-self") => {
                self.tokens.revoke(given);
                return Answer { status: 204, body: None };
            }
            ("POST" | "PUT", "sys/seal") if token.is_root() => {
                self.is_sealed = true;
                return Answer { status: 204, body: None };
            }
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("sys/internal/ui/mounts/") {
            return mount(rest);
        }
        self.value(asked, path, body, &token, now)
    }

    /// Answers a request to the mount of the values.
    fn value(
        &mut self,
        asked: &Asked,
        path: &str,
        body: Map<String, Value>,
        token: &Token,
        now: Timestamp,
    ) -> Answer {
        let method = asked.method.as_str();
        let is_list = method == "LIST" || (method == "GET" && asked.query("list") == Some("true"));
        let is_read = is_list || method == "GET";
        let is_of_mount = path == MOUNT || path.starts_with(&format!("{MOUNT}/"));
        if !(token.is_root() || is_read && is_of_mount) {
            return errors(403, ["1 error occurred:\n\t* permission denied\n\n"]);
        }
        if !is_of_mount {
            return errors(404, [format!("no handler for route \"{path}\". route entry not found.")]);
        }
        let rest = path[MOUNT.len()..].trim_start_matches('/');
        let (part, name) = rest.split_once('/').unwrap_or((rest, ""));
        match (part, method) {
            ("metadata", _) if is_list => self.kv.list(name),
            ("metadata", "GET") => self.kv.about(name),
            ("metadata", "DELETE") => self.kv.forget(name),
            ("data", "GET") => {
                self.kv.read(name, asked.query("version").and_then(|number| number.parse().ok()))
            }
            ("data", "POST" | "PUT") => self.kv.put(name, &body, now),
            ("data", "DELETE") => self.kv.delete(name, now),
            ("data" | "metadata", _) => bare(405),
            _ => answer::envelope(
                404,
                Value::Null,
                json!([
                    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. \
                        If using the OpenBao CLI, use 'bao kv get' for this operation."
                ]),
                Value::Null,
            ),
        }
    }

    fn health(&self, now: Timestamp) -> Answer {
        let body = json!({
            "initialized": true, "sealed": self.is_sealed, "standby": self.is_sealed,
            "replication_performance_mode": "disabled", "replication_dr_mode": "disabled",
            "server_time_utc": now.as_second(), "version": "2.7.2", "cluster_name": "lab", "cluster_id": answer::id(),
        });
        Answer { status: if self.is_sealed { 503 } else { 200 }, body: Some(body) }
    }

    fn seal_status(&self) -> Answer {
        let body = json!({
            "type": "shamir", "initialized": true, "sealed": self.is_sealed, "t": 1, "n": 1, "progress": 0, "nonce": "",
            "recovery_seal": false, "version": "2.7.2", "migration": false, "cluster_name": "lab", "storage_type": "file",
        });
        Answer { status: 200, body: Some(body) }
    }
}

/// Tells which mount a path is in.
fn mount(path: &str) -> Answer {
    if path != MOUNT && !path.starts_with(&format!("{MOUNT}/")) {
        let path = path.trim_end_matches('/');
        let text = format!(
            "preflight capability check returned 403, please ensure client's policies grant access to path \"{path}/\""
        );
        return errors(403, [text]);
    }
    told(json!({
        "accessor": "kv_lab", "config": { "default_lease_ttl": 0, "force_no_cache": false, "max_lease_ttl": 0 },
        "deprecation_status": "supported", "description": "key/value secret storage", "external_entropy_access": false,
        "local": false, "options": { "version": "2" }, "path": format!("{MOUNT}/"), "plugin_version": "",
        "running_plugin_version": "v2.7.2+builtin.bao", "running_sha256": "", "seal_wrap": false, "type": "kv",
        "uuid": answer::id(),
    }))
}
