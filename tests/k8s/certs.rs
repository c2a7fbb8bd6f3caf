//! `certs/sync` and `certs/expiry` with certificates that lie in a cluster, as cert-manager leaves them there.

use std::path::Path;

use super::{hides, is_in_log, namespace, run, shows};
use crate::behaviour::call;
use crate::support::certificates::Forge;
use crate::support::kube::{Kube, unique};

#[test]
fn a_certificate_of_a_cluster_goes_to_a_host_and_is_audited() {
    let Some(kube) = Kube::shared() else { return };
    let forge = Forge::chain();
    let (site, key) = (forge.join(&["leaf.pem", "middle.pem", "root.pem"]), forge.read("leaf.key"));
    let name = unique("certs");
    let project = kube.project().variable("NLRUN_SECRET_SITE_KEY", &key).file("files/site.pem", &site);
    namespace(&project, &name);
    run(
        &project,
        &format!(
            r#"k8s_apply("nl", #{{ apiVersion: "v1", kind: "Secret", type: "kubernetes.io/tls", metadata: #{{ name: "site-tls",
                namespace: "{name}" }}, stringData: #{{ "tls.crt": project_read("files/site.pem"), "tls.key": secret("site/key") }} }});"#
        ),
    )
    .success();
    for runbook in ["sync", "expiry"] {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("runbooks/certs/{runbook}.rhai"));
        project.write(&format!("runbooks/certs/{runbook}.rhai"), &std::fs::read_to_string(shipped).unwrap());
    }
    let (certificate, private) = (project.path("etc/site.pem"), project.path("etc/site.key"));
    std::fs::create_dir(project.path("etc")).unwrap();
    let table = serde_json::json!({
        "certificates": { "site": { "cluster": "nl", "namespace": name, "secret": "site-tls" } },
        "targets": [{ "name": "here", "certificate": "site", "use": "pair", "host": "localhost", "with": {
            "certificate": certificate, "key": private,
        } }],
    });
    project.write("certs.json", &table.to_string());
    call(&project, ["plan", "certs/sync", "--exit-code"]).ends(2);
    call(&project, ["run", "certs/sync"]).success();
    assert_eq!(project.read("etc/site.pem"), forge.join(&["leaf.pem", "middle.pem"]));
    assert!(project.read("etc/site.key").contains("PRIVATE KEY"));
    let again = call(&project, ["run", "certs/sync"]).success();
    shows(&again.stderr, "0 changed");
    assert!(!is_in_log(&project, key.lines().nth(1).unwrap()));

    let audit = call(&project, ["run", "certs/expiry", "--set", "clusters=nl"]).success();
    shows(&audit.stdout, &format!("nl/{name}/site-tls"));
    hides(&audit.stdout, "PRIVATE KEY");
    // A cluster that cannot be looked at is in the list, and fails it.
    let blind = call(&project, ["run", "certs/expiry", "--set", "clusters=nl,stale"]).ends(1);
    shows(&blind.stdout, "stale");
    shows(&blind.stderr, "the login is not accepted");
    shows(&blind.stdout, &format!("nl/{name}/site-tls"));
}
