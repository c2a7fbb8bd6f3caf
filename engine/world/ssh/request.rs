//! A request to run a command, which goes out with the connection's first channel where that can be.
//!
//! A command takes two round trips: open a channel, ask on it. OpenSSH announces its host keys between a login and its
//! answer to our first channel; that is the moment to ask on the channel whose number is known before it is told.

use std::sync::Arc;

use parking_lot::Mutex;
use russh::ChannelId;
use russh::client::Session;
use russh::keys::ssh_encoding::Decode as _;

/// The text of a command, which is sent once, by whoever comes first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request(Arc<Mutex<Stage>>);

#[derive(Debug, Default)]
enum Stage {
    /// What to ask depends on the server, which is not known yet.
    #[default]
    Unwritten,
    Written(String),
    Sent,
    Withdrawn,
}

/// russh's number for the first channel of a connection.
const FIRST: u32 = 2;

impl Request {
    /// Writes down what to ask, unless it was sent or withdrawn.
    pub(super) fn write(&self, text: String) {
        let mut stage = self.0.lock();
        if matches!(*stage, Stage::Unwritten | Stage::Written(_)) {
            *stage = Stage::Written(text);
        }
    }

    /// Takes the text for sending it; `None` when there is nothing to send any more.
    pub(super) fn take(&self) -> Option<String> {
        let mut stage = self.0.lock();
        match std::mem::replace(&mut *stage, Stage::Sent) {
            Stage::Written(text) => Some(text),
            other => {
                *stage = other;
                None
            }
        }
    }

    /// Whether it was sent, so that nobody knows whether the command runs.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(*self.0.lock(), Stage::Sent)
    }

    /// Takes it back; `false` when it was sent.
    pub(crate) fn withdraw(&self) -> bool {
        let mut stage = self.0.lock();
        if !matches!(*stage, Stage::Sent) {
            *stage = Stage::Withdrawn;
        }
        matches!(*stage, Stage::Withdrawn)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_once_or_taken_back() {
        let request = Request::default();
        assert_eq!((request.take(), request.is_sent()), (None, false));
        request.write("a".to_owned());
        request.write("b".to_owned());
        assert_eq!(request.clone().take(), Some("b".to_owned()));
        assert!(request.is_sent() && !request.withdraw());
        request.write("c".to_owned());
        assert_eq!(request.take(), None);

        let request = Request::default();
        request.write("a".to_owned());
        assert!(request.withdraw() && !request.is_sent());
        assert_eq!(request.take(), None);
    }
}
