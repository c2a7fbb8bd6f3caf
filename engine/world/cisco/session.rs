//! One session at a device's terminal: commands that are typed one by one, each answered by a prompt.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::fault::{Fault, Trouble};
use crate::cisco::{Heard, Mode, Os, Said, Terminal, Wait, masked};
use crate::world::ssh::Tty;
use crate::world::transport;

/// How long a device may take to show its first prompt.
const FIRST: Duration = Duration::from_secs(60);
/// How long a device may say nothing while it does what it was told to.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for what takes its time: printing and saving a configuration.
const SLOW: Duration = Duration::from_secs(180);
/// The longest that one command may take, however much the device says.
const OVERALL: Duration = Duration::from_secs(900);
/// What looks like a question, or like a prompt before the echo, counts when nothing more came for so long.
const QUIET: Duration = Duration::from_millis(400);
/// Questions of one command.
const QUESTIONS: usize = 8;

/// How long a device may say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// An ordinary command.
    Ordinary,
    /// One that takes its time.
    Slow,
}

/// A session that has all rights, at its prompt.
pub(super) struct Session {
    tty: Tty,
    terminal: Terminal,
    os: Os,
    mode: Mode,
    /// Whether it is at a prompt, with nothing of an earlier command to come.
    is_sound: bool,
    /// How long the device may say nothing, where the runbook says so.
    patience: Option<Duration>,
    cancel: CancellationToken,
}

impl Session {
    /// Waits for the first prompt and gets all rights; pages are switched off for this session.
    pub(super) async fn begin(
        tty: Tty,
        os: Os,
        enable: Option<&Zeroizing<String>>,
        patience: Option<Duration>,
        cancel: &CancellationToken,
    ) -> Result<Self, Fault> {
        let terminal = Terminal::new(os);
        let cancel = cancel.clone();
        let mut session = Self { tty, terminal, os, mode: Mode::User, is_sound: false, patience, cancel };
        match session.prepare(enable).await {
            Ok(()) => Ok(session),
            Err(fault) => {
                session.close().await;
                Err(fault)
            }
        }
    }

    async fn prepare(&mut self, enable: Option<&Zeroizing<String>>) -> Result<(), Fault> {
        let first = self.patience.unwrap_or(FIRST);
        loop {
            match self.wait(first, "its first prompt was waited for", false).await? {
                Heard::Greeting => {
                    self.tty.send(b"\r".to_vec()).await?;
                    self.terminal.knock();
                }
                Heard::Prompt(mode) => {
                    self.mode = mode;
                    break;
                }
                Heard::Perhaps(Wait::Answer(question)) => {
                    let command = "a login".to_owned();
                    return Err(Trouble::Asked { command, question }.into());
                }
                Heard::Nothing | Heard::Page | Heard::Text | Heard::Password | Heard::Perhaps(_) => {}
            }
        }
        if self.mode == Mode::User {
            self.enable(enable).await?;
        }
        // Of this session only. An ASA has its width in its configuration: that is left alone.
        match self.os {
            Os::Asa => drop(self.command("terminal pager 0", Pace::Ordinary).await?),
            Os::Ios | Os::Ap => {
                self.command("terminal length 0", Pace::Ordinary).await?;
                self.command("terminal width 511", Pace::Ordinary).await?;
            }
        }
        self.demand_rights().await
    }

