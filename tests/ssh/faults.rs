//! Each fault has a name of its own, and none of them hangs or passes for success.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nlrun::world::host::{Endpoint, HostKeyPolicy, Hosts, Limits};
use nlrun::world::transport::{Exit, Fault, Sink, SinkClosed, Stream};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Kept, run, shell};
use crate::support::faulty::{Faulty, Mode};
use crate::support::sshd::free_port;

async fn run_once(endpoint: Endpoint, line: &str) -> (Result<Exit, Fault>, Kept) {
    let hosts = Hosts::new(Limits::default());
    let seen = run(&hosts, &Arc::new(endpoint), &shell(line)).await;
    hosts.close().await;
    seen
}

#[tokio::test]
async fn a_server_without_faults_serves_the_tests_below() {
    let server = Faulty::start(Mode::Behave).await;
    let (result, kept) = run_once(server.endpoint(), "echo out; echo err >&2; exit 4").await;
    assert_eq!(result.unwrap().code, Some(4));
    assert_eq!((kept.out(), kept.err()), ("out\n".to_owned(), "err\n".to_owned()));
}

#[tokio::test]
async fn what_never_answers_is_unreachable_within_the_time_allowed() {
    for (mode, stage) in [(Mode::Silent, "exchanging keys"), (Mode::HangInKex, "exchanging keys")] {
        let server = Faulty::start(mode).await;
        let endpoint = Endpoint { connect_timeout: Duration::from_millis(300), ..server.endpoint() };
        let started = Instant::now();
        let (result, _) = run_once(endpoint, "true").await;
        let Err(Fault::Unreachable { reason }) = result else { panic!("{mode:?}: {result:?}") };
        assert!(reason.contains("300ms") && reason.contains(stage), "{reason}");
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn names_that_do_not_resolve_and_closed_ports_differ() {
    let (result, _) = run_once(Endpoint::new("x", "no-such-host.invalid", 22, "u"), "true").await;
    assert!(matches!(result, Err(Fault::Unreachable { .. })), "{result:?}");
    let port = free_port();
    let (result, _) = run_once(Endpoint::new("x", "127.0.0.1", port, "u"), "true").await;
    assert_eq!(result, Err(Fault::Refused { address: format!("127.0.0.1:{port}") }));
}

#[tokio::test]
async fn garbage_is_quoted() {
    for text in ["HTTP/1.1 400 Bad Request\r\n\r\n", "\u{1b}[2Jhello"] {
        let server = Faulty::start(Mode::Garbage(text)).await;
        let (result, _) = run_once(server.endpoint(), "true").await;
        let Err(Fault::Protocol { reason }) = result else { panic!("{result:?}") };
        assert!(reason.contains("is no SSH greeting") && !reason.contains('\u{1b}'), "{reason}");
        assert_eq!(server.calls(), 1);
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_before_it_greets_is_called_again() {
    let server = Faulty::start(Mode::HangUp(3)).await;
    let (result, kept) = run_once(server.endpoint(), "echo up").await;
    assert_eq!((result.unwrap().code, kept.out()), (Some(0), "up\n".to_owned()));
    assert_eq!(server.calls(), 4);

    let server = Faulty::start(Mode::HangUp(usize::MAX)).await;
    let endpoint = Endpoint { connect_timeout: Duration::from_secs(1), ..server.endpoint() };
    let (result, _) = run_once(endpoint, "true").await;
    assert!(matches!(result, Err(Fault::Unreachable { .. })), "{result:?}");
    assert!(server.calls() > 2);
}

#[tokio::test]
async fn a_server_that_runs_no_commands_is_a_protocol_fault() {
    let server = Faulty::start(Mode::RefuseExec).await;
    let (result, _) = run_once(server.endpoint(), "true").await;
    let Err(Fault::Protocol { reason }) = result else { panic!("{result:?}") };
    assert!(reason.contains("refuses to run commands"), "{reason}");
}

#[tokio::test]
async fn no_exit_status_is_never_success() {
    let server = Faulty::start(Mode::NoStatus).await;
    let (result, kept) = run_once(server.endpoint(), "true").await;
    assert!(matches!(result, Err(Fault::Lost { .. })), "{result:?}");
    assert_eq!(kept.out(), "done\n");
}

/// Cuts the server's connections as soon as `after` bytes came.
struct Cutter<'a> {
    server: &'a Faulty,
    after: usize,
    seen: Vec<u8>,
}

impl Sink for Cutter<'_> {
    async fn take(&mut self, _stream: Stream, bytes: &[u8]) -> Result<(), SinkClosed> {
        self.seen.extend_from_slice(bytes);
        if self.seen.len() >= self.after {
            self.server.cut();
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_cut_in_the_middle_is_lost_and_the_next_command_connects_again() {
    // 9 bytes: half a line. 100000: several packets.
    for count in [9, 100_000] {
        let server = Faulty::start(Mode::Bytes(count)).await;
        let hosts = Hosts::new(Limits::default());
        let endpoint = Arc::new(server.endpoint());
        for round in 1..=2 {
            let mut cutter = Cutter { server: &server, after: count, seen: Vec::new() };
            let never = CancellationToken::new();
            let result = hosts.run(&endpoint, &shell("endless"), &mut cutter, &never).await;
            let Err(Fault::Lost { reason }) = result else { panic!("{result:?}") };
            assert!(reason.contains("cut"), "{reason}");
            assert_eq!(cutter.seen.len(), count, "what came before the cut is kept");
            assert_eq!(server.calls(), round);
            server.mend();
        }
    }
}

/// Freezes the server's connections as soon as anything came.
struct Freezer<'a>(&'a Faulty);

impl Sink for Freezer<'_> {
    async fn take(&mut self, _stream: Stream, _bytes: &[u8]) -> Result<(), SinkClosed> {
        self.0.freeze();
        Ok(())
    }
}

#[tokio::test]
async fn a_frozen_network_is_noticed_by_keep_alives() {
    let server = Faulty::start(Mode::Bytes(5)).await;
    let endpoint = Arc::new(Endpoint {
        keepalive_interval: Duration::from_millis(100),
        keepalive_max: 2,
        ..server.endpoint()
    });
    let hosts = Hosts::new(Limits::default());
    let never = CancellationToken::new();
    let command = shell("endless");
    let mut sink = Freezer(&server);
    let running = hosts.run(&endpoint, &command, &mut sink, &never);
    let result = tokio::time::timeout(Duration::from_secs(10), running).await.expect("it does not hang");
    assert_eq!(result, Err(Fault::Lost { reason: "no answer to keep-alives".to_owned() }));
}

#[tokio::test]
async fn a_command_that_the_server_never_answers_times_out() {
    let server = Faulty::start(Mode::HangAfterLogin).await;
    let hosts = Hosts::new(Limits::default());
    let mut command = shell("true");
    command.timeout = Some(Duration::from_secs(1));
    let (result, _) = run(&hosts, &Arc::new(server.endpoint()), &command).await;
    assert_eq!(result, Err(Fault::TimedOut { seconds: 1 }));
}

#[tokio::test]
async fn a_dripping_server_loses_nothing_and_its_marks_are_found() {
    let server = Faulty::start(Mode::Drip).await;
    let (result, kept) = run_once(server.endpoint(), "echo out; echo err >&2").await;
    assert_eq!(result.unwrap().code, Some(0));
    assert_eq!((kept.out(), kept.err()), ("out\n".to_owned(), "err\n".to_owned()));
}

#[tokio::test]
async fn a_changed_host_key_is_refused_whatever_the_policy() {
    for policy in [HostKeyPolicy::Strict, HostKeyPolicy::AcceptNew] {
        let server = Faulty::start(Mode::ChangeHostKey).await;
        let endpoint = Arc::new(Endpoint { host_key_policy: policy, ..server.endpoint() });
        let hosts = Hosts::new(Limits::default());
        assert_eq!(run(&hosts, &endpoint, &shell("true")).await.0.unwrap().code, Some(0));
        hosts.forget("faulty").await;
        let before = std::fs::read(&endpoint.known_hosts[0]).unwrap();
        let (result, _) = run(&hosts, &endpoint, &shell("true")).await;
        let Err(Fault::HostKey { reason }) = result else { panic!("{result:?}") };
        let place = format!("{}:1", endpoint.known_hosts[0].display());
        assert!(reason.contains(&place) && reason.contains("SHA256:"), "{reason}");
        assert_eq!(std::fs::read(&endpoint.known_hosts[0]).unwrap(), before);
    }
}

#[tokio::test]
async fn old_algorithms_only_by_name() {
    let server = Faulty::start(Mode::Legacy).await;
    let (result, _) = run_once(server.endpoint(), "true").await;
    let Err(Fault::Protocol { reason }) = result else { panic!("{result:?}") };
    assert!(reason.contains("group14-sha1") && reason.contains("legacy: true"), "{reason}");
    let (result, kept) = run_once(Endpoint { legacy: true, ..server.endpoint() }, "echo old").await;
    assert_eq!((result.unwrap().code, kept.out()), (Some(0), "old\n".to_owned()));
}

#[tokio::test]
async fn passwords_by_every_method() {
    for mode in [Mode::Password, Mode::KeyboardInteractive, Mode::KeyAndPassword] {
        let server = Faulty::start(mode).await;
        let (result, kept) = run_once(server.endpoint(), "echo in").await;
        assert_eq!((result.unwrap().code, kept.out()), (Some(0), "in\n".to_owned()), "{mode:?}");

        let wrong = Some(Zeroizing::new("wrong".to_owned()));
        let (result, _) = run_once(Endpoint { password: wrong, ..server.endpoint() }, "true").await;
        let Err(Fault::Authentication { user, reason }) = result else { panic!("{mode:?}: {result:?}") };
        assert_eq!(user, "anybody");
        assert!(reason.contains("tried") && !reason.contains("wrong"), "{reason}");
    }
}

#[tokio::test]
async fn a_device_without_a_shell_gets_its_line_untouched() {
    let server = Faulty::start(Mode::Behave).await;
    let endpoint = Endpoint { posix: false, ..server.endpoint() };
    let (result, kept) = run_once(endpoint, "echo $0 \"$-\" >&2; cat /proc/$$/cmdline").await;
    assert_eq!(result.unwrap().code, Some(0));
    let line = "/bin/sh\0-c\0echo $0 \"$-\" >&2; cat /proc/$$/cmdline\0";
    assert_eq!(kept.out(), line);
}
