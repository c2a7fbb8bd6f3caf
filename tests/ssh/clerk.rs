//! Shells kept on hosts for nlrun's own questions: one serves many, and none stands in anyone's way.

use std::sync::Arc;
use std::time::Duration;

use nlrun::world::clerk::Question;
use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::shell::Reply;
use nlrun::world::transport::{Fault, Sudo};
use tokio_util::sync::CancellationToken;

use super::{run, shell};
use crate::support::account::Account;
use crate::support::dropbear::Dropbear;
use crate::support::processes::{marker, until, with_marker};
use crate::support::sshd::Sshd;

/// `me` tells whose child answers, `hang` never does.
const FUNCTIONS: &str = r#"me() { printf '%s %s' "$$" "$1"; }
hang() { NLRUN_TEST_MARK=$1 sleep 300; }
fail() { echo out; echo err >&2; exit 7; }
"#;

fn question<'a>(function: &'static str, arguments: &'a [&'a str]) -> Question<'a> {
    Question { functions: FUNCTIONS, function, arguments, sudo: None }
}

async fn ask(hosts: &Hosts, endpoint: &Arc<Endpoint>, question: &Question<'_>) -> Result<Reply, Fault> {
    hosts.ask(endpoint, question, &CancellationToken::new()).await
}

/// Asks who answers, and returns the process id of that clerk.
async fn who(hosts: &Hosts, endpoint: &Arc<Endpoint>) -> u32 {
    let reply = ask(hosts, endpoint, &question("me", &["a b"])).await.unwrap();
    let out = String::from_utf8(reply.out).unwrap();
    let (pid, rest) = out.split_once(' ').unwrap();
    assert_eq!((reply.code, rest), (Some(0), "a b"));
    pid.parse().unwrap()
}

#[tokio::test]
async fn one_clerk_answers_many_questions_and_ends_with_the_run() {
    let Some(sshd) = Sshd::start() else { return };
    let (hosts, endpoint) = (Hosts::new(Limits::default()), sshd.shared());
    let first = who(&hosts, &endpoint).await;
    let failed = ask(&hosts, &endpoint, &question("fail", &[])).await.unwrap();
    assert_eq!(failed, Reply { code: Some(7), out: b"out\n".to_vec(), err: b"err\n".to_vec() });
    assert_eq!(who(&hosts, &endpoint).await, first);
    // Two at once need two; one of them is kept.
    let (one, other) = tokio::join!(who(&hosts, &endpoint), who(&hosts, &endpoint));
    assert_ne!(one, other);
    let process = |pid: u32| std::path::PathBuf::from(format!("/proc/{pid}"));
    until("one has gone home", || process(one).exists() != process(other).exists()).await;
    hosts.close().await;
    until("the other, too", || !process(one).exists() && !process(other).exists()).await;
}

#[tokio::test]
async fn a_clerk_that_was_killed_or_cut_off_is_replaced() {
    let Some(sshd) = Sshd::start() else { return };
    let (hosts, endpoint) = (Hosts::new(Limits::default()), sshd.shared());
    let first = who(&hosts, &endpoint).await;
    assert_eq!(run(&hosts, &endpoint, &shell(&format!("kill -9 {first}"))).await.0.unwrap().code, Some(0));
    let second = who(&hosts, &endpoint).await;
    assert_ne!(second, first);
    // The whole connection this time: the shell's parent is the process that serves it.
    let (result, _) = run(&hosts, &endpoint, &shell("kill -9 $PPID; sleep 5")).await;
    assert!(matches!(result, Err(Fault::Lost { .. })), "{result:?}");
    assert_ne!(who(&hosts, &endpoint).await, second);
    hosts.close().await;
}

#[tokio::test]
async fn where_sessions_are_few_commands_come_first() {
    for limit in 1..=2 {
        let Some(sshd) = Sshd::builder().config(&format!("MaxSessions {limit}")).start() else { return };
        let hosts = Hosts::new(Limits::default());
        for _ in 0..3 {
            who(&hosts, &sshd.shared()).await;
            assert_eq!(run(&hosts, &sshd.shared(), &shell("true")).await.0.unwrap().code, Some(0));
        }
        hosts.close().await;
    }
    // The same with our own limit.
    let Some(sshd) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits { channels: 1, ..Limits::default() });
    for _ in 0..3 {
        who(&hosts, &sshd.shared()).await;
        assert_eq!(run(&hosts, &sshd.shared(), &shell("true")).await.0.unwrap().code, Some(0));
    }
    hosts.close().await;
}

