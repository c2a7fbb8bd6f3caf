//! Plan mode reads and writes nothing; a plan is applied once, exactly, and stops before what it did not promise.

use nlrun::model::run::Status;
use serde_json::{Value, json};

use super::{HOSTS, call, ledger, of, store, verified};
use crate::support::project::Project;

const RUNBOOK: &str = r#"
const NEEDS = ["ssh.read", "ssh.exec"];
ssh_read("h1", "echo read >> reads");
ssh_exec("h1", "echo one >> done");
ssh_exec("h2", "echo two >> done");
each(hosts("web"), |h| ssh_exec(h, `echo ${h.name} >> done`));
artifact("notes.txt", "kept");
"#;

/// Reads the answer of an act, so that its plan ends there.
const INCOMPLETE: &str = r#"
const NEEDS = ["ssh.read", "ssh.exec"];
ssh_exec("h1", "echo one >> done");
let answer = ssh_exec("h1", "echo two >> done; echo answer");
if answer.out.contains("answer") {
    ssh_exec("h1", "echo three >> done");
}
"#;

fn project(text: &str) -> Project {
    Project::new().inventory(HOSTS).runbook("changes", text)
}

fn edit(project: &Project, change: impl FnOnce(&mut Value)) {
    let mut plan: Value = serde_json::from_str(&project.read("plan.json")).unwrap();
    change(&mut plan);
    project.write("plan.json", &plan.to_string());
}

#[test]
fn a_plan_reads_and_lists_and_does_nothing() {
    let project = project(RUNBOOK);
    let lines = call(&project, ["plan", "changes", "--json"]).success().json_lines();
    assert!(ledger(&project).is_empty());
    assert_eq!(project.read("reads").lines().count(), 1);
    let listed: Vec<&str> = of(&lines, "forecast").map(|line| line["address"].as_str().unwrap()).collect();
    assert_eq!(listed.len(), 6, "{listed:?}");
    let output = call(&project, ["plan", "changes"]).success();
    for words in ["act", "ssh.exec", "echo one", "echo two", "h4", "run 2 planned"] {
        assert!((output.stdout.clone() + &output.stderr).contains(words), "{words}\n{}", output.stdout);
    }
    call(&project, ["plan", "changes", "--exit-code"]).ends(2);
    let reads =
        Project::new().runbook("reads", "const NEEDS = [\"ssh.read\"]; ssh_read(\"localhost\", \"true\");");
    call(&reads, ["plan", "reads", "--exit-code"]).success();
    assert_eq!(verified(&store(&project), 1), Status::Done);
}

#[test]
fn a_plan_that_was_interrupted_is_made_anew_and_nothing_offers_more() {
    let project = project(RUNBOOK);
    let mut command = project.command(["plan", "changes"]);
    let child = command.env("NLRUN_TEST_KILL_AFTER", "4").stdout(std::process::Stdio::null());
    assert_eq!(super::finish(child.spawn().unwrap()).code, -1);
    let anew = "make a new one with `nlrun plan runbooks/changes.rhai` and the same parameters";
    let swept = call(&project, ["runs"]).success();
    assert_eq!(verified(&store(&project), 1), Status::Interrupted);
    let refused = call(&project, ["resume", "1"]).ends(64);
    assert!(refused.stderr.contains("run 1 is a plan, and a plan is not resumed"), "{}", refused.stderr);
    let refused_json = call(&project, ["resume", "1", "--json"]).ends(64);
    assert!(refused_json.stdout.contains(anew), "{}", refused_json.stdout);
    let shown = call(&project, ["show", "1"]).success();
    let told = [&swept, &refused, &shown].map(|output| output.stdout.clone() + &output.stderr);
    for text in told {
        assert!(text.contains(anew) && !text.contains("nlrun resume"), "{text}");
    }
    let doctor = call(&project, ["doctor"]).success().stdout;
    assert!(doctor.contains("is interrupted") && !doctor.contains("nlrun resume"), "{doctor}");
    // Nobody will ever go on with it, so it need not be kept for that.
    assert_eq!(call(&project, ["db", "prune", "--runs", "0", "--json"]).success().json()["runs"], json!([1]));
    assert!(ledger(&project).is_empty());
}

