//! The live scheduler on a real run log, by clocks that the test sets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nlrun::model::run::{Status, Trigger};
use nlrun::model::schedule::clock::Reading;
use nlrun::service::{Alarm, Allowance, Dispatcher, Here, InForce, Scheduler, Veto};
use nlrun::store::{Options, Store};

use crate::support::project::Project;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Both clocks, `seconds` after a beginning.
struct Clocks {
    wall: Timestamp,
    steady: Duration,
}

impl Clocks {
    fn new(wall: &str) -> Self {
        Self { wall: at(wall), steady: Duration::from_secs(1000) }
    }

    fn reading(&self) -> Reading {
        Reading { wall: self.wall, steady: self.steady }
    }

    /// Time passes.
    fn pass(&mut self, seconds: i64) -> Reading {
        self.wall += SignedDuration::from_secs(seconds);
        self.steady += Duration::from_secs(seconds as u64);
        self.reading()
    }

    /// Somebody sets the wall clock.
    fn set(&mut self, seconds: i64) {
        self.wall += SignedDuration::from_secs(seconds);
    }
}

struct World {
    project: Project,
    store: Store,
}

impl World {
    fn new(schedule: &str) -> Self {
        let project = Project::new()
            .runbook("quick", "//! Nothing.\nconst NEEDS = [];\n1\n")
            .file("schedules/quick.yaml", schedule);
        let store = Store::open(&project.path(".nlrun"), &Options::default()).unwrap();
        Self { project, store }
    }

    fn scheduler(&self) -> Scheduler {
        Scheduler::new(&self.store, Arc::new(Here(self.project.root())), InForce::default()).unwrap()
    }

    /// The instants that became runs.
    fn runs(&self) -> Vec<Timestamp> {
        let reader = self.store.reader().unwrap();
        let rows = reader.runs(&nlrun::store::Filter { limit: 10_000, ..Default::default() }).unwrap();
        let mut instants: Vec<Timestamp> = rows
            .iter()
            .filter_map(|row| match reader.order(row.id).unwrap()?.trigger {
                Trigger::Schedule { scheduled_at, .. } => Timestamp::from_microsecond(scheduled_at).ok(),
                _ => None,
            })
            .collect();
        instants.sort();
        instants
    }

    /// What became of instants that are no runs: state and reason.
    fn others(&self) -> Vec<(String, String)> {
        let fates = self.store.reader().unwrap().fates(None, None, 1000).unwrap();
        fates.into_iter().filter(|fate| fate.state != "run").map(|fate| (fate.state, fate.reason)).collect()
    }
}

const EVERY_MINUTE: &str =
    "runbook: quick\ncron: '* * * * *'\ntz: UTC\noverlap: allow\nmisfire: all\nstart_deadline: 1h\n";

#[test]
fn a_new_schedule_fires_for_nothing_that_is_past_and_then_at_each_instant_once() {
    let world = World::new(EVERY_MINUTE);
    let mut clocks = Clocks::new("2027-05-01T10:00:30Z");
    let mut scheduler = world.scheduler();
    assert!(scheduler.turn(clocks.reading()).unwrap().queued.is_empty());
    let mut wakes = Vec::new();
    for _ in 0..20 {
        let turn = scheduler.turn(clocks.pass(9)).unwrap();
        wakes.push(turn.wake.unwrap());
    }
    let expected = [at("2027-05-01T10:01:00Z"), at("2027-05-01T10:02:00Z"), at("2027-05-01T10:03:00Z")];
    assert_eq!(world.runs(), expected);
    assert!(wakes.contains(&at("2027-05-01T10:04:00Z")), "{wakes:?}");
    assert_eq!(world.others(), []);
}

#[test]
fn stopped_and_started_at_any_moment_it_decides_the_same() {
    // P4: with `misfire: all`, a restart at any instant changes nothing.
    let whole = World::new(EVERY_MINUTE);
    let (mut clocks, mut scheduler) = (Clocks::new("2027-05-01T10:00:00Z"), whole.scheduler());
    scheduler.turn(clocks.reading()).unwrap();
    for _ in 0..60 {
        scheduler.turn(clocks.pass(10)).unwrap();
    }
    let expected = whole.runs();
    assert_eq!(expected.len(), 10);
    for stop in 1..12 {
        let world = World::new(EVERY_MINUTE);
        let mut clocks = Clocks::new("2027-05-01T10:00:00Z");
        let mut scheduler = world.scheduler();
        scheduler.turn(clocks.reading()).unwrap();
        for turn in 0..60 {
            clocks.pass(10);
            // Every few turns the server is away for a while, and then another one is there.
            if turn % stop == 0 {
                scheduler = world.scheduler();
            } else if turn % (stop + 3) != 0 {
                scheduler.turn(clocks.reading()).unwrap();
            }
        }
        scheduler.turn(clocks.reading()).unwrap();
        assert_eq!(world.runs(), expected, "restarted every {stop} turns");
    }
}

