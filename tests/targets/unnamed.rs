//! Programs that do not tell what they serve and are looked at by TLS: Synology DSM and UniFi consoles.

use nlrun::lab::http::synology::{self, Synology};
use nlrun::lab::http::unifi::{self, Unifi};

use super::{Site, hides, runbook, synced};
use crate::behaviour::call;
use crate::support::project::Project;

fn project(site: &Site, address: std::net::SocketAddr, kind: &str, password: &str) -> Project {
    let target = format!(
        "kind: \"{kind}\", user: \"nlrun\", password: secret(\"api/password\"), ca: \"known.pem\", tries: 1, patience: \"5s\""
    );
    let project = Project::new()
        .file("known.pem", &(site.forge.read("root.pem") + &site.forge.read("own.pem")))
        .variable("NLRUN_SECRET_API_PASSWORD", password)
        .runbook("bring", &runbook(&format!("https://{address}"), &target));
    site.bring(&project, "one");
    project
}

#[test]
fn a_dsm_gets_a_certificate_and_no_session_stays() {
    for drops in [false, true] {
        let site = Site::new();
        let dsm = Synology::start(synology::Config::new(site.pair("own"))).unwrap();
        dsm.state().drops = drops;
        let project = project(&site, dsm.address, "synology", "dsm-password-1");
        let plan = call(&project, ["plan", "bring"]).success();
        assert!(plan.stdout.contains("serves "), "{plan:?}");
        // Who changes nothing does not log in.
        assert_eq!(dsm.state().requests, [""; 0]);
        let first = synced(&project, true);
        site.serves(dsm.address, "localhost", "one");
        synced(&project, false);
        site.bring(&project, "two");
        let second = synced(&project, true);
        site.serves(dsm.address, "localhost", "two");
        let state = dsm.state();
        assert_eq!((state.sessions.len(), state.restarts, state.certificates.len()), (0, 2, 2));
        drop(state);
        let mut secrets = ["one", "two"].map(|name| site.pair(name).key).to_vec();
        secrets.extend(["dsm-password-1", "lab-session-0000", "labtoken0000"].map(str::to_owned));
        hides(&project, &[&plan, &first, &second], &secrets);
    }
}

#[test]
fn what_a_dsm_refuses_is_told_and_leaves_no_session() {
    let site = Site::new();
    let config = synology::Config::new(site.pair("own"));
    let dsm = Synology::start(synology::Config { is_admin: false, ..config }).unwrap();
    let output = call(&project(&site, dsm.address, "synology", "dsm-password-1"), ["run", "bring"]).ends(1);
    assert!(output.stderr.contains("it has to be an administrator (error 105)"), "{output:?}");
    assert!(dsm.state().sessions.is_empty() && dsm.state().restarts == 0);
    let output = call(&project(&site, dsm.address, "synology", "something-else"), ["run", "bring"]).ends(1);
    assert!(output.stderr.contains("another password (error 400)"), "{output:?}");
    let config = synology::Config::new(site.pair("own"));
    let dsm = Synology::start(synology::Config { code: Some("123456".to_owned()), ..config }).unwrap();
    let output = call(&project(&site, dsm.address, "synology", "dsm-password-1"), ["run", "bring"]).ends(1);
    assert!(output.stderr.contains("second factor"), "{output:?}");
}

#[test]
fn a_console_shows_the_new_one_before_the_old_one_goes() {
    let site = Site::new();
    let console = Unifi::start(unifi::Config::new(site.pair("own"))).unwrap();
    let project = project(&site, console.address, "unifi", "unifi-password-1");
    let first = synced(&project, true);
    site.serves(console.address, "localhost", "one");
    synced(&project, false);
    site.bring(&project, "two");
    // Uploaded by a run that was ended before it was shown.
    let name = format!("nlrun {}", &site.fingerprint("two")[..12]);
    let kept = unifi::Kept { id: "7".to_owned(), name, active: false, pair: site.pair("two") };
    console.state().certificates.push(kept);
    let theirs = unifi::Kept {
        id: "8".to_owned(),
        name: "nlrunner".to_owned(),
        active: false,
        pair: site.pair("own"),
    };
    console.state().certificates.push(theirs);
    console.state().requests.clear();
    let second = synced(&project, true);
    site.serves(console.address, "localhost", "two");
    let state = console.state();
    let ids: Vec<&str> = state.certificates.iter().map(|kept| kept.id.as_str()).collect();
    assert_eq!(ids, ["7", "8"]);
    assert_eq!(state.requests[2], "PUT /api/userCertificates/7/status", "{:?}", state.requests);
    assert!(state.sessions.is_empty());
    drop(state);
    // Left by a run that was ended after the new one was shown: what is served says nothing of it, the console's list does.
    let left = unifi::Kept {
        id: "9".to_owned(),
        name: "nlrun 0123456789ab".to_owned(),
        active: false,
        pair: site.pair("one"),
    };
    console.state().certificates.push(left);
    let plan = call(&project, ["plan", "bring"]).success();
    assert!(
        plan.stdout.contains("`nlrun 0123456789ab`: a certificate that is not served any more"),
        "{plan:?}"
    );
    let third = synced(&project, true);
    let state = console.state();
    let ids: Vec<&str> = state.certificates.iter().map(|kept| kept.id.as_str()).collect();
    assert_eq!((ids, state.sessions.len()), (vec!["7", "8"], 0));
    drop(state);
    synced(&project, false);
    let mut secrets = ["one", "two", "own"].map(|name| site.pair(name).key).to_vec();
    secrets.extend(["unifi-password-1", "lab-csrf-mark"].map(str::to_owned));
    hides(&project, &[&first, &second, &plan, &third], &secrets);
    let wrong = self::project(&site, console.address, "unifi", "something-else");
    site.bring(&wrong, "one");
    let output = call(&wrong, ["run", "bring"]).ends(1);
    assert!(output.stderr.contains("refuses the login"), "{output:?}");
}
