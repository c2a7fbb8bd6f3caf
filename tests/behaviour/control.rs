//! The course of a run: trying again, checks, locks, batches, hosts that cannot be reached, values that stay.

use std::process::{Child, Stdio};

use nlrun::model::event::{Event, Verdict};
use nlrun::model::run::{RunId, Status};
use serde_json::Value;

use super::{HOSTS, call, events, finish, ledger, of, store, verified};
use crate::support::project::{Project, until};
use crate::support::sshd::free_port;

fn project(body: &str) -> Project {
    let text = format!("const NEEDS = [\"ssh.read\", \"ssh.exec\"];\n{body}");
    Project::new().inventory(HOSTS).runbook("course", &text)
}

fn killed(project: &Project, after: i64) -> i32 {
    let mut command = project.command(["run", "course"]);
    let command = command.env("NLRUN_TEST_KILL_AFTER", after.to_string());
    finish(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()).code
}

#[test]
fn retry_tries_as_often_as_it_says_and_warns_each_time() {
    let body = r#"
        let n = retry(#{ times: 4, delay: "1ms", backoff: 2 }, || {
            ssh_exec("h1", "echo try >> done; test $(wc -l < done) -ge 3");
            7
        });
        print(`got ${n}`);
        try { retry(#{ times: 2, delay: "1ms" }, || fail("never")) } catch (e) { print(`gave up: ${e.message}`) }"#;
    let project = project(body);
    let lines = call(&project, ["run", "course", "--json"]).success().json_lines();
    assert_eq!(ledger(&project)["try"], 3);
    let said: Vec<&str> = of(&lines, "message").map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(said.iter().filter(|text| text.starts_with("try ")).count(), 3, "{said:?}");
    assert!(said.contains(&"got 7") && said.contains(&"gave up: never"), "{said:?}");
}

#[test]
fn retries_that_are_interrupted_are_not_tried_more_often() {
    let body = r#"
        try {
            retry(#{ times: 50, delay: "30ms", timeout: "100ms" }, || {
                ssh_read("h1", "echo read >> reads; sleep 0.02; exit 1");
            });
        } catch { }
        ssh_exec("h1", "echo after >> done");"#;
    let whole = project(body);
    call(&whole, ["run", "course"]).success();
    let last = events(&store(&whole), 1).len() as i64;
    // Also right before the act that follows, when only the journal still knows how long everything took. How many
    // tries fit into the time is up to the machine, so a run may be over before it comes to a late event.
    for at in [3, 5, last - 3, last - 2, last - 1] {
        let project = project(body);
        if killed(&project, at) != -1 {
            assert!(at > 5, "every run has more than {at} events");
            continue;
        }
        if verified(&store(&project), 1) == Status::Done {
            continue; // The event after which it was killed was its last.
        }
        let mut output = call(&project, ["resume", "1"]);
        if output.code == 3 {
            let address =
                events(&store(&project), 1).iter().rev().find_map(|e| e.address().cloned()).unwrap();
            let decision = if ledger(&project).is_empty() { "--again" } else { "--done" };
            output = call(&project, ["resume", "1", decision, address.as_str()]);
        }
        output.success();
        assert_eq!(ledger(&project)["after"], 1);
    }
}

