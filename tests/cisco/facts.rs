//! Lines that overwrite each other, family by family: a new value is one command, and never a `no` before it.

use std::collections::HashMap;

use nlrun::cisco::facts::{ANY, Facts, Kind, ScopeId, TOP};
use nlrun::cisco::{Node, Os, Tree, diff, guard, validate};

use super::generate::{Chance, configuration};

/// A line of the table: its platform, its section (nothing for the top), its words, and two values.
struct Line {
    os: Os,
    section: &'static str,
    words: &'static str,
    values: [&'static str; 2],
}

impl Line {
    /// The configuration that is the line with a value.
    fn with(&self, value: &str) -> String {
        match self.section {
            "" => format!("{}{value}\n", self.words),
            section => format!("{section}\n {}{value}\n", self.words),
        }
    }
}

fn overwritten() -> Vec<Line> {
    let (mut os, mut section) = (Os::Ios, "");
    let mut lines = Vec::new();
    for line in include_str!("overwritten.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            None => {
                let (platform, header) = line.split_once(' ').unwrap();
                (os, section) = (platform.parse().unwrap(), if header == "top" { "" } else { header });
            }
            Some(line) => {
                let [words, a, b] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
                lines.push(Line { os, section, words, values: [a, b] });
            }
        }
    }
    assert!(lines.len() > 400, "the table is read");
    lines
}

/// What a line of the table may name, under two names: ASA takes no line that names what is not there.
const NAMED: &str = "access-list A extended permit ip any any\naccess-list B extended permit ip any any\ncrypto ipsec ikev1 transform-set A esp-aes\ncrypto ipsec ikev1 transform-set B esp-aes\ncrypto ipsec ikev2 ipsec-proposal A\ncrypto ipsec ikev2 ipsec-proposal B\ncrypto ipsec profile A\ncrypto ipsec profile B\ncrypto ca trustpoint A\ncrypto ca trustpoint B\npolicy-map A\npolicy-map B\ngroup-policy A internal\ngroup-policy B internal\nip local pool A 10.0.0.1-10.0.0.9\nip local pool B 10.0.1.1-10.0.1.9\n";

