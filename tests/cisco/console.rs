//! A device's terminal, byte by byte.

use nlrun::cisco::{Access, Console, Event, Faults, Machine, Os};

const ROUTER: &str = "hostname a-router-with-a-very-long-name\nusername ann privilege 15 secret 9 x\ninterface GigabitEthernet0/1\n description core\n!\narchive\n path flash:before\n!\nend\n";
const FIREWALL: &str = "hostname fw01\nenable password abcdef pbkdf2\ninterface GigabitEthernet1/1\n nameif inside\nobject network A\n host 10.0.0.1\naccess-list X extended permit ip object A any\n";

struct Terminal {
    machine: Machine,
    console: Console,
}

impl Terminal {
    fn new(os: Os, text: &str, faults: Faults) -> (Self, String) {
        let machine = Machine::new(os, text);
        let access = Access { login: ("ann".to_owned(), "pw".to_owned()), enable: Some("secret".to_owned()) };
        let (console, said) = Console::open(1, &machine, access, faults);
        (Self { machine, console }, String::from_utf8(said).unwrap())
    }

    fn type_in(&mut self, line: &str) -> (String, Vec<Event>) {
        let (said, events) = self.console.feed(&mut self.machine, format!("{line}\r").as_bytes());
        (String::from_utf8(said).unwrap().replace('\r', ""), events)
    }

    #[track_caller]
    fn says(&mut self, line: &str, expected: &str) {
        let (said, _) = self.type_in(line);
        assert_eq!(said, expected, "{line}");
    }
}

#[test]
fn a_router_is_entered_changed_and_saved() {
    let (mut at, said) = Terminal::new(Os::Ios, ROUTER, Faults::default());
    assert_eq!(said, "\r\na-router-with-a-very-long-name>");
    let (said, _) = at.type_in("configure terminal");
    assert!(said.contains("% Invalid input detected at '^' marker."), "{said}");
    at.says("enable", "enable\nPassword: ");
    // Three attempts.
    at.says("wrong", "\nPassword: ");
    at.says("wrong", "\nPassword: ");
    at.says("wrong", "\n% Bad secrets\n\na-router-with-a-very-long-name>");
    at.type_in("enable");
    // What is typed there is not shown.
    at.says("secret", "\na-router-with-a-very-long-name#");
    at.says("terminal length 0", "terminal length 0\na-router-with-a-very-long-name#");
    let (said, _) = at.type_in("conf t");
    assert!(said.ends_with("a-router-with-a-very(config)#"), "{said}");
    at.says("interface GigabitEthernet0/1", "interface GigabitEthernet0/1\na-router-with-a-very(config-if)#");
    at.says("description edge", "description edge\na-router-with-a-very(config-if)#");
    let (said, _) = at.type_in("ip address");
    assert!(said.contains("% Incomplete command"), "{said}");
    // A line of the top ends the section.
    at.says("hostname r2", "hostname r2\nr2(config)#");
    let (said, _) = at.type_in("no username ann");
    assert!(said.ends_with("[confirm]"), "{said}");
    at.says("", "\nr2(config)#");
    at.says("banner motd ^C", "banner motd ^C\n");
    at.says("no ip routing", "no ip routing\n");
    at.says("^C", "^C\nr2(config)#");
    at.says("end", "end\nr2#");
    let running = at.machine.running();
    assert!(
        running.contains(" description edge\n") && running.contains("banner motd ^C\nno ip routing\n^C\n"),
        "{running}"
    );
    assert!(!running.contains("username ann"), "{running}");
    assert!(at.machine.startup().contains("username ann"));
    at.says("write memory", "write memory\nBuilding configuration...\n[OK]\nr2#");
    assert_eq!(at.machine.startup(), running);
    assert_eq!(at.type_in("exit").1, [Event::Closed]);
}

#[test]
fn pages_wait_for_a_key() {
    let long: String =
        (0..60).map(|number| format!("ip host h{number} 10.0.0.{number}\n")).collect::<Vec<_>>().concat();
    let (mut at, _) = Terminal::new(Os::Ios, &long, Faults::default());
    at.type_in("enable");
    at.type_in("secret");
    at.type_in("terminal length 24");
    let (said, _) = at.type_in("show running-config");
    assert!(said.ends_with(" --More-- ") && !said.contains("h40"), "{said}");
    let (said, _) = at.console.feed(&mut at.machine, b" ");
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("h40") && said.starts_with('\u{8}') && said.ends_with(" --More-- "), "{said}");
    let (said, _) = at.console.feed(&mut at.machine, b"q");
    assert!(String::from_utf8(said).unwrap().ends_with("Router#"));
    let (said, _) = at.type_in("show running-config | include h59");
    assert!(said.contains("ip host h59 10.0.0.59\nRouter#"), "{said}");
}

