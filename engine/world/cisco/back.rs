//! The way back of a change that failed, and what to say of it.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::change::{Change, commands};
use super::fault::{Fault, Trouble};
use super::reading::{differs, some};
use super::session::{Pace, Session};
use super::{Device, Devices};
use crate::cisco::{Mode, Os, Undo, diff, typed, undo};

/// How long a cancelled run still works on it; the gate gives it ten seconds.
const CANCELLED: Duration = Duration::from_secs(8);
/// How long a device may take to bring its configuration back after its timer has ended.
const MARGIN: Duration = Duration::from_secs(90);
/// How often a device that cannot be reached is called meanwhile.
const CALLS: Duration = Duration::from_secs(5);

/// What takes a change back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WayBack {
    /// The device does, when nobody confirms in time.
    Timer { minutes: u32, since: Instant },
    /// A reload, to what was saved.
    Reload { minutes: u32 },
    /// Commands that undo it, worked out from what is there then.
    Commands,
}

impl WayBack {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Timer { .. } => "timer",
            Self::Reload { .. } => "reload",
            Self::Commands => "commands",
        }
    }
}

impl Devices {
    /// Takes back what was begun, and says what came of that.
    pub(super) async fn take_back(
        &self,
        device: &Device,
        change: &Change,
        done: usize,
        way_back: &WayBack,
        fault: Fault,
    ) -> Trouble {
        let why = if fault.is_cancelled() {
            "cancelled in the middle of a change".to_owned()
        } else {
            fault.to_string()
        };
        let going = async {
            match way_back {
                WayBack::Timer { minutes, since } => {
                    self.by_timer(device, change, done, (*minutes, *since)).await
                }
                WayBack::Commands => self.by_commands(device, change, Some(done)).await,
                WayBack::Reload { .. } => match self.by_commands(device, change, Some(done)).await {
                    Ok(how) => self.call_off(device).await.map(|()| how),
                    failed => failed,
                },
            }
        };
        let came = if fault.is_cancelled() {
            timeout(CANCELLED, going).await.unwrap_or_else(|_| Err(no_time()))
        } else {
            going.await
        };
        let left = |problem: &Fault| {
            let rest = match way_back {
                WayBack::Timer { minutes, .. } => {
                    format!(
                        "its revert timer brings it back at most {minutes} min after the change was begun"
                    )
                }
                WayBack::Reload { minutes } => {
                    format!(
                        "a reload brings back what was saved at most {minutes} min after the change was begun"
                    )
                }
                WayBack::Commands => {
                    format!(
                        "a part or all of these commands is in its running configuration, nothing of it is saved: {}",
                        commands(&change.commands)
                    )
                }
            };
            format!("what was begun could not be taken back: {problem}; {rest}")
        };
        match came {
            Ok(how) => Trouble::RolledBack { why, how },
            Err(problem) => Trouble::LeftChanged { why, how: left(&problem) },
        }
    }

    /// Lets the device bring its configuration back: at once where it can be told to, else by its timer.
    async fn by_timer(
        &self,
        device: &Device,
        change: &Change,
        done: usize,
        (minutes, since): (u32, Instant),
    ) -> Result<String, Fault> {
        let never = CancellationToken::new();
        let end = since + Duration::from_secs(u64::from(minutes) * 60) + MARGIN;
        loop {
            let problem = match self.revert(device, change, done, &never).await {
                Ok(how) => return Ok(how),
                // It answers, and nothing is left that it could take back.
                Err(problem @ Fault::Device(Trouble::Unverified { .. })) => return Err(problem),
                Err(problem) if Instant::now() >= end => return Err(problem),
                Err(problem) => problem,
            };
            tracing::info!(device = device.endpoint.name, %problem, "waiting for its revert timer");
            if problem.is_final() {
                // The change may have taken the login away: nobody knocks until the device has brought it back.
                tokio::time::sleep_until(end).await;
                self.forgive(device).await;
            } else {
                tokio::time::sleep(CALLS).await;
            }
        }
    }

    async fn revert(
        &self,
        device: &Device,
        change: &Change,
        done: usize,
        never: &CancellationToken,
    ) -> Result<String, Fault> {
        let mut held = self.recover(device, never).await?;
        let session = held.session();
        session.outlive();
        if session.pending(device.os).await?.is_none() {
            if back_again(session, device.os, change, &[]).await.is_ok() {
                return Ok("the device's revert timer has brought back what ran before".to_owned());
            }
            // It ended while commands were still typed: what came behind it is there.
            drop(held);
            let undone = self.by_commands(device, change, None).await?;
            return Ok(format!("its revert timer had ended in the middle; {undone}"));
        }
        // A timer knows of no others: what they have changed since it was set goes, too, and they have to be told.
        let now = session.running(device.os).await?;
        let others = undo(device.os, &change.before, &change.commands, done, &now);
        let others = others.map(|undo| undo.others).unwrap_or_default();
        session.order("configure revert now", Pace::Slow).await?;
        let stays = back_again(session, device.os, change, &others).await?;
        let how = "the device was told to bring back what ran before, and has it again";
        if others.is_empty() {
            return Ok(how.to_owned());
        }
        let fate = if stays { "stays" } else { "is gone as well" };
        Ok(format!("{how}; what somebody else has changed meanwhile {fate}: {}", some(&others)))
    }

