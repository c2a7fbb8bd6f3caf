//! Manifests: in order, planned before there is anything, again without a change, pruned.

use super::{hides, is_in_log, namespace, plan, run, shows};
use crate::behaviour::call;
use crate::support::kube::{Kube, unique};

const PASSWORD: &str = "hunter2-and-more";

/// A resource before its namespace and its kind: in the order in which nobody could apply them.
fn bundle(name: &str) -> String {
    format!(
        "apiVersion: {name}.example.com/v1
kind: Site
metadata: {{name: s, namespace: {name}}}
spec: {{size: 3}}
---
apiVersion: v1
kind: Secret
metadata: {{name: db, namespace: {name}}}
stringData: {{password: {PASSWORD}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {name}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: colours, namespace: {name}, labels: {{app: shop}}}}
data: {{wall: green}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: sites.{name}.example.com}}
spec:
  group: {name}.example.com
  scope: Namespaced
  names: {{kind: Site, plural: sites}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {{size: {{type: integer, maximum: 10}}}}
"
    )
}

const APPLY: &str = r#"
for one in k8s_apply("nl", #{ source: "app.yaml" }) { print(`${one.kind}: ${one.action}`) }
"#;

#[test]
fn a_bundle_is_planned_before_anything_of_it_exists_applied_and_then_unchanged() {
    let Some(kube) = Kube::shared() else { return };
    let name = unique("bundle");
    let project = kube.project().file("app.yaml", &bundle(&name));

    let planned = plan(&project, APPLY).success();
    for part in
        [&format!("nl/Namespace/{name}"), "+  size: 3", "+  wall: green", "<secret, 24 characters in base64>"]
    {
        shows(&planned.stdout, part);
    }
    shows(&planned.stderr, "5 would change");

    let applied = run(&project, APPLY).success();
    for part in
        ["Site: created", "Secret: created", "Namespace: created", "CustomResourceDefinition: created"]
    {
        shows(&applied.stdout, part);
    }
    // What others need came first, whatever the order in the file.
    let place = |text: &str| applied.stdout.find(&format!("k8s.apply nl/{text}")).unwrap();
    assert!(place(&format!("Namespace/{name}")) < place(&format!("{name}/ConfigMap/colours")));
    assert!(place("CustomResourceDefinition/") < place(&format!("{name}/Site/s")));

    let again = run(&project, APPLY).success();
    shows(&again.stderr, "0 changed");
    assert_eq!(again.stdout.matches(": unchanged").count(), 5, "{}", again.stdout);
    shows(&plan(&project, APPLY).success().stderr, "0 would change");
    assert!(!is_in_log(&project, PASSWORD) && !is_in_log(&project, "aHVudGVyMi1hbmQtbW9yZQ=="));
}

#[test]
fn a_definition_of_more_than_a_megabyte_is_planned_applied_and_unchanged() {
    let Some(kube) = Kube::shared() else { return };
    let name = unique("big");
    let fields: String = (0..3_000)
        .map(|field| {
            format!(
                "                field{field}: {{type: string, description: '{}'}}\n",
                "words ".repeat(65)
            )
        })
        .fold(String::new(), |all, one| all + &one);
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: sets.{name}.example.com}}\nspec:\n  \
           group: {name}.example.com\n  scope: Namespaced\n  names: {{kind: Set, plural: sets}}\n  versions:\n  - name: v1\n    \
             served: true\n    storage: true\n    schema:\n      openAPIV3Schema:\n        type: object\n        properties:\n          \
             spec:\n            type: object\n            properties:\n{fields}"
    );
    assert!(definition.len() > 1_300_000, "{}", definition.len());
    let project = kube.project().file("app.yaml", &definition);
    shows(&plan(&project, APPLY).success().stderr, "1 would change");
    shows(&run(&project, APPLY).success().stdout, "CustomResourceDefinition: created");
    shows(&run(&project, APPLY).success().stdout, "CustomResourceDefinition: unchanged");
    let size = std::fs::metadata(project.database()).unwrap().len();
    assert!(size < 4_000_000, "the log has {size} bytes");
}

