//! Who may ask: the root token, and the logins of one role of AppRole.

use std::collections::HashMap;

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Map, Value, json};

use super::Logins;
use super::answer::Answer;
use super::answer::{envelope, errors, id, told};

/// How long a login lasts, in seconds.
const TTL: i64 = 3600;

#[derive(Debug)]
pub(super) struct Tokens {
    logins: Logins,
    tokens: HashMap<String, Token>,
}

/// What is known of a token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    accessor: String,
    created: Timestamp,
    /// `None` for the root token.
    expires: Option<Timestamp>,
}

impl Tokens {
    pub(super) fn new(logins: Logins, now: Timestamp) -> Self {
        let root = Token { accessor: id(), created: now, expires: None };
        Self { tokens: HashMap::from([(logins.root.clone(), root)]), logins }
    }

    /// Returns a token that is valid.
    pub(super) fn find(&self, token: &str, now: Timestamp) -> Option<Token> {
        self.tokens.get(token).filter(|token| token.expires.is_none_or(|at| at > now)).cloned()
    }

    pub(super) fn login(&mut self, body: &Map<String, Value>, now: Timestamp) -> Answer {
        let field = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(role) = field("role_id") else { return errors(500, ["missing role_id"]) };
        if role != self.logins.role_id {
            return errors(400, ["invalid role or secret ID"]);
        }
        let Some(secret) = field("secret_id") else { return errors(400, ["missing secret_id"]) };
        if secret != self.logins.secret_id {
            return errors(400, ["invalid role or secret ID"]);
        }
        let name = format!("s.{}", id().replace('-', ""));
        let token = Token { accessor: id(), created: now, expires: now.checked_add(TTL.seconds()).ok() };
        let auth = token.auth(&name);
        self.tokens.retain(|_, token| token.expires.is_none_or(|at| at > now));
        self.tokens.insert(name, token);
        envelope(200, Value::Null, Value::Null, auth)
    }

    pub(super) fn renew(&mut self, name: &str, now: Timestamp) -> Answer {
        match self.tokens.get_mut(name) {
            Some(token) if token.expires.is_some() => {
                token.expires = now.checked_add(TTL.seconds()).ok();
                envelope(200, Value::Null, Value::Null, token.auth(name))
            }
            _ => errors(400, ["lease is not renewable"]),
        }
    }

    pub(super) fn revoke(&mut self, name: &str) {
        self.tokens.remove(name);
    }
}

impl Token {
    pub(super) fn is_root(&self) -> bool {
        self.expires.is_none()
    }

    fn policies(&self) -> &'static [&'static str] {
        if self.is_root() { &["root"] } else { &["default", "lab"] }
    }

    fn auth(&self, name: &str) -> Value {
        json!({
            "client_token": name, "accessor": self.accessor, "policies": self.policies(), "token_policies": self.policies(),
            "metadata": { "role_name": "lab" }, "lease_duration": TTL, "renewable": true, "entity_id": "",
            "token_type": "service", "orphan": true, "mfa_requirement": null, "num_uses": 0,
        })
    }

    /// Tells a token about itself.
    pub(super) fn look(&self, name: &str, now: Timestamp) -> Answer {
        let left = self.expires.map_or(0, |at| at.as_second() - now.as_second());
        let path = if self.is_root() { "auth/token/create" } else { "auth/approle/login" };
        told(json!({
            "accessor": self.accessor, "creation_time": self.created.as_second(),
            "creation_ttl": if self.is_root() { 0 } else { TTL },
            "display_name": if self.is_root() { "token" } else { "approle" }, "entity_id": "",
            "expire_time": self.expires.map(|at| at.to_string()), "explicit_max_ttl": 0, "id": name,
            "issue_time": self.created.to_string(),
            "meta": if self.is_root() { Value::Null } else { json!({ "role_name": "lab" }) }, "num_uses": 0,
            "orphan": true, "path": path, "policies": self.policies(), "renewable": !self.is_root(), "ttl": left,
            "type": "service",
        }))
    }
}
