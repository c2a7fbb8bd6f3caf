//! ICMP echo (RFC 792; RFC 4443, 4): whether a host answers, and how fast.
//!
//! A datagram socket where the kernel lets this group have one, else a raw socket, which wants `CAP_NET_RAW`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};
use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::world::cancel::unless;

/// Bytes of an IPv4 header without options; its length stands in its first byte.
const WORD: usize = 4;
/// Bytes before the payload of an echo.
const HEADER: usize = 8;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// A name or an address.
    pub host: String,
    /// How many echoes are asked for.
    pub count: u16,
    /// How long after one the next is sent.
    pub interval: Duration,
    /// How long each answer may take.
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// Who was asked.
    pub address: IpAddr,
    /// How many were sent.
    pub sent: u16,
    /// How long each answer took, in the order of the questions; `None` for one that did not come.
    pub answers: Vec<Option<Duration>>,
    /// What the network said last instead of an answer.
    pub trouble: Option<String>,
}

/// Why nothing was sent. No answer is not among them.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize, PartialEq)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// No address for the name.
    #[error("unreachable: {reason}")]
    Unreachable {
        /// What the network said.
        reason: String,
    },
    /// The kernel gives no socket.
    #[error(
        "this user may not ping: `sysctl net.ipv4.ping_group_range` leaves out its groups, and it has no CAP_NET_RAW; as root, \
         `sysctl -w net.ipv4.ping_group_range='0 2147483647'` lets everybody"
    )]
    Denied,
    /// The kernel does not do this.
    #[error("no echo can be sent: {reason}")]
    Unsupported {
        /// Why.
        reason: String,
    },
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Request {
    /// Sends and waits for answers; a cancelled run does not wait.
    pub async fn send(&self, cancel: &CancellationToken) -> Result<Tally, Fault> {
        unless(cancel, Fault::Cancelled, self.echo()).await
    }

    async fn echo(&self) -> Result<Tally, Fault> {
        let unreachable = |reason: String| Fault::Unreachable { reason };
        let found = tokio::net::lookup_host((self.host.as_str(), 0)).await;
        let mut found = found.map_err(|error| unreachable(error.to_string()))?;
        let address = found.next().ok_or_else(|| unreachable("the name has no address".to_owned()))?;
        let mut tally = Tally { address: address.ip(), sent: 0, answers: Vec::new(), trouble: None };
        let mut echo = match Echo::open(address) {
            Ok(echo) => echo,
            Err(Refusal::Fault(fault)) => return Err(fault),
            // No way there from here: nothing comes back, as from a host that is down.
            Err(Refusal::NoRoute(error)) => {
                tally.answers = vec![None; usize::from(self.count)];
                tally.sent = self.count;
                tally.trouble = Some(error.to_string());
                return Ok(tally);
            }
        };
        let begun = Instant::now();
        let mut sent: Vec<Instant> = Vec::new();
        tally.answers = vec![None; usize::from(self.count)];
        for number in 0..self.count {
            let due = begun + self.interval * u32::from(number);
            self.collect(&mut echo, &sent, &mut tally, due).await;
            sent.push(Instant::now());
            tally.sent += 1;
            if let Err(error) = echo.ask(number).await {
                tally.trouble = Some(error.to_string());
            }
        }
        let end = Instant::now() + self.timeout;
        self.collect(&mut echo, &sent, &mut tally, end).await;
        Ok(tally)
    }

    /// Takes answers until an instant, or until there is nothing left to wait for.
    async fn collect(&self, echo: &mut Echo, sent: &[Instant], tally: &mut Tally, until: Instant) {
        let is_last = sent.len() == usize::from(self.count);
        while !(is_last && tally.answers.iter().all(Option::is_some)) {
            match timeout_at(until, echo.answer()).await {
                Err(_) => return,
                Ok(Ok(number)) => {
                    let Some(at) = sent.get(usize::from(number)) else { continue };
                    let took = at.elapsed();
                    let answer = &mut tally.answers[usize::from(number)];
                    // A second answer to the same question says nothing new.
                    if answer.is_none() && took <= self.timeout {
                        *answer = Some(took);
                    }
                }
                // Such as that a router knows no way; there may be one the next time.
                Ok(Err(error)) => tally.trouble = Some(error.to_string()),
            }
        }
    }
}

enum Refusal {
    Fault(Fault),
    NoRoute(io::Error),
}

