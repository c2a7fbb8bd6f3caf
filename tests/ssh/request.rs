//! A request that leaves before its channel is confirmed, and a connection that ends in between.
#![expect(clippy::disallowed_methods, reason = "the wire to the server is this test's own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nlrun::world::host::Endpoint;
use nlrun::world::transport::Fault;
use tokio::io::{self, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::enters;
use crate::support::sshd::Sshd;

/// With this cipher the lengths of packets can be read on the wire.
const CIPHER: &str = "Ciphers aes128-gcm@openssh.com";
/// The bytes after each of its packets.
const TAG: usize = 16;
/// SSH_MSG_NEWKEYS: what comes after it is encrypted.
const NEWKEYS: u8 = 21;
/// The length of SSH_MSG_USERAUTH_SUCCESS, of which no packet before it is: one byte, filled up.
const SUCCESS: u32 = 16;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Login,
    LoggedIn,
    /// The client has asked for a channel, and the server never hears of it.
    Opening,
    /// The client has sent more, on a channel that nobody has confirmed.
    Asked,
}

/// A wire to a real server that lets its announcement of host keys through when a channel is being opened, and is cut
/// as soon as a request follows.
struct Wire {
    port: u16,
    calls: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Wire {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Self { port, calls: Arc::default(), asked: Arc::default() };
        let (calls, asked) = (Arc::clone(&wire.calls), Arc::clone(&wire.asked));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                calls.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let asked = Arc::clone(&asked);
                tokio::spawn(async move {
                    if carry(client, server).await == Stage::Asked {
                        asked.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        wire
    }
}

/// Carries bytes until the connection is cut or ends by itself, and returns how far it came.
async fn carry(client: TcpStream, server: TcpStream) -> Stage {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let stage = watch::Sender::new(Stage::Login);
    tokio::select! {
        _ = up(from_client, to_server, &stage) => {}
        _ = down(from_server, to_client, &stage) => {}
    }
    *stage.borrow()
}

async fn up(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    stage: &watch::Sender<Stage>,
) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let count = client.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        let reached = *stage.borrow();
        match reached {
            Stage::Login => server.write_all(&bytes[..count]).await?,
            Stage::LoggedIn => drop(stage.send_replace(Stage::Opening)),
            Stage::Opening | Stage::Asked => {
                stage.send_replace(Stage::Asked);
                return Ok(());
            }
        }
    }
}

async fn down(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    stage: &watch::Sender<Stage>,
) -> io::Result<()> {
    let mut seen = stage.subscribe();
    let mut byte = 0;
    while byte != b'\n' {
        byte = server.read_u8().await?;
        client.write_u8(byte).await?;
    }
    let mut is_sealed = false;
    loop {
        let length = server.read_u32().await?;
        let mut packet = vec![0; length as usize + if is_sealed { TAG } else { 0 }];
        server.read_exact(&mut packet).await?;
        // The server says the next thing after the login unasked; it is not to come before the channel is being opened.
        let _ = seen.wait_for(|stage| *stage != Stage::LoggedIn).await;
        if is_sealed && length == SUCCESS {
            stage.send_replace(Stage::LoggedIn);
        }
        client.write_all(&[&length.to_be_bytes(), packet.as_slice()].concat()).await?;
        // The first byte of an open packet is the length of what fills it up.
        is_sealed |= packet[1] == NEWKEYS;
    }
}

#[tokio::test]
async fn a_request_that_was_sent_before_the_connection_ended_is_not_sent_on_a_new_one() {
    let Some(sshd) = Sshd::builder().config(CIPHER).start() else { return };
    let wire = Wire::to(sshd.port).await;
    let alias = Some(format!("[127.0.0.1]:{}", sshd.port));
    let endpoint = Endpoint { port: wire.port, host_key_alias: alias, ..sshd.endpoint() };
    let fault = enters(endpoint).await.unwrap_err();
    assert!(matches!(fault, Fault::Lost { .. }), "{fault:?}");
    let count = |number: &AtomicUsize| number.load(Ordering::SeqCst);
    assert_eq!(count(&wire.calls), 1, "the command may run, so nobody calls again");
    assert_eq!(count(&wire.asked), 1, "the request left before the channel was confirmed");
}
