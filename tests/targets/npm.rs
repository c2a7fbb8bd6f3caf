//! Nginx Proxy Manager.

use std::collections::BTreeSet;

use nlrun::lab::http::npm::{Config, Dates, Faults, Npm, Section};
use nlrun::model::run::Status;

use super::{Site, hides, runbook, synced};
use crate::behaviour::{call, events, finish, store, verified};
use crate::support::project::{Project, until};

/// An instance, and a project that brings certificates there.
struct Set {
    site: Site,
    npm: Npm,
    project: Project,
}

impl Set {
    fn new() -> Self {
        Self::with(Dates::Sqlite, "tries: 1, timeout: \"20s\"")
    }

    fn with(dates: Dates, more: &str) -> Self {
        let site = Site::new();
        let npm = Npm::start(Config { dates, ..Config::new(site.pair("own")) }).unwrap();
        let target = format!(
            "kind: \"npm\", name: \"site\", user: \"admin@example.com\", password: secret(\"npm/password\"), https: {}, \
             delay: \"10ms\", patience: \"5s\", {more}",
            npm.tls.port()
        );
        let project = Project::new()
            .variable("NLRUN_SECRET_NPM_PASSWORD", "changeme-now")
            .runbook("bring", &runbook(&format!("http://{}", npm.address), &target));
        site.bring(&project, "one");
        Self { site, npm, project }
    }

    /// Takes the requests so far that change something.
    fn writes(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.npm.state().requests);
        requests.into_iter().filter(|one| !one.starts_with("GET") && one != "POST /api/tokens").collect()
    }

    /// Adds proxies with names of their own.
    fn hosts(&self, count: usize, certificate: u64) {
        let mut state = self.npm.state();
        for _ in 0..count {
            let name = format!("h{}.example.com", state.hosts.len() + 1);
            state.add_host(Section::Proxy, &[&name], certificate);
        }
    }
}

#[test]
fn a_first_certificate_is_made_and_the_next_run_changes_nothing() {
    for dates in [Dates::Sqlite, Dates::Mysql] {
        let set = Set::with(dates, "");
        let first = synced(&set.project, true);
        assert!(first.stdout.contains("warning: no host uses certificate `site`"), "{first:?}");
        assert_eq!(set.writes(), ["POST /api/nginx/certificates", "POST /api/nginx/certificates/1/upload"]);
        let second = synced(&set.project, false);
        assert_eq!(set.writes(), [""; 0]);
        let password = "changeme-now".to_owned();
        let token = "bGFiLXRva2Vu".to_owned();
        hides(&set.project, &[&first, &second], &[set.site.pair("one").key, password, token]);
    }
}

#[test]
fn a_renewal_of_many_hosts_is_one_upload_and_one_change() {
    let set = Set::new();
    let old = set.npm.state().add_certificate("site", &set.site.pair("one"));
    let other = set.npm.state().add_certificate("other", &set.site.pair("own"));
    set.hosts(114, old);
    set.npm.state().add_host(Section::Redirection, &["moved.example.com"], old);
    set.npm.state().add_host(Section::Proxy, &["other.example.org"], other);
    synced(&set.project, false);
    assert_eq!(set.writes(), [""; 0]);

    set.site.bring(&set.project, "two");
    let plan = call(&set.project, ["plan", "bring"]).success();
    assert!(plan.stdout.contains("certificate 1 `site`"), "{plan:?}");
    assert_eq!(set.writes(), [""; 0]);
    let renewed = synced(&set.project, true);
    assert_eq!(set.writes(), ["POST /api/nginx/certificates/1/upload", "PUT /api/nginx/proxy-hosts/1"]);
    for name in ["h1.example.com", "h114.example.com", "moved.example.com"] {
        set.site.serves(set.npm.tls, name, "two");
    }
    set.site.serves(set.npm.tls, "other.example.org", "own");
    synced(&set.project, false);
    let keys = ["one", "two", "own"].map(|name| set.site.pair(name).key);
    hides(&set.project, &[&plan, &renewed], &keys);
}

