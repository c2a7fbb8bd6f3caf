//! How a host is reached: the inventory, then `~/.ssh/config`, then OpenSSH's defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::model::inventory::{self, Host, Inventory};
use crate::world::host::{Endpoint, HostKeyPolicy};
use crate::world::ssh::ssh_config::{SshConfig, StrictHostKeyChecking};

/// Who runs nlrun, as far as SSH cares.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// The login name, used on hosts for which nothing else is set.
    pub user: String,
    /// The home folder, for `~` and for default keys.
    pub home: PathBuf,
    /// `SSH_AUTH_SOCK`.
    pub agent: Option<PathBuf>,
}

/// Secrets that a host's login needs.
#[derive(Default)]
pub struct Logins {
    /// The login password.
    pub password: Option<Zeroizing<String>>,
    /// What unlocks the private keys.
    pub passphrase: Option<Zeroizing<String>>,
}

/// Why nobody knows how to reach a host.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// `user@host:port` does not parse.
    #[error("`{0}` is not a jump host; write `host`, `user@host` or `user@host:port`")]
    Jump(String),
    /// Jump hosts refer to each other.
    #[error("the jump hosts of `{0}` form a circle")]
    Circle(String),
}

/// OpenSSH's default keys, in its order (ssh_config(5), `IdentityFile`).
const DEFAULT_KEYS: [&str; 5] =
    [".ssh/id_rsa", ".ssh/id_ecdsa", ".ssh/id_ecdsa_sk", ".ssh/id_ed25519", ".ssh/id_ed25519_sk"];
/// More hops than this are a circle.
const DEEPEST: usize = 8;

/// Merges everything that is known about reaching a host.
pub fn resolve(
    host: &Host,
    inventory: &Inventory,
    config: &SshConfig,
    person: &Person,
    logins: Logins,
) -> Result<Endpoint, EndpointError> {
    let mut endpoint = hop(host, inventory, config, person, 0)?;
    endpoint.password = logins.password;
    endpoint.passphrase = logins.passphrase;
    Ok(endpoint)
}

