//! A calendar of what would run: the decision core on a clock that jumps from event to event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::admission::{Limits, Started, Wait, Waiting, admit};
use super::calendar::Calendars;
use super::cursor::Cursor;
use super::decide::{Active, Facts, blocked, decide};
use super::decision::{Decision, Queued, Reason, State, Undelivered};
use super::definition::Schedule;
use crate::model::duration;
use crate::model::run::RunId;

/// What is simulated.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// The schedules.
    pub schedules: Vec<Schedule>,
    /// The calendars that they name.
    pub calendars: Calendars,
    /// How long a run takes, by schedule.
    pub durations: BTreeMap<String, Duration>,
    /// How long a run takes of which nothing is known.
    pub assumed: Duration,
    /// The locks that runbooks take, by schedule.
    pub locks: BTreeMap<String, Vec<String>>,
    /// Slots and locks.
    pub limits: Limits,
}

/// What would happen.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Simulation {
    /// Runs, by the time at which they start.
    pub runs: Vec<Simulated>,
    /// Instants without a run, with their schedule.
    pub undelivered: Vec<(String, Undelivered)>,
    /// Days on which clocks are moved.
    pub moved: Vec<MovedClock>,
    /// Stretches of the calendars that schedules name.
    pub blackouts: Vec<Blackout>,
    /// Whether there is more than is told: the simulation ends after 100,000 runs and rows.
    pub is_cut: bool,
}

/// A run that would happen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulated {
    /// The schedule.
    pub schedule: String,
    /// The instant.
    pub scheduled_at: Timestamp,
    /// When it was to fire.
    pub due_at: Timestamp,
    /// When it would start.
    pub started_at: Timestamp,
    /// When it would end.
    pub ended_at: Timestamp,
    /// What it waited for first: `slot`, `lock NAME`, `overlap`.
    pub waited_for: Option<String>,
    /// How many others go on when it starts.
    pub beside: usize,
    /// Whether the next run of its overlap key would end it.
    pub is_cancelled: bool,
}

/// A clock that is moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MovedClock {
    /// The instant.
    pub at: Timestamp,
    /// The day there.
    pub day: Date,
    /// The zone.
    pub tz: String,
    /// By how many seconds; forward is positive.
    pub seconds: i64,
}

/// A stretch of a calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blackout {
    /// The calendar.
    pub calendar: String,
    /// What it says.
    pub what: String,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

const MOST: usize = 100_000;

/// A run in the simulation.
struct Run {
    schedule: usize,
    queued: Queued,
    since: Timestamp,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    waited_for: Option<Wait>,
    beside: usize,
    is_cancelled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    // In this order at one moment.
    End(usize),
    Wake(usize),
}

/// Plays what would happen from one instant on and before another.
pub fn simulate(scenario: &Scenario, from: Timestamp, until: Timestamp) -> Simulation {
    let before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
    let mut play = Play {
        scenario,
        cursors: scenario.schedules.iter().map(|schedule| Cursor::new(schedule, before)).collect(),
        runs: Vec::new(),
        waiting: Vec::new(),
        started: Vec::new(),
        undelivered: Vec::new(),
        events: BinaryHeap::new(),
        successes: vec![(0, None); scenario.schedules.len()],
    };
    for (index, schedule) in scenario.schedules.iter().enumerate() {
        let calls =
            decide(schedule, Some(&play.cursors[index]), before, &Facts::default(), &scenario.calendars);
        play.events.extend(calls.wake.map(|wake| Reverse((wake, Event::Wake(index)))));
    }
    let mut is_cut = false;
    while let Some(Reverse((now, _))) = play.events.peek().copied() {
        if now >= until {
            break;
        }
        is_cut = play.runs.len() + play.undelivered.len() > MOST;
        if is_cut {
            break;
        }
        play.moment(now);
    }
    Simulation {
        undelivered: std::mem::take(&mut play.undelivered),
        moved: moved(scenario, from, until),
        blackouts: blackouts(scenario, from, until),
        runs: play.simulated(),
        is_cut,
    }
}

struct Play<'a> {
    scenario: &'a Scenario,
    cursors: Vec<Cursor>,
    runs: Vec<Run>,
    waiting: Vec<usize>,
    started: Vec<usize>,
    undelivered: Vec<(String, Undelivered)>,
    events: BinaryHeap<Reverse<(Timestamp, Event)>>,
    successes: Vec<(u64, Option<Timestamp>)>,
}

