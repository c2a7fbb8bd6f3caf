//! `cert_sync` on this machine, with a real nginx that serves what it brings.
#![expect(clippy::disallowed_methods, reason = "tests start a server and change its files")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nlrun::model::run::Status;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{call, finish, ledger, store, verified};
use crate::support::certificates::{Forge, Wish};
use crate::support::project::{Output, Project, until};
use crate::support::sshd::{answers, free_ports};

/// What the runbook is made of; words in capitals are filled in.
const RUNBOOK: &str = r#"
const PARAMS = #{ name: "next", key: "", patience: "20s" };
const NEEDS = ["project.read", "cert.sync:localhost"];
import "cert" as cert;
let name = if params.key == "" { params.name } else { params.key };
let site = #{
    certificate: project_read(params.name + ".pem"), key: project_read(name + ".key", #{ secret: "site/key" }),
};
if params.key == "" { site = cert::load(site) }
let done = cert_sync(site, #{
    kind: "files", host: "localhost",
    files: [
        #{ path: "AT/live.pem", order: "leaf+chain" },
        #{ path: "AT/live.key", order: "key" },
    ],
    test: "echo test >>AT/../done; while [ -e AT/hang ]; do touch AT/hangs; sleep 0.1; done; [ ! -e AT/broken ] || { echo no good >&2; exit 3; }; TEST",
    reload: "echo reload >>AT/../done; [ ! -e AT/stuck ] || exit 0; RELOAD",
    served: [SERVED], names: ["www.example.com"], patience: params.patience,
});
print(`${done.changed} ${done.activated} ${done.served.len()}`);
"#;

/// A project with two pairs, and nginx in a folder of it.
struct Site {
    project: Project,
    forge: Forge,
    child: Child,
    port: u16,
    at: PathBuf,
}

fn program() -> Option<&'static str> {
    let found = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        eprintln!("skipped: nginx is not installed");
    }
    found
}

impl Site {
    /// Starts nginx with the pair `leaf`; `None` where it is not installed.
    fn open() -> Option<Self> {
        Self::with(|site| site)
    }

    /// Starts it with another runbook.
    fn with(change: impl FnOnce(String) -> String) -> Option<Self> {
        let program = program()?;
        let forge = Forge::chain();
        forge.key("next", "P-256");
        forge.sign("next", "next", "middle", &Wish::server("www.example.com"));
        let mut project = Project::new();
        for name in ["leaf", "next"] {
            let (chain, key) = (forge.join(&[&format!("{name}.pem"), "middle.pem"]), format!("{name}.key"));
            project = project.file(&format!("{name}.pem"), &chain).file(&key, &forge.read(&key));
        }
        let at = project.path("srv");
        let [port] = free_ports();
        project.write("srv/live.pem", &project.read("leaf.pem"));
        project.write("srv/live.key", &project.read("leaf.key"));
        std::fs::set_permissions(at.join("live.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let folder = at.display();
        project.write(
            "srv/nginx.conf",
            &format!(
                "daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n\
                 http {{ access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; \
                 scgi_temp_path t; server {{ listen 127.0.0.1:{port} ssl; ssl_certificate live.pem; ssl_certificate_key live.key; }} }}\n"
            ),
        );
        let nginx = format!("{program} -p {folder} -c {folder}/nginx.conf");
        let text = change(RUNBOOK.to_owned())
            .replace("AT/", &format!("{folder}/"))
            .replace("TEST", &format!("{nginx} -t -q"))
            .replace("RELOAD", &format!("{nginx} -s reload"))
            .replace("NGINX", &nginx)
            .replace("SERVED", &port.to_string());
        project.write("runbooks/sync.rhai", &text);
        let mut command = Command::new(program);
        command.arg("-p").arg(&at).arg("-c").arg(at.join("nginx.conf")).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        assert!(answers(&mut child, port), "nginx does not start");
        Some(Self { project, forge, child, port, at })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        call(&self.project, ["run", "sync"].iter().chain(arguments))
    }

    fn fingerprint(&self, what: &str) -> String {
        let shown = call(&self.project, ["cert", "show", what, "--json"]).success();
        shown.json_lines()[0]["fingerprint"].as_str().unwrap().to_owned()
    }

    /// Demands that a pair is there, served, and that nothing else is left in the folder.
    #[track_caller]
    fn has(&self, name: &str) {
        assert_eq!(self.project.read("srv/live.pem"), self.project.read(&format!("{name}.pem")));
        assert_eq!(self.project.read("srv/live.key"), self.project.read(&format!("{name}.key")));
        let wanted = self.fingerprint(&format!("{name}.pem"));
        // A worker that is on its way out may answer once more.
        until("it is served", || self.fingerprint(&format!("localhost:{}", self.port)) == wanted);
        assert_eq!(self.left(), Vec::<String>::new());
    }

    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.at).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with('.')).collect()
    }

    fn count(&self, line: &str) -> usize {
        ledger(&self.project).get(line).copied().unwrap_or_default()
    }

    fn touch(&self, name: &str) {
        self.project.write(&format!("srv/{name}"), "");
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.at.join(name)).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.at.join("hang"));
        // One that was started again is nobody's child.
        let pid = std::fs::read_to_string(self.at.join("pid")).unwrap_or_default();
        if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

