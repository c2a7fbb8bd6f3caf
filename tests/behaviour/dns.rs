//! Questions to a small DNS server, and to ports where none is.

use std::net::UdpSocket;

use super::call;
use crate::support::names::Names;
use crate::support::project::Project;

fn project(body: &str) -> Project {
    Project::new().runbook("asks", &format!("const NEEDS = [\"dns.query:*\"];\n{body}"))
}

/// Runs a script that prints what an answer says, or the kind of the failure and its message.
fn comes_to(port: u16, name: &str, options: &str) -> String {
    let body = format!(
        "try {{
            let a = dns_query(\"{name}\", #{{ server: \"127.0.0.1:{port}\", {options} }});
            let text = a.code;
            for one in a.answers {{ text += `|${{one.name}} ${{one.ttl}} ${{one.type}} ${{one.data}}` }}
            print(`${{text}}|${{a.authoritative}}`)
        }} catch (e) {{ print(`${{e.kind}} ${{e.message}}`) }}"
    );
    call(&project(&body), ["run", "asks"]).success().stdout
}

#[track_caller]
fn shows(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

#[test]
fn each_type_is_read_as_zone_files_write_it() {
    let names = Names::start();
    for (name, kind, expected) in [
        (
            "www.example.com",
            "A",
            "NOERROR|www.example.com 300 CNAME web.example.com|web.example.com 300 A 192.0.2.7|true",
        ),
        ("WWW.example.com.", "aaaa", "NOERROR|WWW.example.com 300 AAAA 2001:db8::7|false"),
        ("example.com", "MX", "NOERROR|example.com 300 MX 10 mail.example.com|"),
        ("example.com", "TXT", "NOERROR|example.com 300 TXT v=spf1 -all \u{fffd}|"),
        ("_ldap._tcp.example.com", "SRV", "SRV 0 5 389 dc1.example.com|"),
        ("example.com", "NS", "NS ns1.example.com|"),
        ("192.0.2.7", "PTR", "NOERROR|7.2.0.192.in-addr.arpa 300 PTR web.example.com|"),
        ("example.com", "SOA", "SOA ns1.example.com admin.example.com 7 3600 600 86400 60|"),
        ("example.com", "CAA", "CAA 0 issue ca.example.net|"),
        ("empty.example.com", "A", "NOERROR|false"),
        ("nothing.example.com", "A", "NXDOMAIN|false"),
        ("broken.example.com", "A", "SERVFAIL|false"),
    ] {
        shows(&comes_to(names.port, name, &format!("type: \"{kind}\"")), expected);
    }
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_over_tcp_and_a_lost_one_again() {
    let names = Names::start();
    let text = comes_to(names.port, "large.example.com", "");
    shows(&text, "|large.example.com 300 A 192.0.2.199|");
    assert_eq!(names.questions(), ["udp A large.example.com", "tcp A large.example.com"]);
    shows(&comes_to(names.port, "twice.example.com", ""), "192.0.2.9");
    assert_eq!(names.questions().len(), 4);
}

#[test]
fn no_answer_is_told_from_a_wrong_one() {
    let names = Names::start();
    shows(&comes_to(names.port, "forged.example.com", ""), "NOERROR|forged.example.com 300 A 192.0.2.8|");
    for (name, options, expected) in [
        (
            "silent.example.com",
            "timeout: \"300ms\"",
            "timed_out silent.example.com: timed out after 0.3 s: 127.0.0.1:",
        ),
        ("garbage.example.com", "", "protocol garbage.example.com: protocol: the answer of 127.0.0.1:"),
        ("other.example.com", "", "answers another question"),
        ("a..b", "", "invalid a..b: `a..b` is not a name that DNS can have"),
        ("10.0.0.1", "", "only `PTR` is asked for addresses"),
        ("example.com", "type: \"ANY\"", "`ANY` is no type of records"),
    ] {
        shows(&comes_to(names.port, name, options), expected);
    }
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    shows(&comes_to(closed, "example.com", ""), "refused example.com: refused by 127.0.0.1:");
    let output =
        call(&project("dns_query(\"a\", #{ server: \"dns.example.com\" })"), ["run", "asks"]).ends(1);
    shows(&output.stderr, "`server` is an address, with or without a port, not `dns.example.com`");
    let output = call(&project("let n = 7; dns_query(n)"), ["run", "asks"]);
    assert_ne!(output.code, 0);
    shows(&output.stderr, "`dns_query`");
}

#[test]
fn needs_name_names_and_a_replay_asks_nobody() {
    let names = Names::start();
    let text = format!(
        "const NEEDS = [\"dns.query:*.example.com\"];
         let options = #{{ server: \"127.0.0.1:{}\" }};
         print(dns_query(\"www.example.com\", options).answers[1].data);",
        names.port
    );
    let project = Project::new().runbook("asks", &text);
    shows(&call(&project, ["run", "asks"]).success().stdout, "192.0.2.7");
    shows(&call(&project, ["replay", "1"]).success().stdout, "192.0.2.7");
    assert_eq!(names.questions().len(), 1);
    project.write("runbooks/asks.rhai", &text.replace("www.example.com", "www.example.org"));
    shows(&call(&project, ["check", "asks"]).ends(1).stderr, "dns.query:www.example.org");
}
