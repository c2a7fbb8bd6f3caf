//! A real OpenSSH server on loopback, with keys and a folder of its own, gone when dropped.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start servers and write their configuration")]

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nlrun::world::host::Endpoint;

const SSHD: &str = "/usr/sbin/sshd";

/// Describes a server before it is started.
#[derive(Default)]
pub struct Builder {
    lines: Vec<String>,
    host_certificate: Option<&'static [&'static str]>,
    second_key: bool,
    rsa_key: bool,
    debug: bool,
}

/// A running server.
pub struct Sshd {
    child: Child,
    folder: tempfile::TempDir,
    /// The loopback port it listens on.
    pub port: u16,
    /// Who can log in.
    pub user: String,
}

impl Sshd {
    /// Starts a server with the defaults; `None`, with a line on standard error, where that cannot be done.
    pub fn start() -> Option<Self> {
        Self::builder().start()
    }

    /// Describes a server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The server's folder: keys, configuration, `known_hosts`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A `known_hosts` file that holds the server's key.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder().join("known_hosts")
    }

    /// The key that may log in.
    pub fn client_key(&self) -> PathBuf {
        self.folder().join("client")
    }

    /// The server's public key as text: type and base64.
    pub fn host_key(&self) -> String {
        let text = std::fs::read_to_string(self.folder().join("host.pub")).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// An endpoint that can log in.
    pub fn endpoint(&self) -> Endpoint {
        let mut endpoint = Endpoint::new("sshd", "127.0.0.1", self.port, &self.user);
        endpoint.identity_files = vec![self.client_key()];
        endpoint.known_hosts = vec![self.known_hosts()];
        endpoint
    }

    /// The same, ready for the pool.
    pub fn shared(&self) -> Arc<Endpoint> {
        Arc::new(self.endpoint())
    }

    /// Makes a key pair in the server's folder and returns its path.
    pub fn keygen(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.folder().join(name);
        keygen(&path, arguments);
        path
    }

    /// Lets the key `name` log in, too.
    pub fn authorize(&self, key: &Path) {
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let path = self.folder().join("authorized_keys");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += &public;
        std::fs::write(path, text).unwrap();
    }

    /// What the server wrote to its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Builder {
    /// Adds a line to `sshd_config`.
    #[must_use]
    pub fn config(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Gives the server a host certificate for `127.0.0.1`, signed by the key `ca` in its folder.
    #[must_use]
    pub fn host_certificate(self) -> Self {
        self.certificate(&["-h", "-n", "127.0.0.1", "-V", "-5m:+1h"])
    }

    /// Gives the server a certificate as `ssh-keygen` makes it with these arguments.
    #[must_use]
    pub fn certificate(mut self, arguments: &'static [&'static str]) -> Self {
        self.host_certificate = Some(arguments);
        self
    }

    /// Gives the server an ECDSA key, `second`, besides its first.
    #[must_use]
    pub fn second_host_key(mut self) -> Self {
        self.second_key = true;
        self
    }

    /// Gives the server an RSA key as short as old gear has it, instead of its first.
    #[must_use]
    pub fn old_host_key(mut self) -> Self {
        self.rsa_key = true;
        self
    }

    /// Lets the server log in detail.
    #[must_use]
    pub fn debug(mut self) -> Self {
        self.debug = true;
        self
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Option<Sshd> {
        if !Path::new(SSHD).exists() {
            eprintln!("skipped: {SSHD} is not installed");
            return None;
        }
        let is_root = rustix::process::getuid().is_root();
        if is_root {
            // sshd separates its privileges in this folder, which lives in memory on Debian.
            let _ = std::fs::create_dir_all("/run/sshd");
        }
        let folder = tempfile::Builder::new().prefix("nlrun-sshd-").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // Other users than the one who runs the tests log in, too, and read their authorized keys here.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let kind: &[&str] = if self.rsa_key { &["-t", "rsa", "-b", "1024"] } else { &["-t", "ed25519"] };
        keygen(&path("host"), kind);
        keygen(&path("client"), &["-t", "ed25519"]);
        std::fs::copy(path("client.pub"), path("authorized_keys")).unwrap();
        let user = if is_root { "root".to_owned() } else { whoami() };
        // Of two lines with one keyword sshd takes the first, so the test's own come first.
        let own = self.lines.join("\n").replace("FOLDER", &folder.path().display().to_string());
        let mut config = format!(
            "{own}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             UsePAM no\nStrictModes no\nPermitRootLogin yes\nPrintMotd no\nUseDNS no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\n",
            path("host").display(),
            path("authorized_keys").display(),
        );
        if let Some(arguments) = self.host_certificate {
            keygen(&path("ca"), &["-t", "ed25519"]);
            let signed = Command::new("ssh-keygen")
                .args(["-q", "-s"])
                .arg(path("ca"))
                .args(["-I", "test host"])
                .args(arguments)
                .arg(path("host.pub"))
                .status()
                .unwrap();
            assert!(signed.success());
            writeln!(config, "HostCertificate {}", path("host-cert.pub").display()).unwrap();
        }
        if self.second_key {
            keygen(&path("second"), &["-t", "ecdsa"]);
            writeln!(config, "HostKey {}", path("second").display()).unwrap();
        }
        std::fs::write(path("config"), config).unwrap();
        let (child, port) = (0..5)
            .find_map(|_| listen(folder.path(), self.debug))
            .unwrap_or_else(|| panic!("sshd: {}", std::fs::read_to_string(path("log")).unwrap()));
        let sshd = Sshd { child, folder, port, user };
        std::fs::write(sshd.known_hosts(), format!("[127.0.0.1]:{port} {}\n", sshd.host_key())).unwrap();
        Some(sshd)
    }
}

/// Starts sshd on a free port and waits until it answers; `None` when another took the port first.
fn listen(folder: &Path, debug: bool) -> Option<(Child, u16)> {
    let port = free_port();
    let mut child = Command::new(SSHD)
        .args(["-D", "-e", "-p", &port.to_string(), "-f"])
        .arg(folder.join("config"))
        .args(debug.then_some(["-o", "LogLevel=DEBUG2"]).into_iter().flatten())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    answers(&mut child, port).then_some((child, port))
}

/// Waits until a server that was just started answers; `false` when it ended because another took its port.
pub fn answers(child: &mut Child, port: u16) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < until, "the server does not answer");
        std::thread::yield_now();
    }
    // Whoever answers has to be this one.
    child.try_wait().unwrap().is_none()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Ports that were free a moment ago; no two are the same, as those of one call after another may be.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Makes a key pair without a passphrase, unless the arguments name one.
pub fn keygen(path: &Path, arguments: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.arg("-q").arg("-f").arg(path).args(["-C", "test"]).args(arguments);
    if !arguments.contains(&"-N") {
        command.args(["-N", ""]);
    }
    assert!(command.status().unwrap().success());
}

fn whoami() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
