//! Each row of the team's table of what goes wrong today, and its like: what is to change, and the commands that it comes to.

use nlrun::cisco::{Device, Os, diff};

/// A change, and its commands.
pub struct Row {
    pub what: &'static str,
    pub os: Os,
    pub running: &'static str,
    pub intended: &'static str,
    commands: &'static str,
}

pub const ROWS: &[Row] = &[
    Row {
        what: "only the NAT of an object goes: the object stays",
        os: Os::Asa,
        running: concat!(
            "object network A\n",
            " host 10.0.0.1\n",
            "object network A\n",
            " nat (inside,outside) static 1.2.3.4\n"
        ),
        intended: concat!("object network A\n", " host 10.0.0.1\n"),
        commands: concat!("object network A\n", " no nat (inside,outside) static 1.2.3.4\n"),
    },
    Row {
        what: "an entry at the top of an ASA list is not appended behind the deny",
        os: Os::Asa,
        running: concat!(
            "access-list X extended permit ip host 1.1.1.1 any\n",
            "access-list X extended permit ip host 2.2.2.2 any\n",
            "access-list X extended deny ip any any\n",
            "access-group X in interface outside\n"
        ),
        intended: concat!(
            "access-list X extended permit ip host 9.9.9.9 any\n",
            "access-list X extended permit ip host 1.1.1.1 any\n",
            "access-list X extended permit ip host 2.2.2.2 any\n",
            "access-list X extended deny ip any any\n",
            "access-group X in interface outside\n"
        ),
        commands: "access-list X line 1 extended permit ip host 9.9.9.9 any\n",
    },
    Row {
        what: "entries of an ASA list that change places",
        os: Os::Asa,
        running: concat!(
            "access-list X extended permit ip host 1.1.1.1 any\n",
            "access-list X extended permit ip host 2.2.2.2 any\n",
            "access-list X extended deny ip any any\n",
            "access-group X in interface outside\n"
        ),
        intended: concat!(
            "access-list X extended permit ip host 2.2.2.2 any\n",
            "access-list X extended permit ip host 1.1.1.1 any\n",
            "access-list X extended deny ip any any\n",
            "access-group X in interface outside\n"
        ),
        commands: concat!(
            "no access-list X extended permit ip host 2.2.2.2 any\n",
            "access-list X line 1 extended permit ip host 2.2.2.2 any\n"
        ),
    },
    Row {
        what: "an object under another name, in a group and in a list: made before used, unused before removed",
        os: Os::Asa,
        running: concat!(
            "object network OLD\n",
            " host 10.0.0.1\n",
            "object-group network G\n",
            " network-object object OLD\n",
            "access-list X extended permit ip object OLD any\n",
            "access-list X extended permit ip object-group G any\n"
        ),
        intended: concat!(
            "object network NEW\n",
            " host 10.0.0.1\n",
            "object-group network G\n",
            " network-object object NEW\n",
            "access-list X extended permit ip object NEW any\n",
            "access-list X extended permit ip object-group G any\n"
        ),
        commands: concat!(
            "object network NEW\n",
            " host 10.0.0.1\n",
            "object-group network G\n",
            " network-object object NEW\n",
            " no network-object object OLD\n",
            "access-list X line 1 extended permit ip object NEW any\n",
            "no access-list X extended permit ip object OLD any\n",
            "no object network OLD\n"
        ),
    },
    Row {
        what: "an object with NAT goes by one command",
        os: Os::Asa,
        running: concat!(
            "object network A\n",
            " host 10.0.0.1\n",
            "object network A\n",
            " nat (inside,outside) static 1.2.3.4\n",
            "object network B\n",
            " host 1.1.1.2\n"
        ),
        intended: concat!("object network B\n", " host 1.1.1.2\n"),
        commands: "no object network A\n",
    },
    Row {
        what: "an ASA port gets its first name: placeholders are no lines",
        os: Os::Asa,
        running: concat!(
            "interface GigabitEthernet1/1\n",
            " shutdown\n",
            " no nameif\n",
            " no security-level\n",
            " no ip address\n"
        ),
        intended: concat!(
            "interface GigabitEthernet1/1\n",
            " nameif dmz\n",
            " security-level 50\n",
            " ip address 10.1.1.1 255.255.255.0\n"
        ),
        commands: concat!(
            "interface GigabitEthernet1/1\n",
            " nameif dmz\n",
            " security-level 50\n",
            " ip address 10.1.1.1 255.255.255.0\n",
            " no shutdown\n"
        ),
    },
    Row {
        what: "an address of an ASA is overwritten, not removed before",
        os: Os::Asa,
        running: concat!(
            "interface GigabitEthernet1/1\n",
            " nameif dmz\n",
            " ip address 10.1.1.1 255.255.255.0\n"
        ),
        intended: concat!(
            "interface GigabitEthernet1/1\n",
            " nameif dmz\n",
            " ip address 10.1.1.2 255.255.255.0\n"
        ),
        commands: concat!("interface GigabitEthernet1/1\n", " ip address 10.1.1.2 255.255.255.0\n"),
    },
    Row {
        what: "a default route: the new one comes before the old one goes",
        os: Os::Asa,
        running: "route outside 0.0.0.0 0.0.0.0 1.1.1.1 1\n",
        intended: "route outside 0.0.0.0 0.0.0.0 1.1.1.2 1\n",
        commands: concat!(
            "route outside 0.0.0.0 0.0.0.0 1.1.1.2 1\n",
            "no route outside 0.0.0.0 0.0.0.0 1.1.1.1 1\n"
        ),
    },
    Row {
        what: "an ASA does not overwrite the metric of a route",
        os: Os::Asa,
        running: "route outside 0.0.0.0 0.0.0.0 1.1.1.1 1\n",
        intended: "route outside 0.0.0.0 0.0.0.0 1.1.1.1 5\n",
        commands: concat!(
            "no route outside 0.0.0.0 0.0.0.0 1.1.1.1 1\n",
            "route outside 0.0.0.0 0.0.0.0 1.1.1.1 5\n"
        ),
    },
    Row {
        what: "a key that is masked on the device is unknown, and neither sent nor removed",
        os: Os::Asa,
        running: concat!(
            "tunnel-group 1.1.1.1 type ipsec-l2l\n",
            "tunnel-group 1.1.1.1 ipsec-attributes\n",
            " ikev1 pre-shared-key *****\n"
        ),
        intended: concat!(
            "tunnel-group 1.1.1.1 type ipsec-l2l\n",
            "tunnel-group 1.1.1.1 ipsec-attributes\n",
            " ikev1 pre-shared-key real\n"
        ),
        commands: "",
    },
    Row {
        what: "a key that is masked in the file is not sent",
        os: Os::Asa,
        running: "hostname a\n",
        intended: concat!(
            "hostname a\n",
            "tunnel-group 1.1.1.1 type ipsec-l2l\n",
            "tunnel-group 1.1.1.1 ipsec-attributes\n",
            " ikev1 pre-shared-key *****\n"
        ),
        commands: concat!("tunnel-group 1.1.1.1 type ipsec-l2l\n", "tunnel-group 1.1.1.1 ipsec-attributes\n"),
    },
    Row {
        what: "a tunnel group goes with its attributes, by one command",
        os: Os::Asa,
        running: concat!(
            "hostname a\n",
            "tunnel-group 1.1.1.1 type ipsec-l2l\n",
            "tunnel-group 1.1.1.1 ipsec-attributes\n",
            " ikev1 pre-shared-key *****\n"
        ),
        intended: "hostname a\n",
        commands: "no tunnel-group 1.1.1.1 type ipsec-l2l\n",
    },
    Row {
        what: "VLANs of a trunk: never through a moment in which all are allowed",
        os: Os::Ios,
        running: concat!("interface Gi0/1\n", " switchport trunk allowed vlan 10,20,30\n"),
        intended: concat!("interface Gi0/1\n", " switchport trunk allowed vlan 10,30-32\n"),
        commands: concat!(
            "interface Gi0/1\n",
            " switchport trunk allowed vlan add 31,32\n",
            " switchport trunk allowed vlan remove 20\n"
        ),
    },
    Row {
        what: "an entry in the middle of a list whose numbers are not shown",
        os: Os::Ios,
        running: concat!(
            "ip access-list extended X\n",
            " permit ip host 1.1.1.1 any\n",
            " permit ip host 2.2.2.2 any\n",
            " deny ip any any\n"
        ),
        intended: concat!(
            "ip access-list extended X\n",
            " permit ip host 1.1.1.1 any\n",
            " permit ip host 9.9.9.9 any\n",
            " permit ip host 2.2.2.2 any\n",
            " deny ip any any\n"
        ),
        commands: concat!(
            "ip access-list resequence X 1000 1000\n",
            "ip access-list extended X\n",
            " 1500 permit ip host 9.9.9.9 any\n"
        ),
    },
    Row {
        what: "an entry in the middle of a list whose numbers are shown",
        os: Os::Ios,
        running: concat!(
            "ip access-list extended X\n",
            " 10 permit ip host 1.1.1.1 any\n",
            " 20 permit ip host 2.2.2.2 any\n",
            " 30 deny ip any any\n"
        ),
        intended: concat!(
            "ip access-list extended X\n",
            " 10 permit ip host 1.1.1.1 any\n",
            " 15 permit ip host 9.9.9.9 any\n",
            " 20 permit ip host 2.2.2.2 any\n",
            " 30 deny ip any any\n"
        ),
        commands: concat!("ip access-list extended X\n", " 15 permit ip host 9.9.9.9 any\n"),
    },
    Row {
        what: "an entry in the middle of a numbered list, which `no access-list` would remove whole",
        os: Os::Ios,
        running: concat!("access-list 23 permit 1.1.1.1\n", "access-list 23 deny any\n"),
        intended: concat!(
            "access-list 23 permit 1.1.1.1\n",
            "access-list 23 permit 2.2.2.2\n",
            "access-list 23 deny any\n"
        ),
        commands: concat!(
            "ip access-list resequence 23 1000 1000\n",
            "ip access-list standard 23\n",
            " 1500 permit 2.2.2.2\n"
        ),
    },
    Row {
        what: "a user gets another secret without being removed",
        os: Os::Ios,
        running: "username admin privilege 15 secret 9 abc\n",
        intended: "username admin privilege 15 secret 9 def\n",
        commands: "username admin privilege 15 secret 9 def\n",
    },
    Row {
        what: "a banner is text, also where it reads like a command",
        os: Os::Ios,
        running: concat!("banner motd ^C\n", "hello\n", "^C\n", "line con 0\n"),
        intended: concat!("banner motd ^C\n", "hello2\n", "no ip routing\n", "^C\n", "line con 0\n"),
        commands: concat!("banner motd ^C\n", "hello2\n", "no ip routing\n", "^C\n"),
    },
    Row {
        what: "certificates are the device's own",
        os: Os::Ios,
        running: concat!(
            "crypto pki certificate chain X\n",
            " certificate self-signed 01\n",
            "  AAAA BBBB\n",
            "  CCCC\n",
            "  \tquit\n",
            "hostname a\n"
        ),
        intended: concat!(
            "crypto pki certificate chain X\n",
            " certificate self-signed 01\n",
            "  AAAA BBBD\n",
            "  CCCC\n",
            "  \tquit\n",
            "hostname a\n"
        ),
        commands: "",
    },
    Row {
        what: "a neighbor goes with all its lines, by one command",
        os: Os::Ios,
        running: concat!(
            "router bgp 65000\n",
            " bgp log-neighbor-changes\n",
            " neighbor 1.1.1.1 remote-as 65001\n",
            " neighbor 1.1.1.1 description x\n",
            " neighbor 2.2.2.2 remote-as 65002\n",
            " !\n",
            " address-family ipv4\n",
            "  neighbor 1.1.1.1 activate\n",
            "  neighbor 1.1.1.1 route-map A in\n",
            "  neighbor 2.2.2.2 activate\n",
            " exit-address-family\n"
        ),
        intended: concat!(
            "router bgp 65000\n",
            " bgp log-neighbor-changes\n",
            " neighbor 2.2.2.2 remote-as 65002\n",
            " !\n",
            " address-family ipv4\n",
            "  neighbor 2.2.2.2 activate\n",
            " exit-address-family\n"
        ),
        commands: concat!("router bgp 65000\n", " no neighbor 1.1.1.1\n"),
    },
    Row {
        what: "a port cannot be removed; what is logical can",
        os: Os::Ios,
        running: concat!(
            "interface GigabitEthernet0/1\n",
            " description x\n",
            " ip address 1.1.1.1 255.0.0.0\n",
            "interface Loopback0\n",
            " ip address 2.2.2.2 255.0.0.0\n"
        ),
        intended: "hostname a\n",
        commands: concat!(
            "hostname a\n",
            "default interface GigabitEthernet0/1\n",
            "no interface Loopback0\n"
        ),
    },
    Row {
        what: "one of two name servers goes, the other stays all the time",
        os: Os::Ios,
        running: "ip name-server 1.1.1.1 2.2.2.2\n",
        intended: "ip name-server 1.1.1.1\n",
        commands: "no ip name-server 2.2.2.2\n",
    },
    Row {
        what: "the members of a used group are replaced without it being empty",
        os: Os::Asa,
        running: concat!(
            "object-group network G\n",
            " network-object host 1.1.1.1\n",
            "access-list X extended permit ip object-group G any\n"
        ),
        intended: concat!(
            "object-group network G\n",
            " network-object host 2.2.2.2\n",
            "access-list X extended permit ip object-group G any\n"
        ),
        commands: concat!(
            "object-group network G\n",
            " network-object host 2.2.2.2\n",
            " no network-object host 1.1.1.1\n"
        ),
    },
    Row {
        what: "description and address are overwritten",
        os: Os::Ios,
        running: concat!("interface Gi0/1\n", " description x\n", " ip address 1.1.1.1 255.0.0.0\n"),
        intended: concat!(
            "interface Gi0/1\n",
            " description y\n",
            " ip address 1.1.1.2 255.0.0.0\n",
            " shutdown\n"
        ),
        commands: concat!(
            "interface Gi0/1\n",
            " description y\n",
            " ip address 1.1.1.2 255.0.0.0\n",
            " shutdown\n"
        ),
    },
    Row {
        what: "three levels, and a policy that does not overwrite",
        os: Os::Ios,
        running: concat!("policy-map P\n", " class A\n", "  shape average 1000\n", "   service-policy Q\n"),
        intended: concat!("policy-map P\n", " class A\n", "  shape average 2000\n", "   service-policy R\n"),
        commands: concat!(
            "policy-map P\n",
            " class A\n",
            "  shape average 2000\n",
            "  no service-policy Q\n",
            "  service-policy R\n"
        ),
    },
    Row {
        what: "a VRF takes the address away, which comes again at once",
        os: Os::Ios,
        running: concat!("interface Gi0/1\n", " ip address 1.1.1.1 255.0.0.0\n"),
        intended: concat!(
            "vrf definition V\n",
            " rd 1:1\n",
            " !\n",
            " address-family ipv4\n",
            " exit-address-family\n",
            "!\n",
            "interface Gi0/1\n",
            " vrf forwarding V\n",
            " ip address 1.1.1.1 255.0.0.0\n"
        ),
        commands: concat!(
            "vrf definition V\n",
            " rd 1:1\n",
            " address-family ipv4\n",
            "interface Gi0/1\n",
            " vrf forwarding V\n",
            " ip address 1.1.1.1 255.0.0.0\n"
        ),
    },
    Row {
        what: "a line is replaced by its own `no`",
        os: Os::Ios,
        running: "logging buffered 1000\n",
        intended: "no logging buffered\n",
        commands: "no logging buffered\n",
    },
    Row {
        what: "the default comes back by the positive form",
        os: Os::Ios,
        running: "no ip source-route\n",
        intended: "hostname x\n",
        commands: concat!("hostname x\n", "ip source-route\n"),
    },
    Row {
        what: "ranges of lines that are written in another way",
        os: Os::Ios,
        running: concat!(
            "line vty 0 4\n",
            " transport input ssh\n",
            "line vty 5 15\n",
            " transport input ssh\n"
        ),
        intended: concat!("line vty 0 15\n", " transport input ssh\n", " exec-timeout 5 0\n"),
        commands: concat!("line vty 0 15\n", " exec-timeout 5 0\n"),
    },
    Row {
        what: "a class in the middle of a policy: those behind it go and come again",
        os: Os::Ios,
        running: concat!(
            "policy-map P\n",
            " class A\n",
            "  bandwidth 1\n",
            " class C\n",
            "  bandwidth 3\n",
            " class class-default\n",
            "  fair-queue\n"
        ),
        intended: concat!(
            "policy-map P\n",
            " class A\n",
            "  bandwidth 1\n",
            " class B\n",
            "  bandwidth 2\n",
            " class C\n",
            "  bandwidth 3\n",
            " class class-default\n",
            "  fair-queue\n"
        ),
        commands: concat!(
            "policy-map P\n",
            " no class C\n",
            " class B\n",
            "  bandwidth 2\n",
            "  exit\n",
            " class C\n",
            "  bandwidth 3\n"
        ),
    },
    Row {
        what: "a running probe is not edited: removed, entered, scheduled again",
        os: Os::Ios,
        running: concat!(
            "ip sla 1\n",
            " icmp-echo 1.1.1.1\n",
            "  frequency 5\n",
            "ip sla schedule 1 life forever start-time now\n"
        ),
        intended: concat!(
            "ip sla 1\n",
            " icmp-echo 1.1.1.2\n",
            "  frequency 5\n",
            "ip sla schedule 1 life forever start-time now\n"
        ),
        commands: concat!(
            "no ip sla 1\n",
            "ip sla 1\n",
            " icmp-echo 1.1.1.2\n",
            "  frequency 5\n",
            "ip sla schedule 1 life forever start-time now\n"
        ),
    },
    Row {
        what: "NAT in its place, in both sections",
        os: Os::Asa,
        running: concat!(
            "nat (inside,outside) source static A A destination static B B\n",
            "nat (inside,outside) source dynamic any interface\n",
            "nat (inside,outside) after-auto source dynamic any interface\n"
        ),
        intended: concat!(
            "nat (inside,outside) source static A A destination static B B\n",
            "nat (inside,outside) source static C C\n",
            "nat (inside,outside) source dynamic any interface\n",
            "nat (inside,outside) after-auto source dynamic X interface\n",
            "nat (inside,outside) after-auto source dynamic any interface\n"
        ),
        commands: concat!(
            "nat (inside,outside) 2 source static C C\n",
            "nat (inside,outside) after-auto 1 source dynamic X interface\n"
        ),
    },
    Row {
        what: "an order that means nothing is no difference",
        os: Os::Asa,
        running: concat!(
            "crypto ipsec profile A\n",
            " set pfs group14\n",
            "crypto ipsec profile B\n",
            " set pfs group19\n"
        ),
        intended: concat!(
            "crypto ipsec profile B\n",
            " set pfs group19\n",
            "crypto ipsec profile A\n",
            " set pfs group14\n"
        ),
        commands: "",
    },
    Row {
        what: "two ports change their addresses: one gives its own up first",
        os: Os::Ios,
        running: concat!(
            "interface Gi0/1\n",
            " ip address 1.1.1.1 255.0.0.0\n",
            "interface Gi0/2\n",
            " ip address 2.1.1.1 255.0.0.0\n"
        ),
        intended: concat!(
            "interface Gi0/1\n",
            " ip address 2.1.1.1 255.0.0.0\n",
            "interface Gi0/2\n",
            " ip address 1.1.1.1 255.0.0.0\n"
        ),
        commands: concat!(
            "interface Gi0/2\n",
            " no ip address 2.1.1.1 255.0.0.0\n",
            "interface Gi0/1\n",
            " ip address 2.1.1.1 255.0.0.0\n",
            "interface Gi0/2\n",
            " ip address 1.1.1.1 255.0.0.0\n"
        ),
    },
    Row {
        what: "a policy with its class is replaced where it is bound",
        os: Os::Ios,
        running: concat!(
            "class-map match-any A\n",
            " match dscp ef\n",
            "policy-map P1\n",
            " class A\n",
            "policy-map P2\n",
            " class A\n",
            "interface Gi0/1\n",
            " service-policy output P1\n"
        ),
        intended: concat!(
            "class-map match-any B\n",
            " match dscp ef\n",
            "policy-map P2\n",
            " class B\n",
            "interface Gi0/1\n",
            " service-policy output P2\n"
        ),
        commands: concat!(
            "class-map match-any B\n",
            " match dscp ef\n",
            "policy-map P2\n",
            " no class A\n",
            " class B\n",
            "interface Gi0/1\n",
            " no service-policy output P1\n",
            " service-policy output P2\n",
            "no policy-map P1\n",
            "no class-map match-any A\n"
        ),
    },
    Row {
        what: "a route map's clause is overwritten by its header",
        os: Os::Ios,
        running: concat!("route-map R permit 10\n", " match ip address 1\n"),
        intended: concat!("route-map R deny 10\n", " match ip address 1\n"),
        commands: "route-map R deny 10\n",
    },
    Row {
        what: "a list of another type under the same name",
        os: Os::Ios,
        running: concat!(
            "ip access-list standard Z\n",
            " permit any\n",
            "line vty 0 4\n",
            " access-class Z in\n"
        ),
        intended: concat!(
            "ip access-list extended Z\n",
            " permit ip any any\n",
            "line vty 0 4\n",
            " access-class Z in\n"
        ),
        commands: concat!(
            "no ip access-list standard Z\n",
            "ip access-list extended Z\n",
            " permit ip any any\n"
        ),
    },
];

