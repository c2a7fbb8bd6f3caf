//! Puts the lab together: the folder, what runs on loopback, and how it ends.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::rand::SecureRandom as _;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::appliances::{self, Appliances, Passwords, Ports};
use super::authority::{self, Days, Pair};
use super::bao::{Bao, Logins, answer};
use super::cisco;
use super::devices::{self, Wired};
use super::folder::{Folder, FolderError};
use super::host::{self, Host, HostError};
use super::http::server::{self, Port, Running};
use super::project::{self, Wiring};
use super::ssh;
use super::tls::{self, Face, FaceError};
use crate::world::{clock, files};

/// Where the ports of a lab begin unless it is told otherwise.
const BASE: u16 = 14_100;
/// How many hosts there are unless it is told otherwise.
const HOSTS: usize = 3;
/// The most hosts: the ports of more would reach into those of other parts.
pub const MOST_HOSTS: usize = 20;

/// What a lab is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its folder.
    pub folder: PathBuf,
    /// How many hosts [default: as before, or 3].
    pub hosts: Option<usize>,
    /// The first port; 0 for any that are free [default: as before, or 14100].
    pub base: Option<u16>,
    /// The engine's own file, which hosts use.
    pub program: PathBuf,
}

/// Something that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// What it is called.
    pub name: String,
    /// How it is spoken to: `ssh`, `http` or `https`.
    pub scheme: &'static str,
    /// Its port on loopback.
    pub port: u16,
    /// What it is, in some words.
    pub about: String,
    /// Whether it is a port of TLS whose certificate is the thing to look at.
    #[serde(skip)]
    pub is_endpoint: bool,
}

