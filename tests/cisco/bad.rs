//! Texts that no device has printed so: cut off anywhere, noise, tabs, and very many lines. Nothing panics, and nothing becomes a deletion.

use std::fmt::Write as _;

use nlrun::cisco::{
    Access, Console, Device, Drift, Faults, Machine, Os, Outline, Severity, diff, drift, guard, guard_pair,
    validate,
};

use super::generate::{Chance, configuration};

const OS: [Os; 3] = Os::ALL;

/// A configuration as a device prints it.
fn printed(os: Os, seed: u64) -> String {
    let text = configuration(os, &mut Chance::new(seed + 1), seed);
    match os {
        Os::Asa => text,
        Os::Ios | Os::Ap => format!("Building configuration...\n\nCurrent configuration : 99 bytes\n{text}"),
    }
}

#[test]
fn a_text_that_is_cut_off_anywhere_is_refused() {
    for os in OS {
        let whole = printed(os, 4);
        guard(os, &whole).unwrap();
        // What a device says last: of what follows, nothing is of the configuration.
        let last = whole.rfind(if os == Os::Asa { "Cryptochecksum:" } else { "end\n" }).unwrap();
        let ends: Vec<usize> = (0..last).filter(|at| whole.is_char_boundary(*at)).collect();
        for at in ends {
            let cut = &whole[..at];
            assert!(
                guard(os, cut).is_err() || guard_pair(os, cut, &whole).is_err(),
                "{os}: cut behind {:?}",
                &cut[cut.len().saturating_sub(40)..]
            );
        }
        // And without the lines that say that a device has printed it.
        let bare = configuration(os, &mut Chance::new(5), 4).replace(": Saved\n:\n", "");
        let lines: Vec<&str> = bare.split_inclusive('\n').collect();
        for count in 4..lines.len() - 2 {
            let cut = lines[..count].concat();
            assert!(guard_pair(os, &cut, &bare).is_err(), "{os}: {count} lines");
            assert!(matches!(drift(os, &cut, &bare), Drift::Unknown { .. }), "{os}: {count} lines");
        }
    }
}

#[test]
fn noise_is_no_configuration() {
    for os in OS {
        let whole = configuration(os, &mut Chance::new(9), 8);
        for seed in 0..200 {
            let mut chance = Chance::new(seed + 1);
            let bytes: Vec<u8> = (0..chance.below(400)).map(|_| chance.below(256) as u8).collect();
            let text = String::from_utf8_lossy(&bytes);
            if !bytes.is_empty() && std::str::from_utf8(&bytes).is_err() {
                assert!(guard(os, &text).is_err(), "{bytes:?}");
                assert!(matches!(drift(os, &text, &whole), Drift::Unknown { .. }));
                assert!(validate(os, &text, &[]).iter().any(|one| one.severity == Severity::Critical));
            }
            let _ = (diff(os, &text, &whole), diff(os, &whole, &text), Outline::read(os, &text));
            let _ = Device::new(os, &whole).enter_all(&text);
            // Noise in the middle of what is good.
            let at = whole.char_indices().map(|(at, _)| at).nth(chance.below(whole.len() / 2)).unwrap_or(0);
            let spoilt = format!("{}{text}{}", &whole[..at], &whole[at..]);
            let _ = (drift(os, &spoilt, &whole), diff(os, &whole, &spoilt));
            // And at a terminal.
            let mut machine = Machine::new(os, &whole);
            let access = Access { login: ("ann".to_owned(), "pw".to_owned()), enable: None };
            let (mut console, _) = Console::open(1, &machine, access, Faults::default());
            for lines in [b"configure terminal\r".as_slice(), &bytes, b"\rend\rshow running-config\r", &bytes]
            {
                console.feed(&mut machine, lines);
            }
        }
    }
}

#[test]
fn tabs_and_other_ends_of_lines_say_nothing() {
    for os in OS {
        for seed in 0..20 {
            let text = configuration(os, &mut Chance::new(seed + 1), seed);
            if text.contains("banner") {
                continue;
            }
            let indented = |line: &str| {
                let bare = line.trim_start();
                let free = bare.starts_with("description")
                    || bare.starts_with("remark")
                    || bare.contains(" remark ");
                let words = if free { bare.to_owned() } else { bare.replace(' ', "\t") };
                format!("{}{words}\t \r\n", "\t".repeat(line.len() - bare.len()))
            };
            let tabbed: String = text.lines().map(indented).collect::<Vec<_>>().concat();
            let plan = diff(os, &text, &tabbed).unwrap();
            assert!(plan.is_empty(), "{plan}{tabbed}");
        }
    }
}

#[test]
fn blanks_that_are_somebody_s_text_count() {
    for [a, b] in [
        ["interface Gi0/1\n description a b\n", "interface Gi0/1\n description a  b\n"],
        [
            "event manager applet A\n action 1 cli command \"a b\"\n",
            "event manager applet A\n action 1 cli command \"a  b\"\n",
        ],
    ] {
        assert!(!diff(Os::Ios, a, b).unwrap().is_empty(), "{b}");
        assert!(diff(Os::Ios, b, &b.replace("description a", "description \ta")).unwrap().is_empty(), "{b}");
    }
}

#[test]
fn a_hundred_thousand_lines_end_in_time() {
    let mut text = String::from("hostname a\n");
    for number in 0..25_000 {
        let (a, b) = (number / 250, number % 250);
        writeln!(text, "interface Loopback{number}\n description number {number}\n ip address 10.{a}.{b}.1 255.255.255.255\n!").unwrap();
    }
    text.push_str("end\n");
    assert!(text.lines().count() > 100_000);
    let other = text.replace("description number 24000\n", "description another\n");
    let began = std::time::Instant::now();
    let plan = diff(Os::Ios, &text, &other).unwrap();
    assert_eq!(plan.to_string(), "interface Loopback24000\n description another\n");
    assert_eq!(Outline::read(Os::Ios, &text).below(0).len(), 25_002);
    assert_eq!(validate(Os::Ios, &text, &[]), []);
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[test]
fn a_thousand_sections_within_each_other_are_no_thousand_calls() {
    for os in OS {
        let deep: String =
            (0..1000).map(|depth| format!("{:depth$}section {depth}\n", "")).collect::<Vec<_>>().concat();
        let more = format!("{deep}{}description deepest\n", " ".repeat(1000));
        assert!(!diff(os, &deep, &more).is_ok_and(|plan| plan.is_empty()), "{os}: it is a difference");
        let _ = (Outline::read(os, &more), validate(os, &more, &[]));
        let _ = Device::new(os, "hostname a\n").enter_all(&more);
    }
}
