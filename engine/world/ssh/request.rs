//! A request to run a command, which goes out with the connection's first channel where that can be.
//!
//! A command takes two round trips: open a channel, ask on it. OpenSSH announces its host keys between a login and its
//! answer to our first channel; that is the moment to ask on the channel whose number is known before it is told.

use std::sync::Arc;

use parking_lot::Mutex;
use russh::ChannelId;
use russh::client::Session;
use russh::keys::ssh_encoding::Decode as _;

/// The text of a command, which is sent once by whoever comes first.
#[derive(Debug, Clone)]
pub(crate) struct Request(Arc<Mutex<Option<String>>>);

/// russh's number for the first channel of a connection.
const FIRST: u32 = 2;

impl Request {
    /// Prepares to ask for this.
    pub(crate) fn new(text: String) -> Self {
        Self(Arc::new(Mutex::new(Some(text))))
    }

    /// Takes the text for sending it; `None` when it was sent.
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().take()
    }

    /// Whether it was sent, so that nobody knows whether the command runs.
    pub(crate) fn is_sent(&self) -> bool {
        self.0.lock().is_none()
    }

    /// Asks on the first channel, which is being opened.
    ///
    /// russh addresses a channel by 0 until the server tells its number, and 0 is what OpenSSH calls its first session
    /// (channels.c, `channel_new`). A channel that is not there yet has no window; then nothing is sent.
    pub(super) fn send_on_first(&self, session: &mut Session) -> Result<(), russh::Error> {
        let Ok(first) = ChannelId::decode(&mut FIRST.to_be_bytes().as_slice()) else { return Ok(()) };
        if !session.remote_sshid().starts_with(b"SSH-2.0-OpenSSH_") || session.sender_window_size(first) == 0
        {
            return Ok(());
        }
        match self.take() {
            Some(text) => session.exec(first, true, text.as_bytes()),
            None => Ok(()),
        }
    }
}
