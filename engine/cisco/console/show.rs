//! What a device shows.

use super::super::Os;
use super::super::guard::is_end;
use super::super::tree::Tree;
use super::super::view::without_secret;
use super::commands::{INVALID, is_short_for};
use super::machine::time;
use super::{Console, Machine, Mode};

impl Console {
    pub(super) fn show(&mut self, machine: &Machine, line: &str, words: &[&str]) {
        let is = |word: usize, whole: &str| words.get(word).is_some_and(|word| is_short_for(word, whole));
        let is_privileged = self.mode != Mode::User;
        let is_asa = machine.os == Os::Asa;
        let text = if is(1, "running-config") && is_privileged {
            Some(shown(machine, &machine.running()))
        } else if is(1, "startup-config") && is_privileged {
            Some(shown(machine, machine.startup()))
        } else if is(1, "version") {
            Some(version(machine))
        } else if is(1, "privilege") && !is_asa {
            Some(format!("Current privilege level is {}\n", if is_privileged { 15 } else { 1 }))
        } else if is(1, "curpriv") && is_asa {
            let level = if is_privileged { 15 } else { 1 };
            let user = self.user();
            Some(format!("Username : {user}\nCurrent privilege level : {level}\nCurrent Mode/s : P_PRIV\n"))
        } else if is(1, "clock") {
            Some("10:00:00.000 UTC Mon Mar 1 2027\n".to_owned())
        } else if is(1, "checksum") && is_asa {
            let sum = format!("{:x}", md5::compute(machine.running().as_bytes()));
            let words = [&sum[..8], &sum[8..16], &sum[16..24], &sum[24..]];
            Some(format!("Cryptochecksum: {}\n", words.join(" ")))
        } else if is(1, "archive") && !is_asa && is_privileged {
            archive(machine, words)
        } else if is(1, "hosts") && !is_asa {
            Some(hosts(machine))
        } else if is(1, "ip") && is(2, "interface") && words.get(3).is_some_and(|word| word.starts_with("br"))
        {
            Some(interfaces(machine))
        } else {
            None
        };
        let Some(text) = text else { return self.refuse(machine, line, INVALID) };
        let text = match line.split_once(" | ") {
            Some((_, filter)) => filtered(&text, filter),
            None => text,
        };
        self.screen.show(&text, more(machine.os));
    }
}

fn archive(machine: &Machine, words: &[&str]) -> Option<String> {
    let none = || "%Error opening the file (No such file or directory)\n".to_owned();
    if words.contains(&"incremental-diffs") {
        return Some(machine.more_in(words.get(4)?).unwrap_or_else(none));
    }
    if words.contains(&"differences") {
        let (a, b) = (words.get(4)?, words.get(5).unwrap_or(&"system:running-config"));
        return Some(machine.differences([a, b]).unwrap_or_else(none));
    }
    if words.contains(&"timer") {
        return Some(match &machine.revert {
            Some(revert) => format!(
                "Time configured(or reconfigured): {}\nTimer type: absolute timer\nTimer value: {} min\nUser: {}\n",
                time(0),
                revert.minutes,
                revert.user
            ),
            None => "%No Rollback Confirmed Change pending\n".to_owned(),
        });
    }
    Some(if machine.has_archive() {
        "The maximum archive configurations allowed is 10.\n".to_owned()
    } else {
        "Archive feature not enabled\n".to_owned()
    })
}

fn hosts(machine: &Machine) -> String {
    let text = machine.running();
    let domain = text.lines().find_map(|line| {
        line.strip_prefix("ip domain name ").or_else(|| line.strip_prefix("ip domain-name "))
    });
    format!("Default domain is {}\nName/address lookup uses domain service\n", domain.unwrap_or("not set"))
}

