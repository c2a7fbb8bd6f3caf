//! `kill -9` after every event of a run: resumed, it ends as an uninterrupted run does, and no act happens twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use nlrun::model::address::Address;
use nlrun::model::event::{Event, Verdict};
use nlrun::model::run::{RunId, Status};
use serde_json::Value;

use super::{HOSTS, call, events, finish, ledger, store, verified};
use crate::support::project::{Project, until};

/// Reads, ensures, acts, a fan-out with clean-ups, an act on many hosts, a lock, a caught failure.
const RUNBOOK: &str = r#"
const NEEDS = ["ssh.read", "ssh.exec", "file.put", "dir.ensure"];
let who = ssh_read("localhost", "echo hello").out;
let here = ssh_read("localhost", "printf %s \"$PWD\"").out;
step "prepare" {
    file_put("localhost", `${here}/managed`, `managed for ${who}`, #{ mode: "0640" });
    print(`prepare ${who}`);
    ssh_exec("localhost", "echo prepare >> done");
    defer(|| ssh_exec("localhost", "echo undo >> done"));
    artifact("notes.txt", `for ${who}`);
}
let number = random(1000000);
step "fan out" {
    let results = each(hosts("web"), #{ parallel: 2 }, |h| {
        let up = ssh_read(h, "echo up").out;
        ssh_exec(h, `echo one-${h.name} >> done`);
        file_put(h, `${here}/managed-${h.name}`, h.name + "\n");
        defer(|| ssh_exec(h, `echo undo-${h.name} >> done`));
        if h.name == "h3" { skip_host("not today") }
        warn(`done ${h.name} ${up}`);
        h.name
    });
    print(`results ${results.len()}`);
}
ssh_exec(hosts("web"), "echo many >> done");
lock("db", || ssh_exec("localhost", "echo locked >> done"));
try { ssh_exec("localhost", "echo bad >> done; exit 3") } catch (e) { print("caught") }
if who != ssh_read("localhost", "echo hello").out { fail("the output of two tries was joined") }
report(#{ hosts: 4 });
"end"
"#;

fn project() -> Project {
    Project::new().inventory(HOSTS).runbook("crash", RUNBOOK)
}

/// What a run came to, without what may differ from run to run: times, random numbers, answers that nobody knows.
#[derive(Debug, PartialEq)]
struct Trace {
    effects: BTreeMap<Address, (String, Verdict, Value)>,
    said: BTreeMap<String, usize>,
    result: Value,
}

fn trace(events: &[Event]) -> Trace {
    let mut trace = Trace { effects: BTreeMap::new(), said: BTreeMap::new(), result: Value::Null };
    let mut asked = BTreeMap::new();
    let mut say = |text: String| *trace.said.entry(text).or_default() += 1;
    for event in events {
        match event {
            Event::Intent { address, request, .. } => {
                asked.insert(address.clone(), request.effect.clone());
            }
            Event::Outcome { address, verdict, value, failure, .. } => {
                let mut value = value.clone();
                if let Some(fields) = value.as_object_mut() {
                    fields.remove("ms");
                }
                let effect = asked[address].clone();
                // Put before the crash and looked at after it, a file is there already.
                let ensured = effect == "file.put";
                let (verdict, mut value) =
                    if ensured { (&Verdict::Ok, Value::Null) } else { (verdict, value) };
                if effect == "random.number" || failure.as_ref().is_some_and(|f| f.kind == "unknown_outcome")
                {
                    value = Value::Null;
                }
                let again = trace.effects.insert(address.clone(), (effect, *verdict, value));
                assert!(again.is_none(), "{address} has two outcomes");
            }
            Event::StepBegan { name, branch, .. } => say(format!("step {branch} {name}")),
            Event::StepEnded { name, verdict, .. } => say(format!("step ended {name} {verdict:?}")),
            Event::Message { text, branch, .. } => say(format!("{branch} {text}")),
            Event::BranchBegan { branch, .. } => say(format!("arm {branch}")),
            Event::BranchEnded { branch, verdict, .. } => say(format!("arm ended {branch} {verdict:?}")),
            Event::Deferred { branch, .. } => say(format!("deferred {branch}")),
            Event::CleanedUp { branch, failure, .. } => say(format!("cleaned up {branch} {failure:?}")),
            Event::Ended { status: Status::Done, result, .. } => trace.result = result.clone(),
            _ => {}
        }
    }
    trace
}

/// The line that an act writes into the ledger.
fn line(command: &Value) -> String {
    let words: Vec<&str> = command.as_str().unwrap().split([' ', ';']).collect();
    words[1].to_owned()
}

/// Decides about every act in doubt by what the ledger says.
pub(super) fn decisions(project: &Project, events: &[Event]) -> Vec<String> {
    let mut open: BTreeMap<Address, String> = BTreeMap::new();
    let mut accounted: BTreeMap<String, usize> = BTreeMap::new();
    for event in events {
        match event {
            Event::Intent { address, request, .. } if request.effect == "ssh.exec" => {
                open.insert(address.clone(), line(&request.request["command"]));
            }
            Event::Outcome { address, .. } => {
                if let Some(line) = open.remove(address) {
                    *accounted.entry(line).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    let ledger = ledger(project);
    let mut words = Vec::new();
    for (address, line) in open {
        let accounted = accounted.entry(line.clone()).or_default();
        let happened = ledger.get(&line).copied().unwrap_or_default() > *accounted;
        *accounted += usize::from(happened);
        words.extend([if happened { "--done" } else { "--again" }.to_owned(), address.to_string()]);
    }
    words
}

/// Kills the run after the first of these events, its resumption after the next, and so on; then resumes to the end.
fn interrupted(project: &Project, kills: &[i64]) {
    let mut arguments: Vec<String> = ["run", "crash", "--json"].map(str::to_owned).to_vec();
    for kill in kills {
        let mut command = project.command(&arguments);
        let command = command.env("NLRUN_TEST_KILL_AFTER", kill.to_string());
        let child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let code = finish(child.spawn().unwrap()).code;
        assert!(code == -1 || code == 3 || code == 0, "{kills:?} ended with {code}");
        if verified(&store(project), 1) == Status::Done {
            return; // It came to its end before this event, or the kill came right after its last one.
        }
        arguments = ["resume", "1", "--json"].map(str::to_owned).to_vec();
        arguments.extend(decisions(project, &events(&store(project), 1)));
    }
    settle(project);
}

/// Resumes run 1, deciding about acts in doubt by what the ledger says, until it is done.
pub(super) fn settle(project: &Project) {
    for _ in 0..40 {
        let mut arguments = ["resume", "1", "--json"].map(str::to_owned).to_vec();
        arguments.extend(decisions(project, &events(&store(project), 1)));
        let output = call(project, &arguments);
        if output.code != 3 {
            output.success();
            return;
        }
    }
    panic!("the run never ends");
}

/// How many files whose names begin as those that the runbook puts there are.
fn beside(project: &Project) -> usize {
    let entries = std::fs::read_dir(project.root()).unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().contains("managed")).count()
}

/// Tries every one of these lists of events on several threads.
fn each_crash(tries: i64, kills: impl Fn(i64) -> Vec<i64> + Sync) {
    let whole = project();
    call(&whole, ["run", "crash"]).success();
    let expected = trace(&events(&store(&whole), 1));
    let lines = ledger(&whole);
    let next = AtomicI64::new(1);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > tries {
                        return;
                    }
                    let kills = kills(number);
                    let project = project();
                    interrupted(&project, &kills);
                    let store = store(&project);
                    assert_eq!(verified(&store, 1), Status::Done, "{kills:?}");
                    assert_eq!(ledger(&project), lines, "{kills:?}: an act was lost or happened twice");
                    for (name, text) in [("managed", "managed for hello\n"), ("managed-h4", "h4\n")] {
                        assert_eq!(project.read(name), text, "{kills:?}");
                    }
                    assert_eq!(beside(&project), 5, "{kills:?}: half a file is left");
                    let mut found = trace(&events(&store, 1));
                    for (address, (_, verdict, value)) in &mut found.effects {
                        let wanted = &expected.effects[address];
                        // Of an act that a person decided about, only that it happened is known.
                        if value.is_null() {
                            (*verdict, *value) = (wanted.1, wanted.2.clone());
                        }
                    }
                    assert_eq!(found, expected, "{kills:?}");
                }
            });
        }
    });
}

