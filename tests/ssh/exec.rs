//! Commands on a real sshd, and the same commands on this machine: one behaviour behind two transports.

use std::sync::Arc;
use std::time::Duration;

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::{Command, Sink, SinkClosed, Stream};
use tokio_util::sync::CancellationToken;

use super::{Kept, run, shell, words};
use crate::support::dropbear::Dropbear;
use crate::support::sshd::Sshd;

/// Runs the body for the local transport, for OpenSSH and for a host that is all busybox behind dropbear.
async fn on_all<F: AsyncFn(&Hosts, &Arc<Endpoint>)>(body: F) {
    on_both(&body).await;
    if let Some(dropbear) = Dropbear::start() {
        let hosts = Hosts::new(Limits::default());
        body(&hosts, &dropbear.shared()).await;
        hosts.close().await;
    }
}

/// Runs the body for SSH and for the local transport.
async fn on_both<F: AsyncFn(&Hosts, &Arc<Endpoint>)>(body: F) {
    let hosts = Hosts::new(Limits::default());
    body(&hosts, &Arc::new(Endpoint::local("here"))).await;
    if let Some(sshd) = Sshd::start() {
        body(&hosts, &sshd.shared()).await;
        hosts.close().await;
    }
}

#[tokio::test]
async fn output_code_and_signal_come_back() {
    on_all(async |hosts, host| {
        let table = [
            (shell("echo out; echo err >&2; exit 3"), Some(3), None, "out\n", "err\n"),
            (
                words(&["printf", "%s|", "a b", "it's", "$HOME", "*", "", "a\nb"]),
                Some(0),
                None,
                "a b|it's|$HOME|*||a\nb|",
                "",
            ),
            (shell("kill -9 $$"), None, Some("KILL"), "", ""),
            (shell("kill -TERM $$"), None, Some("TERM"), "", ""),
            (shell("printf 'half'"), Some(0), None, "half", ""),
            (
                Command { cwd: Some("/usr/../tmp".to_owned()), ..words(&["pwd", "-P"]) },
                Some(0),
                None,
                "/tmp\n",
                "",
            ),
            (
                Command { env: vec![("A_B".to_owned(), "x 'y' $z".to_owned())], ..shell("echo \"$A_B\"") },
                Some(0),
                None,
                "x 'y' $z\n",
                "",
            ),
        ];
        for (command, code, signal, out, err) in table {
            let (result, kept) = run(hosts, host, &command).await;
            let exit = result.unwrap();
            let seen = (exit.code, exit.signal.as_deref(), kept.out(), kept.err());
            assert_eq!(seen, (code, signal, out.to_owned(), err.to_owned()), "{:?}", command.line);
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_start_says_so() {
    on_all(async |hosts, host| {
        let gone = Command { cwd: Some("/no/such folder".to_owned()), ..words(&["pwd"]) };
        for (command, code, part) in
            [(words(&["/no/such/program"]), 127, "/no/such/program"), (gone, 1, "/no/such folder")]
        {
            let (result, kept) = run(hosts, host, &command).await;
            assert_eq!(result.unwrap().code, Some(code));
            assert!(kept.err().contains(part), "{}", kept.err());
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_pass_unchanged_in_both_directions() {
    on_all(async |hosts, host| {
        let bytes: Arc<[u8]> = (0..=255).cycle().take(3_000_001).collect();
        let command = Command { stdin: Arc::clone(&bytes), ..shell("tee /dev/stderr") };
        let (result, kept) = run(hosts, host, &command).await;
        assert_eq!(result.unwrap().code, Some(0));
        assert!(kept.out == *bytes && kept.err == *bytes);
        // A command that does not read its input is not waited for.
        let (result, _) = run(hosts, host, &Command { line: shell("exit 7").line, ..command }).await;
        assert_eq!(result.unwrap().code, Some(7));
        // Nothing to read is the end of the input, not a wait for it.
        assert_eq!(run(hosts, host, &words(&["cat"])).await.0.unwrap().code, Some(0));
    })
    .await;
}

#[tokio::test]
async fn a_line_of_ten_megabytes() {
    on_all(async |hosts, host| {
        let (result, kept) = run(hosts, host, &shell("head -c 10485760 /dev/zero | tr '\\0' y; echo")).await;
        assert_eq!(result.unwrap().code, Some(0));
        assert_eq!(kept.out.len(), 10_485_761);
        assert!(kept.out[..10_485_760].iter().all(|&byte| byte == b'y'));
    })
    .await;
}

/// Takes nothing until it is let.
struct Slow {
    gate: CancellationToken,
    taken: usize,
}

impl Sink for Slow {
    async fn take(&mut self, _stream: Stream, bytes: &[u8]) -> Result<(), SinkClosed> {
        self.gate.cancelled().await;
        self.taken += bytes.len();
        Ok(())
    }
}

#[tokio::test]
async fn a_slow_receiver_slows_the_sender() {
    on_both(async |hosts, host| {
        let folder = tempfile::tempdir().unwrap();
        let done = folder.path().join("done");
        let line = format!("head -c 100000000 /dev/zero; echo x >{}", done.display());
        let gate = CancellationToken::new();
        let task = {
            let (hosts, host, gate) = (hosts.clone(), Arc::clone(host), gate.clone());
            tokio::spawn(async move {
                let mut slow = Slow { gate, taken: 0 };
                let never = CancellationToken::new();
                let result = hosts.run(&host, &shell(&line), &mut slow, &never).await;
                (result, slow.taken)
            })
        };
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!done.exists(), "100 MB went somewhere while nobody took them");
        gate.cancel();
        let (result, taken) = task.await.unwrap();
        assert_eq!((result.unwrap().code, taken), (Some(0), 100_000_000));
        assert!(done.exists());
    })
    .await;
}

/// Takes one chunk and then no more.
struct Broken(usize);

impl Sink for Broken {
    async fn take(&mut self, _stream: Stream, _bytes: &[u8]) -> Result<(), SinkClosed> {
        self.0 += 1;
        if self.0 > 1 { Err(SinkClosed) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_command_whose_output_cannot_be_recorded_is_stopped() {
    on_all(async |hosts, host| {
        let never = CancellationToken::new();
        let command = shell("while :; do echo more; done");
        let result = hosts.run(host, &command, &mut Broken(0), &never).await;
        assert_eq!(result, Err(nlrun::world::transport::Fault::Unrecorded));
        let mut kept = Kept::default();
        hosts.run(host, &shell("pgrep -f '[w]hile :; do echo more'"), &mut kept, &never).await.unwrap();
        assert_eq!(kept.out(), "");
    })
    .await;
}
