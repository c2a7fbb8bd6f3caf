//! The shipped runbooks on three real Debian hosts and one with dnf, which `tests/hosts/hosts.sh` makes.
//!
//! One test, for one set of hosts: its parts build on each other.
#![allow(clippy::unwrap_used, reason = "what does not hold ends the test")]
#![expect(clippy::disallowed_methods, reason = "tests start programs and look at the clock")]

use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::hosts::{Hosts, repository, script};
use crate::support::project::{Output, Project};

/// Hosts that are up, and the repository's own project.
struct Lab {
    hosts: Hosts,
    project: Project,
}

impl Deref for Lab {
    type Target = Hosts;

    fn deref(&self) -> &Hosts {
        &self.hosts
    }
}

impl Lab {
    fn start() -> Option<Self> {
        let hosts = Hosts::start("3+1")?;
        let project = Project::new().variable("NLRUN_SECRET_SNMP_COMMUNITY", COMMUNITY);
        hosts.admit(&project);
        Some(Self { hosts, project })
    }

    fn state(&self) -> PathBuf {
        self.project.path(".nlrun")
    }

    /// Prepares a call of `nlrun` on the repository's own project, with the log in a folder of ours.
    fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        all.extend(["--project".to_owned(), repository().display().to_string()]);
        all.extend(["--state".to_owned(), self.state().display().to_string()]);
        all.extend(["--inventory".to_owned(), self.place("inventory.yaml")]);
        all
    }

    fn nlrun(&self, arguments: &[&str]) -> Output {
        self.project.args(self.arguments(arguments))
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        self.project
            .command(self.arguments(arguments))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Runs a runbook and demands an exit code.
    fn run(&self, arguments: &[&str], code: i32) -> Output {
        let output = self.nlrun(&[&["run"], arguments].concat());
        assert_eq!(output.code, code, "{arguments:?}\n{}\n{}", output.stdout, output.stderr);
        output
    }

    /// The file that the last run kept.
    fn artifact(&self, name: &str) -> String {
        let output = self.nlrun(&["show", "last", "--artifact", name]);
        assert_eq!(output.code, 0, "{output:?}");
        output.stdout
    }

    fn report(&self) -> Value {
        serde_json::from_str(&self.artifact("report.json")).unwrap()
    }

    fn version(&self, host: &str, package: &str) -> String {
        if host.starts_with("rpm") {
            return self.on(host, &format!("rpm -q --qf '%{{VERSION}}' {package}"));
        }
        self.on(host, &format!("dpkg-query -W -f '${{db:Status-Abbrev}}${{Version}}' {package} 2>/dev/null"))
    }
}

const COMMUNITY: &str = "kept-out-of-the-log";

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The row of a host in the last run's report.
fn row<'a>(report: &'a Value, host: &str) -> &'a Value {
    report["hosts"].as_array().unwrap().iter().find(|row| row["host"] == host).unwrap_or(&Value::Null)
}

#[test]
fn runbooks_work_on_real_hosts() {
    let Some(lab) = Lab::start() else { return };
    passwords_by_pam(&lab);
    uptime(&lab);
    updates_are_planned(&lab);
    updates_hold_packages_back(&lab);
    updates_survive_a_kill(&lab);
    updates_name_hosts_that_are_off(&lab);
    updates_go_on_past_a_broken_package(&lab);
    updates_by_dnf(&lab);
    health(&lab);
    keys_let_users_in(&lab);
    snmpd_serves(&lab);
    rsync_is_installed_once(&lab);
    hosts_restart_that_ask_for_it(&lab);
    power_goes_off_for_named_hosts_only(&lab);
}

fn uptime(lab: &Lab) {
    let output = lab.run(&["uptime", "--set", "hosts=debian"], 0);
    for host in ["deb-1", "deb-2", "deb-3"] {
        assert!(output.stdout.contains(&format!("{host}: ")), "{output:?}");
    }
}

