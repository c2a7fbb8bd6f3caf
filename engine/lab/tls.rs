//! A server for HTTPS that shows a certificate and answers every request with one page.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long a client may take for its handshake and its request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head of a request.
const LONGEST: usize = 16 * 1024;

/// What a server shows and says.
#[derive(Debug, Clone)]
pub struct Face {
    /// The certificate with its key.
    pub config: Arc<ServerConfig>,
    /// The page.
    pub page: String,
}

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// There is no certificate in the text, or something that is none.
    #[error("no certificate in PEM")]
    Certificate,
    /// There is no key in the text.
    #[error("no private key in PEM")]
    Key,
    /// The key is another certificate's, or the certificate cannot be used.
    #[error(transparent)]
    Pair(#[from] rustls::Error),
}

impl Face {
    /// Makes a face of certificate and key in PEM; with `clients`, it wants a certificate of theirs.
    pub fn new(chain: &[u8], key: &[u8], clients: Option<&[u8]>, page: &str) -> Result<Self, FaceError> {
        let read = |pem: &[u8]| {
            CertificateDer::pem_slice_iter(pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| FaceError::Certificate)
        };
        let certificates = read(chain)?;
        if certificates.is_empty() {
            return Err(FaceError::Certificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| FaceError::Key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(read(clients)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .map_err(|_| FaceError::Certificate)?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        Ok(Self { config: Arc::new(builder.with_single_cert(certificates, key)?), page: page.to_owned() })
    }
}

/// Serves until this is dropped; each connection gets the face of the moment it was made.
pub async fn serve(listener: TcpListener, face: watch::Receiver<Face>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let face = face.borrow().clone();
                connections.spawn(async move { timeout(PATIENCE, talk(socket, face)).await });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn talk(socket: TcpStream, face: Face) -> std::io::Result<()> {
    let mut stream = TlsAcceptor::from(face.config).accept(socket).await?;
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        head.extend_from_slice(&piece[..count]);
        if head.len() > LONGEST {
            return stream.shutdown().await;
        }
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\nServer: lab\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        face.page.len(),
        face.page
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
