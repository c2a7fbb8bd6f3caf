//! Capabilities: `verb[:target]`, what a runbook needs and what a trigger is granted.
//!
//! ```text
//! ssh.exec                    on any host
//! ssh.exec:edge-*             on hosts whose name matches the glob
//! ssh.exec:@web               on hosts of the group, nested groups included
//! file.put:edge-*:/etc/nginx/**   the path must match, too (`*` stops at `/`, `**` does not)
//! http.get:https://*.example.com/**  URLs, without query; the same stars
//! tls.probe:*.example.com:443  ports of hosts that need not be in the inventory
//! file.*:@web                 every verb of the area
//! *                           everything
//! ```

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::model::effect::Target;

/// A permission to perform one kind of effect on some targets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Capability {
    text: String,
    verb: GlobMatcher,
    name: Option<Name>,
    path: Option<GlobMatcher>,
}

#[derive(Debug, Clone)]
enum Name {
    Group(String),
    Glob(GlobMatcher),
}

/// Why a text is not a capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// Nothing before the first colon.
    #[error("capability `{0}` has no verb")]
    NoVerb(String),
    /// The glob does not parse.
    #[error("capability `{text}`: `{part}` is not a glob")]
    Glob {
        /// The whole capability.
        text: String,
        /// The broken part.
        part: String,
    },
    /// `@` without a name.
    #[error("capability `{0}` names no group after `@`")]
    NoGroup(String),
}

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let mut parts = text.splitn(3, ':');
        let verb = parts.next().unwrap_or_default();
        if verb.is_empty() {
            return Err(CapabilityError::NoVerb(text.to_owned()));
        }
        let glob = |part: &str| {
            GlobBuilder::new(part)
                .literal_separator(true)
                .build()
                .map(|glob| glob.compile_matcher())
                .map_err(|_| CapabilityError::Glob { text: text.to_owned(), part: part.to_owned() })
        };
        let rest = text.split_once(':').map_or("", |(_, rest)| rest);
        if rest.starts_with('[') && rest.contains("]:") {
            // A port of an address of version 6 (`tls.probe:[::1]:443`) is no host and no path, and its brackets are no class.
            let name = Some(Name::Glob(glob(&globset::escape(rest))?));
            return Ok(Self { text: text.to_owned(), verb: glob(verb)?, name, path: None });
        }
        let name = match parts.next() {
            None | Some("") => None,
            Some("@") => return Err(CapabilityError::NoGroup(text.to_owned())),
            Some(group) if group.starts_with('@') => Some(Name::Group(group[1..].to_owned())),
            Some(part) => Some(Name::Glob(glob(part)?)),
        };
        let path = parts.next().filter(|p| !p.is_empty()).map(glob).transpose()?;
        Ok(Self { text: text.to_owned(), verb: glob(verb)?, name, path })
    }
}

impl Capability {
    /// Whether it covers this effect on this target.
    ///
    /// A capability that names a path does not cover an effect without one: unknown is never equal.
    pub fn covers(&self, verb: &str, target: &Target) -> bool {
        if !self.verb.is_match(verb) {
            return false;
        }
        match target {
            Target::Run => self.name.is_none() && self.path.is_none(),
            Target::Named { name } => {
                // Names such as `db/root` or `https://host/x` may hold colons: compare with the whole rest.
                match self.text.split_once(':') {
                    None => true,
                    Some((_, rest)) if rest == name => true,
                    // In a URL a star must not reach from the host into the path, or into another host's path.
                    Some((_, rest)) => GlobBuilder::new(rest)
                        .literal_separator(name.contains("://"))
                        .build()
                        .is_ok_and(|glob| glob.compile_matcher().is_match(name)),
                }
            }
            Target::Host { host, groups, path } => {
                let named = match &self.name {
                    None => true,
                    Some(Name::Group(group)) => group == "all" || groups.contains(group),
                    Some(Name::Glob(glob)) => glob.is_match(host.as_ref()),
                };
                let placed = match (&self.path, path) {
                    (None, _) => true,
                    (Some(glob), Some(path)) => glob.is_match(path),
                    (Some(_), None) => false,
                };
                named && placed
            }
        }
    }

    /// Returns the group it names, for the check that the group exists.
    pub fn group(&self) -> Option<&str> {
        match &self.name {
            Some(Name::Group(group)) => Some(group),
            Some(Name::Glob(_)) | None => None,
        }
    }

