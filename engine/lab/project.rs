//! The files of the lab's project, which become the user's.

use serde_json::{Value, json};

use super::devices::{SECRET, USER, Wired};
use super::folder::{Folder, FolderError};
use super::world::Place;

/// What is the same in every lab.
const FILES: [(&str, &str); 7] = [
    (".gitignore", include_str!("project/gitignore")),
    ("runbooks/hello.rhai", include_str!("project/runbooks/hello.rhai")),
    ("runbooks/motd.rhai", include_str!("project/runbooks/motd.rhai")),
    ("runbooks/network.rhai", include_str!("project/runbooks/network.rhai")),
    ("runbooks/slow.rhai", include_str!("project/runbooks/slow.rhai")),
    ("runbooks/certs/sync.rhai", include_str!("../../runbooks/certs/sync.rhai")),
    ("runbooks/certs/expiry.rhai", include_str!("../../runbooks/certs/expiry.rhai")),
];

/// A host, as the inventory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// Its name.
    pub name: String,
    /// Where its SSH server listens.
    pub ssh: u16,
    /// Where its web server listens.
    pub https: u16,
}

/// Writes the project.
pub fn write(
    folder: &mut Folder,
    hosts: &[Wiring],
    network: &[Wired],
    places: &[Place],
    appliances: Vec<Value>,
    store: u16,
    role_id: &str,
) -> Result<(), FolderError> {
    for (name, text) in FILES {
        folder.put(name, text)?;
    }
    folder.put("nlrun.yaml", &settings(store, role_id))?;
    folder.put("inventory/hosts.yaml", &inventory(hosts, network))?;
    for device in network {
        device.model.intend(folder)?;
    }
    folder.put("certs.json", &table(hosts, places, appliances))?;
    let rows: Vec<String> = places
        .iter()
        .map(|place| format!("| {} | `{}`, {} |", place.name, place.address(), place.about))
        .collect();
    let readme = include_str!("project/README.md")
        .replace("{{table}}", &rows.join("\n"))
        .replace("{{store}}", &format!("http://127.0.0.1:{store}"));
    folder.put("README.md", &readme)
}

fn settings(store: u16, role_id: &str) -> String {
    format!(
        "# The project of a lab: the same file as anywhere, with the lab's own addresses.\n\
         ssh_config: .lab/ssh_config\n\
         secrets:\n  sources:\n    - bao:\n        address: \"http://127.0.0.1:{store}\"\n        mount: secret\n        \
         auth: {{approle: {{role_id: {role_id}, secret_id_file: .lab/secret_id}}}}\n"
    )
}

/// Returns what `certs/sync` and `certs/expiry` read: what goes where, and what else is looked at.
fn table(hosts: &[Wiring], places: &[Place], appliances: Vec<Value>) -> String {
    let on_host = |host: &Wiring| {
        json!({ "name": host.name, "certificate": "web", "use": "combined", "host": host.name, "with": {
            "path": "/etc/nginx/tls/web.pem", "mode": "0600", "test": "nginx -t", "reload": "systemctl reload nginx",
            "served": [host.https],
        } })
    };
    let targets: Vec<Value> = hosts.iter().map(on_host).chain(appliances).collect();
    let watched = places.iter().filter(|place| place.is_endpoint).map(|place| {
        json!({ "name": place.name, "host": "127.0.0.1", "port": place.port, "ca": "certificates/ca.pem" })
    });
    let table = json!({
        "certificates": { "web": { "secrets": "certs/web" } },
        "targets": targets,
        "watch": watched.collect::<Vec<_>>(),
    });
    format!("{table:#}\n")
}

fn inventory(hosts: &[Wiring], network: &[Wired]) -> String {
    let mut text =
        "# The hosts of the lab, each behind an SSH server of its own on this machine.\nhosts:\n".to_owned();
    for host in hosts {
        text += &format!(
            "  {}: {{address: 127.0.0.1, port: {}, vars: {{https: {}}}}}\n",
            host.name, host.ssh, host.https
        );
    }
    // Named, so that the web servers are not everything, which would be asked about.
    text += "  localhost: {transport: local}\n";
    for device in network {
        let legacy = if device.model.is_old { ", legacy: true" } else { "" };
        text += &format!(
            "  {}: {{address: 127.0.0.1, port: {}, os: {}{legacy}}}\n",
            device.model.name, device.port, device.model.os
        );
    }
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let devices: Vec<&str> = network.iter().map(|device| device.model.name).collect();
    text + &format!(
        "groups:\n  web: {{hosts: [{}], user: root}}\n  network: {{hosts: [{}], user: {USER}, \
         password: {SECRET}/password, enable_password: {SECRET}/enable}}\n",
        names.join(", "),
        devices.join(", ")
    )
}

/// Writes the configuration of SSH by which `nlrun` and `ssh -F` find the hosts.
pub fn ssh_config(folder: &Folder, hosts: &[Wiring], network: &[Wired]) -> String {
    let own = |name: &str| folder.own(name).display().to_string().replace('%', "%%");
    let mut text = String::new();
    for host in hosts {
        text += &format!("Host {}\n    HostName 127.0.0.1\n    Port {}\n", host.name, host.ssh);
    }
    for device in network {
        let (name, port) = (device.model.name, device.port);
        text += &format!("Host {name}\n    HostName 127.0.0.1\n    Port {port}\n    User {USER}\n");
        if device.model.is_old {
            text += "    KexAlgorithms +diffie-hellman-group1-sha1\n    HostKeyAlgorithms +ssh-rsa\n    \
                     Ciphers +aes128-cbc\n    MACs +hmac-sha1\n";
        }
    }
    text += &format!(
        "Host *\n    User root\n    IdentityFile \"{}\"\n    IdentitiesOnly yes\n    IdentityAgent none\n    \
         UserKnownHostsFile \"{}\"\n    GlobalKnownHostsFile none\n",
        own("id_ed25519"),
        own("known_hosts")
    );
    text
}