/// Two more servers on one host: the password that PAM asks for, alone and after a key.
fn passwords_by_pam(lab: &Lab) {
    let common = "-o UsePAM=yes -o KbdInteractiveAuthentication=yes -o PasswordAuthentication=no";
    for (port, methods) in [(2201, "keyboard-interactive"), (2202, "publickey,keyboard-interactive")] {
        let sshd = format!("/usr/sbin/sshd -D -p {port} {common} -o AuthenticationMethods={methods}");
        lab.on("deb-1", &format!("systemd-run --quiet --unit pam-{port} {sshd}"));
        until("sshd", || lab.on("deb-1", &format!("ss -Hltn sport = {port}")).contains("LISTEN"));
    }
    let address = lab.on("deb-1", "hostname -I | cut -d' ' -f1");
    let known = std::fs::read_to_string(lab.place("known_hosts")).unwrap();
    let key = known.lines().find_map(|line| line.strip_prefix("deb-1,")?.split_once(' ')).unwrap().1;
    let host = |name: &str, port: u16, password: &str| {
        let key = lab.place("id_ed25519");
        format!(
            "  {name}: {{address: {address}, port: {port}, user: ops, identity_files: [\"{key}\"]{password}}}\n"
        )
    };
    let inventory = [
        host("ask", 2201, ", password: right"),
        host("ask-wrong", 2201, ", password: wrong"),
        host("both", 2202, ", password: right"),
        host("both-wrong", 2202, ", password: wrong"),
        host("key-only", 2202, ""),
    ];
    let project = Project::new()
        .variable("NLRUN_SECRET_RIGHT", std::fs::read_to_string(lab.place("password")).unwrap().trim())
        .variable("NLRUN_SECRET_WRONG", "guess")
        .inventory(&format!("hosts:\n{}", inventory.concat()))
        .runbook(
            "who",
            r#"
                const PARAMS = #{ hosts: #{ type: "hosts", required: true } };
                const NEEDS = ["ssh.read:@all"];
                for h in params.hosts {
                    try { print(`${h}: ${ssh_read(h, "id -un").out}`); }
                    catch (e) { print(`${h}: ${e.kind}: ${e.message}\n`); }
                }
            "#,
        );
    std::fs::create_dir_all(project.home().join(".ssh")).unwrap();
    let lines = [2201, 2202].map(|port| format!("[{address}]:{port} {key}\n")).concat();
    std::fs::write(project.home().join(".ssh/known_hosts"), lines).unwrap();
    let said = project.args(["run", "who", "--set", "hosts=all:!localhost"]).success().stdout;
    let line = |host: &str| said.lines().find(|line| line.starts_with(&format!("{host}: "))).unwrap_or(&said);
    assert_eq!((line("ask"), line("both")), ("ask: ops", "both: ops"), "{said}");
    for (host, tried) in
        [("ask-wrong", "keyboard-interactive"), ("both-wrong", "(accepted), keyboard-interactive")]
    {
        let line = line(host);
        assert!(line.starts_with(&format!("{host}: authentication: ")) && line.contains(tried), "{said}");
        assert!(!line.contains("guess"), "{said}");
    }
    assert!(line("key-only").contains("(accepted); the server accepts keyboard-interactive"), "{said}");

    // It has to be changed: that is a person's work, and is said.
    lab.on("deb-1", "chage -d 0 ops");
    let said = project.args(["run", "who", "--set", "hosts=ask"]).success().stdout;
    let line = said.lines().find(|line| line.starts_with("ask: ")).unwrap();
    assert!(line.contains("authentication") && line.contains("kept asking"), "{said}");
    lab.on("deb-1", "chage -d 2026-01-01 ops; systemctl stop pam-2201 pam-2202");
}

