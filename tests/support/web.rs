//! HTTP servers on loopback: a real nginx, and one that does what no good server does.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start servers and write their configuration")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use sha2::{Digest as _, Sha256};

use super::sshd::{answers, free_ports};

/// A server whose answers a test writes, byte by byte.
pub struct Web {
    /// The loopback port it listens on.
    pub port: u16,
    host: &'static str,
    requests: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Web {
    /// Answers every request by a function of the request and its number, from 1; the connection ends after it.
    pub fn start(answer: impl Fn(&str, usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1", answer)
    }

    /// The same at `127.0.0.1` or `[::1]`.
    pub fn at(
        host: &'static str,
        answer: impl Fn(&str, usize, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(format!("{host}:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, ended, answer) = (requests.clone(), over.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (mut stream, seen, answer) = (stream.unwrap(), seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
                    let Some(request) = request(&mut stream) else { return };
                    let number = {
                        let mut seen = seen.lock();
                        seen.push(request.clone());
                        seen.len()
                    };
                    answer(&request, number, &mut stream);
                });
            }
        });
        Self { port, host, requests, over }
    }

    /// Answers every request with the same text.
    pub fn says(status: &'static str, body: &'static str) -> Self {
        Self::start(move |_, _, stream| reply(stream, status, "", body.as_bytes()))
    }

    /// The address of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.host, self.port)
    }

    /// Every request so far, as it came.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(format!("{}:{}", self.host, self.port));
    }
}

/// A proxy that leads whoever asks for a tunnel (`CONNECT`) to one port of this machine, and answers nothing else.
pub fn tunnel(host: &'static str, to: u16) -> Web {
    Web::at(host, move |request, _, stream| {
        if request.starts_with("CONNECT ") {
            let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            super::tls::relay(stream, to);
        }
    })
}

fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

/// Writes a whole answer.
pub fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

/// Holds a connection until the other side ends it, at most 20 s.
pub fn hold(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0]);
}

/// A running nginx with TLS; it ends with this value.
pub struct Nginx {
    child: Child,
    folder: tempfile::TempDir,
    /// Ports: a right certificate, an expired one, one for another name, and none.
    pub ports: [u16; 4],
}

impl Nginx {
    /// Starts a server; `None`, with a line on standard error, where nginx is not installed.
    pub fn start() -> Option<Self> {
        let program =
            ["/usr/sbin/nginx", "/usr/bin/nginx"].map(Path::new).into_iter().find(|path| path.exists());
        let Some(program) = program else {
            eprintln!("skipped: nginx is not installed");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("nlrun-nginx-").tempdir().unwrap();
        let at = folder.path();
        certificates(at);
        let ports = free_ports();
        let mut servers = String::new();
        for (port, name) in ports.iter().zip(["right", "expired", "other", ""]) {
            let tls = if name.is_empty() {
                format!("listen 127.0.0.1:{port};")
            } else {
                format!(
                    "listen 127.0.0.1:{port} ssl http2; ssl_certificate {name}.pem; ssl_certificate_key {name}.key;"
                )
            };
            servers += &format!(
                "server {{ {tls} server_name _; default_type application/json; \
                   location = /info {{ return 200 '{{\"protocol\":\"$server_protocol\",\"host\":\"$host\",\
                     \"name\":\"$ssl_server_name\",\"requests\":$connection_requests,\"connection\":$connection}}'; }} \
                   location = /auth {{ return 200 '{{\"got\":\"$http_authorization\"}}'; }} \
                   location = /moved {{ return 302 /info; }} \
                   location = /missing {{ return 404 'no such thing'; }} \
                   location / {{ root .; gzip on; gzip_types *; gzip_min_length 10; }} }}\n"
            );
        }
        let configuration = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;\nevents {{}}\n\
             http {{ access_log off; client_body_temp_path {0}/t; proxy_temp_path {0}/t; fastcgi_temp_path {0}/t; \
             uwsgi_temp_path {0}/t; scgi_temp_path {0}/t;\n{servers}}}\n",
            at.display()
        );
        std::fs::write(at.join("nginx.conf"), configuration).unwrap();
        std::fs::write(at.join("large"), "x".repeat(100_000)).unwrap();
        let mut command = Command::new(program);
        command.arg("-p").arg(at).arg("-c").arg(at.join("nginx.conf")).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut nginx = Self { child, folder, ports };
        assert!(ports.iter().all(|port| answers(&mut nginx.child, *port)), "nginx does not start");
        Some(nginx)
    }

    /// The certificate of the authority, in PEM.
    pub fn authority(&self) -> String {
        std::fs::read_to_string(self.path("ca.pem")).unwrap()
    }

    /// The SHA-256 of a server's certificate, in hex.
    pub fn pin(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path(&format!("{name}.der"))).unwrap();
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes an authority and the certificates that it signs.
/// Writes an authority, and right, expired and other certificates with their keys.
pub fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for (name, names) in [
        ("right", vec!["localhost", "127.0.0.1", "api.example.com"]),
        ("expired", vec!["localhost", "127.0.0.1"]),
        ("other", vec!["other.example.com"]),
    ] {
        let mut params =
            CertificateParams::new(names.into_iter().map(str::to_owned).collect::<Vec<_>>()).unwrap();
        if name == "expired" {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.der")), certificate.der()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