#[test]
fn wait_until_ends_with_a_value_or_with_a_time_out() {
    let project = project(
        r#"
        let n = 0;
        let got = wait_until(#{ delay: "1ms", timeout: "20s" }, || {
            ssh_exec("h1", "echo look >> done");
            if ssh_read("h1", "wc -l < done").out.contains("4") { "there" }
        });
        print(got);
        try { wait_until(#{ delay: "10ms", timeout: "50ms" }, || false) } catch (e) { print(e.kind) }"#,
    );
    let output = call(&project, ["run", "course"]).success();
    assert_eq!(ledger(&project)["look"], 4);
    assert!(output.stdout.contains("there\n") && output.stdout.contains("timed_out\n"), "{}", output.stdout);
}

#[test]
fn a_failed_check_is_collected_and_fails_the_run_at_its_end() {
    let project = project(
        r#"check(1 == 2, "the first"); warn("only a warning"); check(true, "fine");
        ssh_exec("h1", "echo after >> done"); check(false, "the second");"#,
    );
    let output = call(&project, ["run", "course"]).ends(1);
    assert_eq!(ledger(&project)["after"], 1);
    for words in ["2 checks failed", "the first"] {
        assert!(output.stderr.contains(words), "{}", output.stderr);
    }
    assert!(output.stdout.contains("the second") && output.stdout.contains("only a warning"));
    call(&super::control::project("warn(\"x\");"), ["run", "course"]).success();
    let failed = call(&super::control::project("fail(\"because\");"), ["run", "course"]).ends(1);
    assert!(failed.stderr.contains("because"), "{}", failed.stderr);
}

#[test]
fn a_host_that_cannot_be_reached_is_named_and_the_others_go_on() {
    let port = free_port();
    let inventory = format!("{HOSTS}  far: {{hosts: [gone]}}\n")
        .replace("hosts:\n  h1", &format!("hosts:\n  gone: {{address: 127.0.0.1, port: {port}}}\n  h1"));
    let text = r#"const NEEDS = ["ssh.exec"];
        let results = each(hosts("web,gone"), |h| ssh_exec(h, `echo ${h.name} >> done`).ok);
        for r in results { print(`${r.host} ${r.status} ${r.unreachable}`) }
        let all = ssh_exec(hosts("h1,gone"), "true");
        for r in all { print(`all ${r.host} ${r.ok} ${r.error?.kind}`) }"#;
    let project = Project::new().inventory(&inventory).runbook("course", text);
    let output = call(&project, ["run", "course"]).ends(4);
    for words in ["gone unreachable true", "h1 changed false", "all gone false refused", "all h1 true"] {
        assert!(output.stdout.contains(words), "{words}\n{}", output.stdout);
    }
    assert!(output.stderr.contains("unreachable: gone"), "{}", output.stderr);
    assert_eq!(ledger(&project).len(), 4);
    let row = store(&project).reader().unwrap().run(RunId(1)).unwrap();
    assert_eq!(
        (row.summary.hosts["gone"], row.summary.hosts["h4"]),
        (Verdict::Unreachable, Verdict::Changed)
    );
    // One host alone is a failure of the run, not a part of it.
    project.write("runbooks/course.rhai", "const NEEDS = [\"ssh.exec\"]; ssh_exec(\"gone\", \"true\");");
    let output = call(&project, ["run", "course"]).ends(1);
    assert!(output.stderr.contains("gone") && output.stderr.contains("refused"), "{}", output.stderr);
}

/// Names of hosts in the order in which they began.
fn order(project: &Project) -> Vec<String> {
    std::fs::read_to_string(project.path("done")).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn batches_canaries_and_too_many_failures() {
    let body = |options: &str, fails: &str| {
        format!(
            "let r = each(hosts(\"web\"), #{{ {options} }}, |h| {{
                ssh_exec(h, `echo ${{h.name}} >> done`);
                if [{fails}].contains(h.name) {{ fail(\"bad\") }}
            }});
            print(`statuses ${{r.map(|x| x.status)}}`);"
        )
    };
    let all = ["h1", "h2", "h3", "h4"];
    for (options, fails, code, begun) in [
        ("serial: 1", "", 0, &all[..]),
        ("serial: 2, parallel: 1", "", 0, &all[..]),
        ("canary: 1, max_failures: 0, parallel: 1", "\"h1\"", 4, &all[..1]),
        ("serial: 1, max_failures: 0", "\"h2\"", 4, &all[..2]),
        ("serial: 1, max_failures: 1", "\"h1\"", 4, &all[..]),
        ("serial: 1, max_failures: 1", "\"h1\", \"h2\"", 4, &all[..2]),
        ("serial: 1, max_failures: \"50%\"", "\"h1\", \"h2\", \"h3\"", 4, &all[..3]),
        ("parallel: 1", "\"h1\", \"h2\", \"h3\", \"h4\"", 4, &all[..]),
    ] {
        let project = project(&body(options, fails));
        let output = call(&project, ["run", "course"]).ends(code);
        assert_eq!(order(&project), begun, "{options}");
        let left_out = output.stdout.matches("skipped").count() > 0;
        assert_eq!(left_out, begun.len() < 4, "{options}\n{}", output.stdout);
    }
    for options in ["serial: 0", "serial: \"x\"", "max_failures: -1", "canary: \"200%\"", "parallel: 0"] {
        let project = project(&body(options, ""));
        let output = call(&project, ["run", "course"]);
        assert!(output.code == 1 || output.code == 64, "{options}\n{output:?}");
        assert!(order(&project).is_empty(), "{options}");
    }
}

#[test]
fn who_was_left_out_stays_left_out_when_the_run_is_resumed() {
    // `h1` is slow to fail, so that `h2` and `h3` go on; after the crash it fails at once.
    let body = r#"
        let r = each(hosts("web"), #{ parallel: 2, max_failures: 0 }, |h| {
            if h.name == "h1" { ssh_exec(h, "until test -e go; do sleep 0.01; done; echo h1 >> done; exit 1") }
            if h.name == "h3" { ssh_exec(h, "touch go; until grep -q h1 done; do sleep 0.01; done; sleep 0.1") }
            ssh_exec(h, `echo ${h.name} >> done`);
        });
        print(`statuses ${r.map(|x| x.status)}`);
        ssh_exec("other", "echo end >> done");"#;
    let whole = project(body);
    let output = call(&whole, ["run", "course"]).ends(4);
    let statuses = |stdout: &str| stdout.lines().find(|l| l.starts_with("statuses")).map(str::to_owned);
    assert!(statuses(&output.stdout).unwrap().contains("skipped"), "{}", output.stdout);
    let events = events(&store(&whole), 1);
    let end = events.iter().position(|event| matches!(event, Event::Message { .. })).unwrap() as i64;
    for _ in 0..3 {
        let project = project(body);
        assert_eq!(killed(&project, end), -1);
        assert!(!ledger(&project).contains_key("h4"));
        let output = call(&project, ["resume", "1"]).ends(4);
        assert_eq!(statuses(&output.stdout), statuses(&call(&whole, ["replay", "1"]).stdout));
        let done = ledger(&project);
        assert_eq!((done["h1"], done["h2"], done["h3"], done.get("h4")), (1, 1, 1, None));
    }
}

#[test]
fn each_goes_through_named_items_as_through_hosts() {
    let body = r#"
        let items = [
            #{ name: "one [a/b]", at: "h1", word: "first" }, #{ name: "two", at: "h2", word: "second" },
            #{ name: "bad", at: "h1", word: "third" }, #{ name: "off", at: "h1", word: "" },
        ];
        let results = each(items, #{ parallel: 2 }, |item| {
            if item.word == "" { skip_host("not today") }
            if item.name == "bad" { fail("no good") }
            ssh_exec(item.at, `echo ${item.word} >> done`);
            warn("told");
            item.word.len()
        });
        for r in results { print(`${r.host}: ${r.status} ${r.value} ${r.error?.message}`) }"#;
    let project = project(body);
    let output = call(&project, ["run", "course"]).ends(4);
    for words in [
        "one [a/b]: changed 5",
        "two: changed 6",
        "bad: failed  no good",
        "off: skipped  not today",
        "two | warning: told",
    ] {
        assert!(output.stdout.contains(words), "{words}\n{}", output.stdout);
    }
    assert!(output.stderr.contains("failed: bad"), "{}", output.stderr);
    assert_eq!(ledger(&project).len(), 2);
    let store = store(&project);
    let mut addresses: Vec<String> = events(&store, 1)
        .into_iter()
        .filter_map(|event| match event {
            Event::Intent { address, .. } => Some(address.to_string()),
            _ => None,
        })
        .collect();
    addresses.sort();
    assert_eq!(addresses, ["1[one _a_b_]/1", "1[two]/1"]);
    let summary = store.reader().unwrap().run(RunId(1)).unwrap().summary;
    assert_eq!((summary.hosts["two"], summary.hosts["bad"]), (Verdict::Changed, Verdict::Failed));
    let found = call(&project, ["log", "1", "--host", "two"]).success().stdout;
    assert!(found.contains("two | warning: told") && !found.contains("one"), "{found}");
    assert_eq!(call(&project, ["replay", "1"]).ends(4).stdout.matches("two: changed 6").count(), 1);

    for (items, code, words) in [
        ("[#{ name: \"x\" }, #{ name: \"x\" }]", 1, "goes through `x` twice"),
        ("[#{ name: \"a/b\" }, #{ name: \"a_b\" }]", 1, "goes through `a_b` twice"),
        ("[\"h1\", #{ name: \"h1\" }]", 1, "goes through `h1` twice"),
        ("[#{ host: \"h1\" }]", 1, "wants a text as `name` of each map"),
        ("[#{ name: \"x\", at: true }]", 1, "a text, a number or a host at the key that `in_turn` names"),
        ("[7]", 1, "a host"),
        ("\"h1\"", 64, "an array of hosts, or of maps with a `name`"),
    ] {
        let text =
            format!("each({items}, #{{ in_turn: \"at\" }}, |item| ssh_exec(\"h1\", \"echo act >> done\"));");
        let project = super::control::project(&text);
        let output = call(&project, ["run", "course"]).ends(code);
        assert!(output.stderr.contains(words), "{items}\n{}", output.stderr);
        assert!(ledger(&project).is_empty(), "{items}");
    }
    let project = super::control::project("ssh_exec([\"h1\", \"h2\", \"h1\"], \"echo act >> done\");");
    let output = call(&project, ["run", "course"]).ends(1);
    assert!(output.stderr.contains("`ssh_exec` goes through `h1` twice"), "{}", output.stderr);
    assert!(ledger(&project).is_empty());
}

