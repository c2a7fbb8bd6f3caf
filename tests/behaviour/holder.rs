//! One run has one process at a time.

use nlrun::model::event::Event;
use nlrun::model::run::{RunId, Status};

use super::{call, events, finish, ledger, store, verified};
use crate::support::project::{Project, until};

const RUNBOOK: &str = r#"
const NEEDS = ["ssh.read", "ssh.exec"];
ssh_exec("localhost", "echo first >> done");
ssh_read("localhost", "echo in >> inside; until test -e go; do sleep 0.01; done");
ssh_exec("localhost", "echo second >> done");
"#;

#[test]
fn of_two_processes_that_resume_a_run_one_wins_and_the_other_names_it() {
    let project = Project::new().runbook("waits", RUNBOOK);
    let mut command = project.command(["run", "waits"]);
    let child = command.env("NLRUN_TEST_KILL_AFTER", "3").stdout(std::process::Stdio::null());
    assert_eq!(finish(child.spawn().unwrap()).code, -1);

    let mut children = [project.spawn(["resume", "1"]), project.spawn(["resume", "1"])];
    let mut ended = None;
    until("one of them gives up", || {
        ended = children.iter_mut().position(|child| child.try_wait().unwrap().is_some());
        ended.is_some()
    });
    until("the other goes on", || project.path("inside").exists());
    let [one, two] = children;
    let (loser, winner) = if ended == Some(0) { (one, two) } else { (two, one) };
    let holder = format!("held by another process (process {})", winner.id());
    let output = finish(loser).ends(3);
    assert!(output.stderr.contains(&holder), "{}", output.stderr);
    // A third one, and one that would end it, see the same.
    let output = call(&project, ["resume", "1"]).ends(3);
    assert!(output.stderr.contains(&holder) && output.stderr.contains("nlrun cancel 1"), "{}", output.stderr);
    project.write("go", "");
    finish(winner).success();
    let done = ledger(&project);
    assert_eq!((done["first"], done["second"]), (1, 1));
    assert_eq!(verified(&store(&project), 1), Status::Done);
    let output = call(&project, ["resume", "1"]).ends(3);
    assert!(output.stderr.contains("nothing to resume"), "{}", output.stderr);
}

fn is_read(event: &Event) -> bool {
    matches!(event, Event::Intent { request, .. } if request.effect == "ssh.read")
}

#[test]
fn a_run_whose_process_died_is_named_by_the_next_call() {
    let project = Project::new().runbook("waits", RUNBOOK);
    let child = project.spawn(["run", "waits"]);
    // What is not on disk when the process dies is in doubt; here nothing is.
    until("the read is recorded", || {
        project.database().exists() && {
            let store = store(&project);
            store.reader().unwrap().run(RunId(1)).is_ok() && events(&store, 1).iter().any(is_read)
        }
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    finish(child);
    project.write("go", "");
    let output = call(&project, ["cancel", "1"]).ends(64);
    assert!(output.stderr.contains("`nlrun resume 1` goes on"), "{}", output.stderr);
    assert_eq!(verified(&store(&project), 1), Status::Interrupted);
    call(&project, ["resume", "1"]).success();
    assert_eq!(ledger(&project)["second"], 1);
}

#[test]
fn many_processes_begin_in_an_empty_project_at_once() {
    let project = Project::new().runbook("says", "print(\"said\");");
    let children: Vec<_> = (0..8).map(|_| project.spawn(["run", "says"])).collect();
    for child in children {
        finish(child).success();
    }
    for run in 1..=8 {
        assert_eq!(verified(&store(&project), run), Status::Done);
    }
}