#[test]
fn who_has_lost_the_lead_fires_nothing_any_more() {
    // P5: two schedulers on one store never make two runs of one instant.
    let world = World::new(EVERY_MINUTE);
    let mut clocks = Clocks::new("2027-05-01T10:00:30Z");
    let mut first = world.scheduler();
    first.turn(clocks.reading()).unwrap();
    let mut second = world.scheduler();
    second.turn(clocks.reading()).unwrap();
    clocks.pass(60);
    let refused = first.turn(clocks.reading());
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(world.runs(), []);
    second.turn(clocks.reading()).unwrap();
    // What is decided already is nothing to fight about; the next instant is.
    let _ = first.turn(clocks.reading());
    assert_eq!(world.runs().len(), 1);
    clocks.pass(60);
    assert!(first.turn(clocks.reading()).is_err());
    second.turn(clocks.reading()).unwrap();
    let instants: BTreeSet<Timestamp> = world.runs().into_iter().collect();
    assert_eq!(instants.len(), 2);
    assert_eq!(world.runs().len(), 2);
}

#[test]
fn a_clock_that_is_set_fires_nothing_twice_and_nothing_in_a_storm() {
    let world = World::new(EVERY_MINUTE);
    let mut clocks = Clocks::new("2027-05-01T10:00:30Z");
    let mut scheduler = world.scheduler();
    scheduler.turn(clocks.reading()).unwrap();
    scheduler.turn(clocks.pass(60)).unwrap();
    assert_eq!(world.runs().len(), 1);
    // Two minutes back: what is decided stays decided.
    clocks.set(-120);
    for _ in 0..12 {
        scheduler.turn(clocks.pass(10)).unwrap();
    }
    assert_eq!(world.runs().len(), 1, "{:?}", world.runs());
    scheduler.turn(clocks.pass(60)).unwrap();
    assert_eq!(world.runs().len(), 2);
    // Six hours forward: nothing of them fires, and people are told.
    clocks.set(6 * 3600);
    let turn = scheduler.turn(clocks.pass(1)).unwrap();
    assert!(
        turn.alarms.iter().any(
            |alarm| matches!(alarm, Alarm::ClockJump { seconds } if (21_599..=21_601).contains(seconds))
        ),
        "{:?}",
        turn.alarms
    );
    assert_eq!(world.runs().len(), 2);
    scheduler.turn(clocks.pass(60)).unwrap();
    assert_eq!(world.runs().len(), 3);
    // An hour forward is late, and goes through the policy: all that were missed within the deadline.
    let world = World::new("runbook: quick\ncron: '*/10 * * * *'\ntz: UTC\noverlap: allow\n");
    let (mut clocks, mut scheduler) = (Clocks::new("2027-05-01T10:05:00Z"), world.scheduler());
    scheduler.turn(clocks.reading()).unwrap();
    clocks.set(3600);
    let turn = scheduler.turn(clocks.pass(1)).unwrap();
    assert_eq!(world.runs(), []);
    assert_eq!(world.others().len(), 6, "{:?}", world.others());
    assert_eq!(turn.alarms.len(), 6, "{:?}", turn.alarms);
}

#[test]
fn an_edited_schedule_fires_for_nothing_that_is_past_and_a_broken_one_stays_as_it_was() {
    let world = World::new(EVERY_MINUTE);
    let mut clocks = Clocks::new("2027-05-01T10:00:30Z");
    let mut scheduler = world.scheduler();
    scheduler.turn(clocks.reading()).unwrap();
    world.project.write("schedules/quick.yaml", "runbook: quick\ncron: '* * * *'\ntz: UTC\n");
    let turn = scheduler.turn(clocks.pass(31)).unwrap();
    assert!(
        matches!(turn.alarms.as_slice(), [Alarm::Unusable { why }] if why.contains("schedules/quick.yaml:2")),
        "{:?}",
        turn.alarms
    );
    assert_eq!(world.runs(), [at("2027-05-01T10:01:00Z")]);
    world.project.write(
        "schedules/quick.yaml",
        "runbook: quick\ncron: '1-59/2 * * * *'\ntz: UTC\noverlap: allow\nmisfire: all\n",
    );
    // Read at 10:06:01, when 10:03 and 10:05 are past.
    clocks.pass(300);
    scheduler.turn(clocks.reading()).unwrap();
    let before = world.runs();
    scheduler.turn(clocks.pass(60)).unwrap();
    let after: Vec<Timestamp> = world.runs().into_iter().filter(|one| !before.contains(one)).collect();
    assert_eq!(after, [at("2027-05-01T10:07:00Z")]);
}

