//! TLS servers on loopback: a real nginx with a chain in every state, `openssl s_server`, and ports that speak no TLS.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start servers and write their configuration")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::certificates::{Forge, Wish};
use super::sshd::{answers, free_port, free_ports};

/// What a server of the tests shows, by its place in [`Shop::ports`].
const SHOWN: [(&str, &[&str], &str); 5] = [
    ("whole", &["leaf.pem", "middle.pem"], ""),
    ("short", &["leaf.pem"], ""),
    ("expired", &["old.pem", "middle.pem"], ""),
    ("guarded", &["leaf.pem", "middle.pem"], "ssl_verify_client on; ssl_client_certificate root.pem;"),
    ("own", &["own.pem"], ""),
];

/// Certificates, and a real nginx that shows them.
pub struct Shop {
    /// The files: `root middle leaf old own`, each with `.pem` and `.key`.
    pub forge: Forge,
    child: Child,
    ports: [u16; SHOWN.len()],
}

impl Shop {
    /// Starts nginx; `None`, with a line on standard error, where it is not installed.
    pub fn open() -> Option<Self> {
        let program =
            ["/usr/sbin/nginx", "/usr/bin/nginx"].map(Path::new).into_iter().find(|path| path.exists());
        let Some(program) = program else {
            eprintln!("skipped: nginx is not installed");
            return None;
        };
        let forge = certificates();
        let ports: [u16; SHOWN.len()] = free_ports();
        let mut servers = String::new();
        for ((name, files, more), port) in SHOWN.iter().zip(ports) {
            std::fs::write(forge.path(&format!("shown-{name}.pem")), forge.join(files)).unwrap();
            let key = files[0].replace(".pem", ".key");
            servers += &format!(
                "server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate shown-{name}.pem; ssl_certificate_key {key}; {more} \
                 return 200; }}\n"
            );
        }
        let at = forge.path("");
        let at = at.display().to_string();
        let at = at.trim_end_matches('/');
        let configuration = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\nevents {{}}\n\
             http {{ access_log off; ssl_protocols TLSv1.2 TLSv1.3; client_body_temp_path {at}/t; proxy_temp_path {at}/t; fastcgi_temp_path {at}/t; \
             uwsgi_temp_path {at}/t; scgi_temp_path {at}/t;\n{servers}}}\n"
        );
        std::fs::write(forge.path("nginx.conf"), configuration).unwrap();
        let mut command = Command::new(program);
        command.arg("-p").arg(at).arg("-c").arg(forge.path("nginx.conf")).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut shop = Self { forge, child, ports };
        assert!(ports.iter().all(|port| answers(&mut shop.child, *port)), "nginx does not start");
        Some(shop)
    }

    /// The port that shows this.
    pub fn port(&self, name: &str) -> u16 {
        let place = SHOWN.iter().position(|(known, ..)| *known == name).expect("a server of that name");
        self.ports[place]
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a chain with names of this machine, an expired leaf of the same key, and one that signed itself.
pub fn certificates() -> Forge {
    let forge = Forge::chain();
    let names =
        "basicConstraints=critical,CA:false\nsubjectAltName=DNS:localhost,DNS:www.example.com,IP:127.0.0.1\n";
    forge.sign("leaf", "leaf", "middle", &Wish { extensions: names, ..Wish::server("www.example.com") });
    for name in ["old", "own"] {
        forge.key(name, "P-256");
    }
    forge.sign("old", "old", "middle", &Wish { extensions: names, days: -1, ..Wish::server("old") });
    forge.sign("own", "own", "own", &Wish { extensions: names, ..Wish::server("own") });
    forge
}

/// `openssl s_server`; it ends with this value.
pub struct Openssl {
    child: Child,
    /// The loopback port it listens on.
    pub port: u16,
}

impl Openssl {
    /// Shows `leaf` and `middle`, with more words on the command line.
    pub fn start(forge: &Forge, words: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")]);
        command.args(["-cert", "leaf.pem", "-key", "leaf.key", "-cert_chain", "middle.pem"]).args(words);
        command.current_dir(forge.path("")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl is installed");
        assert!(answers(&mut child, port), "openssl s_server does not start");
        Self { child, port }
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port whose every connection is answered by a function of the test.
pub struct Odd {
    /// The loopback port it listens on.
    pub port: u16,
    over: Arc<AtomicBool>,
}

impl Odd {
    /// Starts to listen; each connection gets a thread.
    pub fn start(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (over, answer) = (Arc::new(AtomicBool::new(false)), Arc::new(answer));
        let ended = over.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (mut stream, answer) = (stream.unwrap(), answer.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    answer(&mut stream);
                });
            }
        });
        Self { port, over }
    }

    /// A strict mail server: it answers nothing but what RFC 3207 allows, and goes on with TLS at another port.
    pub fn mail(extensions: &'static [&'static str], tls: u16) -> Self {
        Self::start(move |stream| {
            let _ = stream.write_all(b"220-mail.example.com\r\n220 ESMTP\r\n");
            while let Some(line) = line(stream) {
                let reply = if line.starts_with("EHLO ") && line.contains('.') {
                    let mut lines = vec!["250-mail.example.com".to_owned()];
                    lines.extend(extensions.iter().map(|name| format!("250-{name}")));
                    lines.push("250 8BITMIME".to_owned());
                    lines.join("\r\n")
                } else if line == "STARTTLS" {
                    "220 ready".to_owned()
                } else {
                    "500 what".to_owned()
                };
                let _ = stream.write_all(format!("{reply}\r\n").as_bytes());
                if reply.starts_with("220") {
                    relay(stream, tls);
                    return;
                }
            }
        })
    }

    /// A mailbox server that goes on with TLS at another port.
    pub fn mailbox(tls: u16) -> Self {
        Self::start(move |stream| {
            let _ = stream.write_all(b"* OK IMAP4rev1\r\n");
            if line(stream).as_deref() == Some("a1 STARTTLS") {
                let _ = stream.write_all(b"* CAPABILITY IMAP4rev1\r\na1 OK begin\r\n");
                relay(stream, tls);
            }
        })
    }

    /// A directory that goes on with TLS at another port: it knows one request, and gives this answer.
    pub fn directory(answer: &'static [u8], tls: u16) -> Self {
        Self::start(move |stream| {
            // RFC 4511, 4.14.1, byte by byte: message 1, an extended request, the name of StartTLS.
            let wanted = [b"0\x1d\x02\x01\x01w\x18\x80\x16".as_slice(), b"1.3.6.1.4.1.1466.20037"].concat();
            agree(stream, &wanted, answer, tls);
        })
    }

    /// A database that goes on with TLS at another port where its answer is `S`.
    pub fn database(answer: &'static [u8], tls: u16) -> Self {
        Self::start(move |stream| agree(stream, &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f], answer, tls))
    }
}

/// Reads one request, and passes on what follows when it is the right one.
fn agree(stream: &mut TcpStream, wanted: &[u8], answer: &[u8], tls: u16) {
    let mut request = vec![0; wanted.len()];
    if stream.read_exact(&mut request).is_ok() && request == wanted {
        // In two pieces, as a network may bring it.
        let (first, second) = answer.split_at(answer.len() / 2);
        let _ = stream.write_all(first).and_then(|()| stream.flush());
        std::thread::yield_now();
        let _ = stream.write_all(second);
        relay(stream, tls);
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Reads to the end of a line, byte by byte, so that nothing of what follows is taken.
fn line(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while bytes.last() != Some(&b'\n') {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// Passes on what both sides say until they end.
pub fn relay(stream: &mut TcpStream, port: u16) {
    let mut there = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut from, mut to) = (stream.try_clone().unwrap(), there.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut there, stream);
    let _ = stream.shutdown(std::net::Shutdown::Both);
}
