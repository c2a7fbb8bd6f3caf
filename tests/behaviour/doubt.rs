//! Acts in doubt after a crash in the middle of a fan-out: all of them are named at once, and nothing new happens
//! before a person has decided.

use nlrun::model::run::Status;
use serde_json::Value;

use super::{HOSTS, call, finish, ledger, of, store, verified};
use crate::support::project::Project;

/// An act that is under way until the file `held` is gone, and says in `done` that it began.
const HELD: &str = "echo ${name} >> done; while [ -e held ]; do sleep 0.05; done";

/// Kills a run when this many hosts of the group have begun their act and none has ended it.
fn killed(body: &str, arms: usize) -> Project {
    let header = "const NEEDS = [\"ssh.exec\"];\n";
    let text = format!("{header}{}", body.replace("HELD", HELD));
    let project = Project::new().inventory(HOSTS).runbook("fan", &text).file("held", "");
    let mut command = project.command(["run", "fan"]);
    // The first event, and two of each arm: that it begins, and what it is about to do.
    let child =
        command.env("NLRUN_TEST_KILL_AFTER", (1 + 2 * arms).to_string()).stdout(std::process::Stdio::null());
    assert_eq!(finish(child.spawn().unwrap()).code, -1);
    std::fs::remove_file(project.path("held")).unwrap();
    project
}

fn addresses(acts: &Value) -> Vec<&str> {
    acts.as_array().unwrap().iter().map(|act| act["address"].as_str().unwrap()).collect()
}

/// Demands that the output names each of these acts, and both answers.
#[track_caller]
fn names(text: &str, addresses: &[&str]) {
    for part in addresses.iter().chain(&["--done", "--again", "echo h2"]) {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[test]
fn every_act_in_doubt_of_a_fan_out_is_named_at_once() {
    let each = "each(hosts(\"web\"), |h| { let name = h.name; ssh_exec(h, `HELD`); ssh_exec(h, `echo ${name}-next >> done`) });";
    let array = "let h = hosts(\"web\"); for name in [\"h2\"] { ssh_exec(h, `HELD`) }";
    for body in [each, array] {
        let project = killed(body, 4);
        let all = ["1[h1]/1", "1[h2]/1", "1[h3]/1", "1[h4]/1"];
        let lines = call(&project, ["resume", "1", "--json"]).ends(3).json_lines();
        let acts = &of(&lines, "ended").next().unwrap()["in_doubt"];
        assert_eq!(addresses(acts), all, "{acts}");
        assert_eq!((&acts[0]["effect"], &acts[0]["target"]), (&"ssh.exec".into(), &"h1".into()));
        assert_eq!(acts[0]["site"]["line"], 2);
        let output = call(&project, ["resume", "1"]).ends(3);
        names(&output.stderr, &all);
        assert!(output.stderr.contains("4 acts were begun"), "{}", output.stderr);
        names(&call(&project, ["show", "1"]).success().stdout, &all);
        assert_eq!(addresses(&call(&project, ["show", "1", "--json"]).json()["in_doubt"]), all);
        assert_eq!(verified(&store(&project), 1), Status::InDoubt);

        // What is decided is no longer in doubt; the rest is.
        let output = call(&project, ["resume", "1", "--done", all[0], "--done", all[2]]).ends(3);
        names(&output.stderr, &[all[1], all[3]]);
        assert!(!output.stderr.contains(all[2]), "{}", output.stderr);
        let words = ["resume", "1", "--done", all[1], "--done", all[3]];
        let output = call(&project, words).success();
        assert_eq!(verified(&store(&project), 1), Status::Done, "{}", output.stderr);
        assert_eq!(call(&project, ["show", "1", "--json"]).json()["in_doubt"], Value::Array(Vec::new()));
    }
}

#[test]
fn what_can_be_probed_needs_no_decision_and_hosts_whose_turn_had_not_come_wait() {
    let body = "each(hosts(\"web\"), #{ parallel: 3 }, |h| { let name = h.name;\n\
         let o = if name == \"h3\" { #{ creates: \"/nowhere/made\" } } else { #{} };\n\
         ssh_exec(h, `HELD`, o) });\n\
         ssh_exec(hosts(\"web\"), \"echo after >> done\");";
    let project = killed(body, 3);
    let lines = call(&project, ["resume", "1", "--json"]).ends(3).json_lines();
    assert_eq!(addresses(&of(&lines, "ended").next().unwrap()["in_doubt"]), ["1[h1]/1", "1[h2]/1"]);
    assert_eq!(of(&lines, "branch_began").count() + of(&lines, "intent").count(), 0, "nothing new happens");
    let slip = call(&project, ["resume", "1", "--done", "1[h1]/1", "--done", "1[h3]/2"]).ends(64);
    assert!(slip.stderr.contains("no act of run 1 at `1[h3]/2` is in doubt"), "{}", slip.stderr);
    call(&project, ["resume", "1", "--done", "1[h1]/1", "--again", "1[h2]/1"]).success();
    let ledger = ledger(&project);
    // A command that had been sent may have begun or not when its run was killed.
    assert!(ledger.get("h1").is_none_or(|times| *times == 1), "{ledger:?}");
    assert!(ledger["h2"] >= 1 && ledger["h3"] >= 1 && ledger["h4"] == 1, "{ledger:?}");
    assert_eq!(ledger["after"], 4);
}
