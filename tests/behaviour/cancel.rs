//! Ending a run from outside: once with its clean-up, twice at once; time-outs; nothing goes on running.

use std::process::Child;

use nlrun::model::event::Event;
use nlrun::model::run::{RunId, Status};
use rustix::process::{Pid, Signal, kill_process};

use super::{HOSTS, call, finish, ledger, store, verified};
use crate::support::project::{Project, until};

/// A runbook that hangs in a command which a marker in `/proc` shows, and cleans up behind it.
fn hanging(marker: &str) -> Project {
    let text = format!(
        r#"const NEEDS = ["ssh.exec"];
        ssh_exec("h1", "echo begun >> done");
        defer(|| ssh_exec("h1", "echo cleaned >> done"));
        try {{ ssh_exec("h1", "sh -c 'sleep 97 & sleep 97' {marker}; echo never >> done") }} catch {{ }}
        ssh_exec("h1", "echo after >> done");"#
    );
    Project::new().inventory(HOSTS).runbook("hangs", &text)
}

/// The processes that have this word in their command line, `nlrun` itself excepted.
fn processes(marker: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains(marker) && !line.contains("nlrun") {
            found.extend(entry.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw));
        }
    }
    found
}

fn running(marker: &str) -> usize {
    processes(marker).len()
}

fn marker(test: &str) -> String {
    format!("mark-{test}-{}", std::process::id())
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn begin(project: &Project, marker: &str) -> Child {
    let child = project.spawn(["run", "hangs"]);
    until("the command runs", || running(marker) > 0);
    child
}

#[test]
fn a_signal_ends_the_run_with_its_clean_up() {
    for signal in [Signal::INT, Signal::TERM] {
        let marker = marker(&format!("{}", signal.as_raw()));
        let project = hanging(&marker);
        let child = begin(&project, &marker);
        send(&child, signal);
        let output = finish(child).ends(5);
        assert_eq!(running(&marker), 0);
        assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["begun", "cleaned"]);
        assert!(output.stderr.contains("cancelled by"), "{}", output.stderr);
        assert_eq!(verified(&store(&project), 1), Status::Cancelled);
    }
}

#[test]
fn another_process_ends_the_run_and_waits_for_its_clean_up() {
    let marker = marker("other");
    let project = hanging(&marker);
    let child = begin(&project, &marker);
    let output = call(&project, ["cancel", "1"]).success();
    assert!(output.stderr.contains("run 1 is cancelled"), "{}", output.stderr);
    let output = finish(child).ends(5);
    assert!(output.stderr.contains("nlrun cancel"), "{}", output.stderr);
    assert_eq!(running(&marker), 0);
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["begun", "cleaned"]);
    assert_eq!(verified(&store(&project), 1), Status::Cancelled);
    call(&project, ["cancel", "1"]).ends(64);
    call(&project, ["cancel", "9"]).ends(64);
    call(&project, ["resume", "1"]).ends(3);
}

#[test]
fn two_signals_end_the_run_at_once_and_it_says_what_it_left_behind() {
    let marker = marker("twice");
    let text = format!(
        r#"const NEEDS = ["ssh.exec"];
        defer(|| ssh_exec("h1", "echo first >> done"));
        defer(|| ssh_exec("h1", "sh -c 'sleep 97 & sleep 97' {marker}"));
        ssh_exec("h1", "echo begun >> done");"#
    );
    let project = Project::new().inventory(HOSTS).runbook("hangs", &text);
    // The run itself is over: what hangs is a clean-up, which one signal does not end.
    let child = begin(&project, &marker);
    send(&child, Signal::INT);
    until("the first signal is seen", || {
        super::events(&store(&project), 1).iter().any(|e| matches!(e, Event::CancelAsked { .. }))
    });
    assert!(running(&marker) > 0);
    send(&child, Signal::INT);
    let output = finish(child).ends(5);
    assert_eq!(running(&marker), 0);
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["begun"]);
    for words in ["left behind", "runbooks/hangs.rhai:2", "runbooks/hangs.rhai:3"] {
        assert!(output.stderr.contains(words), "{words}\n{}", output.stderr);
    }
    let row = store(&project).reader().unwrap().run(RunId(1)).unwrap();
    assert_eq!(row.summary.left_behind.len(), 2, "{:?}", row.summary.left_behind);
}

#[test]
fn cancel_now_does_not_wait_for_clean_ups() {
    let marker = marker("now");
    let project = hanging(&marker);
    let child = begin(&project, &marker);
    call(&project, ["cancel", "1", "--now"]).success();
    let output = finish(child).ends(5);
    assert_eq!(running(&marker), 0);
    assert!(output.stderr.contains("left behind"), "{}", output.stderr);
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["begun"]);
}

