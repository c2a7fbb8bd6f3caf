//! Cisco devices: one session a device for a whole run, and changes that can be taken back.
//!
//! What a device's bytes mean is decided in [`crate::cisco`]; here they are carried and waited for.

mod back;
mod change;
mod fault;
mod reading;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub use change::{Change, Fallback, Made};
pub use fault::{Fault, Trouble};
use session::Session;

use crate::cisco::Os;
use crate::world::cancel::unless;
use crate::world::host::{Endpoint, Hosts};
use crate::world::transport;

/// How long to wait before a device that takes no call is called again: its lines may be in use, or it slows down logins.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

/// A device, and how its session is begun.
#[derive(Clone)]
pub struct Device {
    /// Where it is and how to log in.
    pub endpoint: Arc<Endpoint>,
    /// Its system.
    pub os: Os,
    /// What `enable` asks for.
    pub enable: Option<Zeroizing<String>>,
    /// How long it may say nothing; none: as long as devices take.
    pub patience: Option<Duration>,
}

/// The sessions of a run, one a device. Clones share them.
#[derive(Clone)]
pub struct Devices {
    hosts: Hosts,
    slots: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>>,
}

#[derive(Default)]
struct Slot {
    session: Option<Session>,
    /// Why the device lets nobody in: a second try would be refused as well, and count towards a lock-out.
    refused: Option<Fault>,
}

/// The session of a device, which nothing else of the run uses meanwhile.
struct Held(OwnedMutexGuard<Slot>);

impl Held {
    fn session(&mut self) -> &mut Session {
        self.0.session.as_mut().expect("it was begun when this was made")
    }
}

impl Devices {
    /// Begins with none; connections are made by a pool of hosts.
    pub fn new(hosts: Hosts) -> Self {
        Self { hosts, slots: Arc::default() }
    }

    /// Takes a device's session, or begins it.
    async fn open(&self, device: &Device, cancel: &CancellationToken) -> Result<Held, Fault> {
        let slot = Arc::clone(self.slots.lock().entry(device.endpoint.name.clone()).or_default());
        let waiting = async { Ok(slot.lock_owned().await) };
        let mut slot = unless(cancel, Fault::from(transport::Fault::Cancelled), waiting).await?;
        if let Some(fault) = &slot.refused {
            return Err(fault.clone());
        }
        if let Some(mut session) = slot.session.take() {
            if session.resume(device.patience, cancel).await? {
                slot.session = Some(session);
                return Ok(Held(slot));
            }
            session.close().await;
        }
        match self.begin(device, cancel).await {
            Ok(session) => slot.session = Some(session),
            Err(fault) => {
                slot.refused = Some(fault.clone()).filter(Fault::is_final);
                return Err(fault);
            }
        }
        Ok(Held(slot))
    }

    /// Begins a session on a connection of its own.
    async fn begin(&self, device: &Device, cancel: &CancellationToken) -> Result<Session, Fault> {
        let mut pauses = PAUSES.iter();
        loop {
            let fault = match self.call(device, cancel).await {
                Ok(session) => return Ok(session),
                Err(fault) => fault,
            };
            let pause = if is_busy(&fault) { pauses.next() } else { None };
            let Some(pause) = pause else { return Err(fault) };
            rest(*pause, cancel).await?;
        }
    }

    async fn call(&self, device: &Device, cancel: &CancellationToken) -> Result<Session, Fault> {
        let connecting = async { self.hosts.terminal(&device.endpoint).await.map_err(Fault::from) };
        let tty = unless(cancel, transport::Fault::Cancelled.into(), connecting).await?;
        Session::begin(tty, device.os, device.enable.as_ref(), device.patience, cancel).await
    }

    /// Ends all sessions.
    pub async fn close(&self) {
        let slots: Vec<_> = self.slots.lock().drain().map(|(_, slot)| slot).collect();
        let closing = slots.into_iter().map(|slot| async move {
            let session = slot.lock().await.session.take();
            if let Some(session) = session {
                session.close().await;
            }
        });
        futures_util::future::join_all(closing).await;
    }
}

/// Waits; a cancelled run does not wait on.
async fn rest(time: Duration, cancel: &CancellationToken) -> Result<(), Fault> {
    let sleeping = async {
        tokio::time::sleep(time).await;
        Ok::<(), Fault>(())
    };
    unless(cancel, transport::Fault::Cancelled.into(), sleeping).await
}

/// Whether a device takes no call now and may take one soon. A refused login is never tried again.
fn is_busy(fault: &Fault) -> bool {
    match fault {
        Fault::Connection(transport::Fault::Refused { .. } | transport::Fault::Lost { .. }) => true,
        Fault::Connection(transport::Fault::Unreachable { reason }) => reason.contains("hung up"),
        _ => false,
    }
}
