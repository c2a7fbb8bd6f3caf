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
    at.says("wrong", "\n% Access denied\n\na-router-with-a-very-long-name>");
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

#[test]
fn a_change_that_nobody_confirms_is_taken_back() {
    let (mut at, _) = Terminal::new(Os::Ios, ROUTER, Faults::default());
    at.type_in("enable");
    at.type_in("secret");
    let (_, events) = at.type_in("configure terminal revert timer 5");
    assert_eq!(events, [Event::RevertIn(5)]);
    at.type_in("hostname changed");
    at.type_in("end");
    assert!(at.machine.running().contains("hostname changed"));
    assert!(at.machine.revert());
    assert_eq!(at.machine.running(), ROUTER);
    at.type_in("configure terminal revert timer 5");
    at.type_in("hostname changed");
    at.type_in("end");
    at.type_in("configure confirm");
    assert!(!at.machine.revert());
    assert!(at.machine.running().contains("hostname changed"));
    // Another engineer is in configuration mode.
    at.type_in("configure terminal lock");
    let access = Access { login: ("bob".to_owned(), "pw".to_owned()), enable: None };
    let (mut other, _) = Console::open(2, &at.machine, access, Faults::default());
    let (said, _) = other.feed(&mut at.machine, b"configure terminal\r");
    assert!(String::from_utf8(said).unwrap().contains("locked by another user"));
    at.console.close(&mut at.machine);
    let (said, _) = other.feed(&mut at.machine, b"configure terminal\r");
    assert!(String::from_utf8(said).unwrap().ends_with("(config)#"));
}

#[test]
fn what_goes_wrong_on_purpose_goes_wrong() {
    let faults = Faults { cut_after: Some(2), ..Faults::default() };
    let (mut at, _) = Terminal::new(Os::Ios, ROUTER, faults);
    assert_eq!(at.type_in("show clock").1, []);
    assert_eq!(at.type_in("show clock").1, [Event::Closed]);
    let faults = Faults { hang_after: Some(1), ..Faults::default() };
    let (mut at, _) = Terminal::new(Os::Ios, ROUTER, faults);
    assert!(at.type_in("show clock").0.contains("UTC"));
    assert_eq!(at.type_in("show clock").0, "");
    let faults = Faults { refuse: vec!["enable".to_owned()], ..Faults::default() };
    let (mut at, _) = Terminal::new(Os::Asa, FIREWALL, faults);
    assert!(at.type_in("enable").0.contains("ERROR:"));
    let (mut at, _) = Terminal::new(Os::Ios, ROUTER, Faults::default());
    at.type_in("enable");
    at.type_in("secret");
    at.type_in("configure terminal");
    at.type_in("hostname lost");
    at.type_in("end");
    at.type_in("reload");
    assert_eq!(at.type_in("").1, [Event::Reloaded]);
    assert_eq!(at.machine.running(), ROUTER);
}
