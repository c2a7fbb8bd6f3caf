//! A full disk, or a run log that may not grow: the run stops cleanly and goes on when there is room.

use nlrun::model::run::{RunId, Status};

use super::crash::settle;
use super::{HOSTS, call, ledger, store, verified};
use crate::support::project::{Output, Project};
use crate::support::small::Small;

/// Acts, and output that random letters keep from being packed small.
const RUNBOOK: &str = r#"
const NEEDS = ["ssh.read", "ssh.exec"];
defer(|| ssh_exec("h1", "echo undo >> done"));
for i in 0..8 {
    ssh_exec("h1", `echo act${i} >> done`);
    ssh_read("h1", "head -c 6000 /dev/urandom | base64");
    print(`after ${i}`);
}
each(hosts("web"), |h| ssh_exec(h, `echo ${h.name} >> done`));
artifact("notes.txt", "kept");
"#;

fn says_that_it_is_full(output: &Output) {
    let told = output.stderr.contains("run log") && output.stderr.contains("full");
    assert!(told, "{}", output.stderr);
}

/// Demands that the stopped run left everything in order, then makes room and lets it go on.
fn goes_on(project: &Project, make_room: impl FnOnce()) {
    assert!(!ledger(project).contains_key("undo"), "a suspended run cleans up when it goes on");
    make_room();
    let status = verified(&store(project), 1);
    assert!(matches!(status, Status::Running | Status::Interrupted), "{status}");
    settle(project);
    let done = ledger(project);
    assert_eq!((done.len(), done.values().max()), (13, Some(&1)), "{done:?}");
    assert_eq!(verified(&store(project), 1), Status::Done);
}

#[test]
fn a_log_that_may_not_grow_stops_the_run_at_whatever_append_it_is() {
    let mut stopped = 0;
    let mut size = 0;
    loop {
        let project = Project::new().inventory(HOSTS).runbook("fills", RUNBOOK);
        if size == 0 {
            // What an empty log takes.
            call(&project, ["replay", "1"]).ends(64);
            size = std::fs::metadata(project.database()).unwrap().len();
        }
        size += 5000;
        project.write("nlrun.yaml", &format!("state: {{dir: .nlrun, max_size: {size}}}\n"));
        let output = call(&project, ["run", "fills"]);
        if output.code == 0 {
            break;
        }
        says_that_it_is_full(&output);
        assert_eq!(output.code, 1, "{}", output.stderr);
        stopped += 1;
        if store(&project).reader().unwrap().run(RunId(1)).is_err() {
            // There was not even room for the first event, so nothing has begun.
            assert!(ledger(&project).is_empty());
            continue;
        }
        goes_on(&project, || project.write("nlrun.yaml", "state: .nlrun\n"));
    }
    assert!(stopped > 8, "only {stopped} sizes were too small");
}

#[test]
fn a_plan_that_found_no_room_is_made_anew() {
    let project = Project::new().inventory(HOSTS).runbook("fills", RUNBOOK);
    call(&project, ["replay", "1"]).ends(64);
    let size = std::fs::metadata(project.database()).unwrap().len() + 40_000;
    project.write("nlrun.yaml", &format!("state: {{dir: .nlrun, max_size: {size}}}\n"));
    let output = call(&project, ["plan", "fills"]).ends(1);
    says_that_it_is_full(&output);
    assert!(output.stderr.contains("make a new plan"), "{}", output.stderr);
    assert!(!output.stderr.contains("nlrun resume"), "{}", output.stderr);
}

#[test]
fn a_disk_that_is_full_stops_the_run_and_it_goes_on_when_there_is_room() {
    let project = Project::new().inventory(HOSTS).runbook("fills", RUNBOOK);
    let Some(disk) = Small::mount(&project.path(".nlrun")) else { return };
    // What an empty log takes, and some more.
    call(&project, ["replay", "1"]).ends(64);
    disk.leave(100_000);
    let output = call(&project, ["run", "fills"]).ends(1);
    says_that_it_is_full(&output);
    goes_on(&project, || disk.grow());
    drop(disk);
}
