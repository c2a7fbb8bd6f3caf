//! A change: a way back first, then line by line, then a new login, a new reading, and only then kept.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::back::WayBack;
use super::fault::{Fault, Trouble};
use super::reading::{differs, some};
use super::session::{Pace, Session, one_line};
use super::{Device, Devices};
use crate::cisco::{Command, Mode, Os, masked, typed};
use crate::world::transport;

/// A change of a device's configuration.
#[derive(Clone)]
pub struct Change {
    /// What ran when the commands were worked out, with its secrets.
    pub before: String,
    /// The commands, in order.
    pub commands: Vec<Command>,
    /// What is to run afterwards.
    pub intended: String,
    /// Why commands of ours may not be able to take it back, so that the device has to do it by itself.
    pub peril: Option<String>,
    /// How long the device waits for a confirmation before it takes the change back by itself.
    pub confirm: Duration,
    /// What to do on a device that takes nothing back by itself.
    pub fallback: Fallback,
    /// Whether it is saved in the end.
    pub save: bool,
}

/// What to do where a change may cut off access and the device takes nothing back by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Refuse.
    Refuse,
    /// Order a reload, which is cancelled when all is well.
    Reload,
    /// Go without.
    Go,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What would have taken it back: `timer`, `reload` or `commands`.
    pub way_back: &'static str,
    /// What the device said that is worth knowing.
    pub notices: Vec<String>,
}

impl Devices {
    /// Makes a change, or takes back what was begun of it and says so.
    pub async fn change(
        &self,
        device: &Device,
        change: &Change,
        cancel: &CancellationToken,
    ) -> Result<Made, Fault> {
        let lines = change.commands.iter().map(typed).collect::<Result<Vec<_>, _>>();
        let lines = lines.map_err(|reason| Trouble::Unarmed { reason })?;
        let (way_back, sent) = {
            let mut held = self.open(device, cancel).await?;
            let session = held.session();
            // Somebody else may have been faster than us.
            if let Some(difference) = differs(device.os, &session.running(device.os).await?, &change.before) {
                return Err(Trouble::Stale { reason: difference }.into());
            }
            let way_back = session.arm(device.os, change).await?;
            (way_back, session.send(device.os, &lines, cancel).await)
        };
        let ended = match sent {
            Ok(notices) => {
                let kept = self.keep(device, change, &way_back, cancel).await;
                kept.map(|()| notices).map_err(|fault| (lines.len(), fault))
            }
            Err(failed) => Err(failed),
        };
        match ended {
            Ok(notices) => Ok(Made { way_back: way_back.name(), notices }),
            Err((_, fault @ Fault::Device(Trouble::LeftChanged { .. }))) => Err(fault),
            Err((done, fault)) => Err(self.take_back(device, change, done, &way_back, fault).await.into()),
        }
    }

    /// Makes sure that the change is what was wanted and that one can still log in, and only then keeps it.
    async fn keep(
        &self,
        device: &Device,
        change: &Change,
        way_back: &WayBack,
        cancel: &CancellationToken,
    ) -> Result<(), Fault> {
        let mut fresh = self.begin(device, cancel).await.map_err(|fault| no_login(&fault))?;
        let after = fresh.running(device.os).await;
        fresh.close().await;
        if let Some(difference) = differs(device.os, &after?, &change.intended) {
            let reason = format!("after all commands the device is not what was intended: {difference}");
            return Err(Trouble::Unverified { reason }.into());
        }
        self.settle(device, change, way_back, cancel).await?;
        if change.save
            && let Err(fault) = self.save(device, cancel).await
        {
            let why = format!("the change is made and verified, but could not be saved: {fault}");
            let how = "it is in the running configuration only".to_owned();
            return Err(Trouble::LeftChanged { why, how }.into());
        }
        Ok(())
    }

