//! `certs/sync` as a whole, in labs that the test looks into: killed after every event, and with programs that fail half-way.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use nlrun::lab::http::Identity;
use nlrun::lab::http::npm::{Faults, Section};
use nlrun::lab::{Appliances, Lab, Wanted};
use nlrun::model::event::{Event, Verdict};
use nlrun::model::port::Port;
use nlrun::model::run::{RunId, Status};
use nlrun::store::{Options, Store};
use nlrun::world::tls::probe;
use nlrun::x509::Certificate;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::ask;
use crate::behaviour::{events, finish, verified};
use crate::support::project::{NLRUN, Output, Project};
use crate::support::sshd::free_port;

/// A lab in this process, so that what its programs were asked can be counted.
struct World {
    project: Project,
    runtime: Runtime,
    lab: Option<Lab>,
}

impl World {
    /// Starts it; `None`, with a line on standard error, where this machine lets no host start.
    fn open() -> Option<Self> {
        let project = Project::new();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let wanted =
            Wanted { folder: project.path("lab"), hosts: Some(2), base: Some(0), program: NLRUN.into() };
        let lab = runtime.block_on(Lab::start(&wanted)).unwrap();
        let reason = lab.without_hosts().map(str::to_owned);
        let world = Self { project, runtime, lab: Some(lab) };
        match reason {
            Some(reason) => {
                eprintln!("skipped: this machine starts no hosts of the lab: {reason}");
                None
            }
            None => Some(world),
        }
    }

    fn lab(&self) -> &Lab {
        self.lab.as_ref().unwrap()
    }

    fn appliances(&self) -> &Appliances {
        self.lab().appliances().unwrap()
    }

    fn port(&self, name: &str) -> u16 {
        self.lab().places().iter().find(|place| place.name == name).unwrap().port
    }

    /// Calls `nlrun` in the lab's project.
    fn call(&self, arguments: &[&str]) -> Output {
        finish(self.project.spawn([&["--project", "lab"], arguments].concat()))
    }

    fn store(&self) -> Store {
        Store::open(&self.project.path("lab/.nlrun"), &Options::default()).unwrap()
    }

    fn pair(&self, name: &str) -> Identity {
        let read = |ending: &str| self.project.read(&format!("lab/certificates/{name}.{ending}"));
        Identity { certificate: read("pem"), key: read("key") }
    }

    /// Puts a pair into the secret store as the one to bring.
    fn bring(&self, name: &str) {
        let Identity { certificate, key } = self.pair(name);
        let certificate = certificate + &self.pair("ca").certificate;
        let body = json!({ "data": { "certificate": certificate, "key": key } });
        let token = self.project.read("lab/.lab/root_token");
        assert_eq!(ask(self.port("store"), &token, "POST", "secret/data/certs/web", &body).0, 200);
    }

    /// What a port shows for a name, in DER.
    fn shown(&self, port: u16, sni: &str) -> Vec<u8> {
        let request = probe::Request {
            port: Port::new("127.0.0.1", port).unwrap(),
            server_name: Some(sni.to_owned()),
            starttls: None,
            alpn: Vec::new(),
            ca: None,
            timeout: Duration::from_secs(20),
        };
        self.runtime.block_on(request.look(&CancellationToken::new())).unwrap().chain[0].clone()
    }