fn updates_are_planned(lab: &Lab) {
    let output = lab.nlrun(&["plan", "updates", "--set", "hosts=debian", "--exit-code"]);
    assert_eq!(output.code, 2, "{output:?}");
    let report = lab.report();
    assert_eq!(report["planned"], true);
    let upgraded: Vec<&str> = row(&report, "deb-2")["upgraded"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(upgraded, ["nlrun-demo", "nlrun-kernel"]);
    assert_eq!(row(&report, "deb-2")["held"], serde_json::json!(["nlrun-held"]));
    assert_eq!(lab.version("deb-2", "nlrun-demo"), "ii 1.0");
}

fn updates_hold_packages_back(lab: &Lab) {
    lab.run(
        &["updates", "--set", "hosts=deb-1", "--set", "hold=nlrun-demo", "--set", "install=nlrun-new"],
        0,
    );
    assert_eq!(lab.version("deb-1", "nlrun-demo"), "ii 1.0");
    assert_eq!(lab.version("deb-1", "nlrun-held"), "hi 1.0");
    assert_eq!(lab.version("deb-1", "nlrun-kernel"), "ii 1.1");
    let report = lab.report();
    let of = row(&report, "deb-1");
    assert_eq!(of["added"], serde_json::json!([{ "name": "nlrun-new", "to": "1.0" }]));
    assert_eq!(of["reboot_required"], true);
    // To hold a package for one run leaves no trace: the next one takes it.
    lab.run(&["updates", "--set", "hosts=deb-1"], 0);
    assert_eq!(lab.version("deb-1", "nlrun-demo"), "ii 1.1");
    let output = lab.run(&["updates", "--set", "hosts=deb-1"], 0);
    assert!(output.stderr.contains("0 changed"), "{output:?}");
    assert_eq!(row(&lab.report(), "deb-1")["status"], "ok");
}

/// nlrun is killed while dpkg waits in the middle of the upgrade, and the run is resumed.
fn updates_survive_a_kill(lab: &Lab) {
    let wait = "touch /run/begun; while [ ! -e /run/go ]; do sleep 0.1; done";
    lab.on("deb-2", &format!("echo 'DPkg::Pre-Invoke {{ \"{wait}\"; }};' > /etc/apt/apt.conf.d/99wait"));
    let mut first = lab.spawn(&["run", "updates", "--set", "hosts=deb-2"]);
    until("the upgrade", || lab.on("deb-2", "ls /run/begun") == "/run/begun");
    first.kill().unwrap();
    first.wait().unwrap();
    let runs = lab.nlrun(&["runs", "--json"]);
    let newest: Value = serde_json::from_str(runs.stdout.lines().next().unwrap()).unwrap();
    let number = newest["run"].as_i64().or_else(|| newest["id"].as_i64()).unwrap().to_string();
    let resumed = lab.spawn(&["resume", &number]);
    lab.on("deb-2", "touch /run/go");
    let output = Output::of(resumed);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(lab.version("deb-2", "nlrun-demo"), "ii 1.1");
    assert_eq!(lab.on("deb-2", "dpkg --audit"), "");
    let upgrades = lab.on("deb-2", "grep -c ' upgrade nlrun-kernel:all 1.0 1.1' /var/log/dpkg.log");
    assert_eq!(upgrades, "1");
    // What was installed before the kill is in the journal: the report still knows what the whole run changed.
    let report = lab.report();
    assert_eq!(row(&report, "deb-2")["upgraded"].as_array().unwrap().len(), 2, "{report}");
    lab.on("deb-2", "rm /etc/apt/apt.conf.d/99wait");
}

fn updates_name_hosts_that_are_off(lab: &Lab) {
    assert!(script(&["off", &lab.place(""), "deb-3"]).status.success());
    let output = lab.run(&["updates", "--set", "hosts=debian", "--yes"], 4);
    assert!(output.stderr.contains("unreachable: deb-3"), "{output:?}");
    let report = lab.report();
    assert_eq!(report["hosts"].as_array().unwrap().len(), 3, "{report}");
    assert_eq!(row(&report, "deb-3")["status"], "unreachable");
    for name in ["updates.txt", "updates.html"] {
        assert!(lab.artifact(name).contains("deb-3"), "{name}");
    }
    assert!(script(&["on", &lab.place(""), "deb-3"]).status.success());
    until("deb-3", || lab.ssh(&["deb-3", "true"]).status.success());
}

fn updates_go_on_past_a_broken_package(lab: &Lab) {
    lab.on("deb-1", "DEBIAN_FRONTEND=noninteractive apt-get -y install nlrun-broken");
    assert_eq!(lab.version("deb-1", "nlrun-broken"), "iF 1.0");
    let output = lab.run(&["updates", "--set", "hosts=deb-1,deb-3"], 4);
    assert!(output.stderr.contains("failed: deb-1"), "{output:?}");
    let report = lab.report();
    assert_eq!(row(&report, "deb-1")["status"], "failed");
    assert!(row(&report, "deb-1")["error"].as_str().unwrap().contains("nlrun-broken"), "{report}");
    assert_eq!(row(&report, "deb-3")["status"], "changed");
    assert_eq!(lab.version("deb-3", "nlrun-demo"), "ii 1.1");
    lab.on("deb-1", "dpkg --purge --force-all nlrun-broken");
}

/// The same runbook where packages are rpms: what a plan says, a restart that is asked for, a package that breaks.
fn updates_by_dnf(lab: &Lab) {
    let words = ["updates", "--set", "hosts=rpm"];
    let planned = lab.nlrun(&[&["plan"], &words[..], &["--exit-code"]].concat());
    assert_eq!(planned.code, 2, "{planned:?}");
    let moves = serde_json::json!([
        { "name": "linux-firmware", "from": "1.0-1.el9", "to": "1.1-1.el9" },
        { "name": "nlrun-demo", "from": "1.0-1.el9", "to": "1.1-1.el9" },
    ]);
    assert_eq!(row(&lab.report(), "rpm-1")["upgraded"], moves);
    assert_eq!(lab.version("rpm-1", "nlrun-demo"), "1.0");

    lab.run(&[&words[..], &["--set", "hold=nlrun-demo", "--set", "install=nlrun-new"]].concat(), 0);
    let report = lab.report();
    assert_eq!(row(&report, "rpm-1")["upgraded"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(
        row(&report, "rpm-1")["added"],
        serde_json::json!([{ "name": "nlrun-new", "to": "1.0-1.el9" }])
    );
    assert_eq!(row(&report, "rpm-1")["reboot_required"], true);
    assert_eq!(row(&report, "rpm-1")["reboot_packages"], serde_json::json!(["linux-firmware"]));
    assert_eq!(lab.version("rpm-1", "nlrun-demo"), "1.0");

    // What a user changed stays, and is nobody's question.
    lab.on("rpm-1", "echo mine > /etc/nlrun-demo.conf");
    lab.run(&[&words[..], &["--set", "reboot=true"]].concat(), 0);
    assert_eq!(row(&lab.report(), "rpm-1")["rebooted"], true);
    assert_eq!(lab.on("rpm-1", "cat /etc/nlrun-demo.conf; rpm -q --qf '%{VERSION}' nlrun-demo"), "mine\n1.1");
    let second = lab.run(&words, 0);
    assert!(second.stderr.contains("0 changed"), "{second:?}");
    assert_eq!(row(&lab.report(), "rpm-1")["reboot_required"], false);

    lab.on("rpm-1", "dnf -q -y install nlrun-broken-1.0");
    lab.run(&words, 4);
    let report = lab.report();
    assert_eq!(row(&report, "rpm-1")["status"], "failed");
    assert!(row(&report, "rpm-1")["error"].as_str().unwrap().contains("nlrun-broken"), "{report}");
    assert_eq!(lab.version("rpm-1", "nlrun-broken"), "1.0");
}

fn health(lab: &Lab) {
    let relaxed =
        ["health", "--set", "hosts=debian", "--set", "load=1000", "--set", "disk=100", "--set", "memory=100"];
    let output = lab.run(&relaxed, 0);
    for host in ["deb-1", "deb-2", "deb-3"] {
        assert!(output.stdout.contains(host), "{output:?}");
    }
    let report = lab.report();
    assert_eq!(row(&report, "deb-1")["failed"], serde_json::json!([]));
    assert_eq!(row(&report, "deb-1")["updates"], serde_json::json!([]));
    lab.on("deb-1", "printf '[Service]\\nExecStart=/bin/false\\n' > /run/systemd/system/wrong.service; systemctl start wrong");
    let output = lab.run(&relaxed, 1);
    assert!(output.stderr.contains("deb-1: wrong.service has failed"), "{output:?}");
    lab.on("deb-1", "systemctl reset-failed");
}

fn keys_let_users_in(lab: &Lab) {
    let key = lab.place("another_key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "another", "-f", &key])
        .status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(format!("{key}.pub")).unwrap();
    let keys = format!("keys={}", public.trim());
    let login = [
        "-i",
        &key,
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "IdentityAgent=none",
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
    ];
    let address = lab.on("deb-1", "hostname -I | cut -d' ' -f1");
    let target = format!("ops@{address}");
    let known = format!("UserKnownHostsFile={}", lab.place("known_hosts"));
    let enter = || {
        let words = [&login[..], &["-o", &known, "-o", "HostKeyAlias=deb-1", &target, "id", "-un"]].concat();
        let output = Command::new("ssh").args(words).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(enter(), "");
    let words = ["ssh-keys", "--set", "hosts=debian", "--set", "users=root, ops", "--yes"];
    lab.run(&[&words[..], &["--set", &keys]].concat(), 0);
    assert_eq!(enter(), "ops");
    let second = lab.run(&[&words[..], &["--set", &keys]].concat(), 0);
    assert!(second.stderr.contains("0 changed"), "{second:?}");
    let absent = format!("absent={}", public.trim());
    lab.run(&[&words[..], &["--set", &absent]].concat(), 0);
    assert_eq!(enter(), "");
    // The key that lets us in was there before, and still is.
    assert_eq!(lab.on("deb-1", "id -un"), "root");
}

fn snmpd_serves(lab: &Lab) {
    let words = ["snmpd", "--set", "hosts=deb-1", "--set", "community=snmp/community"];
    lab.run(&words, 0);
    assert_eq!(lab.on("deb-1", "systemctl is-active snmpd"), "active");
    let config = lab.on("deb-1", "cat /etc/snmp/snmpd.conf");
    assert!(config.contains(&format!("rocommunity {COMMUNITY} 127.0.0.1")), "{config}");
    assert_eq!(row(&lab.report(), "deb-1")["serves"], true);
    let second = lab.run(&words, 0);
    assert!(second.stderr.contains("0 changed"), "{second:?}");
    for entry in std::fs::read_dir(lab.state()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let found = bytes.windows(COMMUNITY.len()).any(|window| window == COMMUNITY.as_bytes());
        assert!(!found, "the secret is in {}", path.display());
    }
}

fn rsync_is_installed_once(lab: &Lab) {
    lab.run(&["rsync-install", "--set", "hosts=deb-2,deb-3"], 0);
    assert!(lab.on("deb-2", "rsync --version").contains("rsync"));
    let second = lab.run(&["rsync-install", "--set", "hosts=deb-2,deb-3"], 0);
    assert!(second.stderr.contains("0 acts"), "{second:?}");
}

fn hosts_restart_that_ask_for_it(lab: &Lab) {
    let boot = |host: &str| lab.on(host, "cat /proc/sys/kernel/random/boot_id");
    // deb-2 asks for it since its kernel was upgraded; it is told in the inventory's order, one batch after the other.
    let before = boot("deb-2");
    assert_eq!(lab.on("deb-2", "ls /run/reboot-required"), "/run/reboot-required");
    lab.run(&["updates", "--set", "hosts=deb-2", "--set", "reboot=true", "--set", "serial=1"], 0);
    assert_ne!(boot("deb-2"), before);
    assert!(lab.artifact("updates.txt").contains("done"));
}

fn power_goes_off_for_named_hosts_only(lab: &Lab) {
    let whole = lab.run(&["poweroff", "--set", "hosts=all", "--set", "most=9", "--yes"], 1);
    assert!(whole.stderr.contains("whole inventory"), "{whole:?}");
    let none = lab.run(&["poweroff", "--yes"], 64);
    assert!(none.stderr.contains("`hosts` is required"), "{none:?}");
    lab.run(&["poweroff", "--set", "hosts=localhost", "--yes"], 1);
    lab.run(&["poweroff", "--set", "hosts=deb-1,deb-3", "--set", "most=1", "--yes"], 1);
    // Nobody is at a terminal to say yes.
    lab.run(&["poweroff", "--set", "hosts=deb-3"], 3);
    assert_eq!(lab.on("deb-3", "echo up"), "up");
    lab.run(&["poweroff", "--set", "hosts=deb-3", "--yes"], 0);
    until("the power-off of deb-3", || {
        let status = String::from_utf8(script(&["status", &lab.place("")]).stdout).unwrap();
        status.lines().any(|line| line.starts_with("deb-3 ") && line.contains(" off"))
    });
    assert_eq!(lab.on("deb-1", "echo up"), "up");
}