    async fn enable(&mut self, enable: Option<&Zeroizing<String>>) -> Result<(), Fault> {
        let refused = |reason: &str| Fault::from(Trouble::Enable { reason: reason.to_owned() });
        let Some(password) = enable else {
            return Err(refused(
                "the login has none, and the inventory names no `enable_password` for `enable`",
            ));
        };
        self.type_line("enable").await?;
        match self.wait(self.pace(Pace::Ordinary), "`enable` was typed", false).await? {
            Heard::Prompt(mode) => self.mode = mode,
            Heard::Password | Heard::Perhaps(Wait::Answer(_)) => {
                self.terminal.typed_hidden();
                let mut line = Zeroizing::new(password.as_bytes().to_vec());
                line.push(b'\r');
                self.tty.send(line.to_vec()).await?;
                // Once: a second try counts towards a lock-out, and would be the same.
                match self
                    .wait(self.pace(Pace::Ordinary), "the password for `enable` was typed", false)
                    .await?
                {
                    Heard::Prompt(mode) | Heard::Perhaps(Wait::Command(mode)) => self.mode = mode,
                    _ => {
                        return Err(refused("`enable` does not take the `enable_password` of the inventory"));
                    }
                }
            }
            _ => return Err(refused("`enable` does not ask for a password")),
        }
        self.terminal.take(false);
        if self.mode == Mode::User {
            return Err(refused("`enable` does not take the `enable_password` of the inventory"));
        }
        Ok(())
    }

    /// Demands that everything is shown: with fewer rights a device shows a part of its configuration and does not say so.
    async fn demand_rights(&mut self) -> Result<(), Fault> {
        let command = if self.os == Os::Asa { "show curpriv" } else { "show privilege" };
        let said = self.command(command, Pace::Ordinary).await?;
        let level = said.lines.iter().find_map(|line| {
            let rest = line.strip_prefix("Current privilege level")?;
            rest.rsplit(' ').next()?.parse::<u32>().ok()
        });
        match level {
            Some(15) => Ok(()),
            Some(level) => {
                let reason = format!(
                    "the login has privilege level {level}, and everything is shown to level 15 only"
                );
                Err(Trouble::Enable { reason }.into())
            }
            None => {
                let reason = format!("`{command}` does not say which the login has: {}", one_line(&said));
                Err(Trouble::Enable { reason }.into())
            }
        }
    }

    /// Takes over the patience and the cancellation of another task; says whether the session still answers.
    pub(super) async fn resume(
        &mut self,
        patience: Option<Duration>,
        cancel: &CancellationToken,
    ) -> Result<bool, Fault> {
        self.patience = patience;
        self.cancel = cancel.clone();
        if !self.is_sound || self.mode != Mode::Privileged {
            return Ok(false);
        }
        match self.command("", Pace::Ordinary).await {
            Ok(_) => Ok(self.mode == Mode::Privileged),
            Err(fault) if fault.is_cancelled() => Err(fault),
            Err(_) => Ok(false),
        }
    }

    /// Goes on although the run is cancelled, within a limit: for taking back what was begun.
    pub(super) fn outlive(&mut self) {
        self.cancel = CancellationToken::new();
    }

    /// Whether it is at a prompt.
    pub(super) fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// Returns where it is.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Types a command and waits for its answer; a refusal is part of it.
    pub(super) async fn command(&mut self, line: &str, pace: Pace) -> Result<Said, Fault> {
        self.type_line(line).await?;
        self.answer(line, pace, false).await
    }

    /// Does what [`Session::command`] does, and keeps messages of the log: they may be what was asked for.
    pub(super) async fn look(&mut self, line: &str) -> Result<Said, Fault> {
        self.type_line(line).await?;
        self.answer(line, Pace::Slow, true).await
    }

    /// Types a command that has to succeed.
    pub(super) async fn order(&mut self, line: &str, pace: Pace) -> Result<Said, Fault> {
        let said = self.command(line, pace).await?;
        match &said.error {
            Some(error) => {
                Err(Trouble::Rejected { command: masked(line), said: masked(error.trim()) }.into())
            }
            None => Ok(said),
        }
    }

    /// Types lines that are one command: a banner. Only behind the last one there is a prompt.
    pub(super) async fn text(&mut self, lines: &[String]) -> Result<Said, Fault> {
        let Some((last, before)) = lines.split_last() else { return Ok(Said::default()) };
        for line in before {
            self.type_line(line).await?;
            let heard = self.wait(self.pace(Pace::Ordinary), "a banner was typed", true).await?;
            if matches!(heard, Heard::Prompt(_)) {
                // It was refused: what follows would be taken for commands.
                let said = self.answer(line, Pace::Ordinary, false).await?;
                let text = said.error.clone().unwrap_or_else(|| "it takes no text".to_owned());
                return Ok(Said { error: Some(text), ..said });
            }
        }
        self.type_line(last).await?;
        self.answer(last, Pace::Ordinary, false).await
    }

