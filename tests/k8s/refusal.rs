//! What an API server refuses, and what becomes of it: a kind for scripts, a sentence for people, no try that cannot help.

use std::time::Duration;

use super::{hides, namespace, run, shows};
use crate::support::kube::{Kube, unique};
use crate::support::project::Project;

/// Runs a call and returns the kind and the message of its failure.
fn comes_to(project: &Project, call: &str) -> String {
    let body =
        format!("try {{ {call}; print(\"fine\") }} catch (e) {{ print(`${{e.kind}}: ${{e.message}}`) }}");
    let text = run(project, &body).success().stdout;
    let found = text.lines().filter(|line| !line.starts_with(' ') && !line.starts_with("failed "));
    found.collect::<Vec<_>>().join("\n")
}

fn config(namespace: &str, more: &str) -> String {
    format!(
        r#"#{{ apiVersion: "v1", kind: "ConfigMap", metadata: #{{ name: "c", namespace: "{namespace}" }}{more} }}"#
    )
}

#[test]
fn logins_and_rights() {
    let Some(kube) = Kube::shared() else { return };
    let project = kube.project();
    let apply = |cluster: &str| format!(r#"k8s_apply("{cluster}", {})"#, config("default", ""));
    shows(
        &comes_to(&project, &apply("stale")),
        "unauthorized: cluster `stale`: discovery: the login is not accepted",
    );
    let forbidden = comes_to(&project, &apply("viewer"));
    shows(&forbidden, "forbidden: cluster `viewer`: ConfigMap default/c: ");
    shows(&forbidden, "User \"viewer\" cannot patch resource \"configmaps\"");
    shows(&comes_to(&project, r#"k8s_secret("viewer", "default", "x")"#), "forbidden: ");
    shows(
        &comes_to(&project, r#"k8s_get("nl", "ConfigMap", "no-such", #{ namespace: "default" })"#),
        "not_found: ",
    );
}

#[test]
fn every_way_to_log_in() {
    let Some(kube) = Kube::shared() else { return };
    let kubeconfig = kube.kubeconfig();
    let project = Project::new()
        .variable("NLRUN_SECRET_K8S_NL", "token-of-lab")
        .file("plugin", "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"token-of-lab\"}}'\n")
        .file("broken", "#!/bin/sh\necho 'log in at https://example.com' >&2\nexit 1\n");
    let by_plugin = |name: &str| {
        let plugin = project.path(name);
        std::fs::set_permissions(&plugin, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let user = format!(
            "{{name: lab, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: '{}'}}}}}}",
            plugin.display()
        );
        kubeconfig.replace("{name: lab, user: {token: token-of-lab}}", &user)
    };
    let server = kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let ca = kubeconfig.split("certificate-authority: '").nth(1).unwrap().split('\'').next().unwrap();
    project.write("plugin.kubeconfig", &by_plugin("plugin"));
    project.write("broken.kubeconfig", &by_plugin("broken"));
    project.write(
        "insecure.kubeconfig",
        &kubeconfig.replace(&format!("certificate-authority: '{ca}'"), "insecure-skip-tls-verify: true"),
    );
    project.write("kubeconfig", &kubeconfig);
    project.write(
        "nlrun.yaml",
        &format!(
            "clusters:\n  token: {{server: 'https://{server}', ca: '{ca}', token: k8s/nl}}\n  \
               certificate: {{kubeconfig: kubeconfig, context: keeper}}\n  plugin: {{kubeconfig: plugin.kubeconfig, context: lab}}\n  \
               broken: {{kubeconfig: broken.kubeconfig, context: lab}}\n  insecure: {{kubeconfig: insecure.kubeconfig, context: lab}}\n"
        ),
    );
    for (cluster, says) in [
        ("token", "fine"),
        ("certificate", "fine"),
        ("plugin", "fine"),
        ("broken", "cluster `broken`"),
        ("insecure", "switches the check of certificates off"),
    ] {
        let told = comes_to(&project, &format!(r#"k8s_get("{cluster}", "Namespace", "default")"#));
        shows(&told, says);
        hides(&told, "token-of-lab");
    }
}

#[test]
fn objects_that_are_wrong() {
    let Some(kube) = Kube::shared() else { return };
    let (project, name) = (kube.project(), unique("wrong"));
    namespace(&project, &name);
    let apply = |manifest: &str| comes_to(&project, &format!("k8s_apply(\"nl\", {manifest})"));
    // The server says 500 to an unknown field; it is permanent all the same.
    let unknown = apply(&config(&name, ", spec: #{ sizes: 1 }"));
    shows(&unknown, "rejected: ");
    shows(&unknown, "field not declared in schema");
    shows(&apply(&config(&name, ", data: #{ a: 1 }")), "rejected: ");
    shows(
        &apply(&config("no-such-namespace", "")),
        "there is no namespace `no-such-namespace`; apply it before",
    );
    shows(
        &apply(
            r#"#{ apiVersion: "apps/v1beta1", kind: "Deployment", metadata: #{ name: "d", namespace: "default" } }"#,
        ),
        "as `apps/v1beta1` but as `apps/v1`",
    );
    shows(
        &apply(r#"#{ apiVersion: "v1", kind: "Confgmap", metadata: #{ name: "d" } }"#),
        "did you mean `ConfigMap`?",
    );
    shows(
        &apply(r#"#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "d" } }"#),
        "write it in the manifest, or give it as option `namespace`",
    );
    let bad = format!(
        r#"#{{ apiVersion: "v1", kind: "Secret", metadata: #{{ name: "s", namespace: "{name}" }}, data: #{{ a: "%%%not-base64%%%" }} }}"#
    );
    let bad = apply(&bad);
    shows(&bad, "rejected: ");
    hides(&bad, "not-base64");
    // What the server warns of is told.
    let odd = r#"#{ apiVersion: "v1", kind: "Pod", metadata: #{ name: "odd-name", namespace: "NS" }, spec: #{
        containers: [#{ name: "c", image: "nginx" }], nodeSelector: #{ "beta.kubernetes.io/os": "linux" } } }"#;
    shows(
        &run(&project, &format!("k8s_apply(\"nl\", {});", odd.replace("NS", &name))).success().stdout,
        "deprecated",
    );
    // A template of pods cannot be changed; the server dumps all of it.
    let worker = |image: &str| {
        format!(
            r#"#{{ apiVersion: "batch/v1", kind: "Job", metadata: #{{ name: "once", namespace: "{name}" }}, spec: #{{ template:
                #{{ spec: #{{ restartPolicy: "Never", containers: [#{{ name: "c", image: "{image}" }}] }} }} }} }}"#
        )
    };
    shows(&apply(&worker("a")), "fine");
    let immutable = apply(&worker("b"));
    shows(&immutable, "rejected: ");
    shows(&immutable, "spec.template");
    assert!(immutable.len() < 2_000, "{}", immutable.len());
}

#[test]
fn objects_that_are_too_large() {
    let Some(kube) = Kube::shared() else { return };
    let (project, name) = (kube.project(), unique("large"));
    namespace(&project, &name);
    for (bytes, kind) in [(1_200_000, "rejected: "), (3_500_000, "too_large: ")] {
        let text = "x".repeat(bytes);
        project.write(
            "large.yaml",
            &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c, namespace: {name}}}\ndata: {{a: {text}}}\n"),
        );
        let told = comes_to(&project, r#"k8s_apply("nl", #{ source: "large.yaml" })"#);
        shows(&told, kind);
        assert!(told.len() < 2_000, "{}", told.len());
    }
}

#[test]
fn a_namespace_on_its_way_out_takes_nothing() {
    let Some(kube) = Kube::with_nodes() else { return };
    let (project, name) = (kube.project(), unique("leaving"));
    namespace(&project, &name);
    // A finalizer that nobody takes away keeps the namespace where it is.
    let pinned = config(&name, "").replace("name: \"c\"", "name: \"c\", finalizers: [\"example.com/stay\"]");
    run(&project, &format!("k8s_apply(\"nl\", {pinned});")).success();
    let told =
        comes_to(&project, &format!(r#"k8s_delete("nl", "Namespace", "{name}", #{{ timeout: "20s" }})"#));
    shows(&told, &format!("timed_out: cluster `nl`: Namespace {name} is still there after 20s: "));
    shows(&told, "example.com/stay");
    let told =
        comes_to(&project, &format!("k8s_apply(\"nl\", {})", config(&name, "").replace("\"c\"", "\"d\"")));
    shows(&told, "forbidden: ");
    shows(&told, "being terminated");
    run(&project, &format!(r#"k8s_patch("nl", "ConfigMap", "c", #{{ metadata: #{{ finalizers: [] }} }}, #{{ namespace: "{name}" }});"#)).success();
    shows(&comes_to(&project, &format!(r#"k8s_delete("nl", "Namespace", "{name}")"#)), "fine");
}

#[test]
fn a_cluster_that_is_not_there_or_not_the_one() {
    let Some(kube) = Kube::shared() else { return };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = kube.kubeconfig();
    let server = kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
    let project = Project::new()
        .variable("NLRUN_SECRET_K8S_NL", "token-of-lab")
        .file("ca.pem", &other.cert.pem())
        .file(
            "nlrun.yaml",
            &format!(
                "clusters:\n  gone: {{server: 'https://127.0.0.1:{closed}', token: k8s/nl}}\n  \
               other: {{server: 'https://{server}', ca: ca.pem, token: k8s/nl}}\n  \
               lost: {{server: 'https://{server}', ca: nowhere.pem}}\n  here: {{in_cluster: true}}\n"
            ),
        );
    let get =
        |cluster: &str| format!(r#"k8s_get("{cluster}", "ConfigMap", "c", #{{ namespace: "default" }})"#);
    let begun = std::time::Instant::now();
    shows(&comes_to(&project, &get("other")), "tls: cluster `other`: ");
    shows(&comes_to(&project, &get("lost")), "nowhere.pem");
    shows(&comes_to(&project, &get("here")), "this is not a pod of a cluster");
    shows(&comes_to(&project, &get("othr")), "did you mean `other`?");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let output = run(&project, &get("gone")).ends(1);
    shows(&output.stderr, "connection refused by 127.0.0.1:");
    hides(&output.stderr, "token-of-lab");
}

#[test]
fn a_server_in_trouble_is_asked_again_and_one_that_refuses_is_not() {
    use crate::support::web::{Web, reply};
    // Kubernetes is spoken over TLS only; what is between is a plain tunnel for this test.
    let core = r#"{"items":[{"metadata":{},"versions":[{"version":"v1","resources":[{"resource":"configmaps","responseKind":{"kind":"ConfigMap"},"scope":"Namespaced"}]}]}]}"#;
    let server = Web::start(move |request, number, stream| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path {
            "/api" => reply(stream, "200 OK", "", core.as_bytes()),
            "/apis" => reply(stream, "200 OK", "", br#"{"items":[]}"#),
            // Not the API server's word: a proxy that knows no such path.
            _ if path.ends_with("/lost") => reply(stream, "404 Not Found", "", b"<h1>not here</h1>"),
            _ if number < 5 => reply(stream, "503 Service Unavailable", "Retry-After: 1\r\n", b"starting"),
            _ => reply(stream, "200 OK", "", br#"{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"b"}}"#),
        }
    });
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: '{}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n",
        server.url("")
    );
    let project = Project::new()
        .file("kubeconfig", &kubeconfig)
        .file("nlrun.yaml", "clusters: {c: {kubeconfig: kubeconfig}}\n");
    let told =
        comes_to(&project, r#"print(k8s_get("c", "ConfigMap", "c", #{ namespace: "default" }).data.a)"#);
    shows(&told, "b");
    let lost = comes_to(&project, r#"k8s_delete("c", "ConfigMap", "lost", #{ namespace: "default" })"#);
    shows(&lost, "not_found: cluster `c`: ConfigMap default/lost: <h1>not here</h1>");
    let gets = server.requests().iter().filter(|request| request.contains("/configmaps/c")).count();
    assert_eq!(gets, 3, "{:?}", server.requests());
}
