//! Waiting for hosts and ports, and restarting a host whose boot id is a file that the test writes.

use std::net::TcpListener;

use nlrun::model::run::Status;

use super::{HOSTS, call, finish, ledger, store, verified};
use crate::support::project::{Output, Project};
use crate::support::sshd::Sshd;

/// A project on whose hosts `cat` tells the boot id that stands in the file `boot_id`.
fn project(body: &str) -> Project {
    let text = format!("const NEEDS = [\"host.reboot\", \"port.wait\", \"ssh.wait\"];\n{body}");
    Project::new()
        .inventory(HOSTS)
        .runbook("waits", &text)
        .file("boot_id", "before\n")
        .program("cat", "case $1 in */boot_id) exec /bin/cat boot_id;; *) exec /bin/cat \"$@\";; esac")
}

fn run(project: &Project) -> Output {
    call(project, ["run", "waits"])
}

#[test]
fn a_restart_is_over_when_the_boot_id_is_another_and_the_test_succeeds() {
    let project = project(
        r#"let done = host_reboot("h1", #{
            command: "echo restart >> done; echo after > boot_id",
            test: "echo tested >> done; test -e up || { touch up; false; }",
            timeout: "20s",
        });
        print(`${done.before_boot_id} ${done.after_boot_id}`);"#,
    );
    let output = run(&project).success();
    assert!(output.stdout.contains("before after"), "{}", output.stdout);
    let done = ledger(&project);
    assert_eq!((done["restart"], done["tested"]), (1, 2));
}

#[test]
fn a_host_that_does_not_restart_is_a_failure() {
    let options = "#{ command: \"echo restart >> done\", timeout: \"1s\" }";
    let project = project(&format!("try {{ host_reboot(\"h1\", {options}) }} catch (e) {{ print(e.kind) }}"));
    let output = run(&project).success();
    assert!(output.stdout.contains("timed_out"), "{}", output.stdout);
    assert_eq!(ledger(&project)["restart"], 1);
}

#[test]
fn a_restart_in_doubt_is_decided_by_the_boot_id() {
    let project = project(
        r#"host_reboot("h1", #{ command: "echo restart >> done; echo after > boot_id", timeout: "20s" });
        print("over");"#,
    );
    let mut command = project.command(["run", "waits"]);
    let child = command.env("NLRUN_TEST_KILL_AFTER", "2").stdout(std::process::Stdio::null());
    assert_eq!(finish(child.spawn().unwrap()).code, -1);
    // With the same id it may still be about to go down: nobody knows.
    let output = call(&project, ["resume", "1"]).ends(3);
    assert!(output.stderr.contains("--again 1"), "{}", output.stderr);
    assert!(ledger(&project).is_empty());
    project.write("boot_id", "after\n");
    let output = call(&project, ["resume", "1"]).success();
    assert!(output.stdout.contains("over"), "{}", output.stdout);
    assert!(ledger(&project).is_empty(), "it has restarted and is not restarted again");
    assert_eq!(verified(&store(&project), 1), Status::Done);
}

#[test]
fn a_port_is_waited_for_until_it_is_as_wanted() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let waits = |state: &str| {
        format!(
            "try {{ wait_port(\"h1\", {port}, #{{ state: \"{state}\", timeout: \"1s\" }}); print(\"is {state}\") }} \
             catch (e) {{ print(`not {state}: ${{e.kind}}`) }}"
        )
    };
    let project = project(&format!("{}\n{}", waits("open"), waits("closed")));
    let output = run(&project).success();
    let said = |words: &str| output.stdout.lines().any(|line| line == words);
    assert!(said("is open") && said("not closed: timed_out"), "{}", output.stdout);
    drop(listener);
    let output = run(&project).success();
    let said = |words: &str| output.stdout.lines().any(|line| line == words);
    assert!(said("not open: timed_out") && said("is closed"), "{}", output.stdout);
}

#[test]
fn plan_mode_looks_once_and_does_not_wait() {
    let port = crate::support::sshd::free_port();
    let project = project(&format!("wait_port(\"h1\", {port}, #{{ timeout: \"1h\" }});"));
    let output = call(&project, ["plan", "waits"]).ends(1);
    assert!(output.stderr.contains("wait_port"), "{}", output.stderr);
}

/// Writes an inventory whose host `there` is this server.
fn inventory(project: &Project, sshd: &Sshd) {
    let text = format!(
        "hosts:\n  there: {{address: 127.0.0.1, port: {}, user: {}, identity_files: ['{}']}}\n",
        sshd.port,
        sshd.user,
        sshd.client_key().display()
    );
    project.write("inventory/hosts.yaml", &text);
}

fn trust(project: &Project, sshd: &Sshd) {
    project.write("../home/.ssh/known_hosts", &std::fs::read_to_string(sshd.known_hosts()).unwrap());
}

#[test]
fn a_connection_that_goes_down_with_the_host_is_no_failure() {
    // The server's process for us is killed before it can tell how the command ended.
    let force = "ForceCommand cd FOLDER; PATH=FOLDER/bin:$PATH; case $SSH_ORIGINAL_COMMAND in \
                 *restart-now*) echo after >boot_id; kill -9 $PPID; sleep 9;; esac; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let Some(sshd) = Sshd::builder().config(force).start() else { return };
    let project = project(
        r#"let done = host_reboot("there", #{ command: "restart-now", timeout: "20s" });
        print(`${done.before_boot_id} ${done.after_boot_id}`);"#,
    );
    inventory(&project, &sshd);
    trust(&project, &sshd);
    std::fs::create_dir(sshd.folder().join("bin")).unwrap();
    for name in ["boot_id", "bin/cat"] {
        std::fs::copy(project.path(name), sshd.folder().join(name)).unwrap();
    }
    let output = run(&project).success();
    assert!(output.stdout.contains("before after"), "{}", output.stdout);
}

#[test]
fn a_wrong_key_does_not_become_right_by_waiting() {
    let Some(sshd) = Sshd::start() else { return };
    let project = project("try { wait_ssh(\"there\", \"2s\") } catch (e) { print(e.kind) }");
    inventory(&project, &sshd);
    let output = run(&project).success();
    assert!(output.stdout.contains("host_key"), "{}", output.stdout);
    trust(&project, &sshd);
    let output = run(&project).success();
    assert!(output.stdout.trim().is_empty(), "{output:?}");
}