#[track_caller]
fn shows(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

#[test]
fn a_new_certificate_is_put_tested_served_and_then_left_alone() {
    let Some(site) = Site::open() else { return };
    // Compared with what is there, nothing is to be done.
    assert_eq!(site.run(&["--set", "name=leaf"]).success().stdout.lines().last(), Some("false false 1"));
    assert_eq!((site.count("test"), site.count("reload")), (0, 0));

    let (old, new) = (site.fingerprint("leaf.pem"), site.fingerprint("next.pem"));
    let plan = call(&site.project, ["plan", "sync", "--exit-code"]).ends(2).stdout;
    shows(&plan, &format!("-{}/live.pem: {} until 20", site.at.display(), &old[..12]));
    shows(&plan, &format!("+{}/live.pem: {} until 20", site.at.display(), &new[..12]));
    shows(&plan, &format!("+{}/live.key: the key of {}", site.at.display(), &new[..12]));
    shows(&plan, &format!("-localhost:{} serves {} until 20", site.port, &old[..12]));
    site.has("leaf");

    let output = site.run(&[]).success();
    assert_eq!(output.stdout.lines().last(), Some("true true 1"));
    site.has("next");
    assert_eq!((site.count("test"), site.count("reload")), (1, 1));
    let mode = std::fs::metadata(site.at.join("live.key")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(site.run(&[]).success().stdout.lines().last(), Some("false false 1"));
    assert_eq!((site.count("test"), site.count("reload")), (1, 1));

    // A replay has neither the files nor the key, and comes to the same.
    std::fs::remove_file(site.project.path("next.key")).unwrap();
    std::fs::remove_file(site.project.path("next.pem")).unwrap();
    assert_eq!(call(&site.project, ["replay", "3"]).success().stdout.lines().last(), Some("true true 1"));

    // Nothing of a private key is recorded: its first two lines are, its last one is part of the certificate, too.
    for run in ["1", "2", "3", "4"] {
        let events = call(&site.project, ["log", run, "--json"]).success().stdout;
        shows(&events, "cert.sync");
        for key in ["leaf.key", "next.key"] {
            for line in site.forge.read(key).lines().skip(1).take(2) {
                assert!(!events.contains(line), "{key} is in run {run}");
            }
        }
    }
}

/// Certificate and key that are both secrets and come from no `cert_load`: what they are is recorded all the same.
#[test]
fn a_pair_of_secrets_replays_without_them() {
    let Some(site) = Site::with(|text| {
        text.replace(
            "project_read(params.name + \".pem\")",
            "project_read(params.name + \".pem\", #{ secret: \"site/pem\" })",
        )
        .replace("if params.key == \"\" { site = cert::load(site) }", "")
    }) else {
        return;
    };
    let output = site.run(&[]).success();
    site.has("next");
    assert_eq!(output.stdout.lines().last(), Some("true true 1"));
    let refused = site.run(&["--set", "key=leaf"]).ends(1);
    shows(&refused.stderr, "is not that of the certificate of");
    for name in ["next.pem", "next.key", "leaf.key"] {
        std::fs::remove_file(site.project.path(name)).unwrap();
    }
    assert_eq!(call(&site.project, ["replay", "1"]).success().stdout.lines().last(), Some("true true 1"));
    let again = call(&site.project, ["replay", "2"]).ends(1);
    shows(&again.stderr, "is not that of the certificate of");
}

#[test]
fn what_is_not_there_yet_is_made_and_a_key_is_nobody_elses() {
    let Some(site) = Site::with(|text| text.replace("/live.", "/new.").replace("TEST", "true")) else {
        return;
    };
    assert_eq!(site.run(&["--set", "patience=1s"]).ends(1).code, 1);
    for (name, mode) in [("new.pem", 0o644), ("new.key", 0o600)] {
        assert_eq!(std::fs::metadata(site.at.join(name)).unwrap().mode() & 0o777, mode, "{name}");
    }
    assert_eq!(site.project.read("srv/new.key"), site.project.read("next.key"));
}

#[test]
fn a_test_that_fails_puts_the_old_files_back() {
    let Some(site) = Site::open() else { return };
    site.touch("broken");
    let output = site.run(&[]).ends(1);
    shows(&output.stderr, "failed, and the old files are back: no good");
    site.has("leaf");
    assert_eq!((site.count("test"), site.count("reload")), (1, 0));
    site.remove("broken");
    site.run(&[]).success();
    site.has("next");
}

#[test]
fn what_is_right_and_not_served_is_only_activated() {
    let Some(site) = Site::open() else { return };
    site.touch("stuck");
    let output = site.run(&["--set", "patience=1s"]).ends(1);
    shows(&output.stderr, "after 1 s it is not served: localhost:");
    assert_eq!(site.project.read("srv/live.key"), site.project.read("next.key"));
    let inode = std::fs::metadata(site.at.join("live.pem")).unwrap().ino();
    site.remove("stuck");
    let output = site.run(&[]).success();
    shows(&output.stdout, &format!("-localhost:{} serves ", site.port));
    assert!(!output.stdout.contains("/live.pem: "), "{}", output.stdout);
    assert_eq!(std::fs::metadata(site.at.join("live.pem")).unwrap().ino(), inode);
    assert_eq!((site.count("test"), site.count("reload")), (2, 2));
    site.has("next");
}

/// Leaves what a script leaves that was killed when half of it was live.
fn half_done(site: &Site) {
    for name in ["live.pem", "live.key"] {
        let old = site.project.read(&format!("srv/{name}"));
        site.project.write(&format!("srv/.{name}.nlrun-old"), &old);
    }
    site.touch(".live.pem.nlrun-sync");
    site.project.write("srv/live.pem", &site.project.read("next.pem"));
}

#[test]
fn what_a_killed_script_left_is_put_right_or_back() {
    let Some(site) = Site::open() else { return };
    half_done(&site);
    site.touch("broken");
    // The old files are those that the server has, not the half that was live.
    site.run(&[]).ends(1);
    site.has("leaf");
    half_done(&site);
    site.remove("broken");
    site.run(&[]).success();
    site.has("next");

    // Everything is right, and the server was never told: where nobody looks at what is served, the mark says so.
    let Some(site) = Site::with(|text| text.replace("[SERVED]", "[]")) else { return };
    half_done(&site);
    site.project.write("srv/live.key", &site.project.read("next.key"));
    let output = site.run(&[]).success();
    shows(&output.stdout, "put there, and the server was never told");
    assert_eq!((site.count("test"), site.count("reload")), (1, 1));
    assert_eq!(site.left(), Vec::<String>::new());
    site.run(&[]).success();
    assert_eq!(site.count("reload"), 1);
}

#[test]
fn killed_after_any_event_it_ends_right() {
    let Some(site) = Site::open() else { return };
    for kill in 1..=9 {
        let name = if kill % 2 == 1 { "next" } else { "leaf" };
        let mut command = site.project.command(["run", "sync", "--set", &format!("name={name}")]);
        let command = command.env("NLRUN_TEST_KILL_AFTER", kill.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let code = finish(child.unwrap()).code;
        assert!(code == -1 || code == 0, "{kill}: {code}");
        if code != 0 {
            call(&site.project, ["resume", &kill.to_string()]).success();
        }
        assert_eq!(verified(&store(&site.project), kill), Status::Done, "{kill}");
        site.has(name);
    }
}

#[test]
fn killed_in_the_middle_of_a_test_it_ends_right() {
    let Some(site) = Site::open() else { return };
    site.touch("hang");
    let child = site.project.spawn(["run", "sync"]);
    until("the test runs", || site.at.join("hangs").exists());
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    finish(child).ends(-1);
    site.remove("hang");
    call(&site.project, ["resume", "1"]).success();
    site.has("next");
}

#[test]
fn a_pair_that_cannot_be_served_is_refused_before_the_host_is_asked() {
    let Some(site) = Site::open() else { return };
    site.forge.sign("old", "next", "middle", &Wish { days: -1, ..Wish::server("www.example.com") });
    let other = "basicConstraints=critical,CA:false\nsubjectAltName=DNS:other.example.com\n";
    site.forge.sign("other", "next", "middle", &Wish { extensions: other, ..Wish::server("other") });
    for name in ["old", "other"] {
        site.project.write(&format!("{name}.pem"), &site.forge.join(&[&format!("{name}.pem"), "middle.pem"]));
        site.project.write(&format!("{name}.key"), &site.forge.read("next.key"));
    }
    for (arguments, part) in [
        (
            &["--set", "name=old"][..],
            "nothing was touched, for this pair cannot be served: the certificate of",
        ),
        (&["--set", "name=other"], "`www.example.com` is not covered"),
        (&["--set", "key=leaf"], "is not that of the certificate of"),
    ] {
        let output = site.run(arguments).ends(1);
        shows(&output.stderr, part);
    }
    site.has("leaf");
    assert!(ledger(&site.project).is_empty());
}

#[test]
fn an_endpoint_that_nobody_reaches_is_not_right() {
    let [closed] = free_ports();
    let Some(site) = Site::with(|text| text.replace("SERVED", &format!("SERVED, {closed}"))) else { return };
    let plan = call(&site.project, ["plan", "sync", "--set", "name=leaf"]).success().stdout;
    shows(&plan, &format!("-localhost:{closed} unknown: "));
    let output = site.run(&["--set", "name=leaf", "--set", "patience=1s"]).ends(1);
    shows(&output.stderr, &format!("it is not served: localhost:{closed} unknown: "));
    assert_eq!(site.count("reload"), 1);
}

#[test]
fn a_server_that_restarts_is_waited_for() {
    let again =
        "NGINX -s stop; (while [ -e AT/pid ]; do sleep 0.1; done; sleep 0.5; exec NGINX) >/dev/null 2>&1 &";
    let Some(site) = Site::with(|text| text.replace("RELOAD", again)) else { return };
    site.run(&[]).success();
    site.has("next");
}

/// The applets that the scripts ask for.
const APPLETS: [&str; 18] = [
    "sh",
    "dd",
    "mv",
    "cp",
    "awk",
    "stat",
    "readlink",
    "sync",
    "tail",
    "head",
    "wc",
    "chmod",
    "chown",
    "sha256sum",
    "ln",
    "rm",
    "id",
    "sleep",
];

#[test]
fn a_host_that_is_all_busybox_is_no_other() {
    if !Path::new("/usr/bin/busybox").exists() && !Path::new("/bin/busybox").exists() {
        eprintln!("skipped: busybox is not installed");
        return;
    }
    let Some(mut site) = Site::open() else { return };
    let mut project = std::mem::replace(&mut site.project, Project::new());
    for applet in APPLETS {
        project = project.program(applet, &format!("exec busybox {applet} \"$@\""));
    }
    site.project = project;
    site.touch("broken");
    shows(&site.run(&[]).ends(1).stderr, "the old files are back");
    site.has("leaf");
    site.remove("broken");
    site.run(&[]).success();
    site.has("next");
    assert_eq!(site.run(&[]).success().stdout.lines().last(), Some("false false 1"));
}

#[test]
fn another_host_needs_a_grant_of_its_own() {
    let Some(site) = Site::with(|text| text.replace("SERVED", "#{ host: \"127.0.0.1\", port: SERVED }"))
    else {
        return;
    };
    let output = site.run(&[]).ends(1);
    shows(&output.stderr, &format!("tls.probe:127.0.0.1:{}", site.port));
    site.has("leaf");
    let text = site
        .project
        .read("runbooks/sync.rhai")
        .replace("\"cert.sync:localhost\"", "\"cert.sync:localhost\", \"tls.probe:127.0.0.1:*\"");
    site.project.write("runbooks/sync.rhai", &text);
    site.run(&[]).success();
    site.has("next");
}

#[test]
fn what_a_target_does_not_know_is_told() {
    let Some(site) = Site::open() else { return };
    let text = site.project.read("runbooks/sync.rhai");
    for (from, to, part) in [
        (
            "kind: \"files\"",
            "kind: \"file\"",
            "knows no target of kind `file`, but files, npm, proxmox, synology, unifi; did you mean `files`?",
        ),
        ("reload: \"", "reloda: \"", "a target of kind `files` has no key `reloda`; did you mean `reload`?"),
        ("order: \"key\"", "order: \"keys\"", "`keys` is not an order"),
        ("order: \"key\"", "order: \"key\", mod: \"0600\"", "has no key `mod`; did you mean `mode`?"),
        ("host: \"localhost\"", "host: \"lokalhost\"", "there is no host `lokalhost`"),
        ("names: [\"www.example.com\"]", "names: [7]", "an array of texts"),
        ("\"cert.sync:localhost\"", "\"cert.sync:other\"", "cert.sync:localhost"),
    ] {
        assert!(text.contains(from), "{from}");
        site.project.write("runbooks/sync.rhai", &text.replacen(from, to, 1));
        let output = site.run(&[]);
        assert!(output.code == 1 || output.code == 3, "{to}: {}", output.code);
        shows(&output.stderr, part);
    }
    site.has("leaf");
}

/// Copies the shipped runbooks, and writes a table with one target that is there and one that is not.
fn shipped(site: &mut Site) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/certs");
    for name in ["sync", "expiry"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.rhai"))).unwrap();
        site.project.write(&format!("runbooks/certs/{name}.rhai"), &text);
    }
    let at = site.at.display();
    let nginx = format!("nginx -p {at} -c {at}/nginx.conf");
    let with = json!({
        "certificate": format!("{at}/live.pem"), "key": format!("{at}/live.key"), "test": format!("{nginx} -t -q"),
        "reload": format!("{nginx} -s reload"), "served": [site.port], "names": ["www.example.com"],
    });
    let away = json!({ "certificate": "/nowhere/site.pem", "key": "/nowhere/site.key", "served": [] });
    let table = json!({
        "certificates": { "site": { "certificate": "next.pem", "key": "site/key" } },
        "targets": [
            { "name": "away", "certificate": "site", "use": "pair", "host": "localhost", "with": away },
            { "name": "web", "certificate": "site", "use": "nginx", "host": "localhost", "with": with },
        ],
    });
    site.project.write("certs.json", &table.to_string());
    let key = site.project.read("next.key");
    site.project =
        std::mem::replace(&mut site.project, Project::new()).variable("NLRUN_SECRET_SITE_KEY", &key);
}

#[test]
fn the_runbook_brings_what_a_table_says_and_one_that_fails_keeps_no_other_from_it() {
    let Some(mut site) = Site::open() else { return };
    shipped(&mut site);
    let output = call(&site.project, ["run", "certs/sync"]).ends(4);
    shows(&output.stdout, "away    site         failed");
    shows(&output.stdout, "the folder of a file does not exist");
    shows(&output.stdout, "web     site         changed");
    site.has("next");
    let output = call(&site.project, ["run", "certs/sync", "--set", "only=web"]).success();
    shows(&output.stdout, "web     site         ok");
    assert!(!output.stdout.contains("away"), "{}", output.stdout);
    shows(
        &call(&site.project, ["run", "certs/sync", "--set", "only=wbe"]).ends(1).stderr,
        "there is no target wbe",
    );
}

#[test]
fn the_audit_lists_every_place_and_fails_for_what_it_cannot_reach() {
    let Some(mut site) = Site::open() else { return };
    shipped(&mut site);
    let output = call(&site.project, ["run", "certs/expiry"]).ends(1);
    shows(&output.stdout, "localhost:/nowhere/site.pem");
    shows(&output.stderr, "`/nowhere/site.pem` does not exist");
    let table = site
        .project
        .read("certs.json")
        .replace("/nowhere/site.pem", &format!("{}/live.pem", site.at.display()));
    site.project.write("certs.json", &table);
    let output = call(&site.project, ["run", "certs/expiry"]).success();
    shows(&output.stdout, &format!("localhost:{}", site.port));
    shows(&call(&site.project, ["run", "certs/expiry", "--set", "days=400"]).ends(1).stdout, "ends soon");
    let [closed] = free_ports();
    let served = format!("served=127.0.0.1:{closed}");
    let output = call(&site.project, ["run", "certs/expiry", "--set", &served]).ends(1);
    shows(&output.stdout, &format!("127.0.0.1:{closed}"));
    shows(&output.stderr, "unreachable");
    shows(
        &call(&site.project, ["run", "certs/expiry", "--set", "table="]).ends(1).stderr,
        "nothing was looked at",
    );
}
