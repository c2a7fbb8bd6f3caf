//! One cluster: exchanges with limits, and the kinds that it serves.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::model::k8s::Catalog;
use crate::world::cancel::unless;
use crate::world::http::{Fault, TlsCause, find, innermost, of_tls};

/// What discovery answers since Kubernetes 1.27: everything, in two exchanges.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
/// How long each exchange of discovery may take.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// One request to an API server.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, in upper case.
    pub method: &'static str,
    /// The path, with query.
    pub path: String,
    /// The type of the body.
    pub content_type: &'static str,
    /// What is accepted.
    pub accept: &'static str,
    /// The body; it may hold secrets.
    pub body: Arc<Zeroizing<Vec<u8>>>,
    /// Bytes of the answer.
    pub max_bytes: usize,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// What came back, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// What the server warns of: deprecated versions, for instance.
    pub warnings: Vec<String>,
    /// `Retry-After` as it came.
    pub retry_after: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A cluster's client and what is known about its kinds.
pub struct Cluster {
    pub(super) client: kube::Client,
    address: String,
    catalog: Mutex<Option<Arc<Catalog>>>,
    /// Several effects that need the kinds at once ask once.
    asking: tokio::sync::Mutex<()>,
}

impl Cluster {
    pub(super) fn open(config: kube::Config) -> Result<Self, Fault> {
        let url = &config.cluster_url;
        let port = url.port_u16().unwrap_or(443);
        let address = format!("{}:{port}", url.host().unwrap_or_default());
        let client = kube::Client::try_from(config)
            .map_err(|error| Fault::Tls { cause: TlsCause::Setup, reason: innermost(&error) })?;
        Ok(Self { client, address, catalog: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    /// Makes one exchange; a cancelled run does not wait for its end.
    pub async fn exchange(&self, request: &Request, cancel: &CancellationToken) -> Result<Reply, Fault> {
        let limited = async {
            match tokio::time::timeout(request.timeout, self.ask(request)).await {
                Ok(result) => result,
                Err(_) => Err(Fault::TimedOut { seconds: request.timeout.as_secs_f64() }),
            }
        };
        unless(cancel, Fault::Cancelled, limited).await
    }

    async fn ask(&self, request: &Request) -> Result<Reply, Fault> {
        let mut builder = http::Request::builder().method(request.method).uri(&request.path);
        builder = builder.header("accept", request.accept);
        if !request.body.is_empty() {
            builder = builder.header("content-type", request.content_type);
        }
        let wire = builder
            .body(Body::from(request.body.to_vec()))
            .map_err(|error| Fault::Invalid { reason: error.to_string() })?;
        let response = self.client.send(wire).await.map_err(|error| self.fault(&error))?;
        let status = response.status().as_u16();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let warnings =
            response.headers().get_all("warning").iter().map(text).map(|text| unquoted(&text)).collect();
        let retry_after = response.headers().get("retry-after").map(text);
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.fault(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > request.max_bytes {
                return Err(Fault::TooLarge { limit: request.max_bytes as u64 });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Reply { status, warnings, retry_after, body: bytes })
    }

    /// Returns the kinds that the cluster serves; asked once, and again where `fresh` says so.
    ///
    /// The reply of a server that refuses comes back as it is.
    pub async fn catalog(
        &self,
        fresh: bool,
        cancel: &CancellationToken,
    ) -> Result<Result<Arc<Catalog>, Reply>, Fault> {
        let before = self.catalog.lock().clone();
        let _turn = self.asking.lock().await;
        let known = self.catalog.lock().clone();
        // Somebody else asked while this one waited.
        let is_newer = match (&before, &known) {
            (Some(before), Some(known)) => !Arc::ptr_eq(before, known),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if let Some(known) = known.filter(|_| !fresh || is_newer) {
            return Ok(Ok(known));
        }
        let ask = |path: &str| {
            let request = Request {
                method: "GET",
                path: path.to_owned(),
                content_type: "application/json",
                accept: AGGREGATED,
                body: Arc::default(),
                max_bytes: 64 << 20,
                timeout: DISCOVERY_TIMEOUT,
            };
            async move { self.exchange(&request, cancel).await }
        };
        let (core, groups) = tokio::try_join!(ask("/api"), ask("/apis"))?;
        let mut catalog = Catalog::default();
        for reply in [core, groups] {
            if reply.status != 200 {
                return Ok(Err(reply));
            }
            catalog.add(&reply.body).map_err(|error| Fault::Protocol {
                reason: format!("discovery is not that of Kubernetes 1.27 or newer: {error}"),
            })?;
        }
        let catalog = Arc::new(catalog);
        *self.catalog.lock() = Some(catalog.clone());
        Ok(Ok(catalog))
    }

    /// Tells errors apart as operators need it.
    pub(super) fn fault(&self, error: &(dyn Error + 'static)) -> Fault {
        if let Some(tls) = find::<rustls::Error>(error) {
            return of_tls(tls);
        }
        let reason = innermost(error);
        if let Some(kube::Error::Auth(_)) = find::<kube::Error>(error) {
            return Fault::Invalid { reason: format!("no login for {}: {reason}", self.address) };
        }
        match find::<io::Error>(error).map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => Fault::Refused { address: self.address.clone() },
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => Fault::Lost { reason },
            _ if find::<hyper::Error>(error)
                .is_some_and(|hyper| hyper.is_incomplete_message() || hyper.is_closed()) =>
            {
                Fault::Lost { reason }
            }
            _ => Fault::Unreachable { reason: format!("{}: {reason}", self.address) },
        }
    }
}

/// Returns the text of a warning (RFC 7234, 5.5: code, agent, quoted text).
fn unquoted(header: &str) -> String {
    let text = header.splitn(3, ' ').nth(2).unwrap_or(header).trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    text.replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_a_sentence() {
        assert_eq!(unquoted("299 - \"v1 \\\"X\\\" is deprecated\""), "v1 \"X\" is deprecated");
        assert_eq!(unquoted("odd"), "odd");
    }
}