    /// Demands that a pair is everywhere, once, and served everywhere.
    #[track_caller]
    fn has(&self, name: &str, when: &str) {
        let pair = self.pair(name);
        for host in ["web-1", "web-2"] {
            let folder = format!("lab/.lab/hosts/{host}/etc/nginx/tls");
            let whole = format!("{}{}", pair.certificate, pair.key);
            assert_eq!(self.project.read(&format!("{folder}/web.pem")), whole, "{when}: {host}");
            let files = std::fs::read_dir(self.project.path(&folder)).unwrap().count();
            assert_eq!(files, 1, "{when}: something is left in {folder}");
        }
        let Appliances { npm, proxmox, synology, unifi } = self.appliances();
        {
            let npm = npm.state();
            let rows: Vec<_> = npm.certificates.iter().filter(|row| !row.deleted).collect();
            assert_eq!(rows.len(), 1, "{when}: rows of npm");
            assert!(npm.hosts.iter().all(|host| host.certificate == rows[0].id), "{when}");
            assert_eq!(rows[0].key.as_deref(), Some(pair.key.as_str()), "{when}");
        }
        assert_eq!(proxmox.state().custom.as_ref().map(|custom| &custom.key), Some(&pair.key), "{when}");
        let kept = |described: &str| {
            synology.state().certificates.iter().filter(|one| one.description == described).count()
        };
        assert_eq!((kept("nlrun"), kept("")), (1, 1), "{when}: certificates of the DSM");
        let keys: Vec<String> = unifi.state().certificates.iter().map(|one| one.pair.key.clone()).collect();
        assert_eq!(keys, std::slice::from_ref(&pair.key), "{when}: certificates of the console");
        let wanted = nlrun::x509::Bundle::read(pair.certificate.as_bytes()).unwrap().certificates.remove(0);
        for (place, sni) in [
            ("web-1 nginx", "web.lab.test"),
            ("web-2 nginx", "web.lab.test"),
            ("npm hosts", "app-1.lab.test"),
            ("npm hosts", "app-114.lab.test"),
            ("pve01", "localhost"),
            ("nas", "localhost"),
            ("unifi", "localhost"),
        ] {
            let shown = Certificate::read(&self.shown(self.port(place), sni)).unwrap();
            assert_eq!(shown.fingerprint, wanted.fingerprint, "{when}: {place} {sni}");
        }
    }

    /// For each target, a number that differs when something was done there once more.
    fn done(&self) -> BTreeMap<String, u64> {
        let Appliances { npm, proxmox, synology, unifi } = self.appliances();
        // Signing in and out changes nothing.
        let is_change = |request: &&String| !request.starts_with("GET") && !request.contains("/api/auth/");
        let changes = |requests: &[String]| requests.iter().filter(is_change).count() as u64;
        let mut done = BTreeMap::from([
            ("npm".to_owned(), changes(&npm.state().requests)),
            ("pve01".to_owned(), changes(&proxmox.state().requests)),
            ("nas".to_owned(), synology.state().requests.len() as u64),
            ("unifi".to_owned(), changes(&unifi.state().requests)),
        ]);
        for host in ["web-1", "web-2"] {
            let file = self.project.path(&format!("lab/.lab/hosts/{host}/etc/nginx/tls/web.pem"));
            done.insert(host.to_owned(), std::fs::metadata(file).unwrap().ino());
        }
        done
    }

    /// The rows of a run's report: target, status and whether there is an error.
    fn report(&self, run: i64) -> Vec<(String, String, bool)> {
        let report = self.store().reader().unwrap().artifact(RunId(run), "report.json").unwrap().unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        let rows = report["targets"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        rows.iter().map(|row| (text(&row["target"]), text(&row["status"]), !row["error"].is_null())).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(lab) = self.lab.take() {
            self.runtime.block_on(lab.end());
        }
    }
}

/// The targets of which a run has recorded that they have the pair; no effect may end twice.
fn recorded(events: &[Event]) -> Vec<String> {
    let mut ended = BTreeMap::new();
    for event in events {
        if let Event::Outcome { address, verdict, .. } = event {
            let again = ended.insert(address.clone(), *verdict);
            assert_eq!(again, None, "{address} ended twice");
        }
    }
    let asks = events.iter().filter_map(|event| match event {
        Event::Intent { address, request, .. } if request.effect == "cert.sync" => Some(address),
        _ => None,
    });
    let done = asks.filter(|address| ended.get(*address) == Some(&Verdict::Changed));
    done.map(|address| address.label().unwrap().to_owned()).collect()
}

const TARGETS: [&str; 6] = ["web-1", "web-2", "npm", "pve01", "nas", "unifi"];

/// `kill -9` after every event of the whole run, in three labs at once.
///
/// The two certificates take turns, so that every run has something to do everywhere. As targets are served at once, a kill after an
/// event of one of them hits the others in the middle of what they do. The whole takes less than a minute.
#[test]
fn killed_after_every_event_a_sync_is_resumed_to_the_same_end() {
    let Some(whole) = World::open() else { return };
    whole.call(&["run", "certs/sync"]).success();
    whole.has("new", "uninterrupted");
    let last = events(&whole.store(), 1).len() as i64;
    assert_eq!(recorded(&events(&whole.store(), 1)).len(), TARGETS.len());
    let next = AtomicI64::new(1);
    let work = |world: &World, mut run: i64, mut is_new: bool| loop {
        let kill = next.fetch_add(1, Ordering::Relaxed);
        if kill >= last {
            return;
        }
        (run, is_new) = (run + 1, !is_new);
        let name = if is_new { "new" } else { "old" };
        world.bring(name);
        let mut command = world.project.command(["--project", "lab", "run", "certs/sync"]);
        let command = command.env("NLRUN_TEST_KILL_AFTER", kill.to_string());
        let code = finish(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()).code;
        assert!(code == -1 || code == 0, "event {kill}: {code}");
        let finished = recorded(&events(&world.store(), run));
        let before = world.done();
        if verified(&world.store(), run) != Status::Done {
            world.call(&["resume", &run.to_string()]).success();
        }
        assert_eq!(verified(&world.store(), run), Status::Done, "event {kill}");
        let after = world.done();
        for target in &finished {
            assert_eq!(before[target], after[target], "event {kill}: {target} was done twice");
        }
        recorded(&events(&world.store(), run));
        let rows = world.report(run);
        let is_fine = |row: &(String, String, bool)| ["ok", "changed"].contains(&row.1.as_str()) && !row.2;
        assert!(rows.iter().all(is_fine), "event {kill}: {rows:?}");
        assert!(rows.iter().map(|row| row.0.as_str()).eq(TARGETS), "event {kill}: {rows:?}");
        world.has(name, &format!("event {kill}"));
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let world = World::open().unwrap();
                work(&world, 0, false);
            });
        }
        work(&whole, 1, true);
    });
}