    /// Tells the device that the change stays. Where the session ends meanwhile, the device is asked whether it has heard it.
    async fn settle(
        &self,
        device: &Device,
        change: &Change,
        way_back: &WayBack,
        cancel: &CancellationToken,
    ) -> Result<(), Fault> {
        let confirmed = self.open(device, cancel).await?.session().confirm(way_back).await;
        let Err(fault) = confirmed else { return Ok(()) };
        if !fault.is_lost() {
            return Err(fault);
        }
        let mut held = self.open(device, cancel).await?;
        let session = held.session();
        if matches!(way_back, WayBack::Reload { .. }) || session.pending(device.os).await?.is_some() {
            return session.confirm(way_back).await;
        }
        match differs(device.os, &session.running(device.os).await?, &change.intended) {
            None => Ok(()),
            Some(_) => Err(fault),
        }
    }

    /// Types lines in configuration mode; the first one that is refused ends it, and what went before stays.
    pub async fn configure(
        &self,
        device: &Device,
        lines: &[String],
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, Fault> {
        let mut held = self.open(device, cancel).await?;
        let session = held.session();
        session.enter("configure terminal").await?;
        let lines: Vec<Vec<String>> = lines.iter().map(|line| vec![line.clone()]).collect();
        let sent = session.send(device.os, &lines, cancel).await;
        if sent.is_err() && session.mode() == Mode::Configuration {
            let _ = session.leave().await;
        }
        sent.map_err(|(_, fault)| fault)
    }

    /// Saves what runs; a session that ends meanwhile is followed by another one, for saving twice does no harm.
    pub async fn save(&self, device: &Device, cancel: &CancellationToken) -> Result<(), Fault> {
        let saved = self.open(device, cancel).await?.session().save().await;
        match saved {
            Err(fault) if fault.is_lost() => self.open(device, cancel).await?.session().save().await,
            saved => saved,
        }
    }

    /// Reads what a device would start with.
    pub async fn startup(&self, device: &Device, cancel: &CancellationToken) -> Result<String, Fault> {
        self.open(device, cancel).await?.session().startup(device.os).await
    }
}

impl Session {
    /// Enters configuration mode.
    pub(super) async fn enter(&mut self, command: &str) -> Result<(), Fault> {
        let said = self.command(command, Pace::Slow).await?;
        if self.mode() == Mode::Configuration && said.error.is_none() {
            return Ok(());
        }
        let mut text = one_line(&said);
        if text.is_empty() {
            "it stays outside of it".clone_into(&mut text);
        }
        let reason = format!("the device lets nobody into its configuration mode: {text}");
        Err(Trouble::Locked { reason }.into())
    }

    /// Leaves configuration mode.
    pub(super) async fn leave(&mut self) -> Result<(), Fault> {
        self.order("end", Pace::Ordinary).await?;
        if self.mode() == Mode::Configuration {
            let said = "the session stays in configuration mode".to_owned();
            return Err(Trouble::Rejected { command: "end".to_owned(), said }.into());
        }
        Ok(())
    }

