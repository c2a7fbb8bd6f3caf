//! The `known_hosts` files (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): which lines speak of a host.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use russh::keys::{Algorithm, PublicKey};

/// What a line's marker says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The key of the host itself.
    Host,
    /// `@cert-authority`: signs the certificates of hosts.
    Authority,
    /// `@revoked`: must never be accepted.
    Revoked,
}

#[derive(Debug)]
struct Line {
    number: usize,
    role: Role,
    patterns: String,
    algorithm: String,
    key: String,
}

/// One key that the files hold for a host, and where.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// What the key is for.
    pub role: Role,
    /// The key.
    pub key: PublicKey,
    /// `file:line`.
    pub place: String,
}

/// A host as `known_hosts` names it: `host`, or `[host]:port` when the port is not 22.
pub(super) fn host_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Files read once and again only when they change, since a run asks for every host.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<HashMap<PathBuf, (Stamp, Lines)>>);

type Stamp = (Option<SystemTime>, u64);
type Lines = Arc<Vec<Line>>;

impl Files {
    /// Returns every key that `files` hold for `host` at `port`, in the order of files and lines.
    ///
    /// As OpenSSH does, lines that name the host without a port are asked when none names it with the port.
    pub(super) fn lookup(&self, files: &[PathBuf], host: &str, port: u16) -> std::io::Result<Vec<Known>> {
        let exact = self.matching(files, &host_name(host, port))?;
        if port == 22 || exact.iter().any(|known| known.role != Role::Revoked) {
            return Ok(exact);
        }
        let plain = self.matching(files, &host_name(host, 22))?;
        Ok(exact.into_iter().chain(plain).collect())
    }

    fn matching(&self, files: &[PathBuf], name: &str) -> std::io::Result<Vec<Known>> {
        let mut found = Vec::new();
        for path in files {
            for line in self.read(path)?.iter().filter(|line| matches(&line.patterns, name)) {
                let Some(key) = line.public_key() else { continue };
                found.push(Known {
                    role: line.role,
                    key,
                    place: format!("{}:{}", path.display(), line.number),
                });
            }
        }
        Ok(found)
    }

    fn read(&self, path: &Path) -> std::io::Result<Lines> {
        let missing = |error: &std::io::Error| {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        };
        let stamp = match std::fs::metadata(path) {
            Ok(meta) => (meta.modified().ok(), meta.len()),
            Err(error) if missing(&error) => return Ok(Arc::default()),
            Err(error) => return Err(error),
        };
        if let Some((known, lines)) = self.0.lock().get(path)
            && *known == stamp
        {
            return Ok(Arc::clone(lines));
        }
        let text = std::fs::read(path)?;
        let lines = Arc::new(parse(&String::from_utf8_lossy(&text)));
        self.0.lock().insert(path.to_owned(), (stamp, Arc::clone(&lines)));
        Ok(lines)
    }
}

impl Line {
    fn public_key(&self) -> Option<PublicKey> {
        let blob = STANDARD.decode(&self.key).ok()?;
        let key = russh::keys::key::parse_public_key(&blob).ok()?;
        (key.algorithm() == Algorithm::new(&self.algorithm).ok()?).then_some(key)
    }
}

fn parse(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split_ascii_whitespace();
        let Some(first) = fields.next() else { continue };
        let (role, patterns) = match first {
            "@cert-authority" => (Role::Authority, fields.next()),
            "@revoked" => (Role::Revoked, fields.next()),
            marker if marker.starts_with('@') => continue,
            patterns => (Role::Host, Some(patterns)),
        };
        let (Some(patterns), Some(algorithm), Some(key)) = (patterns, fields.next(), fields.next()) else {
            continue;
        };
        lines.push(Line {
            number: index + 1,
            role,
            patterns: patterns.to_owned(),
            algorithm: algorithm.to_owned(),
            key: key.to_owned(),
        });
    }
    lines
}

/// Whether a comma-separated list of patterns names `name`; one negated match refuses the whole list.
fn matches(patterns: &str, name: &str) -> bool {
    if let Some(hashed) = patterns.strip_prefix("|1|") {
        return matches_hash(hashed, name).unwrap_or(false);
    }
    let mut found = false;
    for pattern in patterns.split(',') {
        let (negated, pattern) =
            pattern.strip_prefix('!').map_or((false, pattern), |pattern| (true, pattern));
        if matches_wildcard(pattern.to_lowercase().as_bytes(), name.as_bytes()) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

fn matches_hash(hashed: &str, name: &str) -> Option<bool> {
    let (salt, digest) = hashed.split_once('|')?;
    let salt = STANDARD.decode(salt).ok()?;
    let digest = STANDARD.decode(digest).ok()?;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    Some(ring::hmac::verify(&key, name.as_bytes(), &digest).is_ok())
}

/// Matches `*` and `?`, in time proportional to the product of the lengths.
pub(super) fn matches_wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut star) = ((0, 0), None);
    while at.1 < name.len() {
        match pattern.get(at.0) {
            Some(b'*') => {
                star = Some(at);
                at.0 += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[at.1] => at = (at.0 + 1, at.1 + 1),
            _ => {
                let Some((p, n)) = star else { return false };
                star = Some((p, n + 1));
                at = (p + 1, n + 1);
            }
        }
    }
    pattern[at.0..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_hosts() {
        let table = [
            ("web.example.org", "web.example.org", true),
            ("WEB.example.org", "web.example.org", true),
            ("db,web", "web", true),
            ("web", "web2", false),
            ("*.example.org", "web.example.org", true),
            ("*.example.org,!web.example.org", "web.example.org", false),
            ("!web.example.org,*.example.org", "db.example.org", true),
            ("10.0.0.?", "10.0.0.7", true),
            ("10.0.0.?", "10.0.0.70", false),
            ("[web]:2222", "[web]:2222", true),
            ("[web]:2222", "web", false),
            ("*", "[web]:2222", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("|1|AAECAwQFBgcICQoLDA0ODxAREhM=|x", "web", false),
        ];
        for (patterns, name, expected) in table {
            assert_eq!(matches(patterns, name), expected, "{patterns} against {name}");
        }
    }

    #[test]
    fn hashed_names_are_found() {
        let salt = [7_u8; 20];
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        let digest = ring::hmac::sign(&key, b"[web]:2222");
        let field = format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(digest));
        assert!(matches(&field, "[web]:2222"));
        assert!(!matches(&field, "web"));
    }

    #[test]
    fn lines_may_hold_tabs_comments_and_rubbish() {
        let text = "# comment\n\nweb\tssh-ed25519 \t AAAA comment here\n@revoked * ssh-rsa BBBB\nshort line\n@odd a b c\n";
        let lines = parse(text);
        let seen: Vec<_> = lines
            .iter()
            .map(|line| (line.number, line.role, line.patterns.as_str(), line.key.as_str()))
            .collect();
        assert_eq!(seen, [(3, Role::Host, "web", "AAAA"), (4, Role::Revoked, "*", "BBBB")]);
    }

    #[test]
    fn the_name_holds_the_port_unless_it_is_22() {
        assert_eq!(host_name("Web", 22), "web");
        assert_eq!(host_name("web", 2222), "[web]:2222");
    }
}
