//! A terminal on a device: bytes to it and from it, on a connection of its own.

use std::sync::Arc;

use hyper::body::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

use super::connection::{Connection, Lease};
use super::request::Request;
use crate::world::transport::Fault;

/// Columns of the terminal: devices that believe it break no line.
const COLUMNS: u32 = 511;
/// Lines of a page; a device that goes by it shows no page's end at all.
const ROWS: u32 = 0;

/// An open terminal. Network gear often allows one a connection, so it has the connection to itself.
pub(crate) struct Tty {
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    connection: Arc<Connection>,
    /// What came while the terminal was asked for.
    early: Option<Bytes>,
}

impl Tty {
    /// Asks for a terminal and a shell on it.
    pub(crate) async fn open(connection: Arc<Connection>) -> Result<Self, Fault> {
        let Lease { mut channel, permit: _ } = connection.lease(&Request::default()).await?;
        let lost = |_| connection.lost();
        let mut early = Vec::new();
        channel.request_pty(true, "vt100", COLUMNS, ROWS, 0, 0, &[]).await.map_err(lost)?;
        granted(&mut channel, &connection, &mut early, "a terminal").await?;
        channel.request_shell(true).await.map_err(lost)?;
        granted(&mut channel, &connection, &mut early, "a session at a terminal").await?;
        let (read, write) = channel.split();
        let early = Some(Bytes::from(early)).filter(|bytes| !bytes.is_empty());
        Ok(Self { read, write, connection, early })
    }

    /// Sends bytes.
    pub(crate) async fn send(&self, bytes: Vec<u8>) -> Result<(), Fault> {
        self.write.data_bytes(bytes).await.map_err(|_| self.connection.lost())
    }

    /// Waits for bytes; the end of the session is a fault.
    pub(crate) async fn receive(&mut self) -> Result<Bytes, Fault> {
        if let Some(early) = self.early.take() {
            return Ok(early);
        }
        loop {
            match self.read.wait().await {
                Some(ChannelMsg::Data { data }) => return Ok(data),
                Some(ChannelMsg::ExtendedData { data, .. }) => return Ok(data),
                Some(ChannelMsg::Eof | ChannelMsg::Close) => {
                    return Err(Fault::Lost { reason: "the device ended the session".to_owned() });
                }
                None => return Err(self.connection.lost()),
                Some(_) => {}
            }
        }
    }

    /// Ends the session and its connection.
    pub(crate) async fn close(self) {
        let _ = self.write.close().await;
        self.connection.close().await;
    }
}

async fn granted(
    channel: &mut Channel<Msg>,
    connection: &Connection,
    early: &mut Vec<u8>,
    what: &str,
) -> Result<(), Fault> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Data { data }) => early.extend_from_slice(&data),
            Some(ChannelMsg::Failure | ChannelMsg::Eof | ChannelMsg::Close) => {
                return Err(Fault::Protocol { reason: format!("the device gives us no {}", &what[2..]) });
            }
            None => return Err(connection.lost()),
            Some(_) => {}
        }
    }
}
