//! Sessions at virtual devices over real SSH, through real runbooks: what is read, and what is refused.

use nlrun::cisco::Os;

use crate::support::device::{Device, ENABLE, PASSWORD, faults, secrets};
use crate::support::project::{Output, Project};

const ROUTER: &str = "hostname rtr01\nenable secret 9 $9$verysecretsalt$hash\nusername bob secret 9 $9$anothersalt$hash\nsnmp-server community readable-by-few RO\ninterface GigabitEthernet0/1\n description core\n ip address 192.0.2.1 255.255.255.0\n!\nbanner motd ^C\nrtr01#\nadmin# watches\n^C\nend\n";
const FIREWALL: &str = "hostname fw01\nenable password s3cr3t-of-the-firewall pbkdf2\ntunnel-group 192.0.2.7 type ipsec-l2l\ntunnel-group 192.0.2.7 ipsec-attributes\n ikev1 pre-shared-key key-of-the-tunnel\n: end\n";

/// Runs lines of a runbook that print; returns what came of it.
fn runs(project: Project, lines: &str) -> Output {
    let project = project.runbook("look", &format!("const NEEDS = [\"*\"];\n{lines}\n"));
    project.args(["run", "look"])
}

/// What a runbook printed.
fn said(output: &Output) -> String {
    format!("{}\n{}", output.stdout, output.stderr)
}

#[test]
fn a_configuration_is_read_whole_and_without_secrets() {
    for (os, text, secret, masked) in [
        (Os::Ios, ROUTER, "readable-by-few", "snmp-server community ***** RO"),
        (Os::Ap, ROUTER, "verysecretsalt", "enable secret 9 *****"),
        (Os::Asa, FIREWALL, "key-of-the-tunnel", " ikev1 pre-shared-key *****"),
    ] {
        let device = Device::start(os, text);
        let lines = format!(
            "let text = cisco_running(\"dev\");\nprint(if text.contains(\"{masked}\") {{ \"masked\" }} else {{ text }});\n\
             print(if text.contains(\"hostname \") {{ \"whole\" }} else {{ \"cut\" }});\n\
             let backup = cisco_backup(\"dev\");\nprint(`${{backup.os}} ${{type_of(backup.content)}}`);"
        );
        let output = runs(device.project(), &lines).success();
        let said = said(&output);
        assert!(said.contains("masked") && said.contains("whole"), "{os}: {said}");
        assert!(said.contains(&format!("{os} secret")), "{os}: {said}");
        assert!(!said.contains(secret), "{os}: {said}");
        device.has(text, "reading changes nothing");
    }
}

/// Every file of the run log, with what SQLite has not put in its place yet.
fn record(project: &Project) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(project.path(".nlrun")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
    bytes
}

