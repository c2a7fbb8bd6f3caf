//! Changes of devices through real runbooks over real SSH: what is done, what is taken back, and what is left alone.

use std::time::Duration;

use nlrun::cisco::Os;
use nlrun::lab::cisco as lab;

use crate::support::device::{Device, faults, made, secrets};
use crate::support::project::{Output, Project, until};

const ROUTER: &str = "hostname rtr01\narchive\n path flash:before\nenable secret 9 $9$verysecretsalt$hash\ninterface GigabitEthernet0/1\n description core\n ip address 192.0.2.1 255.255.255.0\n!\nip access-list extended EDGE\n 10 permit tcp any any eq 22\n 20 deny ip any any\n!\nend\n";
const FIREWALL: &str = "hostname fw01\nenable password s3cr3t-of-the-firewall pbkdf2\ninterface GigabitEthernet1/1\n nameif outside\n security-level 0\n ip address 192.0.2.9 255.255.255.0\naccess-list X extended permit tcp any any eq 22\naccess-list X extended deny ip any any\naccess-group X in interface outside\n: end\n";
const APPLY: &str = "const NEEDS = [\"cisco.apply\", \"project.read\"];\nlet done = cisco_apply(\"dev\", project_read(\"intended.cfg\"));\nprint(`${done.changed} ${done.way_back} ${done.commands.len()}`);\n";

/// Makes a plan.
fn plan(project: &Project) -> Output {
    project.args(["plan", "change", "-o", "change.plan"])
}

fn applied(project: &Project) -> Output {
    project.args(["apply", "change.plan"])
}

#[test]
fn a_change_is_planned_made_verified_and_saved() {
    for (os, before, from, to, way_back) in [
        (Os::Ios, ROUTER, " description core", " description core of all", "timer"),
        (Os::Asa, FIREWALL, "eq 22\n", "eq 22\naccess-list X extended permit icmp any any\n", "commands"),
        (
            Os::Ap,
            &ROUTER.replace("archive\n path flash:before\n", ""),
            " description core",
            " description core of all",
            "commands",
        ),
    ] {
        let device = Device::start(os, before);
        let intended = before.replace(from, to);
        let project = device.project().runbook("change", APPLY).file("intended.cfg", &intended);

        let planned = plan(&project).success();
        assert!(planned.stdout.contains("cisco.apply dev"), "{os}: {}", planned.stdout);
        assert!(
            planned.stdout.contains("+ description core of all") || os == Os::Asa,
            "{os}: {}",
            planned.stdout
        );
        device.has(before, "a plan changes nothing");

        let run = project.args(["run", "change"]).success();
        assert!(
            run.stderr.contains(&format!("true {way_back}"))
                || run.stdout.contains(&format!("true {way_back}")),
            "{os}: {run:?}"
        );
        device.has(&intended, "it is made and saved");

        let again = project.args(["run", "change"]).success();
        assert!(again.stderr.contains("false") || again.stdout.contains("false"), "{os}: {again:?}");
    }
}

/// A change of three lines in two places.
fn intended(before: &str) -> String {
    let after = before.replace(" description core", " description core of all");
    after.replace("eq 22\n", "eq 22\naccess-list X extended permit icmp any any\naccess-list X extended permit udp any any eq 53\n")
}

#[test]
fn a_session_that_is_cut_at_any_line_leaves_no_half_change() {
    for (os, before) in [(Os::Ios, ROUTER), (Os::Asa, FIREWALL)] {
        let intended = match os {
            Os::Asa => intended(before),
            _ => before
                .replace(" description core", " description core of all")
                .replace("hostname rtr01\n", "hostname rtr01\nntp server 192.0.2.5\n"),
        };
        let (mut done, mut back) = (0, 0);
        for line in 1..=26 {
            let device = Device::with(os, before, faults(&[&format!("cut={line}")]));
            let project = device.project().runbook("change", APPLY).file("intended.cfg", &intended);
            let output = project.args(["run", "change"]);
            let expected = if output.code == 0 { &intended } else { &before.to_owned() };
            device.has(expected, &format!("{os}: cut at line {line}: {output:?}"));
            done += usize::from(output.code == 0);
            back += usize::from(
                output.stderr.contains("it again") || output.stderr.contains("undone what was begun"),
            );
        }
        assert!(done >= 5 && back >= 2, "{os}: {done} done, {back} taken back: the lines have moved");
    }
}

