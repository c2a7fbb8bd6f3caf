//! What a virtual device is beside its sessions: its configurations, its files, and its timers.

use std::collections::BTreeMap;

use super::super::guard::is_end;
use super::super::{Device, Os};

/// What a device is beside its configuration; it outlives a session.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(super) os: Os,
    pub(super) running: Device<'static>,
    /// What it starts with after a reload.
    pub(super) startup: String,
    /// What is in its flash memory.
    pub(super) files: BTreeMap<String, String>,
    /// The change that is taken back when its timer ends.
    pub(super) revert: Option<Revert>,
    /// The timer that a reload waits for.
    pub(super) reload: Option<u64>,
    /// How often its configuration was changed, and who did it last.
    pub(super) changed: Option<(u64, String)>,
    /// The same when it was saved.
    pub(super) saved: Option<(u64, String)>,
    /// Which session is in configuration mode and keeps others out, and whose it is.
    pub(super) locked_by: Option<(u64, String)>,
    timers: u64,
    /// Faults that have struck, which they do once.
    struck: Vec<&'static str>,
}

/// A change that nobody has confirmed yet.
#[derive(Debug, Clone)]
pub(super) struct Revert {
    /// What was running before.
    pub(super) before: String,
    timer: u64,
    pub(super) minutes: u32,
    pub(super) user: String,
}

impl Machine {
    /// Switches a device on with a configuration, which is also what it starts with.
    pub fn new(os: Os, configuration: &str) -> Self {
        Self {
            os,
            running: Device::owned(os, configuration),
            startup: configuration.to_owned(),
            files: BTreeMap::new(),
            revert: None,
            reload: None,
            changed: None,
            saved: None,
            locked_by: None,
            timers: 0,
            struck: Vec::new(),
        }
    }

    /// Returns what is running.
    pub fn running(&self) -> String {
        self.running.running()
    }

    /// Returns what it would start with.
    pub fn startup(&self) -> &str {
        &self.startup
    }

    /// Starts again with what was saved; sessions are over.
    pub fn reload(&mut self) {
        self.running = Device::owned(self.os, &self.startup);
        self.revert = None;
        self.reload = None;
        self.changed = None;
        self.saved = None;
        self.locked_by = None;
    }

    /// Does what a timer was set for, unless that was cancelled; says whether the device reloads: sessions are over then.
    pub fn ring(&mut self, timer: u64) -> bool {
        if self.revert.as_ref().is_some_and(|revert| revert.timer == timer) {
            self.revert();
        }
        let reloads = self.reload == Some(timer);
        if reloads {
            self.reload();
        }
        reloads
    }

    /// Whether a fault strikes at this line: the first session that comes so far has it, and none behind that.
    pub(super) fn strikes(&mut self, fault: &'static str, at: Option<u64>, line: u64) -> bool {
        let strikes = at == Some(line) && !self.struck.contains(&fault);
        if strikes {
            self.struck.push(fault);
        }
        strikes
    }

    /// Enters a line as another engineer does, who is not waiting for anybody.
    pub(super) fn edit(&mut self, user: &str) {
        let line = match self.os {
            Os::Asa => "name 192.0.2.250 other-engineer",
            Os::Ios | Os::Ap => "ip host other-engineer 192.0.2.250",
        };
        let mut other = self.running.clone();
        other.leave();
        if other.enter(line, None).is_ok() {
            self.running = other;
            self.change(user);
        }
    }

    /// Notes who has changed the configuration.
    pub(super) fn change(&mut self, user: &str) {
        let count = self.changed.as_ref().map_or(0, |(count, _)| *count);
        self.changed = Some((count + 1, user.to_owned()));
    }

    /// Saves what is running.
    pub(super) fn save(&mut self, user: &str) {
        self.startup = self.running();
        let count = self.changed.as_ref().map_or(0, |(count, _)| *count);
        self.saved = Some((count, user.to_owned()));
    }

    /// Whether what is running would be lost with a reload.
    pub(super) fn is_unsaved(&self) -> bool {
        self.running() != self.startup
    }

    /// Begins a change that is taken back unless it is confirmed; returns its timer.
    pub(super) fn revert_in(&mut self, minutes: u32, user: &str) -> u64 {
        let timer = self.timer();
        let before = self.revert.take().map_or_else(|| self.running(), |revert| revert.before);
        self.revert = Some(Revert { before, timer, minutes, user: user.to_owned() });
        timer
    }

    /// Orders a reload; returns its timer.
    pub(super) fn reload_in(&mut self) -> u64 {
        let timer = self.timer();
        self.reload = Some(timer);
        timer
    }

    /// Brings back what ran before a change that nobody has confirmed; says whether there is one.
    pub(super) fn revert(&mut self) -> bool {
        let Some(revert) = self.revert.take() else { return false };
        self.replace(&revert.before, &revert.user);
        self.locked_by = None;
        true
    }

    /// Runs another configuration from now on.
    pub(super) fn replace(&mut self, configuration: &str, user: &str) {
        self.running = Device::owned(self.os, configuration);
        self.change(user);
    }

    /// Whether a line of its configuration begins so.
    pub(super) fn has(&self, begin: &str) -> bool {
        self.running().lines().any(|line| line.trim_start().starts_with(begin))
    }

    /// Whether it keeps configurations, which a change that may be taken back needs.
    pub(super) fn has_archive(&self) -> bool {
        let text = self.running();
        let mut lines = text.lines().skip_while(|line| *line != "archive").skip(1);
        lines.by_ref().take_while(|line| line.starts_with(' ')).any(|line| line.trim().starts_with("path "))
    }

    pub(super) fn name(&self) -> String {
        let text = self.running.running();
        let name = text.lines().find_map(|line| line.strip_prefix("hostname "));
        name.unwrap_or(if self.os == Os::Asa { "ciscoasa" } else { "Router" }).trim().to_owned()
    }

    /// How many seconds nobody may log in, how many wrong passwords lead there, and in how many seconds: `login block-for`.
    pub fn block_for(&self) -> Option<(u64, usize, u64)> {
        let text = self.running();
        let line = text.lines().find_map(|line| line.strip_prefix("login block-for "))?;
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [wait, attempts, within] = numbers[..] else { return None };
        Some((wait, attempts as usize, within))
    }

    /// Returns a configuration without the lines that a device prints around it.
    pub(super) fn bare(os: Os, text: &str) -> String {
        let is_own = |line: &&str| {
            line.starts_with("Building configuration") || line.starts_with("Current configuration :")
        };
        let mut bare: String =
            text.lines().filter(|line| !is_own(line)).fold(String::new(), |mut bare, line| {
                bare.push_str(line);
                bare.push('\n');
                bare
            });
        if !is_end(os, &bare) {
            bare.push_str(if os == Os::Asa { ": end\n" } else { "end\n" });
        }
        bare
    }

    fn timer(&mut self) -> u64 {
        self.timers += 1;
        self.timers
    }
}

/// When the configuration was changed for the so-manieth time.
pub(super) fn time(count: u64) -> String {
    format!("{:02}:{:02}:{:02} UTC Mon Mar 1 2027", 10 + count / 3600 % 14, count / 60 % 60, count % 60)
}