fn interfaces(machine: &Machine) -> String {
    let text = machine.running();
    let tree = Tree::read(machine.os, &text);
    let mut lines = format!(
        "{:<23}{:<16}{:<4}{:<7}{:<22}Protocol\n",
        "Interface", "IP-Address", "OK?", "Method", "Status"
    );
    for node in &tree.nodes {
        let Some(name) = node.head.strip_prefix("interface ") else { continue };
        let has = |head: &str| node.children.iter().any(|child| child.head == head);
        let address = node.children.iter().find_map(|child| child.head.strip_prefix("ip address "));
        let address = address.and_then(|rest| rest.split(' ').next()).unwrap_or("unassigned");
        let (status, protocol) =
            if has("shutdown") { ("administratively down", "down") } else { ("up", "up") };
        lines.push_str(&format!("{name:<23}{address:<16}YES NVRAM  {status:<22}{protocol}\n"));
    }
    lines
}

/// `| include WORDS`, `| begin WORDS`, `| exclude WORDS`.
fn filtered(text: &str, filter: &str) -> String {
    let (kind, words) = filter.trim().split_once(' ').unwrap_or((filter, ""));
    let has = |line: &&str| words.split('|').any(|word| line.contains(word.trim_matches('^')));
    let lines: Vec<&str> = match kind.chars().next() {
        Some('b') => text.lines().skip_while(|line| !has(line)).collect(),
        Some('e') => text.lines().filter(|line| !has(line)).collect(),
        _ => text.lines().filter(has).collect(),
    };
    lines.join("\n") + "\n"
}

/// What stands below a page.
pub(super) fn more(os: Os) -> &'static str {
    if os == Os::Asa { "<--- More --->" } else { " --More-- " }
}

/// What `show running-config` prints: with a head and an end, and on ASA without secrets.
fn shown(machine: &Machine, text: &str) -> String {
    let mut body = text.trim_end().to_owned();
    body.push('\n');
    let has_end = is_end(machine.os, text);
    if machine.os == Os::Asa {
        let masked = body.lines().map(without_secret).collect::<Vec<_>>().join("\n") + "\n";
        let head = if masked.starts_with(": Saved") { "" } else { ": Saved\n\n:\n" };
        return format!("{head}{masked}{}", if has_end { "" } else { ": end\n" });
    }
    let head = if body.starts_with("Building") {
        String::new()
    } else {
        let moved = |what: &str, at: &Option<(u64, String)>| {
            let text = at.as_ref().map(|(count, user)| format!("! {what} at {} by {user}\n", time(*count)));
            text.unwrap_or_default()
        };
        let changed = match machine.changed {
            Some(_) => moved("Last configuration change", &machine.changed),
            None => "! No configuration change since last restart\n".to_owned(),
        };
        let saved = moved("NVRAM config last updated", &machine.saved);
        format!(
            "Building configuration...\n\nCurrent configuration : {} bytes\n!\n{changed}{saved}",
            body.len()
        )
    };
    format!("{head}{body}{}", if has_end { "" } else { "end\n" })
}

fn version(machine: &Machine) -> String {
    let name = machine.name();
    match machine.os {
        Os::Asa => format!(
            "\nCisco Adaptive Security Appliance Software Version 9.16(4)\nDevice Manager Version 7.18(1)\n\n{name} up 1 day 2 hours\n\nHardware:   ASA5508, 8192 MB RAM\nSerial Number: JAD000000AA\n"
        ),
        Os::Ap => format!(
            "Cisco IOS Software, C3700 Software (AP3G2-K9W7-M), Version 15.3(3)JF, RELEASE SOFTWARE (fc1)\n\n{name} uptime is 1 day, 2 hours\n\ncisco AIR-CAP3702I-E-K9 (PowerPC) processor (revision A0) with 376810K/134656K bytes of memory.\nProcessor board ID FGL000000AA\n"
        ),
        Os::Ios => format!(
            "Cisco IOS XE Software, Version 16.12.04\nCisco IOS Software, ISR Software (X86_64_LINUX_IOSD-UNIVERSALK9-M), Version 16.12.4, RELEASE SOFTWARE (fc5)\n\n{name} uptime is 1 day, 2 hours\n\ncisco ISR4321/K9 (1RU) processor with 1795999K/6147K bytes of memory.\nProcessor board ID FDO000000AA\n"
        ),
    }
}
