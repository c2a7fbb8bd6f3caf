//! Questions and answers on the wire (RFC 1035, 4), by `simple-dns`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

use crate::model::port;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(TYPE);

/// A text that names no type of records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no type of records that can be asked for: A, AAAA, CAA, CNAME, MX, NS, PTR, SOA, SRV, TXT")]
pub struct UnknownKind(String);

/// Names of types, and what they are on the wire.
const KINDS: [(&str, TYPE); 10] = [
    ("A", TYPE::A),
    ("AAAA", TYPE::AAAA),
    ("CAA", TYPE::CAA),
    ("CNAME", TYPE::CNAME),
    ("MX", TYPE::MX),
    ("NS", TYPE::NS),
    ("PTR", TYPE::PTR),
    ("SOA", TYPE::SOA),
    ("SRV", TYPE::SRV),
    ("TXT", TYPE::TXT),
];

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let known = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        known.map(|(_, kind)| Self(*kind)).ok_or_else(|| UnknownKind(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&words(self.0))
    }
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose it is, without a dot at the end.
    pub name: String,
    /// `A`, `CNAME` …; `TYPE46` for one that has no name here.
    pub r#type: String,
    /// How many seconds it may be kept.
    pub ttl: u32,
    /// What it says, as zone files write it, names without a dot at the end and texts without quotes; nothing for types that cannot
    /// be asked for.
    pub data: Option<String>,
}

/// A question, ready to be sent.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    id: u16,
    name: String,
    kind: TYPE,
}

impl Message {
    /// Writes a question; for `PTR`, an address stands for its name in the reverse tree (RFC 1035, 3.5; RFC 3596, 2.5).
    pub(super) fn new(text: &str, kind: Kind) -> Result<Self, String> {
        let wrong =
            || format!("`{}` is not a name that DNS can have", text.chars().take(80).collect::<String>());
        let name = match text.parse::<IpAddr>() {
            Ok(address) if kind.0 == TYPE::PTR => reverse(address),
            Ok(_) => return Err(format!("`{text}` is an address; only `PTR` is asked for addresses")),
            Err(_) if text.is_ascii() => text.strip_suffix('.').unwrap_or(text).to_owned(),
            Err(_) => port::host(text).map_err(|_| wrong())?,
        };
        let is_plain = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        };
        if !(name.is_empty() && text == "." || name.split('.').all(is_plain)) {
            return Err(wrong());
        }
        let mut id = [0; 2];
        SystemRandom::new().fill(&mut id).map_err(|_| "this machine has no randomness".to_owned())?;
        let id = u16::from_be_bytes(id);
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let qname = Name::new(&name).map_err(|_| wrong())?;
        packet.questions.push(Question::new(qname, QTYPE::TYPE(kind.0), QCLASS::CLASS(CLASS::IN), false));
        let bytes = packet.build_bytes_vec().map_err(|_| wrong())?;
        Ok(Self { bytes, id, name, kind: kind.0 })
    }

    /// Whether bytes are an answer to this question, as far as their beginning tells.
    pub(super) fn is_answered_by(&self, bytes: &[u8]) -> bool {
        let [high, low, flags, ..] = bytes else { return false };
        u16::from_be_bytes([*high, *low]) == self.id && flags & 0x80 != 0 && bytes.len() >= 12
    }

    /// Reads an answer.
    pub(super) fn read(&self, bytes: &[u8], server: SocketAddr) -> Result<super::Reply, String> {
        let packet =
            Packet::parse(bytes).map_err(|error| format!("the answer of {server} is damaged: {error}"))?;
        let is_ours = |question: &Question<'_>| {
            question.qtype == QTYPE::TYPE(self.kind)
                && question.qname.to_string().eq_ignore_ascii_case(&self.name)
        };
        // A server that understood nothing repeats no question.
        if !packet.questions.iter().all(is_ours) {
            return Err(format!("{server} answers another question"));
        }
        Ok(super::Reply {
            code: code(bytes[3] & 0x0f),
            answers: packet.answers.iter().map(record).collect(),
            is_authoritative: packet.has_flags(PacketFlag::AUTHORITATIVE_ANSWER),
            server,
        })
    }
}

