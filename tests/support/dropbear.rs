//! A host that is all busybox, with dropbear as its SSH server: a small root folder in namespaces of its own.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]
#![expect(clippy::disallowed_methods, reason = "tests start servers and write their files")]

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nlrun::world::host::Endpoint;

use super::sshd::{answers, free_port, keygen};

/// A running host; it ends with this value.
pub struct Dropbear {
    child: Child,
    folder: tempfile::TempDir,
    /// The loopback port it listens on.
    pub port: u16,
}

/// The number of the user `ops`, on the host and so on this machine.
const OPS: u32 = 41_234;

/// What only root may prepare, and then the server.
const START: &str = r#"set -e
cd "$1"
mount -t proc proc proc
for node in null zero urandom; do mount --bind /dev/$node dev/$node; done
shift
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /bin/dropbear -F -E -P '' -r /etc/dropbear_key -p "$@"
"#;

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

fn said(program: &Path, arguments: &[&str]) -> String {
    String::from_utf8(Command::new(program).args(arguments).output().unwrap().stdout).unwrap()
}

impl Dropbear {
    /// Starts a host; `None`, with a line on standard error, where that cannot be done.
    pub fn start() -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            eprintln!("skipped: only root makes the namespaces of a busybox host");
            return None;
        }
        let missing = ["dropbear", "dropbearkey", "busybox", "openssl"].map(|name| (name, program(name)));
        if let Some((name, _)) = missing.iter().find(|(_, path)| path.is_none()) {
            eprintln!("skipped: {name} is not installed");
            return None;
        }
        let [(_, Some(dropbear)), _, (_, Some(busybox)), _] = missing else { unreachable!() };
        let folder = tempfile::Builder::new().prefix("nlrun-dropbear-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        keygen(&folder.path().join("client"), &["-t", "ed25519"]);
        furnish(folder.path(), &dropbear, &busybox);
        let log = folder.path().join("log");
        let (child, port) = (0..5)
            .find_map(|_| {
                let port = free_port();
                let mut child = Command::new("unshare")
                    .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", START, "sh"])
                    .arg(folder.path().join("root"))
                    .arg(format!("127.0.0.1:{port}"))
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(std::fs::File::create(&log).unwrap())
                    .spawn()
                    .unwrap();
                answers(&mut child, port).then_some((child, port))
            })
            .unwrap_or_else(|| panic!("dropbear: {}", std::fs::read_to_string(&log).unwrap()));
        let host = Self { child, folder, port };
        let public = said(&program("dropbearkey").unwrap(), &["-y", "-f", &host.root("etc/dropbear_key")]);
        let key = public.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
        std::fs::write(host.known_hosts(), format!("[127.0.0.1]:{port} {key}\n")).unwrap();
        Some(host)
    }

    fn root(&self, name: &str) -> String {
        self.folder.path().join("root").join(name).display().to_string()
    }

    /// A `known_hosts` file that holds the server's key.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// The key that may log in as `root` and as `ops`, whose password is `opens`.
    pub fn client_key(&self) -> PathBuf {
        self.folder.path().join("client")
    }

    /// Lets the key log in as root, too.
    pub fn authorize(&self, key: &Path) {
        let mut keys =
            std::fs::OpenOptions::new().append(true).open(self.root("root/.ssh/authorized_keys")).unwrap();
        keys.write_all(&std::fs::read(key.with_extension("pub")).unwrap()).unwrap();
    }

    /// An endpoint that can log in as root.
    pub fn endpoint(&self) -> Endpoint {
        let mut endpoint = Endpoint::new("dropbear", "127.0.0.1", self.port, "root");
        endpoint.identity_files = vec![self.client_key()];
        endpoint.known_hosts = vec![self.known_hosts()];
        endpoint
    }

    /// The same, ready for the pool.
    pub fn shared(&self) -> Arc<Endpoint> {
        Arc::new(self.endpoint())
    }

    /// How many logins there were.
    pub fn logins(&self) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.matches("auth succeeded").count()
    }
}

impl Drop for Dropbear {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fills `root` below the folder: busybox under all its names, dropbear with its libraries, two users.
fn furnish(folder: &Path, dropbear: &Path, busybox: &Path) {
    let root = folder.join("root");
    for name in ["bin", "dev", "proc", "tmp", "etc", "usr", "srv", "root/.ssh", "home/ops/.ssh"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    std::fs::copy(busybox, root.join("bin/busybox")).unwrap();
    std::fs::copy(dropbear, root.join("bin/dropbear")).unwrap();
    for applet in said(busybox, &["--list"]).lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let libraries = [dropbear, busybox].map(|program| said(Path::new("ldd"), &[program.to_str().unwrap()]));
    for library in
        libraries.iter().flat_map(|text| text.split_whitespace()).filter(|word| word.starts_with('/'))
    {
        let copy = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(library, copy).unwrap();
    }
    for node in ["null", "zero", "urandom"] {
        std::fs::write(root.join("dev").join(node), "").unwrap();
    }
    symlink("/proc/self/fd/2", root.join("dev/stderr")).unwrap();
    let password = said(Path::new("openssl"), &["passwd", "-6", "opens"]);
    let files = [
        ("etc/passwd", format!("root:x:0:0::/root:/bin/sh\nops:x:{OPS}:{OPS}::/home/ops:/bin/sh\n")),
        ("etc/group", format!("root:x:0:\nops:x:{OPS}:\n")),
        ("etc/shadow", format!("root:*:1::::::\nops:{}:1::::::\n", password.trim())),
        ("etc/shells", "/bin/sh\n".to_owned()),
    ];
    for (name, text) in files {
        std::fs::write(root.join(name), text).unwrap();
    }
    for (home, owner) in [("root", 0), ("home/ops", OPS)] {
        std::fs::copy(folder.join("client.pub"), root.join(home).join(".ssh/authorized_keys")).unwrap();
        for name in ["", ".ssh", ".ssh/authorized_keys"] {
            chown(root.join(home).join(name), Some(owner), Some(owner)).unwrap();
        }
    }
    let key = root.join("etc/dropbear_key");
    said(&program("dropbearkey").unwrap(), &["-t", "ed25519", "-f", key.to_str().unwrap()]);
}
