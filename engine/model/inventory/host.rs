//! A host and how to reach it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::LOCALHOST;

/// A host with everything its groups gave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name in the inventory.
    pub name: String,
    /// How to reach it.
    pub connection: Connection,
    /// Its variables, merged; a value still encrypted by Ansible Vault is `{"__vault": "<ciphertext>"}`.
    pub vars: Map<String, Value>,
    /// Every group it belongs to, directly or not, `all` included.
    pub groups: Arc<BTreeSet<String>>,
}

impl Host {
    /// Makes the `localhost` that nobody declared: this machine, in no group, with the variables of `all`.
    pub(super) fn local(vars: Map<String, Value>) -> Self {
        let connection = Connection { transport: Transport::Local, ..Connection::default() };
        Self { name: LOCALHOST.to_owned(), connection, vars, groups: Arc::default() }
    }
}

/// How a host is reached; what is `None` is left to the user's SSH configuration and then to defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connection {
    /// SSH or this machine.
    pub transport: Transport,
    /// Name or IP address to connect to; the host's name when `None`.
    pub address: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Login name.
    pub user: Option<String>,
    /// Paths of private keys, `~` not yet expanded.
    pub identity_files: Vec<String>,
    /// Hosts to pass through, first hop first: names of hosts, or `user@host:port`.
    pub jump: Vec<String>,
    /// Whether old algorithms (group1-sha1, ssh-rsa, aes-cbc) are allowed.
    pub legacy: bool,
    /// Name of the secret that holds the login password.
    pub password: Option<String>,
    /// Name of the secret that unlocks the private keys.
    pub passphrase: Option<String>,
    /// Name of the secret that holds the password for sudo.
    pub sudo_password: Option<String>,
    /// Whether commands run through sudo when the runbook does not say.
    pub sudo: Option<bool>,
    /// The user that sudo becomes; `root` when `None`.
    pub sudo_user: Option<String>,
    /// What to do about a host key that `known_hosts` does not have; strict when `None`.
    pub known_hosts: Option<HostKeyPolicy>,
    /// How long connecting and logging in may take.
    pub connect_timeout: Option<Duration>,
    /// The system of a network device, whose commands are typed at a terminal: `ios`, `asa` or `ap`.
    pub os: Option<String>,
    /// Name of the secret that `enable` asks for on a network device.
    pub enable_password: Option<String>,
}

/// What carries commands to a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// An SSH connection.
    #[default]
    Ssh,
    /// Processes of this machine.
    Local,
}

/// What happens when a host's key is not yet known; a changed key is refused by both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// Refuse the host.
    Strict,
    /// Write the key down and go on.
    AcceptNew,
}
