//! The pages of the project, of users, tokens and roles, in a real Chromium where there is one, and what the API says of the same.

use serde_json::json;

use super::hooks::{TRIGGERS, World, worked};
use super::page::user;
use crate::support::chromium::tests_of;
use crate::support::gitlab::PROJECT;
use crate::support::server::{Server, token};

/// What stands under `server.gitlab` and `server` besides what every world has.
const MORE: &str = r#"    notes: {grants: ["file.put:localhost"]}
    id_tokens:
      issuer: https://gitlab.example.net
      audience: https://nlrun.example.net
      rules: [{project_id: 42, ref: "<b class=injected>main</b>", ref_protected: false}]
  roles: {operator: {grants: ["file.put", "ssh.exec"], runbooks: ["runbooks/<b class=injected>*</b>", "runbooks/*"]}}
  oidc:
    issuer: https://id.example.net
    client_id: nlrun
    roles: {claim: groups, map: {"<b class=injected>ops</b>": operator, root: admin}}
"#;

/// A world in which every name that somebody else gives holds markup, and things were reported.
fn world() -> World {
    let world = World::new("", MORE);
    // People reach it at the address that it listens on.
    let config = world.project.read("nlrun.yaml").replace("  url: https://nlrun.example.net\n", "");
    world.project.write("nlrun.yaml", &config);
    let doc = "  look:\n    doc: \"<b class=injected>Says so</b>\"\n";
    world
        .origin
        .write("triggers/all.yaml", &TRIGGERS.replace("PATH", &world.file()).replace("  look:\n", doc));
    world.origin.commit("Triggers");
    world.origin.push("main");
    world.origin.push("<b/class=injected>");
    for (name, role) in [("root", "admin"), ("ed", "editor"), ("vera", "viewer")] {
        user(&world.project, name, role);
    }
    world
}

#[test]
fn people_see_the_project_and_admins_who_may_come_in() {
    let world = world();
    let (server, op) = world.server();
    let (number, head) = world.merge_request("feature", "two");
    let ada = world.gitlab.member("ada", 40);
    let opened = json!({
        "object_kind": "merge_request", "user": { "id": ada, "username": "ada" }, "project": { "path_with_namespace": PROJECT },
        "object_attributes": { "iid": number, "action": "open", "state": "opened", "source_branch": "feature", "target_branch": "main",
            "source_project_id": 1, "target_project_id": 1, "last_commit": { "id": head } },
    });
    assert_eq!(worked(&op, &opened).0, "done");
    op.wait(1, &["done"]);
    world.origin.git(&["checkout", "--quiet", "main"]);
    let before = world.origin.head();
    world.origin.write("docs/readme.md", "docs\n");
    let docs = world.origin.commit("Change <b class=injected>it</b> <script>window.hacked=1</script>");
    world.origin.push("main");
    assert_eq!(worked(&op, &world.push(&before, &docs)).0, "ignored");

    let hooks = op.get("/api/v1/hooks").json();
    assert_eq!(
        (&hooks["items"][0]["attempts"], &hooks["items"][0]["next"]),
        (&json!(1), &json!(null)),
        "{hooks}"
    );
    let reviews = op.get("/api/v1/reviews").json();
    let one = &reviews["items"][0];
    assert_eq!(
        (&one["merge_request"], &one["run"], &one["mode"], &one["commit"]),
        (&json!(number), &json!(1), &json!("plan"), &json!(head)),
        "{reviews}"
    );
    let shown = op.get("/api/v1/project").json();
    assert_eq!(
        (&shown["commit"], &shown["every"], &shown["failures"]),
        (&json!(docs), &json!("1h"), &json!(0))
    );
    assert!(
        shown["commit_link"].as_str().unwrap().ends_with(&format!("/{PROJECT}/-/commit/{docs}")),
        "{shown}"
    );

    let branch = "edit/ed/runbooks/web.rhai";
    world.gitlab.state().at(PROJECT).unwrap().branches.insert(branch.to_owned(), docs);
    tests_of("project.mjs", &server, &world.operator, &[], 8);
    // The words of the tests themselves: a secret is told once, and the audit has no password.
    assert!(!server.said().contains("nlr_"), "{}", server.said());
}

#[test]
fn roles_are_shown_as_they_are_configured_and_to_admins_only() {
    let world = world();
    let root = token(&world.project, "root", "admin");
    let (server, op) = world.server();
    assert_eq!(op.get("/api/v1/roles").status, 403);
    let roles = server.caller(&root).get("/api/v1/roles").json();
    let operator = &roles["items"][1];
    assert_eq!(
        (&operator["role"], &operator["grants"]),
        (&json!("operator"), &json!(["file.put", "ssh.exec"]))
    );
    assert_eq!(operator["groups"], json!(["<b class=injected>ops</b>"]), "{roles}");
    assert_eq!((&roles["items"][3]["groups"], &roles["items"][0]["groups"]), (&json!(["root"]), &json!([])));
    assert_eq!(roles["provider"], json!({ "issuer": "https://id.example.net", "claim": "groups" }));
    let rule = &roles["pipelines"]["rules"][0];
    assert_eq!(rule["demands"], json!(["project 42", "ref <b class=injected>main</b>"]), "{roles}");
    assert_eq!((&rule["plans_only"], &rule["role"]), (&json!(true), &json!("operator")));
}

#[test]
fn a_fetch_that_goes_wrong_is_on_the_page_of_the_project() {
    let world = world();
    let html = [("accept", "text/html")];
    let (server, op) = world.server();
    let away = world.origin.path().with_extension("away");
    std::fs::rename(world.origin.path(), away).unwrap();
    for times in ["The last fetch went wrong", "The last 2 fetches went wrong"] {
        assert_eq!(op.post("/api/v1/project/sync", &json!(null)).status, 200);
        let page = op.send("GET", "/project", &html, None).text;
        assert!(page.contains(times) && page.contains("What was fetched before stays in force"), "{page}");
    }
    drop(server);
    // A plain folder has no such trouble, and nothing to fetch.
    let plain = crate::support::project::Project::new();
    let operator = token(&plain, "op", "operator");
    let server = Server::start(&plain);
    let page = server.caller(&operator).send("GET", "/project", &html, None).text;
    assert!(page.contains("the folder that it was started in") && !page.contains("Fetch now"), "{page}");
}