#[test]
fn a_plan_is_applied_once_and_does_what_it_says() {
    let project = project(RUNBOOK);
    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    // The plan pins the scripts: what is edited afterwards does not count.
    project
        .write("runbooks/changes.rhai", "const NEEDS = [\"*\"]; ssh_exec(\"h1\", \"echo other >> done\");");
    call(&project, ["apply", "plan.json"]).success();
    let done = ledger(&project);
    assert_eq!(done.values().sum::<usize>(), 6, "{done:?}");
    assert!(!done.contains_key("other"));
    let output = call(&project, ["apply", "plan.json"]).ends(3);
    assert!(output.stderr.contains("already applied, by run 2"), "{}", output.stderr);
    // The same plan with other spaces is the same plan.
    edit(&project, |_| {});
    call(&project, ["apply", "plan.json"]).ends(3);
    assert_eq!(ledger(&project), done);
}

#[test]
fn an_incomplete_plan_names_the_line_and_ends_there_unless_told_to_go_on() {
    let project = project(INCOMPLETE);
    let output = call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    assert!(output.stderr.contains("runbooks/changes.rhai:4"), "{}", output.stderr);
    call(&project, ["plan", "changes", "--exit-code"]).ends(2);
    let output = call(&project, ["apply", "plan.json"]).ends(3);
    assert!(output.stderr.contains("runbooks/changes.rhai:4"), "{}", output.stderr);
    assert!(output.stderr.contains("--beyond"), "{}", output.stderr);
    let done = ledger(&project);
    assert_eq!((done["one"], done["two"], done.get("three")), (1, 1, None));

    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    call(&project, ["apply", "plan.json", "--beyond"]).success();
    assert_eq!(ledger(&project)["three"], 1);
}

#[test]
fn an_expected_answer_lets_a_plan_go_on_and_the_real_one_must_then_be_as_planned() {
    let text = INCOMPLETE.replace("echo answer\");", "echo answer\", #{ expect: #{ out: \"answer\" } });");
    let project = project(&text);
    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    let plan: Value = serde_json::from_str(&project.read("plan.json")).unwrap();
    assert_eq!((plan["effects"].as_array().unwrap().len(), &plan["incomplete"]), (3, &Value::Null));
    call(&project, ["apply", "plan.json"]).success();
    assert_eq!(ledger(&project).len(), 3);
}

#[test]
fn what_the_plan_does_not_promise_is_stopped_before_it_is_done() {
    type Change = fn(&mut Value);
    let table: [(&str, Change, &[&str]); 4] = [
        (
            "another request",
            |plan| plan["effects"][1]["request"]["command"] = json!("echo tampered >> done"),
            &["one"],
        ),
        (
            "a missing effect",
            |plan| {
                plan["effects"].as_array_mut().unwrap().remove(1);
            },
            &["one"],
        ),
        ("another effect", |plan| plan["effects"][0]["effect"] = json!("host.reboot"), &[]),
        (
            "another script",
            |plan| {
                let text = RUNBOOK.replace("echo two", "echo tampered");
                plan["sources"]["runbooks/changes.rhai"] = json!(text);
            },
            &["one"],
        ),
    ];
    for (what, change, expected) in table {
        let project = project(RUNBOOK);
        call(&project, ["plan", "changes", "-o", "plan.json"]).success();
        edit(&project, change);
        let output = call(&project, ["apply", "plan.json"]).ends(3);
        assert!(output.stderr.contains("the plan has"), "{what}\n{}", output.stderr);
        assert!(output.stderr.contains("make a new plan"), "{what}\n{}", output.stderr);
        let done: Vec<String> = ledger(&project).into_keys().collect();
        assert_eq!(done, expected, "{what}");
        assert_eq!(verified(&store(&project), 2), Status::Stopped);
    }
}

#[test]
fn what_is_no_plan_is_refused() {
    let project = project(RUNBOOK);
    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    let plan = project.read("plan.json");
    for text in ["", "{", "[]", "{\"format\": 1}", &plan.replace("\"format\": 1", "\"format\": 99")] {
        project.write("broken.json", text);
        let output = call(&project, ["apply", "broken.json"]).ends(64);
        assert!(output.stderr.contains("broken.json"), "{}", output.stderr);
    }
    call(&project, ["apply", "nowhere.json"]).ends(64);
    assert!(ledger(&project).is_empty());
}

