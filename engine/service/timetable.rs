//! Schedules as people look at them: what comes next, how the last went, what was missed, who stopped it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::diagnostic::Diagnostic;
use crate::model::duration;
use crate::model::run::Status;
use crate::model::schedule::{Definition, Schedule, When, blocked};
use crate::service::overview::Line;
use crate::service::{Desk, Schedules, ServiceError};
use crate::store::{Fate, Moved};
use crate::world::clock;

/// The most instants of one schedule that a calendar shows.
const MOST: usize = 200;
/// The most entries of a calendar.
const ALL: usize = 4000;

/// A schedule in the list.
#[derive(Debug, Clone, Serialize)]
pub struct Scheduled {
    /// Its name.
    pub id: String,
    /// What it is for.
    pub doc: String,
    /// The runbook, as it is named in its file.
    pub runbook: String,
    /// When it fires, in the words of its file.
    pub when: String,
    /// The zone of its local times.
    pub zone: String,
    /// Where it is written.
    pub file: String,
    /// The line there.
    pub line: usize,
    /// Plan or apply.
    pub mode: crate::model::run::Mode,
    /// Whether it fires at all.
    pub enabled: bool,
    /// The next instant: microseconds since 1970, UTC.
    pub next: Option<i64>,
    /// The same by the clock of its zone.
    pub next_there: String,
    /// What a calendar has against that instant.
    pub next_blocked: Option<String>,
    /// What became of its last instant.
    pub last: Option<Fate>,
    /// The run of the last instant that became one.
    pub last_run: Option<Line>,
    /// When a run of it was last done.
    pub last_success: Option<i64>,
    /// How long it may go without success.
    pub stale_after: Option<String>,
    /// Whether that time is over.
    pub is_stale: bool,
    /// How far it has been decided, and who moved that last.
    pub cursor: Option<Moved>,
    /// The instants to come, as pairs of UTC and the clock of its zone.
    pub upcoming: Vec<(i64, String)>,
}

/// The schedules of a project.
#[derive(Debug, Clone, Serialize)]
pub struct Timetable {
    /// Those that are in force, the ones that need a look first.
    pub schedules: Vec<Scheduled>,
    /// What is wrong with the files as they are now: those that were read last stay in force.
    pub trouble: Vec<String>,
}

/// One entry of a calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// When: microseconds since 1970, UTC.
    pub at: i64,
    /// The schedule.
    pub schedule: String,
    /// `coming`, the status of its run, or why there was none.
    pub state: String,
    /// The reason, for people.
    pub reason: String,
    /// How many instants it stands for.
    pub count: i64,
    /// The run.
    pub run: Option<i64>,
}

impl Desk {
    /// Lists the schedules, those that need a look first.
    pub fn timetable(&self) -> Result<Timetable, ServiceError> {
        let (schedules, trouble) = self.in_sight()?;
        let mut all: Vec<Scheduled> = schedules
            .definitions
            .iter()
            .map(|definition| self.scheduled(definition, &schedules, 1))
            .collect::<Result<_, _>>()?;
        let is_paused =
            |one: &Scheduled| one.cursor.as_ref().is_some_and(|moved| moved.cursor.paused.is_some());
        all.sort_by_key(|one| (!one.is_stale, !is_paused(one), one.next.unwrap_or(i64::MAX), one.id.clone()));
        Ok(Timetable { schedules: all, trouble })
    }

    /// Returns the schedules that are in force, or those of the files where no server has taken the lead yet.
    fn in_sight(&self) -> Result<(Arc<Schedules>, Vec<String>), ServiceError> {
        let in_force = self.schedules();
        let read = self.current()?.schedules();
        Ok(match read {
            Ok(read) if in_force.definitions.is_empty() => (Arc::new(read), Vec::new()),
            Ok(_) => (in_force, Vec::new()),
            Err(ServiceError::Check(found)) => {
                let place = |one: &Diagnostic| format!("{}:{}: {}", one.file, one.line, one.message);
                (in_force, found.iter().map(place).collect())
            }
            Err(error) => (in_force, vec![error.to_string()]),
        })
    }

    /// Returns one schedule, with this many instants to come.
    pub fn schedule_of(&self, id: &str, count: usize) -> Result<Scheduled, ServiceError> {
        let (schedules, _) = self.in_sight()?;
        let found = schedules.definitions.iter().find(|definition| definition.schedule.id == id);
        let found = found.ok_or_else(|| ServiceError::NoSchedule { name: id.to_owned() })?;
        self.scheduled(found, &schedules, count)
    }