    /// Types commands in configuration mode, each with its lines, until one is refused; then leaves it. A fault comes with how
    /// many were done before.
    ///
    /// A cancelled run ends between two commands: a session that is in the middle of one could not take anything back.
    pub(super) async fn send(
        &mut self,
        os: Os,
        commands: &[Vec<String>],
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, (usize, Fault)> {
        let mut notices = Vec::new();
        self.outlive();
        // Firewalls compile their lists meanwhile.
        let pace = if os == Os::Asa { Pace::Slow } else { Pace::Ordinary };
        for (done, lines) in commands.iter().enumerate() {
            let failed = |fault| (done, fault);
            if cancel.is_cancelled() {
                return Err(failed(transport::Fault::Cancelled.into()));
            }
            let said = match lines.as_slice() {
                [line] => self.command(line, pace).await,
                lines => self.text(lines).await,
            };
            let said = said.map_err(failed)?;
            let command = || masked(lines.first().map_or("", String::as_str));
            if let Some(error) = said.error {
                let said = masked(error.trim());
                return Err(failed(Trouble::Rejected { command: command(), said }.into()));
            }
            if self.mode() != Mode::Configuration {
                let said = "it ends configuration mode".to_owned();
                return Err(failed(Trouble::Rejected { command: command(), said }.into()));
            }
            notices.extend(
                said.notices.iter().map(|notice| format!("{}: {}", command(), masked(notice.trim()))),
            );
        }
        self.leave().await.map_err(|fault| (commands.len(), fault))?;
        Ok(notices)
    }

    /// Makes sure that there is a way back, and enters configuration mode.
    async fn arm(&mut self, os: Os, change: &Change) -> Result<WayBack, Fault> {
        let minutes = u32::try_from(change.confirm.as_secs().div_ceil(60)).unwrap_or(120).clamp(1, 120);
        if os != Os::Asa && self.has_archive().await? {
            if let Some(pending) = self.pending(os).await? {
                let reason = format!("another change waits for its confirmation: {pending}");
                return Err(Trouble::Locked { reason }.into());
            }
            self.enter(&format!("configure terminal revert timer {minutes}")).await?;
            return Ok(WayBack::Timer { minutes, since: tokio::time::Instant::now() });
        }
        let Some(peril) = &change.peril else {
            self.enter("configure terminal").await?;
            return Ok(WayBack::Commands);
        };
        match change.fallback {
            Fallback::Go => {
                self.enter("configure terminal").await?;
                Ok(WayBack::Commands)
            }
            Fallback::Refuse => {
                let what = if os == Os::Asa {
                    "an ASA takes nothing back by itself"
                } else {
                    "it has no `archive` with a `path`, so no revert timer"
                };
                let reason = format!(
                    "{peril}, and {what}; `fallback: \"reload\"` orders a reload for that case, `fallback: \"none\"` \
                     goes without"
                );
                Err(Trouble::Unarmed { reason }.into())
            }
            Fallback::Reload => {
                let startup = self.startup(os).await?;
                if let Some(difference) = differs(os, &startup, &change.before) {
                    let reason = format!(
                        "a reload would lose more than this change, since what runs is not saved ({difference}); save it first"
                    );
                    return Err(Trouble::Unarmed { reason }.into());
                }
                self.order(&format!("reload in {minutes}"), Pace::Ordinary).await?;
                if let Err(fault) = self.enter("configure terminal").await {
                    self.order("reload cancel", Pace::Ordinary).await?;
                    return Err(fault);
                }
                Ok(WayBack::Reload { minutes })
            }
        }
    }

    /// Whether the device keeps versions of its configuration, which its revert timer needs.
    async fn has_archive(&mut self) -> Result<bool, Fault> {
        let said = self.command("show archive", Pace::Ordinary).await?;
        let is_none = |line: &String| {
            let line = line.to_ascii_lowercase();
            line.contains("not enabled") || line.contains("not configured")
        };
        Ok(said.error.is_none() && !said.lines.iter().any(is_none))
    }

    /// Tells the device that the change stays.
    async fn confirm(&mut self, way_back: &WayBack) -> Result<(), Fault> {
        match way_back {
            WayBack::Commands => Ok(()),
            WayBack::Reload { .. } => self.order("reload cancel", Pace::Ordinary).await.map(drop),
            WayBack::Timer { .. } => {
                let said = self.order("configure confirm", Pace::Slow).await?;
                if said.lines.iter().any(|line| line.contains("No Rollback Confirmed Change")) {
                    let reason = "its revert timer ended before the change was confirmed; a longer `confirm` gives it more time";
                    return Err(Trouble::Unverified { reason: reason.to_owned() }.into());
                }
                Ok(())
            }
        }
    }

    /// Saves what runs; only the device's word for it counts.
    pub(super) async fn save(&mut self) -> Result<(), Fault> {
        let said = self.order("write memory", Pace::Slow).await?;
        if said.lines.iter().any(|line| line.contains("[OK]")) {
            return Ok(());
        }
        Err(Trouble::Rejected { command: "write memory".to_owned(), said: one_line(&said) }.into())
    }
}

/// Says that the change locks us out; a cancelled run stays one.
fn no_login(fault: &Fault) -> Fault {
    if fault.is_cancelled() {
        return transport::Fault::Cancelled.into();
    }
    let reason = format!("nobody can log in any more on a new connection: {fault}");
    Trouble::Unverified { reason }.into()
}

/// Returns a few of the commands of a change, for people.
pub(super) fn commands(commands: &[Command]) -> String {
    some(&commands.iter().map(|command| masked(&command.text)).collect::<Vec<_>>())
}