/// A socket for echoes to one address.
struct Echo {
    socket: UdpSocket,
    is_v4: bool,
    is_raw: bool,
    /// Tells our echoes from those of others.
    token: [u8; 16],
}

impl Echo {
    fn open(address: SocketAddr) -> Result<Self, Refusal> {
        let unsupported = |reason: String| Refusal::Fault(Fault::Unsupported { reason });
        let is_v4 = address.is_ipv4();
        let (family, protocol) = if is_v4 {
            (AddressFamily::INET, ipproto::ICMP)
        } else {
            (AddressFamily::INET6, ipproto::ICMPV6)
        };
        let socket =
            |kind| socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol));
        let (socket, is_raw) = match socket(SocketType::DGRAM) {
            Ok(fd) => (fd, false),
            Err(Errno::ACCESS | Errno::PERM | Errno::PROTONOSUPPORT) => match socket(SocketType::RAW) {
                Ok(fd) => (fd, true),
                Err(Errno::ACCESS | Errno::PERM) => return Err(Refusal::Fault(Fault::Denied)),
                Err(error) => return Err(unsupported(error.to_string())),
            },
            Err(error) => return Err(unsupported(error.to_string())),
        };
        // From here on the kernel drops what others send.
        connect(&socket, &address).map_err(|error| Refusal::NoRoute(error.into()))?;
        let mut token = [0; 16];
        SystemRandom::new().fill(&mut token).map_err(|_| unsupported("no randomness".to_owned()))?;
        // It sends and receives datagrams like any other; tokio has no safe type of its own for such a socket.
        let socket = UdpSocket::from_std(socket.into()).map_err(|error| unsupported(error.to_string()))?;
        Ok(Self { socket, is_v4, is_raw, token })
    }

    async fn ask(&self, number: u16) -> io::Result<()> {
        let packet = request(self.is_v4, number, self.token);
        self.socket.send(&packet).await.map(drop)
    }

    /// Waits for the next answer that is ours, and returns its number.
    async fn answer(&mut self) -> io::Result<u16> {
        let mut bytes = [0_u8; 1500];
        loop {
            let count = self.socket.recv(&mut bytes).await?;
            if let Some(number) = number(&bytes[..count], self.is_v4, self.is_raw, &self.token) {
                return Ok(number);
            }
        }
    }
}

/// Writes a question.
fn request(is_v4: bool, number: u16, token: [u8; 16]) -> Vec<u8> {
    let mut packet = vec![if is_v4 { 8 } else { 128 }, 0, 0, 0];
    // The kernel puts its own identifier into those of datagram sockets; the token is what counts.
    packet.extend_from_slice(&token[..2]);
    packet.extend_from_slice(&number.to_be_bytes());
    packet.extend_from_slice(&token);
    if is_v4 {
        // For version 6 the kernel computes it, for only it knows the addresses.
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// Returns the number of an answer, if it is one of ours.
fn number(bytes: &[u8], is_v4: bool, is_raw: bool, token: &[u8]) -> Option<u16> {
    // Raw sockets of version 4 give the IP header, too.
    let skipped = if is_v4 && is_raw { usize::from(bytes.first()? & 0x0f) * WORD } else { 0 };
    let bytes = bytes.get(skipped..)?;
    let is_answer = bytes.first() == Some(&if is_v4 { 0 } else { 129 });
    let is_ours = bytes.get(HEADER..)? == token;
    (is_answer && is_ours).then(|| u16::from_be_bytes([bytes[6], bytes[7]]))
}

/// Adds up words (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff, 0xff, 0x01]), !0x0100);
        // What carries its own sum adds up to nothing.
        assert_eq!(checksum(&request(true, 7, [9; 16])), 0);
    }

    #[test]
    fn only_our_answers_count() {
        let token = [7; 16];
        let mut answer = request(true, 5, token);
        assert_eq!(number(&answer, true, false, &token), None, "a question is no answer");
        answer[0] = 0;
        assert_eq!(number(&answer, true, false, &token), Some(5));
        assert_eq!(number(&answer, true, false, &[8; 16]), None);
        let with_header: Vec<u8> = [&[0x45][..], &[0; 19], &answer].concat();
        assert_eq!(number(&with_header, true, true, &token), Some(5));
        let mut six = request(false, 6, token);
        six[0] = 129;
        assert_eq!(number(&six, false, true, &token), Some(6));
        for length in 0..answer.len() {
            assert_eq!(number(&answer[..length], true, false, &token), None);
            assert_eq!(number(&with_header[..length], true, true, &token), None);
        }
    }
}
