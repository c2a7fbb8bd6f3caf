//! Certificates and keys made by the `openssl` command, which is also what ours are compared with.
#![expect(clippy::disallowed_methods, reason = "tests write files and start openssl")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A folder of keys and certificates, each a file with the name that it was made under.
pub struct Forge {
    folder: tempfile::TempDir,
}

/// What a certificate that is to be made says.
pub struct Wish<'a> {
    /// Its common name.
    pub subject: &'a str,
    /// Lines of extensions as `openssl` reads them.
    pub extensions: &'a str,
    /// Days that it is valid from now on; negative for one that is over.
    pub days: i64,
    /// What the signature is made over.
    pub digest: &'a str,
}

/// A server's certificate for thirty days, with names.
pub const SERVER: &str = "basicConstraints=critical,CA:false\nsubjectAltName=DNS:www.example.com,DNS:*.apps.example.com,\
                          IP:192.0.2.7,IP:2001:db8::7\nextendedKeyUsage=serverAuth\n";
/// An authority.
pub const AUTHORITY: &str = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n";

impl Wish<'_> {
    /// A server's certificate for ninety days.
    pub fn server(subject: &str) -> Wish<'_> {
        Wish { subject, extensions: SERVER, days: 90, digest: "-sha256" }
    }

    /// An authority for ten years.
    pub fn authority(subject: &str) -> Wish<'_> {
        Wish { subject, extensions: AUTHORITY, days: 3650, digest: "-sha256" }
    }
}

impl Forge {
    /// Makes an empty folder.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Makes root, intermediate and leaf on P-256: `root`, `middle`, `leaf` with `.key` and `.pem`.
    pub fn chain() -> Self {
        let forge = Self::new();
        for name in ["root", "middle", "leaf"] {
            forge.key(name, "P-256");
        }
        forge.sign("root", "root", "root", &Wish::authority("Example Root"));
        forge.sign("middle", "middle", "root", &Wish::authority("Example Middle"));
        forge.sign("leaf", "leaf", "middle", &Wish::server("www.example.com"));
        forge
    }

    /// Returns the path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Reads files, one behind the other.
    pub fn join(&self, names: &[&str]) -> String {
        names.iter().map(|name| self.read(name)).collect()
    }

    /// Runs `openssl` in the folder and returns what it prints.
    pub fn openssl(&self, line: &str) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes `NAME.key` in PKCS#8: `RSA-2048`, `P-256`, `P-384`, `P-521` or `ED25519`.
    pub fn key(&self, name: &str, kind: &str) {
        let kind = match kind.split_once('-') {
            Some(("RSA", bits)) => format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}"),
            Some(_) => format!("-algorithm EC -pkeyopt ec_paramgen_curve:{kind}"),
            None => format!("-algorithm {kind}"),
        };
        self.openssl(&format!("genpkey {kind} -out {name}.key"));
    }

    /// Makes `NAME.pem` for the key of `of`, signed by `issuer`'s key; by its own when they are the same.
    pub fn sign(&self, name: &str, of: &str, issuer: &str, wish: &Wish<'_>) {
        std::fs::write(self.path("extensions"), wish.extensions).unwrap();
        let subject = format!("/CN={}", wish.subject.replace(' ', "_"));
        self.openssl(&format!("req -new -key {of}.key -subj {subject} -out request"));
        let signer = if of == issuer {
            format!("-signkey {of}.key")
        } else {
            format!("-CA {issuer}.pem -CAkey {issuer}.key")
        };
        let (days, digest, serial) = (wish.days, wish.digest, wish.days.unsigned_abs());
        self.openssl(&format!(
            "x509 -req -in request {signer} -days {days} {digest} -extfile extensions -set_serial 0x00f1{serial:04} -out {name}.pem"
        ));
    }
}
