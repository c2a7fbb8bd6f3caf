//! HTTP: one exchange at a time, with limits; the only code that makes requests.
//!
//! Nothing is repeated and no redirect is followed here: whether that may be is for the gate to say.

mod client;
mod fault;
pub mod retry;
mod stream;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

pub use client::Http;
pub use fault::Fault;
pub(in crate::world) use fault::{find, innermost, of_tls};
pub use stream::Stream;

pub use crate::world::tls::TlsCause;

use crate::world::cancel::unless;

/// How long a connection may take, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// Those that this machine's certificate authorities vouch for.
    #[default]
    System,
    /// Those that these vouch for, in PEM, and no others.
    Roots(Arc<[u8]>),
    /// The one with this SHA-256, whoever signed it.
    Pin([u8; 32]),
}

/// One request, as it goes out.
#[derive(Clone)]
pub struct Request {
    /// The method, in upper case.
    pub method: String,
    /// Where to.
    pub url: Url,
    /// Names and values; a value may be secret.
    pub headers: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// The body; `None` sends none.
    pub body: Option<Arc<Zeroizing<Vec<u8>>>>,
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// The name for TLS and the `Host` header, where it is not the one in the URL.
    pub server_name: Option<String>,
    /// Bytes of the answer's body, decoded.
    pub max_bytes: usize,
    /// When the answer must be there.
    pub deadline: Instant,
    /// The limit that this was made from, for words.
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// What the server says behind the status, where that is not what the status is called (HTTP/1.1 only).
    pub reason: Option<String>,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body, decoded.
    pub body: Vec<u8>,
}

impl Reply {
    /// Returns the first header of a name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Returns what a status code is called (RFC 9110, 15), or nothing.
pub fn status_words(status: u16) -> &'static str {
    reqwest::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
}

impl Http {
    /// Makes one exchange; a cancelled run does not wait for its end.
    pub async fn exchange(&self, request: &Request, cancel: &CancellationToken) -> Result<Reply, Fault> {
        let limited = async {
            match timeout_at(request.deadline, self.ask(request)).await {
                Ok(result) => result,
                Err(_) => Err(Fault::TimedOut { seconds: request.timeout.as_secs_f64() }),
            }
        };
        unless(cancel, Fault::Cancelled, limited).await
    }

    async fn ask(&self, request: &Request) -> Result<Reply, Fault> {
        let builder = self.prepare(request)?;
        let response = builder.send().await.map_err(|error| Fault::of(&error, &request.url))?;
        read(response, request).await
    }

    fn prepare(&self, request: &Request) -> Result<RequestBuilder, Fault> {
        let client = self.client(request)?;
        let invalid = |reason: &str| Fault::Invalid { reason: reason.to_owned() };
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("no such method"))?;
        let mut url = request.url.clone();
        if let Some(name) = &request.server_name {
            url.set_host(Some(name)).map_err(|_| invalid("`sni` is not a name of a host"))?;
        }
        let mut builder = client.request(method, url);
        for (name, value) in &request.headers {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid(&format!("`{name}` is not a name of a header")))?;
            let mut value = HeaderValue::from_bytes(value).map_err(|_| {
                invalid(&format!("the value of header `{name}` holds line breaks or the like"))
            })?;
            value.set_sensitive(true);
            builder = builder.header(header, value);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.to_vec());
        }
        Ok(builder)
    }
}

/// Reads an answer to its end, or to the limit.
async fn read(mut response: Response, request: &Request) -> Result<Reply, Fault> {
    let status = response.status().as_u16();
    let reason = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| Fault::of(&error, &request.url))? {
        if body.len() + part.len() > request.max_bytes {
            return Err(Fault::TooLarge { limit: request.max_bytes as u64 });
        }
        body.extend_from_slice(&part);
    }
    Ok(Reply { status, reason, headers, body })
}
