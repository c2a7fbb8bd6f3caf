//! Another user by sudo, with and without a password, here and over SSH.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::{Command, Fault, Sudo};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Kept, run, shell, words};
use crate::support::account::Account;
use crate::support::processes::{marker, until, with_marker};
use crate::support::sshd::Sshd;

#[expect(clippy::unnecessary_wraps, reason = "it is a command's field")]
fn sudo(user: Option<&str>, password: Option<&str>) -> Option<Sudo> {
    Some(Sudo {
        user: user.map(str::to_owned),
        password: password.map(|text| Zeroizing::new(text.to_owned())),
    })
}

fn login(sshd: &Sshd, account: &Account) -> Arc<Endpoint> {
    Arc::new(Endpoint { user: account.name.clone(), ..sshd.endpoint() })
}

#[tokio::test]
async fn a_user_who_has_to_give_a_password() {
    let Some(account) = Account::create("ALL=(ALL) ALL") else { return };
    let Some(sshd) = Sshd::start() else { return };
    let (hosts, host) = (Hosts::new(Limits::default()), login(&sshd, &account));
    let right = || sudo(None, Some(&account.password));
    let bytes: Arc<[u8]> = (0..=255).cycle().take(300_000).collect();

    let command = Command { sudo: right(), stdin: Arc::clone(&bytes), ..words(&["cat"]) };
    let (result, kept) = run(&hosts, &host, &command).await;
    assert_eq!(result.unwrap().code, Some(0));
    assert_eq!(kept.out, *bytes, "standard input comes after the password, byte for byte");
    assert_eq!(kept.err(), "");

    let table = [
        (Command { sudo: right(), ..words(&["id", "-un"]) }, "root\n"),
        (Command { sudo: sudo(Some("nobody"), Some(&account.password)), ..shell("id -un") }, "nobody\n"),
        (
            Command {
                sudo: right(),
                cwd: Some("/root".to_owned()),
                env: vec![("A".to_owned(), "it's".to_owned())],
                ..shell("pwd; echo \"$A\"; cat")
            },
            "/root\nit's\n",
        ),
    ];
    for (command, expected) in table {
        let (result, kept) = run(&hosts, &host, &command).await;
        assert_eq!((result.unwrap().code, kept.out()), (Some(0), expected.to_owned()), "{}", kept.err());
    }

    let (result, kept) = run(&hosts, &host, &Command { sudo: right(), ..shell("ps -eww -o args") }).await;
    assert_eq!(result.unwrap().code, Some(0));
    assert!(kept.out().contains("sudo") && !kept.out().contains(&account.password), "no secret in arguments");

    let started = Instant::now();
    let wrong = Command { sudo: sudo(None, Some("wrong")), stdin: Arc::clone(&bytes), ..words(&["cat"]) };
    let (result, kept) = run(&hosts, &host, &wrong).await;
    let Err(Fault::Authentication { user, reason }) = result else { panic!("{result:?}") };
    assert_eq!((user.as_str(), reason.as_str()), ("root", "sudo did not take the password"));
    assert_eq!(kept.out(), "", "the command never ran");
    assert!(started.elapsed() < Duration::from_secs(20));

    let (result, kept) = run(&hosts, &host, &Command { sudo: sudo(None, None), ..words(&["id"]) }).await;
    assert_eq!(result.unwrap().code, Some(1));
    assert!(kept.err().contains("password is required"), "{}", kept.err());
    ends_what_root_runs(&hosts, &host, right()).await;
    hosts.close().await;
}

#[tokio::test]
async fn a_user_who_needs_no_password() {
    let Some(account) = Account::create("ALL=(ALL) NOPASSWD: ALL") else { return };
    let Some(sshd) = Sshd::start() else { return };
    let (hosts, host) = (Hosts::new(Limits::default()), login(&sshd, &account));
    for password in [None, Some("not needed")] {
        let command =
            Command { sudo: sudo(None, password), stdin: Arc::from(*b"in\n"), ..shell("id -un; cat") };
        let (result, kept) = run(&hosts, &host, &command).await;
        assert_eq!(
            (result.unwrap().code, kept.out(), kept.err()),
            (Some(0), "root\nin\n".to_owned(), String::new())
        );
    }
    ends_what_root_runs(&hosts, &host, sudo(None, None)).await;
    ends_what_root_runs(&hosts, &host, sudo(Some("nobody"), None)).await;
    hosts.close().await;
}

#[tokio::test]
async fn a_narrow_rule_matches_exact_words() {
    let Some(account) = Account::create("ALL=(root) NOPASSWD: /usr/bin/id -un") else { return };
    let Some(sshd) = Sshd::start() else { return };
    let (hosts, host) = (Hosts::new(Limits::default()), login(&sshd, &account));
    let command = |words_: &[&str]| Command { sudo: sudo(None, None), ..words(words_) };
    let (result, kept) = run(&hosts, &host, &command(&["id", "-un"])).await;
    assert_eq!((result.unwrap().code, kept.out()), (Some(0), "root\n".to_owned()));
    assert_eq!(run(&hosts, &host, &command(&["id", "-u"])).await.0.unwrap().code, Some(1));
    hosts.close().await;
}

#[tokio::test]
async fn on_this_machine() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: only root becomes another user without a password");
        return;
    }
    let (hosts, host) = (Hosts::new(Limits::default()), Arc::new(Endpoint::local("here")));
    let command = Command {
        sudo: sudo(Some("nobody"), Some("unused")),
        stdin: Arc::from(*b"in"),
        ..shell("id -un; cat")
    };
    let (result, kept) = run(&hosts, &host, &command).await;
    assert_eq!((result.unwrap().code, kept.out()), (Some(0), "nobody\nin".to_owned()));
    ends_what_root_runs(&hosts, &host, sudo(Some("nobody"), None)).await;
}

/// Cancels a command under sudo that has children, and looks for what is left.
async fn ends_what_root_runs(hosts: &Hosts, host: &Arc<Endpoint>, sudo: Option<Sudo>) {
    let mark = marker();
    let line = format!("sleep 300 & sh -c 'trap \"\" TERM; sleep 300; true' {mark}; true");
    let command = Command { sudo, env: vec![("MARK".to_owned(), mark.clone())], ..shell(&line) };
    let cancel = CancellationToken::new();
    let task = {
        let (hosts, host, cancel) = (hosts.clone(), Arc::clone(host), cancel.clone());
        tokio::spawn(async move { hosts.run(&host, &command, &mut Kept::default(), &cancel).await })
    };
    until("the children run", || with_marker(&mark).len() >= 4).await;
    cancel.cancel();
    assert_eq!(task.await.unwrap(), Err(Fault::Cancelled));
    assert_eq!(with_marker(&mark), Vec::<u32>::new());
}