fn hop(
    host: &Host,
    inventory: &Inventory,
    config: &SshConfig,
    person: &Person,
    depth: usize,
) -> Result<Endpoint, EndpointError> {
    let wanted = &host.connection;
    if wanted.transport == inventory::Transport::Local {
        return Ok(Endpoint::local(&host.name));
    }
    if depth > DEEPEST {
        return Err(EndpointError::Circle(host.name.clone()));
    }
    // The user's configuration is asked by the name in the inventory, as `ssh NAME` would, unless an address is set
    // that it may know better.
    let alias = wanted.address.as_deref().unwrap_or(&host.name);
    let settings = config.lookup(alias, wanted.user.as_deref(), &person.user);
    let address = wanted.address.clone().or(settings.host_name).unwrap_or_else(|| host.name.clone());
    let port = wanted.port.or(settings.port).unwrap_or(22);
    let user = wanted.user.clone().or(settings.user).unwrap_or_else(|| person.user.clone());
    let mut endpoint = Endpoint::new(&host.name, &address, port, &user);
    let keys =
        if wanted.identity_files.is_empty() { &settings.identity_files } else { &wanted.identity_files };
    endpoint.identity_files = keys.iter().map(|key| expand(key, &person.home)).collect();
    if keys.is_empty() {
        let defaults = DEFAULT_KEYS.iter().map(|key| person.home.join(key));
        endpoint.identity_files = defaults.filter(|path| path.exists()).collect();
    }
    endpoint.certificate_files =
        settings.certificate_files.iter().map(|file| expand(file, &person.home)).collect();
    // A device counts each key that it does not know as a failed login, and locks out after three.
    let is_by_password = wanted.os.is_some() && wanted.password.is_some() && wanted.identity_files.is_empty();
    if is_by_password {
        endpoint.identity_files.clear();
    }
    endpoint.identities_only = settings.identities_only.unwrap_or(!wanted.identity_files.is_empty());
    endpoint.agent = match settings.identity_agent.as_deref() {
        Some("none") => None,
        Some("SSH_AUTH_SOCK") | None => person.agent.clone(),
        Some(path) => Some(expand(path, &person.home)),
    };
    let known = settings.user_known_hosts_files.unwrap_or_else(|| vec!["~/.ssh/known_hosts".to_owned()]);
    let global =
        settings.global_known_hosts_files.unwrap_or_else(|| vec!["/etc/ssh/ssh_known_hosts".to_owned()]);
    let files = known.iter().chain(&global).filter(|file| file.as_str() != "none");
    endpoint.known_hosts = files.map(|file| expand(file, &person.home)).collect();
    endpoint.host_key_policy = match (wanted.known_hosts, settings.strict_host_key_checking) {
        (Some(inventory::HostKeyPolicy::AcceptNew), _) | (None, Some(StrictHostKeyChecking::AcceptNew)) => {
            HostKeyPolicy::AcceptNew
        }
        // `no` and `off` would accept changed keys, too: nlrun never does, so they mean no more than accept-new.
        (None, Some(StrictHostKeyChecking::No)) => HostKeyPolicy::AcceptNew,
        (Some(inventory::HostKeyPolicy::Strict) | None, _) => HostKeyPolicy::Strict,
    };
    if is_by_password {
        endpoint.agent = None;
    }
    endpoint.host_key_alias = settings.host_key_alias;
    endpoint.legacy = wanted.legacy;
    let mut patience = Duration::from_secs(10);
    if wanted.os.is_some() {
        endpoint.posix = false;
        // Their processors take their time over a key exchange, and old ones hang up at a question that they do not know.
        patience = Duration::from_secs(60);
        endpoint.keepalive_interval = Duration::ZERO;
    }
    endpoint.connect_timeout = wanted.connect_timeout.or(settings.connect_timeout).unwrap_or(patience);
    if let Some(interval) = settings.server_alive_interval.filter(|interval| !interval.is_zero()) {
        endpoint.keepalive_interval = interval;
    }
    if let Some(count) = settings.server_alive_count_max {
        endpoint.keepalive_max = count as usize;
    }
    let jump =
        if wanted.jump.is_empty() { settings.proxy_jump.unwrap_or_default() } else { wanted.jump.clone() };
    for text in &jump {
        let jump = jump_host(text, inventory)?;
        let mut next = hop(&jump, inventory, config, person, depth + 1)?;
        let way = std::mem::take(&mut next.jump);
        // As with ssh: the first is reached as its own settings say, each other one through the one before it.
        if endpoint.jump.is_empty() {
            endpoint.jump = way;
        }
        endpoint.jump.push(next);
    }
    if endpoint.jump.is_empty() {
        endpoint.proxy_command = settings.proxy_command.filter(|command| command != "none");
    }
    Ok(endpoint)
}

/// A jump host is a host of the inventory, or `[user@]host[:port]`.
fn jump_host(text: &str, inventory: &Inventory) -> Result<Host, EndpointError> {
    if let Some(host) = inventory.host(text) {
        return Ok(host.as_ref().clone());
    }
    let bad = || EndpointError::Jump(text.to_owned());
    let text = text.strip_prefix("ssh://").unwrap_or(text);
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, text),
    };
    let (address, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, port)) => (address, Some(port.strip_prefix(':').ok_or_else(bad)?)),
        None => match rest.split_once(':') {
            Some((address, port)) if !port.contains(':') => (address, Some(port)),
            Some(_) | None => (rest, None),
        },
    };
    if address.is_empty() || address.contains(char::is_whitespace) {
        return Err(bad());
    }
    if let Some(host) = inventory.host(address)
        && user.is_none()
        && port.is_none()
    {
        return Ok(host.as_ref().clone());
    }
    let port = port.map(str::parse).transpose().map_err(|_| bad())?;
    let connection = inventory::Connection { port, user, ..inventory::Connection::default() };
    Ok(Host {
        name: address.to_owned(),
        connection,
        vars: serde_json::Map::new(),
        groups: std::sync::Arc::default(),
    })
}

fn expand(path: &str, home: &Path) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_hosts_read_as_ssh_reads_them() {
        let inventory = Inventory::default();
        let cases = [
            ("gate", Some(("gate", None, None))),
            ("op@gate", Some(("gate", Some("op"), None))),
            ("op@gate:2222", Some(("gate", Some("op"), Some(2222)))),
            ("ssh://op@[::1]:22", Some(("::1", Some("op"), Some(22)))),
            ("gate:x", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let host = jump_host(text, &inventory).ok();
            let found =
                host.as_ref().map(|h| (h.name.as_str(), h.connection.user.as_deref(), h.connection.port));
            assert_eq!(found, expected, "{text}");
        }
    }
}