#[test]
fn a_line_that_is_refused_ends_it_and_all_is_taken_back() {
    for (os, before, refused, way) in [
        (Os::Ios, ROUTER, "ntp server 192.0.2.5", "was told to bring back what ran before, and has it again"),
        (
            Os::Asa,
            FIREWALL,
            "access-list X line 3 extended permit udp any any eq 53",
            "undone what was begun",
        ),
        (
            Os::Ap,
            &ROUTER.replace("archive\n path flash:before\n", ""),
            "ntp server 192.0.2.5",
            "undone what was begun",
        ),
    ] {
        let device = Device::with(os, before, faults(&[&format!("refuse={refused}")]));
        let mut intended = intended(before);
        if os != Os::Asa {
            intended = intended.replace(
                "interface GigabitEthernet0/1",
                "ntp server 192.0.2.5\ninterface GigabitEthernet0/1",
            );
        }
        let project = device.project().runbook("change", APPLY).file("intended.cfg", &intended);
        let output = project.args(["run", "change"]).ends(1);
        assert!(output.stderr.contains(&format!("the device refuses `{refused}`")), "{os}: {output:?}");
        assert!(
            output.stderr.contains(way) || output.stderr.contains("nothing of it is in"),
            "{os}: {output:?}"
        );
        device.has(before, "all is taken back");
    }
}

#[test]
fn a_plan_is_applied_to_the_device_that_it_was_made_for_only() {
    let device = Device::start(Os::Ios, ROUTER);
    let project = device.project().runbook("change", APPLY).file("intended.cfg", &intended(ROUTER));
    plan(&project).success();
    *device.machine.lock() = nlrun::cisco::Machine::new(Os::Ios, &ROUTER.replace("eq 22", "eq 23"));
    let stopped = applied(&project).ends(3);
    assert!(stopped.stderr.contains("cisco.apply"), "{stopped:?}");
    assert!(device.running().contains("eq 23"), "nothing was changed");

    plan(&project).success();
    applied(&project).success();
    device.has(&intended(ROUTER), "it is what was intended");
}

