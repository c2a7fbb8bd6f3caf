//! Commands in containers and what they say.

use super::{deployment, hides, namespace, run, shows};
use crate::support::kube::{Kube, unique};

#[test]
fn a_command_runs_in_a_container_with_input_output_and_code() {
    let Some(kube) = Kube::with_nodes() else { return };
    let (name, secret) = (unique("exec"), "correct horse battery");
    let project = kube.project().variable("NLRUN_SECRET_DB_ROOT", secret);
    namespace(&project, &name);
    project.write("app.yaml", &deployment(&name, "shop"));
    let body = format!(
        r#"k8s_apply("nl", #{{ source: "app.yaml" }});
        k8s_wait("nl", "Deployment", "shop", "rollout", #{{ namespace: "{name}", timeout: "40s" }});
        let pod = k8s_list("nl", "Pod", #{{ namespace: "{name}" }})[0].metadata.name;
        let e = k8s_exec("nl", "{name}", pod, ["sh", "-c", "cat; echo oops >&2; exit 3"], #{{ stdin: "hello", ok: [0, 3] }});
        print(`${{e.code}}/${{e.out}}/${{e.err}}`);
        print(k8s_exec("nl", "{name}", pod, ["sh", "-c", "wc -c"], #{{ stdin: secret("db/root") }}).out);
        print(k8s_exec("nl", "{name}", pod, ["cat"], #{{ stdin: secret("db/root") }}).ok);
        print(k8s_exec("nl", "{name}", pod, ["head", "-c", "300000", "/dev/zero"]).out.len());
        try {{ k8s_exec("nl", "{name}", pod, ["sh", "-c", "echo no >&2; exit 4"]) }} catch (e) {{ print(`${{e.kind}} ${{e.code}} ${{e.message}}`) }}
        try {{ k8s_exec("nl", "{name}", "no-pod", ["true"]) }} catch (e) {{ print(e.kind) }}
        try {{ k8s_exec("nl", "{name}", pod, ["sleep", "60"], #{{ timeout: "1s" }}) }} catch (e) {{ print(e.kind) }}
        print(k8s_logs("nl", "{name}", pod, #{{ tail: 1 }}));
        try {{ k8s_logs("nl", "{name}", "no-pod") }} catch (e) {{ print(e.kind) }}"#
    );
    let output = run(&project, &body).success().stdout;
    for part in [
        "3/hello/oops",
        "\n21\n",
        "\n300000\n",
        "command 4 cluster `nl`: Pod",
        "exit code 4: no",
        "\nnot_found\n",
        "\ntimed_out\n",
        "\nthird\n",
    ] {
        shows(&output, part);
    }
    hides(&output, secret);
    shows(&output, "«secret:db/root»");
}