/// How many events the uninterrupted run has.
fn whole() -> i64 {
    let project = project();
    call(&project, ["run", "crash"]).success();
    events(&store(&project), 1).len() as i64
}

#[test]
fn killed_after_every_event_a_run_ends_as_if_nothing_had_happened() {
    each_crash(whole() - 1, |number| vec![number]);
}

#[test]
fn killed_again_while_it_is_resumed_it_still_does() {
    // The resumption begins with two events of its own; the second kill hits different ones of the rest.
    let last = whole();
    let tries = last / 5;
    each_crash(tries, |number| {
        let first = number * 5 - 3;
        vec![first, first + 3 + number % 7, first + 12 + number % 5]
    });
}

#[test]
fn an_act_in_doubt_waits_for_a_decision_and_names_both_answers() {
    let project = Project::new().runbook(
        "once",
        r#"const NEEDS = ["ssh.exec"];
        let answer = ssh_exec("localhost", "echo act >> done");
        print(answer.out);"#,
    );
    let mut command = project.command(["run", "once"]);
    let child = command.env("NLRUN_TEST_KILL_AFTER", "2").stdout(std::process::Stdio::null());
    assert_eq!(finish(child.spawn().unwrap()).code, -1);
    let output = call(&project, ["resume", "1"]).ends(3);
    assert!(output.stderr.contains("--done 1") && output.stderr.contains("--again 1"), "{}", output.stderr);
    assert!(output.stderr.contains("runbooks/once.rhai:2"), "{}", output.stderr);
    assert_eq!(verified(&store(&project), 1), Status::InDoubt);
    let output = call(&project, ["resume", "1", "--done", "1"]).ends(1);
    assert!(output.stderr.contains("nobody knows what it answered"), "{}", output.stderr);
    assert_eq!(verified(&store(&project), 1), Status::Failed);
}