/// Some targets fail, in the middle or before anything: the others get theirs, all are told in the table's order, and the next run goes on.
#[test]
fn a_storm_at_one_program_keeps_no_other_from_its_certificate() {
    let Some(world) = World::open() else { return };
    let mut table: Value = serde_json::from_str(&world.project.read("lab/certs.json")).unwrap();
    let targets = table["targets"].as_array_mut().unwrap();
    for (key, value) in [("tries", json!(1)), ("timeout", json!("700ms"))] {
        targets[2]["with"][key] = value;
    }
    let mut gone = targets[3].clone();
    gone["name"] = "gone".into();
    gone["url"] = format!("https://127.0.0.1:{}", free_port()).into();
    gone["with"]["tries"] = 1.into();
    targets.insert(1, gone);
    let mut none = targets[0].clone();
    none["name"] = "none".into();
    none["certificate"] = "other".into();
    targets.insert(3, none);
    world.project.write("lab/certs.json", &table.to_string());
    {
        // A second row of the name, whose hosts have to move to the first one, one request each.
        let mut npm = world.appliances().npm.state();
        let second = npm.add_certificate("web", &world.pair("old"));
        for number in 1..=20 {
            npm.add_host(Section::Proxy, &[&format!("more-{number}.lab.test")], second);
        }
        npm.faults = Faults { hang: vec![7], ..Faults::default() };
    }
    let told = |rows: &[(String, String, bool)]| -> Vec<String> {
        rows.iter().map(|(target, status, has_error)| format!("{target} {status} {has_error}")).collect()
    };
    let stormy = world.call(&["run", "certs/sync"]).ends(4);
    let rows = [
        "web-1 changed false",
        "gone unreachable true",
        "web-2 changed false",
        "none failed true",
        "npm failed true",
        "pve01 changed false",
        "nas changed false",
        "unifi changed false",
    ];
    assert_eq!(told(&world.report(1)), rows, "{stormy:?}");
    assert!(stormy.stdout.contains("timed out after 0.7 s"), "{stormy:?}");
    assert!(stormy.stdout.contains("certificate other: it is not in certs.json"), "{stormy:?}");
    assert!(stormy.stderr.contains("unreachable: gone"), "{stormy:?}");
    {
        let npm = world.appliances().npm.state();
        assert!(npm.certificates.iter().all(|row| !row.deleted));
        assert!(npm.hosts.iter().any(|host| host.certificate != npm.hosts[0].certificate), "half-way");
    }
    let before = world.done();
    let calm = world.call(&["run", "certs/sync", "--set", "only=web-1,web-2,npm,pve01,nas,unifi"]).success();
    let rows = ["web-1 ok", "web-2 ok", "npm changed", "pve01 ok", "nas ok", "unifi ok"];
    assert_eq!(told(&world.report(2)), rows.map(|row| format!("{row} false")), "{calm:?}");
    let after = world.done();
    assert!(TARGETS.iter().all(|target| (before[*target] == after[*target]) == (*target != "npm")));
    world.has("new", "after the storm");
}
