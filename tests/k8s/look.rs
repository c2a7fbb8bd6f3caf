//! Reading, waiting, patching, deleting.

use super::{deployment, namespace, plan, run, shows};
use crate::behaviour::call;
use crate::support::kube::{Kube, unique};

#[test]
fn objects_are_read_listed_patched_and_deleted() {
    let Some(kube) = Kube::shared() else { return };
    let (project, name) = (kube.project(), unique("look"));
    namespace(&project, &name);
    let mut manifests = String::new();
    for (config, app) in [("a", "shop"), ("b", "shop"), ("c", "other")] {
        manifests += &format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {config}, labels: {{app: {app}}}}}\ndata: {{k: '1'}}\n"
        );
    }
    project.write("app.yaml", &manifests);
    let body = format!(
        r#"let ns = #{{ namespace: "{name}" }};
        k8s_apply("nl", #{{ source: "app.yaml" }}, ns);
        print(k8s_list("nl", "ConfigMap", #{{ namespace: "{name}", selector: "app=shop" }}).map(|c| c.metadata.name));
        print(k8s_list("nl", "ConfigMap", #{{ namespace: "{name}", fields: "metadata.name=c" }}).len());
        let changed = k8s_patch("nl", "ConfigMap", "a", #{{ data: #{{ k: "2" }} }}, ns).changed;
        let again = k8s_patch("nl", "ConfigMap", "a", #{{ data: #{{ k: "2" }} }}, ns).changed;
        let by_json = k8s_patch("nl", "ConfigMap", "a", [#{{ op: "replace", path: "/data/k", value: "3" }}],
            #{{ namespace: "{name}", type: "json" }}).changed;
        print(`${{changed}} ${{again}} ${{by_json}} ${{k8s_get("nl", "ConfigMap", "a", ns).data.k}}`);
        print(k8s_delete("nl", "ConfigMap", "a", ns).existed);
        print(k8s_delete("nl", "ConfigMap", "a", ns).existed);
        print(k8s_get("nl", "ConfigMap", "a", #{{ namespace: "{name}", optional: true }}) == ());"#
    );
    let output = run(&project, &body).success().stdout;
    for part in ["[\"a\", \"b\"]\n", "\n1\n", "true false true 3\n", "\ntrue\n", "\nfalse\n"] {
        shows(&output, part);
    }
    shows(&output, "-  k: \"1\"");
    // The status counts where a patch is about it.
    project.write("runbooks/status.rhai", &format!(
        r#"const NEEDS = ["*"];
        k8s_apply("nl", #{{ apiVersion: "v1", kind: "ConfigMap", metadata: #{{ name: "s", namespace: "{name}" }} }});
        let r = k8s_patch("nl", "Namespace", "{name}", #{{ status: #{{ conditions: [#{{ type: "NamespaceContentRemaining",
            status: "False", lastTransitionTime: "2026-01-01T00:00:00Z" }}] }} }}, #{{ subresource: "status" }});
        print(r.changed);"#
    ));
    shows(&call(&project, ["run", "status"]).success().stdout, "\ntrue\n");
    // The record answers without a network.
    std::fs::remove_file(project.path("nlrun.yaml")).unwrap();
    project.write("nlrun.yaml", "");
    shows(&call(&project, ["replay", "2"]).success().stdout, "true false true 3");
}

#[test]
fn a_rollout_is_waited_for_and_restarted() {
    let Some(kube) = Kube::with_nodes() else { return };
    let (project, name) = (kube.project(), unique("roll"));
    namespace(&project, &name);
    project.write("app.yaml", &deployment(&name, "shop"));
    let body = format!(
        r#"let ns = #{{ namespace: "{name}", timeout: "40s" }};
        k8s_apply("nl", #{{ source: "app.yaml" }});
        k8s_wait("nl", "Deployment", "shop", "rollout", ns);
        let before = k8s_list("nl", "Pod", #{{ namespace: "{name}" }}).map(|p| p.metadata.name);
        k8s_rollout("nl", "Deployment", "shop", ns);
        let after = k8s_list("nl", "Pod", #{{ namespace: "{name}" }}).filter(|p| p.status.phase == "Running");
        print(`new ${{after.filter(|p| p.metadata.name in before && !("deletionTimestamp" in p.metadata)).len()}}`);
        k8s_wait("nl", "Deployment", "shop", "Available", ns);"#
    );
    // What the plan itself would bring is not waited for; what an act would do is only listed.
    let planned = plan(&project, &body).success();
    shows(&planned.stdout, "k8s.rollout");
    shows(&run(&project, &body).success().stdout, "new 0");
    let late = format!(
        r#"k8s_wait("nl", "Deployment", "shop", "Progressing=False", #{{ namespace: "{name}", timeout: "1s" }});"#
    );
    let late = run(&project, &late).ends(1);
    shows(&late.stderr, "not `Progressing=False` after 1s: `Progressing` is true: NewReplicaSetAvailable");
}

#[test]
fn a_failed_run_of_pods_ends_the_wait_at_once() {
    let Some(kube) = Kube::with_nodes() else { return };
    let (project, name) = (kube.project(), unique("once"));
    namespace(&project, &name);
    for (image, ends, says) in [("works", 0, ""), ("fails", 1, "it failed: BackoffLimitExceeded")] {
        let body = format!(
            r#"k8s_apply("nl", #{{ apiVersion: "batch/v1", kind: "Job", metadata: #{{ name: "{image}", namespace: "{name}" }},
                spec: #{{ backoffLimit: 0, template: #{{ spec: #{{ restartPolicy: "Never",
                containers: [#{{ name: "c", image: "{image}" }}] }} }} }} }});
            k8s_wait("nl", "Job", "{image}", "complete", #{{ namespace: "{name}", timeout: "40s" }});"#
        );
        shows(&run(&project, &body).ends(ends).stderr, says);
    }
}