#[tokio::test]
async fn dropbear_and_this_machine_are_asked_one_shell_a_question() {
    let dropbear = Dropbear::start();
    let endpoints = dropbear.iter().map(Dropbear::shared).chain([Arc::new(Endpoint::local("here"))]);
    for endpoint in endpoints {
        let hosts = Hosts::new(Limits::default());
        let first = who(&hosts, &endpoint).await;
        assert_ne!(who(&hosts, &endpoint).await, first, "{endpoint:?}");
        let failed = ask(&hosts, &endpoint, &question("fail", &[])).await.unwrap();
        assert_eq!(failed.code, Some(7), "{endpoint:?}");
        assert_eq!(run(&hosts, &endpoint, &shell("true")).await.0.unwrap().code, Some(0));
        hosts.close().await;
    }
}

#[tokio::test]
async fn a_question_that_hangs_is_ended_with_all_it_started() {
    let Some(sshd) = Sshd::start() else { return };
    let (hosts, endpoint) = (Hosts::new(Limits::default()), sshd.shared());
    let first = who(&hosts, &endpoint).await;
    let (mark, cancel) = (marker(), CancellationToken::new());
    let asking = {
        let (hosts, endpoint, mark, cancel) = (hosts.clone(), endpoint.clone(), mark.clone(), cancel.clone());
        tokio::spawn(async move { hosts.ask(&endpoint, &question("hang", &[&mark]), &cancel).await })
    };
    until("it hangs", || with_marker(&mark).len() == 1).await;
    // Nobody else has to wait for it.
    assert_ne!(who(&hosts, &endpoint).await, first);
    cancel.cancel();
    assert_eq!(asking.await.unwrap(), Err(Fault::Cancelled));
    assert_eq!(with_marker(&mark), Vec::<u32>::new());
    hosts.close().await;
}

#[tokio::test]
async fn a_shell_that_cannot_start_says_why() {
    let Some(sshd) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits::default());
    let sudo = Some(Sudo { user: Some("nobody-of-that-name".to_owned()), password: None });
    let reply = ask(&hosts, &sshd.shared(), &Question { sudo, ..question("me", &[]) }).await.unwrap();
    assert!(reply.code != Some(0) && !reply.err.is_empty(), "{reply:?}");
    hosts.close().await;
}

#[tokio::test]
async fn questions_go_to_the_clerk_of_their_user() {
    let Some(sshd) = Sshd::start() else { return };
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: becoming another user needs root");
        return;
    }
    let hosts = Hosts::new(Limits::default());
    let endpoint = sshd.shared();
    let first = who(&hosts, &endpoint).await;
    let as_nobody = || Sudo { user: Some("nobody".to_owned()), password: None };
    for _ in 0..2 {
        let id = Question { functions: "name() { id -un; }\n", function: "name", ..question("me", &[]) };
        let id = Question { sudo: Some(as_nobody()), ..id };
        assert_eq!(ask(&hosts, &endpoint, &id).await.unwrap().out, b"nobody\n");
    }
    assert_eq!(who(&hosts, &endpoint).await, first);
    assert!(tokio::time::timeout(Duration::from_secs(5), hosts.close()).await.is_ok());
}

#[tokio::test]
async fn a_clerk_of_root_answers_only_who_knows_the_password() {
    let Some(account) = Account::create("ALL=(ALL) ALL") else { return };
    let Some(sshd) = Sshd::start() else { return };
    let hosts = Hosts::new(Limits::default());
    let endpoint = Arc::new(Endpoint { user: account.name.clone(), ..sshd.endpoint() });
    let ask_with = async |password: &str| {
        let sudo = Some(Sudo { user: None, password: Some(password.to_owned().into()) });
        let functions = "root() { printf '%s %s' \"$(id -un)\" $$; }\n";
        let question = Question { functions, function: "root", arguments: &[], sudo };
        hosts.ask(&endpoint, &question, &CancellationToken::new()).await
    };
    let first = ask_with(&account.password).await.unwrap();
    assert!(first.out.starts_with(b"root "), "{first:?}");
    assert_eq!(ask_with(&account.password).await.unwrap(), first);
    let refused = ask_with("wrong").await;
    assert!(matches!(refused, Err(Fault::Authentication { .. })), "{refused:?}");
    assert_eq!(ask_with(&account.password).await.unwrap(), first);
    hosts.close().await;
}
