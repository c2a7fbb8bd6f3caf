//! Kubernetes, against a real API server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod apply;
mod certs;
mod command;
mod crash;
mod library;
mod look;
mod node;
mod pod;
mod refusal;

use crate::behaviour::call;
use crate::support::project::{Output, Project};

/// Writes a runbook that may do everything, and runs it.
fn run(project: &Project, body: &str) -> Output {
    project.write("runbooks/k8s.rhai", &format!("const NEEDS = [\"*\"];\n{body}"));
    call(project, ["run", "k8s"])
}

fn plan(project: &Project, body: &str) -> Output {
    project.write("runbooks/k8s.rhai", &format!("const NEEDS = [\"*\"];\n{body}"));
    call(project, ["plan", "k8s"])
}

/// Makes a namespace.
fn namespace(project: &Project, name: &str) {
    run(project, &format!("k8s_apply(\"nl\", #{{ apiVersion: \"v1\", kind: \"Namespace\", metadata: #{{ name: \"{name}\" }} }});"))
        .success();
}

/// A Deployment of two pods.
fn deployment(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: c, image: nginx}}]}}
"
    )
}

/// Whether bytes stand in the run log, where they would be in clear.
fn is_in_log(project: &Project, text: &str) -> bool {
    let files = std::fs::read_dir(project.path(".nlrun")).unwrap();
    files
        .flatten()
        .filter_map(|file| std::fs::read(file.path()).ok())
        .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[track_caller]
fn shows(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

#[track_caller]
fn hides(text: &str, part: &str) {
    assert!(!text.contains(part), "`{part}` is in\n{text}");
}
