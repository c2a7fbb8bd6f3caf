//! Hosts: proxies, redirections, dead ones and streams. Each change of one reloads nginx for all.

use serde_json::{Value, json};

use super::face::{error, unknown_key};
use super::nginx::Conf;
use super::{Dates, State};
use crate::lab::http::server::{Answer, Asked};

/// Where hosts of a kind are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `proxy-hosts`.
    Proxy,
    /// `redirection-hosts`.
    Redirection,
    /// `dead-hosts`.
    Dead,
    /// `streams`.
    Stream,
}

impl Section {
    /// Every section.
    pub const ALL: [Self; 4] = [Self::Proxy, Self::Redirection, Self::Dead, Self::Stream];

    /// Returns what certificates call their hosts of this section.
    pub(super) fn expansion(self) -> &'static str {
        match self {
            Self::Proxy => "proxy_hosts",
            Self::Redirection => "redirection_hosts",
            Self::Dead => "dead_hosts",
            Self::Stream => "streams",
        }
    }
}

impl Section {
    /// Finds a section by its part of a path.
    pub(super) fn of(segment: &str) -> Result<Self, Answer> {
        let name = segment.replace('-', "_");
        let found = Self::ALL.into_iter().find(|section| section.expansion() == name);
        found.ok_or_else(|| error(404, "Not Found"))
    }
}

/// A host of any section.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where it is.
    pub section: Section,
    /// Its number there.
    pub id: u64,
    /// Its names; a stream has none.
    pub names: Vec<String>,
    /// The number of its certificate, or 0.
    pub certificate: u64,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether nginx took it.
    pub online: bool,
    /// Its file for nginx.
    pub(super) conf: Conf,
}

impl Host {
    pub(super) fn json(&self, dates: Dates) -> Value {
        // A truth value of SQLite is a number.
        let enabled = match dates {
            Dates::Sqlite => json!(u8::from(self.enabled)),
            Dates::Mysql => json!(self.enabled),
        };
        let error = if self.online { Value::Null } else { json!("nginx: [emerg] cannot load certificate") };
        let mut value = json!({
            "id": self.id, "certificate_id": self.certificate, "enabled": enabled,
            "meta": { "nginx_online": self.online, "nginx_err": error },
        });
        match self.section {
            Section::Stream => value["incoming_port"] = json!(20_000 + self.id),
            Section::Proxy | Section::Redirection | Section::Dead => {
                value["domain_names"] = json!(self.names);
            }
        }
        value
    }
}

/// What a change may name; `certificate_id` is all that matters here.
const KEYS: [&str; 17] = [
    "domain_names",
    "forward_scheme",
    "forward_host",
    "forward_port",
    "certificate_id",
    "ssl_forced",
    "hsts_enabled",
    "hsts_subdomains",
    "http2_support",
    "block_exploits",
    "caching_enabled",
    "allow_websocket_upgrade",
    "access_list_id",
    "advanced_config",
    "enabled",
    "meta",
    "locations",
];

impl State {
    pub(super) fn list_hosts(&self, section: Section) -> Answer {
        let hosts = self.hosts.iter().filter(|host| host.section == section);
        Answer::json(200, &hosts.map(|host| host.json(self.dates)).collect())
    }

    pub(super) fn change_host(
        &mut self,
        asked: &Asked,
        section: Section,
        id: &str,
    ) -> Result<Answer, Answer> {
        self.changes += 1;
        let number = self.changes;
        if self.faults.bad_gateway.contains(&number) {
            return Err(Answer::text(502, "<h1>502 Bad Gateway</h1>"));
        }
        let body = asked.json().ok_or_else(|| error(400, "data must be object"))?;
        if let Some(refusal) = unknown_key(&body, &KEYS) {
            return Err(refusal);
        }
        if body.as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(error(400, "data must NOT have fewer than 1 properties"));
        }
        let certificate = match &body["certificate_id"] {
            Value::Null => None,
            value => Some(value.as_u64().ok_or_else(|| error(400, "data/certificate_id must be integer"))?),
        };
        let wanted = id.parse::<u64>().ok();
        let place = self.hosts.iter().position(|host| host.section == section && Some(host.id) == wanted);
        let place = place.ok_or_else(|| error(404, "Not Found"))?;
        let host = &mut self.hosts[place];
        host.certificate = certificate.unwrap_or(host.certificate);
        host.enabled = body["enabled"].as_bool().unwrap_or(host.enabled);
        let answer = match self.configure(place) {
            Ok(()) => Answer::json(200, &self.hosts[place].json(self.dates)),
            // The row is changed by now; what nginx says stands in its log only.
            Err(_) => error(500, "Internal Error"),
        };
        let answer = answer.after(self.faults.slow);
        Ok(if self.faults.hang.contains(&number) { answer.held() } else { answer })
    }
}
