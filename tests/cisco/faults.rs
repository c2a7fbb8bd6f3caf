//! Faults of a virtual device that its connections have, seen by a client that says what it offers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nlrun::cisco::Faults;
use russh::client::{self, AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, PublicKeyOrCertificate};
use russh::{ChannelMsg, Preferred, cipher, kex, mac};

use super::device::Running;
use crate::support::project::Project;

/// Takes whatever key there is, and remembers of which kind it is.
struct Anybody(Arc<parking_lot::Mutex<Option<Algorithm>>>);

impl Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        if let PublicKeyOrCertificate::PublicKey { key, .. } = key {
            *self.0.lock() = Some(key.algorithm());
        }
        Ok(true)
    }
}

type Connection = (Handle<Anybody>, Option<Algorithm>);

async fn connect(device: &Running, preferred: Preferred) -> Result<Connection, russh::Error> {
    connect_to(device.port.parse().unwrap(), preferred).await
}

async fn connect_to(port: u16, preferred: Preferred) -> Result<Connection, russh::Error> {
    let config = Arc::new(client::Config { preferred, ..client::Config::default() });
    let seen = Arc::default();
    let handle = client::connect(config, ("127.0.0.1", port), Anybody(Arc::clone(&seen))).await?;
    let algorithm = seen.lock().clone();
    Ok((handle, algorithm))
}

async fn modern(device: &Running) -> Result<Handle<Anybody>, russh::Error> {
    Ok(connect(device, Preferred::default()).await?.0)
}

fn old() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[kex::CURVE25519, kex::DH_G1_SHA1]),
        key: Cow::Borrowed(&[Algorithm::Ed25519, Algorithm::Rsa { hash: None }]),
        cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::AES_128_CBC]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256, mac::HMAC_SHA1]),
        ..Preferred::default()
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(60), test).await };
    runtime.block_on(bounded).expect("a test ends");
}

fn device(text: &str, more: &[&str]) -> Running {
    Running::start(&Project::new().file("device.cfg", text), "ios", more)
}

#[test]
fn an_old_device_offers_what_is_old_only() {
    run(async {
        let device = device("hostname old\n", &["--fault", "legacy"]);
        assert!(modern(&device).await.is_err(), "nothing in common");
        let (mut handle, key) = connect(&device, old()).await.unwrap();
        assert!(matches!(key, Some(Algorithm::Rsa { .. })), "{key:?}");
        assert!(handle.authenticate_password("admin", "cisco").await.unwrap().success());
        // The same client finds what is better where there is something better.
        let new = self::device("hostname new\n", &[]);
        let (_, key) = connect(&new, old()).await.unwrap();
        assert_eq!(key, Some(Algorithm::Ed25519));
    });
}

#[test]
fn a_password_is_asked_for_where_nothing_else_is_taken() {
    run(async {
        let device = device("hostname a\n", &["--fault", "keyboard-interactive"]);
        let mut handle = modern(&device).await.unwrap();
        let AuthResult::Failure { remaining_methods, .. } =
            handle.authenticate_password("admin", "cisco").await.unwrap()
        else {
            panic!("a password was taken")
        };
        assert_eq!(remaining_methods.len(), 1, "{remaining_methods:?}");
        let asked = handle.authenticate_keyboard_interactive_start("admin", None).await.unwrap();
        let KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } = asked else {
            panic!("nothing is asked: {asked:?}")
        };
        assert_eq!((prompts[0].prompt.as_str(), prompts[0].echo), ("Password: ", false));
        let answer =
            handle.authenticate_keyboard_interactive_respond(vec!["cisco".to_owned()]).await.unwrap();
        assert!(matches!(answer, KeyboardInteractiveAuthResponse::Success), "{answer:?}");
    });
}

#[test]
fn a_busy_device_closes_some_connections_before_it_takes_one() {
    run(async {
        let device = device("hostname a\n", &["--fault", "busy=2"]);
        for attempt in 0..3 {
            assert_eq!(modern(&device).await.is_ok(), attempt == 2, "{attempt}");
        }
    });
}

#[test]
fn wrong_passwords_close_the_door_for_a_while() {
    run(async {
        let text = "hostname a\nlogin block-for 90 attempts 2 within 600\n";
        // A minute is a second.
        let device = device(text, &["--minute", "1s"]);
        for _ in 0..2 {
            let mut handle = modern(&device).await.unwrap();
            assert!(!handle.authenticate_password("admin", "wrong").await.unwrap().success());
        }
        let shut = Instant::now();
        assert!(modern(&device).await.is_err(), "the door is shut");
        while modern(&device).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(shut.elapsed() > Duration::from_secs(1), "{:?}", shut.elapsed());
        let mut handle = modern(&device).await.unwrap();
        assert!(handle.authenticate_password("admin", "cisco").await.unwrap().success());
    });
}

