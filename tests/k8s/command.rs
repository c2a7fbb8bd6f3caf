//! `nlrun k8s apply|diff`.

use std::io::Write as _;

use super::{hides, namespace, shows};
use crate::behaviour::call;
use crate::support::kube::{Kube, unique};

#[test]
fn manifests_are_applied_and_compared_from_files_folders_and_input() {
    let Some(kube) = Kube::shared() else { return };
    let (project, name) = (kube.project(), unique("command"));
    namespace(&project, &name);
    let config = |wall: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c, labels: {{app: shop}}}}\ndata: {{wall: {wall}}}\n"
        )
    };
    project.write("k8s/app.yaml", &config("green"));
    project.write("k8s/.hidden.yaml", "not: [yaml");
    project.write("k8s/notes.txt", "not a manifest");
    let to = ["--cluster", "nl", "-n", &name];
    let with =
        |words: &[&str]| -> Vec<String> { words.iter().chain(&to).map(|word| (*word).to_owned()).collect() };

    let diff = call(&project, with(&["k8s", "diff", "-f", "k8s"])).ends(2);
    shows(&diff.stdout, "+  wall: green");
    let dry = call(&project, with(&["k8s", "apply", "-f", "k8s", "--dry-run"])).success();
    shows(&dry.stderr, "1 would change");
    call(&project, with(&["k8s", "apply", "-f", "k8s"])).success();
    call(&project, with(&["k8s", "diff", "-f", "k8s"])).success();

    let red = config("red");
    let piped = project.args_with_input(with(&["k8s", "diff", "-f", "-"]), red.as_bytes()).ends(2);
    shows(&piped.stdout, "-  wall: green\n    +  wall: red");
    let outside = project.home().join("other.yaml");
    std::fs::File::create(&outside).unwrap().write_all(config("blue").as_bytes()).unwrap();
    let lines = call(&project, with(&["k8s", "apply", "-f", outside.to_str().unwrap(), "--json"]))
        .success()
        .json_lines();
    let last = lines.last().unwrap();
    assert_eq!(last["result"][0]["action"], "configured", "{last}");
    let pruned =
        call(&project, with(&["k8s", "apply", "-f", "k8s", "--prune", "app=shop", "--force"])).success();
    hides(&pruned.stderr, "error");

    for (words, code, says) in [
        (vec!["k8s", "diff", "-f", "nowhere.yaml", "--cluster", "nl"], 64, "cannot read `nowhere.yaml`"),
        (vec!["k8s", "diff", "-f", "k8s"], 64, "which cluster?"),
        (
            vec!["k8s", "diff", "-f", "k8s/notes.txt", "--cluster", "nl"],
            1,
            "the object that begins at line 1 is no mapping",
        ),
        (vec!["k8s", "apply", "-f", "k8s", "--cluster", "ln"], 1, "did you mean `nl`?"),
    ] {
        shows(&call(&project, words).ends(code).stderr, says);
    }
    // The only cluster need not be named, and neither need the kubeconfig's current context.
    project.write("kubeconfig", &kube.kubeconfig());
    project.write("nlrun.yaml", "clusters: {lab: {kubeconfig: kubeconfig}}\n");
    call(&project, ["k8s", "diff", "-f", "k8s", "-n", &name]).success();
    project.write("nlrun.yaml", "");
    let project = project.variable("KUBECONFIG", "kubeconfig");
    call(&project, ["k8s", "diff", "-f", "k8s", "-n", &name]).success();
}
