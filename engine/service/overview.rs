//! What people see first: runs in lists, what waits and for what, who holds which lock.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::event::{Event, Site};
use crate::model::run::{Mode, RunId, Seq, Status};
use crate::model::schedule::Wait;
use crate::service::{Desk, Holdup, ServiceError, places, start_of};
use crate::store::{Filter, HeldLock, Question, Reader, RunRow};

/// The most runs that are shown as going on or waiting.
const PRESENT: usize = 200;
/// How many of the last events are looked at for the line that runs now.
const LAST: usize = 400;

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Its number.
    pub run: RunId,
    /// The runbook's path in the project.
    pub runbook: String,
    /// Plan or apply.
    pub mode: Mode,
    /// How far it has come.
    pub status: Status,
    /// Who or what asked for it, in words.
    pub by: String,
    /// When it began, or came into the queue: microseconds since 1970, UTC.
    pub started_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// The commit of the project.
    pub commit: Option<String>,
    /// How many effects changed something; in plan mode, would.
    pub changed: u64,
    /// How many effects failed.
    pub failed: u64,
    /// How many hosts have a verdict.
    pub hosts: usize,
    /// What went wrong, in a sentence.
    pub problem: Option<String>,
    /// How many things it left behind.
    pub left_behind: usize,
    /// What it waits for, while it waits in its queue.
    pub waits: Option<String>,
    /// Questions that it waits for.
    pub questions: Vec<Question>,
}

/// A queue and how full it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// How many runs may go on at once.
    pub slots: usize,
    /// How many do.
    pub running: usize,
    /// How many wait.
    pub waiting: usize,
}

/// Everything that goes on or waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Present {
    /// Whether this server is the one that starts runs.
    pub leads: bool,
    /// The queues.
    pub queues: Vec<Queue>,
    /// What runs, the oldest first.
    pub running: Vec<Line>,
    /// What waits, in the order of its turn.
    pub waiting: Vec<Line>,
    /// What needs a person: interrupted, or in doubt.
    pub stuck: Vec<Line>,
    /// Named locks that are held.
    pub locks: Vec<HeldLock>,
}

/// Makes the line of a run.
pub fn line(reader: &Reader, row: RunRow) -> Result<Line, ServiceError> {
    let start = start_of(reader, row.id)?;
    let summary = row.summary;
    let message = |error: &serde_json::Value| error.get("message")?.as_str().map(str::to_owned);
    let problem = summary.error.as_ref().and_then(message);
    Ok(Line {
        run: row.id,
        runbook: summary.runbook,
        mode: summary.mode,
        status: summary.status,
        by: start.trigger.to_string(),
        started_at: row.started_at,
        ended_at: row.ended_at,
        commit: start.commit,
        changed: summary.counts.changed,
        failed: summary.counts.failed,
        hosts: summary.hosts.len(),
        problem: problem.or_else(|| summary.problems.first().map(|problem| problem.text.clone())),
        left_behind: summary.left_behind.len(),
        waits: None,
        questions: Vec::new(),
    })
}

impl Holdup {
    /// Says in a few words what a run waits for.
    pub fn words(&self) -> String {
        match (&self.wait, &self.holder) {
            (Wait::Slot, _) => "a free slot of its queue".to_owned(),
            (Wait::Lock(name), Some(holder)) => format!("lock {name}, which {holder} holds"),
            (Wait::Lock(name), None) => format!("lock {name}, which an earlier run holds or waits for"),
            (Wait::Overlap, _) => "an earlier run that must not overlap with it".to_owned(),
            (Wait::CatchUp, _) => "other runs that catch up".to_owned(),
        }
    }
}

impl Desk {
    /// Lists runs with who asked for them, newest first.
    pub fn lines(&self, filter: &Filter) -> Result<Vec<Line>, ServiceError> {
        self.read(|reader| reader.runs(filter)?.into_iter().map(|row| line(reader, row)).collect())
    }

    /// Returns one run as a list shows it.
    pub fn line_of(&self, run: RunId) -> Result<Line, ServiceError> {
        self.read(|reader| line(reader, reader.run(run)?))
    }

    /// Returns everything that goes on or waits.
    pub fn present(&self) -> Result<Present, ServiceError> {
        let held_up = self.held_up();
        let limits = self.limits();
        let slots = |name: &str| *limits.slots.get(name).unwrap_or(&limits.default_slots);
        let (mut running, mut waiting, stuck, of_queue) = self.read::<_, ServiceError>(|reader| {
            let list = |status: &[Status]| {
                let filter = Filter { status: status.to_vec(), limit: PRESENT, ..Filter::default() };
                let rows = reader.runs(&filter)?.into_iter().rev();
                rows.map(|row| line(reader, row)).collect::<Result<Vec<_>, ServiceError>>()
            };
            let mut running = list(&[Status::Running])?;
            for question in reader.questions()? {
                if let Some(run) = running.iter_mut().find(|run| run.run == question.run) {
                    run.questions.push(question);
                }
            }
            let of_queue = reader.queued(&[Status::Queued, Status::Running])?;
            Ok((running, list(&[Status::Queued])?, list(&[Status::Interrupted, Status::InDoubt])?, of_queue))
        })?;
        let turns = places(&held_up);
        let turn = |run: RunId| turns.get(&run).copied().unwrap_or(usize::MAX);
        waiting.sort_by_key(|line| (turn(line.run), line.run));
        for line in &mut waiting {
            let holdup = held_up.get(turn(line.run));
            line.waits = Some(holdup.map_or_else(|| "its turn".to_owned(), |(_, holdup)| holdup.words()));
        }
        running.sort_by_key(|line| (line.questions.is_empty(), line.run));
        let named = limits.slots.keys().cloned().chain([crate::model::order::DEFAULT_QUEUE.to_owned()]);
        let mut queues: BTreeMap<String, Queue> =
            named.map(|name| (name.clone(), queue(&name, slots(&name)))).collect();
        for one in of_queue {
            let name = &one.order.queue;
            let queue = queues.entry(name.clone()).or_insert_with(|| queue(name, slots(name)));
            match one.status {
                Status::Queued => queue.waiting += 1,
                _ => queue.running += 1,
            }
        }
        Ok(Present {
            leads: self.leads(),
            queues: queues.into_values().collect(),
            running,
            waiting,
            stuck,
            locks: self.store().locks(),
        })
    }

    /// Returns the line of the runbook that a run is at, as far as its last events tell.
    pub fn line_now(&self, run: RunId) -> Result<Option<Site>, ServiceError> {
        self.read(|reader| {
            let last = reader.events_before(run, Seq(i64::from(u32::MAX)), LAST)?;
            let site = |event: &Event| match event {
                Event::Intent { request, .. } | Event::Forecast { request, .. } => request.site.clone(),
                Event::StepBegan { site, .. } | Event::Message { site, .. } => site.clone(),
                _ => None,
            };
            Ok(last.iter().rev().find_map(|record| site(&record.event)))
        })
    }
}

fn queue(name: &str, slots: usize) -> Queue {
    Queue { name: name.to_owned(), slots, running: 0, waiting: 0 }
}
