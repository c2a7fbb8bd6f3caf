//! Kubernetes: clusters by name, one exchange at a time; the only code that talks to API servers.

mod cluster;
mod config;
mod exec;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

pub use self::cluster::{Cluster, Reply, Request};
pub use self::config::Config;
pub use self::exec::{Exec, Remote};
use crate::model::secret::{Secret, SecretName};
use crate::world::http::Fault;
use crate::world::secrets::Place;

/// How long a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = crate::world::http::CONNECT_TIMEOUT;

/// The clusters of a project; each is opened once.
pub struct K8s {
    clusters: BTreeMap<String, Config>,
    place: Place,
    opened: Mutex<HashMap<String, Arc<Cluster>>>,
}

impl K8s {
    /// Takes the clusters of `nlrun.yaml`; nothing is read yet.
    pub fn new(clusters: BTreeMap<String, Config>, place: Place) -> Self {
        Self { clusters, place, opened: Mutex::default() }
    }

    /// Returns the cluster that is meant where none is named: the only one, or the kubeconfig's current context.
    pub fn default(&self) -> Option<String> {
        if self.clusters.len() == 1 {
            return self.clusters.keys().next().cloned();
        }
        config::current_context(&self.place).filter(|_| self.clusters.is_empty())
    }

    /// Returns the secret that holds the cluster's token, where one is named.
    pub fn token(&self, name: &str) -> Option<&SecretName> {
        match self.clusters.get(name) {
            Some(Config::Server { token, .. }) => token.as_ref(),
            Some(Config::Context { .. } | Config::InCluster) | None => None,
        }
    }

    /// Returns a cluster of `nlrun.yaml`, or a context of the user's kubeconfig.
    pub async fn cluster(&self, name: &str, token: Option<&Secret>) -> Result<Arc<Cluster>, Fault> {
        let mut opened = self.opened.lock().await;
        if let Some(cluster) = opened.get(name) {
            return Ok(cluster.clone());
        }
        let configured = self.clusters.get(name);
        let config = config::open(name, configured, &self.clusters, &self.place, token).await?;
        let cluster = Arc::new(Cluster::open(config)?);
        opened.insert(name.to_owned(), cluster.clone());
        Ok(cluster)
    }
}
