//! A server for HTTP on loopback whose answers are JSON.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The largest body that is read.
const LARGEST: usize = 4 << 20;

/// A request, read whole.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, without what follows `?`.
    pub path: String,
    /// What follows `?`.
    pub query: String,
    /// The headers; names in lower case.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A status, and what is said with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; nothing for `204`.
    pub body: Option<Value>,
}

/// Answers requests until this is dropped; connections end with it.
pub async fn serve(listener: TcpListener, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
    let answer = Arc::new(answer);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let answer = answer.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| exchange(answer.clone(), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn exchange(
    answer: Arc<impl Fn(&Request) -> Answer>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let told = match Limited::new(body, LARGEST).collect().await {
        Ok(body) => answer(&Request {
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: body.to_bytes(),
        }),
        Err(_) => Answer { status: 413, body: None },
    };
    let bytes = told.body.map(|body| format!("{body}\n").into_bytes()).unwrap_or_default();
    let mut response = hyper::Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() =
        http::StatusCode::from_u16(told.status).expect("the lab answers with known statuses");
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    headers.insert("cache-control", http::HeaderValue::from_static("no-store"));
    Ok(response)
}