#[test]
fn a_plan_is_applied_as_it_was_seen_or_not_at_all() {
    let Some(kube) = Kube::shared() else { return };
    let name = unique("planned");
    let config = |wall: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: colours, namespace: {name}}}\ndata: {{wall: {wall}}}\n"
        )
    };
    let project = kube.project().file("app.yaml", &config("green"));
    namespace(&project, &name);
    project.write("runbooks/k8s.rhai", &format!("const NEEDS = [\"*\"];\n{APPLY}"));
    call(&project, ["plan", "k8s", "-o", "first.plan"]).success();
    call(&project, ["apply", "first.plan"]).success();

    // The manifest after the plan.
    project.write("app.yaml", &config("blue"));
    call(&project, ["plan", "k8s", "-o", "second.plan"]).success();
    project.write("app.yaml", &config("red"));
    let other = call(&project, ["apply", "second.plan"]).ends(3);
    shows(&other.stderr, "the same with other arguments");

    // The object after the plan.
    project.write("app.yaml", &config("blue"));
    call(&project, ["plan", "k8s", "-o", "third.plan"]).success();
    let elsewhere = format!(
        r#"k8s_patch("nl", "ConfigMap", "colours", #{{ data: #{{ floor: "grey" }} }}, #{{ namespace: "{name}" }});"#
    );
    project.write("runbooks/other.rhai", &format!("const NEEDS = [\"*\"];\n{elsewhere}"));
    call(&project, ["run", "other"]).success();
    let moved = call(&project, ["apply", "third.plan"]).ends(3);
    shows(&moved.stderr, "colours");
    let now = run(
        &project,
        &format!(r#"print(k8s_get("nl", "ConfigMap", "colours", #{{ namespace: "{name}" }}).data);"#),
    );
    shows(&now.success().stdout, "\"wall\": \"green\"");
}