#[test]
fn every_hazard_comes_to_commands_that_a_device_accepts() {
    for row in ROWS {
        let plan =
            diff(row.os, row.running, row.intended).unwrap_or_else(|error| panic!("{}: {error}", row.what));
        assert_eq!(plan.to_string(), row.commands, "{}", row.what);
        let mut device = Device::new(row.os, row.running);
        device.enter_all(row.commands).unwrap_or_else(|error| panic!("{}: {error}", row.what));
        let left = diff(row.os, &device.running(), row.intended).unwrap();
        assert!(left.is_empty(), "{}: {left}", row.what);
    }
}

/// What a device refuses, with a word of why.
const REFUSED: &[(Os, &str, &str, &str)] = &[
    (Os::Ios, "interface Gi0/1\n", "interface Gi0/1\n description\n", "Incomplete command"),
    (Os::Ios, "interface Gi0/1\n", "no interface GigabitEthernet0/1\n", "physical"),
    (
        Os::Ios,
        "interface Gi0/1\n description x\n",
        "interface Gi0/1\n no ip access-group X in\n",
        "there is no",
    ),
    (Os::Ios, "hostname a\n", "no username bob\n", "there is no"),
    (Os::Ios, "line vty 0 4\n transport input ssh\n", "no line vty 0 4\n", "Can't delete"),
    (
        Os::Ios,
        "ip access-list extended X\n 10 permit ip any any\n",
        "ip access-list extended X\n 10 deny ip any any\n",
        "Duplicate",
    ),
    (
        Os::Ios,
        "class-map match-any A\n match dscp ef\npolicy-map P\n class A\n",
        "no class-map match-any A\n",
        "used by",
    ),
    (
        Os::Ios,
        "interface Gi0/1\n service-policy output P\n",
        "interface Gi0/1\n service-policy output Q\n",
        "removed first",
    ),
    (
        Os::Ios,
        "interface Gi0/1\n ip address 10.0.0.1 255.0.0.0\ninterface Gi0/2\n",
        "interface Gi0/2\n ip address 10.0.0.1 255.0.0.0\n",
        "overlaps",
    ),
    (
        Os::Ios,
        "ip sla 1\n icmp-echo 192.0.2.1\nip sla schedule 1 life forever start-time now\n",
        "ip sla 1\n icmp-echo 192.0.2.2\n",
        "already running",
    ),
    (
        Os::Asa,
        "sla monitor 1\n type echo protocol ipIcmpEcho 192.0.2.1 interface outside\nsla monitor schedule 1 life forever start-time now\n",
        "sla monitor 1\n timeout 1000\n",
        "already running",
    ),
    (
        Os::Asa,
        "object network A\n host 10.0.0.1\naccess-list X extended permit ip object A any\n",
        "no object network A\n",
        "used by",
    ),
    (
        Os::Asa,
        "access-list X extended permit ip any any\n",
        "access-list X extended permit ip object B any\n",
        "does not exist",
    ),
    (
        Os::Asa,
        "access-list X extended permit ip any any\n",
        "no access-list X extended deny ip any any\n",
        "no such entry",
    ),
    (
        Os::Asa,
        "object-group network G\n network-object host 10.0.0.1\naccess-list X extended permit ip object-group G any\n",
        "object-group network G\n no network-object host 10.0.0.1\n",
        "would be empty",
    ),
    (
        Os::Asa,
        "route outside 0.0.0.0 0.0.0.0 10.0.0.1 1\n",
        "route outside 0.0.0.0 0.0.0.0 10.0.0.1 5\n",
        "removed first",
    ),
    (Os::Asa, "username a password xyz pbkdf2\n", "username a password ***** pbkdf2\n", "*****"),
];

#[test]
fn what_a_device_refuses_the_model_refuses() {
    for (os, running, commands, why) in REFUSED {
        let mut device = Device::new(*os, running);
        let refusal = device.enter_all(commands).expect_err(commands);
        assert!(refusal.reason.contains(why), "{commands}: {refusal}");
    }
}