impl Play<'_> {
    fn schedule(&self, run: usize) -> &Schedule {
        &self.scenario.schedules[self.runs[run].schedule]
    }

    /// Does everything that happens at one instant.
    fn moment(&mut self, now: Timestamp) {
        // What ends makes room for those that wait before anything new comes.
        for is_end in [true, false] {
            while let Some(Reverse((at, event))) = self.events.peek().copied() {
                if at > now || matches!(event, Event::End(_)) != is_end {
                    break;
                }
                self.events.pop();
                match event {
                    Event::End(run) => self.end(run, now),
                    Event::Wake(schedule) => self.wake(schedule, now),
                }
            }
            self.admit(now);
        }
    }

    fn end(&mut self, run: usize, now: Timestamp) {
        // A run that was cancelled has ended before.
        if self.runs[run].ended.is_none() {
            self.runs[run].ended = Some(now);
            self.started.retain(|one| *one != run);
            let successes = &mut self.successes[self.runs[run].schedule];
            *successes = (successes.0 + 1, Some(now));
        }
    }

    fn wake(&mut self, index: usize, now: Timestamp) {
        let schedule = &self.scenario.schedules[index];
        let key = schedule.overlap_key();
        let (mut active, scenario) = (Vec::new(), self.scenario);
        for (runs, is_waiting) in [(&self.started, false), (&self.waiting, true)] {
            let same =
                runs.iter().filter(|run| scenario.schedules[self.runs[**run].schedule].overlap_key() == key);
            active.extend(same.map(|run| Active { run: RunId(*run as i64), is_waiting }));
        }
        let (successes, last_success) = self.successes[index];
        let facts = Facts { active, failures: 0, successes, last_success };
        let decided = decide(schedule, Some(&self.cursors[index]), now, &facts, &self.scenario.calendars);
        for decision in decided.decisions {
            match decision {
                Decision::Run(queued) => self.queue(index, queued, now),
                Decision::Undelivered(row) => self.undelivered.push((schedule.id.clone(), row)),
                Decision::Pause { .. } => {}
            }
        }
        self.cursors[index] = decided.cursor;
        // Nothing is decided twice at one moment, so that a wake in the past cannot hold up the clock.
        let soon = now.checked_add(SignedDuration::from_millis(1)).unwrap_or(now);
        self.events.extend(decided.wake.map(|wake| Reverse((wake.max(soon), Event::Wake(index)))));
    }

    fn queue(&mut self, schedule: usize, queued: Queued, now: Timestamp) {
        for RunId(other) in &queued.replaces {
            let other = *other as usize;
            self.waiting.retain(|run| *run != other);
            self.row(other, State::SkippedOverlap, Reason::Replaced);
        }
        for RunId(other) in &queued.cancels {
            let other = &mut self.runs[*other as usize];
            (other.ended, other.is_cancelled) = (Some(now), true);
        }
        self.started.retain(|run| self.runs[*run].ended.is_none());
        self.waiting.push(self.runs.len());
        self.runs.push(Run {
            schedule,
            queued,
            since: now,
            started: None,
            ended: None,
            waited_for: None,
            beside: 0,
            is_cancelled: false,
        });
    }

    /// Notes that a queued run does not start.
    fn row(&mut self, run: usize, state: State, reason: Reason) {
        let at = self.runs[run].queued.scheduled_at;
        let row = Undelivered { state, reason, first: at, last: at, count: 1 };
        self.undelivered.push((self.schedule(run).id.clone(), row));
    }

    fn locks(&self, run: usize) -> Vec<String> {
        let schedule = self.schedule(run);
        let more = self.scenario.locks.get(&schedule.id).into_iter().flatten();
        let all: BTreeSet<String> = schedule.locks.iter().chain(more).cloned().collect();
        all.into_iter().collect()
    }

    /// Starts what may start.
    fn admit(&mut self, now: Timestamp) {
        while !self.waiting.is_empty() {
            let waiting: Vec<Waiting> = self.waiting.iter().map(|run| self.as_waiting(*run)).collect();
            let started: Vec<Started> = self.started.iter().map(|run| self.as_started(*run)).collect();
            let answers = admit(&waiting, &started, &self.scenario.limits);
            let mut is_blocked = false;
            for (run, answer) in std::mem::take(&mut self.waiting).into_iter().zip(answers) {
                match answer {
                    Some(wait) => {
                        self.runs[run].waited_for.get_or_insert(wait);
                        self.waiting.push(run);
                    }
                    None => match blocked(self.schedule(run), now, &self.scenario.calendars) {
                        // It came in time and waited into the calendar.
                        Some((reason, _)) if self.runs[run].since < now => {
                            self.row(run, State::BlockedCalendar, reason);
                            is_blocked = true;
                        }
                        _ => self.start(run, now),
                    },
                }
            }
            if !is_blocked {
                break;
            }
        }
    }

    fn start(&mut self, run: usize, now: Timestamp) {
        let length =
            self.scenario.durations.get(&self.schedule(run).id).copied().unwrap_or(self.scenario.assumed);
        let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        self.runs[run].started = Some(now);
        self.runs[run].beside = self.started.len();
        self.started.push(run);
        // A run takes its time even where nothing is known of it.
        let end = now.checked_add(length.max(SignedDuration::from_millis(1))).unwrap_or(Timestamp::MAX);
        self.events.push(Reverse((end, Event::End(run))));
    }

    fn as_waiting(&self, run: usize) -> Waiting {
        let schedule = self.schedule(run);
        let Run { queued, since, .. } = &self.runs[run];
        Waiting {
            queue: schedule.queue.clone(),
            priority: schedule.priority,
            since: *since,
            overlap_key: schedule.overlap_key().to_owned(),
            behind: queued.behind,
            catch_up: queued.catch_up,
            locks: self.locks(run),
        }
    }

    fn as_started(&self, run: usize) -> Started {
        let Waiting { queue, overlap_key, catch_up, locks, .. } = self.as_waiting(run);
        Started { queue, overlap_key, catch_up, locks }
    }

    fn simulated(self) -> Vec<Simulated> {
        // What still goes on ends when it would.
        let mut ends: BTreeMap<usize, Timestamp> = BTreeMap::new();
        for Reverse((at, event)) in &self.events {
            if let Event::End(run) = event {
                ends.insert(*run, *at);
            }
        }
        let mut runs: Vec<Simulated> = Vec::new();
        for (index, run) in self.runs.iter().enumerate() {
            let Some(started_at) = run.started else { continue };
            runs.push(Simulated {
                schedule: self.schedule(index).id.clone(),
                scheduled_at: run.queued.scheduled_at,
                due_at: run.queued.due_at,
                started_at,
                ended_at: run.ended.or(ends.get(&index).copied()).unwrap_or(started_at),
                waited_for: run.waited_for.as_ref().map(|wait| match wait {
                    Wait::Slot => "slot".to_owned(),
                    Wait::Lock(name) => format!("lock {name}"),
                    Wait::Overlap => "overlap".to_owned(),
                    Wait::CatchUp => "catch-up".to_owned(),
                }),
                beside: run.beside,
                is_cancelled: run.is_cancelled,
            });
        }
        runs.sort_by(|one, other| (one.started_at, &one.schedule).cmp(&(other.started_at, &other.schedule)));
        runs
    }
}

