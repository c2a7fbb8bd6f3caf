//! `cert_sync` to programs with an API, against the lab's strict ones.

mod gitlab;
mod npm;
mod pihole;
mod proxmox;
mod unnamed;

use std::net::SocketAddr;
use std::time::Duration;

use nlrun::lab::http::Identity;
use nlrun::model::port::Port;
use nlrun::world::tls::probe;
use nlrun::x509::Bundle;
use tokio_util::sync::CancellationToken;

use crate::behaviour::call;
use crate::support::certificates::{Forge, Wish};
use crate::support::project::{Output, Project};

/// A chain, and certificates for the same names: `one`, `two` (its renewal, with another key) and `own`, which signed itself.
struct Site {
    forge: Forge,
}

impl Site {
    fn new() -> Self {
        let forge = Forge::chain();
        let extensions = "basicConstraints=critical,CA:false\nextendedKeyUsage=serverAuth\n\
                          subjectAltName=DNS:site.example.com,DNS:*.example.com,DNS:localhost,IP:127.0.0.1\n";
        for (name, issuer) in [("one", "middle"), ("two", "middle"), ("own", "own")] {
            forge.key(name, "P-256");
            forge.sign(name, name, issuer, &Wish { extensions, ..Wish::server(name) });
        }
        Self { forge }
    }

    fn pair(&self, name: &str) -> Identity {
        let chain = if name == "own" { String::new() } else { self.forge.read("middle.pem") };
        Identity {
            certificate: self.forge.read(&format!("{name}.pem")) + &chain,
            key: self.forge.read(&format!("{name}.key")),
        }
    }

    /// Takes a pair for the one to bring.
    fn bring(&self, project: &Project, name: &str) {
        let pair = self.pair(name);
        project.write("site.pem", &pair.certificate);
        project.write("site.key", &pair.key);
    }

    fn fingerprint(&self, name: &str) -> String {
        Bundle::read(self.forge.read(&format!("{name}.pem")).as_bytes()).unwrap().certificates[0]
            .fingerprint
            .clone()
    }

    /// Demands that a port shows this one for a name, with its chain.
    #[track_caller]
    fn serves(&self, at: SocketAddr, sni: &str, name: &str) {
        let request = probe::Request {
            port: Port::new(&at.ip().to_string(), at.port()).unwrap(),
            server_name: Some(sni.to_owned()),
            starttls: None,
            alpn: Vec::new(),
            ca: Some(self.forge.read("root.pem").into_bytes().into()),
            timeout: Duration::from_secs(20),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sight = runtime.block_on(request.look(&CancellationToken::new())).unwrap();
        let leaf = nlrun::x509::Certificate::read(&sight.chain[0]).unwrap();
        assert_eq!(leaf.fingerprint, self.fingerprint(name), "{sni} shows {}", leaf.subject);
        assert_eq!(sight.trust == probe::Verified::Yes, name != "own", "{:?}", sight.trust);
    }
}

/// A runbook that brings `site.pem` and `site.key` to a target.
fn runbook(url: &str, target: &str) -> String {
    format!(
        r#"//! Brings a certificate.
const NEEDS = ["project.read", "secret.read", "cert.load", "cert.sync:{url}/"];
let pair = cert_load(#{{ certificate: project_read("site.pem"), key: project_read("site.key", #{{ secret: "site/key" }}) }});
let done = cert_sync(pair, #{{ url: "{url}", {target} }});
print(`changed=${{done.changed}} ${{done.fingerprint}}`);
for text in done.warnings {{ print(`warning: ${{text}}`) }}
"#
    )
}

/// Runs it, and demands that it changes something or nothing.
#[track_caller]
fn synced(project: &Project, changes: bool) -> Output {
    let output = call(project, ["run", "bring"]).success();
    assert!(output.stdout.contains(&format!("changed={changes} ")), "{output:?}");
    output
}

/// Demands that none of these is anywhere in what a project keeps and shows.
#[track_caller]
fn hides(project: &Project, outputs: &[&Output], secrets: &[String]) {
    let mut texts: Vec<Vec<u8>> = outputs.iter().map(|output| format!("{output:?}").into_bytes()).collect();
    for entry in std::fs::read_dir(project.path(".nlrun")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            texts.push(std::fs::read(path).unwrap());
        }
    }
    for run in call(project, ["runs", "--json"]).success().json_lines() {
        let number = run["run"].as_i64().or(run["id"].as_i64()).unwrap().to_string();
        texts.push(call(project, ["log", &number, "--json"]).success().stdout.into_bytes());
    }
    for secret in secrets.iter().flat_map(|secret| secret.lines()).filter(|line| !line.starts_with("-----")) {
        assert!(secret.len() > 5);
        let is_in = |text: &Vec<u8>| text.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!texts.iter().any(is_in), "{secret} is in sight");
    }
}
