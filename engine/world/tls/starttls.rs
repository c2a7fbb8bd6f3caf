//! What is said in clear before TLS begins: SMTP (RFC 3207), IMAP (RFC 9051, 6.2.1), POP3 (RFC 2595, 4), LDAP (RFC 4511, 4.14) and
//! PostgreSQL (its protocol 3.0, "SSL Session Encryption").

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use x509_parser::asn1_rs::{Any, Class, FromBer as _, Integer, Tag};

use super::probe::Fault;

/// Bytes that a server may say before TLS: greetings and lists of extensions are short.
const MOST: usize = 16 << 10;
/// Characters of a line that errors repeat.
const SHOWN: usize = 120;

/// LDAP's message 1: an extended request (application 23) for 1.3.6.1.4.1.1466.20037, which is StartTLS.
const LDAP_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// PostgreSQL's SSLRequest: eight bytes, its own length and the number 80877103.
const POSTGRES_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

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
    /// Directories: port 389.
    Ldap,
    /// Databases: port 5432.
    Postgres,
}

/// A text that names no protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("STARTTLS is known for `smtp`, `imap`, `pop3`, `ldap` and `postgres`, not for `{0}`")]
pub struct Unknown(String);

impl FromStr for StartTls {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        match text {
            "smtp" => Ok(Self::Smtp),
            "imap" => Ok(Self::Imap),
            "pop3" => Ok(Self::Pop3),
            "ldap" => Ok(Self::Ldap),
            "postgres" => Ok(Self::Postgres),
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
            Self::Ldap => "LDAP",
            Self::Postgres => "PostgreSQL",
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
            Self::Ldap => {
                dialog.send(LDAP_REQUEST).await?;
                dialog.ldap_result().await?;
            }
            Self::Postgres => {
                dialog.send(POSTGRES_REQUEST).await?;
                match dialog.byte().await? {
                    b'S' => {}
                    b'N' => return Err(dialog.wrong("the server offers no TLS")),
                    other => {
                        dialog.unread.insert(0, other);
                        let said = dialog.unread.escape_ascii().to_string();
                        return Err(dialog.unexpected("answers to SSLRequest", &said));
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
        self.send(format!("{line}\r\n").as_bytes()).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let lost = |error: std::io::Error| Fault::Lost { reason: error.to_string() };
        self.stream.write_all(bytes).await.map_err(lost)
    }

    /// Reads more of what the server says.
    async fn read(&mut self) -> Result<(), Fault> {
        let mut part = [0; 1024];
        let count =
            self.stream.read(&mut part).await.map_err(|error| Fault::Lost { reason: error.to_string() })?;
        if count == 0 {
            let reason = format!("the server ended the connection before TLS began ({})", self.protocol);
            return Err(Fault::Lost { reason });
        }
        self.said += count;
        if self.said > MOST {
            return Err(self.wrong("the server says more than any greeting has"));
        }
        self.unread.extend_from_slice(&part[..count]);
        Ok(())
    }

    async fn byte(&mut self) -> Result<u8, Fault> {
        while self.unread.is_empty() {
            self.read().await?;
        }
        Ok(self.unread.remove(0))
    }

    async fn line(&mut self) -> Result<String, Fault> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.read().await?;
        }
    }

    /// Reads one message of LDAP, and demands that it agrees to TLS.
    async fn ldap_result(&mut self) -> Result<(), Fault> {
        loop {
            match Any::from_ber(&self.unread) {
                Ok((rest, message)) => {
                    let (code, said) = ldap_result(&message)
                        .ok_or_else(|| self.unexpected("answers", &self.unread.escape_ascii().to_string()))?;
                    self.unread = rest.to_vec();
                    return match code {
                        0 => Ok(()),
                        code => {
                            Err(self
                                .wrong(&format!("the server refuses TLS with {}{said}", ldap_words(code))))
                        }
                    };
                }
                Err(error) if error.is_incomplete() => self.read().await?,
                Err(_) => return Err(self.unexpected("answers", &self.unread.escape_ascii().to_string())),
            }
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

/// Takes the result code and the server's words out of an answer to an extended request (RFC 4511, 4.12).
fn ldap_result(message: &Any<'_>) -> Option<(u32, String)> {
    if message.tag() != Tag::Sequence {
        return None;
    }
    // The message's number; 0 is that of a notice that the server ends the connection, which has the same form.
    let (rest, _) = Integer::from_ber(message.data).ok()?;
    let (_, response) = Any::from_ber(rest).ok()?;
    if response.class() != Class::Application || response.tag() != Tag(24) {
        return None;
    }
    let (rest, code) = Any::from_ber(response.data).ok()?;
    let (rest, _matched) = Any::from_ber(rest).ok()?;
    let (_, said) = Any::from_ber(rest).ok()?;
    if code.tag() != Tag::Enumerated || code.data.len() > 4 {
        return None;
    }
    let code = code.data.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
    let said: String = String::from_utf8_lossy(said.data).trim().chars().take(SHOWN).collect();
    Some((code, if said.is_empty() { said } else { format!(": {said}") }))
}

/// Returns what RFC 4511, 4.1.9 calls a result code that a server may give here.
fn ldap_words(code: u32) -> String {
    let name = match code {
        1 => "operationsError",
        2 => "protocolError",
        10 => "referral",
        13 => "confidentialityRequired",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => return format!("result code {code}"),
    };
    format!("result code {code} ({name})")
}
