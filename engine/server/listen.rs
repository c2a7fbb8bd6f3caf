//! Connections: taken, with TLS where there is a certificate, and served with limits on what a silent client holds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::server::patience::{Patient, Timely};
use crate::service::Patience;
use crate::world::tls::files::Files;

/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// Connections at once; the next one waits.
const MOST: usize = 2000;
/// How long connections have to end when the server does.
const GRACE: Duration = Duration::from_secs(5);

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Whether it speaks TLS with this server itself.
    pub(crate) is_tls: bool,
}

/// Serves connections until `ended` is done, and then for a few seconds those that are open.
pub(super) async fn listen(
    listener: TcpListener,
    tls: Option<Arc<Files>>,
    router: Router,
    patience: Patience,
    ended: impl Future<Output = ()>,
) {
    let service = TowerToHyperService::new(router);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MOST));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(LONGEST_HEAD);
    tokio::pin!(ended);
    loop {
        let place = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = place => next,
            () = &mut ended => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly a lack of descriptors, which passes.
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = Connection {
            http: http.clone(),
            service: service.clone(),
            watcher: graceful.watcher(),
            patience,
        };
        let tls = tls.clone();
        tokio::spawn(async move {
            let _place = place;
            let _ = stream.set_nodelay(true);
            match tls {
                Some(files) => connection.serve_tls(stream, address, &files).await,
                None => connection.serve(stream, Peer { address, is_tls: false }).await,
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

struct Connection {
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    watcher: hyper_util::server::graceful::Watcher,
    patience: Patience,
}

impl Connection {
    async fn serve_tls(self, stream: TcpStream, address: SocketAddr, files: &Files) {
        let agreed = TlsAcceptor::from(files.config()).accept(stream);
        match tokio::time::timeout(HANDSHAKE, agreed).await {
            Ok(Ok(stream)) => self.serve(stream, Peer { address, is_tls: true }).await,
            Ok(Err(error)) => tracing::debug!(%error, %address, "no TLS"),
            Err(_) => tracing::debug!(%address, "no TLS in time"),
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let (service, Patience { body, answer, .. }) = (self.service, self.patience);
        let stream = TokioIo::new(Patient::new(stream, answer));
        let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            service.call(request.map(|incoming| Timely::new(incoming, body)))
        });
        let connection = self.http.serve_connection(stream, answer);
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%error, address = %peer.address, "a connection broke off");
        }
    }
}
