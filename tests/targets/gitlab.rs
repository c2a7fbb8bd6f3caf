//! `gitlab_note gitlab_status gitlab_mr gitlab_merge` against the lab's strict GitLab, and `git_changed` in real repositories.
#![expect(
    clippy::disallowed_methods,
    reason = "nlrun is started in the checkout, and not in a project of its own"
)]

use crate::behaviour::call;
use crate::support::gitlab::{GitLab, PROJECT, TOKEN};
use crate::support::origin::Origin;
use crate::support::project::{Output, Project};

const MAIN: &str = "1111111111111111111111111111111111111111";
const HEAD: &str = "2222222222222222222222222222222222222222";

fn project(gitlab: &GitLab, body: &str) -> Project {
    let needs = r#"const NEEDS = ["gitlab.*:infra/nl", "secret.read"];"#;
    Project::new()
        .variable("NLRUN_SECRET_GITLAB_API", TOKEN)
        .variable("NLRUN_SECRET_DB_ROOT", "hunter2-hunter2")
        .file("nlrun.yaml", &gitlab.config())
        .runbook("it", &format!("//! Tells GitLab.\n{needs}\n{body}\n"))
}

#[track_caller]
fn said(output: &Output, part: &str) {
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(text.contains(part), "`{part}` is missing in\n{text}");
    assert!(!text.contains(TOKEN), "the token is shown:\n{text}");
}

#[test]
fn a_note_is_planned_written_once_and_updated_in_place() {
    let gitlab = GitLab::start(MAIN);
    let number = gitlab.merge_request("feature", HEAD);
    let other = gitlab.member("ada", 30);
    {
        // Somebody has given their note the mark, and there are more notes than fit on a page.
        let mut state = gitlab.state();
        let one = state.at(PROJECT).unwrap().merge_requests.get_mut(&number).unwrap();
        for id in 0..150 {
            let body = if id == 3 { "<!-- nlrun:it -->\nmine".to_owned() } else { format!("note {id}") };
            let (username, awards) = ("ada".to_owned(), Vec::new());
            one.notes.push(nlrun::lab::http::gitlab::Note {
                id: 10_000 + id,
                author: other,
                username,
                body,
                is_system: false,
                awards,
            });
        }
    }
    let text = |text: &str| {
        format!(
            "let n = gitlab_note(\"infra/nl\", {number}, `{text}`); print(`changed=${{n.changed}} id=${{n.id}}`);"
        )
    };
    let project = project(&gitlab, &text("hello\n${secret(\"db/root\").name}"));
    project.write(
        "runbooks/it.rhai",
        &project.read("runbooks/it.rhai").replace("${secret(\"db/root\").name}", "first"),
    );
    let planned = call(&project, ["plan", "it"]).success();
    said(&planned, "+hello");
    said(&planned, "gitlab.note infra/nl");
    assert_eq!(gitlab.notes(number).len(), 150, "a plan has written");
    said(&call(&project, ["run", "it"]).success(), "changed=true");
    said(&call(&project, ["run", "it"]).success(), "changed=false");
    let notes = gitlab.notes(number);
    assert_eq!((notes.len(), notes[150].as_str()), (151, "<!-- nlrun:it -->\nhello\nfirst"));
    project.write("runbooks/it.rhai", &project.read("runbooks/it.rhai").replace("first", "second"));
    let changed = call(&project, ["run", "it"]).success();
    said(&changed, "-first");
    said(&changed, "+second");
    let notes = gitlab.notes(number);
    assert_eq!((notes.len(), notes[150].as_str()), (151, "<!-- nlrun:it -->\nhello\nsecond"));
    assert_eq!(notes[3], "<!-- nlrun:it -->\nmine", "somebody else's note was changed");
}

#[test]
fn nothing_secret_is_written_and_what_is_too_long_is_cut() {
    let gitlab = GitLab::start(MAIN);
    let number = gitlab.merge_request("feature", HEAD);
    let body = format!(
        r#"let known = secret("db/root");
let text = "leak: hunter2-hunter2\n";
while text.len() < 1_100_000 {{ text += text; }}
gitlab_note("infra/nl", {number}, text);
"#
    );
    let project = project(&gitlab, &body);
    call(&project, ["run", "it"]).success();
    let notes = gitlab.notes(number);
    assert_eq!(notes.len(), 1);
    assert!(!notes[0].contains("hunter2"), "a secret is in the note");
    assert!(
        notes[0].chars().count() <= 1_000_000 && notes[0].ends_with("the whole is `note-it.md` of the run_"),
        "{}",
        &notes[0][notes[0].len() - 99..]
    );
    let kept = call(&project, ["show", "last", "--artifact", "note-it.md"]);
    assert!(
        kept.code == 0 && kept.stdout.len() > 1_000_000 && !kept.stdout.contains("hunter2"),
        "{}",
        kept.stderr
    );
}

