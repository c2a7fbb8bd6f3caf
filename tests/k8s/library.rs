//! `argocd` and `velero` of the standard library: real objects, and a test that plays their controllers.

use std::process::Stdio;

use super::{namespace, run, shows};
use crate::behaviour::{call, finish};
use crate::support::kube::{Kube, unique};
use crate::support::project::{Output, Project, until};

/// Definitions as open as the real ones are about status.
const DEFINITIONS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applications.argoproj.io}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {kind: Application, plural: applications}
  versions:
  - {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: backups.velero.io}
spec:
  group: velero.io
  scope: Namespaced
  names: {kind: Backup, plural: backups}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
";

/// Starts a runbook, and plays the controller as soon as `asked` prints `true`.
fn with_controller(project: &Project, body: &str, asked: &str, answer: &str) -> Output {
    project.write("runbooks/library.rhai", &format!("const NEEDS = [\"*\"];\n{body}"));
    let mut command = project.command(["run", "library"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    project.write("runbooks/asked.rhai", &format!("const NEEDS = [\"*\"];\n{asked}"));
    until("the controller is asked", || call(project, ["run", "asked"]).success().stdout.ends_with("true\n"));
    run(project, answer).success();
    finish(child)
}

#[test]
fn an_application_is_synced_by_its_controller() {
    let Some(kube) = Kube::shared() else { return };
    let (project, name) = (kube.project().file("crds.yaml", DEFINITIONS), unique("argocd"));
    namespace(&project, &name);
    let made = format!(
        r#"k8s_apply("nl", #{{ source: "crds.yaml" }});
        k8s_apply("nl", #{{ apiVersion: "argoproj.io/v1alpha1", kind: "Application", metadata: #{{ name: "shop", namespace: "{name}" }},
            spec: #{{ project: "default" }} }}, #{{ manager: "argocd" }});
        k8s_patch("nl", "Application.argoproj.io", "shop", #{{ status: #{{ operationState: #{{ phase: "Succeeded" }},
            sync: #{{ status: "OutOfSync" }}, health: #{{ status: "Healthy" }} }} }}, #{{ namespace: "{name}" }});"#
    );
    run(&project, &made).success();
    let asked = format!(
        r#"let shop = k8s_get("nl", "Application.argoproj.io", "shop", #{{ namespace: "{name}" }});
        print("operation" in shop && shop.operation["sync"].revision == "v2");"#
    );
    let sync = format!(
        r#"import "argocd" as argocd;
        print(argocd::synchronize("nl", "shop", #{{ namespace: "{name}", revision: "v2", timeout: "30s" }}).ok);
        argocd::wait("nl", "shop", #{{ namespace: "{name}", timeout: "5s" }});
        k8s_apply("nl", #{{ apiVersion: "argoproj.io/v1alpha1", kind: "Application", metadata: #{{ name: "new", namespace: "{name}" }} }});
        print(argocd::applications("nl", #{{ namespace: "{name}" }}));"#
    );
    let answer = |phase: &str, sync: &str| {
        format!(
            r#"k8s_patch("nl", "Application.argoproj.io", "shop", #{{ operation: (), status: #{{ sync: #{{ status: "{sync}" }},
                operationState: #{{ phase: "{phase}", message: "no such revision" }} }} }}, #{{ namespace: "{name}" }});"#
        )
    };
    let failed = with_controller(&project, &sync, &asked, &answer("Failed", "OutOfSync")).ends(1);
    shows(&failed.stderr, "`.status.operationState.phase=Failed`: no such revision");
    // The phase of the last time is there still when the request is written: it is not taken for this one's.
    let done = with_controller(&project, &sync, &asked, &answer("Succeeded", "Synced")).success();
    shows(&done.stdout, "\ntrue\n");
    shows(&done.stdout, "\"sync\": \"Synced\"");
    shows(&done.stdout, "\"sync\": \"Unknown\"");
}

#[test]
fn a_backup_is_waited_for_and_a_partial_one_fails() {
    let Some(kube) = Kube::shared() else { return };
    let (project, name) = (kube.project().file("crds.yaml", DEFINITIONS), unique("velero"));
    namespace(&project, &name);
    run(&project, r#"k8s_apply("nl", #{ source: "crds.yaml" });"#).success();
    for (backup, phase, code) in [("full", "Completed", 0), ("part", "PartiallyFailed", 1)] {
        let body = format!(
            r#"import "velero" as velero;
            velero::backup("nl", "{backup}", #{{ namespace: "{name}", spec: #{{ ttl: "1h" }}, timeout: "30s" }});"#
        );
        let asked = format!(
            r#"print(k8s_get("nl", "Backup.velero.io", "{backup}", #{{ namespace: "{name}", optional: true }})?.spec?.ttl == "1h");"#
        );
        let answer = format!(
            r#"k8s_patch("nl", "Backup.velero.io", "{backup}", #{{ status: #{{ phase: "{phase}" }} }}, #{{ namespace: "{name}" }});"#
        );
        let output = with_controller(&project, &body, &asked, &answer).ends(code);
        shows(&output.stderr, if code == 0 { "done" } else { "`.status.phase=PartiallyFailed`" });
    }
}
