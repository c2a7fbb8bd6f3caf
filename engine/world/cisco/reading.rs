//! What is read of a device: its configuration, whole or not at all, and what its commands show.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fault::{Fault, Trouble};
use super::session::{Pace, Session, one_line};
use super::{Device, Devices, rest};
use crate::cisco::{Drift, Os, drift, guard, is_end, masked};

/// How often a configuration is read until no message of the log stands in it, or two readings agree.
const READINGS: usize = 4;

impl Devices {
    /// Reads what runs on a device, with its secrets where it tells them.
    pub async fn running(&self, device: &Device, cancel: &CancellationToken) -> Result<String, Fault> {
        self.open(device, cancel).await?.session().running(device.os).await
    }

    /// Reads what runs on a device whose configuration nobody is about to take back.
    ///
    /// Where a timer runs that takes a change back, its end is waited for at most so long: what stands there is not what will be.
    pub async fn settled(
        &self,
        device: &Device,
        limit: Duration,
        cancel: &CancellationToken,
    ) -> Result<String, Fault> {
        let end = Instant::now() + limit;
        let mut held = self.open(device, cancel).await?;
        let session = held.session();
        while let Some(pending) = session.pending(device.os).await? {
            if Instant::now() >= end {
                let reason = format!("a change on the device waits for its confirmation: {pending}");
                return Err(Trouble::Locked { reason }.into());
            }
            rest(Duration::from_secs(1), cancel).await?;
        }
        session.running(device.os).await
    }

    /// Whether a change waits for its confirmation.
    pub async fn is_pending(&self, device: &Device, cancel: &CancellationToken) -> Result<bool, Fault> {
        Ok(self.open(device, cancel).await?.session().pending(device.os).await?.is_some())
    }

    /// Runs a command that shows something.
    pub async fn show(
        &self,
        device: &Device,
        command: &str,
        cancel: &CancellationToken,
    ) -> Result<String, Fault> {
        let mut held = self.open(device, cancel).await?;
        let said = held.session().look(command).await?;
        // What is shown may hold lines that look like a refusal; a refusal comes first and has nothing behind it.
        let first = said.lines.iter().find(|line| !line.trim().is_empty() && line.trim() != "^");
        if let (Some(first), Some(error)) = (first, &said.error)
            && first == error
        {
            return Err(Trouble::Rejected { command: masked(command), said: one_line(&said) }.into());
        }
        Ok(joined(&said.lines))
    }
}

impl Session {
    /// Reads what runs.
    pub(super) async fn running(&mut self, os: Os) -> Result<String, Fault> {
        // `show running-config` of an ASA has `*****` where secrets stand; this has them.
        if os == Os::Asa {
            match self.configuration(os, "more system:running-config").await {
                Err(Fault::Device(Trouble::Rejected { .. })) => {}
                read => return read,
            }
        }
        self.configuration(os, "show running-config").await
    }

    /// Reads what the device would start with.
    pub(super) async fn startup(&mut self, os: Os) -> Result<String, Fault> {
        self.configuration(os, "show startup-config").await
    }

    async fn configuration(&mut self, os: Os, command: &str) -> Result<String, Fault> {
        let mut before = None;
        for _ in 0..READINGS {
            let said = self.command(command, Pace::Slow).await?;
            let text = joined(&said.lines);
            // A refusal is short; a banner may quote one.
            if let Some(error) = said.error.as_ref().filter(|_| said.lines.len() < 10) {
                return Err(
                    Trouble::Rejected { command: command.to_owned(), said: masked(error.trim()) }.into()
                );
            }
            // A message may have cut a line in two; it does not do so twice in the same place.
            if said.is_noisy && before.replace(text.clone()).is_none_or(|before| before != text) {
                continue;
            }
            guard(os, &text).map_err(|error| Trouble::Unusable { reason: masked(&error.to_string()) })?;
            if !is_end(os, &text) {
                let reason = format!("`{command}` shows no end, so it was cut off");
                return Err(Trouble::Unusable { reason }.into());
            }
            return Ok(text);
        }
        let reason = format!("messages of its log stand in what `{command}` shows, each time elsewhere");
        Err(Trouble::Unusable { reason }.into())
    }

    /// Returns what the device says of a change that waits for its confirmation; nothing where none does.
    pub(super) async fn pending(&mut self, os: Os) -> Result<Option<String>, Fault> {
        if os == Os::Asa {
            return Ok(None);
        }
        let said = self.command("show archive config rollback timer", Pace::Ordinary).await?;
        // `Time configured(or reconfigured): …`, `Timer type: …`, `Timer value: …`.
        let is_pending = said.error.is_none() && said.lines.iter().any(|line| line.starts_with("Time"));
        Ok(is_pending.then(|| one_line(&said)))
    }
}

/// Whether two configurations say the same, as far as they can be compared; otherwise what differs.
pub(super) fn differs(os: Os, running: &str, intended: &str) -> Option<String> {
    match drift(os, running, intended) {
        Drift::Same | Drift::Textual { .. } => None,
        Drift::Different { plan, .. } => {
            let commands: Vec<String> =
                plan.masked().commands().map(|command| command.text.clone()).collect();
            Some(format!("these commands are missing: {}", some(&commands)))
        }
        Drift::Unknown { why } => Some(masked(&why)),
    }
}

/// Returns a few of many texts.
pub(super) fn some(texts: &[String]) -> String {
    const MOST: usize = 8;
    let rest = texts.len().saturating_sub(MOST);
    let shown =
        texts.iter().take(MOST).map(|text| format!("`{}`", text.trim())).collect::<Vec<_>>().join(", ");
    if rest > 0 { format!("{shown} and {rest} more") } else { shown }
}

fn joined(lines: &[String]) -> String {
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let mut text = lines[first..].join("\n");
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
