//! Schedules as people look at them: what comes next, how the last went, what was missed, who stopped it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::diagnostic::Diagnostic;
use crate::model::duration;
use crate::model::schedule::{Definition, Schedule, When, blocked};
use crate::service::overview::Line;
use crate::service::{Desk, Schedules, ServiceError, Stand, stands};
use crate::store::{Fate, Moved};
use crate::world::clock;

/// The most instants to come of one schedule that a calendar shows.
const MOST: usize = 200;
/// How many of the last instants are looked at for one that became a run.
const LOOKED_AT: usize = 20;

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
    /// How many runs in a row failed.
    pub failures: i64,
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

/// What was and what comes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Calendar {
    /// The marks of each day, in order.
    pub days: Vec<Vec<Mark>>,
    /// Schedules that fire too often for their instants to come to be shown: name, and when they fire.
    pub frequent: Vec<(String, String)>,
}

impl Desk {
    /// Lists the schedules, those that need a look first.
    pub fn timetable(&self) -> Result<Timetable, ServiceError> {
        let (schedules, trouble) = self.in_sight()?;
        let stands = self.read(|reader| stands(reader, &schedules, None, 1, clock::now()))?;
        let mut all: Vec<Scheduled> =
            stands.into_iter().map(|stand| self.scheduled(stand)).collect::<Result<_, _>>()?;
        let is_paused =
            |one: &Scheduled| one.cursor.as_ref().is_some_and(|moved| moved.cursor.paused.is_some());
        all.sort_by_key(|one| (!one.is_stale, !is_paused(one), one.next.unwrap_or(i64::MAX), one.id.clone()));
        Ok(Timetable { schedules: all, trouble })
    }

