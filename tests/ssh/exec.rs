//! Commands on a real sshd, and the same commands on this machine: one behaviour behind two transports.

use std::sync::Arc;

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::{Command, Exit, Fault};
use tokio_util::sync::CancellationToken;

use super::{Kept, shell, words};
use crate::support::sshd::Sshd;

async fn run(hosts: &Hosts, endpoint: &Arc<Endpoint>, command: &Command) -> (Result<Exit, Fault>, Kept) {
    let mut kept = Kept::default();
    let result = hosts.run(endpoint, command, &mut kept, &CancellationToken::new()).await;
    (result, kept)
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
    on_both(async |hosts, host| {
        let table: [(Command, Option<i32>, Option<&str>, &str, &str); 7] = [
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