#[test]
fn what_goes_in_turn_is_never_at_work_at_once_and_the_others_are() {
    let inventory = "hosts:\n  a1: {transport: local, vars: {rack: a}}\n  a2: {transport: local, vars: {rack: a}}\n  \
                     b1: {transport: local, vars: {rack: b}}\n  b2: {transport: local, vars: {rack: b}}\n  \
                     c1: {transport: local}\n  other: {transport: local}\n\
                     groups:\n  all_racks: {hosts: [a1, a2, b1, b2, c1]}\n";
    let named = "[#{ name: \"a1\", rack: \"a\" }, #{ name: \"a2\", rack: \"a\" }, #{ name: \"b1\", rack: \"b\" }, \
                 #{ name: \"b2\", rack: \"b\" }, #{ name: \"c1\" }]";
    for over in ["hosts(\"all_racks\")", named] {
        // The first ends only when all others but the second of its rack have ended.
        let text = format!(
            r#"const NEEDS = ["ssh.exec"];
            let results = each({over}, #{{ parallel: 5, in_turn: "rack" }}, |h| {{
                let rack = h.name.sub_string(0, 1);
                ssh_exec("other", `mkdir at-${{rack}} || exit 9
                    if test ${{h.name}} = a1; then until grep -q b2 done && grep -q c1 done; do sleep 0.01; done; fi
                    echo ${{h.name}} >> done; rmdir at-${{rack}}`);
            }});
            for r in results {{ print(`${{r.host}} ${{r.status}}`) }}"#
        );
        let project = Project::new().inventory(inventory).runbook("course", &text).file("done", "");
        let output = call(&project, ["run", "course"]).success();
        let told: Vec<&str> = output.stdout.lines().filter(|line| line.ends_with(" changed")).collect();
        assert_eq!(told, ["a1 changed", "a2 changed", "b1 changed", "b2 changed", "c1 changed"], "{over}");
        let order = order(&project);
        assert_eq!(&order[3..], ["a1", "a2"], "{over}");
        let place = |name: &str| order.iter().position(|line| line == name);
        assert!(place("b1") < place("b2"), "{order:?}");
    }
}