    async fn type_line(&mut self, line: &str) -> Result<(), Fault> {
        self.is_sound = false;
        self.terminal.typed(line);
        // One line at a time: old devices lose what comes while they are busy.
        let mut bytes = line.as_bytes().to_vec();
        bytes.push(b'\r');
        Ok(self.tty.send(bytes).await?)
    }

    async fn answer(&mut self, line: &str, pace: Pace, keeps_noise: bool) -> Result<Said, Fault> {
        let doing = if line.is_empty() {
            "a return was typed".to_owned()
        } else {
            format!("`{}` was done", masked(line))
        };
        for _ in 0..QUESTIONS {
            match self.wait(self.pace(pace), &doing, false).await? {
                Heard::Prompt(mode) | Heard::Perhaps(Wait::Command(mode)) => {
                    self.mode = mode;
                    self.is_sound = true;
                    return Ok(self.terminal.take(keeps_noise));
                }
                Heard::Perhaps(Wait::Answer(question)) => {
                    let Some(answer) = self.terminal.answer(&question) else {
                        // Ctrl-C is no answer, and the session is not used again.
                        let _ = self.tty.send(vec![3]).await;
                        return Err(
                            Trouble::Asked { command: masked(line), question: masked(&question) }.into()
                        );
                    };
                    self.terminal.answered();
                    self.tty.send(format!("{answer}\r").into_bytes()).await?;
                }
                Heard::Nothing | Heard::Greeting | Heard::Page | Heard::Text | Heard::Password => {}
            }
        }
        Err(Trouble::Asked { command: masked(line), question: "one question after the other".to_owned() }
            .into())
    }

    fn pace(&self, pace: Pace) -> Duration {
        self.patience.unwrap_or(match pace {
            Pace::Ordinary => PATIENCE,
            Pace::Slow => SLOW,
        })
    }

    /// Waits until the device waits, and turns pages meanwhile; a limit is for how long it may say nothing.
    async fn wait(&mut self, limit: Duration, doing: &str, takes_text: bool) -> Result<Heard, Fault> {
        let end = Instant::now() + OVERALL;
        loop {
            let heard = self.terminal.heard();
            let pause = match &heard {
                Heard::Greeting | Heard::Prompt(_) | Heard::Password => return Ok(heard),
                Heard::Text if takes_text => return Ok(heard),
                Heard::Page => {
                    self.terminal.answered();
                    self.tty.send(b" ".to_vec()).await?;
                    limit
                }
                Heard::Perhaps(_) => QUIET,
                Heard::Nothing | Heard::Text => limit,
            };
            let silent = |seconds: Duration, terminal: &Terminal| Trouble::TimedOut {
                seconds: seconds.as_secs(),
                doing: doing.to_owned(),
                screen: terminal.tail(),
            };
            if self.terminal.is_flooded() || Instant::now() > end {
                return Err(silent(OVERALL, &self.terminal).into());
            }
            let received = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(transport::Fault::Cancelled.into()),
                received = timeout(pause, self.tty.receive()) => received,
            };
            match received {
                Ok(bytes) => self.terminal.hear(&bytes?),
                Err(_) if matches!(heard, Heard::Perhaps(_)) => return Ok(heard),
                Err(_) => return Err(silent(limit, &self.terminal).into()),
            }
        }
    }

    /// Ends the session and its connection.
    pub(super) async fn close(self) {
        self.tty.close().await;
    }
}

/// Returns what a device said as one line without secrets.
pub(super) fn one_line(said: &Said) -> String {
    let lines: Vec<String> =
        said.lines.iter().map(|line| masked(line.trim())).filter(|line| !line.is_empty()).collect();
    lines.join(" / ")
}
