//! Clients that are slow, take nothing, or vanish: they hold up nobody else, and nothing of them stays.
#![expect(clippy::disallowed_methods, reason = "a test sends what no client sends, slowly")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::operations::metric;
use crate::support::project::{Project, until};
use crate::support::server::{Server, token};

/// No server needs longer than this to have had enough.
const PATIENCE: Duration = Duration::from_secs(60);

fn project() -> Project {
    Project::new()
        .file(
            "nlrun.yaml",
            "server:\n  metrics: {open: true}\n  patience: {head: 1s, body: 1s, answer: 2s}\n",
        )
        .runbook("wait", "//! Waits.\nconst NEEDS = [];\nsleep(\"120s\");\n")
        .runbook(
            "much",
            r#"
            //! Says much.
            const NEEDS = ["ssh.read:localhost"];
            for i in 0..20 { ssh_read("localhost", "head -c 800000 /dev/zero | tr '\\0' x"); }
            "#,
        )
}

fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap()
}

/// Sends one byte after the other, slowly, until the server ends the connection; returns what it said.
fn dribble(mut stream: TcpStream, text: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (mut bytes, mut said) = (text.bytes().chain(std::iter::repeat(b'x')), Vec::new());
    let mut part = [0; 4096];
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "a client that sends a byte now and then is heard for ever");
        let _ = stream.write_all(&[bytes.next().unwrap()]);
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn who_is_slow_loses_the_connection_and_nobody_else_waits() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let slow: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
    for (number, mut stream) in slow.iter().enumerate() {
        stream.write_all(&b"GET /healthz HTTP/1.1\r\nhost: x\r\n"[..number % 30]).unwrap();
    }
    assert_eq!(op.get("/api/v1/runs").status, 200, "two hundred heads that do not come hold up nobody");
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        // Ended, and not still open after the whole time.
        if let Err(error) = stream.read_to_end(&mut said) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    }
    // A head that goes on and on, one byte at a time.
    let said = dribble(connect(&server), "GET /healthz HTTP/1.1\r\nx: ");
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    // A connection that is kept open waits for the next request as long, and not longer.
    let mut kept = connect(&server);
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = String::new();
    kept.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("ok\n"), "{said}");
    // A body that does not come.
    let mut stream = connect(&server);
    let head = format!(
        "POST /api/v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {operator}\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let said = dribble(stream, "{\"runbook\": \"");
    assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("application/problem+json"), "{said}");
    assert!(said.contains("/problems/slow"), "{said}");
    // One that breaks off asks for nothing.
    let mut stream = connect(&server);
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"{\"runbook\": \"wait\"}").unwrap();
    drop(stream);
    assert_eq!(op.get("/api/v1/runs").json()["items"], json!([]));
    assert!(!server.said().contains("panicked"), "{}", server.said());
    // Its log is no terminal here.
    assert!(!server.said().contains('\u{1b}'), "{}", server.said());
}

fn open_files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count()
}

fn streams(server: &Server) -> f64 {
    metric(&server.nobody().get("/metrics").text, "nlrun_event_streams")
}

/// Asks for the events of a run, and reads nothing.
fn follow(server: &Server, token: &str, run: i64) -> TcpStream {
    let mut stream = connect(server);
    let head = format!(
        "GET /api/v1/runs/{run}/events?output=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn watchers_that_vanish_leave_nothing_behind() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "wait" }));
    op.wait(run, &["running"]);
    assert_eq!(streams(&server), 0.0);
    let before = open_files(&server);
    for _ in 0..2 {
        let watchers: Vec<TcpStream> = (0..100).map(|_| follow(&server, &operator, run)).collect();
        until("all of them follow", || streams(&server) == 100.0);
        assert!(open_files(&server) >= before + 100);
        drop(watchers);
        until("nothing of them is left", || streams(&server) == 0.0 && open_files(&server) < before + 50);
    }
    assert_eq!(op.get(&format!("/api/v1/runs/{run}")).json()["status"], "running");
    assert_eq!(op.post(&format!("/api/v1/runs/{run}/cancel"), &json!({ "now": true })).status, 202);
    op.wait(run, &["cancelled"]);
}

#[test]
fn a_watcher_that_takes_nothing_loses_its_stream() {
    let project = project();
    let operator = token(&project, "op", "operator");
    let server = Server::start(&project);
    let op = server.caller(&operator);
    let run = op.run(&json!({ "runbook": "much" }));
    op.wait(run, &["done"]);
    // More than the kernel takes for somebody who does not read.
    let stuck: Vec<TcpStream> = (0..3).map(|_| follow(&server, &operator, run)).collect();
    until("they follow", || streams(&server) == 3.0);
    until("they are given up", || streams(&server) == 0.0);
    let whole = op.get(&format!("/api/v1/runs/{run}/events?output=true")).text;
    assert!(whole.len() > 16_000_000 && whole.contains("event: end"), "{}", whole.len());
    for mut stream in stuck {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut taken = Vec::new();
        let _ = stream.read_to_end(&mut taken);
        assert!(taken.len() < whole.len(), "it was cut off in the middle");
    }
}