#[test]
fn a_firewall_masks_secrets_and_refuses_what_is_in_use() {
    let (mut at, said) = Terminal::new(Os::Asa, FIREWALL, Faults::default());
    assert_eq!(said, "\r\nfw01> ");
    at.type_in("enable");
    at.says("secret", "\nfw01# ");
    at.says("terminal pager 0", "terminal pager 0\nfw01# ");
    let (said, _) = at.type_in("show running-config");
    assert!(said.contains("enable password ***** pbkdf2") && said.contains(": end\n"), "{said}");
    let (said, _) = at.type_in("more system:running-config");
    assert!(said.contains("enable password abcdef pbkdf2"), "{said}");
    at.says("configure terminal", "configure terminal\nfw01(config)# ");
    let (said, _) = at.type_in("no object network A");
    assert!(said.contains("ERROR: % unable to remove it: it is used by"), "{said}");
    let (said, _) = at.type_in("object network B");
    assert!(said.ends_with("fw01(config-network-object)# "), "{said}");
    let (said, _) = at.type_in("access-list X line 1 extended permit ip object MISSING any");
    assert!(said.contains("ERROR: object MISSING does not exist"), "{said}");
    at.says(
        "access-list X line 1 extended deny ip any any",
        "access-list X line 1 extended deny ip any any\nfw01(config)# ",
    );
    assert!(
        at.machine
            .running()
            .contains("access-list X extended deny ip any any\naccess-list X extended permit")
    );
}

/// The timer that a line has set, with its minutes.
#[track_caller]
fn timer(events: &[Event]) -> (u32, u64) {
    let [Event::TimerIn { minutes, timer }] = events else { panic!("no timer: {events:?}") };
    (*minutes, *timer)
}

fn privileged(os: Os, text: &str, faults: Faults) -> Terminal {
    let (mut at, _) = Terminal::new(os, text, faults);
    at.type_in("enable");
    at.type_in("secret");
    at
}

fn fault(text: &str) -> Faults {
    let mut faults = Faults::default();
    faults.add(text).unwrap();
    faults
}

#[test]
fn a_change_that_nobody_confirms_is_taken_back() {
    let mut at = privileged(Os::Ios, ROUTER, Faults::default());
    let (_, events) = at.type_in("configure terminal revert timer 5");
    let (minutes, first) = timer(&events);
    assert_eq!(minutes, 5);
    at.type_in("hostname changed");
    at.type_in("end");
    assert!(at.machine.running().contains("hostname changed"));
    let (said, _) = at.type_in("show archive config rollback timer");
    assert!(said.contains("Timer value: 5 min\nUser: ann\n"), "{said}");
    assert!(!at.machine.ring(first));
    assert_eq!(at.machine.running(), ROUTER);
    let (_, events) = at.type_in("configure terminal revert timer 5");
    let (_, second) = timer(&events);
    at.type_in("hostname changed");
    at.type_in("end");
    // A timer that is over says nothing to a newer change.
    at.machine.ring(first);
    assert!(at.machine.running().contains("hostname changed"));
    at.type_in("configure confirm");
    at.machine.ring(second);
    assert!(at.machine.running().contains("hostname changed"));
    let (said, _) = at.type_in("configure confirm");
    assert!(said.contains("%No Rollback Confirmed Change pending"), "{said}");
    // Without an archive nothing can be brought back.
    let mut at = privileged(Os::Ap, "hostname a\nend\n", Faults::default());
    let (said, events) = at.type_in("configure terminal revert timer 5");
    assert!(said.contains("turn config archive on") && events.is_empty() && said.ends_with("a#"), "{said}");
}

#[test]
fn who_is_in_configuration_mode_keeps_others_out() {
    let mut at = privileged(Os::Ios, ROUTER, Faults::default());
    at.type_in("configure terminal lock");
    let access = Access { login: ("bob".to_owned(), "pw".to_owned()), enable: None };
    let (mut other, _) = Console::open(2, &at.machine, access, Faults::default());
    let (said, _) = other.feed(&mut at.machine, b"configure terminal\r");
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("Configuration mode locked exclusively by user 'ann'"), "{said}");
    at.console.close(&mut at.machine);
    let (said, _) = other.feed(&mut at.machine, b"configure terminal\r");
    assert!(String::from_utf8(said).unwrap().ends_with("(config)#"));
    let mut at = privileged(Os::Ios, ROUTER, fault("locked"));
    let (said, _) = at.type_in("configure terminal");
    assert!(said.contains("locked exclusively by user 'bob'") && said.ends_with("name#"), "{said}");
}

