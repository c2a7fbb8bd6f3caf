//! The name servers of this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::PORT;

/// Where they are written down (resolv.conf(5)).
const FILE: &str = "/etc/resolv.conf";
/// More are not asked, as in the C library.
const MOST: usize = 3;

/// Returns them in their order; without any, the one of this machine.
pub(super) fn system() -> Vec<SocketAddr> {
    servers(&std::fs::read_to_string(FILE).unwrap_or_default())
}

fn servers(text: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, PORT))
        .take(MOST)
        .collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_c_library_does() {
        let text = "# nameserver 10.9.9.9\nsearch example.com\nnameserver 10.0.0.53\n  nameserver\t2001:db8::53 # x\n\
                    nameservers 10.1.1.1\nnameserver nothing\nnameserver 10.0.0.54\nnameserver 10.0.0.55\n";
        let expected = ["10.0.0.53:53", "[2001:db8::53]:53", "10.0.0.54:53"];
        assert_eq!(servers(text).iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        assert_eq!(servers("").iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:53"]);
    }
}
