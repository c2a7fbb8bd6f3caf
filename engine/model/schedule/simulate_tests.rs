//! Calendars of runs that can be checked by hand.

use super::*;
use crate::model::schedule::Calendar;
use crate::model::schedule::calendar::Span;
use crate::model::schedule::file::read;

fn at(text: &str) -> Timestamp {
    let text = if text.len() == 5 { format!("2027-06-01T{text}:00Z") } else { text.to_owned() };
    text.parse().expect("an instant")
}

fn scenario(text: &str, minutes: &[(&str, u64)]) -> Scenario {
    let read = read(text, "s.yaml", "s").unwrap_or_else(|errors| panic!("{errors:?}"));
    let minutes = minutes.iter().map(|(id, minutes)| ((*id).to_owned(), Duration::from_secs(minutes * 60)));
    Scenario {
        schedules: read.into_iter().map(|definition| definition.schedule).collect(),
        durations: minutes.collect(),
        assumed: Duration::from_secs(60),
        ..Scenario::default()
    }
}

fn words(simulation: &Simulation) -> Vec<String> {
    let clock = |at: Timestamp| at.strftime("%H:%M").to_string();
    let word = |run: &Simulated| {
        let wait = run.waiting().map(|wait| format!(", {wait}")).unwrap_or_default();
        let end = if run.is_cancelled { ", cancelled" } else { "" };
        format!("{} {}-{}{wait}{end}", run.schedule, clock(run.started_at), clock(run.ended_at))
    };
    simulation.runs.iter().map(word).collect()
}

fn rows(simulation: &Simulation) -> Vec<String> {
    let row = |(id, row): &(String, Undelivered)| {
        format!("{id} {} {}", row.first.strftime("%H:%M"), row.state.as_str())
    };
    simulation.undelivered.iter().map(row).collect()
}

#[test]
fn runs_overlap_and_wait() {
    let text = "
schedules:
  a: {runbook: a, cron: '*/20 * * * *', tz: UTC, locks: [db]}
  b: {runbook: b, cron: '0 * * * *', tz: UTC, locks: [db]}
";
    let scenario = scenario(text, &[("a", 25), ("b", 10)]);
    let found = simulate(&scenario, at("02:00"), at("03:00"));
    // `a` starts first and holds the lock; at 02:20 it still runs; at 02:40 it is the turn of the next.
    assert_eq!(words(&found), ["a 02:00-02:25", "b 02:25-02:35, 25m for lock db", "a 02:40-03:05"]);
    assert_eq!(rows(&found), ["a 02:20 skipped_overlap"]);
    assert_eq!(found.runs[1].beside, 0);
    assert!(!found.is_cut);
    // What a runbook locks counts, too, and two may hold a lock that allows it.
    let mut free = scenario.clone();
    free.limits.locks.insert("db".to_owned(), 2);
    assert_eq!(words(&simulate(&free, at("02:00"), at("02:10"))), ["a 02:00-02:25", "b 02:00-02:10"]);
    free.locks.insert("b".to_owned(), vec!["certs".to_owned()]);
    free.locks.insert("a".to_owned(), vec!["certs".to_owned()]);
    assert_eq!(words(&simulate(&free, at("02:00"), at("02:10"))), ["a 02:00-02:25"]);
}

#[test]
fn queues_have_slots_and_policies() {
    let text = "
schedules:
  a: {runbook: a, cron: '*/10 * * * *', tz: UTC, overlap: queue_one}
  b: {runbook: b, cron: '0 * * * *', tz: UTC, priority: 90}
";
    let mut scenario = scenario(text, &[("a", 25), ("b", 5)]);
    scenario.limits.default_slots = 1;
    let found = simulate(&scenario, at("02:00"), at("03:00"));
    assert_eq!(
        words(&found),
        [
            "b 02:00-02:05",
            "a 02:05-02:30, 5m for slot",
            "a 02:30-02:55, 10m for overlap",
            "a 02:55-03:20, 5m for overlap"
        ]
    );
    assert_eq!(
        rows(&found),
        ["a 02:10 skipped_overlap", "a 02:30 skipped_overlap", "a 02:40 skipped_overlap"]
    );
    let text = "schedules:\n  a: {runbook: a, cron: '*/10 * * * *', tz: UTC, overlap: cancel_running}\n";
    let scenario = self::scenario(text, &[("a", 25)]);
    assert_eq!(
        words(&simulate(&scenario, at("02:00"), at("02:25"))),
        ["a 02:00-02:10, cancelled", "a 02:10-02:20, cancelled", "a 02:20-02:45"]
    );
}

#[test]
fn calendars_and_moved_clocks_are_told() {
    let text = "
schedules:
  a: {runbook: a, cron: '30 2 * * *', tz: Europe/Amsterdam, not_in: [freeze], locks: [x]}
  b: {runbook: b, cron: '0 * * * *', tz: UTC}
";
    let mut scenario = scenario(text, &[]);
    let freeze = Span::once("no changes", at("2027-03-29T00:00:00Z"), at("2027-03-30T00:00:00Z"));
    scenario.calendars.insert("freeze".to_owned(), Calendar::new("", vec![freeze]));
    scenario.schedules.truncate(1);
    let found = simulate(&scenario, at("2027-03-27T00:00:00Z"), at("2027-03-31T00:00:00Z"));
    assert_eq!(words(&found), ["a 01:30-01:31", "a 01:00-01:01", "a 00:30-00:31"]);
    assert_eq!(rows(&found), ["a 00:30 blocked_calendar"]);
    let day = "2027-03-28".parse().unwrap();
    assert_eq!(
        found.moved,
        [MovedClock {
            at: at("2027-03-28T01:00:00Z"),
            day,
            tz: "Europe/Amsterdam".to_owned(),
            seconds: 3600
        }]
    );
    assert_eq!(found.blackouts.len(), 1);
    assert_eq!(
        (found.blackouts[0].what.as_str(), found.blackouts[0].until),
        ("no changes", at("2027-03-30T00:00:00Z"))
    );
}

#[test]
fn a_run_that_waits_into_a_calendar_does_not_start() {
    let text = "
schedules:
  a: {runbook: a, cron: '0 2 * * *', tz: UTC, locks: [db], priority: 90}
  b: {runbook: b, cron: '0 2 * * *', tz: UTC, locks: [db], not_in: [freeze]}
  c: {runbook: c, cron: '0 2 * * *', tz: UTC, locks: [db], priority: 10}
";
    let mut scenario = scenario(text, &[("a", 25)]);
    let freeze = Span::once("", at("02:20"), at("03:00"));
    scenario.calendars.insert("freeze".to_owned(), Calendar::new("", vec![freeze]));
    let found = simulate(&scenario, at("02:00"), at("03:00"));
    assert_eq!(words(&found), ["a 02:00-02:25", "c 02:25-02:26, 25m for lock db"]);
    assert_eq!(rows(&found), ["b 02:00 blocked_calendar"]);
}

#[test]
fn a_simulation_ends() {
    let text = "schedules:\n  a: {runbook: a, cron: '* * * * * *', tz: UTC, overlap: allow}\n";
    let mut scenario = scenario(text, &[]);
    scenario.limits.default_slots = 100;
    scenario.assumed = Duration::ZERO;
    let found = simulate(&scenario, at("2027-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z"));
    assert!(found.is_cut && found.runs.len() > 99_000, "{}", found.runs.len());
}
