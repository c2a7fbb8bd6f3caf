//! The only code that opens sockets, starts processes, reads the clock or touches files for a runbook.

mod cancel;
pub mod cisco;
pub mod clerk;
pub mod clock;
pub mod dns;
pub mod editor;
pub mod endpoint;
pub mod files;
pub mod git;
pub mod gitlab;
pub mod host;
pub mod http;
pub mod inventory;
pub mod jwt;
pub mod k8s;
pub mod local;
pub mod machine;
pub mod notify;
pub mod ping;
pub mod process;
pub mod project;
pub mod repository;
pub mod secrets;
pub mod shell;
pub mod ssh;
pub mod tls;
pub mod transport;

use std::sync::Arc;
use std::time::Duration;

use crate::model::inventory::{Host, Inventory};
use crate::world::endpoint::{EndpointError, Logins, Person};
use crate::world::host::{Endpoint, Hosts, Transport};
use crate::world::http::Http;
use crate::world::k8s::K8s;
use crate::world::project::Project;
use crate::world::secrets::Secrets;
use crate::world::ssh::ssh_config::SshConfig;

/// The clients behind the gate; only the gate holds one.
pub struct World {
    hosts: Hosts,
    devices: cisco::Devices,
    http: Http,
    k8s: K8s,
    secrets: Secrets,
    project: Project,
    ssh_config: Arc<SshConfig>,
    person: Person,
    gitlab: Option<(gitlab::Config, secrets::Place)>,
}

impl World {
    /// Puts the clients together.
    pub fn new(
        hosts: Hosts,
        k8s: K8s,
        secrets: Secrets,
        project: Project,
        ssh_config: Arc<SshConfig>,
        person: Person,
    ) -> Self {
        let devices = cisco::Devices::new(hosts.clone());
        Self {
            hosts,
            devices,
            http: Http::default(),
            k8s,
            secrets,
            project,
            ssh_config,
            person,
            gitlab: None,
        }
    }

    /// Adds a GitLab; its files are looked for in a place.
    #[must_use]
    pub fn with_gitlab(self, config: Option<gitlab::Config>, place: secrets::Place) -> Self {
        Self { gitlab: config.map(|config| (config, place)), ..self }
    }

    /// Returns the GitLab, where one is configured.
    pub fn gitlab(&self) -> Option<(&gitlab::Config, &secrets::Place)> {
        self.gitlab.as_ref().map(|(config, place)| (config, place))
    }

    /// Returns the pool of connections.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Returns the sessions at network devices.
    pub fn devices(&self) -> &cisco::Devices {
        &self.devices
    }

    /// Returns the clients for HTTP.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Returns the clusters.
    pub fn k8s(&self) -> &K8s {
        &self.k8s
    }

    /// Returns the sources of secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Returns the project's files.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Resolves how to reach a host: inventory first, then the user's SSH configuration, then defaults.
    pub fn endpoint(
        &self,
        host: &Host,
        inventory: &Inventory,
        logins: Logins,
    ) -> Result<Endpoint, EndpointError> {
        endpoint::resolve(host, inventory, &self.ssh_config, &self.person, logins)
    }

    /// Whether a TCP port of a host accepts connections, seen from the last hop before it.
    pub async fn port_open(&self, endpoint: &Endpoint, port: u16, timeout: Duration) -> bool {
        let address = if endpoint.transport == Transport::Local { "127.0.0.1" } else { &endpoint.address };
        self.hosts.port_open(endpoint.jump.last(), address, port, timeout).await
    }
}