#[test]
fn what_was_uploaded_and_never_loaded_is_loaded_by_the_next_run() {
    let set = Set::new();
    let old = set.npm.state().add_certificate("site", &set.site.pair("one"));
    set.hosts(3, old);
    set.site.bring(&set.project, "two");
    // As it is after a run that ended between the two.
    let two = set.site.pair("two");
    {
        let mut state = set.npm.state();
        let row = &mut state.certificates[0];
        row.meta.insert("certificate".to_owned(), two.certificate.clone());
        row.meta.insert("certificate_key".to_owned(), two.key.clone());
        (row.chain, row.key) = (Some(two.certificate), Some(two.key));
    }
    set.site.serves(set.npm.tls, "h1.example.com", "one");
    synced(&set.project, true);
    assert_eq!(set.writes(), ["PUT /api/nginx/proxy-hosts/1"]);
    set.site.serves(set.npm.tls, "h3.example.com", "two");
}

#[test]
fn an_old_chain_does_not_stay_behind_a_new_leaf() {
    let set = Set::new();
    let old = set.npm.state().add_certificate("site", &set.site.pair("one"));
    set.hosts(1, old);
    set.npm.state().certificates[0]
        .meta
        .insert("intermediate_certificate".to_owned(), set.site.forge.read("root.pem"));
    set.site.bring(&set.project, "two");
    synced(&set.project, true);
    let state = set.npm.state();
    let chain = state.certificates[0].chain.clone().unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "{chain}");
    assert!(!chain.contains(set.site.forge.read("root.pem").lines().nth(3).unwrap()));
}

#[test]
fn a_right_certificate_beside_a_foreign_key_is_uploaded_again() {
    let set = Set::new();
    let id = set.npm.state().add_certificate("site", &set.site.pair("one"));
    set.hosts(2, id);
    // Uploaded by hand over the right one: nginx still has the old key in memory, and would not start again.
    let foreign = set.site.pair("two").key;
    {
        let mut state = set.npm.state();
        let row = &mut state.certificates[0];
        row.meta.insert("certificate_key".to_owned(), foreign.clone());
        row.key = Some(foreign);
    }
    let plan = call(&set.project, ["plan", "bring"]).success();
    assert!(plan.stdout.contains("with a key that is not its own"), "{plan:?}");
    synced(&set.project, true);
    assert_eq!(set.writes(), ["POST /api/nginx/certificates/1/upload", "PUT /api/nginx/proxy-hosts/1"]);
    assert_eq!(set.npm.state().certificates[0].key, Some(set.site.pair("one").key));
    synced(&set.project, false);
}

#[test]
fn a_pair_that_is_none_is_refused_before_anything_is_asked() {
    let set = Set::new();
    set.project.write("site.key", &set.site.pair("two").key);
    let output = call(&set.project, ["run", "bring"]).ends(1);
    assert!(output.stderr.contains("is not that of the certificate"), "{output:?}");
    assert_eq!(set.npm.state().requests, [""; 0]);
}

#[test]
fn hosts_that_went_offline_come_back() {
    let set = Set::new();
    let old = set.npm.state().add_certificate("site", &set.site.pair("one"));
    set.hosts(3, old);
    set.npm.state().hosts[1].enabled = false;
    for place in [1, 2] {
        // As it is after a change while the files were missing.
        set.npm.state().take_offline(place);
    }
    set.site.serves(set.npm.tls, "h3.example.com", "own");
    let plan = call(&set.project, ["plan", "bring"]).success();
    assert!(plan.stdout.contains("-proxy host 3 (h3.example.com): offline"), "{plan:?}");
    synced(&set.project, true);
    // The one that is switched off stays so, and the one that is up is not touched.
    assert_eq!(set.writes(), ["PUT /api/nginx/proxy-hosts/3"]);
    set.site.serves(set.npm.tls, "h3.example.com", "one");
    synced(&set.project, false);
}