#[test]
fn now_and_random_stay_what_they_were_when_the_run_is_resumed() {
    let body = r#"
        let seen = `${now().ms} ${random(1000000000)} ${random(1000000000)}`;
        print(seen);
        ssh_exec("h1", "echo act >> done");
        print(seen);"#;
    let project = project(body);
    // After the first message: eight events before it.
    assert_eq!(killed(&project, 8), -1);
    call(&project, ["resume", "1"]).success();
    let said: Vec<String> = events(&store(&project), 1)
        .into_iter()
        .filter_map(|event| match event {
            Event::Message { text, .. } => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(said.len(), 2);
    assert_eq!(said[0], said[1]);
}

fn begin(project: &Project) -> Child {
    project.spawn(["run", "course", "--json"])
}

#[test]
fn a_lock_lets_one_run_in_at_a_time() {
    let project = project(
        r#"lock("switch", || {
            ssh_exec("h1", "mkdir held && sleep 0.3 && rmdir held && echo done >> done");
        });"#,
    );
    let children: Vec<Child> = (0..3).map(|_| begin(&project)).collect();
    let mut waited = 0;
    for child in children {
        let lines = finish(child).success().json_lines();
        waited = waited.max(of(&lines, "lock").filter_map(|line| line["waited_ms"].as_i64()).max().unwrap());
    }
    assert_eq!(ledger(&project)["done"], 3);
    assert!(waited >= 300, "{waited}");
}

