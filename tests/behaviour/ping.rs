//! Echoes to this machine, and to nobody.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{HOSTS, call, finish};
use crate::support::project::{NLRUN, Output, Project, until};

const FIELDS: &str = "`${r.sent} ${r.received} ${r.loss} ${r.min_ms.type_of()} ${r.address}`";

fn project(body: &str) -> Project {
    let text = format!("const NEEDS = [\"host.ping:*\"];\n{body}");
    Project::new().runbook("pings", &text).inventory(HOSTS)
}

fn comes_to(call_text: &str) -> String {
    let body = format!(
        "try {{ let r = {call_text}; print({FIELDS}) }} catch (e) {{ print(`${{e.kind}} ${{e.message}}`) }}"
    );
    call(&project(&body), ["run", "pings"]).success().stdout
}

/// Whether the kernel lets the tests' user ping; says that a test is skipped where it does not.
fn may_ping() -> bool {
    let may = !comes_to("ping(\"127.0.0.1\", #{ count: 1 })").contains("denied ");
    if !may {
        eprintln!("skipped: this user may not ping");
    }
    may
}

#[track_caller]
fn shows(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

#[test]
fn this_machine_answers_and_nobody_does_not() {
    if !may_ping() {
        return;
    }
    shows(&comes_to("ping(\"127.0.0.1\", #{ interval: \"10ms\" })"), "3 3 0.0 f64 127.0.0.1");
    shows(&comes_to("ping(\"127.0.0.1\", #{ count: 1 })"), "1 1 0.0 f64 127.0.0.1");
    // By the inventory: a host that is this machine.
    shows(&comes_to("ping(\"h1\", #{ count: 2, interval: \"10ms\" })"), "2 2 0.0 f64 ");
    shows(&comes_to("ping(host(\"h1\"), #{ count: 1 })"), "1 1 0.0 f64 ");
    if std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| text.contains(" lo")) {
        shows(&comes_to("ping(\"::1\", #{ count: 2, interval: \"10ms\" })"), "2 2 0.0 f64 ::1");
    } else {
        eprintln!("skipped: this machine has no IPv6");
    }
    let project = project("let r = ping(\"127.0.0.1\", #{ count: 1 }); print(`min ${r.min_ms}`);");
    let first = call(&project, ["run", "pings"]).success().stdout;
    let again = call(&project, ["replay", "1"]).success().stdout;
    let min = |text: &str| text.lines().find(|line| line.starts_with("min ")).unwrap().to_owned();
    assert_eq!(min(&first), min(&again));
}

#[test]
fn what_cannot_be_pinged_is_told() {
    shows(&comes_to("ping(\"nowhere.invalid\")"), "unreachable nowhere.invalid: unreachable: ");
    shows(&comes_to("ping(\"a b\")"), "invalid `a b` is neither a name of a host nor an address");
    shows(&comes_to("ping(\"127.0.0.1\", #{ count: 5000 })"), "sends at most 1000 echoes, not 5000");
    let output = call(&project("ping(7)"), ["run", "pings"]);
    shows(&output.stderr, "wants a host, a name or an address as `host`, got `7`");
    for (need, code) in
        [("host.ping:@web", 0), ("host.ping:h*", 0), ("host.ping:other", 1), ("host.ping:10.0.0.*", 1)]
    {
        let text = format!("const NEEDS = [\"{need}\"];\nping(\"h1\");");
        call(&Project::new().runbook("pings", &text).inventory(HOSTS), ["check", "pings"]).ends(code);
    }
    let text = "const NEEDS = [\"host.ping:10.0.0.*\"];\nping(\"10.0.0.7\");";
    call(&Project::new().runbook("pings", text), ["check", "pings"]).success();
}

/// Runs the runbook by a command of this machine's root; `None` for other users, and where the command is not there.
#[expect(clippy::disallowed_methods, reason = "a test changes what the kernel lets the program do")]
fn run_by(project: &Project, words: &[&str]) -> Option<Output> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let template = project.command(["run", "pings"]);
    let (first, rest) = words.split_first()?;
    let mut command = Command::new(first);
    command.args(rest).arg(NLRUN).args(template.get_args());
    command.env_clear().envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(project.root()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().ok().map(finish)
}

/// Runs it in a network of its own, which a line for the shell sets up before.
fn apart(project: &Project, line: &str) -> Option<Output> {
    let line = format!("ip link set lo up && {{ {line}; }} && exec \"$0\" \"$@\"");
    let output = run_by(project, &["unshare", "-n", "sh", "-c", &line])?;
    if output.stderr.contains("unshare:") || output.stderr.contains("sh:") {
        eprintln!("skipped: there is no network apart: {}", output.stderr);
        return None;
    }
    Some(output)
}

#[test]
fn no_answer_is_an_outcome_and_both_kinds_of_sockets_work() {
    let ping = |address: &str| {
        project(&format!(
            "let r = ping(\"{address}\", #{{ count: 2, interval: \"10ms\", timeout: \"200ms\" }}); print({FIELDS}); print(`trouble ${{r.trouble}}`)"
        ))
    };
    let ignore = "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all";
    let everybody = "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range";
    for (address, line, expected) in [
        ("127.0.0.1", "true".to_owned(), "2 2 0.0 f64 127.0.0.1"),
        ("127.0.0.1", everybody.to_owned(), "2 2 0.0 f64 127.0.0.1"),
        ("::1", everybody.to_owned(), "2 2 0.0 f64 ::1"),
        ("127.0.0.1", ignore.to_owned(), "2 0 100.0 () 127.0.0.1"),
        ("127.0.0.1", format!("{ignore} && {everybody}"), "2 0 100.0 () 127.0.0.1"),
        // Reserved for documentation (RFC 5737): no way leads there from a network without routes.
        ("192.0.2.1", "true".to_owned(), "2 0 100.0 () 192.0.2.1"),
    ] {
        let Some(output) = apart(&ping(address), &line) else {
            eprintln!("skipped: only root has a network apart");
            return;
        };
        let text = output.success().stdout;
        shows(&text, expected);
        if address.starts_with("192") {
            shows(&text, "trouble Network is unreachable");
        }
    }
}

#[test]
fn a_user_who_may_not_ping_is_told_which_setting_forbids_it() {
    let project = project("try { ping(\"127.0.0.1\") } catch (e) { print(`${e.kind} ${e.message}`) }");
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
    let limits: Vec<u32> = range.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let is_let = limits.first() <= limits.get(1);
    let words = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
    let Some(output) = Some(()).filter(|()| !is_let).and_then(|()| run_by(&project, &words)) else {
        eprintln!("skipped: the kernel lets this user ping, or nobody may forbid it");
        return;
    };
    let told = "denied 127.0.0.1: this user may not ping: `sysctl net.ipv4.ping_group_range`";
    shows(&output.success().stdout, told);
}

#[test]
fn a_cancelled_run_does_not_wait_for_answers() {
    if !may_ping() {
        return;
    }
    let project =
        project("warn(\"now\"); ping(\"192.0.2.1\", #{ count: 1000, interval: \"1s\", timeout: \"50s\" })");
    let child = project.spawn(["run", "pings"]);
    until("the run has begun", || {
        let log = call(&project, ["log", "1", "--json"]);
        log.stdout.contains("host.ping")
    });
    let begun = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child).ends(5);
    assert!(begun.elapsed() < Duration::from_secs(20));
}
