//! A scheduler on a clock that is turned by hand, with a store that keeps what a transaction would.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use nlrun::model::schedule::{
    Calendars, Cursor, Decision, Facts, RunKey, Schedule, State, decide, read, zone,
};

use super::dice::Dice;
use super::each_seed;

/// What outlives a crash.
#[derive(Default)]
struct Store {
    cursors: BTreeMap<String, Cursor>,
    /// Runs by their key, as the unique index has them.
    runs: BTreeMap<RunKey, (String, Timestamp)>,
    undelivered: Vec<(String, Timestamp, u64)>,
}

impl Store {
    /// Decides about a schedule and keeps it, all at once; returns when to ask again.
    fn decide(&mut self, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
        let decided =
            decide(schedule, self.cursors.get(&schedule.id), now, &Facts::default(), &Calendars::new());
        self.keep(schedule, decided.decisions);
        self.cursors.insert(schedule.id.clone(), decided.cursor);
        decided.wake
    }

    fn keep(&mut self, schedule: &Schedule, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Run(run) => {
                    self.runs.entry(run.key).or_insert((schedule.id.clone(), run.scheduled_at));
                }
                Decision::Undelivered(row) if row.state != State::Deferred => {
                    self.undelivered.push((schedule.id.clone(), row.first, row.count));
                }
                Decision::Undelivered(_) | Decision::Pause { .. } => {}
            }
        }
    }

    fn instants(&self, schedule: &Schedule) -> Vec<Timestamp> {
        let mut found: Vec<Timestamp> =
            self.runs.values().filter(|(id, _)| *id == schedule.id).map(|(_, instant)| *instant).collect();
        found.sort_unstable();
        found
    }
}

/// Makes a schedule with a few instants a day.
fn schedule(dice: &mut Dice, zones: &[String], more: &str) -> Schedule {
    let zone = dice.one(zones);
    let when = match dice.from(1, 4) {
        1 => format!("every: {}m", dice.from(7, 300)),
        2 => format!("cron: '*/{} * * * *'", dice.from(5, 30)),
        3 => format!("cron: '{} {} * * *'", dice.from(0, 59), dice.from(0, 4)),
        _ => format!("cron: '{},{} */{} * * *'", dice.from(0, 29), dice.from(30, 59), dice.from(1, 6)),
    };
    let jitter = if dice.once_in(2) { format!("jitter: {}m\n", dice.from(1, 90)) } else { String::new() };
    let text = format!("runbook: a\ntz: {zone}\n{when}\n{jitter}{more}");
    read(&text, "s.yaml", "s").unwrap_or_else(|errors| panic!("{text}{errors:?}")).remove(0).schedule
}

/// An instant in the days before a clock of this zone is moved.
fn start(dice: &mut Dice, schedule: &Schedule) -> Timestamp {
    let from: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    let moves = schedule.tz.moves(from, from + SignedDuration::from_hours(24 * 400));
    let at = if moves.is_empty() { from } else { dice.one(&moves).0 };
    at - SignedDuration::from_secs(dice.from(0, 150_000))
}

#[test]
fn the_preview_is_what_fires() {
    // P6: woken when it asked to be, and now and then for nothing.
    let zones = zone::names();
    each_seed(|dice| {
        for _ in 0..150 {
            let schedule = schedule(dice, &zones, "overlap: allow\n");
            let start = start(dice, &schedule);
            let preview: Vec<(Timestamp, Timestamp)> = schedule.upcoming(start).take(12).collect();
            let mut store = Store::default();
            let (mut now, mut wake, mut fired) = (start, store.decide(&schedule, start), Vec::new());
            while fired.len() < preview.len() {
                let early = now + SignedDuration::from_secs(dice.from(1, 3000));
                now = wake.map_or(early, |wake| wake.min(early)).max(now);
                let before = store.instants(&schedule);
                wake = store.decide(&schedule, now);
                fired.extend(
                    store.instants(&schedule).into_iter().skip(before.len()).map(|instant| (instant, now)),
                );
            }
            assert_eq!(fired, preview, "{schedule:?}");
            assert!(store.undelivered.is_empty());
        }
    });
}