#[test]
fn of_several_with_one_name_the_one_with_most_hosts_stays() {
    let set = Set::new();
    for (name, hosts) in [("one", 1), ("two", 3), ("own", 0)] {
        let id = set.npm.state().add_certificate("site", &set.site.pair(name));
        set.hosts(hosts, id);
    }
    set.npm.state().add_host(Section::Stream, &[], 1);
    set.npm.state().add_host(Section::Dead, &["gone.example.com"], 1);
    let plan = call(&set.project, ["plan", "bring"]).success();
    assert!(
        plan.stdout.contains("+certificate 1 `site`: nothing: its 3 hosts go to certificate 2"),
        "{plan:?}"
    );
    let output = synced(&set.project, true);
    let writes = set.writes();
    assert_eq!(writes[0], "POST /api/nginx/certificates/2/upload");
    let moved: BTreeSet<&str> = writes[1..4].iter().map(String::as_str).collect();
    let wanted = ["PUT /api/nginx/dead-hosts/1", "PUT /api/nginx/proxy-hosts/1", "PUT /api/nginx/streams/1"];
    assert_eq!(moved, wanted.into());
    let deleted: BTreeSet<&str> = writes[4..].iter().map(String::as_str).collect();
    assert_eq!(deleted, ["DELETE /api/nginx/certificates/1", "DELETE /api/nginx/certificates/3"].into());
    assert!(set.npm.state().hosts.iter().all(|host| host.certificate == 2));
    set.site.serves(set.npm.tls, "h1.example.com", "one");
    synced(&set.project, false);
    hides(&set.project, &[&output], &["one", "two", "own"].map(|name| set.site.pair(name).key));
}

#[test]
fn after_a_storm_the_next_run_goes_on_and_nothing_is_deleted_early() {
    let set = Set::with(Dates::Sqlite, "tries: 2, timeout: \"700ms\"");
    for name in ["one", "own"] {
        let id = set.npm.state().add_certificate("site", &set.site.pair(name));
        set.hosts(57, id);
    }
    // Once is forgiven, twice in a row is not.
    set.npm.state().faults = Faults { hang: vec![5, 20, 21], bad_gateway: vec![9], ..Faults::default() };
    let stormy = call(&set.project, ["run", "bring"]).ends(1);
    assert!(stormy.stderr.contains("timed out after 0.7 s (try 2)"), "{stormy:?}");
    let left = set.npm.state().hosts.iter().filter(|host| host.certificate == 1).count();
    assert!(left > 30, "{left}");
    assert!(set.npm.state().certificates.iter().all(|row| !row.deleted));
    synced(&set.project, true);
    let ids: BTreeSet<u64> = set.npm.state().hosts.iter().map(|host| host.certificate).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(set.npm.state().certificates.iter().filter(|row| !row.deleted).count(), 1);
    for name in ["h1.example.com", "h114.example.com"] {
        set.site.serves(set.npm.tls, name, "one");
    }
    synced(&set.project, false);
}

#[test]
fn a_refused_login_is_told_and_not_tried_again() {
    let set = Set::new();
    set.project.write(
        "runbooks/bring.rhai",
        &set.project.read("runbooks/bring.rhai").replace("npm/password", "npm/wrong"),
    );
    let project = set.project.variable("NLRUN_SECRET_NPM_WRONG", "something-else");
    let output = call(&project, ["run", "bring"]).ends(1);
    assert!(output.stderr.contains("refuses the login: Invalid email or password"), "{output:?}");
    assert_eq!(set.npm.state().requests, ["POST /api/tokens"]);
    hides(&project, &[&output], &["something-else".to_owned()]);
}

#[test]
fn a_token_that_ends_in_the_middle_is_asked_for_again() {
    let set = Set::new();
    let old = set.npm.state().add_certificate("site", &set.site.pair("one"));
    set.hosts(2, old);
    set.site.bring(&set.project, "two");
    for number in 1..=8 {
        let mut state = set.npm.state();
        state.requests.clear();
        state.faults.expire = vec![number];
        drop(state);
        let name = if number % 2 == 0 { "one" } else { "two" };
        set.site.bring(&set.project, name);
        let output = call(&set.project, ["run", "bring"]);
        // A token that is over before it was used once is no token.
        if number == 1 {
            let output = output.ends(1);
            assert!(output.stderr.contains("it gave a token, and answers 401 to it"), "{output:?}");
        } else {
            output.success();
            set.site.serves(set.npm.tls, "h2.example.com", name);
        }
    }
}

