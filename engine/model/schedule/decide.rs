//! The decision core: what becomes of every instant up to now. A pure fold over cursors.
//!
//! The live scheduler, `nlrun schedule simulate` and the tests call this one function. Its caller keeps the decisions
//! and the new cursor in one transaction; where it cannot, it forgets both, and the next call decides the same.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::calendar::Calendars;
use super::cursor::{Cursor, Deferred};
use super::decision::{Decision, Queued, Reason, State, Undelivered};
use super::definition::Schedule;
use super::policy::{Blocked, Misfire, Overlap};
use crate::model::run::RunId;

/// The most missed instants that are caught up at once.
pub const CATCH_UP: u64 = 100;
/// From how many instants with the same fate on they become one row.
const ROWS: usize = 100;
/// How many instants are looked at one by one in one call.
const MANY: usize = 100_000;

/// What the store knows about the runs of a schedule.
///
/// Schedules that share an overlap key see each other's runs here: facts are gathered anew for each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Runs with its overlap key that have not ended, the oldest first.
    pub active: Vec<Active>,
    /// How many of its runs failed since the last one that succeeded, and since the cursor's `resumed`.
    pub failures: u64,
    /// How many of its runs succeeded.
    pub successes: u64,
    /// When the last of them ended.
    pub last_success: Option<Timestamp>,
}

/// A run that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// Which.
    pub run: RunId,
    /// Whether it still waits in the queue.
    pub is_waiting: bool,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The rows, by instant.
    pub decisions: Vec<Decision>,
    /// How far.
    pub cursor: Cursor,
    /// When to ask again at the latest; `None` when nothing will come. A change of facts is no reason to ask.
    pub wake: Option<Timestamp>,
}

/// An instant that may become a run.
struct Candidate {
    instant: Timestamp,
    due: Timestamp,
    is_late: bool,
}

/// The fate of an instant before the rows are made.
enum Fate {
    Run(Queued),
    Not(State, Reason),
    /// Many at once, which nobody looked at one by one: up to the last instant, this many.
    Many(Timestamp, u64),
}

/// Decides every instant after the cursor that is due by now.
///
/// Without a cursor, or with one of another revision, the schedule begins now. A clock that went back changes nothing:
/// what is at or before the cursor is decided.
pub fn decide(
    schedule: &Schedule,
    cursor: Option<&Cursor>,
    now: Timestamp,
    facts: &Facts,
    calendars: &Calendars,
) -> Decided {
    let mut fold = Fold {
        schedule,
        now,
        facts,
        calendars,
        cursor: cursor.cloned().unwrap_or_else(|| Cursor::new(schedule, now)),
        fates: BTreeMap::new(),
        candidates: Vec::new(),
        pause: None,
    };
    fold.begin();
    if schedule.enabled {
        fold.look();
        fold.choose();
    } else {
        fold.cursor.at = fold.cursor.at.max(now);
    }
    let wake = fold.wake();
    let (decisions, cursor) = fold.rows();
    Decided { decisions, cursor, wake }
}

/// Returns why a calendar does not let a run start, when one does not, and until when.
///
/// The scheduler asks at the instant; the queue asks again when the run would really start.
pub fn blocked(
    schedule: &Schedule,
    at: Timestamp,
    calendars: &Calendars,
) -> Option<(Reason, Option<Timestamp>)> {
    let reason = block(schedule, at, calendars)?;
    let mut until = end(&reason);
    // Where one calendar ends, another may go on.
    for _ in 0..ROWS {
        match until.and_then(|until| block(schedule, until, calendars)) {
            None => return Some((reason, until)),
            Some(next) => until = end(&next),
        }
    }
    Some((reason, None))
}

fn block(schedule: &Schedule, at: Timestamp, calendars: &Calendars) -> Option<Reason> {
    for name in &schedule.not_in {
        let Some(calendar) = calendars.get(name) else {
            return Some(Reason::NoCalendar { calendar: name.clone() });
        };
        if let Some(cover) = calendar.covers(at) {
            return Some(Reason::Inside { calendar: name.clone(), what: cover.what, until: cover.until });
        }
    }
    let mut opens = None;
    for name in &schedule.only_in {
        let Some(calendar) = calendars.get(name) else {
            return Some(Reason::NoCalendar { calendar: name.clone() });
        };
        if calendar.covers(at).is_some() {
            return None;
        }
        opens = [opens, calendar.opens(at)].into_iter().flatten().min();
    }
    (!schedule.only_in.is_empty()).then_some(Reason::Outside { until: opens })
}