/// Types lines at a terminal and returns what was said until the session ended, or a text came.
async fn typed(handle: &mut Handle<Anybody>, lines: &str, until: &str) -> String {
    typed_as(handle, ("admin", "cisco"), lines, until).await
}

async fn typed_as(
    handle: &mut Handle<Anybody>,
    (user, password): (&str, &str),
    lines: &str,
    until: &str,
) -> String {
    assert!(handle.authenticate_password(user, password).await.unwrap().success());
    let mut channel = handle.channel_open_session().await.unwrap();
    channel.request_pty(false, "vt100", 511, 0, 0, 0, &[]).await.unwrap();
    channel.request_shell(false).await.unwrap();
    channel.data(lines.as_bytes()).await.unwrap();
    let mut said = String::new();
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::Data { data } = message {
            said.push_str(&String::from_utf8_lossy(&data));
            if !until.is_empty() && said.contains(until) {
                break;
            }
        }
    }
    said
}

/// Types lines at the terminal of a device that somebody else runs, which may know old algorithms only.
pub fn at_terminal(port: u16, login: (&str, &str), lines: &str, until: &str) -> String {
    let mut said = String::new();
    run(async {
        let (mut handle, _) = connect_to(port, old()).await.unwrap();
        said = typed_as(&mut handle, login, lines, until).await;
    });
    said
}

#[test]
fn a_device_that_reloads_is_away_for_a_while_and_has_lost_what_was_not_saved() {
    run(async {
        let faults = ["--minute", "1s", "--fault", "boot=60", "--fault", "reload=6"];
        let device = device("hostname before\n", &faults);
        let mut handle = modern(&device).await.unwrap();
        let said = typed(
            &mut handle,
            "enable\renable-me\rconfigure terminal\rhostname after\rend\rshow clock\r",
            "",
        )
        .await;
        assert!(said.contains("after#") && !said.contains("UTC"), "{said}");
        let gone = Instant::now();
        assert!(modern(&device).await.is_err(), "it is away");
        while modern(&device).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(gone.elapsed() > Duration::from_millis(500), "{:?}", gone.elapsed());
        let said = typed(&mut modern(&device).await.unwrap(), "\r", "before>").await;
        assert!(!said.contains("after#"), "{said}");
    });
}

#[test]
fn a_connection_is_cut_without_a_word() {
    run(async {
        let device = device("hostname a\n", &["--fault", "cut=3"]);
        let said =
            typed(&mut modern(&device).await.unwrap(), "show clock\rshow clock\rshow clock\r", "").await;
        assert_eq!(said.matches("UTC").count(), 2, "{said}");
        // The next session is as good as any.
        let clocks = "show clock\rshow clock\rshow clock\rshow version\r";
        let said = typed(&mut modern(&device).await.unwrap(), clocks, "Version").await;
        assert_eq!(said.matches("UTC").count(), 3, "{said}");
    });
}

#[test]
fn a_timer_that_nobody_stops_brings_back_what_was() {
    run(async {
        let text = "hostname before\narchive\n path flash:a\n!\nend\n";
        let device = device(text, &["--minute", "200ms"]);
        let mut handle = modern(&device).await.unwrap();
        let said = typed(
            &mut handle,
            "enable\renable-me\rconfigure terminal revert timer 1\rhostname after\rend\r",
            "after#",
        )
        .await;
        assert!(said.contains("Rollback Confirmed Change"), "{said}");
        tokio::time::sleep(Duration::from_millis(600)).await;
        let said = typed(&mut modern(&device).await.unwrap(), "\r", ">").await;
        assert!(said.contains("before>"), "{said}");
    });
}

#[test]
fn a_slow_device_takes_its_time_for_each_answer() {
    run(async {
        let device = device("hostname a\n", &["--fault", "slow=300"]);
        let begin = Instant::now();
        let said = typed(&mut modern(&device).await.unwrap(), "show clock\r", "UTC").await;
        assert!(begin.elapsed() > Duration::from_millis(300), "{said}");
    });
}

#[test]
fn a_fault_that_is_none_is_named_and_all_are_in_the_help() {
    let project = Project::new().file("device.cfg", "hostname a\n");
    let words = ["cisco", "device", "--os", "ios", "--config", "device.cfg", "--fault", "hung=3"];
    let output = project.args(words);
    assert_eq!(output.code, 64, "{output:?}");
    assert!(output.stderr.contains("did you mean `hang`?"), "{output:?}");
    let help = project.args(["cisco", "device", "--help"]);
    for line in Faults::help().lines() {
        let name = line.trim().split([' ', '=']).next().unwrap();
        assert!(help.stdout.contains(&format!("  {name}")), "{name}: {help:?}");
    }
}
