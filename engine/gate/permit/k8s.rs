//! The way to Kubernetes clusters.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::{Permit, broke, invalid, told, unrecorded};
use crate::gate::output::{Capture, Captured};
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::k8s::Catalog;
use crate::world::http::Fault;
use crate::world::k8s::{Cluster, Exec, Remote, Reply, Request};

impl Permit<'_> {
    /// Makes one exchange with the effect's cluster.
    pub async fn k8s(&self, cluster: &str, request: Request) -> Result<Reply, Failure> {
        let opened = self.cluster(cluster).await?;
        let cancel = self.gate.cancellation.token().clone();
        let what = format!("{} {}", request.method, request.path.split('?').next().unwrap_or_default());
        // On the world's own thread: the script is woken once an exchange, not once a packet.
        let asking =
            AbortOnDropHandle::new(tokio::spawn(async move { opened.exchange(&request, &cancel).await }));
        let reply = asking.await.map_err(|error| broke(&error))?;
        reply.map_err(|fault| failed(&fault, cluster, Some(&what)))
    }

    /// Returns the kinds that the effect's cluster serves, or the answer of a server that refuses to tell.
    ///
    /// They are asked for once a run; `fresh` asks again.
    pub async fn k8s_catalog(
        &self,
        cluster: &str,
        fresh: bool,
    ) -> Result<Result<Arc<Catalog>, Reply>, Failure> {
        let opened = self.cluster(cluster).await?;
        let catalog = opened.catalog(fresh, self.gate.cancellation.token()).await;
        catalog.map_err(|fault| failed(&fault, cluster, Some("discovery")))
    }

    /// Runs a command in a container; its output goes into the log as it comes, and up to `limit` bytes of each stream are
    /// returned.
    pub async fn k8s_exec(
        &self,
        cluster: &str,
        exec: Exec,
        limit: usize,
        timeout: std::time::Duration,
    ) -> Result<(Remote, Captured, Captured), Failure> {
        let opened = self.cluster(cluster).await?;
        let cancel = self.gate.cancellation.token().clone();
        let mut capture = Capture::new(self.gate, self.address, limit, true);
        let running = AbortOnDropHandle::new(tokio::spawn(async move {
            let ended = tokio::time::timeout(timeout, opened.exec(&exec, &mut capture, &cancel)).await;
            let ended = ended.unwrap_or(Err(Fault::TimedOut { seconds: timeout.as_secs_f64() }));
            (ended, capture.finish().await)
        }));
        let (result, ended) = running.await.map_err(|error| broke(&error))?;
        if ended.redacted {
            self.note_redacted();
        }
        if let Some(stop) = ended.stop {
            return Err(unrecorded(&stop));
        }
        match result {
            Ok(remote) => Ok((remote, ended.out, ended.err)),
            Err(fault) => Err(failed(&fault, cluster, Some("exec"))),
        }
    }

    /// Whether the run may do this to another object of the effect's cluster.
    ///
    /// That a kind has no namespace, whatever its manifest says, is known only when the cluster was asked.
    pub fn may_named(&self, effect: &str, name: &str) -> Result<(), Failure> {
        self.authorise(effect, &Target::Named { name: name.to_owned() }).map_err(|stop| {
            let hint = stop.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            Failure { kind: "denied".to_owned(), ..invalid(format!("{stop}{hint}")) }
        })
    }

    async fn cluster(&self, name: &str) -> Result<Arc<Cluster>, Failure> {
        let is_own = match self.target {
            Target::Named { name: own } => own.split('/').next() == Some(name),
            Target::Run | Target::Host { .. } => false,
        };
        if !is_own {
            return Err(invalid(format!("the effect is not about cluster `{name}`")));
        }
        let k8s = self.gate.world.k8s();
        let token = match k8s.token(name) {
            Some(token) => Some(self.gate.secret(token).await?),
            None => None,
        };
        k8s.cluster(name, token.as_ref()).await.map_err(|fault| failed(&fault, name, None))
    }
}

fn failed(fault: &Fault, cluster: &str, what: Option<&str>) -> Failure {
    match (fault, what) {
        (Fault::Cancelled, _) | (Fault::Invalid { .. }, None) => told(fault),
        (_, Some(what)) => {
            Failure { message: format!("cluster `{cluster}`: {what}: {fault}"), ..told(fault) }
        }
        (_, None) => Failure { message: format!("cluster `{cluster}`: {fault}"), ..told(fault) },
    }
}
