//! What is said of configurations: drift, findings, and texts that are none.

use std::fmt::Write as _;

use nlrun::cisco::{
    Class, Drift, Every, NatSources, Os, Outline, Place, Reachable, Rule, Severity, Source, diff, drift,
    guard, guard_pair, validate,
};

const ROUTER: &str = "hostname rtr01\ninterface Gi0/1\n description core\n ip address 10.0.0.1 255.255.255.0\n ip access-group EDGE in\n!\nip access-list extended EDGE\n permit ip any any\n!\nend\n";

fn classes(os: Os, running: &str, intended: &str) -> Vec<Class> {
    match drift(os, running, intended) {
        Drift::Different { classes, .. } => classes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn drift_says_which_kind_it_is() {
    assert_eq!(drift(Os::Ios, ROUTER, ROUTER), Drift::Same);
    // What a device says of itself is no drift.
    let headed = format!("! No configuration change since last restart\n!\nntp clock-period 36027\n{ROUTER}");
    assert_eq!(drift(Os::Ios, &headed, ROUTER), Drift::Same);
    let reordered = ROUTER
        .replace(" description core\n", "")
        .replace("255.255.255.0\n", "255.255.255.0\n description core\n");
    assert_eq!(drift(Os::Ios, &reordered, ROUTER), Drift::Textual { notes: vec![] });
    let off = ROUTER.replace(" description core\n", " description core\n shutdown\n");
    assert_eq!(classes(Os::Ios, &off, ROUTER), [Class::Transient]);
    let unbound = ROUTER.replace(" ip access-group EDGE in\n", "");
    assert!(classes(Os::Ios, &unbound, ROUTER).contains(&Class::LostBinding));
    let opened = ROUTER.replace(" permit ip any any\n", " deny ip any host 10.0.0.9\n permit ip any any\n");
    assert_eq!(classes(Os::Ios, &opened, ROUTER), [Class::Policy]);
    let renamed = ROUTER.replace("core", "edge");
    assert_eq!(classes(Os::Ios, &renamed, ROUTER), [Class::Other]);
    let mut long = ROUTER.trim_end_matches("end\n").to_owned();
    (0..200).for_each(|number| writeln!(long, "ip route 10.{number}.0.0 255.255.0.0 10.0.0.254").unwrap());
    long.push_str("end\n");
    assert!(classes(Os::Ios, ROUTER, &long).contains(&Class::MassDeletion));
}

#[test]
fn a_text_that_is_no_whole_configuration_is_unknown_and_never_a_deletion() {
    let printed = format!("Building configuration...\n\nCurrent configuration : 100 bytes\n{ROUTER}");
    guard(Os::Ios, &printed).unwrap();
    let asa = ": Saved\n:\nASA Version 9.16(4)\nhostname fw01\n: end\n";
    guard(Os::Asa, asa).unwrap();
    let cut = printed.replace("end\n", "");
    for (os, text, why) in [
        (Os::Ios, "", "empty"),
        (Os::Ios, " \n\n", "empty"),
        (Os::Ios, cut.as_str(), "cut off"),
        (Os::Ios, "hostname a\n --More-- \nend\n", "page"),
        (Os::Asa, "hostname a\n<--- More --->\n", "page"),
        (Os::Ios, "% Invalid input detected at '^' marker.\n", "refusal"),
        (Os::Ios, "<!DOCTYPE html>\n", "web page"),
        (Os::Ios, "<<<<<<< HEAD\nhostname a\n=======\n", "Git"),
        (Os::Ios, "hostname a\n\u{1}\u{2}\n", "bytes"),
        (Os::Ios, asa, "ASA"),
        (Os::Asa, printed.as_str(), "IOS"),
    ] {
        let error = guard(os, text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(matches!(drift(os, text, ROUTER), Drift::Unknown { .. }), "{text}");
        let findings = validate(os, text, &[]);
        assert!(matches!(&findings[..], [one] if one.severity == Severity::Critical), "{findings:?}");
    }
    // The end is missing on one side only.
    let open = ROUTER.replace("end\n", "");
    assert!(guard_pair(Os::Ios, &open, ROUTER).unwrap_err().to_string().contains("cut off"));
    guard_pair(Os::Ios, &open, &open).unwrap();
    // Another device.
    let mut other = String::from("hostname sw01\n");
    (0..40).for_each(|number| writeln!(other, "vlan {number}").unwrap());
    other.push_str("end\n");
    assert!(guard_pair(Os::Ios, ROUTER, &other).unwrap_err().to_string().contains("two devices"));
    let renamed = ROUTER.replace("rtr01", "rtr02");
    guard_pair(Os::Ios, ROUTER, &renamed).unwrap();
}

fn rule(name: &str) -> Rule {
    Rule {
        name: name.to_owned(),
        severity: Severity::Critical,
        os: vec![],
        require: None,
        forbid: None,
        every: None,
        nat_sources: None,
        reachable: None,
    }
}

fn found(os: Os, text: &str, rules: &[Rule]) -> Vec<(usize, String, String)> {
    validate(os, text, rules).into_iter().map(|one| (one.line, one.rule, one.message)).collect()
}

#[test]
fn names_addresses_and_bindings_are_checked() {
    assert_eq!(found(Os::Ios, ROUTER, &[]), []);
    let wrong = "hostname a\ninterface Gi0/1\n description x\n ip address 10.0.0.1 255.0.0.0\n ip access-group NONE in\ninterface Gi0/2\n description y\n ip address 10.0.0.1 255.0.0.0\nip access-list extended LOOSE\n permit ip any any\n";
    let findings = found(Os::Ios, wrong, &[]);
    let lines: Vec<(usize, &str)> = findings.iter().map(|(line, rule, _)| (*line, rule.as_str())).collect();
    assert_eq!(lines, [(5, "references"), (8, "addresses"), (9, "bound")], "{findings:?}");
    let asa = "hostname f\nobject network A\n host 10.0.0.1\nobject-group network G\n network-object object B\naccess-list X extended permit ip object A object C\naccess-group X in interface inside\n";
    let findings = found(Os::Asa, asa, &[]);
    let lines: Vec<(usize, &str)> = findings.iter().map(|(line, rule, _)| (*line, rule.as_str())).collect();
    assert_eq!(lines, [(5, "references"), (6, "references"), (7, "references")], "{findings:?}");
    // The same address in two VRFs is none that is there twice.
    let apart = "interface Gi0/1\n vrf forwarding A\n ip address 10.0.0.1 255.0.0.0\ninterface Gi0/2\n ip address 10.0.0.1 255.0.0.0\nvrf definition A\n rd 1:1\n";
    assert_eq!(found(Os::Ios, apart, &[]), []);
}

#[test]
fn a_site_has_rules_of_its_own() {
    let asa = "hostname f\ninterface Tunnel1\n nameif vti-a\ninterface Tunnel2\n nameif vti-b\nobject network LAN\n subnet 10.1.0.0 255.255.0.0\nobject network NEW\n subnet 10.2.0.0 255.255.0.0\nobject network PUB\n subnet 203.0.113.0 255.255.255.0\nobject-group network INNER\n network-object object LAN\nobject-group network ALL\n group-object INNER\naccess-list V extended permit ip any any\nnat (inside,outside_a) source static LAN LAN\nnat (inside,outside_b) source static NEW NEW\nnat (inside,outside_b) source static PUB PUB\nnat (inside,dmz) source static NEW NEW\naccess-group V in interface vti-a\nhttp server enable\n";
    let line = |line: &str| Place { section: None, line: line.to_owned() };
    let rules = [
        Rule {
            every: Some(Every {
                section: Some("interface *".to_owned()),
                line: "nameif vti-*".to_owned(),
                needs: Some("access-group * in interface $value".to_owned()),
                needs_beside: None,
            }),
            ..rule("vti")
        },
        Rule { forbid: Some(line("http server *")), ..rule("http") },
        Rule { require: Some(line("ssh version 2")), ..rule("ssh") },
        Rule {
            nat_sources: Some(NatSources {
                interfaces: "(*,outside_*)".to_owned(),
                group: "ALL".to_owned(),
                private_only: true,
            }),
            ..rule("nat")
        },
        Rule { os: vec![Os::Ios], require: Some(line("never asked")), ..rule("other") },
    ];
    let findings = found(Os::Asa, asa, &rules);
    let lines: Vec<(usize, &str)> = findings
        .iter()
        .filter(|(_, rule, _)| rule != "references")
        .map(|(line, rule, _)| (*line, rule.as_str()))
        .collect();
    assert_eq!(lines, [(0, "ssh"), (5, "vti"), (18, "nat"), (22, "http")], "{findings:?}");
}

#[test]
fn what_is_masked_is_named_once_and_never_sent() {
    let running = "enable password ***** pbkdf2\nusername ann password ***** pbkdf2 privilege 15\nsnmp-server host inside 10.0.0.9 community *****\nhostname a\n";
    let intended = "enable password abcdefgh pbkdf2\nusername ann password ***** pbkdf2 privilege 15\nsnmp-server host inside 10.0.0.9 community secret\nsnmp-server host inside 10.0.0.8 community *****\nhostname b\n";
    let plan = diff(Os::Asa, running, intended).unwrap();
    assert_eq!(plan.to_string(), "hostname b\n");
    let notes: Vec<&str> = plan.notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(notes.iter().filter(|text| text.contains("not compared")).count(), 2, "{:?}", plan.notes);
    assert_eq!(notes.iter().filter(|text| text.contains("not sent")).count(), 1, "{:?}", plan.notes);
    let json = serde_json::to_string(&plan).unwrap();
    assert!(!json.contains("abcdefgh"), "{json}");
}

#[test]
fn what_is_unknown_is_said_and_a_secret_is_in_no_message() {
    let (running, intended) =
        ("enable password ***** pbkdf2\nhostname a\n", "enable password abcdefgh pbkdf2\nhostname a\n");
    let Drift::Textual { notes } = drift(Os::Asa, running, intended) else { panic!("no other kind") };
    assert_eq!(notes.len(), 1, "{notes:?}");
    // A name that leads nowhere, in a line with a community; a rule that forbids a line with a password.
    let text =
        "hostname a\nsnmp-server community hunter2 ro NONE\nusername bob privilege 15 secret 9 hunter3\n";
    let forbidden = Place { section: None, line: "username *".to_owned() };
    let findings = found(Os::Ios, text, &[Rule { forbid: Some(forbidden), ..rule("users") }]);
    assert_eq!(findings.len(), 2, "{findings:?}");
    let told = format!("{findings:?}");
    assert!(!told.contains("hunter") && told.contains("community *****"), "{told}");
    let plan = diff(Os::Ios, "hostname a\n", text).unwrap();
    assert!(plan.to_string().contains("hunter3"), "a device needs it");
    assert!(plan.blocks.iter().all(|block| !block.description.contains("hunter")), "{plan:?}");
}

#[test]
fn large_and_deep_texts_end() {
    let mut text = String::from("hostname a\n");
    for number in 0..50_000 {
        writeln!(text, "ip route 10.{}.{}.0 255.255.255.0 10.0.0.254", number / 250, number % 250).unwrap();
    }
    let more = text.replace("hostname a", "hostname b");
    assert_eq!(diff(Os::Ios, &text, &more).unwrap().to_string(), "hostname b\n");
    let deep: String =
        (0..2000).map(|depth| format!("{:depth$}section {depth}\n", "")).collect::<Vec<_>>().concat();
    assert!(diff(Os::Ios, &deep, &deep).unwrap().is_empty());
    let _ = diff(Os::Ios, &deep, "hostname a\n");
}

/// Whether a configuration lets somebody in, in the words of a finding.
fn reached(os: Os, text: &str, from: &str) -> Vec<(usize, String)> {
    let from = Source::try_from(from.to_owned()).unwrap();
    let reachable = Some(Reachable { from, interface: (os == Os::Asa).then(|| "inside".to_owned()) });
    let rule = Rule { reachable, ..rule("ours") };
    let findings = found(os, text, &[rule]).into_iter().filter(|(_, rule, _)| rule == "ours");
    findings.map(|(line, _, message)| (line, message)).collect()
}

#[test]
fn who_has_to_come_in_is_let_in() {
    let at = |list: &str| {
        format!(
            "hostname a\n{list}line vty 0 4\n access-class X in\n transport input ssh\nline vty 5 15\n access-class NONE in\n transport input none\n"
        )
    };
    let standard = "ip access-list standard X\n 10 deny 192.0.2.9\n 20 permit 192.0.2.0 0.0.0.255\n";
    for (list, from, why) in [
        (standard, "192.0.2.8", ""),
        (standard, "192.0.2.16/28", ""),
        (standard, "192.0.2.9", "does not let all of them in"),
        (standard, "192.0.2.0/24", "does not let all of them in"),
        (standard, "198.51.100.1", "does not let all of them in"),
        (
            "ip access-list standard X\n permit 192.0.2.0 0.0.0.127\n permit 192.0.2.128 0.0.0.127\n",
            "192.0.2.0/24",
            "",
        ),
        (
            "ip access-list extended X\n remark who\n deny udp any any\n permit tcp host 192.0.2.7 any eq 22\n",
            "192.0.2.7",
            "",
        ),
        ("ip access-list extended X\n permit tcp any any eq telnet\n", "192.0.2.7", "nobody can tell"),
        ("ip access-list extended X\n permit tcp object-group OURS any\n", "192.0.2.7", "nobody can tell"),
        ("ip access-list standard X\n permit 192.0.2.0 0.0.255.0\n", "192.0.2.7", "nobody can tell"),
        ("ip access-list standard X\n deny any log\n", "192.0.2.7", "does not let all of them in"),
    ] {
        let findings = reached(Os::Ios, &at(list), from);
        let is_right = if why.is_empty() {
            findings.is_empty()
        } else {
            findings.iter().any(|(_, told)| told.contains(why))
        };
        assert!(is_right, "{from}: {list}{findings:?}");
    }
    let numbered = "access-list 23 permit 192.0.2.7\nline vty 0 4\n access-class 23 in vrf-also\n";
    assert_eq!(reached(Os::Ios, numbered, "192.0.2.7"), []);
    assert_eq!(reached(Os::Ios, numbered, "192.0.2.8")[0].0, 3);
    assert!(
        reached(Os::Ios, "line vty 0 4\n transport input telnet\n", "192.0.2.8")[0]
            .1
            .contains("no line takes SSH")
    );
    let asa = "hostname f\nssh 192.0.2.0 255.255.255.128 inside\nssh 192.0.2.128 255.255.255.128 inside\nssh 0.0.0.0 0.0.0.0 outside\nssh timeout 5\n";
    assert_eq!(reached(Os::Asa, asa, "192.0.2.0/24"), []);
    assert!(reached(Os::Asa, asa, "198.51.100.7")[0].1.contains("at `inside`"));
    for wrong in ["here", "192.0.2.0/33", "192.0.2.0/", "::1"] {
        assert!(Source::try_from(wrong.to_owned()).unwrap_err().contains("192.0.2.0/24"), "{wrong}");
    }
    // Without a rule, what lets in nobody at all.
    let closed = "ip access-list standard X\n deny any\nline vty 0 4\n access-class X in\n";
    assert_eq!(found(Os::Ios, closed, &[])[0].1, "reachable");
}

#[test]
fn a_rule_sees_lines_with_their_numbers_and_without_their_secrets() {
    let text = "hostname a\n!\nbanner motd ^C\ntwo\n^C\nusername ann secret 9 hunter2\ninterface Gi0/1\n ! a remark\n description x\nline vty 0 4\n";
    let outline = Outline::read(Os::Ios, text);
    let numbers: Vec<usize> = outline.below(0).iter().map(|at| outline.number(*at)).collect();
    assert_eq!(numbers, [1, 3, 6, 7, 10]);
    let port = outline.find(0, "interface *")[0];
    let inside = outline.find(port, "description *");
    assert_eq!((outline.number(inside[0]), outline.above(inside[0])), (9, port));
    // It is found by what it is, and shown without.
    let user = outline.find(0, "username * hunter2")[0];
    assert_eq!(outline.shown(user), "username ann secret 9 *****");
    let groups = "object-group network A\n network-object host 10.0.0.1\n group-object B\nobject-group network B\n network-object object LAN\n group-object A\n";
    assert_eq!(Outline::read(Os::Asa, groups).members("A"), ["host 10.0.0.1", "LAN"]);
}
