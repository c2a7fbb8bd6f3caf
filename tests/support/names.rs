//! A small DNS server on loopback, over UDP and TCP: strict about questions, and odd on demand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests end their servers by connecting to them")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use simple_dns::rdata::{A, AAAA, CAA, CNAME, MX, NS, PTR, RData, SOA, SRV, TXT};
use simple_dns::{CLASS, CharacterString, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

/// A running server; it ends with this value.
pub struct Names {
    /// The loopback port, for UDP and TCP.
    pub port: u16,
    questions: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Names {
    /// Starts.
    pub fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The same number need not be free for both.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let port = udp.local_addr().unwrap().port();
        let (questions, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let names = Self { port, questions: questions.clone(), over: over.clone() };
        udp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (seen, ended) = (questions.clone(), over.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !ended.load(Ordering::Relaxed) {
                let Ok((count, from)) = udp.recv_from(&mut bytes) else { continue };
                for reply in answer(&bytes[..count], "udp", &seen) {
                    let _ = udp.send_to(&reply, from);
                }
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut bytes).unwrap();
                for reply in answer(&bytes, "tcp", &questions) {
                    let mut framed = (reply.len() as u16).to_be_bytes().to_vec();
                    framed.extend(reply);
                    let _ = stream.write_all(&framed);
                }
            }
        });
        names
    }

    /// Every question so far: `udp A www.example.com`.
    pub fn questions(&self) -> Vec<String> {
        self.questions.lock().clone()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn named(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

/// Returns the replies to a question, in their order; what no good client sends gets none.
fn answer(bytes: &[u8], over: &str, seen: &Mutex<Vec<String>>) -> Vec<Vec<u8>> {
    let question = Packet::parse(bytes).expect("the question is well formed");
    assert!(question.has_flags(PacketFlag::RECURSION_DESIRED) && !question.has_flags(PacketFlag::RESPONSE));
    assert!(question.answers.is_empty() && question.questions.len() == 1);
    let asked = question.questions[0].clone();
    let QTYPE::TYPE(kind) = asked.qtype else { panic!("{:?}", asked.qtype) };
    let text = asked.qname.to_string();
    seen.lock().push(format!("{over} {kind:?} {text}"));

    let mut reply = Packet::new_reply(question.id());
    reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    reply.questions.push(asked.clone());
    let ipv4 = |last: u8| RData::A(A { address: Ipv4Addr::new(192, 0, 2, last).into() });
    let add = |reply: &mut Packet<'_>, name: &str, data: RData<'static>| {
        reply.answers.push(ResourceRecord::new(named(name).into_owned(), CLASS::IN, 300, data));
    };
    match (text.to_ascii_lowercase().as_str(), kind) {
        ("www.example.com", TYPE::A) => {
            add(&mut reply, &text, RData::CNAME(CNAME(named("web.example.com"))));
            add(&mut reply, "web.example.com", ipv4(7));
            reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        }
        ("www.example.com", TYPE::AAAA) => {
            let address = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap();
            add(&mut reply, &text, RData::AAAA(AAAA { address: address.into() }));
        }
        ("example.com", TYPE::MX) => {
            add(&mut reply, &text, RData::MX(MX { preference: 10, exchange: named("mail.example.com") }));
        }
        ("example.com", TYPE::TXT) => {
            let mut two = TXT::new();
            two.add_string("v=spf1 -all").unwrap();
            two.add_char_string(CharacterString::new(b" \xff").unwrap());
            add(&mut reply, &text, RData::TXT(two));
        }
        ("_ldap._tcp.example.com", TYPE::SRV) => {
            let data = SRV { priority: 0, weight: 5, port: 389, target: named("dc1.example.com") };
            add(&mut reply, &text, RData::SRV(data));
        }
        ("example.com", TYPE::NS) => add(&mut reply, &text, RData::NS(NS(named("ns1.example.com")))),
        ("7.2.0.192.in-addr.arpa", TYPE::PTR) => {
            add(&mut reply, &text, RData::PTR(PTR(named("web.example.com"))));
        }
        ("example.com", TYPE::SOA) => {
            let (mname, rname) = (named("ns1.example.com"), named("admin.example.com"));
            let data =
                SOA { mname, rname, serial: 7, refresh: 3600, retry: 600, expire: 86_400, minimum: 60 };
            add(&mut reply, &text, RData::SOA(data));
        }
        ("example.com", TYPE::CAA) => {
            let tag = CharacterString::new(b"issue").unwrap();
            add(&mut reply, &text, RData::CAA(CAA { flag: 0, tag, value: b"ca.example.net"[..].into() }));
        }
        ("large.example.com", TYPE::A) if over == "udp" => reply.set_flags(PacketFlag::TRUNCATION),
        ("large.example.com", TYPE::A) => {
            for last in 0..200 {
                add(&mut reply, &text, ipv4(last));
            }
        }
        ("empty.example.com", _) => {}
        ("broken.example.com", _) => *reply.rcode_mut() = RCODE::ServerFailure,
        ("silent.example.com", _) => return Vec::new(),
        ("garbage.example.com", _) => {
            let mut bytes = reply.build_bytes_vec().unwrap();
            // More answers than there are.
            bytes[7] = 9;
            return vec![bytes];
        }
        ("forged.example.com", _) => {
            // A late answer to something else, and something that is no answer at all.
            let mut other = Packet::new_reply(question.id().wrapping_add(1));
            other.questions.push(asked.clone());
            add(&mut other, "forged.example.com", ipv4(66));
            add(&mut reply, &text, ipv4(8));
            return vec![
                other.build_bytes_vec().unwrap(),
                b"rubbish".to_vec(),
                reply.build_bytes_vec().unwrap(),
            ];
        }
        ("other.example.com", _) => {
            reply.questions[0].qname = named("evil.example.org");
            add(&mut reply, "other.example.com", ipv4(66));
        }
        ("twice.example.com", _) => {
            // The first datagram is lost.
            if seen.lock().iter().filter(|line| line.ends_with("twice.example.com")).count() < 2 {
                return Vec::new();
            }
            add(&mut reply, &text, ipv4(9));
        }
        _ => *reply.rcode_mut() = RCODE::NameError,
    }
    vec![reply.build_bytes_vec_compressed().unwrap()]
}
