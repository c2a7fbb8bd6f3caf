//! One handshake over a plain connection, step by step, so that what came before it failed is not lost.

use std::io;

use rustls::{ClientConnection, Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of what is no TLS that errors repeat.
const SHOWN: usize = 40;

/// How a handshake ended that did not succeed.
pub(super) enum Broken {
    Tls(Error),
    Lost(String),
    Late,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// Makes the handshake; `first` gets the first bytes that came.
pub(super) async fn shake(
    stream: &mut TcpStream,
    connection: &mut ClientConnection,
    first: &mut Vec<u8>,
) -> Result<(), Broken> {
    loop {
        flush(stream, connection).await?;
        if !connection.is_handshaking() {
            return Ok(());
        }
        if let Err(broken) = read(stream, connection, first).await? {
            // The server is told why.
            let _ = flush(stream, connection).await;
            return Err(broken);
        }
    }
}

/// Returns why a server refuses a client without a certificate, which in TLS 1.3 it says after the handshake.
pub(super) async fn refusal(stream: &mut TcpStream, connection: &mut ClientConnection) -> Option<Broken> {
    // A server that accepts the client sees that nothing follows, and ends the connection, too.
    connection.send_close_notify();
    if let Err(broken) = flush(stream, connection).await {
        return Some(broken.into());
    }
    loop {
        match read(stream, connection, &mut Vec::new()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return None,
            Ok(Err(broken)) => return Some(broken),
            Err(error) => return Some(error.into()),
        }
    }
}

pub(super) async fn flush(stream: &mut TcpStream, connection: &mut ClientConnection) -> io::Result<()> {
    while connection.wants_write() {
        let mut records = Vec::new();
        connection.write_tls(&mut records)?;
        stream.write_all(&records).await?;
    }
    Ok(())
}

/// Reads once; returns whether more can come.
async fn read(
    stream: &mut TcpStream,
    connection: &mut ClientConnection,
    first: &mut Vec<u8>,
) -> io::Result<Result<bool, Broken>> {
    let mut part = [0; 4096];
    let count = stream.read(&mut part).await?;
    if count == 0 && connection.is_handshaking() {
        return Ok(Err(Broken::Lost("the server ended the connection during the handshake".to_owned())));
    }
    let room = SHOWN.saturating_sub(first.len());
    first.extend_from_slice(&part[..count.min(room)]);
    let (mut unread, mut is_over) = (&part[..count], count == 0);
    while !unread.is_empty() {
        connection.read_tls(&mut unread)?;
        match connection.process_new_packets() {
            Ok(state) => is_over |= state.peer_has_closed(),
            Err(error) => return Ok(Err(Broken::Tls(error))),
        }
        // What a server says of itself is not what was asked for, and must not pile up.
        let _ = io::copy(&mut connection.reader(), &mut io::sink());
    }
    Ok(Ok(!is_over))
}

pub(super) fn no_tls(error: &Error, first: &[u8]) -> String {
    // A record begins with its type, 20 to 24, and version 3 (RFC 8446, 5.1).
    let is_tls = matches!(first, [20..=24, 3, ..]);
    if is_tls || first.is_empty() {
        return error.to_string();
    }
    format!("what answers does not speak TLS: it begins with `{}`", first.escape_ascii())
}