#[test]
fn a_plan_that_is_interrupted_while_it_is_applied_stays_bound_when_it_is_resumed() {
    let project = project(RUNBOOK);
    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    let effects = |plan: &mut Value| {
        plan["effects"].as_array_mut().unwrap().retain(|effect| effect["target"] != "h2");
    };
    edit(&project, effects);
    let mut command = project.command(["apply", "plan.json"]);
    // Right after the outcome of the first act.
    let child = command.env("NLRUN_TEST_KILL_AFTER", "5").stdout(std::process::Stdio::null()).spawn();
    assert_eq!(super::finish(child.unwrap()).code, -1);
    let output = call(&project, ["resume", "2"]).ends(3);
    assert!(output.stderr.contains("the plan has nothing"), "{}", output.stderr);
    assert_eq!(ledger(&project).into_keys().collect::<Vec<_>>(), ["one"]);
}

#[test]
fn an_answer_that_nobody_has_is_never_part_of_a_text() {
    for body in [
        "ssh_exec(\"h1\", `echo ${answer} >> done`);",
        "let t = [answer]; print(t); ssh_exec(\"h1\", \"echo after >> done\");",
        "if answer == 1 { ssh_exec(\"h1\", \"echo after >> done\"); }",
        "if answer.ok { ssh_exec(\"h1\", \"echo after >> done\"); }",
        "print(\"x\" + answer); ssh_exec(\"h1\", \"echo after >> done\");",
        "report(#{ answer: answer }); ssh_exec(\"h1\", \"echo after >> done\");",
        "try { print(`${answer}`) } catch { } ssh_exec(\"h1\", \"echo after >> done\");",
    ] {
        let header = "const NEEDS = [\"ssh.exec\"];\nlet answer = ssh_exec(\"h1\", \"echo one >> done\");\n";
        let project = project(&format!("{header}{body}"));
        let lines = call(&project, ["plan", "changes", "--json"]).json_lines();
        let planned: Vec<String> = of(&lines, "forecast").map(|line| line["request"].to_string()).collect();
        assert_eq!(planned.len(), 1, "{body}\n{planned:?}");
        let ended = of(&lines, "ended").next().unwrap();
        assert!(ended["incomplete"].is_string() || ended["status"] == "failed", "{body}\n{ended}");
    }
}

#[test]
fn a_file_that_changed_since_the_plan_is_not_written() {
    let project = project("");
    let target = project.path("target.conf");
    let target = target.display();
    let project = project.runbook(
        "changes",
        &format!(
            "const NEEDS = [\"file.put\", \"ssh.exec\"];\nssh_exec(\"h1\", \"echo before >> done\");\n\
             file_put(\"h1\", \"{target}\", \"new\\n\");\nssh_exec(\"h1\", \"echo after >> done\");"
        ),
    );
    project.write("target.conf", "old\n");
    let planned = call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    assert!(planned.stdout.contains("-old") && planned.stdout.contains("+new"), "{}", planned.stdout);
    project.write("target.conf", "edited by somebody\n");
    let output = call(&project, ["apply", "plan.json"]).ends(3);
    for words in ["target.conf` is not as the plan saw it", "sha256 was ", "nlrun plan runbooks/changes.rhai"]
    {
        assert!(output.stderr.contains(words), "{words}\n{}", output.stderr);
    }
    assert_eq!(project.read("target.conf"), "edited by somebody\n");
    let ledger = ledger(&project);
    assert_eq!((ledger.get("before"), ledger.get("after")), (Some(&1), None));
}

