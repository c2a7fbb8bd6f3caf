//! Our commands beside those of `hier_config`, which the team uses today: both are fed into the model of the device. Where they part, a row of
//! `docs/decisions/cisco-hier-config.md` says why, and who is right; a difference without a row, and a row without a difference, fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nlrun::cisco::{Device, Os, diff};
use serde_json::{Value, json};

use super::device::python;
use super::generate::{Chance, configuration};
use super::hazards::ROWS;

/// Changes by chance, for each platform; each is taken whole, and step by step.
const CHANGES: u64 = 22;

/// Changes that no row of the hazards has, and that a general tool has trouble with, or has not.
const MORE: &[(&str, Os, &str, &str)] = &[
    ("another name for a device", Os::Ios, "hostname a\n", "hostname b\n"),
    (
        "another VLAN for a port",
        Os::Ios,
        "interface Gi0/1\n switchport access vlan 10\n",
        "interface Gi0/1\n switchport access vlan 20\n",
    ),
    (
        "another enable secret",
        Os::Ios,
        "hostname a\nenable secret 9 $9$aa\n",
        "hostname a\nenable secret 9 $9$bb\n",
    ),
    (
        "another list at the lines that we come in by",
        Os::Ios,
        "access-list 1 permit any\naccess-list 2 permit any\nline vty 0 4\n access-class 1 in\n",
        "access-list 1 permit any\naccess-list 2 permit any\nline vty 0 4\n access-class 2 in\n",
    ),
    (
        "another default route",
        Os::Ios,
        "ip route 0.0.0.0 0.0.0.0 192.0.2.1\n",
        "ip route 0.0.0.0 0.0.0.0 192.0.2.2\n",
    ),
    (
        "a description, an address, a port that is switched off",
        Os::Ios,
        "interface Gi0/1\n description a\n ip address 192.0.2.1 255.255.255.0\n",
        "interface Gi0/1\n description b\n ip address 192.0.2.2 255.255.255.0\n shutdown\n",
    ),
    (
        "a new section with its lines",
        Os::Ios,
        "hostname a\n",
        "hostname a\ninterface Loopback9\n description new\n ip address 192.0.2.9 255.255.255.255\n",
    ),
    (
        "nothing",
        Os::Ios,
        "hostname a\ninterface Gi0/1\n shutdown\n",
        "hostname a\ninterface Gi0/1\n shutdown\n",
    ),
];

/// How commands end on the model of a device.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// In what was intended, after so many lines.
    Arrives(usize),
    /// With a line that is refused, and why.
    Refused(String),
    /// In another configuration; the first words of what is left to do.
    Elsewhere(BTreeSet<String>),
    /// There are none: it could not read the configurations.
    Unread(String),
}

fn end(os: Os, running: &str, intended: &str, answer: &Value) -> End {
    if let Some(error) = answer["error"].as_str() {
        return End::Unread(error.to_owned());
    }
    let commands = answer["commands"].as_str().unwrap();
    let mut device = Device::new(os, running);
    if let Err(refusal) = device.enter_all(commands) {
        return End::Refused(general(&refusal.reason));
    }
    match diff(os, &device.running(), intended) {
        Ok(left) if left.is_empty() => End::Arrives(lines(commands).len()),
        Ok(left) => {
            let top = left.commands().filter(|command| command.depth == 0);
            End::Elsewhere(top.map(|command| begin(&command.text)).collect())
        }
        Err(error) => End::Elsewhere(BTreeSet::from([general(&error.to_string())])),
    }
}