impl Place {
    /// Returns its address.
    pub fn address(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }
}

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Something else has a port.
    #[error("port {port} of 127.0.0.1, which is for `{part}`, cannot be used")]
    Port {
        /// Which port.
        port: u16,
        /// Whose it would be.
        part: String,
        /// Why not.
        source: io::Error,
    },
    /// A certificate cannot be made or shown.
    #[error("the certificates of the lab cannot be made or used: {0}")]
    Certificate(String),
    /// An SSH key cannot be made or read.
    #[error("the SSH keys of the lab cannot be made or used: {0}")]
    Key(String),
    /// The secret store's values cannot be read or written.
    #[error("the values of the secret store cannot be read or written")]
    Store(#[source] io::Error),
    /// The machine gives no runtime, no signal or no process.
    #[error("this machine refuses what the lab needs")]
    Machine(#[from] io::Error),
}

impl From<rcgen::Error> for LabError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

impl From<FaceError> for LabError {
    fn from(error: FaceError) -> Self {
        Self::Certificate(error.to_string())
    }
}

impl From<russh::keys::ssh_key::Error> for LabError {
    fn from(error: russh::keys::ssh_key::Error) -> Self {
        Self::Key(error.to_string())
    }
}

/// A lab that runs.
pub struct Lab {
    folder: Folder,
    places: Vec<Place>,
    without_hosts: Option<String>,
    hosts: Vec<Arc<Host>>,
    servers: JoinSet<()>,
    store: Option<Running>,
    appliances: Option<Appliances>,
    devices: Vec<devices::Running>,
}

/// The certificates of the lab.
struct Certificates {
    authority: Pair,
    old: Pair,
    new: Pair,
    expired: Pair,
    stranger: Pair,
}

impl Lab {
    /// Returns its folder, the project.
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    /// Returns what listens where.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Returns the files of the project that are the user's own by now.
    pub fn kept(&self) -> &[String] {
        self.folder.kept()
    }

    /// Returns why there are no hosts, where there are none.
    pub fn without_hosts(&self) -> Option<&str> {
        self.without_hosts.as_deref()
    }

    /// Returns the programs and devices with an API.
    pub fn appliances(&self) -> Option<&Appliances> {
        self.appliances.as_ref()
    }

    /// Starts a lab; whoever waits for it may connect when this returns.
    pub async fn start(wanted: &Wanted) -> Result<Self, LabError> {
        let mut folder = Folder::open(&wanted.folder)?;
        let count = folder.hosts(wanted.hosts, HOSTS);
        let base = folder.base(wanted.base, BASE)?;
        let mut lab = Self {
            folder,
            places: Vec::new(),
            without_hosts: None,
            hosts: Vec::new(),
            servers: JoinSet::new(),
            store: None,
            appliances: None,
            devices: Vec::new(),
        };
        let certificates = lab.certificates()?;
        let passwords = lab.passwords()?;
        let (store, role_id) = lab.store(base, &certificates, &passwords).await?;
        let appliances = lab.start_appliances(base, &certificates, &passwords).await?;
        lab.endpoints(base, &certificates).await?;
        let network = lab.network(base).await?;
        let client = lab.key("id_ed25519")?.public_key().clone();
        // Once, before the first host starts: a file that is replaced takes along what is mounted on it.
        let equipped = host::equip(&lab.folder.own("parts"));
        lab.without_hosts = equipped.err().map(|error| crate::lab::told(&error));
        let mut wiring = Vec::new();
        for number in 1..=count {
            let name = format!("web-{number}");
            let slot = u16::try_from(number).unwrap_or(u16::MAX);
            let (door, ssh) = lab.listen(&name, base, 20 + slot).await?;
            let (reserved, https) = lab.listen(&format!("{name}/https"), base, 50 + slot).await?;
            let one = Wiring { name, ssh, https };
            // The host's own server takes it.
            drop(reserved);
            if lab.without_hosts.is_none() {
                match lab.host(&one, &certificates, &wanted.program).await {
                    Ok(host) => {
                        let own = lab.key(&format!("keys/{}", one.name))?;
                        lab.servers.spawn(ssh::serve(door, host.clone(), own, client.clone()));
                        lab.hosts.push(host);
                        lab.place(&one.name, "ssh", ssh, "a host; its user is root");
                        lab.place(&format!("{} nginx", one.name), "https", https, "its web server");
                    }
                    Err(error) => lab.without_hosts = Some(crate::lab::told(&error)),
                }
            }
            wiring.push(one);
        }
        let doors = wiring.iter().map(|one| (one.name.as_str(), one.ssh));
        let doors = doors.chain(network.iter().map(|one| (one.model.name, one.port)));
        let known: String = doors.map(|(name, port)| lab.known(name, port)).collect::<Result<_, _>>()?;
        let config = project::ssh_config(&lab.folder, &wiring, &network);
        for (name, text) in [("known_hosts", known), ("ssh_config", config)] {
            files::replace(&lab.folder.own(name), text.as_bytes(), 0o600)?;
        }
        let reached = if lab.without_hosts.is_none() { wiring.as_slice() } else { &[] };
        project::write(&mut lab.folder, reached, &network, &lab.places, appliances, store, &role_id)?;
        lab.folder.remember()?;
        Ok(lab)
    }

    /// Ends everything that runs, hosts included.
    pub async fn end(mut self) {
        self.servers.shutdown().await;
        drop((self.store.take(), self.appliances.take()));
        for device in self.devices.drain(..) {
            // A disk that is full costs a device its memory, and nothing more.
            let _ = device.keep();
        }
        for host in self.hosts.drain(..) {
            if let Some(host) = Arc::into_inner(host) {
                host.end().await;
            }
        }
    }

    fn place(&mut self, name: &str, scheme: &'static str, port: u16, about: &str) {
        let (name, about) = (name.to_owned(), about.to_owned());
        self.places.push(Place { name, scheme, port, about, is_endpoint: false });
    }

    /// Opens the port of a part: the same as before, if there was one.
    async fn listen(&mut self, part: &str, base: u16, slot: u16) -> Result<(TcpListener, u16), LabError> {
        let fixed = if base == 0 { 0 } else { base.saturating_add(slot) };
        let port = self.folder.port(part).unwrap_or(fixed);
        let fail = |source| LabError::Port { port, part: part.to_owned(), source };
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(fail)?;
        let port = listener.local_addr().map_err(fail)?.port();
        self.folder.set_port(part, port);
        Ok((listener, port))
    }

    /// Reads the certificates, or makes them.
    fn certificates(&mut self) -> Result<Certificates, LabError> {
        let now = clock::now();
        let names = ["web.lab.test", "localhost", "127.0.0.1"];
        let authority = self.pair("ca", || authority::found("Authority of the lab", now))?;
        let other = self.pair("other-ca", || authority::found("Authority that nobody knows", now))?;
        let sign = |authority: &Pair, days: Days| authority::sign(authority, names[0], &names, now, days);
        let old = self.pair("old", || sign(&authority, Days(-80, 10)))?;
        let new = self.pair("new", || sign(&authority, Days(-1, 90)))?;
        let expired = self.pair("expired", || sign(&authority, Days(-100, -10)))?;
        let stranger = self.pair("stranger", || sign(&other, Days(-1, 90)))?;
        self.pair("client", || authority::sign(&authority, "a client", &[], now, Days(-1, 365)))?;
        Ok(Certificates { authority, old, new, expired, stranger })
    }

    fn pair(&self, name: &str, make: impl FnOnce() -> Result<Pair, rcgen::Error>) -> Result<Pair, LabError> {
        let folder = self.folder.root().join("certificates");
        let paths = ["pem", "key"].map(|ending| folder.join(format!("{name}.{ending}")));
        if let [Ok(certificate), Ok(key)] = paths.each_ref().map(std::fs::read_to_string) {
            return Ok(Pair { certificate, key });
        }
        let pair = make()?;
        std::fs::create_dir_all(&folder)?;
        files::replace(&paths[0], pair.certificate.as_bytes(), 0o644)?;
        files::replace(&paths[1], pair.key.as_bytes(), 0o600)?;
        Ok(pair)
    }

    /// Reads the passwords, or makes them.
    fn passwords(&self) -> Result<Passwords, LabError> {
        let once = |name: &str| self.folder.once(&format!("passwords/{name}"), answer::id);
        Ok(Passwords {
            npm: once("npm")?,
            proxmox: once("proxmox")?,
            synology: once("synology")?,
            unifi: once("unifi")?,
        })
    }

    /// Starts what has an API, and returns the targets of `certs/sync` for it.
    async fn start_appliances(
        &mut self,
        base: u16,
        certificates: &Certificates,
        passwords: &Passwords,
    ) -> Result<Vec<Value>, LabError> {
        let mut reserved = Vec::new();
        for (slot, part) in (6..).zip(["npm", "npm/https", "proxmox", "synology", "unifi"]) {
            reserved.push(self.listen(part, base, slot).await?);
        }
        let [npm, npm_https, proxmox, synology, unifi] =
            std::array::from_fn(|index| reserved.get(index).map_or(0, |(_, port)| *port));
        // They take them themselves.
        drop(reserved);
        let ports = Ports { npm, npm_https, proxmox, synology, unifi };
        self.appliances = Some(Appliances::start(ports, passwords, &certificates.old)?);
        self.place("npm", "http", npm, "Nginx Proxy Manager, its API");
        self.place("npm hosts", "https", npm_https, "what it serves: app-1.lab.test and others");
        self.place("pve01", "https", proxmox, "a node of Proxmox VE, its certificates only");
        self.place("nas", "https", synology, "a Synology DSM, its certificates only");
        self.place("unifi", "https", unifi, "a console of UniFi OS, its certificates only");
        Ok(appliances::targets(ports))
    }

    async fn store(
        &mut self,
        base: u16,
        certificates: &Certificates,
        passwords: &Passwords,
    ) -> Result<(u16, String), LabError> {
        let id = |name: &str| self.folder.once(name, answer::id);
        let logins = Logins { root: id("root_token")?, role_id: id("role_id")?, secret_id: id("secret_id")? };
        let role_id = logins.role_id.clone();
        let bao = Bao::new(logins, Some(&self.folder.own("store.json"))).map_err(LabError::Store)?;
        let seed = |path: &str, values: Value| {
            let values: Map<String, Value> = values.as_object().cloned().unwrap_or_default();
            bao.seed(path, values).map_err(LabError::Store)
        };
        seed(
            "certs/web",
            json!({
                // With the authority, so that the chain is whole.
                "certificate": format!("{}{}", certificates.new.certificate, certificates.authority.certificate),
                "key": certificates.new.key,
            }),
        )?;
        for (path, values) in passwords.secrets() {
            seed(path, values)?;
        }
        let (password, enable) = self.cisco_passwords()?;
        seed(devices::SECRET, json!({ "password": password, "enable": enable }))?;
        seed("ci/db", json!({ "user": "app", "password": answer::id() }))?;
        let (reserved, port) = self.listen("store", base, 0).await?;
        // It takes it itself.
        drop(reserved);
        let door = Port { at: ([127, 0, 0, 1], port).into(), tls: None, face: Arc::new(bao) };
        self.store = Some(server::start("store", vec![door])?);
        self.place("store", "http", port, "secrets, as OpenBao keeps them");
        Ok((port, role_id))
    }

    /// Starts the ports of TLS whose certificates are what is to be found.
    async fn endpoints(&mut self, base: u16, certificates: &Certificates) -> Result<(), LabError> {
        let authority = certificates.authority.certificate.as_bytes();
        let all = [
            ("soon", &certificates.old, None, "its certificate ends soon"),
            ("expired", &certificates.expired, None, "its certificate has expired"),
            ("stranger", &certificates.stranger, None, "its certificate is of an unknown authority"),
            ("mutual", &certificates.new, Some(authority), "wants a certificate of its clients"),
        ];
        for (slot, (name, pair, clients, about)) in (1..).zip(all) {
            let page = format!("the endpoint `{name}` of the lab\n");
            let face = Face::new(pair.certificate.as_bytes(), pair.key.as_bytes(), clients, &page)?;
            let (door, port) = self.listen(name, base, slot).await?;
            let (sender, face) = watch::channel(face);
            self.servers.spawn(async move {
                tls::serve(door, face).await;
                drop(sender);
            });
            self.place(name, "https", port, about);
            if let Some(place) = self.places.last_mut() {
                place.is_endpoint = true;
            }
        }
        Ok(())
    }

    async fn host(
        &self,
        one: &Wiring,
        certificates: &Certificates,
        program: &Path,
    ) -> Result<Arc<Host>, HostError> {
        let disk = self.folder.own("hosts").join(&one.name);
        let parts = self.folder.own("parts");
        host::furnish(&disk, &contents(one, &certificates.old))?;
        Ok(Arc::new(Host::start(&one.name, &disk, &parts, program).await?))
    }

    /// Returns an SSH key, which is made once.
    fn key(&self, name: &str) -> Result<PrivateKey, LabError> {
        Ok(PrivateKey::from_openssh(self.folder.once(name, || openssh(&key_of_chance()))?)?)
    }

    /// Returns the line of a host for `known_hosts`.
    fn known(&self, name: &str, port: u16) -> Result<String, LabError> {
        let public = self.key(&format!("keys/{name}"))?.public_key().to_openssh()?;
        Ok(format!("[127.0.0.1]:{port} {public}\n"))
    }

    /// Starts the network devices.
    async fn network(&mut self, base: u16) -> Result<Vec<Wired>, LabError> {
        let (password, enable) = self.cisco_passwords()?;
        let mut wired = Vec::new();
        for (slot, model) in (80..).zip(devices::ALL) {
            let (door, port) = self.listen(model.name, base, slot).await?;
            let name = format!("keys/{}", model.name);
            if model.is_old {
                self.folder.once(&name, || openssh(&cisco::old_key()))?;
            }
            let (device, running) = model.start(&self.folder, &password, &enable);
            self.servers.spawn(cisco::serve_with(door, device, self.key(&name)?));
            self.devices.push(running);
            self.place(model.name, "ssh", port, model.about);
            wired.push(Wired { model, port });
        }
        Ok(wired)
    }

    /// Reads the password of the devices' login and their enable secret, or makes them.
    fn cisco_passwords(&self) -> Result<(String, String), FolderError> {
        let once = |name: &str| self.folder.once(&format!("passwords/{name}"), answer::id);
        Ok((once("cisco")?, once("cisco-enable")?))
    }
}

/// Starts a lab, tells when it is ready, and keeps it until it is told to end or the command has ended.
pub fn hold(wanted: &Wanted, words: &[OsString], ready: impl FnOnce(&Lab)) -> Result<u8, LabError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let code = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let lab = tokio::select! {
            lab = Lab::start(wanted) => lab?,
            _ = interrupt.recv() => return Ok(130),
            _ = terminate.recv() => return Ok(143),
        };
        ready(&lab);
        let code = if words.is_empty() {
            tokio::select! { _ = interrupt.recv() => 0, _ = terminate.recv() => 0 }
        } else {
            // A Ctrl-C reaches the command as well, which knows how to end.
            command(wanted, lab.root(), words).await?
        };
        tokio::select! {
            () = lab.end() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(code)
    });
    runtime.shutdown_background();
    code
}

