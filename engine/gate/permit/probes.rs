//! Probes: looks at what need not be a host of the inventory. They run on the world's own thread and end with the run.

use std::fmt::Display;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Permit, broke, invalid, told};
use crate::gate::Gate;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::world::tls::probe;

impl Permit<'_> {
    /// Looks at what a TLS server shows; it has to be the effect's port.
    pub async fn look(&self, request: &probe::Request) -> Result<probe::Sight, Failure> {
        let name = request.port.name();
        self.demand(&name)?;
        let asked = request.clone();
        self.away(&name, |_, cancel| async move { asked.look(&cancel).await }).await
    }

    /// Demands that a name is the one that the gate let through.
    fn demand(&self, name: &str) -> Result<(), Failure> {
        match self.target {
            Target::Named { name: own } if own == name => Ok(()),
            _ => Err(invalid(format!("the effect is not about `{name}`"))),
        }
    }

    /// Does something on the world's own thread: the script is woken once, not once a packet.
    async fn away<T, E, F>(
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