    /// Returns the schedules that are in force, and what is wrong with the files as they are now.
    fn in_sight(&self) -> Result<(Arc<Schedules>, Vec<String>), ServiceError> {
        let in_force = self.schedules();
        let read = self.project_now()?.schedules();
        Ok(match read {
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
        let found = self.read(|reader| stands(reader, &schedules, Some(id), count, clock::now()))?.pop();
        self.scheduled(found.ok_or_else(|| ServiceError::NoSchedule { name: id.to_owned() })?)
    }

    fn scheduled(&self, stand: Stand) -> Result<Scheduled, ServiceError> {
        let Stand { definition: Definition { schedule, origin, .. }, cursor, standing, stale_since, next } =
            stand;
        let fates =
            self.read::<_, ServiceError>(|reader| Ok(reader.fates(Some(&schedule.id), None, LOOKED_AT)?))?;
        let last_run = fates.iter().find_map(|fate| fate.run);
        let is_paused = cursor.as_ref().is_some_and(|moved| moved.cursor.paused.is_some());
        let next = if is_paused { Vec::new() } else { next };
        let upcoming: Vec<(i64, String)> =
            next.iter().map(|(instant, due, _)| (due.as_microsecond(), there(&schedule, *instant))).collect();
        Ok(Scheduled {
            when: words(&schedule.when),
            zone: schedule.tz.name().to_owned(),
            line: origin.line(),
            file: origin.file,
            mode: schedule.mode,
            enabled: schedule.enabled,
            next: upcoming.first().map(|(at, _)| *at),
            next_there: upcoming.first().map(|(_, there)| there.clone()).unwrap_or_default(),
            next_blocked: next.into_iter().next().and_then(|(_, _, reason)| reason),
            last: fates.into_iter().next(),
            last_run: last_run.and_then(|run| self.line_of(run).ok()),
            last_success: standing.as_ref().and_then(|standing| standing.success).map(|(_, at)| at),
            failures: standing.map_or(0, |standing| standing.failures),
            stale_after: schedule.stale_after.map(duration::text),
            is_stale: stale_since.is_some(),
            cursor,
            upcoming,
            id: schedule.id,
            doc: schedule.doc,
            runbook: schedule.runbook,
        })
    }

    /// Returns what was and what comes on days that follow each other, each from one instant on and before another.
    ///
    /// On a day with more than `most` marks, one stands for all of a schedule with one state.
    pub fn calendar(&self, days: &[(Timestamp, Timestamp)], most: usize) -> Result<Calendar, ServiceError> {
        let (Some((first, _)), Some((_, end))) = (days.first(), days.last()) else {
            return Ok(Calendar::default());
        };
        let (from, end) = (clock::now().max(*first), *end);
        let (schedules, _) = self.in_sight()?;
        let mut calendar = Calendar::default();
        let mut paused = Vec::new();
        calendar.days = self.read::<_, ServiceError>(|reader| {
            for definition in &schedules.definitions {
                let moved = reader.cursor(&definition.schedule.id)?;
                paused.push(moved.and_then(|moved| moved.cursor.paused).map(|pause| pause.why));
            }
            let day = |(from, until): &(Timestamp, Timestamp)| {
                let fates = reader.fates_between(from.as_microsecond(), until.as_microsecond(), most)?;
                Ok(fates.into_iter().map(Mark::from).collect())
            };
            days.iter().map(day).collect()
        })?;
        for (Definition { schedule, .. }, paused) in schedules.definitions.iter().zip(paused) {
            if !schedule.enabled {
                continue;
            }
            let coming = schedule.upcoming(from).take_while(|(_, due)| *due < end);
            let coming: Vec<(Timestamp, Timestamp)> = coming.take(MOST + 1).collect();
            if coming.len() > MOST {
                calendar.frequent.push((schedule.id.clone(), words(&schedule.when)));
                continue;
            }
            for (instant, due) in coming {
                let against =
                    blocked(schedule, instant, &schedules.calendars).map(|(reason, _)| reason.to_string());
                let state = match (&paused, &against) {
                    (Some(_), _) => "paused",
                    (None, Some(_)) => "blocked_calendar",
                    (None, None) => "coming",
                };
                let day = days.partition_point(|(_, until)| *until <= due);
                calendar.days[day].push(Mark {
                    at: due.as_microsecond(),
                    schedule: schedule.id.clone(),
                    state: state.to_owned(),
                    reason: paused.clone().or(against).unwrap_or_default(),
                    count: 1,
                    run: None,
                });
            }
        }
        for day in &mut calendar.days {
            if day.len() > most {
                *day = together(std::mem::take(day));
            }
            day.sort_by(|a, b| (a.at, &a.schedule).cmp(&(b.at, &b.schedule)));
        }
        Ok(calendar)
    }
}

impl From<Fate> for Mark {
    fn from(fate: Fate) -> Self {
        let Fate { instant, schedule, state, reason, count, run, .. } = fate;
        Self { at: instant, schedule, state, reason, count, run: run.map(|run| run.0) }
    }
}

/// Makes one mark of all of a schedule with one state: the first of them, with their number.
fn together(mut marks: Vec<Mark>) -> Vec<Mark> {
    marks.sort_by(|a, b| (&a.schedule, &a.state, a.at).cmp(&(&b.schedule, &b.state, b.at)));
    marks.dedup_by(|next, first| {
        let is_same = (&next.schedule, &next.state) == (&first.schedule, &first.state);
        if is_same {
            first.count += next.count;
            first.run = None;
        }
        is_same
    });
    marks
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowded_day_has_one_mark_for_each_schedule_and_state() {
        let mark = |at: i64, schedule: &str, state: &str| Mark {
            at,
            schedule: schedule.to_owned(),
            state: state.to_owned(),
            reason: String::new(),
            count: 1,
            run: Some(at),
        };
        let marks =
            vec![mark(3, "a", "done"), mark(1, "a", "done"), mark(2, "a", "failed"), mark(4, "b", "done")];
        let found: Vec<(i64, i64, Option<i64>)> =
            together(marks).into_iter().map(|mark| (mark.at, mark.count, mark.run)).collect();
        assert_eq!(found, [(1, 2, None), (2, 1, Some(2)), (4, 1, Some(4))]);
    }
}
