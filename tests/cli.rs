//! The verbs of the command line, through the real binary, in a project of their own.

use crate::support::project::Project;

#[test]
fn a_runbook_on_this_machine_runs_in_a_bare_project() {
    let project =
        Project::new().runbook("hello", r#"print("hello " + ssh_read("localhost", "echo you").out.trim());"#);
    let run = project.args(["run", "hello", "--allow", "ssh.read:*"]).success();
    assert!(run.stdout.contains("hello"), "{run:?}");
}