#[test]
fn a_status_goes_forward_and_is_not_sent_twice() {
    let gitlab = GitLab::start(MAIN);
    gitlab.merge_request("feature", HEAD);
    let body = format!(
        r#"for state in ["pending", "pending", "running", "success", "success"] {{
    let s = gitlab_status("infra/nl", "{HEAD}", state, #{{ name: "certs", url: "https://x.example/1", description: "d" }});
    print(`${{state}} changed=${{s.changed}}`);
}}
gitlab_status("infra/nl", "{HEAD}", "running", #{{ name: "other" }});
try {{ gitlab_status("infra/nl", "{HEAD}", "pending", #{{ name: "other" }}) }} catch (e) {{ print(e.kind) }}
try {{ gitlab_status("infra/nl", "{MAIN}0", "running") }} catch (e) {{ print(e.message) }}
"#
    );
    let project = project(&gitlab, &body);
    let planned = call(&project, ["plan", "it"]).success();
    said(&planned, "+state: pending");
    assert_eq!(gitlab.history("certs"), [""; 0]);
    let output = call(&project, ["run", "it"]).success();
    let lines: Vec<&str> = output.stdout.lines().filter(|line| line.contains("changed=")).collect();
    let expected = [
        "pending changed=true",
        "pending changed=false",
        "running changed=true",
        "success changed=true",
        "success changed=false",
    ];
    assert_eq!(lines, expected, "{output:?}");
    assert_eq!(gitlab.history("certs"), ["pending", "running", "success"]);
    said(&output, "transition");
    said(&output, "has no commit 11111111111111111111111111111111111111110; push it first");
}

#[test]
fn that_a_status_is_there_already_when_it_is_sent_is_success() {
    let gitlab = GitLab::start(MAIN);
    // Another pipeline's: the look by branch does not see it, and GitLab refuses it all the same.
    let project = project(
        &gitlab,
        &format!(
            r#"gitlab_status("infra/nl", "{MAIN}", "running", #{{ name: "a" }});
gitlab_status("infra/nl", "{MAIN}", "running", #{{ name: "a", description: "more words" }});
"#
        ),
    );
    call(&project, ["run", "it"]).success();
    assert_eq!(gitlab.history("a"), ["running"]);
}

#[test]
fn a_merge_request_is_made_taken_shaped_and_merged() {
    let gitlab = GitLab::start(MAIN);
    gitlab.state().at(PROJECT).unwrap().branches.insert("sync".to_owned(), HEAD.to_owned());
    let project = project(
        &gitlab,
        r#"let shape = #{ title: "Sync", description: "from hosts", labels: ["b", "a"], remove_source_branch: true };
let one = gitlab_mr("infra/nl", "sync", "main", shape);
print(`first !${one.number} ${one.changed}`);
let again = gitlab_mr("infra/nl", "sync", "main", shape);
print(`again !${again.number} ${again.changed}`);
let merged = gitlab_merge("infra/nl", "sync", "main", #{ timeout: "20s" });
print(`merged ${merged.state} ${merged.changed}`);
"#,
    );
    let planned = call(&project, ["plan", "it"]);
    said(&planned, "+title: Sync");
    assert!(gitlab.state().at(PROJECT).unwrap().merge_requests.is_empty());
    let output = call(&project, ["run", "it"]).success();
    for part in ["first !1 true", "again !1 false", "merged merged true"] {
        said(&output, part);
    }
    {
        let mut state = gitlab.state();
        let made = state.at(PROJECT).unwrap();
        let one = &made.merge_requests[&1];
        assert_eq!(
            (one.state.as_str(), one.labels.join(",").as_str(), one.title.as_str()),
            ("merged", "b,a", "Sync")
        );
        assert!(!made.branches.contains_key("sync"));
    }
    // What is merged stays merged: nothing is asked for twice.
    let text = "//! Merges.\nconst NEEDS = [\"gitlab.merge:infra/nl\"];\nprint(`again ${gitlab_merge(\"infra/nl\", \"sync\", \"main\").changed}`);\n";
    project.write("runbooks/merge.rhai", text);
    said(&call(&project, ["run", "merge"]).success(), "again false");
}

#[test]
fn what_cannot_be_merged_is_told_apart() {
    for (readiness, kind) in
        [("conflict", "not_mergeable"), ("not_approved", "not_mergeable"), ("checking", "not_mergeable")]
    {
        let gitlab = GitLab::start(MAIN);
        let number = gitlab.merge_request("sync", HEAD);
        gitlab.state().at(PROJECT).unwrap().merge_requests.get_mut(&number).unwrap().readiness =
            vec![readiness];
        let body = r#"try { gitlab_merge("infra/nl", "sync", "main", #{ timeout: "1s" }) } catch (e) { print(`${e.kind}: ${e.message}`) }"#;
        let output = call(&project(&gitlab, body), ["run", "it"]).success();
        said(&output, kind);
        said(&output, &readiness.replace('_', " "));
        assert_eq!(gitlab.state().at(PROJECT).unwrap().merge_requests[&number].state, "opened");
    }
}

#[test]
fn refusals_and_limits_are_told_or_waited_for() {
    let gitlab = GitLab::start(MAIN);
    let number = gitlab.merge_request("feature", HEAD);
    let body = format!(
        r#"try {{ gitlab_note("infra/nl", {number}, "x") }} catch (e) {{ print(`${{e.kind}} ${{e.status}}: ${{e.message}}`) }}"#
    );
    let bad = project(&gitlab, &body).variable("NLRUN_SECRET_GITLAB_API", "glpat-wrong");
    said(&call(&bad, ["run", "it"]).success(), "status 401");
    gitlab.state().tokens.get_mut(TOKEN).unwrap().writes = false;
    let project = project(&gitlab, &body);
    let output = call(&project, ["run", "it"]).success();
    said(&output, "status 403");
    said(&output, "needs the scope `api`");
    gitlab.state().tokens.get_mut(TOKEN).unwrap().writes = true;
    gitlab.state().at(PROJECT).unwrap().members.clear();
    said(&call(&project, ["run", "it"]).success(), "status 404");
    let bot = gitlab.bot;
    gitlab.state().at(PROJECT).unwrap().members.insert(bot, 40);
    // One request too many, and a proxy that is restarting: both are waited for.
    gitlab.state().limited = 2;
    gitlab.state().broken = 1;
    call(&project, ["run", "it"]).success();
    assert_eq!(gitlab.notes(number).len(), 1);
    // A grant for one project is none for another.
    let text = project.read("runbooks/it.rhai").replace("\"infra/nl\", 1", "\"infra/other\", 1");
    project.write("runbooks/it.rhai", &text);
    let refused = call(&project, ["run", "it"]);
    assert_eq!(refused.code, 64, "{refused:?}");
    said(&refused, "gitlab.note:infra/other");
}

#[test]
fn without_a_gitlab_it_is_said_what_to_write() {
    let body = "try { gitlab_note(\"infra/nl\", 1, \"x\") } catch (e) { print(e.message) }";
    let project = Project::new().runbook("it", &format!("//! x\nconst NEEDS = [\"gitlab.note\"];\n{body}\n"));
    said(
        &call(&project, ["run", "it"]).success(),
        "write `gitlab: {url: https://…, token: NAME-OF-A-SECRET}`",
    );
}

#[test]
fn changed_files_are_compared_by_content() {
    let origin = Origin::new("//! x\n1\n");
    origin.write("docker/a/compose.yaml", "1\n");
    origin.write("docker/b/compose.yaml", "1\n");
    let first = origin.commit("Services");
    origin.git(&["checkout", "--quiet", "-b", "feature"]);
    origin.write("docker/a/compose.yaml", "2\n");
    origin.write("docker/new ü.txt", "new\n");
    origin.git(&["rm", "--quiet", "docker/b/compose.yaml"]);
    let feature = origin.commit("Change services");
    origin.git(&["checkout", "--quiet", "main"]);
    origin.write("docs.md", "docs\n");
    origin.commit("Docs");
    origin.git(&["merge", "--quiet", "--no-ff", "-m", "Merge feature", "feature"]);
    let project = |from: &str, to: &str, options: &str| {
        let text = format!(
            "//! x\nconst NEEDS = [\"git.changed\"];\nlet c = git_changed({from}, \"{to}\", #{{ {options} }});\nprint(`${{c.files}} +${{c.added.len()}} ~${{c.modified.len()}} -${{c.deleted.len()}}`);\n"
        );
        origin.write("runbooks/it.rhai", &text);
        let output = std::process::Command::new(crate::support::project::NLRUN)
            .args(["run", "it", "--state", "../state"])
            .current_dir(origin.work())
            .env("HOME", "/nonexistent")
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    // Of a merge, what it brought to the branch: `docs.md` was there.
    let services = r#"["docker/a/compose.yaml", "docker/b/compose.yaml", "docker/new ü.txt"] +1 ~1 -1"#;
    for from in ["\"\"", "()", "\"0000000000000000000000000000000000000000\""] {
        let said = project(from, "HEAD", "");
        assert!(said.contains(services), "{from}: {said}");
    }
    let said = project(&format!("\"{first}\""), "HEAD", "");
    assert!(said.contains("docs.md"), "{said}");
    let said =
        project(&format!("\"{first}\""), "HEAD", "only: \"docker/*/compose.yaml\", not: [\"docker/b/**\"]");
    assert!(said.contains(r#"["docker/a/compose.yaml"] +0 ~1 -0"#), "{said}");
    let said = project("\"main\"", &feature, "since_fork: true");
    assert!(said.contains("[] +0 ~0 -0"), "{said}");
    for (from, part) in [
        ("0123456789012345678901234567890123456789", "GIT_DEPTH"),
        ("--output=x", "cannot be the name"),
        ("a..b", "cannot be the name"),
    ] {
        let said = project(&format!("\"{from}\""), "HEAD", "");
        assert!(said.contains(part), "{from}: {said}");
    }
}
