//! Proxmox VE.

use nlrun::lab::http::proxmox::{Config, Proxmox};

use super::{Site, hides, runbook, synced};
use crate::behaviour::call;
use crate::support::project::Project;

const UUID: &str = "6b5a3c1e-0d6f-4a52-9f0e-2b8f7c1d9e44";

fn project(site: &Site, node: &Proxmox, more: &str) -> Project {
    let pin = site.fingerprint("own");
    let target = format!(
        "kind: \"proxmox\", node: \"pve01\", token: secret(\"pve/token\"), pin: \"{pin}\", tries: 1, patience: \"5s\", {more}"
    );
    let project = Project::new()
        .variable("NLRUN_SECRET_PVE_TOKEN", &format!("root@pam!nlrun={UUID}"))
        .runbook("bring", &runbook(&format!("https://{}", node.address), &target));
    site.bring(&project, "one");
    project
}

#[test]
fn a_node_gets_a_certificate_and_is_still_known_by_it() {
    for drops in [false, true] {
        let site = Site::new();
        let node = Proxmox::start(Config::new(site.pair("own"))).unwrap();
        node.state().drops = drops;
        let project = project(&site, &node, "");
        let plan = call(&project, ["plan", "bring"]).success();
        assert!(plan.stdout.contains("+pve01 pveproxy-ssl.pem: "), "{plan:?}");
        let first = synced(&project, true);
        site.serves(node.address, "localhost", "one");
        // Its certificate is not the pinned one any more, and it is the one that it was given.
        let second = synced(&project, false);
        assert_eq!(node.state().restarts, 1);
        // Renewed by somebody else meanwhile: neither the pinned one nor the wanted one.
        site.bring(&project, "two");
        let third = call(&project, ["run", "bring"]).ends(1);
        assert!(third.stderr.contains("TLS: "), "{third:?}");
        assert_eq!(node.state().restarts, 1);
        let keys = ["one", "two"].map(|name| site.pair(name).key);
        hides(&project, &[&plan, &first, &second, &third], &keys);
        hides(&project, &[&plan, &first, &second, &third], &[UUID.to_owned()]);
    }
}

#[test]
fn a_renewal_is_let_in_by_the_authority() {
    let site = Site::new();
    let node = Proxmox::start(Config::new(site.pair("one"))).unwrap();
    let project = project(&site, &node, "");
    project.write("root.pem", &site.forge.read("root.pem"));
    let text = project.read("runbooks/bring.rhai");
    let pin = text.find("pin: ").unwrap();
    let end = pin + text[pin..].find(',').unwrap();
    project.write("runbooks/bring.rhai", &format!("{}ca: \"root.pem\"{}", &text[..pin], &text[end..]));
    site.bring(&project, "two");
    synced(&project, true);
    site.serves(node.address, "localhost", "two");
    synced(&project, false);
    // There and not shown, as after a change by hand: it is brought again.
    node.state().custom = Some(site.pair("one"));
    synced(&project, true);
    assert_eq!(node.state().restarts, 2);
}

#[test]
fn what_the_node_says_is_told() {
    for has_message in [true, false] {
        let site = Site::new();
        let node = Proxmox::start(Config { may_modify: false, has_message, ..Config::new(site.pair("own")) })
            .unwrap();
        let made = project(&site, &node, "");
        let output = call(&made, ["run", "bring"]).ends(1);
        assert!(
            output.stderr.contains("403 Permission check failed (/nodes/pve01, Sys.Modify)"),
            "{output:?}"
        );
        let elsewhere = made.read("runbooks/bring.rhai").replace("\"pve01\"", "\"pve09\"");
        made.write("runbooks/bring.rhai", &elsewhere);
        let output = call(&made, ["run", "bring"]).ends(1);
        assert!(output.stderr.contains("500 hostname lookup 'pve09' failed"), "{output:?}");
        for (token, words) in [
            (
                "root@pam!nlrun=00000000-0000-0000-0000-000000000000",
                "refuses the login: Authentication failed!",
            ),
            ("root@pam!nlrun@00000000-0000-0000-0000-000000000000", "it reads `USER@REALM!NAME=UUID`"),
        ] {
            let made = project(&site, &node, "").variable("NLRUN_SECRET_PVE_TOKEN", token);
            let output = call(&made, ["run", "bring"]).ends(1);
            assert!(output.stderr.contains(words), "{output:?}");
            hides(&made, &[&output], &[token.to_owned()]);
        }
    }
}
