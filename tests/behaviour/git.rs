//! `git_show` and `git_commit_push` in real repositories.

use super::finish;
use crate::support::origin::Origin;
use crate::support::project::{Output, Project};

/// A project that comes from a repository, with the runbook `it`.
struct Place {
    origin: Origin,
    project: Project,
}

impl Place {
    fn new() -> Self {
        let origin = Origin::new("//! x\n1\n");
        origin.write("configs/fw01", "hostname fw01\n");
        origin.write("configs/rtr01", "hostname rtr01\n");
        origin.commit("Configurations");
        origin.push("main");
        let url = origin.path().display().to_string();
        let project = Project::new().file(
            "nlrun.yaml",
            &format!("server: {{project: {{url: \"{url}\", committer: \"robot <robot@example.net>\"}}}}\n"),
        );
        Self { origin, project }
    }

    /// Runs a script that may push to branches `sync/*`.
    fn run(&self, verb: &[&str], body: &str) -> Output {
        let needs = "const NEEDS = [\"git.show\", \"git.commit_push:sync/*\", \"secret.read\"];";
        self.project.write("runbooks/it.rhai", &format!("//! x\n{needs}\n{body}\n"));
        finish(self.project.spawn([verb, &["it"]].concat()))
    }

    /// Reads a file of a branch of the bare repository.
    fn at(&self, branch: &str, path: &str) -> String {
        self.origin.at(&["show", &format!("{branch}:{path}")])
    }
}

const TWO: &str = r#"let made = git_commit_push("sync/devices", #{
    "configs/fw01": "hostname fw01\nmtu 1500\n", "configs/new": "hostname new\n", "configs/rtr01": (),
}, "Devices as they are", #{ author: "fw01 <fw01@example.net>" });
print(`changed: ${made.changed}, new: ${made.is_new}, ${made.branch}`);"#;

#[test]
fn files_become_one_commit_with_its_provenance_and_only_once() {
    let place = Place::new();
    let plan = place.run(&["plan", "--exit-code"], TWO).ends(2);
    for part in ["--- configs/fw01", "+mtu 1500", "+++ configs/new", "-hostname rtr01", "1 would change"] {
        assert!(plan.stdout.contains(part) || plan.stderr.contains(part), "{part}: {plan:?}");
    }
    assert_eq!(place.origin.at(&["branch", "--list", "sync/*"]), "");
    let done = place.run(&["run"], TWO).success();
    assert!(done.stdout.contains("changed: true, new: true, sync/devices"), "{done:?}");
    assert_eq!(place.at("sync/devices", "configs/fw01"), "hostname fw01\nmtu 1500");
    assert_eq!(place.at("sync/devices", "configs/new"), "hostname new");
    assert_eq!(
        place.origin.at(&["ls-tree", "--name-only", "sync/devices", "configs/"]),
        "configs/fw01\nconfigs/new"
    );
    let format = "--format=%an <%ae>|%cn|%s|%(trailers:key=Nlrun-Run,valueonly)";
    let told = place.origin.at(&["log", "-1", format, "sync/devices"]);
    assert_eq!(told, "fw01 <fw01@example.net>|robot|Devices as they are|2");
    assert_eq!(place.origin.at(&["rev-list", "--count", "main..sync/devices"]), "1");
    // What is there is not done again.
    let again = place.run(&["run"], TWO).success();
    assert!(again.stdout.contains("changed: false, new: false"), "{again:?}");
    assert_eq!(place.origin.at(&["rev-list", "--count", "main..sync/devices"]), "1");
}

