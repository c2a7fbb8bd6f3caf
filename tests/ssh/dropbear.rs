//! What is special about a host that is all busybox behind dropbear: its limits, its logins, and every file function.

use std::sync::Arc;
use std::time::Duration;

use nlrun::world::host::{Endpoint, Hosts, Limits};
use nlrun::world::transport::{Command, Fault};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Kept, run, shell};
use crate::support::dropbear::Dropbear;
use crate::support::processes::{marker, until, with_marker};
use crate::support::project::Project;

fn as_ops(host: &Dropbear) -> Arc<Endpoint> {
    Arc::new(Endpoint { user: "ops".to_owned(), ..host.endpoint() })
}

/// All commands of a connection share a process group there, and what lost its parent is nobody's descendant.
#[tokio::test]
async fn what_lost_its_parent_is_ended_and_nothing_else() {
    let Some(host) = Dropbear::start() else { return };
    for endpoint in [host.shared(), as_ops(&host)] {
        let (hosts, others) = (Hosts::new(Limits::default()), Hosts::new(Limits::default()));
        let (mark, other) = (marker(), marker());
        let begin = |hosts: &Hosts, line: &str, mark: &str, cancel: &CancellationToken| {
            let command = Command { env: vec![("MARK".to_owned(), mark.to_owned())], ..shell(line) };
            let (hosts, endpoint, cancel) = (hosts.clone(), Arc::clone(&endpoint), cancel.clone());
            tokio::spawn(async move { hosts.run(&endpoint, &command, &mut Kept::default(), &cancel).await })
        };
        let (cancel, never) = (CancellationToken::new(), CancellationToken::new());
        let beside = begin(&others, "(sleep 300 &); sleep 300; true", &other, &never);
        let line =
            "(sleep 300 &); (while :; do sleep 300; done &); (trap '' TERM; sleep 300; true) & sleep 300";
        let task = begin(&hosts, line, &mark, &cancel);
        until("both run", || with_marker(&mark).len() >= 6 && with_marker(&other).len() >= 3).await;
        cancel.cancel();
        assert_eq!(task.await.unwrap(), Err(Fault::Cancelled));
        assert_eq!(with_marker(&mark), Vec::<u32>::new());
        assert_eq!(with_marker(&other).len(), 3, "what runs beside it goes on");
        never.cancel();
        assert_eq!(beside.await.unwrap(), Err(Fault::Cancelled));
        assert_eq!(with_marker(&other), Vec::<u32>::new());
        hosts.close().await;
        others.close().await;
    }
}

#[tokio::test]
async fn its_limits() {
    let Some(host) = Dropbear::start() else { return };
    let (hosts, endpoint) = (Hosts::new(Limits::default()), host.shared());
    let mut runs = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (hosts, endpoint) = (hosts.clone(), Arc::clone(&endpoint));
        runs.spawn(async move {
            let (result, kept) = run(&hosts, &endpoint, &shell(&format!("sleep 0.02; echo {n}"))).await;
            assert_eq!((result.unwrap().code, kept.out()), (Some(0), format!("{n}\n")));
        });
    }
    runs.join_all().await;
    // It would hang up, with all that runs beside it.
    let (result, _) = run(&hosts, &endpoint, &shell(&format!(": {}", "x".repeat(8990)))).await;
    let Err(Fault::Protocol { reason }) = result else { panic!("{result:?}") };
    assert!(reason.contains("8999 at most") && reason.contains("ssh_script"), "{reason}");
    let (result, kept) = run(&hosts, &endpoint, &shell(&format!("echo {} | wc -c", "x".repeat(8800)))).await;
    assert_eq!((result.unwrap().code, kept.out()), (Some(0), "8801\n".to_owned()));
    assert_eq!(host.logins(), 1);
    hosts.close().await;
}

#[tokio::test]
async fn its_logins_and_tunnels() {
    let Some(host) = Dropbear::start() else { return };
    let hosts = Hosts::new(Limits::default());
    let with = |password: &str| Endpoint {
        name: format!("ops {password}"),
        user: "ops".to_owned(),
        identity_files: Vec::new(),
        password: Some(Zeroizing::new(password.to_owned())),
        ..host.endpoint()
    };
    assert_eq!(hosts.connect(&with("opens")).await, Ok(()));
    let Err(Fault::Authentication { reason, .. }) = hosts.connect(&with("wrong")).await else { panic!("in") };
    assert!(reason.contains("tried password"), "{reason}");

    let far = Endpoint { name: "far".to_owned(), jump: vec![host.endpoint()], ..host.endpoint() };
    let (result, kept) = run(&hosts, &Arc::new(far), &shell("echo through")).await;
    assert_eq!((result.unwrap().code, kept.out()), (Some(0), "through\n".to_owned()));
    let soon = Duration::from_secs(5);
    assert!(hosts.port_open(Some(&host.endpoint()), "127.0.0.1", host.port, soon).await);
    assert!(!hosts.port_open(Some(&host.endpoint()), "127.0.0.1", 1, soon).await);
    hosts.close().await;
}

