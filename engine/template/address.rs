//! The filter `ipaddr`: IP addresses with and without a prefix length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minijinja::{Environment, Error, ErrorKind, Value};

use super::value::text;

pub(super) fn register(env: &mut Environment<'_>) {
    for (name, width) in [("ipaddr", None), ("ipv4", Some(32)), ("ipv6", Some(128))] {
        for name in [name.to_owned(), format!("ansible.utils.{name}")] {
            env.add_filter(name, move |value: &Value, query: Option<String>| {
                filter(value, query.as_deref(), width)
            });
        }
    }
}

/// An address as a number, the number of its bits, and the length of its prefix.
#[derive(Clone, Copy)]
struct Network {
    bits: u128,
    width: u32,
    prefix: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) =
            text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let (bits, width) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let prefix = match prefix.map(|prefix| (prefix, prefix.parse::<u32>())) {
            None => width,
            Some((_, Ok(length))) => Some(length).filter(|length| *length <= width)?,
            Some((mask, Err(_))) => {
                let mask = mask.parse::<Ipv4Addr>().ok()?.to_bits();
                Some(mask.leading_ones())
                    .filter(|ones| ones + mask.trailing_zeros() == 32 || mask == u32::MAX)?
            }
        };
        Some(Self { bits, width, prefix })
    }

    fn mask(self) -> u128 {
        let all = u128::MAX >> (128 - self.width);
        all ^ all.checked_shr(self.prefix).unwrap_or(0)
    }

    fn address(self, bits: u128) -> IpAddr {
        match u32::try_from(bits) {
            Ok(bits) if self.width == 32 => Ipv4Addr::from_bits(bits).into(),
            _ => Ipv6Addr::from_bits(bits).into(),
        }
    }

    fn network(self) -> IpAddr {
        self.address(self.bits & self.mask())
    }

    fn last(self) -> IpAddr {
        self.address(self.bits | (u128::MAX >> (128 - self.width)) & !self.mask())
    }
}

/// Returns what is asked of an address; false, as Ansible does, when the value is no address.
fn filter(value: &Value, query: Option<&str>, width: Option<u32>) -> Result<Value, Error> {
    let source = text(value);
    let network = Network::parse(&source).filter(|network| width.is_none_or(|width| network.width == width));
    let Some(network) = network else { return Ok(Value::from(false)) };
    let address = network.address(network.bits);
    Ok(match query.unwrap_or("") {
        "" => Value::from(source),
        "address" | "ip" => Value::from(address.to_string()),
        "network" => Value::from(network.network().to_string()),
        "netmask" => Value::from(network.address(network.mask()).to_string()),
        "broadcast" => Value::from(network.last().to_string()),
        "prefix" => Value::from(network.prefix),
        "host" | "host/prefix" | "cidr" => Value::from(format!("{address}/{}", network.prefix)),
        "subnet" | "network/prefix" => Value::from(format!("{}/{}", network.network(), network.prefix)),
        "version" => Value::from(if network.width == 32 { 4 } else { 6 }),
        other => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!(
                    "`{other}` is not a query that `ipaddr` knows: use address, network, netmask, broadcast, prefix, host, subnet or version"
                ),
            ));
        }
    })
}
