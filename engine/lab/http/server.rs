//! A small HTTP server: one thread for each program of the lab, which ends when it is dropped.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use url::form_urlencoded;

/// Bytes of a request's body.
const MOST: usize = 4 << 20;

/// One request.
pub(in crate::lab) struct Asked {
    pub(in crate::lab) method: String,
    pub(in crate::lab) path: String,
    pub(in crate::lab) query: Vec<(String, String)>,
    headers: http::HeaderMap,
    pub(in crate::lab) body: Vec<u8>,
}

impl Asked {
    /// Returns the first header of a name.
    pub(in crate::lab) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns what the query says of a name.
    pub(in crate::lab) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads the body as JSON.
    pub(in crate::lab) fn json(&self) -> Option<Value> {
        let media = self.header("content-type")?;
        media.starts_with("application/json").then(|| serde_json::from_slice(&self.body).ok())?
    }

    /// Returns the path's segments.
    pub(in crate::lab) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }
}

/// What becomes of an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Sent,
    /// It never comes, and the connection stays open.
    Held,
    /// The connection ends before it.
    Dropped,
}

/// One answer.
pub(in crate::lab) struct Answer {
    status: u16,
    reason: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    after: Duration,
    fate: Fate,
}

impl Answer {
    /// Answers with JSON.
    pub(in crate::lab) fn json(status: u16, value: &Value) -> Self {
        Self {
            body: value.to_string().into_bytes(),
            headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
            ..Self::empty(status)
        }
    }

    /// Answers with text.
    pub(in crate::lab) fn text(status: u16, text: &str) -> Self {
        Self {
            body: text.as_bytes().to_vec(),
            headers: vec![("content-type", "text/html".to_owned())],
            ..Self::empty(status)
        }
    }

    /// Answers with nothing but a status.
    pub(in crate::lab) fn empty(status: u16) -> Self {
        Self {
            status,
            reason: None,
            headers: Vec::new(),
            body: Vec::new(),
            after: Duration::ZERO,
            fate: Fate::Sent,
        }
    }

    /// Says something of its own behind the status.
    pub(in crate::lab) fn reason(self, words: &str) -> Self {
        Self { reason: Some(words.to_owned()), ..self }
    }

    /// Adds a header.
    pub(in crate::lab) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Takes some time.
    pub(in crate::lab) fn after(self, pause: Duration) -> Self {
        Self { after: self.after + pause, ..self }
    }

    /// Never comes.
    pub(in crate::lab) fn held(self) -> Self {
        Self { fate: Fate::Held, ..self }
    }

    /// Is lost with its connection.
    pub(in crate::lab) fn dropped(self) -> Self {
        Self { fate: Fate::Dropped, ..self }
    }
}

/// What a program says to a request.
pub(in crate::lab) trait Face: Send + Sync {
    fn answer(&self, asked: &Asked) -> Answer;
}

/// A port of a program.
pub(in crate::lab) struct Port {
    pub(in crate::lab) at: SocketAddr,
    pub(in crate::lab) tls: Option<ServerConfig>,
    pub(in crate::lab) face: Arc<dyn Face>,
}

/// A running program; it ends with this value.
pub(in crate::lab) struct Running {
    /// Where it listens, in the order of its ports.
    pub(in crate::lab) addresses: Vec<SocketAddr>,
    over: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Listens on every port, on a thread of its own: who starts a program need not know of tokio.
pub(in crate::lab) fn start(name: &str, ports: Vec<Port>) -> io::Result<Running> {
    let (mut addresses, mut listeners) = (Vec::new(), Vec::new());
    for port in ports {
        let listener = TcpListener::bind(port.at)?;
        listener.set_nonblocking(true)?;
        addresses.push(listener.local_addr()?);
        listeners.push((listener, port));
    }
    let (over, ended) = oneshot::channel();
    let serve = async move {
        for (listener, port) in listeners {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            tokio::spawn(listen(listener, port));
        }
        // Nothing is ever sent: the other end is dropped.
        let _ = ended.await;
    };
    // After what may fail: a runtime must not be dropped on a thread that is in another one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(format!("lab-{name}"));
    let thread = thread.spawn(move || runtime.block_on(serve))?;
    Ok(Running { addresses, over: Some(over), thread: Some(thread) })
}

async fn listen(listener: tokio::net::TcpListener, port: Port) {
    let tls = port.tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (tls, face) = (tls.clone(), port.face.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(stream, face).await,
                // A client that only looks at the certificate ends here.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, face).await;
                    }
                }
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, face: Arc<dyn Face>) {
    let service = service_fn(move |request| -> Pin<Box<dyn Future<Output = _> + Send>> {
        Box::pin(respond(request, face.clone()))
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    request: hyper::Request<Incoming>,
    face: Arc<dyn Face>,
) -> io::Result<hyper::Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MOST).collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        Err(error) if error.is::<LengthLimitError>() => {
            let too_large = hyper::Response::builder().status(413).body(Full::default());
            return too_large.map_err(io::Error::other);
        }
        Err(_) => return Err(io::ErrorKind::InvalidData.into()),
    };
    let query = head.uri.query().unwrap_or_default();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: head.headers,
        body,
    };
    let answer = face.answer(&asked);
    tokio::time::sleep(answer.after).await;
    match answer.fate {
        Fate::Sent => {}
        Fate::Held => std::future::pending().await,
        Fate::Dropped => return Err(io::ErrorKind::ConnectionReset.into()),
    }
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let wrong = |_| io::Error::from(io::ErrorKind::InvalidData);
    let mut response = response.body(Full::new(answer.body.into())).map_err(wrong)?;
    if let Some(reason) = answer.reason {
        let reason = ReasonPhrase::try_from(reason.into_bytes()).map_err(|_| io::ErrorKind::InvalidData)?;
        response.extensions_mut().insert(reason);
    }
    Ok(response)
}
