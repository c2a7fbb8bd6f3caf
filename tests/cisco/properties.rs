//! What holds for every pair of configurations, tried on many by chance. `NLRUN_TEST_FUZZ=N` tries N times as many.

use nlrun::cisco::{Device, Os, Tree, diff, guard, invert};

use super::generate::{Chance, configuration};

fn rounds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how long a test tries")]
    let more = std::env::var("NLRUN_TEST_FUZZ").ok().and_then(|text| text.parse::<u64>().ok());
    150 * more.unwrap_or(1)
}

#[test]
fn a_plan_ends_in_what_was_intended_and_its_inverse_leads_back() {
    for os in Os::ALL {
        for seed in 0..rounds() {
            let mut chance = Chance::new(seed + 1);
            let running = configuration(os, &mut chance, seed);
            let intended = configuration(os, &mut chance, seed);
            let place = format!("{os} {seed}\n--- running\n{running}--- intended\n{intended}");
            guard(os, &running).unwrap();
            assert_eq!(Tree::read(os, &running).to_string(), running);
            assert!(diff(os, &running, &running).unwrap().is_empty(), "{place}");
            let mut plan = diff(os, &running, &intended).unwrap_or_else(|error| panic!("{error}\n{place}"));
            invert(os, &running, &mut plan).unwrap();
            let mut device = Device::new(os, &running);
            device.enter_all(&plan.to_string()).unwrap_or_else(|error| panic!("{error}\n{plan}\n{place}"));
            let after = device.running();
            let left = diff(os, &after, &intended).unwrap();
            assert!(left.is_empty(), "left:\n{left}\nof:\n{plan}\n{place}");
            // Back again, block by block.
            for block in plan.blocks.iter().rev() {
                let lines: String =
                    block.inverse.iter().map(|command| format!("{command}\n")).collect::<Vec<_>>().concat();
                device.enter_all(&lines).unwrap_or_else(|error| panic!("{error}\n{lines}\n{place}"));
            }
            let left = diff(os, &device.running(), &running).unwrap();
            assert!(left.is_empty(), "not back:\n{left}\nof:\n{plan}\n{place}");
        }
    }
}

#[test]
fn no_step_of_a_plan_leaves_a_bound_access_list_empty() {
    for seed in 0..rounds() {
        let mut chance = Chance::new(seed + 1);
        let (running, intended) =
            (configuration(Os::Asa, &mut chance, seed), configuration(Os::Asa, &mut chance, seed));
        let plan = diff(Os::Asa, &running, &intended).unwrap();
        let mut device = Device::new(Os::Asa, &running);
        for command in plan.commands() {
            device.enter(&command.text, None).unwrap();
            let now = device.running();
            for line in now.lines().filter(|line| line.starts_with("access-group ")) {
                let name = line.split(' ').nth(1).unwrap();
                let begin = format!("access-list {name} extended ");
                assert!(
                    now.lines().any(|line| line.starts_with(&begin)),
                    "{seed}: {name} is empty after {command}\n{plan}"
                );
            }
        }
    }
}

#[test]
fn every_text_is_read_and_printed_as_it_is() {
    let words = [
        "interface Gi0/1",
        " ip address 1.1.1.1",
        "banner motd ^C",
        "\t",
        "!",
        "quit",
        " certificate ca 01",
        "  AB CD",
        "end",
        "\r",
        "é",
        "no no no",
        "vlan 1-999999999",
        "line vty 0 99999999",
        "access-list",
    ];
    for os in Os::ALL {
        for seed in 0..rounds() * 4 {
            let mut chance = Chance::new(seed);
            let mut text = String::new();
            for _ in 0..chance.below(30) {
                text.push_str(words[chance.below(words.len())]);
                text.push_str(["\n", "\r\n", " \n", ""][chance.below(4)]);
            }
            assert_eq!(Tree::read(os, &text).to_string(), text);
            // Whatever it says, nothing panics, and nothing hangs.
            let _ = diff(os, &text, "hostname x\n");
            let _ = diff(os, "hostname x\n", &text);
            let _ = Device::new(os, &text).enter_all(&text);
        }
    }
}

#[test]
fn what_means_the_same_is_no_difference() {
    for os in [Os::Ios, Os::Asa] {
        for seed in 0..rounds() {
            let mut chance = Chance::new(seed + 1);
            let text = configuration(os, &mut chance, seed);
            let crlf = text.replace('\n', "\r\n");
            assert!(diff(os, &text, &crlf).unwrap().is_empty());
            let spaced: String =
                text.lines().map(|line| format!("{line}  \n!\n")).collect::<Vec<_>>().concat();
            if !text.contains("banner") {
                let plan = diff(os, &text, &spaced).unwrap();
                assert!(plan.is_empty(), "{plan}{text}");
            }
            let headed = format!("! Last configuration change at 10:00:00 UTC Mon Mar 1 2027 by ann\n{text}");
            assert!(diff(os, &text, &headed).unwrap().is_empty());
        }
    }
}
