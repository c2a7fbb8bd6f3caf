//! A real mail server on loopback (aiosmtpd): STARTTLS, TLS or neither, with a login, and what it has taken.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start servers and write their configuration")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Prints the port, then each mail as it is taken, between lines that stand alone.
const PROGRAM: &str = r#"
import asyncio, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

mode, folder = sys.argv[1], sys.argv[2]

class Taken:
    async def handle_DATA(self, server, session, envelope):
        with open(f"{folder}/mails", "ab") as file:
            file.write(b"From %s to %s\n" % (envelope.mail_from.encode(), ",".join(envelope.rcpt_tos).encode()))
            file.write(envelope.content.replace(b"\r\n", b"\n") + b"\n=====\n")
        return "250 OK"

def check(server, session, envelope, mechanism, data):
    good = data.login == b"nlrun" and data.password == b"correct horse"
    # Not handled: the server itself says 535.
    return AuthResult(success=good, handled=good)

context = None
if mode != "none":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/right.pem", f"{folder}/right.key")

def box():
    options = dict(hostname="localhost")
    if mode == "starttls":
        options.update(tls_context=context, require_starttls=True)
    if mode != "none":
        options.update(authenticator=check, auth_required=True, auth_require_tls=mode == "starttls")
    return SMTP(Taken(), **options)

async def main():
    loop = asyncio.get_running_loop()
    wrapped = context if mode == "tls" else None
    server = await loop.create_server(box, "127.0.0.1", 0, ssl=wrapped)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"#;

/// A running mail server; it ends with this value.
pub struct Mailbox {
    child: Child,
    /// The loopback port.
    pub port: u16,
    folder: tempfile::TempDir,
}

impl Mailbox {
    /// Starts one: `none`, `starttls` or `tls`; `None`, with a line on standard error, where aiosmtpd is not installed.
    pub fn start(mode: &str) -> Option<Self> {
        let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/mail/bin/python");
        if !python.is_file() {
            eprintln!("skipped: aiosmtpd is not installed");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("nlrun-mail-").tempdir().unwrap();
        super::web::certificates(folder.path());
        let mut child = Command::new(python)
            .args(["-c", PROGRAM, mode])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the mail server says its port");
        Some(Self { child, port, folder })
    }

    /// The authority that signed its certificate.
    pub fn ca(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("ca.pem")).unwrap()
    }

    /// Every mail that it has taken.
    pub fn mails(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("mails")).unwrap_or_default();
        text.split("\n=====\n").filter(|mail| !mail.trim().is_empty()).map(str::to_owned).collect()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // Its program ends when its standard input does; at the latest now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
