//! Nodes: closed, drained within disruption budgets, opened. One test: the tests of pods share the nodes.

use super::{deployment, namespace, plan, run, shows};
use crate::support::kube::{Kube, unique};

/// A pod bound to a node, so that no other test's pods are in the way.
fn pod(namespace: &str, name: &str, node: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}{more}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: c, image: nginx}}]}}\n"
    )
}

#[test]
fn a_node_is_drained_and_what_blocks_it_is_named() {
    let Some(kube) = Kube::with_nodes() else { return };
    let (project, name) = (kube.project(), unique("drain"));
    let node = unique("edge");
    namespace(&project, &name);
    // A node of this test's own, ready but for others' pods.
    let made = format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\nspec: {{unschedulable: true}}\n{}",
        deployment(&name, "shop").replace("replicas: 2", "replicas: 0").replacen(
            "apiVersion",
            "---\napiVersion",
            1
        )
    );
    project.write("node.yaml", &made);
    run(&project, r#"k8s_apply("nl", #{ source: "node.yaml" });"#).success();

    let drain = |options: &str| {
        format!(r#"let d = k8s_drain("nl", "{node}", #{{ {options} }}); print(`${{d.pods}} ${{d.left}}`);"#)
    };
    project.write("pods.yaml", &pod(&name, "alone", &node, ""));
    run(&project, r#"k8s_apply("nl", #{ source: "pods.yaml" });"#).success();
    let blocked = run(&project, &drain("")).ends(1);
    shows(&blocked.stderr, &format!("{name}/alone has no controller that would bring it back"));

    // A budget that allows nothing.
    let budget = format!(
        r#"k8s_apply("nl", #{{ apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: #{{ name: "tight", namespace: "{name}" }},
            spec: #{{ maxUnavailable: 0, selector: #{{ matchLabels: #{{ app: "alone" }} }} }} }});
        k8s_patch("nl", "Pod", "alone", #{{ metadata: #{{ labels: #{{ app: "alone" }} }} }}, #{{ namespace: "{name}" }});
        k8s_wait("nl", "PodDisruptionBudget", "tight", "status.expectedPods=1", #{{ namespace: "{name}", timeout: "30s" }});"#
    );
    let set = run(&project, &budget);
    // A pod without a controller counts for no budget in percent; the server says so in the budget's conditions.
    let set_is_seen = set.code == 0;
    let blocked = run(&project, &drain("force: true, timeout: \"2s\""));
    if set_is_seen {
        let blocked = blocked.ends(1);
        shows(&blocked.stderr, &format!("there are still pods: {name}/alone: "));
        shows(&blocked.stderr, "disruption budget tight");
        shows(&blocked.stderr, "it stays closed for new pods");
    }
    run(
        &project,
        &format!(r#"k8s_delete("nl", "PodDisruptionBudget", "tight", #{{ namespace: "{name}" }});"#),
    )
    .success();

    let planned = plan(&project, &drain("force: true")).success();
    shows(&planned.stdout, &format!("-pod {name}/alone"));
    shows(
        &run(&project, &drain("force: true, timeout: \"30s\"")).success().stdout,
        &format!("[\"{name}/alone\"] []"),
    );
    shows(&run(&project, &drain("force: true")).success().stderr, "0 changed");

    // One that does not end.
    project.write("pods.yaml", &pod(&name, "stuck", &node, ", annotations: {lab/stays: ''}"));
    run(&project, r#"k8s_apply("nl", #{ source: "pods.yaml" });"#).success();
    let stuck = run(&project, &drain("force: true, timeout: \"2s\"")).ends(1);
    shows(&stuck.stderr, &format!("{name}/stuck: evicted, but it has not ended"));
    run(&project, &format!(r#"k8s_delete("nl", "Pod", "stuck", #{{ namespace: "{name}", grace: 0 }});"#))
        .success();

    let open = format!(
        r#"print(k8s_uncordon("nl", "{node}").changed); print(k8s_uncordon("nl", "{node}").changed);
        print(k8s_cordon("nl", "{node}").changed);
        print(k8s_nodes("nl").filter(|n| n.name == "{node}")[0].unschedulable);
        k8s_delete("nl", "Node", "{node}");"#
    );
    let text = run(&project, &open).success().stdout;
    let said: Vec<&str> = text.lines().filter(|line| *line == "true" || *line == "false").collect();
    assert_eq!(said, ["true", "false", "true", "true"], "{text}");
    let missing = run(&project, r#"k8s_drain("nl", "no-such-node");"#).ends(1);
    shows(&missing.stderr, "nodes \"no-such-node\" not found");
}
