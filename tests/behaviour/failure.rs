//! Errors at run time: the runbook's line and the calls that led there.

use super::{HOSTS, call, of};
use crate::support::project::Project;

#[test]
fn a_failure_in_an_imported_module_is_told_with_its_line_and_its_calls() {
    let library = "fn restart(host) {\n    inner(host)\n}\nfn inner(host) {\n    ssh_exec(host, \"echo why >&2; exit 9\")\n}\n";
    let text = "const NEEDS = [\"ssh.exec\"];\nimport \"service\" as service;\n\nfn all(host) {\n    service::restart(host)\n}\nall(\"h1\");\n";
    let project = Project::new().inventory(HOSTS).runbook("fails", text).file("lib/service.rhai", library);
    let output = call(&project, ["run", "fails"]).ends(1);
    let place = output.stderr.find("lib/service.rhai:5").expect(&output.stderr);
    for (words, after) in
        [("exit code 9", 0), ("why", 0), ("inner", place), ("restart", place), ("all", place)]
    {
        assert!(output.stderr[after..].contains(words), "{words}\n{}", output.stderr);
    }
    for words in ["runbooks/fails.rhai:5", "runbooks/fails.rhai:7", "echo why >&2; exit 9"] {
        assert!(output.stderr.contains(words), "{words}\n{}", output.stderr);
    }
    for rust in ["ErrorRuntime", "EvalAlt", "panicked", "engine/"] {
        assert!(!output.stderr.contains(rust), "{rust}\n{}", output.stderr);
    }
    let lines = call(&project, ["run", "fails", "--json"]).ends(1).json_lines();
    let error = &of(&lines, "ended").next().unwrap()["error"];
    assert_eq!((error["file"].as_str(), error["line"].as_i64()), (Some("lib/service.rhai"), Some(5)));
}

#[test]
fn a_stop_is_told_where_the_runbook_asked_for_it() {
    let text = "const PARAMS = #{ host: \"other\" };\nconst NEEDS = [\"ssh.exec:h1\"];\nfn act(h) {\n    try {\n        ssh_exec(h, \"true\")\n    } catch { }\n}\nfor x in 0..3 {\n    act(params.host);\n}\n";
    let project = Project::new().inventory(HOSTS).runbook("stops", text);
    let output = call(&project, ["run", "stops"]).ends(3);
    assert!(output.stderr.contains("runbooks/stops.rhai:5"), "{}", output.stderr);
    assert!(output.stderr.contains("add \"ssh.exec:other\" to NEEDS"), "{}", output.stderr);
}

#[test]
fn each_mistake_has_a_line_and_words_of_runbooks() {
    for (body, words) in [
        ("let m = #{ a: 1 };\nm.b;", "runbooks/fails.rhai:2"),
        ("let a = [1];\n\na[7];", "runbooks/fails.rhai:3"),
        ("let x = params;\nlet y = x.nothing;", "runbooks/fails.rhai:2"),
        ("throw #{ code: 7 };", "runbooks/fails.rhai:1"),
        ("let x = 1;\nlet y = x / 0;", "runbooks/fails.rhai:2"),
        ("step \"one\" {\n    fail(\"within\")\n}", "runbooks/fails.rhai:2"),
        ("let r = each(hosts(\"h1\"), |h| fail(\"x\"));\nr[0].value.out;", "runbooks/fails.rhai:2"),
    ] {
        let project = Project::new().inventory(HOSTS).runbook("fails", body);
        let output = call(&project, ["run", "fails"]);
        assert!(output.code == 1 || output.code == 64, "{body}\n{}", output.stderr);
        assert!(output.stderr.contains(words), "{body}\n{}", output.stderr);
    }
}

#[test]
fn a_closure_that_a_module_made_says_why_it_cannot_be_called() {
    for (body, words) in [
        ("let f = made::adder(1);\nf.call(2);", "runbooks/fails.rhai:3"),
        ("each(hosts(\"web\"), made::adder(1));", "h3: a closure that a module made"),
        ("defer(made::adder(1));", "left behind: the clean-up registered at runbooks/fails.rhai:2 failed"),
    ] {
        let text = format!("import \"made\" as made;\n{body}");
        let project = Project::new().inventory(HOSTS).runbook("fails", &text);
        let output = call(&project.file("lib/made.rhai", "fn adder(n) { |v| v + n }"), ["run", "fails"]);
        let told = output.stdout.clone() + &output.stderr;
        for words in [words, "is called outside of that module", "let the module call it"] {
            assert!(told.contains(words), "{words}\n{body}\n{told}");
        }
        assert!(!told.contains("anon$"), "{told}");
    }
}
