//! How hosts would be reached, and whether they answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::gate::authority::Nobody;
use crate::model::event::{Event, Verdict};
use crate::model::inventory::{Host, Inventory};
use crate::model::run::{Mode, RunId, Trigger};
use crate::runner::sources::Pinned;
use crate::service::resume::header_of;
use crate::service::{Hands, Place, Prepared, Project, ServiceError};
use crate::store::Store;
use crate::world::endpoint::{self, Logins};
use crate::world::host::{HostKeyPolicy, Transport};

/// How one host would be reached: the inventory and the SSH configuration together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Endpoint {
    /// Its name in the inventory.
    pub name: String,
    /// `ssh` or `local`.
    pub transport: &'static str,
    /// What is connected to.
    pub address: String,
    /// The TCP port; 0 for this machine.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// The hosts to go through, first hop first: `user@address:port`.
    pub jump: Vec<String>,
    /// A command that reaches it, in place of jump hosts.
    pub proxy_command: Option<String>,
    /// `strict` or `accept-new`.
    pub host_keys: &'static str,
    /// Whether old algorithms are allowed.
    pub legacy: bool,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its variables, merged.
    pub vars: Map<String, Value>,
}

/// What a host said to a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ping {
    /// The host.
    pub name: String,
    /// Whether it can be worked with.
    pub ok: bool,
    /// The failure in a word: `unreachable refused host_key authentication …`.
    pub failure: Option<String>,
    /// The failure in a sentence.
    pub reason: Option<String>,
    /// How long connecting and a command took, in milliseconds.
    pub ms: Option<u64>,
}

/// Connects to each host and runs the least command there is.
const PING: &str = "//! Connects to hosts and says which of them answer.\n\
    const PARAMS = #{ hosts: #{ type: \"hosts\" } };\n\
    const NEEDS = [\"ssh.read\"];\n\
    ssh_read(params.hosts, [\"true\"], #{ sudo: false });\n";
/// The path under which its runs are recorded.
const PING_PATH: &str = "nlrun:ping.rhai";

impl Project {
    /// Returns how hosts would be reached, and what is odd in the SSH configuration.
    pub fn endpoints(
        &self,
        place: &Place,
        inventory: &Inventory,
        hosts: &[Arc<Host>],
    ) -> Result<(Vec<Endpoint>, Vec<String>), ServiceError> {
        let config = self.ssh_config(&place.person.home)?;
        let mut endpoints = Vec::with_capacity(hosts.len());
        for host in hosts {
            let found = endpoint::resolve(host, inventory, &config, &place.person, Logins::default())
                .map_err(|source| ServiceError::Endpoint { host: host.name.clone(), source })?;
            let is_local = found.transport == Transport::Local;
            endpoints.push(Endpoint {
                name: host.name.clone(),
                transport: if is_local { "local" } else { "ssh" },
                jump: found
                    .jump
                    .iter()
                    .map(|hop| format!("{}@{}:{}", hop.user, hop.address, hop.port))
                    .collect(),
                address: found.address,
                port: found.port,
                user: if is_local { place.person.user.clone() } else { found.user },
                proxy_command: found.proxy_command,
                host_keys: match found.host_key_policy {
                    HostKeyPolicy::Strict => "strict",
                    HostKeyPolicy::AcceptNew => "accept-new",
                },
                legacy: found.legacy,
                groups: host.groups.iter().cloned().collect(),
                vars: host.vars.clone(),
            });
        }
        Ok((endpoints, config.warnings().to_vec()))
    }

    /// Connects to hosts, in a run of its own: what touches hosts is recorded.
    pub fn ping(
        &self,
        place: &Place,
        store: &Store,
        inventory: Arc<Inventory>,
        hosts: &[Arc<Host>],
    ) -> Result<(RunId, Vec<Ping>), ServiceError> {
        let sources = Pinned(BTreeMap::from([(PING_PATH.to_owned(), Arc::from(PING))]));
        let unusable = |reason: String| ServiceError::Unusable { run: 0, reason };
        let header = header_of(&sources, PING_PATH).map_err(unusable)?;
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let params = json!({ "hosts": names }).as_object().cloned().unwrap_or_default();
        let prepared = Prepared {
            entry: PING_PATH.to_owned(),
            sources: Arc::new(sources),
            header,
            params,
            inventory,
            grants: super::prepare::capabilities(&["ssh.read".to_owned()])?,
            allow: Vec::new(),
            warnings: Vec::new(),
            notices: Vec::new(),
            given: BTreeMap::new(),
        };
        let (observer, mut events) = tokio::sync::mpsc::unbounded_channel();
        let trigger = Trigger::Person { user: place.person.user.clone() };
        let (ask, patience) = (Box::new(Nobody), std::time::Duration::ZERO);
        let hands = Hands { observer: Some(observer), ask, trigger, patience };
        let finished = self.run(place, store, prepared, Mode::Apply, hands)?;
        let mut pings: BTreeMap<String, Ping> = BTreeMap::new();
        while let Ok(record) = events.try_recv() {
            match record.event {
                Event::Outcome { address, failure, ms, .. } => {
                    if let Some(name) = address.label().map(str::to_owned) {
                        let ping = Ping {
                            ok: failure.is_none(),
                            reason: failure.as_ref().map(|failure| failure.message.clone()),
                            failure: failure.map(|failure| failure.kind),
                            ms: Some(ms),
                            name: name.clone(),
                        };
                        pings.insert(name, ping);
                    }
                }
                Event::BranchEnded { host, verdict, reason, .. } => {
                    let ok = matches!(verdict, Verdict::Ok | Verdict::Changed);
                    pings.entry(host.clone()).or_insert(Ping {
                        name: host,
                        ok,
                        failure: (!ok).then(|| verdict.as_str().to_owned()),
                        reason,
                        ms: None,
                    });
                }
                _ => {}
            }
        }
        let silent = |name: &str| Ping {
            name: name.to_owned(),
            ok: false,
            failure: Some(finished.ending.status.as_str().to_owned()),
            reason: finished.ending.error.as_ref().map(|error| error.message.clone()),
            ms: None,
        };
        let pings = names.iter().map(|name| pings.remove(*name).unwrap_or_else(|| silent(name))).collect();
        Ok((finished.run, pings))
    }
}