    /// Whether the verb pattern can ever match this effect name.
    pub fn concerns(&self, verb: &str) -> bool {
        self.verb.is_match(verb)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Capability {}

impl TryFrom<String> for Capability {
    type Error = CapabilityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn host(name: &str, groups: &[&str], path: Option<&str>) -> Target {
        Target::Host {
            host: name.into(),
            groups: Arc::new(groups.iter().map(|g| (*g).to_owned()).collect()),
            path: path.map(str::to_owned),
        }
    }

    #[test]
    fn covers_what_it_names_and_nothing_else() {
        let cases = [
            ("ssh.exec", "ssh.exec", host("a", &[], None), true),
            ("ssh.exec", "ssh.read", host("a", &[], None), false),
            ("ssh.*", "ssh.read", host("a", &[], None), true),
            ("*", "ssh.read", host("a", &[], None), true),
            ("*", "report.write", Target::Run, true),
            ("ssh.exec:@web", "ssh.exec", host("a", &["web"], None), true),
            ("ssh.exec:@web", "ssh.exec", host("web", &["db"], None), false),
            ("ssh.exec:@all", "ssh.exec", host("localhost", &[], None), true),
            ("ssh.exec:edge-*", "ssh.exec", host("edge-3", &[], None), true),
            ("ssh.exec:edge-*", "ssh.exec", host("core-3", &[], None), false),
            ("file.put:edge-*:/etc/nginx/**", "file.put", host("edge-1", &[], Some("/etc/nginx/a/b")), true),
            ("file.put:edge-*:/etc/nginx/*", "file.put", host("edge-1", &[], Some("/etc/nginx/a/b")), false),
            ("file.put:edge-*:/etc/nginx/**", "file.put", host("edge-1", &[], Some("/etc/passwd")), false),
            ("file.put:edge-*:/etc/**", "file.put", host("edge-1", &[], None), false),
            ("file.put::/etc/**", "file.put", host("x", &[], Some("/etc/a")), true),
            ("secret.read:db/*", "secret.read", Target::Named { name: "db/root".into() }, true),
            ("secret.read:db/*", "secret.read", Target::Named { name: "web/root".into() }, false),
            ("secret.read", "secret.read", Target::Named { name: "db/root".into() }, true),
            ("secret.read:*", "secret.read", Target::Named { name: "db/root".into() }, true),
            (
                "tls.probe:*.example.com:443",
                "tls.probe",
                Target::Named { name: "a.example.com:443".into() },
                true,
            ),
            ("tls.probe:*:443", "tls.probe", Target::Named { name: "a.example.com:8443".into() }, false),
            ("tls.probe:[::1]:443", "tls.probe", Target::Named { name: "[::1]:443".into() }, true),
            ("tls.probe:[::1]:443", "tls.probe", Target::Named { name: "[::2]:443".into() }, false),
            ("tls.probe:*", "tls.probe", Target::Named { name: "[::1]:443".into() }, true),
        ];
        for (text, verb, target, expected) in cases {
            let capability: Capability = text.parse().expect(text);
            assert_eq!(capability.covers(verb, &target), expected, "{text} on {verb} {target}");
        }
    }

    #[test]
    fn a_star_in_a_url_stops_at_a_slash() {
        let cases = [
            ("https://*.example.com/**", "https://a.example.com/", true),
            ("https://*.example.com/**", "https://a.example.com/v1/x", true),
            ("https://*.example.com/**", "https://evil.org/x.example.com/", false),
            ("https://*.example.com/**", "https://example.com/", false),
            ("https://*.example.com/**", "http://a.example.com/", false),
            ("https://api.example.com/v1/**", "https://api.example.com/v1/a/b", true),
            ("https://api.example.com/v1/**", "https://api.example.com/v2/a", false),
            ("https://api.example.com/v1/**", "https://api.example.com:8443/v1/a", false),
            ("https://api.example.com/v1/*", "https://api.example.com/v1/a/b", false),
            ("https://api.example.com/v1/*/b", "https://api.example.com/v1/a/b", true),
            ("https://api.example.com/**", "https://api.example.com.evil.org/", false),
            ("http://[::1]:8080/a", "http://[::1]:8080/a", true),
            ("*", "https://a.example.com/", false),
            ("**", "https://a.example.com/", true),
            ("https://**", "https://a.example.com/x/y", true),
        ];
        for (glob, name, expected) in cases {
            let capability: Capability = format!("http.get:{glob}").parse().expect(glob);
            let target = Target::Named { name: name.into() };
            assert_eq!(capability.covers("http.get", &target), expected, "{glob} on {name}");
        }
    }

    #[test]
    fn refuses_what_is_no_capability() {
        assert_eq!(":x".parse::<Capability>(), Err(CapabilityError::NoVerb(":x".into())));
        assert_eq!("ssh.exec:@".parse::<Capability>(), Err(CapabilityError::NoGroup("ssh.exec:@".into())));
        assert!(matches!("ssh.exec:[".parse::<Capability>(), Err(CapabilityError::Glob { .. })));
    }
}