#[test]
fn a_foreign_pair_that_breaks_every_change_is_named() {
    let set = Set::new();
    let old = set.npm.state().add_certificate("site", &set.site.pair("one"));
    let mut broken = set.site.pair("own");
    let bad = set.npm.state().add_certificate("broken", &broken);
    set.hosts(2, old);
    set.npm.state().add_host(Section::Proxy, &["broken.example.org"], bad);
    // Uploaded by hand: nobody there looks whether the two belong together.
    broken.key = set.site.pair("two").key;
    {
        let mut state = set.npm.state();
        let row = &mut state.certificates[1];
        row.meta.insert("certificate_key".to_owned(), broken.key.clone());
        row.key = Some(broken.key);
    }
    let told = synced(&set.project, false);
    assert!(
        told.stdout.contains("warning: certificate 2 `broken` has a key that is not its own"),
        "{told:?}"
    );
    set.site.bring(&set.project, "two");
    let output = call(&set.project, ["run", "bring"]).ends(1);
    assert!(output.stderr.contains("a key is not its certificate's: certificate 2 `broken`"), "{output:?}");
    set.site.serves(set.npm.tls, "h1.example.com", "one");
    // The same at the own certificate is what this is for.
    let mut state = set.npm.state();
    state.certificates[1].key = Some(set.site.pair("own").key);
    drop(state);
    synced(&set.project, true);
    set.site.serves(set.npm.tls, "h1.example.com", "two");
}

#[test]
fn killed_after_every_event_a_sync_ends_as_if_nothing_had_happened() {
    let set = Set::new();
    for name in ["own", "two"] {
        let id = set.npm.state().add_certificate("site", &set.site.pair(name));
        set.hosts(2, id);
    }
    call(&set.project, ["run", "bring"]).success();
    let events = events(&store(&set.project), 1).len() as i64;
    assert!(events > 8, "{events}");
    for kill in 1..events {
        let set = Set::new();
        for name in ["own", "two"] {
            let id = set.npm.state().add_certificate("site", &set.site.pair(name));
            set.hosts(2, id);
        }
        let mut command = set.project.command(["run", "bring"]);
        let child =
            command.env("NLRUN_TEST_KILL_AFTER", kill.to_string()).stdout(std::process::Stdio::null());
        finish(child.stderr(std::process::Stdio::null()).spawn().unwrap());
        if verified(&store(&set.project), 1) != Status::Done {
            call(&set.project, ["resume", "1"]).success();
        }
        assert_eq!(verified(&store(&set.project), 1), Status::Done, "{kill}");
        let rows = set.npm.state().certificates.iter().filter(|row| !row.deleted).count();
        assert_eq!(rows, 1, "{kill}");
        for name in ["h1.example.com", "h4.example.com"] {
            set.site.serves(set.npm.tls, name, "one");
        }
        synced(&set.project, false);
        hides(&set.project, &[], &["one", "two", "own"].map(|name| set.site.pair(name).key));
    }
}

#[test]
fn killed_in_the_middle_of_the_changes_it_goes_on_from_there() {
    for change in 1..=2 {
        let set = Set::new();
        for name in ["own", "two"] {
            let id = set.npm.state().add_certificate("site", &set.site.pair(name));
            set.hosts(2, id);
        }
        set.npm.state().faults.hang = vec![change];
        let mut child = set.project.spawn(["run", "bring"]);
        until("the change hangs", || set.npm.state().changes == change);
        child.kill().unwrap();
        finish(child);
        assert!(set.npm.state().certificates.iter().all(|row| !row.deleted));
        call(&set.project, ["resume", "1"]).success();
        assert_eq!(verified(&store(&set.project), 1), Status::Done, "{change}");
        for name in ["h1.example.com", "h4.example.com"] {
            set.site.serves(set.npm.tls, name, "one");
        }
        synced(&set.project, false);
        hides(&set.project, &[], &["one", "two", "own"].map(|name| set.site.pair(name).key));
    }
}

#[test]
fn one_hosts_file_of_a_stream_is_loaded_too() {
    let set = Set::new();
    let old = set.npm.state().add_certificate("site", &set.site.pair("own"));
    set.npm.state().add_host(Section::Stream, &[], old);
    // Nothing there has a name to ask for, so only the requests tell.
    synced(&set.project, true);
    assert_eq!(set.writes(), ["POST /api/nginx/certificates/1/upload", "PUT /api/nginx/streams/1"]);
    synced(&set.project, false);
}
