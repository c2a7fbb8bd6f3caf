//! Looks at TLS servers: a real nginx, `openssl s_server`, and ports that are none.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{call, finish};
use crate::support::certificates::Wish;
use crate::support::project::{Output, Project, until};
use crate::support::tls::{Odd, Openssl, Shop, certificates};

fn project(body: &str) -> Project {
    Project::new().runbook("looks", &format!("const NEEDS = [\"tls.probe:*\"];\n{body}"))
}

/// Runs a script that prints fields of what a probe saw, or the kind of its failure and its message.
fn comes_to(call_text: &str, fields: &[&str], files: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("${{t.{field}}}")).collect();
    let mut project = project(&format!(
        "try {{ let t = {call_text}; print(`{}`) }} catch (e) {{ print(`${{e.kind}} ${{e.cause}} ${{e.message}}`) }}",
        fields.join("|")
    ));
    for (name, text) in files {
        project = project.file(name, text);
    }
    call(&project, ["run", "looks"]).success().stdout
}

#[track_caller]
fn shows(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

#[test]
fn a_probe_sees_the_chain_as_it_is_sent_and_trusts_nothing() {
    let Some(shop) = Shop::open() else { return };
    let root = [("ca.pem", shop.forge.read("root.pem"))];
    let fields =
        ["subject", "chain.len()", "handshake_error.type_of()", "verified", "verify_cause", "protocol"];
    for (name, more, expected) in [
        ("whole", "ca: \"ca.pem\"", "CN=www.example.com|2|()|true||TLSv1.3"),
        ("whole", "", "CN=www.example.com|2|()|false|unknown_issuer|TLSv1.3"),
        (
            "whole",
            "ca: \"ca.pem\", sni: \"other.example.com\"",
            "CN=www.example.com|2|()|false|name_mismatch|",
        ),
        ("short", "ca: \"ca.pem\"", "CN=www.example.com|1|()|false|unknown_issuer|"),
        ("expired", "ca: \"ca.pem\"", "CN=old|2|()|false|expired|"),
        ("own", "ca: \"ca.pem\"", "CN=own|1|()|false|"),
        ("guarded", "ca: \"ca.pem\"", "CN=www.example.com|2|()|true||"),
    ] {
        let text = format!("tls_probe(\"localhost\", {}, #{{ {more} }})", shop.port(name));
        shows(&comes_to(&text, &fields, &root), expected);
    }
    let more =
        ["alpn", "cipher", "client_certificate", "chain[1].is_ca", "fingerprint == t.chain[0].fingerprint"];
    let text = format!("tls_probe(\"127.0.0.1\", {}, #{{ alpn: [\"h2\", \"x\"] }})", shop.port("guarded"));
    shows(&comes_to(&text, &more, &[]), "h2|TLS13_AES_256_GCM_SHA384|true|true|true");
    let text = format!("tls_probe(\"127.0.0.1\", {})", shop.port("whole"));
    shows(&comes_to(&text, &more, &[]), "|TLS13_AES_256_GCM_SHA384|false|true|true");

    // What was seen can be checked and compared, and a replay sees it again without a server.
    let project = project(&format!(
        "let t = tls_probe(\"127.0.0.1\", {}); print(cert_parse(t.pem).fingerprint == t.fingerprint);
         print(cert_check(t.pem, #{{ at: now(), names: [\"x\"] }})[0].kind); print(t.not_after.ms > now().ms);",
        shop.port("whole")
    ));
    shows(&call(&project, ["run", "looks"]).success().stdout, "true\nname\ntrue\n");
    drop(shop);
    shows(&call(&project, ["replay", "1"]).success().stdout, "true\nname\ntrue\n");
}

#[test]
fn a_server_that_refuses_the_client_still_shows_its_chain() {
    let forge = certificates();
    for version in ["-tls1_2", "-tls1_3"] {
        let server =
            Openssl::start(&forge, &["-Verify", "1", "-verify_return_error", "-CAfile", "root.pem", version]);
        let text = format!("tls_probe(\"localhost\", {})", server.port);
        let fields = ["subject", "chain.len()", "client_certificate", "protocol", "handshake_error"];
        let protocol = version[1..].replace("tls1_", "TLSv1.");
        let seen = comes_to(&text, &fields, &[]);
        shows(&seen, &format!("CN=www.example.com|2|true|{protocol}|received fatal alert"));
    }
}

#[test]
fn what_clients_refuse_is_seen_all_the_same() {
    let forge = certificates();
    let wish = Wish { digest: "-sha1", ..Wish::server("www.example.com") };
    forge.sign("leaf", "leaf", "middle", &wish);
    let server = Openssl::start(&forge, &["-cipher", "DEFAULT@SECLEVEL=0"]);
    let project = project(&format!(
        "let t = tls_probe(\"localhost\", {}); print(`${{t.chain.len()}} ${{t.handshake_error}} ${{t.verified}}`);
         for one in cert_check(t.pem, #{{ at: now() }}) {{ print(one.kind) }}",
        server.port
    ));
    let seen = call(&project, ["run", "looks"]).success().stdout;
    shows(&seen, "2  false\n");
    shows(&seen, "weak_signature");
    // An authority's certificate in the place of a server's.
    forge.sign("leaf", "leaf", "leaf", &Wish::authority("www.example.com"));
    let server = Openssl::start(&forge, &[]);
    let text = format!("tls_probe(\"localhost\", {})", server.port);
    shows(
        &comes_to(&text, &["is_ca", "verify_error"], &[]),
        "true|the server's certificate is not accepted: it is that of an authority",
    );
}

#[test]
fn a_mail_server_is_asked_for_tls_first() {
    let forge = certificates();
    let server = Openssl::start(&forge, &[]);
    let probe = |port: u16, protocol: &str| {
        let text =
            format!("tls_probe(\"localhost\", {port}, #{{ starttls: \"{protocol}\", timeout: \"5s\" }})");
        comes_to(&text, &["subject", "chain.len()"], &[])
    };
    let mail = Odd::mail(&["SIZE 1000", "starttls"], server.port);
    shows(&probe(mail.port, "smtp"), "CN=www.example.com|2");
    let mailbox = Odd::mailbox(server.port);
    shows(&probe(mailbox.port, "imap"), "CN=www.example.com|2");
    let plain = Odd::mail(&["SIZE 1000"], server.port);
    shows(&probe(plain.port, "smtp"), "protocol  localhost:");
    shows(&probe(plain.port, "smtp"), "SMTP: the server offers no STARTTLS");
    shows(&probe(mailbox.port, "smtp"), "the server greets with `* OK IMAP4rev1`");
    shows(
        &probe(server.port, "ftp"),
        "STARTTLS is known for `smtp`, `imap`, `pop3`, `ldap` and `postgres`, not for `ftp`",
    );
    // Words in clear behind the agreement would count as protected.
    let injected = Odd::start(|stream| {
        let _ = stream.write_all(b"* OK IMAP4rev1\r\n");
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"a1 OK begin\r\n* PREAUTH\r\n");
        let _ = stream.read(&mut [0; 64]);
    });
    shows(&probe(injected.port, "imap"), "goes on in clear after it agreed to TLS");
    let endless = Odd::start(|stream| while stream.write_all(&[b'x'; 4096]).is_ok() {});
    shows(&probe(endless.port, "pop3"), "more than any greeting has");
}

#[test]
fn directories_and_databases_are_asked_for_tls_first() {
    let forge = certificates();
    let server = Openssl::start(&forge, &[]);
    let probe = |port: u16, protocol: &str| {
        let text =
            format!("tls_probe(\"localhost\", {port}, #{{ starttls: \"{protocol}\", timeout: \"5s\" }})");
        comes_to(&text, &["subject", "chain.len()"], &[])
    };
    // As OpenLDAP answers; as Active Directory does, with lengths of four bytes and the name of what was asked.
    let open = b"0\x0c\x02\x01\x01x\x07\x0a\x01\x00\x04\x00\x04\x00".as_slice();
    let active = b"0\x84\x00\x00\x00(\x02\x01\x01x\x84\x00\x00\x00\x1f\x0a\x01\x00\x04\x00\x04\x00\x8a\x16\
        1.3.6.1.4.1.1466.20037"
        .as_slice();
    for answer in [open, active] {
        shows(&probe(Odd::directory(answer, server.port).port, "ldap"), "CN=www.example.com|2");
    }
    for (answer, expected) in [
        (
            b"0\x0e\x02\x01\x01x\x09\x0a\x01\x34\x04\x00\x04\x02no".as_slice(),
            "protocol  localhost:PORT: protocol: LDAP: the server refuses TLS with result code 52 (unavailable): no",
        ),
        (
            b"0\x0c\x02\x01\x01x\x07\x0a\x01\x02\x04\x00\x04\x00",
            "the server refuses TLS with result code 2 (protocolError)",
        ),
        // Another message behind it, in clear.
        (
            b"0\x0c\x02\x01\x01x\x07\x0a\x01\x00\x04\x00\x04\x000\x03\x02\x01\x02",
            "goes on in clear after it agreed to TLS",
        ),
        // The answer to another request, and what is no LDAP.
        (b"0\x0c\x02\x01\x01a\x07\x0a\x01\x00\x04\x00\x04\x00", "LDAP: the server answers `0\\x0c\\x02"),
        (
            b"220 mail.example.com ESMTP ready to go, and more than a header says\r\n",
            "LDAP: the server answers `220",
        ),
    ] {
        let directory = Odd::directory(answer, server.port);
        shows(&probe(directory.port, "ldap"), &expected.replace("PORT", &directory.port.to_string()));
    }

    shows(&probe(Odd::database(b"S", server.port).port, "postgres"), "CN=www.example.com|2");
    for (answer, expected) in [
        (b"N".as_slice(), "PostgreSQL: the server offers no TLS"),
        (b"SSSS", "goes on in clear after it agreed to TLS"),
        (b"E\x00\x00\x00\x0bSFATAL\x00\x00", "PostgreSQL: the server answers to SSLRequest `E"),
    ] {
        shows(&probe(Odd::database(answer, server.port).port, "postgres"), expected);
    }
    // Who was not asked in its own language says nothing.
    shows(&probe(Odd::database(b"S", server.port).port, "ldap"), "lost  ");
}

#[test]
fn each_port_that_shows_no_certificate_is_told_apart() {
    let hang = Odd::start(|stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let cut = Odd::start(|stream| {
        let _ = stream.read(&mut [0; 4096]);
    });
    let gone = Odd::start(|_| {});
    let ssh = Odd::start(|stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let alert = Odd::start(|stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (text, expected) in [
        (format!("\"localhost\", {}, #{{ timeout: \"300ms\" }}", hang.port), "timed_out  localhost:"),
        (
            format!("\"localhost\", {}, #{{ timeout: \"300ms\", starttls: \"smtp\" }}", hang.port),
            "timed_out  ",
        ),
        (format!("\"localhost\", {}", cut.port), "lost  "),
        (format!("\"localhost\", {}, #{{ starttls: \"imap\" }}", gone.port), "lost  "),
        (format!("\"localhost\", {}", ssh.port), "tls handshake "),
        (format!("\"localhost\", {}", ssh.port), "it begins with `SSH-2.0-OpenSSH_9.2"),
        (format!("\"localhost\", {}", alert.port), "received fatal alert"),
        (format!("\"127.0.0.1\", {closed}"), "refused  127.0.0.1:"),
        ("\"nowhere.invalid\", 443".to_owned(), "unreachable  nowhere.invalid:443: unreachable: "),
        ("\"a b\", 443".to_owned(), "`a b` is neither a name of a host nor an address"),
        (format!("\"localhost\", {closed}, #{{ sni: \"10.0.0.1\" }}"), "`sni` is a name of a host"),
        (
            format!("\"localhost\", {closed}, #{{ ca: \"-----BEGIN NOTHING\" }}"),
            "holds no certificate authority",
        ),
        (format!("\"localhost\", {closed}, #{{ alpn: [1] }}"), "wants an array of names"),
    ] {
        shows(&comes_to(&format!("tls_probe({text})"), &["subject"], &[]), expected);
    }
    // Of the wrong types, the check and the run say the same.
    for (text, expected) in [
        ("let n = 0; tls_probe(\"localhost\", n)", "`0` is not a TCP port"),
        ("let h = 7; tls_probe(h, 443)", "wants a host or its name as `host`, got `7`"),
    ] {
        let output = call(&project(text), ["run", "looks"]).ends(1);
        shows(&output.stderr, expected);
    }
}

#[test]
fn needs_name_ports() {
    let check = |need: &str, text: &str| {
        let text = format!("const NEEDS = [\"{need}\"];\n{text};");
        call(&Project::new().runbook("looks", &text), ["check", "looks"])
    };
    check("tls.probe:*.example.com:443", "tls_probe(\"WWW.example.com\", 443)").success();
    check("tls.probe:[::1]:443", "tls_probe(\"::1\", 443)").success();
    let output = check("tls.probe:*.example.com:443", "tls_probe(\"www.example.com\", 8443)").ends(1);
    shows(&output.stderr, "tls.probe:www.example.com:8443");
    // What only the run knows, the gate holds against them.
    let text = "const NEEDS = [\"tls.probe:*:443\"];\nlet p = now().ms % 1 + 9; tls_probe(\"localhost\", p);";
    let output = call(&Project::new().runbook("looks", text), ["run", "looks"]).ends(3);
    shows(&output.stderr, "tls.probe:localhost:9");
}

#[test]
fn a_cancelled_run_does_not_wait_for_a_handshake() {
    let (asked, seen) = std::sync::mpsc::channel();
    let hang = Odd::start(move |stream| {
        let _ = asked.send(());
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let project = project(&format!("tls_probe(\"localhost\", {}, #{{ timeout: \"50s\" }})", hang.port));
    let child = project.spawn(["run", "looks"]);
    until("the server is asked", || seen.try_recv().is_ok());
    let begun = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child).ends(5);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

fn cert(project: &Project, words: &[&str]) -> Output {
    call(project, ["cert"].iter().chain(words))
}

#[test]
fn the_command_line_looks_at_servers_as_it_does_at_files() {
    let Some(shop) = Shop::open() else { return };
    let at = |name: &str| format!("localhost:{}", shop.port(name));
    let project =
        Project::new().file("ca.pem", &shop.forge.read("root.pem")).file("no:443", "no certificate");
    let shown = cert(&project, &["show", &at("guarded"), "--ca", "ca.pem"]).success().stdout;
    for part in [
        "CN=www.example.com",
        "connection   TLSv1.3 TLS13",
        "asks for a client's",
        "handshake    done",
        "trusted      yes",
    ] {
        shows(&shown, part);
    }
    let lines = cert(&project, &["show", &at("expired"), "--json"]).success().json_lines();
    assert_eq!(lines.len(), 3);
    assert_eq!((lines[0]["subject"].as_str(), lines[2]["verified"].as_bool()), (Some("CN=old"), Some(false)));

    let kinds = |words: &[&str], code: i32| {
        let output = cert(&project, &[&["check", "--json"], words].concat()).ends(code);
        output
            .json_lines()
            .iter()
            .map(|one| one["kind"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(kinds(&[&at("whole"), "--ca", "ca.pem"], 0), "");
    assert_eq!(kinds(&[&at("whole")], 1), "untrusted");
    assert_eq!(kinds(&[&at("short"), "--ca", "ca.pem"], 1), "untrusted incomplete");
    assert_eq!(kinds(&[&at("expired"), "--ca", "ca.pem"], 1), "expired");
    assert_eq!(kinds(&[&at("own"), "--ca", "ca.pem"], 1), "untrusted self_signed");
    assert_eq!(kinds(&[&at("guarded"), "--ca", "ca.pem"], 0), "client_certificate");
    assert_eq!(kinds(&[&at("whole"), "--ca", "ca.pem", "--sni", "x.example.com"], 1), "name");
    assert_eq!(kinds(&[&at("whole"), "--ca", "ca.pem", "--name", "www.example.com"], 0), "");
    let url = format!("https://127.0.0.1:{}/x", shop.port("whole"));
    assert_eq!(kinds(&[&url, "--ca", "ca.pem", "--warn", "100d"], 0), "expires");
    let key = project.path("leaf.key");
    project.write("leaf.key", &shop.forge.read("leaf.key"));
    assert_eq!(kinds(&[&at("whole"), "--ca", "ca.pem", "--key", key.to_str().unwrap()], 0), "");
    assert_eq!(
        kinds(&[&at("expired"), "--ca", "ca.pem", "--key", key.to_str().unwrap()], 1),
        "key_mismatch expired"
    );

    let mail = Odd::mail(&["STARTTLS"], shop.port("whole"));
    let mail_at = format!("localhost:{}", mail.port);
    assert_eq!(kinds(&[&mail_at, "--starttls", "smtp", "--ca", "ca.pem"], 0), "");
    // No answer is never a good one, and a file of that name is still a file.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    shows(&cert(&project, &["check", &closed.to_string()]).ends(1).stderr, "connection refused");
    shows(&cert(&project, &["check", &mail_at, "--timeout", "1s"]).ends(1).stderr, "does not speak TLS");
    shows(&cert(&project, &["show", "nowhere.invalid:443"]).ends(1).stderr, "unreachable");
    shows(&cert(&project, &["show", "no:443"]).ends(1).stderr, "neither a certificate nor a private key");
    shows(&cert(&project, &["show", "ca.pem", "--sni", "x"]).ends(64).stderr, "`--sni` is for servers");
    shows(
        &cert(&project, &["show", &at("whole"), "--ca", "no:443"]).ends(64).stderr,
        "holds no certificate authority",
    );
    cert(&project, &["show", &at("whole"), "--starttls", "ftp"]).ends(64);
    cert(&project, &["show", &at("whole"), "--timeout", "soon"]).ends(64);
}
