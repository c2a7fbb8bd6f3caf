//! TLS by files that are replaced under a running server, and proxies that are believed or not.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::browser::{Browser, PASSWORD, user};
use crate::support::project::Project;
use crate::support::server::{Server, token};

/// A certificate for `localhost`, and its key, in PEM.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Asks for something by TLS, trusting one certificate.
fn ask(server: &Server, trusted: &str, request: &str) -> Result<String, String> {
    let address = server.url.strip_prefix("https://").expect("by TLS").to_owned();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        #[expect(clippy::disallowed_methods, reason = "a test opens its own connection")]
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        Ok(text)
    })
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[test]
fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let (first, second) = (pair(), pair());
    let project = Project::new()
        .file("nlrun.yaml", "server: { tls: { certificate: tls/c.pem, key: tls/k.pem } }\n")
        .file("tls/c.pem", &first.0)
        .file("tls/k.pem", &first.1);
    user(&project, "ann", "viewer");
    let server = Server::start(&project);
    let answer = ask(&server, &first.0, HEALTH).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("strict-transport-security: max-age="),
        "{answer}"
    );
    let body = json!({ "name": "ann", "password": PASSWORD }).to_string();
    let login = format!(
        "POST /api/v1/session HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(&server, &first.0, &login).unwrap();
    assert!(answer.contains("set-cookie: __Host-nlrun=") && answer.contains("; Secure"), "{answer}");
    project.write("tls/c.pem", &second.0);
    assert!(ask(&server, &first.0, HEALTH).is_ok(), "half of a new pair changes nothing");
    project.write("tls/k.pem", &second.1);
    assert!(ask(&server, &second.0, HEALTH).is_ok(), "the new one is shown");
    assert!(ask(&server, &first.0, HEALTH).is_err(), "and the old one is not");
    project.write("tls/c.pem", "no certificate");
    assert!(ask(&server, &second.0, HEALTH).is_ok(), "a broken one is not shown");
    // Who speaks plain HTTP, or nothing, holds up nobody.
    #[expect(clippy::disallowed_methods, reason = "a test opens its own connection")]
    let silent = std::net::TcpStream::connect(server.url.strip_prefix("https://").unwrap()).unwrap();
    assert!(ask(&server, &second.0, HEALTH).is_ok());
    drop(silent);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn only_a_trusted_proxy_says_who_asks() {
    for (trusted, forwarded, expected) in [
        ("[127.0.0.1]", "203.0.113.9", "203.0.113.9"),
        ("[127.0.0.1]", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("[127.0.0.1, 203.0.113.0/24]", "198.51.100.1, 203.0.113.9", "198.51.100.1"),
        ("[127.0.0.1]", "198.51.100.1, nonsense", "127.0.0.1"),
        ("[10.0.0.0/8]", "203.0.113.9", "127.0.0.1"),
        ("[]", "203.0.113.9", "127.0.0.1"),
    ] {
        let yaml = format!("server: {{ trusted_proxies: {trusted} }}\n");
        let project = Project::new().file("nlrun.yaml", &yaml);
        let viewer = token(&project, "see", "viewer");
        let server = Server::start(&project);
        let headers = [("x-forwarded-for", forwarded), ("x-forwarded-proto", "https")];
        let answer = server.caller(&viewer).send("POST", "/api/v1/runs", &headers, Some(&json!({})));
        assert_eq!(answer.status, 403);
        let is_https = answer.headers.contains_key("strict-transport-security");
        assert_eq!(is_https, trusted.contains("127.0.0.1"), "{trusted}");
        let row = project.args(["audit", "--json", "--refused"]).json();
        assert_eq!(row["address"], expected, "{trusted} {forwarded}");
    }
}

#[test]
fn behind_a_proxy_that_speaks_tls_cookies_are_for_tls() {
    let project = Project::new().file("nlrun.yaml", "server: { url: 'https://nlrun.example.net' }\n");
    user(&project, "ann", "operator");
    let server = Server::start(&project);
    let mut ann = Browser::new(&server);
    let login = json!({ "name": "ann", "password": PASSWORD });
    let origin = [("origin", "https://nlrun.example.net")];
    let answer = ann.send_with("POST", "/api/v1/session", &origin, Some(&login));
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-nlrun=") && cookie.ends_with("; Secure"), "{cookie}");
    // By http, somebody on the way could speak for the same host.
    let plain = [("origin", server.url.as_str())];
    assert_eq!(ann.send_with("POST", "/api/v1/session", &plain, Some(&login)).status, 403);
}