/// Whether an answer was cut because it did not fit.
pub(super) fn is_cut(bytes: &[u8]) -> bool {
    bytes.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let digits = address.octets().into_iter().rev().flat_map(|byte| [byte & 0x0f, byte >> 4]);
            let labels: Vec<String> = digits.map(|digit| format!("{digit:x}")).collect();
            format!("{}.ip6.arpa", labels.join("."))
        }
    }
}

/// Names of codes (RFC 1035, 4.1.1; RFC 2136, 2.2).
fn code(code: u8) -> String {
    let known = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
        "NOTAUTH", "NOTZONE",
    ];
    known.get(usize::from(code)).map_or_else(|| format!("RCODE{code}"), |name| (*name).to_owned())
}

fn words(kind: TYPE) -> String {
    let known = KINDS.iter().find(|(_, known)| *known == kind);
    known.map_or_else(|| format!("TYPE{}", u16::from(kind)), |(name, _)| (*name).to_owned())
}

fn record(record: &ResourceRecord<'_>) -> Record {
    Record {
        name: name(&record.name),
        r#type: words(record.rdata.type_code()),
        ttl: record.ttl,
        data: data(&record.rdata),
    }
}

fn name(name: &Name<'_>) -> String {
    let text = name.to_string();
    if text.is_empty() { ".".to_owned() } else { text }
}

fn data(data: &RData<'_>) -> Option<String> {
    Some(match data {
        RData::A(a) => Ipv4Addr::from(a.address).to_string(),
        RData::AAAA(aaaa) => Ipv6Addr::from(aaaa.address).to_string(),
        RData::CNAME(other) => name(other),
        RData::NS(server) => name(server),
        RData::PTR(host) => name(host),
        RData::MX(mx) => format!("{} {}", mx.preference, name(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target)),
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            name(&soa.mname),
            name(&soa.rname),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        RData::TXT(text) => match String::try_from(text.clone()) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        },
        RData::CAA(caa) => {
            format!("{} {} {}", caa.flag, caa.tag, String::from_utf8_lossy(&caa.value).trim_matches('"'))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_dns_can_have() {
        for (text, kind, expected) in [
            ("Example.com.", "a", Some("Example.com")),
            ("_ldap._tcp.example.com", "SRV", Some("_ldap._tcp.example.com")),
            ("bücher.example", "A", Some("xn--bcher-kva.example")),
            (".", "NS", Some("")),
            ("10.0.0.53", "PTR", Some("53.0.0.10.in-addr.arpa")),
            (
                "2001:db8::1",
                "PTR",
                Some("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
            ),
            ("10.0.0.53", "A", None),
            ("", "A", None),
            ("a..b", "A", None),
            ("a b", "A", None),
            ("a\\.b", "A", None),
            ("ü b", "A", None),
        ] {
            let found = Message::new(text, kind.parse().unwrap());
            assert_eq!(found.ok().map(|message| message.name).as_deref(), expected, "{text}");
        }
        assert!(Message::new(&"a".repeat(64), "A".parse().unwrap()).is_err());
        assert!(Message::new(&"a.".repeat(128), "A".parse().unwrap()).is_err());
        assert!("ANY".parse::<Kind>().is_err());
    }

    #[test]
    fn rubbish_is_no_answer() {
        let message = Message::new("a.example", "A".parse().unwrap()).unwrap();
        let server: SocketAddr = "127.0.0.1:53".parse().unwrap();
        let mut seed = 7u32;
        for length in 12..600 {
            let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .take(length)
            .collect();
            bytes[..2].copy_from_slice(&message.id.to_be_bytes());
            bytes[2] |= 0x80;
            assert!(message.is_answered_by(&bytes));
            // No outcome but these two: it ends, and does not panic.
            let read = message.read(&bytes, server);
            assert!(read.is_err() || read.is_ok_and(|reply| reply.answers.len() < 50));
        }
        assert!(!message.is_answered_by(&[]));
        assert!(!message.is_answered_by(&message.bytes), "a question is no answer");
    }
}
