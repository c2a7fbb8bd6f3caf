//! The standard library against its own tests: `tests/stdlib/*.rhai`, each function `test_*` of which is a test.
//!
//! A test file is a runbook. Here, calls of its tests are put behind it, one step each, and the real binary runs it.

use std::path::PathBuf;

use crate::support::project::Project;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stdlib")
}

/// The names of the functions `test_*` of a test file.
fn tests_in(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("fn ")?.split_once("()").map(|(name, _)| name))
        .filter(|name| name.starts_with("test_"))
        .collect()
}

fn project() -> Project {
    let project = Project::new();
    project.write("lib/assert.rhai", &std::fs::read_to_string(folder().join("assert.rhai")).unwrap());
    for sample in std::fs::read_dir(folder().join("samples")).unwrap() {
        let path = sample.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        project.write(&format!("samples/{name}"), &std::fs::read_to_string(&path).unwrap());
    }
    project
}

#[test]
fn every_test_of_the_library_passes() {
    let project = project();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut failed = String::new();
    let mut count = 0;
    for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "rhai")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "assert" {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let tests = tests_in(&text);
        assert!(!tests.is_empty(), "{name}.rhai has no tests");
        count += tests.len();
        let calls: String =
            tests.iter().map(|test| ["step \"", test, "\" { ", test, "() }\n"].concat()).collect();
        project.write(&format!("runbooks/{name}.rhai"), &format!("{text}\n{calls}"));
        let output = project.args(["run", name]);
        if output.code != 0 {
            failed = format!(
                "{failed}\n{name}.rhai ends with {}:\n{}{}",
                output.code, output.stdout, output.stderr
            );
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(count >= 30, "only {count} tests were found");
}

/// Without this, a test that calls nothing would pass as well as one that asserts.
#[test]
fn a_test_that_does_not_hold_fails() {
    let project = project();
    let text = "const NEEDS = [];\nimport \"assert\" as assert;\nfn test_wrong() { assert::same(1 + 1, 3) }\ntest_wrong();\n";
    project.write("runbooks/wrong.rhai", text);
    let output = project.args(["run", "wrong"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("expected 3, found 2"), "{output:?}");
}

/// Every module of the library has tests of its own, and says what each of its public functions is for.
#[test]
fn every_module_is_tested_and_documented() {
    let library = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stdlib");
    for entry in std::fs::read_dir(library).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // `pkg` only chooses; its tests are those of `packages`, `facts` and the hosts.
        assert!(name == "pkg" || folder().join(format!("{name}.rhai")).is_file(), "{name} has no tests");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{name} does not say what it is for");
        let mut before = "";
        for line in text.lines() {
            assert!(
                !line.starts_with("fn ") || before.starts_with("/// "),
                "{name}: `{line}` has no documentation"
            );
            before = line;
        }
    }
}
