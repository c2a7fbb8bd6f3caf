//! Pi-hole 6: a file on its host, and sessions with few seats.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nlrun::lab::http::pihole::{Config, Pihole};
use serde_json::json;

use super::{Site, hides, synced};
use crate::behaviour::call;
use crate::support::project::Project;

/// Restarts FTL as soon as a file says so.
struct Init {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Init {
    fn watch(pihole: Arc<Pihole>, mark: std::path::PathBuf) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if std::fs::remove_file(&mark).is_ok() {
                    pihole.state().restart();
                }
                std::thread::yield_now();
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_file_with_the_key_first_is_served_after_a_restart() {
    let site = Site::new();
    let project = Project::new().variable("NLRUN_SECRET_SITE_TWO", &site.pair("two").key);
    let (file, mark) = (project.path("tls.pem"), project.path("again"));
    let pihole = Arc::new(Pihole::start(Config::new(site.pair("own"), file.clone())).unwrap());
    let _init = Init::watch(pihole.clone(), mark.clone());
    let (owner, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let (port, file, mark) = (pihole.address.port(), file.display(), mark.display());
    let text = format!(
        r#"//! Brings a certificate.
import "appliances" as appliances;
const NEEDS = ["project.read", "cert.load", "cert.sync:localhost"];
let pair = cert_load(#{{ certificate: project_read("site.pem"), key: project_read("site.key", #{{ secret: "site/key" }}) }});
let done = cert_sync(pair, appliances::pihole("localhost", #{{
    path: "{file}", owner: {owner}, group: {group}, reload: "touch '{mark}'", served: {port}, patience: "20s",
}}));
print(`changed=${{done.changed}} ${{done.fingerprint}}`);
"#
    );
    project.write("runbooks/bring.rhai", &text);
    site.bring(&project, "one");
    let output = synced(&project, true);
    site.serves(pihole.address, "localhost", "one");
    assert!(project.read("tls.pem").starts_with("-----BEGIN PRIVATE KEY-----"));
    synced(&project, false);
    assert_eq!(pihole.state().starts, 2);

    // The same from a table.
    for name in ["sync", "expiry"] {
        let text =
            std::fs::read_to_string(format!("{}/runbooks/certs/{name}.rhai", env!("CARGO_MANIFEST_DIR")));
        project.write(&format!("runbooks/certs/{name}.rhai"), &text.unwrap());
    }
    let table = json!({
        "certificates": { "site": { "certificate": "site.pem", "key": "site/two" } },
        "targets": [{ "name": "dns", "certificate": "site", "use": "pihole", "host": "localhost", "with": {
            "path": file.to_string(), "owner": owner, "group": group, "reload": format!("touch '{mark}'"), "served": port,
        } }],
    });
    project.write("certs.json", &table.to_string());
    site.bring(&project, "two");
    let synced = call(&project, ["run", "certs/sync"]).success();
    site.serves(pihole.address, "localhost", "two");
    let seen = call(&project, ["run", "certs/expiry"]).success();
    assert_eq!(seen.stdout.matches(" ok ").count(), 2, "{seen:?}");
    hides(&project, &[&output, &synced, &seen], &["one", "two"].map(|name| site.pair(name).key));
}

#[test]
fn seats_are_few_and_an_app_may_not_change_settings() {
    let site = Site::new();
    let project = Project::new().variable("NLRUN_SECRET_PIHOLE_APP", "pihole-app-password-1");
    let config = Config { seats: 1, ..Config::new(site.pair("own"), project.path("tls.pem")) };
    let pihole = Pihole::start(config).unwrap();
    let pin = site.fingerprint("own");
    let text = format!(
        r#"const NEEDS = ["http.**", "secret.read"];
let url = "https://{}/api";
let pin = "{pin}";
let login = #{{ json: #{{ password: secret("pihole/app") }}, pin: pin, secrets: ["/session/sid", "/session/csrf"] }};
let sid = http_read("POST", url + "/auth", login).json.session.sid;
try {{ http_read("POST", url + "/auth", login) }} catch (e) {{ print(`again ${{e.status}}`) }}
let changed = #{{ config: #{{ webserver: #{{ tls: #{{ cert: "/x" }} }} }} }};
let as_app = #{{ pin: pin, headers: #{{ "x-ftl-sid": sid }} }};
try {{ http_patch(url + "/config", as_app + #{{ json: changed }}) }} catch (e) {{ print(`forbidden ${{e.status}}`) }}
print(`ended ${{http_delete(url + "/auth", as_app).status}}`);
try {{ http_get(url + "/config", as_app) }} catch (e) {{ print(`read ${{e.status}}`) }}
"#,
        pihole.address
    );
    project.write("runbooks/asks.rhai", &text);
    let output = call(&project, ["run", "asks"]).success();
    let is_said =
        |line: &&str| ["again ", "forbidden ", "ended ", "read "].iter().any(|word| line.starts_with(word));
    let said: Vec<&str> = output.stdout.lines().filter(is_said).collect();
    assert_eq!(said, ["again 429", "forbidden 403", "ended 204", "read 401"], "{output:?}");
    assert!(pihole.state().sessions.is_empty());
    hides(&project, &[&output], &["pihole-app-password-1".to_owned(), "lab-sid-0000".to_owned()]);
}
