//! A virtual device over real SSH, driven by netmiko: its handling of sessions tells whether ours is like a device's.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::project::Project;

const ROUTER: &str = "hostname rtr01\ninterface GigabitEthernet0/1\n description core\n!\ninterface Dot11Radio0\n!\nip access-list extended EDGE\n 10 permit tcp any any eq 22\n 20 deny ip any any\n!\nend\n";
const FIREWALL: &str =
    "hostname fw01\nenable password abcdef pbkdf2\naccess-list X extended deny ip any any\n";

/// A running device; it ends with this value.
pub struct Running {
    child: Child,
    pub port: String,
}

impl Running {
    pub fn start(project: &Project, os: &str, more: &[&str]) -> Self {
        let mut command = project.command([
            "cisco",
            "device",
            "--os",
            os,
            "--config",
            "device.cfg",
            "--enable",
            "enable-me",
        ]);
        let mut child = command.args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        Self { child, port }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Python with a package, where it is installed.
pub fn python(package: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/netmiko/bin/python");
    #[expect(clippy::disallowed_methods, reason = "a test finds a program and runs it")]
    let given = std::env::var_os("NLRUN_NETMIKO").map(PathBuf::from);
    let has = |path: &PathBuf| {
        #[expect(clippy::disallowed_methods, reason = "a test finds a program and runs it")]
        let mut python = Command::new(path);
        let import = format!("import {package}");
        python.args(["-c", &import]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let found = given.or(Some(own)).filter(has);
    if found.is_none() {
        eprintln!(
            "skipped: {package} is not installed; `.ci/run` does it, or NLRUN_NETMIKO names a Python that has it"
        );
    }
    found
}

fn driven(python: &Path, script: &str, words: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cisco").join(script);
    #[expect(clippy::disallowed_methods, reason = "a test runs a peer")]
    let output = Command::new(python).arg(script).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn netmiko_drives_every_kind_of_device() {
    let Some(python) = python("netmiko") else { return };
    for (os, text, prompt, changed, refused) in [
        ("ios", ROUTER, "rtr01#", " 15 permit icmp any any", "% there is no"),
        ("ap", ROUTER, "rtr01#", " description by netmiko", "% there is no"),
        (
            "asa",
            FIREWALL,
            "fw01#",
            "access-list X extended permit icmp any any",
            "ERROR: there is no such entry",
        ),
    ] {
        let project = Project::new().file("device.cfg", text);
        let device = Running::start(&project, os, &[]);
        let seen = driven(&python, "drive.py", &[os, &device.port]);
        let text = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("prompt"), prompt, "{os}");
        assert!(text("running").contains("hostname"), "{os}: {seen}");
        assert!(!text("running").contains("abcdef"), "{os}: a secret is shown");
        assert!(text("version").contains("Version"), "{os}: {seen}");
        assert!(text("refused").contains(refused), "{os}: {seen}");
        assert!(text("saved").contains("[OK]"), "{os}: {seen}");
        assert!(text("after").contains(changed), "{os}: {}", text("after"));
    }
}

#[test]
fn napalm_changes_replaces_and_takes_back() {
    let Some(python) = python("napalm") else { return };
    let text = ROUTER.replace(
        "hostname rtr01\n",
        "hostname rtr01\nip domain name example.net\narchive\n path flash:kept\n!\n",
    );
    let project = Project::new().file("device.cfg", &text);
    let device = Running::start(&project, "ios", &[]);
    let seen = driven(&python, "drive_napalm.py", &[&device.port]);
    let told = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
    let facts = &seen["facts"];
    assert_eq!(facts["fqdn"], "rtr01.example.net", "{seen}");
    assert_eq!(facts["model"], "ISR4321/K9", "{facts}");
    assert_eq!(facts["uptime"], 93_600.0, "{facts}");
    assert_eq!(facts["interface_list"], serde_json::json!(["GigabitEthernet0/1", "Dot11Radio0"]), "{facts}");
    let change = "+interface GigabitEthernet0/1\n+ description by napalm\n- no ip redirects";
    assert_eq!(told("merge"), change);
    let merged = seen["merged"]["running"].as_str().unwrap();
    assert!(merged.contains(" description by napalm\n no ip redirects\n"), "{merged}");
    assert!(seen["merged"]["startup"].as_str().unwrap().contains("by napalm"), "it is saved: {seen}");
    assert_eq!((told("again").as_str(), &seen["discarded"]), ("", &true.into()), "{seen}");
    assert!(told("rolled_back").contains("description core"), "{seen}");
    assert!(
        told("replace").contains("+ description replaced") && told("replace").contains("- description core"),
        "{seen}"
    );
    assert_eq!((&seen["pending"], &seen["confirmed"]), (&true.into(), &false.into()), "{seen}");
    assert!(told("replaced").contains("description replaced"), "{seen}");
    // What NAPALM takes for success: a line was refused, the others are there and saved.
    assert!(told("half").contains("description half"), "{seen}");
}

#[test]
fn a_device_is_started_from_a_whole_configuration_only() {
    let project = Project::new().file("device.cfg", "<html>\n");
    let output = project.args(["cisco", "device", "--os", "ios", "--config", "device.cfg"]);
    assert_eq!(output.code, 64, "{output:?}");
    assert!(output.stderr.contains("web page"), "{output:?}");
}
