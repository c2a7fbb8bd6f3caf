//! Acts in doubt after a crash in the middle of a fan-out: all of them are named at once, and nothing new happens
//! before a person has decided.

use std::collections::BTreeMap;

use nlrun::model::event::Event;
use nlrun::model::run::Status;
use serde_json::Value;

use super::{HOSTS, call, events, finish, ledger, of, store, verified};
use crate::support::project::Project;

/// An act that is under way until the file `held` is gone, and says in `done` that it began.
const HELD: &str = "echo ${name} >> done; while [ -e held ]; do sleep 0.05; done";

/// Kills a run when this many hosts of the group have begun their act and none has ended it.
fn killed(body: &str, arms: usize) -> Project {
    // The first event, and two of each arm: that it begins, and what it is about to do.
    killed_after(body, 1 + 2 * arms)
}

/// Kills a run when it has come to this event, which has to be the intent of an act that is held.
fn killed_after(body: &str, event: usize) -> Project {
    let header = "const NEEDS = [\"ssh.exec\"];\n";
    let text = format!("{header}{}", body.replace("HELD", HELD));
    let project = Project::new().inventory(HOSTS).runbook("fan", &text).file("held", "");
    let mut command = project.command(["run", "fan"]);
    let child = command.env("NLRUN_TEST_KILL_AFTER", event.to_string()).stdout(std::process::Stdio::null());
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

/// Words that a run said, and how often each of them.
fn said(project: &Project) -> BTreeMap<String, usize> {
    let mut said = BTreeMap::new();
    for event in events(&store(project), 1) {
        if let Event::Message { text, .. } = event {
            *said.entry(text).or_default() += 1;
        }
    }
    said
}

/// The places of the clean-ups that ran to their end, each with why it failed.
fn cleaned_up(project: &Project) -> Vec<(String, Option<String>)> {
    let mut found: Vec<_> = events(&store(project), 1)
        .into_iter()
        .filter_map(|event| match event {
            Event::CleanedUp { branch, failure, .. } => Some((branch.to_string(), failure)),
            _ => None,
        })
        .collect();
    found.sort();
    found
}

/// A clean-up that says so before it acts.
fn cleans(name: &str, host: &str) -> String {
    format!("defer(|| {{ print(\"cleans {name}\"); ssh_exec({host}, \"echo undo-{name} >> done\") }});")
}

#[test]
fn clean_ups_wait_for_the_decision_about_an_act_in_doubt_and_then_run_once() {
    let root = cleans("run", "\"other\"");
    let arm = "defer(|| { print(`cleans ${h.name}`); ssh_exec(h, `echo undo-${h.name} >> done`) });";
    let body = format!(
        "{root} each(hosts(\"h1,h2\"), |h| {{ let name = h.name; {arm} ssh_exec(h, `HELD`) }});\n\
         ssh_exec(\"other\", \"echo after >> done\");"
    );
    // The clean-up of the run, and in each arm that it begins, its clean-up and its intent.
    let project = killed_after(&body, 2 + 2 * 3);
    for words in [&["resume", "1"][..], &["resume", "1", "--done", "1[h1]/1"]] {
        call(&project, words).ends(3);
        let ledger = ledger(&project);
        assert!(!ledger.contains_key("undo-run") && !ledger.contains_key("undo-h2"), "{ledger:?}");
        let said = said(&project);
        assert!(!said.contains_key("cleans run") && !said.contains_key("cleans h2"), "{said:?}");
        assert!(cleaned_up(&project).iter().all(|(branch, _)| branch.contains("h1")));
        assert_eq!(verified(&store(&project), 1), Status::InDoubt);
    }
    assert_eq!(addresses(&call(&project, ["show", "1", "--json"]).json()["in_doubt"]), ["1[h2]/1"]);
    call(&project, ["resume", "1", "--done", "1[h2]/1"]).success();
    assert_eq!(verified(&store(&project), 1), Status::Done);
    let ledger = ledger(&project);
    for name in ["run", "h1", "h2"] {
        assert_eq!(ledger.get(&format!("undo-{name}")), Some(&1), "{ledger:?}");
        assert_eq!(said(&project).get(&format!("cleans {name}")), Some(&1));
    }
    assert_eq!(cleaned_up(&project).len(), 3);
    assert_eq!(ledger["after"], 1);
    let text = project.read("done");
    assert!(text.ends_with("after\nundo-run\n"), "the run cleans up at its end:\n{text}");
}

#[test]
fn an_act_in_doubt_within_a_clean_up_keeps_the_clean_ups_before_it_waiting() {
    let first = cleans("first", "\"h1\"");
    let body =
        format!("{first} defer(|| {{ let name = \"held\"; ssh_exec(\"h1\", `HELD`) }}); fail(\"no\");");
    // The two clean-ups, and the intent within the second one, which runs first.
    let project = killed_after(&body, 4);
    for _ in 0..2 {
        call(&project, ["resume", "1"]).ends(3);
        assert!(!ledger(&project).contains_key("undo-first"));
        assert_eq!((said(&project).len(), cleaned_up(&project)), (0, Vec::new()));
        assert_eq!(verified(&store(&project), 1), Status::InDoubt);
    }
    let acts = call(&project, ["show", "1", "--json"]).json()["in_doubt"].clone();
    let [address] = addresses(&acts)[..] else { panic!("{acts}") };
    let output = call(&project, ["resume", "1", "--done", address]).ends(1);
    assert!(output.stderr.contains("no"), "{}", output.stderr);
    assert_eq!(verified(&store(&project), 1), Status::Failed);
    assert_eq!((ledger(&project)["undo-first"], said(&project)["cleans first"]), (1, 1));
    let cleaned_up = cleaned_up(&project);
    assert!(
        cleaned_up.len() == 2 && cleaned_up.iter().all(|(_, failure)| failure.is_none()),
        "{cleaned_up:?}"
    );
}