#[test]
fn what_is_no_longer_among_the_manifests_is_pruned_and_nothing_else() {
    let Some(kube) = Kube::shared() else { return };
    let name = unique("prune");
    let config = |config: &str, app: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {config}, namespace: {name}, labels: {{app: {app}}}}}\n---\n"
        )
    };
    let project = kube.project();
    namespace(&project, &name);
    project.write("all.yaml", &(config("a", "shop") + &config("b", "shop") + &config("c", "other")));
    run(&project, r#"k8s_apply("nl", #{ source: "all.yaml" });"#).success();

    // What another object owns goes with that.
    let owned = format!(
        r#"let a = k8s_get("nl", "ConfigMap", "a", #{{ namespace: "{name}" }});
        k8s_apply("nl", #{{ apiVersion: "v1", kind: "ConfigMap", metadata: #{{ name: "of-a", namespace: "{name}", labels: #{{ app: "shop" }},
            ownerReferences: [#{{ apiVersion: "v1", kind: "ConfigMap", name: "a", uid: a.metadata.uid }}] }} }});"#
    );
    run(&project, &owned).success();
    project.write("app.yaml", &config("a", "shop"));
    let pruning = r#"for one in k8s_apply("nl", #{ source: "app.yaml" }, #{ prune: "app=shop" }) { print(`${one.name}: ${one.action}`) }"#;
    let planned = plan(&project, pruning).success();
    shows(&planned.stdout, &format!("k8s.delete nl/{name}/ConfigMap/b"));
    let pruned = run(&project, pruning).success();
    shows(&pruned.stdout, "a: unchanged\n");
    shows(&pruned.stdout, "b: pruned\n");
    let left = run(
        &project,
        &format!(
            r#"print(k8s_list("nl", "ConfigMap", #{{ namespace: "{name}" }}).map(|c| c.metadata.name));"#
        ),
    );
    let left = left.success().stdout;
    shows(&left, "\"c\"");
    shows(&left, "\"of-a\"");
    hides(&left, "\"b\"");

    project.write("app.yaml", &config("a", "other"));
    let unlabelled = run(&project, pruning).ends(1);
    shows(&unlabelled.stderr, "has no label `app: shop`, so it would be removed next time");
    let wide = run(&project, r#"k8s_apply("nl", #{ source: "app.yaml" }, #{ prune: "app" });"#).ends(1);
    shows(&wide.stderr, "write labels that must be equal");
}

#[test]
fn fields_of_others_are_told_with_their_owner_and_taken_only_by_force() {
    let Some(kube) = Kube::shared() else { return };
    let name = unique("owner");
    let project = kube.project();
    namespace(&project, &name);
    let apply = |wall: &str, options: &str| {
        format!(
            r#"k8s_apply("nl", #{{ apiVersion: "v1", kind: "ConfigMap", metadata: #{{ name: "c", namespace: "{name}" }},
                data: #{{ wall: "{wall}" }} }}, #{{ {options} }});"#
        )
    };
    run(&project, &apply("green", "manager: \"helm\"")).success();
    let refused = run(&project, &apply("red", "")).ends(1);
    shows(&refused.stderr, "`helm` owns .data.wall");
    shows(&plan(&project, &apply("red", "")).ends(1).stderr, "`helm` owns .data.wall");
    run(&project, &apply("red", "force: true")).success();
    shows(&run(&project, &apply("red", "")).success().stderr, "0 changed");
}

#[test]
fn what_argo_cd_or_opentofu_own_is_left_alone_unless_told() {
    let Some(kube) = Kube::shared() else { return };
    let name = unique("owned");
    let project = kube.project();
    namespace(&project, &name);
    for (object, mark, words) in [
        (
            "a",
            r#"annotations: #{ "argocd.argoproj.io/tracking-id": "shop:/ConfigMap:x/a" }"#,
            "Argo CD (application `shop`)",
        ),
        ("b", r#"labels: #{ "app.kubernetes.io/managed-by": "OpenTofu" }"#, "OpenTofu"),
    ] {
        let apply = |data: &str, options: &str| {
            format!(
                r#"k8s_apply("nl", #{{ apiVersion: "v1", kind: "ConfigMap", metadata: #{{ name: "{object}",
                    namespace: "{name}", {mark} }}, data: #{{ a: "{data}" }} }}, #{{ {options} }});"#
            )
        };
        run(&project, &apply("1", "")).success();
        let refused = run(&project, &apply("2", "")).ends(1);
        shows(&refused.stderr, &format!("belongs to {words}"));
        let delete = format!(r#"k8s_delete("nl", "ConfigMap", "{object}", #{{ namespace: "{name}" }});"#);
        shows(&run(&project, &delete).ends(1).stderr, &format!("belongs to {words}"));
        run(&project, &apply("2", "take_over: true")).success();
    }
}

#[test]
fn grants_name_objects_and_a_manifest_cannot_widen_them() {
    let Some(kube) = Kube::shared() else { return };
    let name = unique("grant");
    let project = kube.project();
    namespace(&project, &name);
    let apply = |manifest: &str| {
        let body =
            format!("const NEEDS = [\"k8s.apply:nl/{name}/*\"];\nk8s_apply(\"nl\", #{{ {manifest} }});");
        project.write("runbooks/k8s.rhai", &body);
        call(&project, ["run", "k8s"])
    };
    apply(&format!(
        r#"apiVersion: "v1", kind: "ConfigMap", metadata: #{{ name: "a", namespace: "{name}" }}"#
    ))
    .success();
    for manifest in [
        r#"apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "a", namespace: "default" }"#.to_owned(),
        // A namespace on what has none does not make it that namespace's.
        format!(
            r#"apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: #{{ name: "{name}", namespace: "{name}" }}"#
        ),
        format!(
            r#"apiVersion: "storage.k8s.io/v1", kind: "StorageClass", metadata: #{{ name: "{name}", namespace: "{name}" }}, provisioner: "x""#
        ),
    ] {
        let denied = apply(&manifest);
        assert!(denied.code == 3 || denied.stderr.contains("may not"), "{manifest}: {}", denied.stderr);
    }
    // Of a kind that is not the server's own only the cluster knows that it has no namespace.
    let definition =
        bundle(&name).rsplit("---\n").next().unwrap().replace("scope: Namespaced", "scope: Cluster");
    project.write("crd.yaml", &definition);
    run(&project, r#"k8s_apply("nl", #{ source: "crd.yaml" }); sleep("1s");"#).success();
    let site = format!(
        r#"apiVersion: "{name}.example.com/v1", kind: "Site", metadata: #{{ name: "s", namespace: "{name}" }}, spec: #{{ size: 1 }}"#
    );
    let denied = apply(&site).ends(1);
    shows(&denied.stderr, "may not");
    shows(&denied.stderr, "k8s.apply:nl/Site/s");
}

#[test]
fn secrets_stand_in_maps_and_nowhere_else() {
    let Some(kube) = Kube::shared() else { return };
    let name = unique("secret");
    let project = kube.project().variable("NLRUN_SECRET_DB_ROOT", PASSWORD);
    namespace(&project, &name);
    let body = format!(
        r#"k8s_apply("nl", #{{ apiVersion: "v1", kind: "Secret", metadata: #{{ name: "db", namespace: "{name}" }},
            stringData: #{{ password: secret("db/root") }} }});
        let read = k8s_secret("nl", "{name}", "db");
        file_put("localhost", "{}", read.password);
        print(read.password.name);"#,
        project.path("password").display()
    );
    let output = run(&project, &body).success();
    assert_eq!(project.read("password"), PASSWORD);
    shows(&output.stdout, &format!("k8s/nl/{name}/db/password"));
    hides(&output.stdout, PASSWORD);
    assert!(!is_in_log(&project, PASSWORD));
    // One that stands in another kind is recorded by name: nothing can be tried out, and a replay has no more.
    let config = format!(
        r#"print(k8s_apply("nl", #{{ apiVersion: "v1", kind: "ConfigMap", metadata: #{{ name: "c", namespace: "{name}" }},
            data: #{{ a: secret("db/root") }} }})[0].action);"#
    );
    let first = run(&project, &config).success();
    shows(&first.stdout, "«secret:db/root»");
    hides(&first.stdout, PASSWORD);
    assert!(!is_in_log(&project, PASSWORD));
    shows(&call(&project, ["replay", "3"]).success().stdout, "created");
    let printed = run(&project, &format!(r#"print(k8s_secret("nl", "{name}", "db").password);"#)).ends(1);
    shows(&printed.stderr, "has no text form");
    let seen =
        run(&project, &format!(r#"print(k8s_get("nl", "Secret", "db", #{{ namespace: "{name}" }}).data);"#));
    shows(&seen.success().stdout, "<secret>");
}