/// Runs one command of nlrun in the lab's project.
#[expect(clippy::disallowed_methods, reason = "the command is nlrun itself")]
async fn command(wanted: &Wanted, root: &Path, words: &[OsString]) -> Result<u8, LabError> {
    let mut command = tokio::process::Command::new(&wanted.program);
    let status = command.args(words).current_dir(root).kill_on_drop(true).status().await?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Makes a key.
pub(super) fn key_of_chance() -> PrivateKey {
    let mut seed = [0; 32];
    // `ring` fails here only where the system has no source of randomness, and then no TLS works either.
    ring::rand::SystemRandom::new().fill(&mut seed).expect("the system has randomness");
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "lab of nlrun")
        .expect("an Ed25519 key needs nothing more")
}

fn openssh(key: &PrivateKey) -> String {
    key.to_openssh(LineEnding::LF).expect("a key without a passphrase can be written").to_string()
}

/// Returns what a new host has on its disk.
fn contents(one: &Wiring, pair: &Pair) -> Vec<(&'static str, String, u32)> {
    let name = &one.name;
    let nginx = format!(
        "# Read by the small stand-in for nginx that the lab's hosts have.\nevents {{}}\nhttp {{\n    server {{\n        \
         listen 127.0.0.1:{} ssl;\n        server_name web.lab.test;\n        \
         ssl_certificate /etc/nginx/tls/web.pem;\n        ssl_certificate_key /etc/nginx/tls/web.pem;\n        \
         return 200 \"{name} of the lab\";\n    }}\n}}\n",
        one.https
    );
    vec![
        ("etc/hostname", format!("{name}\n"), 0o644),
        ("etc/hosts", format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"), 0o644),
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n".to_owned(),
            0o644,
        ),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n".to_owned(), 0o644),
        (
            "etc/os-release",
            "ID=lab\nID_LIKE=debian\nVERSION_ID=1\nNAME=\"nlrun lab\"\nPRETTY_NAME=\"A host of the lab\"\n"
                .to_owned(),
            0o644,
        ),
        ("etc/motd", format!("This is {name} of the lab.\n"), 0o644),
        ("etc/nginx/nginx.conf", nginx, 0o644),
        ("etc/nginx/tls/web.pem", format!("{}{}", pair.certificate, pair.key), 0o600),
    ]
}
