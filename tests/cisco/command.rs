//! `nlrun cisco` as people and pipelines call it.

use crate::behaviour::call;
use crate::support::project::Project;

const RUNNING: &str = "hostname fw01\ninterface GigabitEthernet0/0\n nameif outside\naccess-list X extended permit tcp any any eq https\naccess-list X extended deny ip any any\naccess-group X in interface outside\n";
const INTENDED: &str = "hostname fw01\ninterface GigabitEthernet0/0\n nameif outside\naccess-list X extended permit tcp any any eq https\naccess-list X extended permit icmp any any\naccess-list X extended deny ip any any\naccess-group X in interface outside\n";

fn project() -> Project {
    Project::new().file("running", RUNNING).file("intended", INTENDED).file("empty", "")
}

#[test]
fn diff_prints_commands_and_says_by_its_code_whether_there_are_any() {
    let project = project();
    let changes = call(&project, ["cisco", "diff", "--os", "asa", "running", "intended"]).ends(2);
    assert_eq!(changes.stdout, "access-list X line 2 extended permit icmp any any\n");
    assert!(changes.stderr.contains("1 command in 1 block"), "{changes:?}");
    let none = call(&project, ["cisco", "diff", "--os", "asa", "running", "running"]).ends(0);
    assert_eq!(none.stdout, "");
    let unclear = call(&project, ["cisco", "diff", "--os", "asa", "empty", "intended"]).ends(1);
    assert!(unclear.stdout.is_empty() && unclear.stderr.contains("it is empty"), "{unclear:?}");
    let unknown = call(&project, ["cisco", "diff", "--os", "junos", "running", "intended"]).ends(64);
    assert!(unknown.stderr.contains("no system that nlrun knows"), "{unknown:?}");
    let json = call(&project, ["cisco", "diff", "--os", "asa", "running", "intended", "--json"]).ends(2);
    let plan: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let block = &plan["blocks"][0];
    assert_eq!(block["description"], "change access list X");
    assert_eq!(block["commands"][0], "access-list X line 2 extended permit icmp any any");
    assert_eq!(block["inverse"][0], "no access-list X extended permit icmp any any");
}

#[test]
fn simulate_prints_what_a_device_has_then_and_names_what_it_refuses() {
    let project = project().file("commands", "access-list X line 2 extended permit icmp any any\n");
    let after = call(&project, ["cisco", "simulate", "--os", "asa", "running", "commands"]).success();
    assert_eq!(after.stdout, INTENDED);
    project.write("commands", "hostname fw02\nno access-list X extended permit udp any any\nhostname fw03\n");
    let refused = call(&project, ["cisco", "simulate", "--os", "asa", "running", "commands"]).ends(1);
    assert!(refused.stdout.is_empty(), "{refused:?}");
    assert!(refused.stderr.contains("`no access-list X extended permit udp any any`"), "{refused:?}");
}

#[test]
fn drift_is_same_different_or_unknown() {
    let project = project();
    let same = call(&project, ["cisco", "drift", "--os", "asa", "running", "running"]).success();
    assert_eq!(same.stdout, "same\n");
    let different = call(&project, ["cisco", "drift", "--os", "asa", "running", "intended"]).ends(2);
    assert!(different.stdout.starts_with("different: policy\n"), "{different:?}");
    let unknown = call(&project, ["cisco", "drift", "--os", "asa", "empty", "intended"]).ends(1);
    assert_eq!(unknown.stdout, "unknown\n");
    let json = call(&project, ["cisco", "drift", "--os", "asa", "running", "intended", "--json"]).ends(2);
    let drift: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&drift["state"], &drift["classes"][0]), (&"different".into(), &"policy".into()));
}

#[test]
fn validate_finds_what_is_wrong_and_takes_rules_of_the_site() {
    let project = project().file(
        "rules.yaml",
        "rules:\n  - name: pings are let in\n    severity: critical\n    require: {line: 'access-list X extended permit icmp *'}\n",
    );
    let fine =
        call(&project, ["cisco", "validate", "--os", "asa", "intended", "--rules", "rules.yaml"]).success();
    assert!(fine.stderr.contains("nothing in it is wrong"), "{fine:?}");
    let wrong =
        call(&project, ["cisco", "validate", "--os", "asa", "running", "--rules", "rules.yaml", "--json"])
            .ends(1);
    let finding: serde_json::Value = serde_json::from_str(&wrong.stdout).unwrap();
    assert_eq!((&finding["rule"], &finding["severity"]), (&"pings are let in".into(), &"critical".into()));
    project.write("rules.yaml", "rules:\n  - name: x\n    requires: {line: y}\n");
    let bad =
        call(&project, ["cisco", "validate", "--os", "asa", "running", "--rules", "rules.yaml"]).ends(64);
    assert!(bad.stderr.contains("rules.yaml:3") && bad.stderr.contains("require"), "{bad:?}");
}

#[test]
fn validate_takes_rules_as_functions_and_fails_closed() {
    let project = project()
        .file("site.rhai", "fn pings_are_let_in(config) {\n  if !config.has(\"access-list X extended permit icmp *\") { \"no ping\" }\n}\n")
        .file("reach.yaml", "rules:\n  - name: we come in\n    reachable: {from: 192.0.2.0/24}\n");
    let rules = ["--rules", "site.rhai", "--rules", "reach.yaml"];
    let validate = |file: &'static str| [&["cisco", "validate", "--os", "asa", file][..], &rules].concat();
    let found = call(&project, validate("running")).ends(1);
    assert!(found.stdout.contains("pings are let in") && found.stdout.contains("no ping"), "{found:?}");
    assert!(found.stdout.contains("we come in") && found.stdout.contains("no `ssh` line"), "{found:?}");
    let allowed = format!("{INTENDED}ssh 192.0.2.0 255.255.255.0 outside\n");
    project.write("intended", &allowed);
    call(&project, validate("intended")).success();
    // A rule that cannot be asked is a finding, and what is no configuration is one for all of them.
    project.write("site.rhai", "fn broken(config) { config.no_such() }\n");
    let broken = call(&project, validate("intended")).ends(1);
    assert!(
        broken.stdout.contains("critical") && broken.stdout.contains("the rule failed: site.rhai:1"),
        "{broken:?}"
    );
    let empty = call(&project, validate("empty")).ends(1);
    assert_eq!(empty.stdout.matches("no whole configuration").count(), 1, "{empty:?}");
    // A file of rules that is none is no rule that holds.
    project.write("site.rhai", "fn broken(config) { let = 1; }\n");
    let wrong = call(&project, validate("intended")).ends(64);
    assert!(wrong.stderr.contains("site.rhai:1"), "{wrong:?}");
    project.write("reach.yaml", "rules:\n  - name: we come in\n    reachable: {from: here}\n");
    let wrong =
        call(&project, ["cisco", "validate", "--os", "asa", "intended", "--rules", "reach.yaml"]).ends(64);
    assert!(wrong.stderr.contains("reach.yaml:3") && wrong.stderr.contains("192.0.2.0/24"), "{wrong:?}");
}
