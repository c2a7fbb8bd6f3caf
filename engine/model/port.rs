//! TCP ports of hosts as grants and people name them: `example.com:443`, `10.0.0.1:636`, `[2001:db8::1]:443`.

use std::net::IpAddr;

use url::Host;

/// A port of a host that need not be in the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// A name in lower case and without a dot at its end, or an address.
    pub host: String,
    /// The number.
    pub number: u16,
}

/// Why a text is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a name of a host nor an address")]
pub struct NoHost(String);

/// Reads a name or an address, and spells it as everything else here does.
pub fn host(text: &str) -> Result<String, NoHost> {
    let wrong = || NoHost(text.chars().take(80).collect());
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = inner.unwrap_or(text).parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let host = match Host::parse(text).map_err(|_| wrong())? {
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    if host.is_empty() { Err(wrong()) } else { Ok(host) }
}

impl Port {
    /// Reads the host.
    pub fn new(text: &str, number: u16) -> Result<Self, NoHost> {
        Ok(Self { host: host(text)?, number })
    }

    /// Reads `host:port`, `[address]:port` and `https://host…`; `None` for every other text.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with("https://") {
            let url = super::url::parse(text).ok()?;
            return Self::new(url.host_str()?, url.port_or_known_default()?).ok();
        }
        let (host, number) = text.rsplit_once(':')?;
        // An address of version 6 without brackets has no end that could be told from a port.
        if host.contains(':') != host.starts_with('[') {
            return None;
        }
        let number = number.parse().ok().filter(|number| *number > 0)?;
        Self::new(host, number).ok()
    }

    /// Returns the host as an address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Returns the name for grants.
    pub fn name(&self) -> String {
        match self.address() {
            Some(IpAddr::V6(address)) => format!("[{address}]:{}", self.number),
            Some(IpAddr::V4(_)) | None => format!("{}:{}", self.host, self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_one_spelling() {
        for (text, expected) in [
            ("Example.COM.:443", Some("example.com:443")),
            ("10.0.0.1:636", Some("10.0.0.1:636")),
            ("[2001:DB8:0::1]:25", Some("[2001:db8::1]:25")),
            ("https://api.example.com/v1?x=1", Some("api.example.com:443")),
            ("https://[::1]:8443", Some("[::1]:8443")),
            ("bücher.example:443", Some("xn--bcher-kva.example:443")),
            ("::1:443", None),
            ("example.com", None),
            ("example.com:0", None),
            ("example.com:70000", None),
            ("a b:443", None),
            (":443", None),
            ("[::1:443", None),
            ("http://example.com:80/", None),
            ("site.pem", None),
        ] {
            assert_eq!(Port::parse(text).map(|port| port.name()).as_deref(), expected, "{text}");
        }
        assert_eq!(host("::1").unwrap(), "::1");
        assert!(host("").is_err() && host(".").is_err() && host("a/b").is_err() && host("[::1").is_err());
    }
}
