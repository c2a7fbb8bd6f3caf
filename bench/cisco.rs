//! How long a comparison of two configurations takes, and a reading: `cisco FOLDER` reads the pairs that `cisco.py` wrote there.
#![allow(clippy::print_stdout, reason = "a program that measures and prints")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use nlrun::cisco::{Os, Tree, diff};

/// The middle of several rounds, each of as many repetitions as fill 50 ms.
fn measured(work: impl Fn()) -> Duration {
    work();
    let mut rounds: Vec<Duration> = (0..9)
        .map(|_| {
            let (begin, mut count) = (Instant::now(), 0);
            while begin.elapsed() < Duration::from_millis(50) {
                work();
                count += 1;
            }
            begin.elapsed() / count
        })
        .collect();
    rounds.sort();
    rounds[rounds.len() / 2]
}

fn main() {
    let folder = std::env::args().nth(1).expect("the folder with the pairs");
    for name in ["asa", "ios-1000", "ios-10000", "ios-100000"] {
        let os = if name == "asa" { Os::Asa } else { Os::Ios };
        let read = |side: &str| {
            std::fs::read_to_string(Path::new(&folder).join(format!("{name}.{side}"))).expect("a pair")
        };
        let (running, intended) = (read("running"), read("intended"));
        let plan = diff(os, &running, &intended).expect("a plan");
        let whole = measured(|| drop(black_box(diff(os, &running, &intended))));
        let tree = measured(|| drop(black_box(Tree::read(os, &running))));
        println!("{name} {} {} {}", whole.as_nanos(), tree.as_nanos(), plan.commands().count());
    }
}