#[test]
fn schedules_of_one_key_that_are_due_together_see_each_other() {
    let one = "runbook: quick\ncron: '* * * * *'\ntz: UTC\noverlap: skip\noverlap_key: both\n";
    let world = World::new(one);
    world.project.write("schedules/other.yaml", one);
    let (mut clocks, mut scheduler) = (Clocks::new("2027-05-01T10:00:30Z"), world.scheduler());
    scheduler.turn(clocks.reading()).unwrap();
    scheduler.turn(clocks.pass(31)).unwrap();
    assert_eq!(world.runs(), [at("2027-05-01T10:01:00Z")]);
    let others = world.others();
    assert!(matches!(&others[..], [(state, _)] if state == "skipped_overlap"), "{others:?}");
}

#[test]
fn a_deferred_instant_is_one_row_whatever_becomes_of_it() {
    let world = World::new(
        "runbook: quick\ncron: '0 * * * *'\ntz: UTC\noverlap: allow\nnot_in: [freeze]\nblocked: defer_to_end\n",
    );
    world.project.write("calendars/freeze.yaml", "tz: UTC\nwindows:\n  - {cron: 30 10 * * *, for: 2h}\n");
    let (mut clocks, mut scheduler) = (Clocks::new("2027-05-01T10:15:00Z"), world.scheduler());
    let rows = || {
        let mut rows = world.store.reader().unwrap().fates(None, None, 1000).unwrap();
        rows.sort_by_key(|row| row.instant);
        let clock = |row: &nlrun::store::Fate| Timestamp::from_microsecond(row.instant).unwrap().to_string();
        rows.iter().map(|row| format!("{} {}", &clock(row)[11..16], row.state)).collect::<Vec<_>>()
    };
    let mut expected = vec![
        ("11:00", vec!["11:00 deferred"]),
        ("12:00", vec!["11:00 blocked_calendar", "12:00 deferred"]),
        ("12:30", vec!["11:00 blocked_calendar", "12:00 run"]),
    ]
    .into_iter();
    let mut next = expected.next();
    for _ in 0..10 {
        scheduler.turn(clocks.reading()).unwrap();
        let now = clocks.wall.to_string();
        if let Some((time, wanted)) = &next
            && now[11..16] == **time
        {
            assert_eq!(rows(), *wanted, "at {time}");
            next = expected.next();
        }
        clocks.pass(15 * 60);
    }
    assert!(next.is_none());
    assert_eq!(world.runs(), [at("2027-05-01T12:00:00Z")]);
}

#[test]
fn of_many_runs_that_are_too_late_each_round_ends_a_part() {
    let world = World::new(EVERY_MINUTE);
    let mut clocks = Clocks::new("2026-01-01T00:00:30Z");
    let mut scheduler = world.scheduler();
    for _ in 0..231 {
        scheduler.turn(clocks.pass(60)).unwrap();
    }
    let here = Arc::new(Here(world.project.root()));
    let dispatcher = Dispatcher::new(&world.store, here, Allowance::default()).unwrap();
    let veto: Veto = Box::new(|_| None);
    let mut ended = Vec::new();
    for expected in [100, 100, 30, 0] {
        let round = dispatcher.round(&veto).unwrap();
        assert_eq!((round.given_up.len(), round.started.len()), (expected, 0));
        ended.extend(round.given_up);
    }
    let reader = world.store.reader().unwrap();
    for run in &ended {
        let summary = reader.run(*run).unwrap().summary;
        let error = format!("{:?}", summary.error);
        assert_eq!(summary.status, Status::Stopped);
        assert!(error.contains("it was not started before its deadline"), "{error}");
        assert_eq!(reader.verify(*run).unwrap().broken, None);
    }
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), 230);
}