#[test]
fn a_new_value_overwrites() {
    let mut wrong = Vec::new();
    for line in overwritten() {
        let named = if line.os == Os::Asa { NAMED } else { "" };
        let [old, new] = line.values.map(|value| line.with(value));
        let plan = diff(line.os, &format!("{named}{old}"), &format!("{named}{new}"));
        let told = plan.map_or_else(|error| error.to_string(), |plan| plan.to_string());
        if told != new {
            wrong.push(format!("{} {}: {}", line.os, new.replace('\n', " / "), told.replace('\n', " / ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A line that is there or not is a difference, unless it says what the device does anyway.
#[test]
fn a_line_that_is_lost_is_a_difference() {
    const ANYWAY: &[&str] = &["keepalive", "exec"];
    let mut wrong = Vec::new();
    let mut look = |os: Os, whole: &str, without: &str, line: &str| {
        let is_seen = |a: &str, b: &str| diff(os, a, b).is_ok_and(|plan| plan.is_empty());
        if !ANYWAY.contains(&line.trim()) && (is_seen(whole, without) || is_seen(without, whole)) {
            wrong.push(format!("{os}: {line}"));
        }
    };
    for (os, text) in &apart() {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for (at, line) in lines.iter().enumerate() {
            let without: String =
                lines.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, line)| *line).collect();
            // A section's own line is no line that could be lost alone.
            if lines.get(at + 1).is_none_or(|next| indent(next) <= indent(line)) {
                look(*os, text, &without, line);
            }
        }
    }
    for line in overwritten() {
        let head =
            if line.section.is_empty() { "hostname x\n".to_owned() } else { format!("{}\n", line.section) };
        let whole = line.with(line.values[0]);
        let whole = if line.section.is_empty() { format!("{head}{whole}") } else { whole };
        look(line.os, &whole, &head, &whole);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_no_rule_knows_is_compared_all_the_same() {
    let whole =
        |line: &str| format!("hostname a\nnew-thing of tomorrow\n first\n deeper thing\n  {line}\n third\n");
    for (os, a, b, commands) in [
        (
            Os::Ios,
            whole("level 1"),
            whole("level 2"),
            "new-thing of tomorrow\n deeper thing\n  level 2\n  no level 1\n",
        ),
        (Os::Asa, whole("level 1"), "hostname a\n".to_owned(), "no new-thing of tomorrow\n"),
        (
            Os::Ap,
            "hostname a\n".to_owned(),
            whole("level 1"),
            "new-thing of tomorrow\n first\n third\n deeper thing\n  level 1\n",
        ),
    ] {
        let plan = diff(os, &a, &b).unwrap_or_else(|error| panic!("{os}: {error}"));
        assert_eq!(plan.to_string(), commands, "{os}");
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The lines of a configuration that overwrite each other: each with its section, and the key by which its rule knows it.
fn keys(os: Os, text: &str) -> Vec<(String, String, String)> {
    fn add(
        os: Os,
        nodes: &[Node<'_>],
        scope: ScopeId,
        above: &str,
        found: &mut Vec<(String, String, String)>,
    ) {
        let facts = Facts::of(os).scope(scope);
        for node in nodes.iter().filter(|node| !node.is_trivia()) {
            let words: Vec<&str> = node.head.strip_prefix("no ").unwrap_or(&node.head).split(' ').collect();
            let rule = facts.rule(&words);
            if let Some((rule, fit)) = &rule
                && matches!(rule.kind, Kind::Single | Kind::Replaces | Kind::On | Kind::Off | Kind::Section)
            {
                let key = format!("{} {}", rule.id, fit.key.join(" "));
                found.push((above.to_owned(), node.head.to_string(), key));
            }
            let inner = rule.map_or(ANY, |(rule, _)| rule.inner);
            add(os, &node.children, inner, &format!("{above} {}", node.head), found);
        }
    }
    let mut found = Vec::new();
    add(os, &Tree::read(os, text).nodes, TOP, "", &mut found);
    found
}

/// Lines of different rules below one section, each of which is about something else: no rule may take two of them for one.
#[test]
fn two_lines_of_one_section_never_share_a_key() {
    let mut wrong = Vec::new();
    let all = Os::ALL
        .into_iter()
        .flat_map(|os| (0..40).map(move |seed| (os, configuration(os, &mut Chance::new(seed + 1), seed))));
    let written = LAB.iter().map(|(os, text)| (*os, (*text).to_owned())).chain(apart());
    for (os, text) in all.chain(written) {
        let mut seen: HashMap<String, String> = HashMap::new();
        for (section, line, key) in keys(os, &text) {
            if let Some(other) = seen.insert(format!("{section} / {key}"), line.clone())
                && other != line
            {
                wrong.push(format!("{os}: `{other}` and `{line}` below `{section}`"));
            }
        }
    }
    wrong.sort_unstable();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The devices of the lab.
const LAB: &[(Os, &str)] = &[
    (Os::Ios, include_str!("../../engine/lab/project/network/rtr01")),
    (Os::Ios, include_str!("../../engine/lab/project/network/sw01")),
    (Os::Ap, include_str!("../../engine/lab/project/network/ap01")),
    (Os::Asa, include_str!("../../engine/lab/project/network/fw01")),
    (Os::Asa, include_str!("../../engine/lab/project/network/fw02")),
];

#[test]
fn the_devices_of_the_lab_are_whole_and_right() {
    for (os, text) in LAB {
        guard(*os, text).unwrap();
        assert_eq!(validate(*os, text, &[]), []);
        assert!(diff(*os, text, text).unwrap().is_empty());
        // Built from nothing, line by line.
        let bare = if *os == Os::Asa { "hostname x\nnames\n" } else { "hostname x\n" };
        diff(*os, bare, text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
}

/// Sections that keep their lines apart by words that are easily left out of a key.
fn apart() -> Vec<(Os, String)> {
    let parts = include_str!("apart.txt").split("# ").skip(1);
    parts
        .map(|part| part.split_once('\n').unwrap())
        .map(|(os, text)| (os.parse().unwrap(), text.to_owned()))
        .collect()
}
