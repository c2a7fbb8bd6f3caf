//! The network devices of the lab: they can be reached as the inventory and the secret store say, and keep what they have saved.

use rustix::process::Signal;
use serde_json::Value;

use super::{run, start_without_hosts};
use crate::cisco::faults::at_terminal;
use crate::support::project::Project;

const DEVICES: [&str; 5] = ["rtr01", "sw01", "ap01", "fw01", "fw02"];

#[test]
fn devices_are_changed_by_hand_and_keep_what_they_save() {
    let project = Project::new();
    let lab = start_without_hosts(&project, &[]);
    let hosts = run(&project, &["hosts", "network", "--json"]).success();
    let hosts: Vec<Value> = hosts.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = hosts.iter().map(|host| host["name"].as_str().unwrap()).collect();
    for name in DEVICES {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let password = project.read("lab/.lab/passwords/cisco");
    let enable = project.read("lab/.lab/passwords/cisco-enable");
    let login = ("nlrun", password.as_str());
    for name in DEVICES {
        let said =
            at_terminal(lab.port(name), login, &format!("enable\r{enable}\rshow version\r"), "Version");
        assert!(said.contains(&format!("{name}#")), "{name}: {said}");
        assert!(!said.contains(&enable), "{name}: {said}");
    }
    // One line is saved, and another is not.
    let change = |name: &str, lines: &str| {
        let whole = format!("enable\r{enable}\rconfigure terminal\r{lines}\rend\rshow clock\r");
        at_terminal(lab.port(name), login, &whole, "UTC")
    };
    change("sw01", "interface GigabitEthernet0/3\rdescription kept\rdo write memory");
    change("sw01", "interface GigabitEthernet0/2\rdescription lost");
    lab.send(Signal::INT);
    assert_eq!(lab.ended(), Some(0));
    let lab = start_without_hosts(&project, &[]);
    let shown = format!("enable\r{enable}\rterminal length 0\rshow running-config\rshow clock\r");
    let said = at_terminal(lab.port("sw01"), login, &shown, "UTC");
    assert!(said.contains("description kept") && !said.contains("description lost"), "{said}");
    // What is intended is the user's file, and has not changed.
    assert!(!project.read("lab/network/sw01").contains("kept"));
}

#[test]
fn what_is_intended_for_the_network_is_without_a_finding() {
    let project = Project::new();
    let _lab = start_without_hosts(&project, &[]);
    for (name, os) in DEVICES.into_iter().zip(["ios", "ios", "ap", "asa", "asa"]) {
        let file = format!("lab/network/{name}");
        let output = project.args(["cisco", "validate", "--os", os, &file]).success();
        assert!(output.stderr.contains("nothing in it is wrong"), "{name}: {output:?}");
    }
}

#[test]
fn a_change_of_the_network_is_planned_made_and_saved() {
    let project = Project::new();
    let lab = start_without_hosts(&project, &[]);
    run(&project, &["check", "--strict"]).success();
    run(&project, &["plan", "network", "--exit-code"]).success();
    for name in DEVICES {
        let file = format!("lab/network/{name}");
        let text = project.read(&file);
        let changed = match name {
            "fw01" | "fw02" => text.replace(
                "access-list outside_in extended deny ip any any log\n",
                "access-list outside_in extended permit udp any object WEB eq domain\naccess-list outside_in extended deny ip any any log\n",
            ),
            "ap01" => text.replace(" channel 2437\n", " channel 2462\n"),
            _ => text.replacen(" description ", " description new: ", 1),
        };
        assert_ne!(changed, text, "{name}");
        project.write(&file, &changed);
    }
    let plan = run(&project, &["plan", "network", "--exit-code"]).ends(2);
    assert!(plan.stdout.contains("access-list outside_in line 4 extended permit udp"), "{plan:?}");
    run(&project, &["run", "network"]).success();
    let password = project.read("lab/.lab/passwords/cisco");
    let enable = project.read("lab/.lab/passwords/cisco-enable");
    let shown = format!("enable\r{enable}\rterminal length 0\rshow startup-config\rshow clock\r");
    for (name, line) in
        [("sw01", "description new: to rtr01"), ("rtr01", "description new: "), ("ap01", "channel 2462")]
    {
        let said = at_terminal(lab.port(name), ("nlrun", &password), &shown, "UTC");
        assert!(said.contains(line), "{name}: {said}");
    }
    run(&project, &["plan", "network", "--exit-code"]).success();
}