#[test]
fn who_has_changed_it_is_seen() {
    // Lines: `enable`, the secret, then these.
    let mut at = privileged(Os::Ios, ROUTER, fault("edit=4"));
    let head = "show running-config | include configuration change";
    assert!(at.type_in(head).0.contains("! No configuration change since last restart\n"));
    let (said, _) = at.type_in(head);
    assert!(said.contains("! Last configuration change at 10:00:01 UTC Mon Mar 1 2027 by bob\n"), "{said}");
    assert!(at.machine.running().contains("ip host other-engineer 192.0.2.250\n"));
    at.type_in("configure terminal");
    at.type_in("hostname mine");
    at.type_in("end");
    let (said, _) = at.type_in(head);
    assert!(said.contains("at 10:00:02 UTC Mon Mar 1 2027 by ann\n"), "{said}");
    let mut at = privileged(Os::Asa, FIREWALL, fault("edit=5"));
    let sums: Vec<String> = (0..3).map(|_| at.type_in("show checksum").0).collect();
    assert!(sums[0].contains("Cryptochecksum: ") && sums[0] == sums[1] && sums[1] != sums[2], "{sums:?}");
}

#[test]
fn a_session_is_cut_at_every_line() {
    let lines = ["enable", "secret", "configure terminal", "hostname one", "hostname two", "end"];
    for cut in 1..=lines.len() {
        let (mut at, _) = Terminal::new(Os::Ios, ROUTER, fault(&format!("cut={cut}")));
        let mut done = 0;
        for line in lines {
            let (_, events) = at.type_in(line);
            if events == [Event::Cut] {
                break;
            }
            done += 1;
        }
        // The line at which it is cut is not done.
        assert_eq!(done, cut - 1);
        let name = ["a-router-with-a-very-long-name", "one", "two"][done.saturating_sub(3).min(2)];
        assert!(at.machine.running().starts_with(&format!("hostname {name}\n")), "{cut}");
    }
}

#[test]
fn a_device_that_hangs_says_nothing_more_and_has_done_the_line() {
    let mut at = privileged(Os::Ios, ROUTER, fault("hang=4"));
    assert!(at.type_in("configure terminal").0.ends_with("(config)#"));
    assert_eq!(at.type_in("hostname two").0, "");
    assert_eq!(at.type_in("hostname three").0, "");
    assert!(at.machine.running().starts_with("hostname two\n"));
}

#[test]
fn a_line_is_refused_by_its_text_or_its_place() {
    let (mut at, _) = Terminal::new(Os::Asa, FIREWALL, fault("refuse=enable"));
    assert!(at.type_in("enable").0.contains("ERROR: % Invalid input"));
    let mut at = privileged(Os::Ios, ROUTER, fault("refuse-at=2"));
    at.type_in("configure terminal");
    assert!(!at.type_in("interface GigabitEthernet0/1").0.contains('%'));
    assert!(at.type_in("description two").0.contains("% Invalid input detected at '^' marker."));
    assert!(!at.type_in("description three").0.contains('%'));
    assert!(at.machine.running().contains("description three"));
    // Once: what puts it right is taken.
    for line in ["end", "configure terminal", "interface GigabitEthernet0/1", "description four"] {
        assert!(!at.type_in(line).0.contains('%'), "{line}");
    }
}

#[test]
fn pages_that_cannot_be_switched_off_stay() {
    let long: String =
        (0..60).map(|number| format!("ip host h{number} 10.0.0.{number}\n")).collect::<Vec<_>>().concat();
    for (os, line, more) in
        [(Os::Ios, "terminal length 0", " --More-- "), (Os::Asa, "terminal pager 0", "<--- More --->")]
    {
        let mut at = privileged(os, &long, Faults::default());
        at.type_in(line);
        assert!(at.type_in("show running-config").0.contains("h59"), "{os}");
        let mut at = privileged(os, &long, fault("pages"));
        let (said, _) = at.type_in(line);
        assert!(said.contains("Invalid input"), "{said}");
        assert!(at.type_in("show running-config").0.ends_with(more), "{os}");
    }
}

#[test]
fn the_log_speaks_in_the_middle_of_an_answer() {
    let mut at = privileged(Os::Ios, ROUTER, fault("noise"));
    let (said, _) = at.type_in("show running-config");
    let (before, after) = said.split_once("\n*Mar  1 00:01:02.003: %SYS-5-CONFIG_I").unwrap();
    assert!(before.contains("hostname a-router") && after.contains("\nend\n"), "{said}");
    let (said, _) = at.type_in("configure terminal");
    assert!(said.contains("%SYS-5-CONFIG_I") && said.ends_with("(config)#"), "{said}");
}