#[test]
fn a_run_that_takes_too_long_ends_with_its_clean_up() {
    let marker = marker("limit");
    let project = hanging(&marker);
    let text = project.read("runbooks/hangs.rhai");
    project.write("runbooks/hangs.rhai", &format!("const LIMITS = #{{ timeout: \"2s\" }};\n{text}"));
    let output = call(&project, ["run", "hangs"]).ends(5);
    assert!(output.stderr.contains("longer than 2s"), "{}", output.stderr);
    assert_eq!(running(&marker), 0);
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["begun", "cleaned"]);
    assert_eq!(verified(&store(&project), 1), Status::TimedOut);
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_all_it_started() {
    let marker = marker("command");
    let text = format!(
        r#"const NEEDS = ["ssh.exec"];
        try {{ ssh_exec("h1", "sh -c 'sleep 97 & sleep 97' {marker}", #{{ timeout: "500ms" }}) }}
        catch (e) {{ print(`${{e.kind}}`) }}
        ssh_exec("h1", "echo after >> done");"#
    );
    let project = Project::new().inventory(HOSTS).runbook("hangs", &text);
    let output = call(&project, ["run", "hangs"]).success();
    assert!(output.stdout.contains("timed_out"), "{}", output.stdout);
    assert_eq!(running(&marker), 0);
    assert_eq!(ledger(&project)["after"], 1);
}

#[test]
fn arms_of_a_fan_out_clean_up_each_when_the_run_is_cancelled() {
    let marker = marker("arms");
    let text = format!(
        r#"const NEEDS = ["ssh.exec"];
        defer(|| each(hosts("h1,h2"), |h| ssh_exec(h, `echo all-${{h.name}} >> done`)));
        each(hosts("web"), |h| {{
            defer(|| ssh_exec(h, `echo cleaned-${{h.name}} >> done`));
            ssh_exec(h, "sh -c 'sleep 97' {marker}");
        }});"#
    );
    let project = Project::new().inventory(HOSTS).runbook("hangs", &text);
    let child = project.spawn(["run", "hangs"]);
    until("all four run", || running(&marker) >= 4);
    send(&child, Signal::INT);
    finish(child).ends(5);
    assert_eq!(running(&marker), 0);
    let expected = ["all-h1", "all-h2", "cleaned-h1", "cleaned-h2", "cleaned-h3", "cleaned-h4"];
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), expected);
}

#[test]
fn a_cancelled_run_whose_process_dies_goes_on_only_with_its_clean_ups() {
    let marker = marker("dies");
    let text = format!(
        r#"const NEEDS = ["ssh.exec"];
        defer(|| {{
            ssh_exec("h1", "sh -c 'test -e calm || sleep 97' {marker}", #{{ unless: "false" }});
            ssh_exec("h1", "echo cleaned >> done");
        }});
        try {{ ssh_exec("h1", "echo begun >> done; sh -c 'sleep 97' {marker}") }} catch {{ }}
        ssh_exec("h1", "echo after >> done");"#
    );
    let project = Project::new().inventory(HOSTS).runbook("hangs", &text);
    let child = begin(&project, &marker);
    until("the act has begun", || ledger(&project).contains_key("begun"));
    send(&child, Signal::INT);
    // The clean-up begins with an act at `d1/1`.
    until("the clean-up hangs", || {
        running(&marker) > 0
            && super::events(&store(&project), 1)
                .iter()
                .any(|event| event.address().is_some_and(|address| address.as_str() == "d1/1"))
    });
    send(&child, Signal::KILL);
    finish(child);
    project.write("calm", "");
    call(&project, ["resume", "1"]).ends(5);
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["begun", "cleaned"]);
    assert_eq!(verified(&store(&project), 1), Status::Cancelled);
    // What hung was a child of the process that died; a resumed run does not know it.
    for pid in processes(&marker) {
        let group = rustix::process::getpgid(Some(pid)).unwrap_or(pid);
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

#[test]
fn a_run_that_died_right_after_it_was_cancelled_does_nothing_more_but_clean_up() {
    let text = r#"const NEEDS = ["ssh.exec"];
        defer(|| ssh_exec("h1", "echo cleaned >> done"));
        ssh_exec("h1", "echo one >> done");
        ssh_exec("h1", "echo two >> done");"#;
    let project = Project::new().inventory(HOSTS).runbook("acts", text);
    let mut command = project.command(["run", "acts"]);
    // Right after the outcome of the first act.
    let child = command.env("NLRUN_TEST_KILL_AFTER", "4").stdout(std::process::Stdio::null()).spawn();
    assert_eq!(finish(child.unwrap()).code, -1);
    let store = store(&project);
    let log = store.log(store.claim(RunId(1)).unwrap(), None);
    log.append_durable_blocking(Event::CancelAsked { by: "Ctrl-C".to_owned(), now: false }).unwrap();
    drop(log);
    call(&project, ["resume", "1"]).ends(5);
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["cleaned", "one"]);
    assert_eq!(verified(&store, 1), Status::Cancelled);
}

#[test]
fn a_run_that_sleeps_wakes_up_to_end() {
    let text = "const NEEDS = [\"ssh.exec\"];\nssh_exec(\"h1\", \"echo begun >> done\");\nsleep(\"1h\");";
    let project = Project::new().inventory(HOSTS).runbook("sleeps", text);
    let child = project.spawn(["run", "sleeps"]);
    until("it sleeps", || {
        ledger(&project).contains_key("begun")
            && super::events(&store(&project), 1)
                .iter()
                .any(|event| matches!(event, Event::Intent { request, .. } if request.effect != "ssh.exec"))
    });
    let begun = std::time::Instant::now();
    send(&child, Signal::INT);
    finish(child).ends(5);
    // What hangs in spite of a cancel is dropped after ten seconds; a sleep does not hang.
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
}
