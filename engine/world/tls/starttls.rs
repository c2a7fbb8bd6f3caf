//! What is said in clear before TLS begins: SMTP (RFC 3207), IMAP (RFC 9051, 6.2.1) and POP3 (RFC 2595, 4).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::probe::Fault;

/// Bytes that a server may say before TLS: greetings and lists of extensions are short.
const MOST: usize = 16 << 10;
/// Characters of a line that errors repeat.
const SHOWN: usize = 120;

/// A protocol that begins in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StartTls {
    /// Mail between servers and from clients: ports 25 and 587.
    Smtp,
    /// Mailboxes: port 143.
    Imap,
    /// Mailboxes: port 110.
    Pop3,
}

/// A text that names no protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("STARTTLS is known for `smtp`, `imap` and `pop3`, not for `{0}`")]
pub struct Unknown(String);

impl FromStr for StartTls {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        match text {
            "smtp" => Ok(Self::Smtp),
            "imap" => Ok(Self::Imap),
            "pop3" => Ok(Self::Pop3),
            other => Err(Unknown(other.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for StartTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smtp => "SMTP",
            Self::Imap => "IMAP",
            Self::Pop3 => "POP3",
        })
    }
}

impl StartTls {
    /// Talks to the server until it is ready for TLS.
    pub(super) async fn begin(self, stream: &mut TcpStream) -> Result<(), Fault> {
        let mut dialog = Dialog { stream, protocol: self, unread: Vec::new(), said: 0 };
        match self {
            Self::Smtp => {
                dialog.smtp_reply("220", "greets with").await?;
                // A name that is nobody's (RFC 6761, 6.4): servers want one, and ours is none of their business.
                dialog.say("EHLO nlrun.invalid").await?;
                let extensions = dialog.smtp_reply("250", "answers to EHLO").await?;
                let offers = |line: &String| {
                    line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS"))
                };
                if !extensions.iter().any(offers) {
                    return Err(dialog.wrong("the server offers no STARTTLS"));
                }
                dialog.say("STARTTLS").await?;
                dialog.smtp_reply("220", "answers to STARTTLS").await?;
            }
            Self::Imap => {
                let greeting = dialog.line().await?;
                if !greeting.starts_with("* OK") {
                    return Err(dialog.unexpected("greets with", &greeting));
                }
                dialog.say("a1 STARTTLS").await?;
                loop {
                    let line = dialog.line().await?;
                    match line.strip_prefix("a1 ") {
                        Some(answer) if answer.starts_with("OK") => break,
                        Some(_) => return Err(dialog.unexpected("answers to STARTTLS", &line)),
                        // What it tells unasked.
                        None => {}
                    }
                }
            }
            Self::Pop3 => {
                for (said, what) in [(None, "greets with"), (Some("STLS"), "answers to STLS")] {
                    if let Some(said) = said {
                        dialog.say(said).await?;
                    }
                    let line = dialog.line().await?;
                    if !line.starts_with("+OK") {
                        return Err(dialog.unexpected(what, &line));
                    }
                }
            }
        }
        // Whatever came in clear behind the last word would be taken for what TLS protects.
        if dialog.unread.is_empty() {
            Ok(())
        } else {
            Err(dialog.wrong("the server goes on in clear after it agreed to TLS"))
        }
    }
}

struct Dialog<'a> {
    stream: &'a mut TcpStream,
    protocol: StartTls,
    unread: Vec<u8>,
    said: usize,
}

impl Dialog<'_> {
    async fn say(&mut self, line: &str) -> Result<(), Fault> {
        let lost = |error: std::io::Error| Fault::Lost { reason: error.to_string() };
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await.map_err(lost)
    }

    async fn line(&mut self) -> Result<String, Fault> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut part = [0; 1024];
            let count = self
                .stream
                .read(&mut part)
                .await
                .map_err(|error| Fault::Lost { reason: error.to_string() })?;
            if count == 0 {
                let reason = format!("the server ended the connection before TLS began ({})", self.protocol);
                return Err(Fault::Lost { reason });
            }
            self.said += count;
            if self.said > MOST {
                return Err(self.wrong("the server says more than any greeting has"));
            }
            self.unread.extend_from_slice(&part[..count]);
        }
    }

    /// Reads a reply of one or several lines, and demands its code.
    async fn smtp_reply(&mut self, code: &str, what: &str) -> Result<Vec<String>, Fault> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            if !line.starts_with(code) {
                return Err(self.unexpected(what, &line));
            }
            let is_last = line.as_bytes().get(code.len()) != Some(&b'-');
            lines.push(line);
            if is_last {
                return Ok(lines);
            }
        }
    }

    fn unexpected(&self, what: &str, line: &str) -> Fault {
        let line: String = line.chars().take(SHOWN).collect();
        self.wrong(&format!("the server {what} `{line}`"))
    }

    fn wrong(&self, what: &str) -> Fault {
        Fault::Protocol { reason: format!("{}: {what}", self.protocol) }
    }
}
