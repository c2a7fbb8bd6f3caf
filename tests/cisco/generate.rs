//! Configurations by chance, of the shapes that real devices have: names that are used are there.

use std::fmt::Write as _;

use nlrun::cisco::Os;

/// A small generator of numbers: the same seed gives the same configurations.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % end.max(1)
    }

    fn often(&mut self) -> bool {
        self.below(4) != 0
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// Some of them, mostly in order.
    fn some<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        let mut found: Vec<T> = of.iter().filter(|_| self.often()).cloned().collect();
        if found.len() > 1 && self.below(3) == 0 {
            let (a, b) = (self.below(found.len()), self.below(found.len()));
            found.swap(a, b);
        }
        found
    }
}

/// A configuration of a platform. Two of one `device` have the same habits (whether it shows numbers).
pub fn configuration(os: Os, chance: &mut Chance, device: u64) -> String {
    match os {
        Os::Asa => asa(chance),
        Os::Ios | Os::Ap => ios(chance, device),
    }
}

fn ios(chance: &mut Chance, device: u64) -> String {
    let mut text = String::from("!\nversion 15.6\n");
    let shows_numbers = device.is_multiple_of(2);
    let _ = writeln!(text, "hostname {}", chance.one(&["rtr01", "rtr02"]));
    for line in chance.some(&[
        "service timestamps log datetime msec",
        "no ip source-route",
        "no ip http server",
        "ip domain name example.net",
        "logging buffered 16000",
        "no logging console",
        "aaa new-model",
    ]) {
        let _ = writeln!(text, "{line}");
    }
    let servers = chance.some(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    if !servers.is_empty() {
        let _ = writeln!(text, "ip name-server {}", servers.join(" "));
    }
    for name in chance.some(&["admin", "oper"]) {
        let _ = writeln!(text, "username {name} privilege 15 secret 9 $9${}", chance.one(&["aa", "bb"]));
    }
    let vrfs = chance.some(&["RED", "BLUE"]);
    for name in &vrfs {
        let _ = writeln!(
            text,
            "vrf definition {name}\n rd 65000:{}\n !\n address-family ipv4\n exit-address-family\n!",
            name.len()
        );
    }
    let vlans = chance.some(&[10, 11, 12, 20, 30]);
    if !vlans.is_empty() {
        let list: Vec<String> = vlans.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "vlan {}\n!", list.join(","));
    }
    let classes = chance.some(&["VOICE", "VIDEO", "BULK", "SCAVENGER"]);
    for name in &classes {
        let _ =
            writeln!(text, "class-map match-any {name}\n match dscp {}", chance.one(&["ef", "af41", "cs1"]));
    }
    let mut policies = Vec::new();
    for name in ["OUT", "IN"] {
        let used = chance.some(&classes);
        if !used.is_empty() && chance.often() {
            policies.push(name);
            let _ = writeln!(text, "policy-map {name}");
            for class in used {
                let _ = writeln!(text, " class {class}\n  bandwidth percent {}", 10 + chance.below(3));
            }
            let _ = writeln!(text, " class class-default\n  fair-queue");
        }
    }
    for number in chance.some(&[1, 2]) {
        let _ = writeln!(
            text,
            "ip sla {number}\n icmp-echo 192.0.2.{}\n  frequency {}",
            chance.below(3),
            5 + chance.below(2)
        );
        let _ = writeln!(text, "ip sla schedule {number} life forever start-time now");
    }
    let lists = chance.some(&["EDGE-IN", "EDGE-OUT", "NAT"]);
    // Two ports may change their addresses with each other.
    let swaps = chance.below(4) == 0;
    for number in 0..4 {
        let _ = writeln!(text, "interface GigabitEthernet0/{number}");
        let address = if swaps && number < 2 { 1 - number } else { number };
        port(&mut text, chance, (number, address), &vrfs, &lists, &policies);
    }
    for number in chance.some(&[0, 1, 2]) {
        let _ = writeln!(
            text,
            "interface Loopback{number}\n ip address 10.255.{number}.{} 255.255.255.255\n!",
            1 + chance.below(2)
        );
    }
    bgp(&mut text, chance);
    for network in chance.some(&["10.1.0.0", "10.2.0.0", "10.3.0.0"]) {
        let gateway = chance.below(2) + 1;
        let distance = chance.one(&["", " 200"]);
        let _ = writeln!(text, "ip route {network} 255.255.0.0 192.0.2.{gateway}{distance}");
    }
    for name in &lists {
        let _ = writeln!(text, "ip access-list extended {name}");
        let entries = entries(chance);
        let mut number = 0;
        for entry in entries {
            number += 10 * (1 + chance.below(2));
            let numbered = if shows_numbers { format!("{number} ") } else { String::new() };
            writeln!(text, " {numbered}{entry}").unwrap();
        }
    }
    for entry in chance.some(&["permit 192.0.2.1", "permit 192.0.2.2", "permit 192.0.2.8 0.0.0.7"]) {
        let _ = writeln!(text, "access-list 23 {entry}");
    }
    for number in chance.some(&[5, 10, 15]) {
        let _ = writeln!(
            text,
            "ip prefix-list NETS seq {number} permit 10.{number}.0.0/{}",
            16 + chance.below(2)
        );
    }
    for number in chance.some(&[10, 20]) {
        let _ = writeln!(
            text,
            "route-map EXPORT {} {number}\n set metric {}",
            chance.one(&["permit", "deny"]),
            chance.below(3)
        );
    }
    if chance.often() {
        let _ = writeln!(text, "banner motd ^C\nHello\nno ip routing {}\n^C", chance.below(2));
    }
    let _ = writeln!(
        text,
        "!\nline con 0\n logging synchronous\nline vty 0 4\n access-class 23 in\n transport input {}",
        chance.one(&["ssh", "ssh telnet"])
    );
    if chance.often() {
        let _ = writeln!(text, "line vty 5 15\n exec-timeout {} 0\n transport input ssh", chance.below(3));
    }
    text.push_str("!\nend\n");
    text
}

