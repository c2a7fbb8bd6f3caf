//! The way to programs with an API: the URL of one stands for all that is below it.

use super::{Permit, invalid};
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::url;
use crate::world::http;
use crate::world::tls::probe;

impl Permit<'_> {
    /// Makes one exchange with a URL below the effect's own, which ends in `/`.
    ///
    /// Where it redirects to is not followed, so nothing leaves this server.
    pub async fn below(&self, request: &http::Request) -> Result<http::Reply, Failure> {
        let name = url::name_of(&request.url);
        match self.target {
            Target::Named { name: own } if own.ends_with('/') && name.starts_with(own.as_str()) => {
                self.asked(request).await
            }
            _ => Err(invalid(format!("the effect is not about `{name}`"))),
        }
    }

    /// Looks at what the server of the effect's URL shows on one of its ports.
    pub async fn look_at_own(&self, request: &probe::Request) -> Result<probe::Sight, Failure> {
        let own = match self.target {
            Target::Named { name } => url::parse(name).ok(),
            Target::Host { .. } | Target::Run => None,
        };
        let host = own.as_ref().and_then(|own| own.host_str()).unwrap_or_default();
        if crate::model::port::host(host).ok().as_ref() != Some(&request.port.host) {
            return Err(invalid(format!("the effect is not about `{}`", request.port.name())));
        }
        let asked = request.clone();
        let name = request.port.name();
        self.away(&name, |_, cancel| async move { asked.look(&cancel).await }).await
    }
}
