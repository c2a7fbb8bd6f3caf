//! The runbooks `network/*` on virtual devices, with their configurations in a real repository.

use std::path::Path;

use nlrun::cisco::{Machine, Os};

use crate::support::device::{Device, ENABLE, PASSWORD};
use crate::support::origin::Origin;
use crate::support::project::{Output, Project};

const ROUTER: &str = "hostname rtr01\narchive\n path flash:before\nenable secret 9 $9$verysecretsalt$hash\ninterface GigabitEthernet0/1\n description core\n ip address 192.0.2.1 255.255.255.0\n ip access-group EDGE in\n!\ninterface GigabitEthernet0/2\n description spare\n!\nip access-list extended EDGE\n 10 permit tcp any any eq 22\n 20 deny ip any any\n!\nend\n";
const FIREWALL: &str = "hostname fw01\nenable password s3cr3t-of-the-firewall pbkdf2\ninterface GigabitEthernet1/1\n nameif outside\n security-level 0\n ip address 192.0.2.9 255.255.255.0\naccess-list X extended permit tcp any any eq 22\naccess-list X extended deny ip any any\naccess-group X in interface outside\n: end\n";

/// Two devices, a repository with what they are to run, and a clone of it that is the project.
struct Site {
    router: Device,
    firewall: Device,
    origin: Origin,
    /// Whose environment and home the runs have.
    person: Project,
}

impl Site {
    fn new() -> Self {
        let (router, firewall) = (Device::start(Os::Ios, ROUTER), Device::start(Os::Asa, FIREWALL));
        let origin = Origin::new("//! x\n1\n");
        let url = origin.path().display().to_string();
        origin.write("nlrun.yaml", &format!("server: {{project: {{url: \"{url}\"}}}}\n"));
        let hosts = [router.line("rtr01", ""), firewall.line("fw01", "")].concat();
        // Another host, so that the devices are not all that there is.
        let inventory = format!(
            "hosts:\n{hosts}  web-1: {{transport: local}}\ngroups:\n  network: {{hosts: [rtr01, fw01]}}\n"
        );
        origin.write("inventory/hosts.yaml", &inventory);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/network");
        for name in ["drift", "plan", "deploy", "sync", "backup"] {
            let text = std::fs::read_to_string(folder.join(format!("{name}.rhai"))).unwrap();
            origin.write(&format!("runbooks/network/{name}.rhai"), &text);
        }
        let site = Self { router, firewall, origin, person: Project::new() };
        let site = Self {
            person: site
                .person
                .variable("NLRUN_SECRET_CISCO_LOGIN", PASSWORD)
                .variable("NLRUN_SECRET_CISCO_ENABLE", ENABLE),
            ..site
        };
        site.file("rtr01", ROUTER);
        site.file("fw01", FIREWALL);
        site.commit("Devices");
        site
    }

    fn file(&self, device: &str, text: &str) {
        self.origin.write(&format!("network/configs/{device}"), text);
    }

    fn commit(&self, message: &str) {
        self.origin.commit(message);
        self.origin.push("main");
    }