    /// Undoes what is there of the change, by commands worked out from what the device shows now; what others have changed stays.
    ///
    /// Where it is not known what was done in which order, all is undone that is another than before.
    async fn by_commands(
        &self,
        device: &Device,
        change: &Change,
        done: Option<usize>,
    ) -> Result<String, Fault> {
        let never = CancellationToken::new();
        let mut held = self.recover(device, &never).await?;
        let session = held.session();
        session.outlive();
        let now = session.running(device.os).await?;
        let undo = match done {
            Some(done) => undo(device.os, &change.before, &change.commands, done, &now),
            None => diff(device.os, &now, &change.before).map(|plan| Undo { plan, others: Vec::new() }),
        };
        let undo =
            undo.map_err(|error| Trouble::Unusable { reason: format!("no commands undo it: {error}") })?;
        let lines = undo.plan.commands().map(typed).collect::<Result<Vec<_>, _>>();
        let lines = lines.map_err(|reason| Trouble::Unusable { reason })?;
        if !lines.is_empty() {
            session.enter("configure terminal").await?;
            session.send(device.os, &lines, &never).await.map_err(|(_, fault)| fault)?;
            back_again(session, device.os, change, &undo.others).await?;
        }
        let how = match lines.len() {
            0 => "nothing of it is in the running configuration".to_owned(),
            1 => "one command has undone what was begun".to_owned(),
            count => format!("{count} commands have undone what was begun"),
        };
        if undo.others.is_empty() {
            return Ok(format!("{how}; the device is as it was before"));
        }
        Ok(format!("{how}; what somebody else has changed meanwhile stays: {}", some(&undo.others)))
    }

    /// Lets a device take back a change that waits for its confirmation; says whether there was one.
    pub async fn revert_now(&self, device: &Device, cancel: &CancellationToken) -> Result<bool, Fault> {
        let mut held = self.open(device, cancel).await?;
        let session = held.session();
        let is_pending = session.pending(device.os).await?.is_some();
        if is_pending {
            session.order("configure revert now", Pace::Slow).await?;
        }
        Ok(is_pending)
    }

    async fn call_off(&self, device: &Device) -> Result<(), Fault> {
        let mut held = self.open(device, &CancellationToken::new()).await?;
        held.session().order("reload cancel", Pace::Ordinary).await.map(drop)
    }

    /// Forgets that a device lets nobody in.
    async fn forgive(&self, device: &Device) {
        let slot = self.slots.lock().get(&device.endpoint.name).cloned();
        if let Some(slot) = slot {
            slot.lock().await.refused = None;
        }
    }

    /// Takes the session out of configuration mode, or begins another one.
    async fn recover(&self, device: &Device, never: &CancellationToken) -> Result<super::Held, Fault> {
        {
            let slot = self.slots.lock().get(&device.endpoint.name).cloned();
            if let Some(slot) = slot {
                let mut slot = slot.lock().await;
                // One that hangs or is over is given up.
                let stays =
                    |session: &&mut Session| session.is_sound() && session.mode() == Mode::Configuration;
                if let Some(session) = slot.session.as_mut().filter(stays) {
                    session.outlive();
                    let _ = session.leave().await;
                }
            }
        }
        self.open(device, never).await
    }
}

/// Demands that the device runs what it ran before, but for what others have changed; says whether that is there.
async fn back_again(
    session: &mut Session,
    os: Os,
    change: &Change,
    others: &[String],
) -> Result<bool, Fault> {
    let now = session.running(os).await?;
    let Some(difference) = differs(os, &now, &change.before) else { return Ok(false) };
    let left = undo(os, &change.before, &[], 0, &now).map(|undo| undo.others);
    if !others.is_empty() && left.is_ok_and(|left| left == others) {
        return Ok(true);
    }
    let reason = format!("it does not run what it ran before; {difference}");
    Err(Trouble::Unverified { reason }.into())
}

fn no_time() -> Fault {
    Trouble::TimedOut {
        seconds: CANCELLED.as_secs(),
        doing: "what was begun was taken back".to_owned(),
        screen: String::new(),
    }
    .into()
}