#[test]
fn a_resumed_run_ends_with_words_about_the_whole_of_it() {
    let text = "const NEEDS = [\"ssh.read\", \"ssh.exec\"];\nssh_read(\"localhost\", \"true\");\n\
                each(hosts(\"web\"), #{ parallel: 1 }, |h| ssh_exec(h, \"echo act >> done\"));\n\
                check(false, \"no\");";
    let project = Project::new().inventory(HOSTS).runbook("whole", text);
    let last = |stderr: &str| -> Vec<String> {
        let lines = stderr.lines().filter(|line| line.contains("reads, ") || line.starts_with("hosts:"));
        lines.map(|line| line.split(" · ").next().unwrap().replace("run 2", "run 1")).collect()
    };
    let mut command = project.command(["run", "whole"]);
    // After the first arm has ended.
    let child = command.env("NLRUN_TEST_KILL_AFTER", "7").stdout(std::process::Stdio::null());
    assert_eq!(finish(child.spawn().unwrap()).code, -1);
    let resumed = call(&project, ["resume", "1", "--junit", "resumed.xml"]).ends(1);
    let at_once = call(&project, ["run", "whole", "--junit", "whole.xml"]).ends(1);
    assert_eq!(last(&resumed.stderr), last(&at_once.stderr));
    assert_eq!(last(&resumed.stderr).len(), 2, "{}", resumed.stderr);
    let cases =
        |name: &str| project.read(name).matches("<testcase classname=\"runbooks/whole.rhai\"").count();
    assert_eq!((cases("resumed.xml"), cases("whole.xml")), (6, 6));
}

#[test]
fn the_intent_of_an_ensure_is_on_disk_before_it_is_performed() {
    let project = Project::new().runbook("puts", "");
    let target = project.path("target");
    let text = format!(
        r#"const NEEDS = ["file.put"];
        file_put("localhost", "{}", "new", #{{ validate: "echo %s > begun; until test -e go; do sleep 0.01; done" }});"#,
        target.display()
    );
    project.write("runbooks/puts.rhai", &text);
    let mut child = project.spawn(["run", "puts"]);
    until("the write has begun", || project.path("begun").exists());
    let begun = events(&store(&project), 1);
    let is_intent =
        |event: &Event| matches!(event, Event::Intent { request, .. } if request.effect == "file.put");
    assert!(begun.iter().any(is_intent), "{begun:?}");
    assert!(!target.exists());
    child.kill().unwrap();
    finish(child);
    project.write("go", "");
    call(&project, ["resume", "1"]).success();
    assert_eq!(project.read("target"), "new");
}

#[test]
fn a_script_that_ends_without_asking_for_all_that_is_recorded_is_stopped() {
    let text = "const NEEDS = [\"ssh.exec\"];\nssh_exec(\"localhost\", \"echo act >> done\");";
    let project = Project::new().runbook("once", text);
    let mut command = project.command(["run", "once"]);
    let child = command.env("NLRUN_TEST_KILL_AFTER", "3").stdout(std::process::Stdio::null());
    assert_eq!(finish(child.spawn().unwrap()).code, -1);
    let store = store(&project);
    let log = store.log(store.claim(RunId(1)).unwrap(), None);
    for mut event in events(&store, 1) {
        if let Event::Intent { address, .. } | Event::Outcome { address, .. } = &mut event {
            *address = Address::parse("99");
            log.append_durable_blocking(event).unwrap();
        }
    }
    drop(log);
    let output = call(&project, ["resume", "1"]).ends(3);
    assert!(output.stderr.contains("the journal has act `ssh.exec` at 99"), "{}", output.stderr);
}
