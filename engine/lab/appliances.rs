//! Programs and devices with an API, each with the old certificate.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::authority::Pair;
use super::http::Identity;
use super::http::npm::{self, Npm, Section};
use super::http::proxmox::{self, Proxmox};
use super::http::synology::{self, Synology};
use super::http::unifi::{self, Unifi};

/// Hosts behind Nginx Proxy Manager: as many as a busy one has.
const HOSTS: usize = 114;

/// Ports on loopback, one for each part.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// The API of Nginx Proxy Manager.
    pub npm: u16,
    /// What its nginx serves.
    pub npm_https: u16,
    /// The node's page and API.
    pub proxmox: u16,
    /// DSM.
    pub synology: u16,
    /// The console.
    pub unifi: u16,
}

/// Passwords and tokens, as the secret store has them.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// Of Nginx Proxy Manager.
    pub npm: String,
    /// The token of the node, without `USER@REALM!NAME=`.
    pub proxmox: String,
    /// Of DSM.
    pub synology: String,
    /// Of the console.
    pub unifi: String,
}

/// All of them, running; they end with this value.
pub struct Appliances {
    /// Nginx Proxy Manager.
    pub npm: Npm,
    /// A node of Proxmox VE.
    pub proxmox: Proxmox,
    /// A DSM.
    pub synology: Synology,
    /// A console.
    pub unifi: Unifi,
}

const USER: &str = "nlrun";
const MAIL: &str = "nlrun@lab.test";
const TOKEN: &str = "root@pam!nlrun";

impl Appliances {
    /// Starts all with this certificate.
    pub fn start(ports: Ports, passwords: &Passwords, own: &Pair) -> io::Result<Self> {
        let own = || Identity { certificate: own.certificate.clone(), key: own.key.clone() };
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let mut config = npm::Config::new(own());
        config.api = at(ports.npm);
        config.tls = at(ports.npm_https);
        config.login = (MAIL.to_owned(), passwords.npm.clone());
        let npm = Npm::start(config)?;
        {
            let mut state = npm.state();
            let certificate = state.add_certificate("web", &own());
            for number in 1..=HOSTS {
                state.add_host(Section::Proxy, &[&format!("app-{number}.lab.test")], certificate);
            }
        }
        let mut config = proxmox::Config::new(own());
        config.at = at(ports.proxmox);
        config.token = (TOKEN.to_owned(), passwords.proxmox.clone());
        let proxmox = Proxmox::start(config)?;
        let mut config = synology::Config::new(own());
        config.at = at(ports.synology);
        config.login = (USER.to_owned(), passwords.synology.clone());
        let synology = Synology::start(config)?;
        let mut config = unifi::Config::new(own());
        config.at = at(ports.unifi);
        config.login = (USER.to_owned(), passwords.unifi.clone());
        Ok(Self { npm, proxmox, synology, unifi: Unifi::start(config)? })
    }
}

impl Passwords {
    /// Returns what the secret store keeps: paths and their values.
    pub fn secrets(&self) -> [(&'static str, Value); 4] {
        [
            ("lab/npm", json!({ "password": self.npm })),
            ("lab/proxmox", json!({ "token": format!("{TOKEN}={}", self.proxmox) })),
            ("lab/synology", json!({ "password": self.synology })),
            ("lab/unifi", json!({ "password": self.unifi })),
        ]
    }
}

/// Returns the targets of `certs/sync`, as its table has them.
pub fn targets(ports: Ports) -> Vec<Value> {
    let url = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}");
    let secret = |name: &str| json!({ "secret": name });
    let ca = "certificates/ca.pem";
    vec![
        json!({ "name": "npm", "certificate": "web", "use": "npm", "url": url("http", ports.npm), "sni": "app-1.lab.test", "with": {
            "name": "web", "user": MAIL, "password": secret("lab/npm/password"), "https": ports.npm_https,
        } }),
        json!({ "name": "pve01", "certificate": "web", "use": "proxmox", "url": url("https", ports.proxmox), "with": {
            "node": "pve01", "token": secret("lab/proxmox/token"), "ca": ca,
        } }),
        json!({ "name": "nas", "certificate": "web", "use": "synology", "url": url("https", ports.synology), "with": {
            "user": USER, "password": secret("lab/synology/password"), "ca": ca,
        } }),
        json!({ "name": "unifi", "certificate": "web", "use": "unifi", "url": url("https", ports.unifi), "with": {
            "user": USER, "password": secret("lab/unifi/password"), "name": "web", "ca": ca,
        } }),
    ]
}