    fn run(&self, name: &str, more: &[&str]) -> Output {
        let name = format!("network/{name}");
        let words = [&["run", &name, "--state", "../state"], more].concat();
        let mut command = self.person.command(words);
        Output::of(
            command
                .current_dir(self.origin.work())
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    /// Changes what runs on the router, as somebody at its console does.
    fn by_hand(&self, from: &str, to: &str) -> String {
        let text = self.router.running().replace(from, to);
        assert!(text.contains(to) && (to.is_empty() || !ROUTER.contains(to)), "{text}");
        *self.router.machine.lock() = Machine::new(Os::Ios, &text);
        text
    }

    /// Reads a file of a branch of the bare repository; empty where there is none.
    fn at(&self, branch: &str, device: &str) -> String {
        if self.origin.at(&["branch", "--list", branch]).is_empty() {
            return String::new();
        }
        self.origin.at(&["show", &format!("{branch}:network/configs/{device}")])
    }
}

/// Demands that words are somewhere in what a run said.
#[track_caller]
fn says(output: &Output, words: &str) {
    let all = format!("{}{}", output.stdout, output.stderr);
    assert!(all.contains(words), "`{words}` is not in\n{all}");
}

#[test]
fn drift_is_what_differs_and_what_nobody_can_see() {
    let site = Site::new();
    let same = site.run("drift", &[]).success();
    says(&same, "rtr01   same");
    says(&same, "fw01    same");
    site.by_hand(" description core", " description of somebody");
    let output = site.run("drift", &[]).ends(1);
    says(&output, "rtr01 is different: 2 commands would bring it back (other)");
    // A device that is not there is not in sync.
    let gone = site.origin.file("inventory/hosts.yaml");
    let text =
        std::fs::read_to_string(&gone).unwrap().replace(&format!("port: {}", site.firewall.port), "port: 1");
    site.origin.write("inventory/hosts.yaml", &text);
    let output = site.run("drift", &[]);
    assert_ne!(output.code, 0, "{output:?}");
    says(&output, "fw01    unknown");
    // Nothing of the configurations is in the record in clear.
    let database = std::fs::read(site.origin.work().join("../state/nlrun.db")).unwrap();
    for secret in ["verysecretsalt", "s3cr3t-of-the-firewall", PASSWORD, ENABLE] {
        let is_there = database.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!is_there, "{secret}");
    }
}

#[test]
fn a_change_that_was_merged_is_planned_and_deployed_once() {
    let site = Site::new();
    site.origin.git(&["checkout", "--quiet", "-b", "feature"]);
    site.file("rtr01", &ROUTER.replace(" description core", " description core of all"));
    site.file("fw01", &FIREWALL.replace("eq 22\n", "eq 22\naccess-list X extended permit icmp any any\n"));
    site.origin.commit("Describe");
    site.origin.git(&["checkout", "--quiet", "main"]);
    says(
        &site.run("plan", &["--set", "from=main", "--set", "to=main"]).success(),
        "this change touches no device",
    );
    // As the merge request shows it: what the branch changes since it left the other one.
    let plan = site.run("plan", &["--set", "from=main", "--set", "to=feature"]).success();
    says(&plan, "rtr01   clear");
    says(&plan, "fw01    clear");
    site.router.has(ROUTER, "a plan changes nothing");
    site.origin.write("docs.md", "docs\n");
    site.origin.commit("Docs");
    site.origin.git(&["merge", "--quiet", "--no-ff", "-m", "Merge feature", "feature"]);
    let done = site.run("deploy", &[]).success();
    says(&done, "rtr01");
    site.router.has(&ROUTER.replace(" description core", " description core of all"), "deployed and saved");
    assert!(
        site.firewall
            .running()
            .contains("eq 22\naccess-list X extended permit icmp any any\naccess-list X extended deny")
    );
    let again = site.run("deploy", &[]).success();
    says(&again, "0 changed");
    says(&again, "done");
}

#[test]
fn nothing_is_deployed_over_a_change_by_hand_nor_against_the_rules() {
    let site = Site::new();
    let theirs = site.by_hand(" description spare", " description theirs");
    site.file("rtr01", &ROUTER.replace(" description core", " description core of all"));
    site.commit("Describe");
    let output = site.run("deploy", &[]);
    assert_ne!(output.code, 0, "{output:?}");
    says(&output, "it runs what Git does not have: 2 commands would take it away");
    assert_eq!(site.router.running(), theirs);
    // A rule of the site.
    let site = Site::new();
    let rules = r#"[{"name": "guarded", "every": {"section": "interface *", "line": "ip address *", "needs_beside": "ip access-group * in"}}]"#;
    site.origin.write("network/rules.json", rules);
    site.commit("Rules");
    site.file("rtr01", &ROUTER.replace(" ip access-group EDGE in\n", ""));
    site.commit("Unguarded");
    let output = site.run("deploy", &["--set", "rules=network/rules.json"]);
    assert_ne!(output.code, 0, "{output:?}");
    says(&output, "it cannot be deployed");
    site.router.has(ROUTER, "nothing was touched");
    // A file of nobody, and one that is gone.
    let site = Site::new();
    site.file("sw99", ROUTER);
    std::fs::remove_file(site.origin.file("network/configs/fw01")).unwrap();
    site.commit("Strange");
    let output = site.run("deploy", &[]).ends(1);
    says(&output, "network/configs/sw99 is the configuration of no device");
    says(&output, "network/configs/fw01 is gone, and fw01 is in the inventory");
}

#[test]
fn what_is_harmless_goes_to_git_and_what_is_not_waits_for_people() {
    let site = Site::new();
    site.run("sync", &[]).success();
    assert_eq!(site.at("main", "rtr01"), ROUTER.trim_end(), "nothing differs, so nothing is committed");
    site.by_hand(" description spare", " description used");
    let output = site.run("sync", &[]).success();
    says(&output, "rtr01   harmless");
    assert!(site.at("main", "rtr01").contains("description used"), "{output:?}");
    assert!(site.at("main", "rtr01").contains("enable secret 9 *****"), "{output:?}");
    assert_eq!(site.at("main", "fw01"), FIREWALL.trim_end());
    let trailer = site.origin.at(&["log", "-1", "--format=%s|%(trailers:key=Nlrun-Run,valueonly)", "main"]);
    assert!(trailer.starts_with("Devices as they are: rtr01|2"), "{trailer}");
    // What is in Git is no drift, and is deployed by nobody.
    site.origin.git(&["pull", "--quiet", "--ff-only"]);
    site.run("drift", &[]).success();
    says(&site.run("deploy", &[]).success(), "rtr01   done");
    let main = site.origin.at(&["rev-parse", "main"]);
    // A port that somebody has switched off is no decision.
    site.by_hand(" description used", " description used\n shutdown");
    says(&site.run("sync", &[]).success(), "rtr01   transient");
    // What lets in is for people.
    site.by_hand("\n shutdown", "");
    site.by_hand("10 permit tcp any any eq 22", "10 permit tcp any any eq 23");
    let output = site.run("sync", &[]).success();
    says(&output, "network/sync/rtr01");
    assert!(site.at("network/sync/rtr01", "rtr01").contains("eq 23"), "{output:?}");
    // What nobody can have meant fails the run.
    site.by_hand(" ip access-group EDGE in\n", "");
    let output = site.run("sync", &[]).ends(1);
    says(&output, "rtr01 has changed so that nobody can have meant it: lost_binding");
    assert!(!site.at("network/sync/rtr01", "rtr01").contains("access-group"));
    assert_eq!(site.origin.at(&["rev-parse", "main"]), main, "main has none of it");
}

#[test]
fn backups_hold_all_and_are_for_their_owner() {
    let site = Site::new();
    let folder = site.person.path("backups");
    let set = format!("folder={}", folder.display());
    site.run("backup", &["--set", &set]).success();
    let file = folder.join("rtr01");
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(std::fs::read_to_string(&file).unwrap().contains("$9$verysecretsalt$hash"));
    says(&site.run("backup", &["--set", &set]).success(), "0 changed");
}

#[test]
fn a_rule_is_a_function_of_a_runbook_and_fails_closed() {
    let rule = |text: &str, body: &str| {
        let script = format!(
            "const NEEDS = [];\nfor one in cisco_policy(`{text}`, \"ios\", #{{ name: \"site\" }}, |config| {{ {body} }}) {{\n\
             print(`${{one.rule}} ${{one.severity}} ${{one.line}} ${{one.message}}`);\n}}\n"
        );
        Project::new().runbook("rule", &script).args(["run", "rule"])
    };
    let open = r#"config.find("interface *").filter(|port| port.has("ip address *") && !port.has("ip access-group * in"))"#;
    assert!(!rule(ROUTER, open).success().stdout.contains("site"));
    let bare = ROUTER.replace(" ip access-group EDGE in\n", "");
    says(&rule(&bare, open).success(), "site error 5 `interface GigabitEthernet0/1`");
    says(&rule(ROUTER, "config.nothing").success(), "site critical 0 the rule failed");
    says(
        &rule("hostname rtr01\n --More-- \n", open).success(),
        "usable critical 0 it is no whole configuration",
    );
    // It sees no secret.
    let output = rule(ROUTER, r#"config.find("enable secret *")"#).success();
    assert!(!output.stdout.contains("verysecretsalt"), "{output:?}");
}