fn port(
    text: &mut String,
    chance: &mut Chance,
    (number, address): (usize, usize),
    vrfs: &[&str],
    lists: &[&str],
    policies: &[&str],
) {
    if chance.often() {
        let _ = writeln!(text, " description to {}", chance.one(&["core", "edge  two"]));
    }
    if number == 3 {
        let vlans: Vec<String> = chance.some(&[10, 11, 12, 13, 20]).iter().map(ToString::to_string).collect();
        if !vlans.is_empty() {
            let _ = writeln!(text, " switchport trunk allowed vlan {}", vlans.join(","));
        }
        let _ = writeln!(text, " switchport mode trunk\n!");
        return;
    }
    if !vrfs.is_empty() && chance.below(3) == 0 {
        let _ = writeln!(text, " vrf forwarding {}", chance.one(vrfs));
    }
    match chance.below(5) {
        0 => text.push_str(" no ip address\n"),
        _ => {
            let _ = writeln!(text, " ip address 10.0.{address}.1 255.255.255.0");
        }
    }
    if !lists.is_empty() && chance.often() {
        let _ = writeln!(text, " ip access-group {} {}", chance.one(lists), chance.one(&["in", "out"]));
    }
    if chance.below(3) == 0 {
        text.push_str(" no ip redirects\n");
    }
    if !policies.is_empty() && chance.often() {
        let _ = writeln!(text, " service-policy output {}", chance.one(policies));
    }
    if chance.below(3) == 0 {
        text.push_str(" shutdown\n");
    }
    text.push_str("!\n");
}

fn entries(chance: &mut Chance) -> Vec<String> {
    let mut found = chance.some(&[
        "permit tcp any host 192.0.2.1 eq www",
        "permit tcp any host 192.0.2.2 eq 443",
        "permit icmp any any",
        "permit udp any any eq domain",
        "deny ip 10.0.0.0 0.255.255.255 any",
        "permit ip host 192.0.2.9 any log",
    ]);
    found.push("deny ip any any");
    found.into_iter().map(str::to_owned).collect()
}

fn bgp(text: &mut String, chance: &mut Chance) {
    text.push_str("router bgp 65000\n bgp log-neighbor-changes\n");
    let neighbors = chance.some(&["192.0.2.11", "192.0.2.12", "192.0.2.13"]);
    for neighbor in &neighbors {
        let _ = writeln!(text, " neighbor {neighbor} remote-as {}", 65001 + chance.below(2));
        if chance.often() {
            let _ = writeln!(text, " neighbor {neighbor} description {}", chance.one(&["left", "right"]));
        }
    }
    text.push_str(" !\n address-family ipv4\n");
    for neighbor in &neighbors {
        let _ = writeln!(text, "  neighbor {neighbor} activate");
        if chance.often() {
            let _ = writeln!(text, "  neighbor {neighbor} route-map EXPORT out");
        }
    }
    for network in chance.some(&["10.8.0.0", "10.9.0.0"]) {
        let _ = writeln!(text, "  network {network} mask 255.255.0.0");
    }
    text.push_str(" exit-address-family\n!\n");
}