/// All that handles secrets.
const EVERYTHING: &str = r#"
const NEEDS = ["*"];
let intended = cisco_read("intended.cfg");
cisco_running("dev");
let backup = cisco_backup("dev");
print(cisco_show("dev", "show running-config"));
print(cisco_drift("dev", intended).commands);
print(cisco_diff(backup.content, intended, backup.os).commands);
print(cisco_apply("dev", intended, #{ fallback: "none" }).commands);
try { cisco_exec_config("dev", [secret("cisco/line"), "frobnicate"]) } catch (e) { print(e.message) }
print(cisco_revert("dev", backup.content, #{ fallback: "none" }).commands);
"#;

#[test]
fn no_secret_reaches_the_record() {
    for (os, text, enable) in [(Os::Ios, ROUTER, "secret"), (Os::Asa, FIREWALL, "password")] {
        let device = Device::with(os, text, faults(&["refuse=frobnicate"]));
        let intended = text
            .replace("hostname ", "hostname x")
            .replace("key-of-the-tunnel", "the-new-key-of-it")
            .replace("readable-by-few", "readable-by-less");
        let project = device
            .project()
            .variable("NLRUN_SECRET_CISCO_LINE", &format!("enable {enable} exec-me-not"))
            .file("intended.cfg", &intended)
            .runbook("look", EVERYTHING);
        let planned = project.args(["plan", "look"]).success();
        let run = project.args(["run", "look"]).success();
        let log = project.args(["log", "last"]);
        assert!(said(&run).contains("hostname x"), "{os}: {run:?}");
        assert!(said(&run).contains("the device refuses `frobnicate`"), "{os}: {run:?}");
        device.has(text, "it was brought back");
        let record = record(&project);
        for secret in [
            "readable-by-few",
            "readable-by-less",
            "verysecretsalt",
            "anothersalt",
            "s3cr3t-of-the-firewall",
            "key-of-the-tunnel",
            "the-new-key-of-it",
            "exec-me-not",
            PASSWORD,
            ENABLE,
        ] {
            let is_in = record.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_in, "{os}: `{secret}` is in the record");
            assert!(
                !said(&planned).contains(secret) && !said(&run).contains(secret),
                "{os}: `{secret}` is shown"
            );
            assert!(!said(&log).contains(secret), "{os}: `{secret}` is in the log");
        }
    }
}

#[test]
fn pages_that_stay_and_messages_in_between_do_no_harm() {
    let mut text = "hostname rtr01\n".to_owned();
    for number in 1..=120 {
        text += &format!("interface Loopback{number}\n description number {number}\n");
    }
    text += "end\n";
    for fault in ["pages", "noise"] {
        let device = Device::with(Os::Ios, &text, faults(&[fault]));
        let lines = "let text = cisco_running(\"dev\");\nprint(text.split(\"\\n\").filter(|line| line.starts_with(\"interface\")).len());\n\
                     if text.contains(\"More\") || text.contains(\"SYS-5\") { fail(text) }";
        let output = runs(device.project(), lines).success();
        assert!(said(&output).contains("120"), "{fault}: {output:?}");
    }
}

#[test]
fn what_only_shows_is_run_and_nothing_else() {
    let device = Device::start(Os::Ios, ROUTER);
    let lines = "print(cisco_show(\"dev\", \"show version | include uptime\"));\n\
                 for command in [\"show nonsense\", \"reload\", \"show running-config | redirect flash:x\"] {\n\
                     try { cisco_show(\"dev\", command); fail(command) } catch (e) { print(`${e.kind}: ${e.message}`) }\n}";
    let output = runs(device.project(), lines).success();
    let said = said(&output);
    assert!(said.contains("rtr01 uptime is"), "{said}");
    assert!(said.contains("rejected: the device refuses `show nonsense`"), "{said}");
    assert!(said.contains("invalid: `cisco_show` takes one command"), "{said}");
    assert!(said.contains("`| redirect` writes"), "{said}");
}

#[test]
fn who_is_not_let_in_is_told_why_and_knocks_once() {
    let device = Device::start(Os::Ios, ROUTER);
    let twice =
        "for time in 1..=2 { try { cisco_running(\"dev\") } catch (e) { print(`${e.kind}: ${e.message}`) } }";

    let project = device.project().variable("NLRUN_SECRET_CISCO_ENABLE", "wrong");
    let output = runs(project, twice).success();
    let words =
        "enable: no rights on the device: `enable` does not take the `enable_password` of the inventory";
    assert_eq!(said(&output).matches(words).count(), 2, "{output:?}");

    let line = device.line("dev", "").replace(", enable_password: cisco/enable", "");
    let project = secrets(Project::new()).inventory(&format!("hosts:\n{line}"));
    let output = runs(project, twice).success();
    assert!(said(&output).contains("names no `enable_password`"), "{output:?}");

    // Who calls again finds the door shut, and would say so.
    let line = device.line("dev", "").replace(&device.port.to_string(), &device.behind(1).to_string());
    let project = secrets(Project::new()).inventory(&format!("hosts:\n{line}"));
    let output = runs(project.variable("NLRUN_SECRET_CISCO_LOGIN", "wrong"), twice).success();
    let words = "authentication: authentication failed for `ops`: tried password";
    assert_eq!(said(&output).matches(words).count(), 2, "{output:?}");
}

#[test]
fn a_host_without_a_system_is_no_device() {
    let project = Project::new().inventory("hosts:\n  web: {address: 127.0.0.1}\n");
    let output = runs(project, "try { cisco_running(\"web\") } catch (e) { print(e.message) }").success();
    assert!(
        said(&output).contains("`web` is no network device: the inventory says which system one has"),
        "{output:?}"
    );
    let project = Project::new().inventory("hosts:\n  web: {address: 127.0.0.1, os: junos}\n");
    let output = project.args(["hosts"]);
    assert!(output.stderr.contains("`os` wants `ios`, `asa` or `ap`"), "{output:?}");
}

#[test]
fn a_device_that_says_nothing_more_is_given_up() {
    let device = Device::with(Os::Ios, ROUTER, faults(&["hang=5"]));
    let lines =
        "try { cisco_running(\"dev\", #{ timeout: \"4s\" }) } catch (e) { print(`${e.kind}: ${e.message}`) }";
    let output = runs(device.project(), lines).success();
    assert!(said(&output).contains("timed_out: the device said nothing for 4 s while `"), "{output:?}");
}

#[test]
fn texts_are_compared_rehearsed_and_checked_without_a_device() {
    let lines = r#"
let before = "hostname a\ninterface GigabitEthernet0/1\n description old\nusername bob secret 9 hashhash\nend\n";
let after = "hostname a\ninterface GigabitEthernet0/1\n description new\nusername bob secret 9 otherhash\nend\n";
let plan = cisco_diff(before, after, "ios");
print(plan.commands);
print(cisco_simulate(before, plan.commands.filter(|line| !line.contains("*")), "ios").contains("description new"));
print(cisco_parse(before, "ios").filter(|node| node.line.starts_with("interface"))[0].children[0].line);
print(cisco_filter("Building configuration...\n" + before, "ios") == before);
print(cisco_validate("hostname a\nend\n", "ios", #{ rules: [#{ name: "clock", require: #{ line: "ntp server *" } }] })[0].rule);
for wrong in [|| cisco_diff("", after, "ios"), || cisco_diff(before, after, "junos"), || cisco_simulate(before, "no such line", "ios"), || cisco_diff(before, "<html>", "ios")] {
    try { wrong.call(); fail("it was taken") } catch (e) { print(`${e.kind}: ${e.message}`) }
}
"#;
    let output = runs(Project::new(), lines).success();
    let said = said(&output);
    for words in [
        "description new",
        "username bob secret 9 *****",
        "true",
        "description old",
        "clock",
        "unusable: the running configuration cannot be used: it is empty",
        "invalid: `junos` is no system",
        "unusable: the intended configuration cannot be used: line 1",
    ] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    assert!(!said.contains("otherhash"), "{said}");
}

#[test]
fn old_slow_and_busy_devices_are_reached() {
    let line = "print(cisco_show(\"dev\", \"show version\").contains(\"uptime\"));";
    for fault in ["keyboard-interactive", "busy=2", "slow=300", "wrap", "pages", "noise"] {
        let device = Device::with(Os::Ios, ROUTER, faults(&[fault]));
        let output = runs(device.project(), line).success();
        assert!(said(&output).contains("true"), "{fault}: {output:?}");
    }
    let device = Device::with(Os::Ios, ROUTER, faults(&["legacy"]));
    let output = runs(device.project(), line);
    assert!(said(&output).contains("(`legacy: true` allows old ones)"), "{output:?}");
    let output = runs(device.project_with(", legacy: true"), line).success();
    assert!(said(&output).contains("true"), "{output:?}");
}

#[test]
fn long_lines_that_slide_are_no_trouble() {
    let long = "access-list X extended permit tcp host 192.0.2.101 host 198.51.100.201 eq 8443 log informational interval 600";
    for (os, before, from, to) in [
        (Os::Asa, FIREWALL, "tunnel-group 192.0.2.7 type", format!("{long}\ntunnel-group 192.0.2.7 type")),
        (
            Os::Ios,
            ROUTER,
            " description core",
            format!(" description {}", "a long text of a port ".repeat(8).trim()),
        ),
    ] {
        let device = Device::with(os, before, faults(&["wrap"]));
        let intended = before.replace(from, &to);
        let project = device.project().file("intended.cfg", &intended);
        runs(project, "cisco_apply(\"dev\", cisco_read(\"intended.cfg\"), #{ fallback: \"none\" });")
            .success();
        device.has(&intended, "every line has come whole");
    }
}