const FILES: &str = r#"
//! Every function for files and commands, each where it changes something and again where it does not.
const NEEDS = [
    "ssh.read:box", "ssh.exec:box", "file.stat:box:/**", "file.read:box:/**", "file.put:box:/**", "file.fetch:box:/**",
    "file.absent:box:/**", "dir.ensure:box:/**", "link.ensure:box:/**", "file.tree:box:/**",
];
const h = "box";
fn equal(found, wanted) { if found != wanted { fail(`${found} is not ${wanted}`); } }
fn twice(body) { equal(body.call().changed, true); equal(body.call().changed, false); }
fn fails(kind, text, body) {
    let caught = "nothing";
    try { body.call(); } catch (e) { caught = `${e.kind}: ${e.message}`; }
    if !caught.starts_with(kind) || !caught.contains(text) { fail(caught); }
}

equal(ssh_read(h, "head -c 5242880 /dev/zero | tr '\\0' x", #{ max_output: 6000000 }).out.len(), 5242880);
equal(ssh_script(h, "echo $((40 + 2))").out, "42\n");
ssh_detach(h, "echo late >/tmp/late; sleep 300");
wait_until(#{ timeout: "10s" }, || file_stat(h, "/tmp/late").size == 5);

twice(|| dir_ensure(h, "/srv/app/conf", #{ parents: true, mode: "0750", owner: "ops", group: "ops" }));
twice(|| file_put(h, "/srv/app/conf/a", "one\n", #{ mode: "0640", owner: "ops" }));
let kept = file_put(h, "/srv/app/conf/a", "two\n", #{ backup: true, validate: "grep -q two %s" }).backup;
equal(file_read(h, kept), "one\n");
fails("file", "did not pass its validation", || file_put(h, "/srv/app/conf/a", "three\n", #{ validate: "grep -q two %s" }));
let seen = file_stat(h, "/srv/app/conf/a");
equal(`${seen.mode} ${seen.owner} ${seen.group} ${seen.size}`, "0640 ops root 4");
twice(|| link_ensure(h, "/srv/app/current", "conf/b"));
twice(|| link_ensure(h, "/srv/app/current", "conf/a"));
twice(|| file_put(h, "/srv/app/current", "by the link\n"));
equal(file_stat(h, "/srv/app/current", #{ follow: false }).target, "conf/a");
twice(|| line_ensure(h, "/srv/app/conf/a", "more"));
twice(|| line_ensure(h, "/srv/app/conf/a", "less", #{ regex: "^by" }));
twice(|| block_ensure(h, "/srv/app/conf/a", "x\ny"));
equal(file_read(h, "/srv/app/conf/a"), "less\nmore\n# BEGIN NLRUN\nx\ny\n# END NLRUN\n");
twice(|| template_put(h, "/srv/app/t", "files/t.j2", #{ port: 80 }));
equal(file_read(h, "/srv/app/t"), "port=80 on box\n");
twice(|| tree_put(h, "/srv/site", "files/site", #{ delete: true }));
ssh_exec(h, "cd /srv/site; echo x >'ex tra'; echo x >a; ln -s a link; chmod 700 'b c'");
let tree = tree_put(h, "/srv/site", "files/site", #{ delete: true });
equal(`${tree.files_added} ${tree.files_changed} ${tree.files_removed}`, "0 2 2");
twice(|| tree_put(h, "/srv/site", "files/site", #{ delete: true, owner: "ops" }));
// Backups and browsers go by the time of a file.
equal(file_stat(h, "/srv/site/a").mtime > 1000000000, true);
equal(file_fetch(h, "/srv/site/a", "a").bytes, 4);
twice(|| file_absent(h, "/srv/app/current"));
twice(|| file_absent(h, "/srv/app", #{ recursive: true }));
fails("file", "does not exist", || file_read(h, "/srv/app/conf/a"));
fails("file", "sudo", || file_put(h, "/tmp/x", "x", #{ sudo: true }));
fails("command", "sudo", || ssh_exec(h, ["id"], #{ sudo: true }));
equal(ssh_read(h, "ls -A /srv /srv/site /tmp").out, "/srv:\nsite\n\n/srv/site:\na\nb c\nsub\n\n/tmp:\nlate\n");
"#;

#[test]
fn every_file_function() {
    let Some(host) = Dropbear::start() else { return };
    let inventory = format!(
        "hosts: {{box: {{address: 127.0.0.1, port: {}, user: root, identity_files: [\"{}\"]}}}}\n",
        host.port,
        host.client_key().display()
    );
    let project = Project::new()
        .inventory(&inventory)
        .runbook("files", FILES)
        .file("files/t.j2", "port={{ port }} on {{ host.name }}\n")
        .file("files/site/a", "one\n")
        .file("files/site/b c", "two\n")
        .file("files/site/sub/d", &"three\n".repeat(20_000));
    std::fs::create_dir(project.home().join(".ssh")).unwrap();
    std::fs::copy(host.known_hosts(), project.home().join(".ssh/known_hosts")).unwrap();
    project.args(["run", "files"]).success();
}
