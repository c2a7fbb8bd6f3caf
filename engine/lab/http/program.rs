//! A program of the lab with one API behind TLS: its state, and what every request does to it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::Identity;
use super::server::{self, Answer, Asked, Face, Port, Running};
use super::shown::Shown;

/// A running program; it ends with this value.
pub struct Program<S> {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<S>>,
    _running: Running,
}

/// What a program says to a request.
pub(super) trait Api: Send + 'static {
    fn answer(&mut self, asked: &Asked) -> Answer;
}

impl<S> Program<S> {
    /// Starts a program that shows `own` until its state shows something else.
    pub(super) fn run(
        name: &str,
        at: SocketAddr,
        own: &Identity,
        state: impl FnOnce(Shown) -> S,
    ) -> io::Result<Self>
    where
        S: Api,
    {
        let shown = Shown::new(own.load().map_err(io::Error::other)?);
        let tls = Some(shown.server().map_err(io::Error::other)?);
        let state = Arc::new(Mutex::new(state(shown)));
        let running = server::start(name, vec![Port { at, tls, face: Arc::new(Behind(state.clone())) }])?;
        Ok(Self { address: running.addresses[0], state, _running: running })
    }

    /// Looks into it, and changes it behind its back.
    pub fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock()
    }
}

struct Behind<S>(Arc<Mutex<S>>);

impl<S: Api> Face for Behind<S> {
    fn answer(&self, asked: &Asked) -> Answer {
        self.0.lock().answer(asked)
    }
}