#[test]
fn a_long_line_is_scrolled_while_it_is_typed() {
    let line =
        format!("access-list X extended permit ip host 192.0.2.1 host 198.51.100.{} any", "1".repeat(3));
    let line = line.replace(" any", &format!(" object-group {}", "LONG".repeat(10)));
    for (os, repeats) in [(Os::Ios, false), (Os::Asa, true)] {
        let mut at = privileged(os, "hostname fw01\n", fault("wrap"));
        let (said, _) = at.console.feed(&mut at.machine, line.as_bytes());
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("\u{8}$") && said.contains("         \u{8}"), "{said:?}");
        let (said, _) = at.console.feed(&mut at.machine, b"\r");
        let said = String::from_utf8(said).unwrap().replace('\u{8}', "");
        let begin = said.split('\r').next().unwrap();
        assert_eq!(begin.ends_with('$') && begin.starts_with("access-list X"), repeats, "{said:?}");
        // It is taken whole.
        let (said, _) = at.type_in("hostname x");
        assert!(!said.contains('$'), "{said:?}");
    }
}

#[test]
fn a_reload_asks_and_loses_what_was_not_saved() {
    let mut at = privileged(Os::Ios, ROUTER, Faults::default());
    at.type_in("configure terminal");
    at.type_in("hostname lost");
    at.type_in("end");
    at.says("reload", "reload\nSystem configuration has been modified. Save? [yes/no]: ");
    at.says(
        "perhaps",
        "perhaps\n% Please answer 'yes' or 'no'.\nSystem configuration has been modified. Save? [yes/no]: ",
    );
    at.says("no", "no\nProceed with reload? [confirm]");
    assert_eq!(at.type_in("").1, [Event::Reloaded]);
    assert_eq!(at.machine.running(), ROUTER);
    // In some minutes, unless it is cancelled.
    let mut at = privileged(Os::Ios, ROUTER, Faults::default());
    at.says("reload in 3", "reload in 3\nProceed with reload? [confirm]");
    let (minutes, first) = timer(&at.type_in("").1);
    assert_eq!(minutes, 3);
    assert!(at.type_in("reload cancel").0.contains("SHUTDOWN ABORTED"));
    assert!(!at.machine.ring(first));
    at.type_in("reload in 3");
    let (_, second) = timer(&at.type_in("").1);
    assert!(!at.machine.ring(first) && at.machine.ring(second));
    // In the middle of a change.
    let mut at = privileged(Os::Asa, FIREWALL, fault("reload=5"));
    at.type_in("configure terminal");
    at.type_in("hostname lost");
    assert_eq!(at.type_in("hostname lost2").1, [Event::Reloaded]);
    assert_eq!(at.machine.running(), FIREWALL);
}

#[test]
fn a_configuration_says_how_long_nobody_may_log_in() {
    let machine = Machine::new(Os::Ios, "login block-for 60 attempts 3 within 30\nhostname a\n");
    assert_eq!(machine.block_for(), Some((60, 3, 30)));
    assert_eq!(Machine::new(Os::Ios, ROUTER).block_for(), None);
}

#[test]
fn files_are_copied_shown_and_put_in_the_place_of_a_configuration() {
    let mut at = privileged(Os::Ios, ROUTER, Faults::default());
    at.says(
        "copy running-config flash:before.cfg",
        "copy running-config flash:before.cfg\nDestination filename [before.cfg]? ",
    );
    assert!(at.type_in("").0.contains("bytes copied in"));
    assert!(at.type_in("dir flash:/before.cfg").0.contains("Directory of flash:/before.cfg\n"));
    assert!(at.type_in("dir flash:none").0.contains("%Error opening flash:none (No such file or directory)"));
    assert!(at.type_in("more flash:before.cfg").0.contains("description core"));
    at.type_in("configure terminal");
    at.type_in("interface GigabitEthernet0/1");
    at.type_in("description changed");
    at.type_in("end");
    let (said, _) = at.type_in("show archive config differences system:/running-config flash:/before.cfg");
    assert!(
        said.contains("interface GigabitEthernet0/1\n+ description core\n")
            && said.contains("- description changed\n"),
        "{said}"
    );
    assert!(at.type_in("configure replace flash:before.cfg force").0.contains("Rollback Done"));
    assert_eq!(at.machine.running(), ROUTER);
    assert!(
        at.type_in("show archive config differences system:running-config flash:before.cfg")
            .0
            .contains("!No changes were found")
    );
    assert_eq!(at.type_in("delete /force flash:before.cfg").0.matches("Error").count(), 0);
    assert!(at.type_in("configure replace flash:before.cfg force").0.contains("No such file"));
    // What is no configuration never takes a configuration's place.
    at.type_in("tclsh");
    at.type_in("puts [open \"flash:bad\" w+] {no hostname}");
    at.type_in("tclquit");
    assert!(at.type_in("configure replace flash:bad force").0.contains("not a valid config file"));
}
