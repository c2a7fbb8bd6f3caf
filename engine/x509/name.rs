//! The names that a certificate is for, and whether they cover a host (RFC 9525, section 6; RFC 6125 before it).

use std::fmt;
use std::net::IpAddr;

/// One subject alternative name that a server can be known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A DNS name in lower case, in its ASCII form; the first label may be `*`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Whether one of the names covers a host: a DNS name, an address (IPv6 may stand in brackets), or a wildcard to be found as it is.
///
/// `*` stands for exactly one whole label, the first, and only above two others: `*.example.com` covers `a.example.com`, neither
/// `example.com` nor `a.b.example.com`, and `*.com` covers nothing. An address is covered by itself alone, never by a DNS name.
/// The common name of the subject does not count. Names outside ASCII must come in their `xn--` form.
pub fn covers(names: &[Name], host: &str) -> bool {
    let host = host.trim();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return names.iter().any(|name| matches!(name, Name::Ip(own) if *own == address));
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.is_empty() || host.split('.').any(str::is_empty) {
        return false;
    }
    names.iter().any(|name| match name {
        Name::Ip(_) => false,
        Name::Dns(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == host || is_below(name, &host)
        }
    })
}

fn is_below(pattern: &str, host: &str) -> bool {
    let Some(parent) = pattern.strip_prefix("*.") else { return false };
    let Some((label, rest)) = host.split_once('.') else { return false };
    // A wildcard that is asked for is covered by the same wildcard only.
    label != "*" && rest == parent && parent.contains('.') && !parent.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_one_whole_label() {
        let cases = [
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com.", true),
            ("example.com", "www.example.com", false),
            ("example.com", "notexample.com", false),
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "WWW.Example.Com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "*.example.com", true),
            ("*.b.example.com", "*.example.com", false),
            ("*.example.com", "*.b.example.com", false),
            ("w*.example.com", "www.example.com", false),
            ("www.*.com", "www.example.com", false),
            ("*.*.com", "a.b.com", false),
            ("*.com", "example.com", false),
            ("*", "example", false),
            ("*.2.0.192", "1.2.0.192", false),
            ("192.0.2.1", "192.0.2.1", false),
            ("example.com", "", false),
            ("example.com", "..", false),
        ];
        for (name, host, expected) in cases {
            assert_eq!(covers(&[Name::Dns(name.to_owned())], host), expected, "{name} and {host}");
        }
    }

    #[test]
    fn an_address_is_covered_by_itself() {
        let names = [Name::Ip("192.0.2.1".parse().unwrap()), Name::Ip("2001:db8::1".parse().unwrap())];
        for host in ["192.0.2.1", "2001:db8::1", "[2001:db8::1]", "2001:DB8:0:0::1"] {
            assert!(covers(&names, host), "{host}");
        }
        for host in ["192.0.2.2", "[2001:db8::2]", "example.com", "[192.0.2.1"] {
            assert!(!covers(&names, host), "{host}");
        }
    }
}