#[test]
fn what_others_have_changed_is_not_lost() {
    let place = Place::new();
    let base = place.origin.head();
    let push = |base: &str, text: &str, options: &str| {
        format!(
            "git_commit_push(\"sync/one\", #{{ \"configs/fw01\": \"{text}\\n\" }}, \"x\", #{{ base: \"{base}\", {options} }});"
        )
    };
    place.run(&["run"], &push(&base, "mine", "")).success();
    // Another file, by somebody else, on the same branch.
    place.origin.git(&["fetch", "--quiet", "origin", "sync/one"]);
    place.origin.git(&["checkout", "--quiet", "-B", "one", "FETCH_HEAD"]);
    place.origin.write("configs/rtr01", "theirs\n");
    place.origin.commit("Theirs");
    place.origin.push("sync/one");
    let tip = place.origin.head();
    place.run(&["run"], &push(&tip, "mine again", "")).success();
    assert_eq!(place.at("sync/one", "configs/rtr01"), "theirs");
    assert_eq!(place.at("sync/one", "configs/fw01"), "mine again");
    // The same file, seen as it was before.
    let before = place.origin.at(&["rev-parse", "sync/one"]);
    let refused = place.run(&["run"], &push(&base, "mine at last", "")).ends(1);
    assert!(refused.stderr.contains("`configs/fw01` on `sync/one` is not what it was"), "{refused:?}");
    assert_eq!(place.origin.at(&["rev-parse", "sync/one"]), before);
    // A branch of the runbook's own begins anew.
    place.run(&["run"], &push(&base, "mine at last", "anew: true")).success();
    assert_eq!(place.at("sync/one", "configs/fw01"), "mine at last");
    assert_eq!(place.at("sync/one", "configs/rtr01"), "hostname rtr01");
}

#[test]
fn bad_requests_push_nothing() {
    let place = Place::new();
    let hidden =
        r#"let key = secret("key"); git_commit_push("sync/x", #{ "a": `key ${"hunter2-hunter2"}` }, "x");"#;
    let project = Place { project: place.project.variable("NLRUN_SECRET_KEY", "hunter2-hunter2"), ..place };
    for (body, part) in [
        (hidden, "would hold a secret"),
        (r#"git_commit_push("sync/x", #{ "a": secret("key") }, "x");"#, "a secret belongs in no repository"),
        (r#"git_commit_push("sync/x", #{ "../a": "x" }, "x");"#, "is not the path of a file"),
        (r#"git_commit_push("sync/x", #{ ".git/config": "x" }, "x");"#, "is not the path of a file"),
        (r#"git_commit_push("sync/x", #{ "nlrun.yaml/x": "x" }, "x");"#, "nlrun.yaml"),
        (r#"git_commit_push("sync/x", #{}, "x");"#, "there are no files"),
        (r#"git_commit_push("sync/x", #{ "a": "x" }, " ");"#, "needs a message"),
        (r#"git_commit_push("sync/x", #{ "a": "x" }, "x", #{ author: "me" });"#, "is no author"),
        (
            r#"git_commit_push("sync/x", #{ "a": "x" }, "x", #{ base: "0123456789" });"#,
            "no branch, tag or commit",
        ),
        (r#"git_commit_push("sync/..x", #{ "a": "x" }, "x");"#, "cannot be the name"),
    ] {
        let refused = project.run(&["run"], body);
        assert_ne!(refused.code, 0, "{body}: {refused:?}");
        assert!(refused.stderr.contains(part), "{body}: {refused:?}");
    }
    assert_eq!(project.origin.at(&["branch", "--list", "sync/*"]), "");
    // Another branch than those of the grant.
    let refused = project.run(&["run"], r#"git_commit_push("main", #{ "a": "x" }, "x");"#).ends(64);
    assert!(refused.stderr.contains("git.commit_push:main"), "{refused:?}");
    project.project.write("nlrun.yaml", "");
    let refused = project.run(&["run"], r#"git_commit_push("sync/x", #{ "a": "x" }, "x");"#).ends(1);
    assert!(refused.stderr.contains("does not say where the project comes from"), "{refused:?}");
}

#[test]
fn a_file_is_shown_as_a_commit_has_it() {
    let origin = Origin::new("//! x\n1\n");
    origin.write("configs/fw01", "one\n");
    let first = origin.commit("One");
    origin.write("configs/fw01", "two\n");
    let body = format!(
        "//! x\nconst NEEDS = [\"git.show\"];\nprint(git_show(\"{first}\", \"configs/fw01\"));\nprint(git_show(\"HEAD\", \"configs/fw01\"));\n\
         print(git_show(\"{first}\", \"configs/none\") == ());\ntry {{ git_show(\"0123456789\", \"x\") }} catch (e) {{ print(`${{e.kind}}: ${{e.message}}`) }}\n"
    );
    origin.write("runbooks/it.rhai", &body);
    origin.commit("Two");
    let output = Project::new()
        .command(["run", "it", "--state", "../state"])
        .current_dir(origin.work())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["one\n", "two\n", "true", "unknown_commit: there is no commit `0123456789` here"] {
        assert!(said.contains(part), "{part}: {said} {output:?}");
    }
}