#[test]
fn a_restart_changes_nothing_when_all_are_caught_up() {
    // P4, with kills before and after the store was written.
    let zones = zone::names();
    each_seed(|dice| {
        for _ in 0..200 {
            let schedule = schedule(dice, &zones, "misfire: all\nstart_deadline: 30d\noverlap: allow\n");
            let start = start(dice, &schedule);
            let end = start + SignedDuration::from_hours(30);
            let mut store = Store::default();
            store.decide(&schedule, start);
            let mut now = start;
            while now < end {
                // Up for a while, and then down for a while.
                for _ in 0..dice.from(1, 40) {
                    now = (now + SignedDuration::from_secs(dice.from(0, 60))).min(end);
                    if dice.once_in(20) {
                        // Killed before the transaction: neither rows nor cursor are there.
                        let _ = decide(
                            &schedule,
                            store.cursors.get("s"),
                            now,
                            &Facts::default(),
                            &Calendars::new(),
                        );
                    } else {
                        store.decide(&schedule, now);
                    }
                }
                now = (now + SignedDuration::from_secs(dice.from(0, 8 * 3600))).min(end);
            }
            store.decide(&schedule, end);
            let due: Vec<Timestamp> = schedule
                .upcoming(start)
                .take_while(|(_, due)| *due <= end)
                .map(|(instant, _)| instant)
                .collect();
            let missed: u64 = store.undelivered.iter().map(|(_, _, count)| count).sum();
            // A hundred are caught up at once; whatever is beyond is told.
            assert_eq!(store.instants(&schedule).len() as u64 + missed, due.len() as u64, "{schedule:?}");
            if missed == 0 {
                assert_eq!(store.instants(&schedule), due, "{schedule:?}");
            }
        }
    });
}

#[test]
fn two_schedulers_on_one_store_run_nothing_twice() {
    // P5: each with a cursor of its own that may be old, and a clock of its own that may be wrong.
    let zones = zone::names();
    each_seed(|dice| {
        for _ in 0..100 {
            let policy = *dice.one(&["skip", "once", "all"]);
            let schedule =
                schedule(dice, &zones, &format!("misfire: {policy}\nstart_deadline: 2h\noverlap: allow\n"));
            let start = start(dice, &schedule);
            let mut store = Store::default();
            store.decide(&schedule, start);
            let mut cursors = [store.cursors["s"].clone(), store.cursors["s"].clone()];
            let (mut now, mut decided) = (start, Vec::new());
            for _ in 0..300 {
                now += SignedDuration::from_secs(dice.from(0, 400));
                let which = dice.from(0, 1) as usize;
                let clock = now + SignedDuration::from_secs(dice.from(-100, 100));
                let fold =
                    decide(&schedule, Some(&cursors[which]), clock, &Facts::default(), &Calendars::new());
                decided.extend(fold.decisions.iter().filter_map(|decision| match decision {
                    Decision::Run(run) => Some((run.key.clone(), run.scheduled_at)),
                    Decision::Undelivered(_) | Decision::Pause { .. } => None,
                }));
                store.keep(&schedule, fold.decisions);
                cursors[which] = fold.cursor;
                if dice.once_in(10) {
                    // It reads the cursor of the store, which is the other's.
                    cursors[which] = cursors[1 - which].clone();
                }
            }
            let mut instants = store.instants(&schedule);
            let count = instants.len();
            instants.dedup();
            assert_eq!(instants.len(), count, "two runs for one instant: {schedule:?}");
            // The key is what tells: both mean the same run, and never another.
            for (key, instant) in decided {
                assert_eq!(store.runs[&key].1, instant);
                assert_eq!(key, schedule.key(instant));
            }
        }
    });
}
