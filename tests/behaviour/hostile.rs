//! Scripts that mean harm, or have a bug that looks like it: each ends by itself, in bounded time and memory.

use std::time::{Duration, Instant};

use super::{HOSTS, call, finish, ledger, of, store, verified};
use crate::support::project::Project;
use nlrun::model::run::Status;

#[test]
fn each_ends_with_a_sentence() {
    let deep = "if true {".repeat(3000) + &"}".repeat(3000);
    let parentheses = format!("let x = {}1{};", "(".repeat(5000), ")".repeat(5000));
    let huge = format!("let x = \"{}\";", "a".repeat(5 << 20));
    let long = format!("let x = [{}1];", "1,".repeat(1 << 20));
    let functions = "fn f(a){".repeat(2000);
    let table: [(&str, i32, &str); 14] = [
        ("const LIMITS = #{ operations: 100000 }; loop { }", 1, "more than 100000 operations"),
        (
            "const LIMITS = #{ operations: 100000 }; loop { try { let x = 1; } catch { } }",
            1,
            "more than 100000 operations",
        ),
        ("const LIMITS = #{ timeout: \"1s\" }; loop { try { loop { } } catch { } }", 5, "longer than 1s"),
        ("let s = \"x\"; loop { s += s; }", 1, "a value grows too large"),
        ("let a = [1]; loop { a = [a, a, a, a]; }", 1, "a value grows too large"),
        ("let m = #{ a: 1 }; loop { m = #{ a: m, b: m, c: m }; }", 1, "a value grows too large"),
        ("fn f(n) { f(n + 1) } f(0)", 1, "too deep"),
        ("fn f(n) { let g = |x| f(x + 1); g.call(n) } f(0)", 1, "too deep"),
        ("fn f(n) { each(hosts(\"h1\"), |h| f(n + 1)) } f(0)", 1, "too deep"),
        (&deep, 64, "nested too deep"),
        (&parentheses, 64, "nested too deep"),
        (&huge, 64, "larger than 4 MiB"),
        (&long, 64, "exceeds the maximum limit"),
        (&functions, 64, "defined inside a block"),
    ];
    for (script, code, sentence) in table {
        let project = Project::new().inventory(HOSTS).runbook("hostile", script);
        let begun = Instant::now();
        let output = call(&project, ["run", "hostile"]);
        let script: String = script.chars().take(80).collect();
        assert_eq!(output.code, code, "{script}\n{}", output.stderr);
        assert!(output.stderr.contains(sentence), "{script}\n{}", output.stderr);
        assert!(begun.elapsed() < Duration::from_secs(20), "{script}");
    }
}

#[test]
fn memory_has_a_limit_of_its_own() {
    let script = "const LIMITS = #{ memory: \"100MiB\" };
        let kept = []; let text = \"x\"; while text.len() < 4000000 { text += text }
        let rows = #{}; let i = 0; loop { i += 1; rows[`k${i}`] = text + i.to_string(); }";
    let project = Project::new().runbook("eats", script);
    let output = call(&project, ["run", "eats"]).ends(1);
    assert!(output.stderr.contains("memory") || output.stderr.contains("too large"), "{}", output.stderr);
}

#[test]
fn a_denied_effect_stays_denied_whatever_the_script_catches() {
    for body in [
        "try { ssh_exec(params.host, \"echo denied >> done\") } catch { }
         ssh_exec(\"h1\", \"echo after >> done\");",
        "loop { try { ssh_exec(params.host, \"echo denied >> done\") } catch { } }",
        "retry(#{ times: 3, delay: \"10ms\" }, || ssh_exec(params.host, \"echo denied >> done\"));",
        "each(hosts(\"web\"), |h| try { ssh_exec(params.host, \"echo denied >> done\") } catch { });",
        "each([params.host], |h| ssh_exec(h, \"echo denied >> done\"));",
        "ssh_exec([params.host], \"echo denied >> done\");",
        "step \"s\" { try { lock(\"l\", || ssh_exec(params.host, \"echo denied >> done\")) } catch { } }",
    ] {
        let header = "const PARAMS = #{ host: #{ type: \"host\" } }; const NEEDS = [\"ssh.exec:h1\"];\n";
        let project = Project::new().inventory(HOSTS).runbook("denied", &format!("{header}{body}"));
        let output = call(&project, ["run", "denied", "--set", "host=other"]).ends(3);
        assert!(output.stderr.contains("may not run `ssh.exec` on `other`"), "{body}\n{}", output.stderr);
        assert!(output.stderr.contains("runbooks/denied.rhai:"), "{body}\n{}", output.stderr);
        assert!(ledger(&project).is_empty(), "{body}");
        assert_eq!(verified(&store(&project), 1), Status::Stopped);
    }
}

#[test]
fn a_hundred_thousand_prints_are_all_there() {
    let project = Project::new().runbook("prints", "for i in 0..100000 { print(`line ${i}`) }");
    let output = call(&project, ["run", "prints", "--json"]).success();
    let lines = output.json_lines();
    assert_eq!(of(&lines, "message").count(), 100_000);
    assert_eq!(verified(&store(&project), 1), Status::Done);
}

#[test]
fn each_within_each_within_each_has_a_bounded_number_of_threads() {
    let names: Vec<String> = (0..40).map(|n| format!("  n{n}: {{transport: local}}\n")).collect();
    let inventory = format!("hosts:\n{}", names.concat());
    let script = r#"
        const NEEDS = ["ssh.read:localhost"];
        each(hosts("all"), |a| each(hosts("all"), |b| each(hosts("all"), |c| {
            if a.name == "n1" && b.name == "n1" && c.name == "n1" {
                print(ssh_read("localhost", "ls /proc/$PPID/task | wc -l").out)
            }
            loop { let x = 1; }
        })));
    "#;
    let script = format!("const LIMITS = #{{ operations: 3000000 }};{script}");
    let project = Project::new().inventory(&inventory).runbook("threads", &script);
    let child = project.spawn(["run", "threads"]);
    let path = format!("/proc/{}/status", child.id());
    let watch = std::thread::spawn(move || {
        let mut most = 0;
        while let Ok(text) = std::fs::read_to_string(&path) {
            let line = text.lines().find_map(|line| line.strip_prefix("Threads:"));
            let Some(line) = line else { break };
            most = most.max(line.trim().parse().unwrap());
            std::thread::yield_now();
        }
        most
    });
    let output = finish(child).ends(1);
    assert!(output.stderr.contains("operations"), "{}", output.stderr);
    let most = watch.join().unwrap();
    // A thousand arms at once, and threads that are about to be gone; without a bound it were 65,640.
    assert!((100..10_000).contains(&most), "{most} threads");
}
