//! Probes: looks at what need not be a host of the inventory. They run on the world's own thread and end with the run.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Permit, broke, invalid, told};
use crate::gate::Gate;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::{port, url};
use crate::world::endpoint::Logins;
use crate::world::host::Transport;
use crate::world::tls::probe;
use crate::world::{dns, ping};

impl Permit<'_> {
    /// Looks at what a TLS server shows; it has to be the effect's port.
    pub async fn look(&self, request: &probe::Request) -> Result<probe::Sight, Failure> {
        let name = request.port.name();
        self.demand(&name)?;
        let asked = request.clone();
        self.away(&name, |_, cancel| async move { asked.look(&cancel).await }).await
    }

    /// Looks at what a TLS server shows that should serve what the effect brings: on the effect's own host or that of its URL, or
    /// where the run may probe.
    pub async fn look_served(&self, request: &probe::Request) -> Result<probe::Sight, Failure> {
        let name = request.port.name();
        if !self.own_address().is_ok_and(|own| own == request.port.host) {
            self.may_named("tls.probe", &name)?;
        }
        let asked = request.clone();
        self.away(&name, |_, cancel| async move { asked.look(&cancel).await }).await
    }

    /// Returns the address of the effect's host, or of its URL, as ports name it.
    pub fn own_address(&self) -> Result<String, Failure> {
        if let Target::Named { name } = self.target {
            let url = url::parse(name).ok();
            let host = url.as_ref().and_then(|url| url.host_str()).map(port::host);
            return host.and_then(Result::ok).ok_or_else(|| invalid(format!("`{name}` has no host")));
        }
        // Who logs in there is of no matter, so no secret is read.
        let endpoint = self.gate.world.endpoint(self.host()?, self.inventory(), Logins::default());
        let endpoint = endpoint.map_err(|error| invalid(error.to_string()))?;
        let address = if endpoint.transport == Transport::Local { "localhost" } else { &endpoint.address };
        port::host(address).map_err(|error| invalid(error.to_string()))
    }

    /// Asks a DNS server; the question has to be about the effect's name.
    pub async fn resolve(&self, question: &dns::Question) -> Result<dns::Reply, Failure> {
        self.demand(&question.name)?;
        let asked = question.clone();
        self.away(&question.name, |_, cancel| async move { asked.ask(&cancel).await }).await
    }

    /// Sends echoes to the effect's host or name.
    pub async fn ping(
        &self,
        count: u16,
        interval: Duration,
        timeout: Duration,
    ) -> Result<ping::Tally, Failure> {
        let host = match self.target {
            Target::Named { name } => name.clone(),
            Target::Host { .. } | Target::Run => {
                // Who logs in there is of no matter, so no secret is read.
                let endpoint = self.gate.world.endpoint(self.host()?, self.inventory(), Logins::default());
                let endpoint = endpoint.map_err(|error| invalid(error.to_string()))?;
                if endpoint.transport == Transport::Local { "localhost".to_owned() } else { endpoint.address }
            }
        };
        let asked = ping::Request { host, count, interval, timeout };
        let name = self.target.to_string();
        let result = self.away(&name, |_, cancel| async move { asked.send(&cancel).await }).await;
        result.map_err(|failure| Failure { host: self.target.host().map(str::to_owned), ..failure })
    }

    /// Demands that a name is the one that the gate let through.
    fn demand(&self, name: &str) -> Result<(), Failure> {
        match self.target {
            Target::Named { name: own } if own == name => Ok(()),
            _ => Err(invalid(format!("the effect is not about `{name}`"))),
        }
    }

    /// Does something on the world's own thread: the script is woken once, not once a packet.
    pub(super) async fn away<T, E, F>(
        &self,
        name: &str,
        what: impl FnOnce(Arc<Gate>, CancellationToken) -> F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Serialize + Display + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        // Taken here: only this thread knows whether it cleans up.
        let cancel = self.gate.cancellation.token().clone();
        let work = AbortOnDropHandle::new(tokio::spawn(what(self.gate.clone(), cancel)));
        let result = work.await.map_err(|error| broke(&error))?;
        result.map_err(|fault| {
            let failure = told(&fault);
            match failure.kind.as_str() {
                "cancelled" => failure,
                _ => Failure { message: format!("{name}: {fault}"), ..failure },
            }
        })
    }
}