fn asa(chance: &mut Chance) -> String {
    let mut text = String::from(": Saved\n:\nASA Version 9.16(4)\n!\nhostname fw01\n");
    for (number, name) in ["inside", "outside", "dmz"].iter().enumerate() {
        let _ = writeln!(
            text,
            "interface GigabitEthernet1/{number}\n nameif {name}\n security-level {}\n ip address 10.{number}.0.{} 255.255.255.0\n!",
            chance.one(&[0, 50, 100]),
            1 + chance.below(2)
        );
    }
    let objects = chance.some(&["WEB", "MAIL", "DNS", "LAN", "VPN"]);
    for (number, name) in objects.iter().enumerate() {
        let _ = writeln!(text, "object network {name}\n host 10.0.{number}.{}", 1 + chance.below(2));
    }
    let mut groups = Vec::new();
    for name in ["SERVERS", "ALL"] {
        let members = chance.some(&objects);
        if members.is_empty() {
            continue;
        }
        let _ = writeln!(text, "object-group network {name}");
        for member in members {
            let _ = writeln!(text, " network-object object {member}");
        }
        if name == "ALL" && groups.contains(&"SERVERS") && chance.often() {
            text.push_str(" group-object SERVERS\n");
        }
        groups.push(name);
    }
    let mut lists = Vec::new();
    for name in ["outside_in", "dmz_in", "vti_access_in"] {
        let mut rows: Vec<String> = chance
            .some(&["permit icmp any any", "permit tcp any host 192.0.2.7 eq www", "deny udp any any"])
            .into_iter()
            .map(|row| format!("extended {row}"))
            .collect();
        rows.extend(
            chance.some(&objects).iter().map(|one| format!("extended permit tcp any object {one} eq https")),
        );
        rows.extend(
            chance.some(&groups).iter().map(|one| format!("extended permit ip object-group {one} any")),
        );
        if chance.often() {
            rows.insert(0, format!("remark {}", chance.one(&["who comes in", "what goes out"])));
        }
        rows.push(format!("extended deny ip any any{}", chance.one(&["", " log", " inactive"])));
        if chance.below(5) != 0 {
            lists.push(name);
            for row in rows {
                writeln!(text, "access-list {name} {row}").unwrap();
            }
        }
    }
    for object in chance.some(&objects) {
        let _ = writeln!(
            text,
            "nat (inside,outside) source static {object} {object} destination static {object} {object}"
        );
    }
    text.push_str("nat (inside,outside) after-auto source dynamic any interface\n");
    text.push_str("!\n");
    for object in chance.some(&objects) {
        let _ = writeln!(
            text,
            "object network {object}\n nat (inside,outside) static 203.0.113.{}",
            chance.below(2)
        );
    }
    for (name, interface) in [("outside_in", "outside"), ("dmz_in", "dmz"), ("vti_access_in", "inside")] {
        if lists.contains(&name) && chance.often() {
            let _ = writeln!(text, "access-group {name} in interface {interface}");
        }
    }
    for network in chance.some(&["0.0.0.0 0.0.0.0", "10.9.0.0 255.255.0.0"]) {
        let _ = writeln!(
            text,
            "route outside {network} 10.1.0.{} {}",
            250 + chance.below(2),
            1 + chance.below(2)
        );
    }
    let policies = chance.some(&["GP-A", "GP-B"]);
    for name in &policies {
        let _ = writeln!(
            text,
            "group-policy {name} internal\ngroup-policy {name} attributes\n vpn-idle-timeout {}",
            chance.one(&["none", "30"])
        );
    }
    for name in chance.some(&["203.0.113.9", "203.0.113.10"]) {
        let _ = writeln!(text, "tunnel-group {name} type ipsec-l2l");
        if !policies.is_empty() && chance.often() {
            let _ = writeln!(
                text,
                "tunnel-group {name} general-attributes\n default-group-policy {}",
                chance.one(&policies)
            );
        }
        let _ = writeln!(text, "tunnel-group {name} ipsec-attributes\n ikev1 pre-shared-key *****");
    }
    for name in chance.some(&["PROFILE-A", "PROFILE-B"]) {
        let _ = writeln!(text, "crypto ipsec profile {name}\n set pfs group{}", chance.one(&["14", "19"]));
    }
    let _ = writeln!(
        text,
        "class-map inspection_default\n match default-inspection-traffic\npolicy-map global_policy\n class inspection_default"
    );
    for what in chance.some(&["ftp", "icmp", "sip"]) {
        let _ = writeln!(text, "  inspect {what}");
    }
    text.push_str("service-policy global_policy global\nCryptochecksum:0123\n: end\n");
    text
}