fn end(reason: &Reason) -> Option<Timestamp> {
    match reason {
        Reason::Inside { until, .. } | Reason::Outside { until } => *until,
        _ => None,
    }
}

fn lateness(due: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(due)).unwrap_or_default()
}

struct Fold<'a> {
    schedule: &'a Schedule,
    now: Timestamp,
    facts: &'a Facts,
    calendars: &'a Calendars,
    cursor: Cursor,
    fates: BTreeMap<Timestamp, Fate>,
    candidates: Vec<Candidate>,
    pause: Option<String>,
}

impl Fold<'_> {
    /// Brings the cursor up to the definition and to what people and failures did.
    fn begin(&mut self) {
        if self.cursor.revision != *self.schedule.revision() {
            if let Some(deferred) = self.cursor.deferred.take() {
                self.not(deferred.scheduled_at, State::BlockedCalendar, Reason::Edited);
            }
            self.cursor.revision = self.schedule.revision().clone();
            self.cursor.at = self.cursor.at.max(self.now);
        }
        if let Some(most) = self.schedule.pause_after_failures
            && self.cursor.paused.is_none()
            && self.facts.failures >= most
        {
            let why = format!("{} failures in a row", self.facts.failures);
            self.cursor = self.cursor.clone().pause(self.now, why.clone());
            self.pause = Some(why);
        }
    }

    fn not(&mut self, instant: Timestamp, state: State, reason: Reason) {
        self.fates.insert(instant, Fate::Not(state, reason));
    }

    /// Whether the schedule has had all its runs, with so many more than it has had.
    fn is_over(&self, more: u64) -> bool {
        self.schedule.max_runs.is_some_and(|most| self.cursor.runs + more >= most)
            || self.schedule.max_successes.is_some_and(|most| self.facts.successes >= most)
    }

    /// Looks at every instant that is due.
    fn look(&mut self) {
        if self.is_over(0) {
            self.cursor.at = self.cursor.at.max(self.now);
            self.cursor.deferred = None;
            return;
        }
        let mut counted = 0;
        while let Some(instant) = self.schedule.next(self.cursor.at) {
            let due = self.schedule.due(instant);
            if due > self.now {
                break;
            }
            counted += 1;
            if counted > MANY && self.leap() {
                counted = 0;
                continue;
            }
            self.take_up(instant);
            self.cursor.at = instant;
            self.instant(instant, due);
        }
        self.take_up(self.now);
    }

    /// Leaves out what is far too late; returns whether there was anything.
    fn leap(&mut self) -> bool {
        let schedule = self.schedule;
        let span = schedule.grace.max(schedule.start_deadline.unwrap_or(Duration::from_secs(3600)))
            + schedule.jitter;
        let horizon = SignedDuration::try_from(span).ok().and_then(|span| self.now.checked_sub(span).ok());
        let Some(horizon) = horizon.filter(|horizon| *horizon > self.cursor.at) else { return false };
        let Some(first) = schedule.next(self.cursor.at).filter(|first| *first <= horizon) else {
            return false;
        };
        // How many they were is told at the rate of those that follow.
        let (mut count, mut last) = (0_u64, first);
        while let Some(next) = schedule.next(last).filter(|_| count < ROWS as u64) {
            (count, last) = (count + 1, next);
        }
        let rate = last.duration_since(first).as_secs_f64() / count.max(1) as f64;
        let estimate = (horizon.duration_since(first).as_secs_f64() / rate.max(1.0)) as u64;
        self.fates.insert(first, Fate::Many(horizon, estimate.max(1)));
        self.cursor.at = horizon;
        true
    }

    fn instant(&mut self, instant: Timestamp, due: Timestamp) {
        if let Some(pause) = &self.cursor.paused {
            let why = pause.why.clone();
            return self.not(instant, State::Paused, Reason::Paused { why });
        }
        if let Some((reason, until)) = blocked(self.schedule, instant, self.calendars) {
            return match (self.schedule.blocked, until) {
                (Blocked::DeferToEnd, Some(until)) => self.put_off(instant, until, reason),
                (Blocked::DeferToEnd, None) | (Blocked::Skip, _) => {
                    self.not(instant, State::BlockedCalendar, reason);
                }
            };
        }
        self.candidate(instant, due);
    }

    /// Puts an instant off to the end of what blocks it, in place of an older one.
    fn put_off(&mut self, instant: Timestamp, until: Timestamp, reason: Reason) {
        if let Some(older) = self.cursor.deferred.take() {
            self.not(older.scheduled_at, State::BlockedCalendar, Reason::Newer);
        }
        self.not(instant, State::Deferred, reason);
        self.cursor.deferred = Some(Deferred { scheduled_at: instant, until });
    }

    /// Takes up the instant that was put off, when its time has come and the calendar has not changed meanwhile.
    fn take_up(&mut self, now: Timestamp) {
        let Some(Deferred { scheduled_at: instant, until }) =
            self.cursor.deferred.take_if(|deferred| deferred.until <= now)
        else {
            return;
        };
        if let Some(pause) = &self.cursor.paused {
            let why = pause.why.clone();
            return self.not(instant, State::Paused, Reason::Paused { why });
        }
        match blocked(self.schedule, until, self.calendars) {
            None => self.candidate(instant, until),
            Some((_, Some(later))) if later > until => {
                self.cursor.deferred = Some(Deferred { scheduled_at: instant, until: later });
            }
            Some((reason, _)) => self.not(instant, State::BlockedCalendar, reason),
        }
    }

    fn candidate(&mut self, instant: Timestamp, due: Timestamp) {
        let schedule = self.schedule;
        if let (Some(within), Some(last)) = (schedule.skip_if_successful_since, self.facts.last_success)
            && lateness(last, instant) <= within
        {
            return self.not(instant, State::SkippedSuccess, Reason::Successful { within });
        }
        let late = lateness(due, self.now);
        let is_late = late > schedule.grace;
        if is_late {
            let deadline = schedule.deadline(instant);
            if schedule.misfire == Misfire::Skip {
                return self.not(instant, State::Missed, Reason::Late { grace: schedule.grace });
            }
            if late > deadline {
                return self.not(instant, State::Missed, Reason::TooLate { deadline });
            }
        }
        self.fates.remove(&instant);
        self.candidates.push(Candidate { instant, due, is_late });
    }

    /// Chooses among those that may run.
    fn choose(&mut self) {
        let candidates = std::mem::take(&mut self.candidates);
        let late = candidates.iter().filter(|candidate| candidate.is_late).count() as u64;
        let newest = candidates.last().map(|candidate| candidate.instant);
        let (mut caught_up, mut queued) = (0, Vec::<Timestamp>::new());
        for candidate in candidates {
            if self.is_over(queued.len() as u64) {
                break;
            }
            if candidate.is_late {
                match self.schedule.misfire {
                    Misfire::Once if Some(candidate.instant) != newest => {
                        self.not(candidate.instant, State::Missed, Reason::Newer);
                        continue;
                    }
                    Misfire::All if caught_up >= CATCH_UP => {
                        self.not(candidate.instant, State::Missed, Reason::TooMany { most: CATCH_UP });
                        continue;
                    }
                    Misfire::Skip | Misfire::Once | Misfire::All => caught_up += 1,
                }
            }
            let is_serial = self.schedule.misfire == Misfire::All && late > 0;
            self.queue(&candidate, is_serial, &mut queued);
        }
        self.cursor.runs += queued.len() as u64;
    }

    /// Queues a run, as the overlap policy allows; `queued` are those of this call.
    fn queue(&mut self, candidate: &Candidate, is_serial: bool, queued: &mut Vec<Timestamp>) {
        let waiting = |active: &&Active| active.is_waiting;
        let active = &self.facts.active;
        let others = active.len() + queued.len();
        let (mut behind, mut replaces, mut cancels) = (others > 0, Vec::new(), Vec::new());
        match self.schedule.overlap {
            // What is caught up comes one after the other, whatever may overlap otherwise.
            _ if is_serial => {}
            Overlap::Allow => behind = false,
            Overlap::Skip if others > 0 => {
                let key = self.schedule.overlap_key().to_owned();
                return self.not(candidate.instant, State::SkippedOverlap, Reason::Overlap { key });
            }
            Overlap::Skip => {}
            Overlap::QueueAll => {
                let most = self.schedule.queue_limit;
                // The first of this call runs, unless others do.
                let ahead = active.iter().filter(waiting).count()
                    + if active.is_empty() { queued.len().saturating_sub(1) } else { queued.len() };
                if others > 0 && ahead >= most as usize {
                    return self.not(candidate.instant, State::SkippedOverlap, Reason::QueueFull { most });
                }
            }
            Overlap::QueueOne => {
                replaces.extend(active.iter().filter(waiting).map(|active| active.run));
                // The first of this call runs when nothing else does; any other waits, and gives way.
                let running = usize::from(active.is_empty());
                while queued.len() > running {
                    self.replace(queued);
                }
            }
            Overlap::CancelRunning => {
                let (waits, runs): (Vec<&Active>, Vec<&Active>) =
                    active.iter().partition(|active| active.is_waiting);
                replaces.extend(waits.iter().map(|active| active.run));
                cancels.extend(runs.iter().map(|active| active.run));
                while !queued.is_empty() {
                    self.replace(queued);
                }
                behind = !active.is_empty();
            }
        }
        queued.push(candidate.instant);
        let run = Queued {
            key: self.schedule.key(candidate.instant),
            scheduled_at: candidate.instant,
            due_at: candidate.due,
            lateness: lateness(candidate.due, self.now),
            catch_up: candidate.is_late,
            missed_count: 0,
            behind,
            replaces,
            cancels,
        };
        self.fates.insert(candidate.instant, Fate::Run(run));
    }

    /// Takes back the newest run of this call; what it replaces and cancels, the one that takes its place does.
    fn replace(&mut self, queued: &mut Vec<Timestamp>) {
        if let Some(instant) = queued.pop() {
            self.not(instant, State::SkippedOverlap, Reason::Replaced);
        }
    }

    fn wake(&self) -> Option<Timestamp> {
        if !self.schedule.enabled || self.is_over(0) {
            return None;
        }
        let next = self.schedule.next(self.cursor.at).map(|instant| self.schedule.due(instant));
        [next, self.cursor.deferred.map(|deferred| deferred.until)].into_iter().flatten().min()
    }

    /// Makes the rows: many with the same fate become one.
    fn rows(mut self) -> (Vec<Decision>, Cursor) {
        let mut counts: BTreeMap<(State, Reason), usize> = BTreeMap::new();
        for fate in self.fates.values() {
            if let Fate::Not(state, reason) = fate {
                *counts.entry((*state, reason.clone())).or_default() += 1;
            }
        }
        let mut decisions: Vec<Decision> =
            self.pause.take().map(|why| Decision::Pause { why }).into_iter().collect();
        let mut rows: BTreeMap<(State, Reason), usize> = BTreeMap::new();
        for (instant, fate) in std::mem::take(&mut self.fates) {
            let row = match fate {
                Fate::Run(run) => {
                    let missed_count = std::mem::take(&mut self.cursor.missed);
                    decisions.push(Decision::Run(Queued { missed_count, ..run }));
                    continue;
                }
                Fate::Many(last, count) => {
                    self.cursor.missed += count;
                    Undelivered {
                        state: State::Missed,
                        reason: Reason::NotCounted,
                        first: instant,
                        last,
                        count,
                    }
                }
                Fate::Not(state, reason) => {
                    if state != State::Deferred {
                        self.cursor.missed += 1;
                    }
                    let kind = (state, reason);
                    if let Some(Decision::Undelivered(row)) =
                        rows.get(&kind).and_then(|row| decisions.get_mut(*row))
                    {
                        (row.last, row.count) = (instant, row.count + 1);
                        continue;
                    }
                    if counts.get(&kind).is_some_and(|count| *count > ROWS) {
                        rows.insert(kind.clone(), decisions.len());
                    }
                    let (state, reason) = kind;
                    Undelivered { state, reason, first: instant, last: instant, count: 1 }
                }
            };
            decisions.push(Decision::Undelivered(row));
        }
        (decisions, self.cursor)
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