/// The first words of a command, without names.
fn begin(command: &str) -> String {
    let command = command.strip_prefix("no ").unwrap_or(command);
    let words = command
        .split(' ')
        .take_while(|word| word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'));
    words.take(2).collect::<Vec<_>>().join(" ")
}

/// A reason without names and numbers.
fn general(reason: &str) -> String {
    let parts: Vec<&str> =
        reason.split('`').enumerate().filter(|(at, _)| at % 2 == 0).map(|(_, part)| part).collect();
    let words = parts.join("…");
    let is_word = |word: &&str| !word.contains(|letter: char| letter.is_ascii_digit()) && !word.contains('*');
    words.split(' ').filter(is_word).collect::<Vec<_>>().join(" ")
}

/// Commands without indentation, and without the words that only leave a section.
fn lines(commands: &str) -> Vec<&str> {
    let bare = commands.lines().map(str::trim);
    bare.filter(|line| !line.is_empty() && *line != "exit" && !line.starts_with("exit-")).collect()
}

fn asked(python: &Path, cases: &[Value]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cisco/compare.py");
    #[expect(clippy::disallowed_methods, reason = "a test runs a peer")]
    let mut child =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(cases).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The rows of the decision record: a difference, and how hier_config's commands end.
fn explained() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decisions/cisco-hier-config.md");
    let text = std::fs::read_to_string(path).unwrap();
    let cells = |line: &str| {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    let rows = text.lines().filter(|line| {
        line.starts_with("| ")
            && !line.starts_with("| Change")
            && !line.starts_with("| By chance")
            && !line.contains("|---|")
    });
    let mut found = BTreeMap::new();
    for row in rows.map(cells) {
        assert_eq!(row.len(), 3, "{row:?}");
        assert!(row[2].len() > 10, "a row says why: {row:?}");
        assert_eq!(found.insert(row[0].clone(), row[1].clone()), None, "twice: {}", row[0]);
    }
    found
}

fn verdict(theirs: &End, ours: usize) -> String {
    match theirs {
        End::Refused(reason) => format!("refused: {reason}"),
        End::Elsewhere(left) => {
            format!("ends elsewhere: {}", left.iter().cloned().collect::<Vec<_>>().join(", "))
        }
        End::Unread(error) => format!("cannot read it: {error}"),
        End::Arrives(count) if *count > ours => "arrives, with more lines".to_owned(),
        End::Arrives(count) if *count < ours => "arrives, with fewer lines".to_owned(),
        End::Arrives(_) => "arrives, by other lines".to_owned(),
    }
}

#[test]
fn where_we_part_from_hier_config_it_is_said_why() {
    let Some(python) = python("hier_config") else { return };
    let rows =
        ROWS.iter().map(|row| (row.what.to_owned(), row.os, row.running.to_owned(), row.intended.to_owned()));
    let more = MORE.iter().map(|(what, os, running, intended)| {
        ((*what).to_owned(), *os, (*running).to_owned(), (*intended).to_owned())
    });
    let mut cases: Vec<(String, Os, String, String)> = rows.chain(more).collect();
    let named = cases.len();
    for os in [Os::Ios, Os::Asa] {
        for seed in 0..CHANGES {
            let mut chance = Chance::new(seed + 1);
            let (running, intended) =
                (configuration(os, &mut chance, seed), configuration(os, &mut chance, seed));
            cases.push((format!("{os} {seed}"), os, running.clone(), intended.clone()));
            let mut device = Device::new(os, &running);
            let mut before = running.clone();
            for (number, block) in diff(os, &running, &intended).unwrap().blocks.iter().enumerate() {
                let lines: Vec<String> =
                    block.commands.iter().map(|command| format!("{command}\n")).collect();
                device.enter_all(&lines.concat()).unwrap();
                let after = device.running();
                cases.push((format!("{os} {seed}, step {number}"), os, before, after.clone()));
                before = after;
            }
        }
    }
    let asked_for: Vec<Value> = cases
        .iter()
        .map(|(_, os, running, intended)| json!({ "os": os, "running": running, "intended": intended }))
        .collect();
    let answers = asked(&python, &asked_for);
    let mut seen = BTreeMap::new();
    for (number, ((what, os, running, intended), answer)) in cases.iter().zip(&answers).enumerate() {
        let plan = diff(*os, running, intended).unwrap().to_string();
        let ours = json!({ "commands": plan });
        let arrived = end(*os, running, intended, &ours);
        assert_eq!(arrived, End::Arrives(lines(&plan).len()), "{what}: ours");
        let theirs = end(*os, running, intended, answer);
        if matches!(theirs, End::Arrives(_)) && lines(answer["commands"].as_str().unwrap()) == lines(&plan) {
            continue;
        }
        let verdict = verdict(&theirs, lines(&plan).len());
        if number < named {
            seen.insert(what.clone(), verdict);
            continue;
        }
        // By chance: each kind of difference once.
        match theirs {
            End::Elsewhere(left) => {
                seen.extend(left.iter().map(|what| (format!("{os}: {what}"), "ends elsewhere".to_owned())));
            }
            End::Arrives(_) => {
                let how = verdict.strip_prefix("arrives, ").unwrap_or_default();
                seen.insert(format!("{os}: the same end, {how}"), "arrives".to_owned());
            }
            End::Refused(reason) => {
                seen.insert(format!("{os}: {reason}"), "refused".to_owned());
            }
            End::Unread(error) => {
                seen.insert(format!("{os}: {error}"), "cannot read it".to_owned());
            }
        }
    }
    let explained = explained();
    let missing: Vec<_> = seen.iter().filter(|row| explained.get(row.0) != Some(row.1)).collect();
    let stale: Vec<_> = explained.iter().filter(|row| seen.get(row.0) != Some(row.1)).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "without a row: {missing:#?}\nrows without a difference: {stale:#?}"
    );
}