#[test]
fn what_an_act_brings_stops_the_plan_and_a_new_one_goes_on_from_there() {
    let project = project("");
    let target = project.path("brought.conf");
    let target = target.display();
    let project = project.runbook(
        "changes",
        &format!(
            "const NEEDS = [\"file.put\", \"ssh.exec\"];\n\
             ssh_exec(\"h1\", \"echo act >> done; echo shipped > {target}\", #{{ creates: \"{target}\" }});\n\
             defer(|| ssh_exec(\"h1\", \"echo cleaned >> done\"));\n\
             file_put(\"h1\", \"{target}\", \"ours\\n\");\nssh_exec(\"h1\", \"echo after >> done\");"
        ),
    );
    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    let output = call(&project, ["apply", "plan.json"]).ends(3);
    for words in
        ["brought.conf` is not as the plan saw it", "type was `absent` and is `file`", "may have brought"]
    {
        assert!(output.stderr.contains(words), "{words}\n{}", output.stderr);
    }
    assert_eq!(verified(&store(&project), 2), Status::Stopped);
    assert_eq!(project.read("brought.conf"), "shipped\n");
    assert_eq!((ledger(&project)["cleaned"], ledger(&project).get("after")), (1, None));

    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    call(&project, ["apply", "plan.json"]).success();
    assert_eq!(project.read("brought.conf"), "ours\n");
    assert_eq!((ledger(&project)["act"], ledger(&project)["after"]), (1, 1));
}

#[test]
fn a_secret_content_that_differs_from_the_plan_is_not_told() {
    let project = project("").variable("NLRUN_SECRET_PIN", "4711-secret");
    let target = project.path("pin");
    let target = target.display();
    let project = project.runbook(
        "changes",
        &format!(
            "const NEEDS = [\"file.put\", \"secret.read\"];\n\
             file_put(\"h1\", \"{target}\", secret(\"pin\"));"
        ),
    );
    project.write("pin", "4711-secret");
    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    project.write("pin", "another");
    let output = call(&project, ["apply", "plan.json"]).ends(3);
    assert!(output.stderr.contains("content was `same` and is `different`"), "{}", output.stderr);
    for part in ["4711", "another`", "sha256"] {
        assert!(!output.stderr.contains(part), "{part}\n{}", output.stderr);
    }
}

#[test]
fn a_plan_of_effects_on_one_tree_is_applied_as_it_is() {
    let project = project("");
    let (www, old) = (project.path("www"), project.path("old"));
    let (www, old) = (www.display(), old.display());
    let project = project.file("site/index.html", "<p>\n").file("old/x", "old\n").runbook(
        "changes",
        &format!(
            "const NEEDS = [\"file.*\", \"dir.ensure\"];\n\
             dir_ensure(\"h1\", \"{www}\", #{{ mode: \"0750\" }});\n\
             tree_put(\"h1\", \"{www}\", \"site\");\n\
             line_ensure(\"h1\", \"{www}/index.html\", \"</p>\");\n\
             file_absent(\"h1\", \"{old}\", #{{ recursive: true }});\n\
             file_put(\"h1\", \"{old}/x\", \"new\\n\", #{{ parents: true }});"
        ),
    );
    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    call(&project, ["apply", "plan.json"]).success();
    assert_eq!(
        (project.read("www/index.html"), project.read("old/x")),
        ("<p>\n</p>\n".into(), "new\n".into())
    );
}

#[test]
fn a_file_that_was_written_right_before_a_crash_does_not_keep_the_plan_from_being_finished() {
    let project = project("");
    let target = project.path("target.conf");
    project.write(
        "runbooks/changes.rhai",
        &format!(
            "const NEEDS = [\"file.put\", \"ssh.exec\"];\nfile_put(\"h1\", \"{}\", \"new\\n\");\n\
             ssh_exec(\"h1\", \"echo after >> done\");",
            target.display()
        ),
    );
    project.write("target.conf", "old\n");
    call(&project, ["plan", "changes", "-o", "plan.json"]).success();
    for (content, code) in [("edited by somebody\n", 3), ("new\n", 0)] {
        project.write("target.conf", "old\n");
        let run = if code == 3 { "2" } else { "3" };
        // The same effects in a plan of its own, since each is applied once.
        edit(&project, |plan| plan["made_at"] = json!(code));
        let mut command = project.command(["apply", "plan.json"]);
        // Right after the intent of the write: it may have happened or not.
        let child = command.env("NLRUN_TEST_KILL_AFTER", "2").stdout(std::process::Stdio::null()).spawn();
        assert_eq!(super::finish(child.unwrap()).code, -1);
        project.write("target.conf", content);
        let output = call(&project, ["resume", run]).ends(code);
        assert_eq!(output.stderr.contains("is not as the plan saw it"), code == 3, "{}", output.stderr);
        assert_eq!(project.read("target.conf"), content);
    }
    assert_eq!(ledger(&project)["after"], 1);
}
