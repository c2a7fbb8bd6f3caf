//! Gives loopback hosts a distance: a TCP proxy that holds each byte back for a fixed time.
//!
//! `delayproxy --near 127.0.2 --far 127.0.1 --count 10 --delay 25` makes 127.0.2.1 to 127.0.2.10 the hosts
//! 127.0.1.1 to 127.0.1.10 with a round trip of 50 ms. What a job then takes longer, divided by that, is its number of round trips.
//! The proxy acknowledges at once on both sides, so waits for delayed ACKs are not counted.

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use rustix::net::sockopt::set_tcp_quickack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

#[derive(Parser)]
struct Options {
    /// First three bytes of the addresses to listen on.
    #[arg(long, default_value = "127.0.2")]
    near: String,
    /// First three bytes of the hosts' addresses.
    #[arg(long, default_value = "127.0.1")]
    far: String,
    #[arg(long, default_value_t = 1)]
    count: u8,
    #[arg(long, default_value_t = 2222)]
    port: u16,
    /// Milliseconds one way.
    #[arg(long, default_value_t = 25)]
    delay: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let delay = Duration::from_millis(options.delay);
    for number in 1..=options.count {
        let listener = TcpListener::bind((format!("{}.{number}", options.near), options.port)).await?;
        tokio::spawn(serve(listener, format!("{}.{number}:{}", options.far, options.port), delay));
    }
    std::future::pending().await
}

async fn serve(listener: TcpListener, far: String, delay: Duration) {
    while let Ok((near, _)) = listener.accept().await {
        let far = far.clone();
        tokio::spawn(async move {
            // The handshake of a real connection would take its own round trip.
            sleep(2 * delay).await;
            #[expect(clippy::disallowed_methods, reason = "the proxy is no part of the engine")]
            let far = TcpStream::connect(far).await?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            tokio::join!(carry(near_read, far_write, delay), carry(far_read, near_write, delay));
            Ok::<(), std::io::Error>(())
        });
    }
}

/// Carries bytes one way; an error on either side ends this direction as the end of the stream does.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let quick = set_tcp_quickack(from.as_ref(), true);
            match from.read(&mut buffer).await {
                Ok(count @ 1..) if quick.is_ok() => {
                    if queue.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = queued.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // An error means that the other side has closed already, which is what this asks for.
        to.shutdown().await.ok();
    };
    tokio::join!(read, write);
}