    fn scheduled(
        &self,
        definition: &Definition,
        schedules: &Schedules,
        count: usize,
    ) -> Result<Scheduled, ServiceError> {
        let (schedule, origin) = (&definition.schedule, &definition.origin);
        let now = clock::now();
        let (cursor, fates, facts) = self.read::<_, ServiceError>(|reader| {
            let cursor = reader.cursor(&schedule.id)?;
            let fates = reader.fates(Some(&schedule.id), None, 20)?;
            // Counting all runs of a schedule takes a while, and is asked for only where it matters.
            let facts = match schedule.stale_after {
                Some(_) => Some(reader.facts(&schedule.id, schedule.overlap_key(), true, None)?),
                None => None,
            };
            Ok((cursor, fates, facts))
        })?;
        let is_paused = cursor.as_ref().is_some_and(|moved| moved.cursor.paused.is_some());
        let last_run = fates.iter().find_map(|fate| fate.run);
        let last_run = last_run.and_then(|run| self.line_of(run).ok());
        let done = last_run.as_ref().filter(|line| line.status == Status::Done);
        let of_facts = facts.and_then(|facts| facts.last_success).map(Timestamp::as_microsecond);
        let last_success = of_facts.or_else(|| done.and_then(|line| line.ended_at));
        // One that never succeeded is as old as the server's first look at it, which its first fate tells.
        let since = last_success.or_else(|| fates.last().map(|fate| fate.instant));
        let is_stale = schedule.stale_after.is_some_and(|most| {
            let most = i64::try_from(most.as_micros()).unwrap_or(i64::MAX);
            since.is_some_and(|since| now.as_microsecond().saturating_sub(since) > most)
        });
        let upcoming: Vec<(i64, String)> = if is_paused {
            Vec::new()
        } else {
            schedule
                .upcoming(now)
                .take(count)
                .map(|(instant, due)| (due.as_microsecond(), there(schedule, instant)))
                .collect()
        };
        let next = upcoming.first();
        let against = next.and_then(|(at, _)| {
            let at = Timestamp::from_microsecond(*at).ok()?;
            blocked(schedule, at, &schedules.calendars).map(|(reason, _)| reason.to_string())
        });
        Ok(Scheduled {
            id: schedule.id.clone(),
            doc: schedule.doc.clone(),
            runbook: schedule.runbook.clone(),
            when: words(&schedule.when),
            zone: schedule.tz.name().to_owned(),
            file: origin.file.clone(),
            line: origin.line(),
            mode: schedule.mode,
            enabled: schedule.enabled,
            next: next.map(|(at, _)| *at),
            next_there: next.map(|(_, there)| there.clone()).unwrap_or_default(),
            next_blocked: against,
            last: fates.into_iter().next(),
            last_run,
            last_success,
            stale_after: schedule.stale_after.map(duration::text),
            is_stale,
            cursor,
            upcoming,
        })
    }

    /// Returns what was and what comes from one instant on and before another, in order.
    pub fn calendar(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Mark>, ServiceError> {
        let now = clock::now();
        let mut marks: Vec<Mark> = self.read::<_, ServiceError>(|reader| {
            let fates = reader.fates_between(from.as_microsecond(), until.as_microsecond(), ALL)?;
            let mark = |fate: Fate| {
                let of_run = fate.run.map(|run| reader.run(run));
                let status = of_run.and_then(Result::ok).map(|row| row.summary.status.as_str().to_owned());
                Mark {
                    at: fate.instant,
                    schedule: fate.schedule,
                    state: status.unwrap_or(fate.state),
                    reason: fate.reason,
                    count: fate.count,
                    run: fate.run.map(|run| run.0),
                }
            };
            Ok(fates.into_iter().map(mark).collect())
        })?;
        let (schedules, _) = self.in_sight()?;
        for definition in &schedules.definitions {
            let schedule = &definition.schedule;
            let paused = self.read::<_, ServiceError>(|reader| Ok(reader.cursor(&schedule.id)?))?;
            let paused = paused.and_then(|moved| moved.cursor.paused).map(|pause| pause.why);
            let coming = schedule.upcoming(now.max(from)).take_while(|(_, due)| *due < until).take(MOST);
            for (instant, due) in coming {
                let against =
                    blocked(schedule, instant, &schedules.calendars).map(|(reason, _)| reason.to_string());
                let state = match (&paused, &against) {
                    (Some(_), _) => "paused",
                    (None, Some(_)) => "blocked_calendar",
                    (None, None) => "coming",
                };
                marks.push(Mark {
                    at: due.as_microsecond(),
                    schedule: schedule.id.clone(),
                    state: state.to_owned(),
                    reason: paused.clone().or(against).unwrap_or_default(),
                    count: 1,
                    run: None,
                });
                if marks.len() >= 2 * ALL {
                    break;
                }
            }
        }
        marks.sort_by(|a, b| (a.at, &a.schedule).cmp(&(b.at, &b.schedule)));
        Ok(marks)
    }
}

/// Says when a schedule fires, in the words of its file.
fn words(when: &When) -> String {
    match when {
        When::Cron { cron, .. } => cron.to_string(),
        When::Every { every, .. } => format!("every {}", duration::text(*every)),
        When::At { at } => match at.as_slice() {
            [one] => format!("at {one}"),
            [first, ..] => format!("at {first} and {} more", at.len() - 1),
            [] => "never".to_owned(),
        },
    }
}

/// Returns what the clock of a schedule's zone shows at an instant.
fn there(schedule: &Schedule, instant: Timestamp) -> String {
    let civil = schedule.tz.civil(instant);
    format!("{} {}", civil.date(), civil.time().strftime("%H:%M"))
}
