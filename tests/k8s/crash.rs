//! `kill -9` after every event of a run that changes a cluster: resumed, it ends where an uninterrupted one does.

use std::process::Stdio;

use nlrun::model::run::Status;

use super::{deployment, namespace, run, shows};
use crate::behaviour::{call, events, finish, store, verified};
use crate::support::kube::{Kube, unique};
use crate::support::project::Project;

const BODY: &str = r#"
const NEEDS = ["*"];
const PARAMS = #{ name: "string" };
let name = params.name;
let ns = #{ namespace: name, timeout: "40s" };
for one in k8s_apply("nl", #{ source: "app.yaml" }, #{ namespace: name, prune: "app=crash" }) { print(`${one.kind} ${one.name}`) }
k8s_wait("nl", "Deployment", "shop", "rollout", ns);
let password = k8s_secret("nl", name, "db").password;
k8s_patch("nl", "Deployment", "shop", #{ metadata: #{ annotations: #{ patched: "yes" } } }, #{ namespace: name });
k8s_rollout("nl", "Deployment", "shop", ns);
file_put("localhost", `${project_root()}/password`, password);
k8s_delete("nl", "ConfigMap", "old", #{ namespace: name });
"#;

fn manifests() -> String {
    let labelled = |text: &str| {
        text.replace("metadata: {name: shop, namespace: x}", "metadata: {name: shop, labels: {app: crash}}")
    };
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: db, labels: {{app: crash}}}}\nstringData: {{password: hunter2-hunter2}}\n---\n{}",
        labelled(&deployment("x", "shop"))
    )
}

fn prepare(project: &Project, name: &str) {
    namespace(project, name);
    let old = |label: &str, config: &str| {
        format!(
            r#"k8s_apply("nl", #{{ apiVersion: "v1", kind: "ConfigMap", metadata: #{{ name: "{config}", namespace: "{name}",
                labels: #{{ app: "{label}" }} }} }}, #{{ manager: "before" }});"#
        )
    };
    run(project, &(old("other", "old") + &old("crash", "gone"))).success();
    std::fs::remove_dir_all(project.path(".nlrun")).unwrap();
}

fn project(kube: &Kube, body: &str) -> Project {
    let project = kube.project().file("app.yaml", &manifests());
    let root = project.root().display().to_string();
    project.runbook("crash", &body.replace("${project_root()}", &root))
}

/// What is there in the end, apart from what differs from run to run.
fn state(project: &Project, name: &str) -> String {
    let body = format!(
        r#"let ns = #{{ namespace: "{name}" }};
        let shop = k8s_get("nl", "Deployment", "shop", ns);
        print(`shop ${{shop.metadata.annotations.patched}} ${{shop.status.availableReplicas}}`);
        print("kubectl.kubernetes.io/restartedAt" in shop.spec.template.metadata.annotations);
        let left = k8s_list("nl", "ConfigMap", ns).map(|c| c.metadata.name);
        print(`left ${{left.filter(|n| n in ["old", "gone"])}}`);"#
    );
    run(project, &body).success().stdout
}

#[test]
fn killed_after_every_event_a_run_on_a_cluster_is_resumed_to_the_same_end() {
    let Some(kube) = Kube::with_nodes() else { return };
    let whole = project(kube, BODY);
    let name = unique("crash");
    prepare(&whole, &name);
    let arguments = ["run", "crash", "--set", &format!("name={name}")].map(str::to_owned);
    call(&whole, &arguments).success();
    let last = events(&store(&whole), 1).len() as i64;
    let expected = state(&whole, &name);
    shows(&expected, "shop yes 2\ntrue\nleft []\n");
    // Every event on three threads; the cluster is the same one for all of them.
    let next = std::sync::atomic::AtomicI64::new(1);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let kill = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if kill >= last {
                        return;
                    }
                    let (project, name) = (project(kube, BODY), unique("crash"));
                    prepare(&project, &name);
                    let arguments = ["run", "crash", "--set", &format!("name={name}")].map(str::to_owned);
                    let mut command = project.command(&arguments);
                    let command = command.env("NLRUN_TEST_KILL_AFTER", kill.to_string());
                    finish(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
                    if verified(&store(&project), 1) != Status::Done {
                        // An act that was begun says itself whether it happened.
                        call(&project, ["resume", "1"]).success();
                    }
                    assert_eq!(verified(&store(&project), 1), Status::Done, "event {kill}");
                    assert_eq!(project.read("password"), "hunter2-hunter2", "event {kill}");
                    assert_eq!(state(&project, &name), expected, "event {kill}");
                }
            });
        }
    });
}
