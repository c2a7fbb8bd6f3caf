//! The scheduler's rules over the whole tz database, against an oracle that only looks at the clock.
//!
//! A seeded generator chooses zones, entries and instants. `NLRUN_TEST_FUZZ=10` tries ten times as many, with other seeds.

mod command;
mod dice;
mod live;
mod oracle;
mod zones;

use dice::Dice;

/// How many times as many cases as usual are tried.
fn effort() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a person asks for more cases")]
    let wanted = std::env::var("NLRUN_TEST_FUZZ");
    wanted.ok().and_then(|wanted| wanted.parse().ok()).unwrap_or(1)
}

/// Calls with dice of as many seeds as there is effort.
fn each_seed(mut try_out: impl FnMut(&mut Dice)) {
    for seed in 0..effort() {
        try_out(&mut Dice::new(seed));
    }
}