#[test]
fn a_lock_that_is_held_too_long_names_its_holder_and_a_dead_holder_gives_it_back() {
    let project = project(
        r#"lock("switch", #{ wait: "300ms" }, || {
            ssh_exec("h1", "touch inside; until test -e go; do sleep 0.01; done; echo done >> done");
        });"#,
    );
    let first = begin(&project);
    until("the first holds the lock", || project.path("inside").exists());
    let output = call(&project, ["run", "course"]).ends(1);
    assert!(output.stderr.contains("lock `switch` is held by run 1 (process"), "{}", output.stderr);
    let pid = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    finish(first);
    project.write("go", "");
    call(&project, ["run", "course"]).success();
}

#[test]
fn locks_of_the_header_are_held_from_start_to_end() {
    let text = r#"const NEEDS = ["ssh.exec"]; const LIMITS = #{ locks: ["cluster/nl", "a"] };
        ssh_exec("localhost", "touch inside; until test -e go; do sleep 0.01; done; echo done >> done");"#;
    let project = Project::new().runbook("course", text);
    let first = begin(&project);
    until("the first holds the lock", || project.path("inside").exists());
    let output = call(&project, ["run", "course"]).ends(3);
    assert!(output.stderr.contains("is held by run 1 (process"), "{}", output.stderr);
    project.write("go", "");
    finish(first).success();
    call(&project, ["run", "course"]).success();
    assert_eq!(ledger(&project)["done"], 2);
    let status = |run| verified(&store(&project), run);
    assert_eq!([status(1), status(2), status(3)], [Status::Done, Status::Stopped, Status::Done]);
}

#[test]
fn an_approval_needs_a_person() {
    let project = project("approve(\"Go on?\"); ssh_exec(\"h1\", \"echo act >> done\");");
    let output = call(&project, ["run", "course"]).ends(3);
    assert!(output.stderr.contains("Go on?"), "{}", output.stderr);
    assert!(ledger(&project).is_empty());
    call(&project, ["run", "course", "--yes"]).success();
    assert_eq!(ledger(&project)["act"], 1);
}

#[test]
fn the_result_of_a_run_is_in_its_last_event() {
    let project = project("each(hosts(\"h1,h2\"), |h| if h.name == \"h2\" { skip_host(\"no\") } else { 5 })");
    let lines = call(&project, ["run", "course", "--json"]).success().json_lines();
    let result: &Value = &of(&lines, "ended").next().unwrap()["result"];
    assert_eq!((&result[0]["value"], &result[1]["status"]), (&Value::from(5), &Value::from("skipped")));
}
