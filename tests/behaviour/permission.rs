//! What a run may touch: needs by target, grants, questions that nobody answers, the number of hosts.

use super::{HOSTS, call, ledger, store, verified};
use crate::support::project::Project;
use nlrun::model::run::Status;

fn project(header: &str, body: &str) -> Project {
    let text = format!("const PARAMS = #{{ host: \"h1\" }};\n{header}\n{body}");
    Project::new().inventory(HOSTS).runbook("acts", &text)
}

const ACT: &str = "ssh_exec(params.host, `echo ${params.host} >> done`);";

#[test]
fn a_need_covers_the_hosts_that_it_names() {
    for (needs, host, code) in [
        ("ssh.exec:h1", "h1", 0),
        ("ssh.exec:h1", "h2", 3),
        ("ssh.exec:h*", "h2", 0),
        ("ssh.exec:h*", "other", 3),
        ("ssh.exec:@web", "h3", 0),
        ("ssh.exec:@web", "other", 3),
        ("ssh.*:@web", "h3", 0),
        ("ssh.read", "h1", 3),
        ("*", "other", 0),
    ] {
        let project = project(&format!("const NEEDS = [\"{needs}\"];"), ACT);
        let set = format!("host={host}");
        let output = call(&project, ["run", "acts", "--set", &set]);
        // What the check can already see is wrong usage; what only the run can see is stopped by the gate.
        assert!(output.code == code || (code == 3 && output.code == 64), "{needs} {host}\n{}", output.stderr);
        assert_eq!(ledger(&project).is_empty(), code != 0, "{needs} {host}");
        if code != 0 {
            let line = format!("ssh.exec:{host}");
            let said = output.stderr.contains(&line) || output.code == 64;
            assert!(said, "{needs} {host}\n{}", output.stderr);
        }
    }
}

#[test]
fn without_needs_and_without_a_terminal_the_hint_is_the_option_that_helps() {
    let project = project("", ACT);
    let output = call(&project, ["run", "acts"]).ends(3);
    assert!(output.stderr.contains("--allow ssh.exec:h1"), "{}", output.stderr);
    assert!(ledger(&project).is_empty());
    call(&project, ["run", "acts", "--allow", "ssh.exec:h2"]).ends(3);
    call(&project, ["run", "acts", "--allow", "ssh.exec:h1"]).success();
    assert_eq!(ledger(&project)["h1"], 1);
}

#[test]
fn a_grant_narrows_what_the_runbook_needs() {
    let project = project("const NEEDS = [\"ssh.exec:@web\"];", ACT);
    let output = call(&project, ["run", "acts", "--grant", "ssh.exec:h2"]).ends(3);
    assert!(output.stderr.contains("no grant"), "{}", output.stderr);
    call(&project, ["run", "acts", "--grant", "ssh.read"]).ends(3);
    // A grant does not widen: `other` is not in the needs.
    call(&project, ["run", "acts", "--set", "host=other", "--grant", "ssh.exec:other"]).ends(3);
    assert!(ledger(&project).is_empty());
    call(&project, ["run", "acts", "--grant", "ssh.exec:h1"]).success();
    let output = call(&project, ["run", "acts", "--grant", ":x"]).ends(64);
    assert!(output.stderr.contains(":x"), "{}", output.stderr);
}

#[test]
fn max_hosts_stops_before_the_host_too_many() {
    let header = "const NEEDS = [\"ssh.exec\"]; const LIMITS = #{ max_hosts: 2 };";
    let body = "for h in [\"h1\", \"h2\", \"h1\", \"h3\", \"h4\"] { ssh_exec(h, `echo ${h} >> done`); }";
    let project = project(header, body);
    let output = call(&project, ["run", "acts"]).ends(3);
    assert!(output.stderr.contains("max_hosts") && output.stderr.contains("h3"), "{}", output.stderr);
    let done = ledger(&project);
    assert_eq!((done["h1"], done["h2"], done.len()), (2, 1, 2));
    assert_eq!(verified(&store(&project), 1), Status::Stopped);
}

#[test]
fn the_whole_inventory_is_changed_only_after_a_yes() {
    let header = "const NEEDS = [\"ssh.exec\", \"ssh.read\"];";
    for all in ["hosts(\"all\")", "hosts(\"*\")", "hosts(\"web,other\")"] {
        let body = format!(
            "each({all}, |h| {{ ssh_read(h, \"true\"); ssh_exec(h, `echo ${{h.name}} >> done`); }});"
        );
        let project = project(header, &body);
        let output = call(&project, ["run", "acts"]).ends(3);
        assert!(output.stderr.contains("--yes"), "{all}\n{}", output.stderr);
        assert!(ledger(&project).is_empty(), "{all}");
        call(&project, ["run", "acts", "--yes"]).success();
        assert!(ledger(&project).len() >= 5, "{all}");
    }
    // Reading everything needs no yes.
    let project = project(header, "each(hosts(\"all\"), |h| ssh_read(h, \"true\"));");
    call(&project, ["run", "acts"]).success();
}

#[test]
fn yes_does_not_lift_max_hosts() {
    let header = "const NEEDS = [\"ssh.exec\"]; const LIMITS = #{ max_hosts: 3 };";
    let project = project(header, "for h in hosts(\"all\") { ssh_exec(h, `echo ${h.name} >> done`); }");
    call(&project, ["run", "acts", "--yes"]).ends(3);
    assert_eq!(ledger(&project).len(), 3);
}

#[test]
fn a_secret_needs_permission_like_a_host() {
    let body = "let name = params.host; secret(name);";
    let project =
        project("const NEEDS = [\"secret.read:db/*\"];", body).variable("NLRUN_SECRET_H1", "a long secret");
    call(&project, ["run", "acts"]).ends(3);
}

#[test]
fn a_link_among_the_folders_of_a_path_needs_both_paths_and_a_plan_says_so() {
    let project = Project::new().inventory(HOSTS).file("other/a", "old\n");
    std::os::unix::fs::symlink("other", project.path("app")).unwrap();
    let root = project.root();
    let (app, other) = (project.path("app/a"), project.path("other/a"));
    let text = |needs: &str| {
        let put = format!("file_put(\"h1\", \"{}\", \"new\\n\");", app.display());
        format!("const NEEDS = [\"file.put:h1:{}/app/**\"{needs}];\n{put}", root.display())
    };
    let project = project.runbook("puts", &text(""));
    let line = format!("\"file.put:h1:{}\"", other.display());
    for verb in ["plan", "run"] {
        let output = call(&project, [verb, "puts"]).ends(1);
        assert!(output.stderr.contains(&format!("add {line} to NEEDS")), "{}", output.stderr);
    }
    assert_eq!(project.read("other/a"), "old\n");
    let project = project.runbook("puts", &text(&format!(", {line}")));
    call(&project, ["run", "puts"]).success();
    assert_eq!(project.read("other/a"), "new\n");
}

#[test]
fn a_refusal_names_the_host_as_it_is_written() {
    let inventory = "hosts: {RUNNER: {transport: local}, other: {transport: local}}\n";
    let text = "const PARAMS = #{ host: \"RUNNER\" };\nconst NEEDS = [\"ssh.exec:other\"];\nssh_exec(params.host, \"true\");";
    let project = Project::new().inventory(inventory).runbook("acts", text);
    let output = call(&project, ["run", "acts"]).ends(3);
    assert!(output.stderr.contains("add \"ssh.exec:RUNNER\" to NEEDS"), "{}", output.stderr);
}