impl Simulated {
    /// Returns how long it waits between its time and its start.
    pub fn wait(&self) -> Duration {
        Duration::try_from(self.started_at.duration_since(self.due_at)).unwrap_or_default()
    }

    /// Returns in words what it waits for and how long, when it waits.
    pub fn waiting(&self) -> Option<String> {
        let what = self.waited_for.as_ref()?;
        let whole = Duration::from_secs(self.wait().as_secs());
        Some(format!("{} for {what}", duration::text(whole)))
    }
}

fn moved(scenario: &Scenario, from: Timestamp, until: Timestamp) -> Vec<MovedClock> {
    let zones: BTreeMap<&str, &Schedule> =
        scenario.schedules.iter().map(|schedule| (schedule.tz.name(), schedule)).collect();
    let mut found = Vec::new();
    for (name, schedule) in zones {
        for (at, seconds) in schedule.tz.moves(from, until) {
            found.push(MovedClock { at, day: schedule.tz.civil(at).date(), tz: name.to_owned(), seconds });
        }
    }
    found.sort_by(|one, other| (one.at, &one.tz).cmp(&(other.at, &other.tz)));
    found
}

fn blackouts(scenario: &Scenario, from: Timestamp, until: Timestamp) -> Vec<Blackout> {
    let names: BTreeSet<&String> = scenario.schedules.iter().flat_map(|schedule| &schedule.not_in).collect();
    let mut found = Vec::new();
    for name in names {
        let Some(calendar) = scenario.calendars.get(name) else { continue };
        for (start, end, what) in calendar.stretches(from, until) {
            found.push(Blackout { calendar: name.clone(), what, from: start, until: end });
        }
    }
    found.sort_by(|one, other| (one.from, &one.calendar).cmp(&(other.from, &other.calendar)));
    found
}

#[cfg(test)]
#[path = "simulate_tests.rs"]
mod tests;
