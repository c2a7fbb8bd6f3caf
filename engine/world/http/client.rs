//! Clients, one for each way to trust a server, so that connections are used again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

use super::{CONNECT_TIMEOUT, Fault, Request, TlsCause, Trust, tls};

/// How long a connection that nobody uses stays open.
const IDLE: Duration = Duration::from_secs(30);

/// What makes a client another one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    /// `None` for plain HTTP: this machine's certificates are not read for it.
    trust: Option<Trust>,
    /// The host that a server name stands for.
    address: Option<(String, String)>,
}

/// The clients of one world.
#[derive(Default)]
pub struct Http {
    clients: Mutex<HashMap<Key, Client>>,
}

impl Http {
    /// Returns the client for a request.
    pub(super) fn client(&self, request: &Request) -> Result<Client, Fault> {
        let host = request.url.host_str().unwrap_or_default();
        let key = Key {
            trust: (request.url.scheme() == "https").then(|| request.trust.clone()),
            address: request.server_name.clone().map(|name| (name, host.to_owned())),
        };
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = build(&key)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where clients are made")]
fn build(key: &Key) -> Result<Client, Fault> {
    let mut builder = Client::builder()
        .user_agent(concat!("nlrun/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls::config(key.trust.as_ref())?)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE)
        .redirect(Policy::none())
        .referer(false)
        .gzip(true);
    if let Some((_, host)) = &key.address {
        // A proxy would look up the name that stands in the request, and not the address that was given.
        builder = builder.no_proxy().dns_resolver(Arc::new(Fixed(host.trim_matches(['[', ']']).to_owned())));
    }
    builder.build().map_err(|error| Fault::Tls { cause: TlsCause::Setup, reason: error.to_string() })
}

/// Resolves every name to one host.
struct Fixed(String);

impl Resolve for Fixed {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