#[test]
fn a_decision_counts_for_what_it_was_made_on() {
    let device = Device::start(Os::Ios, ROUTER);
    let project = device.project().file("intended.cfg", &intended(ROUTER)).runbook(
        "change",
        "const NEEDS = [\"*\"];\nlet intended = project_read(\"intended.cfg\");\nlet drift = cisco_drift(\"dev\", intended);\nprint(drift.state);\n\
         cisco_exec_config(\"dev\", [\"ntp server 192.0.2.5\"]);\n\
         try { cisco_apply(\"dev\", intended, #{ against: drift.running }) } catch (e) { print(e.kind) }\n\
         let drift = cisco_drift(\"dev\", intended);\nprint(drift.commands);\nprint(cisco_apply(\"dev\", intended, #{ against: drift.running }).changed);",
    );
    let output = project.args(["run", "change"]).success();
    let said = format!("{}{}", output.stdout, output.stderr);
    for words in ["different", "stale", "no ntp server 192.0.2.5", "true"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    device.has(&intended(ROUTER), "it is what was intended");
}

#[test]
fn a_change_that_may_cut_off_needs_a_device_that_takes_it_back() {
    let lines = "interface GigabitEthernet1/1\n";
    let before = FIREWALL.replace(lines, &format!("ssh 192.0.2.0 255.255.255.0 outside\n{lines}"));
    let after = FIREWALL.replace(lines, &format!("ssh 198.51.100.0 255.255.255.0 outside\n{lines}"));
    let device = Device::start(Os::Asa, &before);
    let plain = device.project().file("intended.cfg", &after).runbook("change", APPLY);
    let output = plain.args(["run", "change"]).ends(1);
    assert!(
        output.stderr.contains(
            "nothing was sent: the plan may cut off access, and an ASA takes nothing back by itself"
        ),
        "{output:?}"
    );
    device.has(&before, "nothing is sent");

    let runbook = APPLY.replace(
        "project_read(\"intended.cfg\"))",
        "project_read(\"intended.cfg\"), #{ fallback: \"reload\" })",
    );
    let project = device.project().file("intended.cfg", &after).runbook("change", &runbook);
    let output = project.args(["run", "change"]).success();
    assert!(format!("{output:?}").contains("true reload"), "{output:?}");
    device.has(&after, "it is made and saved");
    assert!(!device.machine.lock().ring(1), "the reload is called off");
}

#[test]
fn a_change_after_which_nobody_can_log_in_is_taken_back() {
    for (os, before) in [(Os::Ios, ROUTER), (Os::Asa, FIREWALL)] {
        let device = Device::start(os, before);
        let line = device.line("dev", "").replace(&device.port.to_string(), &device.behind(1).to_string());
        let project = secrets(Project::new()).inventory(&format!("hosts:\n{line}"));
        let project = project.runbook("change", APPLY).file("intended.cfg", &intended(before));
        let output = project.args(["run", "change"]).ends(1);
        assert!(output.stderr.contains("nobody can log in any more on a new connection"), "{os}: {output:?}");
        device.has(before, "it is taken back by the session that is left");
    }
}

#[test]
fn a_killed_change_is_finished_when_the_run_is_resumed() {
    for (os, before) in [(Os::Ios, ROUTER), (Os::Asa, FIREWALL)] {
        let mut more = String::new();
        for number in 1..=80 {
            more += &match os {
                Os::Asa => format!("object network N{number}\n host 198.51.100.{number}\n"),
                Os::Ios | Os::Ap => {
                    format!("interface Loopback{number}\n ip address 198.51.100.{number} 255.255.255.255\n")
                }
            };
        }
        let intended = before.replacen("interface ", &format!("{more}interface "), 1);
        let device = Device::run(os, lab::Device { minute: Duration::from_secs(15), ..made(os, before) });
        let runbook = APPLY.replace(
            "project_read(\"intended.cfg\"))",
            "project_read(\"intended.cfg\"), #{ confirm: \"1m\" })",
        );
        let project = device.project().runbook("change", &runbook).file("intended.cfg", &intended);
        let mut child = project.spawn(["run", "change"]);
        until("the change has begun", || device.running().contains("198.51.100.3"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!device.startup().contains("198.51.100.3"), "{os}: nothing is saved before it is verified");
        project.args(["resume", "1"]).success();
        device.has(&intended, "it is finished");
    }
}

#[test]
fn a_timer_that_ends_before_the_confirmation_is_told() {
    let device = Device::run(
        Os::Ios,
        lab::Device {
            minute: Duration::from_millis(10),
            faults: faults(&["slow=30"]),
            ..made(Os::Ios, ROUTER)
        },
    );
    let project = device.project().runbook("change", APPLY).file("intended.cfg", &intended(ROUTER));
    let output = project.args(["run", "change"]).ends(1);
    assert!(output.stderr.contains("revert timer"), "{output:?}");
    device.has(ROUTER, "it is as it was");
}

#[test]
fn what_another_engineer_changes_meanwhile_is_neither_overwritten_nor_hidden() {
    for (os, before, theirs) in
        [(Os::Ios, ROUTER, "ip host other-engineer"), (Os::Asa, FIREWALL, "name 192.0.2.250")]
    {
        let (mut stale, mut told) = (0, 0);
        for line in 5..=18 {
            let device = Device::with(os, before, faults(&[&format!("edit={line}")]));
            let project = device.project().runbook("change", APPLY).file("intended.cfg", &intended(before));
            let output = project.args(["run", "change"]);
            if output.code == 0 {
                continue;
            }
            assert!(
                !device.running().contains("of all") && !device.running().contains("icmp"),
                "{os} {line}: {output:?}"
            );
            let is_stale = output.stderr.contains("nothing was sent");
            stale += usize::from(is_stale);
            told +=
                usize::from(!is_stale && output.stderr.contains("what somebody else has changed meanwhile"));
            let stays = device.running().contains(theirs);
            assert!(stays || output.stderr.contains("is gone as well"), "{os} {line}: {output:?}");
        }
        assert!(stale >= 1 && told >= 1, "{os}: {stale} stale, {told} told");
    }
}

#[test]
fn a_configuration_that_somebody_has_locked_is_left_alone() {
    for (os, before) in [(Os::Ios, ROUTER), (Os::Asa, FIREWALL)] {
        let device = Device::with(os, before, faults(&["locked"]));
        let project = device.project().runbook("change", APPLY).file("intended.cfg", &intended(before));
        let output = project.args(["run", "change"]).ends(1);
        assert!(output.stderr.contains("lets nobody into its configuration mode"), "{os}: {output:?}");
        device.has(before, "nothing is changed");
    }
}

#[test]
fn a_banner_is_typed_as_a_text() {
    let device = Device::start(Os::Ios, ROUTER);
    let banner = "banner motd ^C\nrtr01#\nno ip routing\n~ keep out ~\n^C\nend\n";
    let intended = ROUTER.replace("end\n", banner);
    let project = device.project().runbook("change", APPLY).file("intended.cfg", &intended);
    project.args(["run", "change"]).success();
    device.has(&intended, "the banner is there and its lines were no commands");
}
