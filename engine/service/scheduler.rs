//! The live scheduler: asks the rules (`model::schedule::decide`) when something is due, and keeps what they say.
//!
//! It knows no time of its own: whoever calls [`Scheduler::turn`] says what the clocks show, so that tests give it any clock. What has
//! been decided stands in the store, in the transaction that queues the runs; after a crash it is decided again, the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use parking_lot::RwLock;

use crate::model::given::Given;
use crate::model::order::Order;
use crate::model::run::{RunId, Trigger};
use crate::model::schedule::clock::{Reading, Step, step};
use crate::model::schedule::{Cursor, Decision, Queued, Schedule, StaleSync, blocked, decide, zone};
use crate::service::dispatch::Folders;
use crate::service::execute::give_up_all;
use crate::service::schedules::Schedules;
use crate::service::{Project, ServiceError};
use crate::store::{Keys, Move, Reader, Store};
use crate::world::clock;

/// How often the files of schedules are looked at.
const LOOK: SignedDuration = SignedDuration::from_secs(2);
/// The most schedules of one transaction: the first of many that are due at once need not wait for the last.
const BATCH: usize = 64;

/// The schedules that are in force, for everybody who shows or asks them.
pub type InForce = Arc<RwLock<Arc<Schedules>>>;

/// The live scheduler.
pub struct Scheduler {
    store: Store,
    reader: Reader,
    folders: Arc<dyn Folders>,
    fence: i64,
    in_force: InForce,
    /// What the files were like when they were read, and when they were looked at.
    seen: Option<(PathBuf, Vec<(PathBuf, SystemTime, u64)>)>,
    looked_at: Option<Timestamp>,
    /// When each schedule wants to be asked, by its place in the list.
    due: BinaryHeap<Reverse<(Timestamp, usize)>>,
    last: Option<Reading>,
}

/// What a turn has done.
#[derive(Debug, Default)]
pub struct Turn {
    /// When the next one is due at the latest.
    pub wake: Option<Timestamp>,
    /// Runs that were queued, with the time by which they are later than they were due.
    pub queued: Vec<(RunId, Duration)>,
    /// Runs that are to be cancelled, with the schedule that wants it.
    pub cancels: Vec<(RunId, String)>,
    /// What people must be told.
    pub alarms: Vec<Alarm>,
}

/// Something that people must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// The clock was set so far that nothing fires for the time between.
    ClockJump {
        /// By how many seconds.
        seconds: i64,
    },
    /// Instants became no run.
    Undelivered {
        /// The schedule.
        schedule: String,
        /// What they are instead, and why.
        why: String,
    },
    /// A schedule stands still.
    Paused {
        /// The schedule.
        schedule: String,
        /// Why.
        why: String,
    },
    /// The files of schedules cannot be used; those that were read last stay in force.
    Unusable {
        /// Why.
        why: String,
    },
}

impl Scheduler {
    /// Takes the lead over all schedules of a run log.
    pub fn new(store: &Store, folders: Arc<dyn Folders>, in_force: InForce) -> Result<Self, ServiceError> {
        let fence = store.take_lead(&format!("process {}", std::process::id()))?;
        Ok(Self {
            store: store.clone(),
            reader: store.reader()?,
            folders,
            fence,
            in_force,
            seen: None,
            looked_at: None,
            due: BinaryHeap::new(),
            last: None,
        })
    }

    /// Decides everything that is due by the time that the clocks show.
    pub fn turn(&mut self, now: Reading) -> Result<Turn, ServiceError> {
        let mut turn = Turn::default();
        let moved = self.last.map_or(Step::None, |last| step(last, now));
        self.last = Some(now);
        self.reload(now.wall, &mut turn);
        if let Step::Jump(by) = moved {
            self.jump(now.wall, by, &mut turn)?;
        }
        let schedules = self.in_force.read().clone();
        let (mut ready, mut keys) = (Vec::new(), HashSet::new());
        while let Some(Reverse((at, _))) = self.due.peek()
            && *at <= now.wall
        {
            let Some(Reverse((_, index))) = self.due.pop() else { break };
            let Some(definition) = schedules.definitions.get(index) else { continue };
            // What is decided together does not see each other's runs, so two that share a key are decided one after the other.
            if !keys.insert(definition.schedule.overlap_key()) || ready.len() == BATCH {
                self.decide_or_keep(&schedules, &std::mem::take(&mut ready), now.wall, &mut turn)?;
                keys = HashSet::from([definition.schedule.overlap_key()]);
            }
            ready.push(index);
        }
        self.decide_or_keep(&schedules, &ready, now.wall, &mut turn)?;
        turn.wake = self.due.peek().map(|Reverse((at, _))| *at);
        Ok(turn)
    }

    /// Has every schedule asked at the next turn: a person has moved a cursor.
    pub fn ask_all(&mut self) {
        let count = self.in_force.read().definitions.len();
        self.due = (0..count).map(|index| Reverse((Timestamp::MIN, index))).collect();
    }

    /// Reads the files of schedules again when they are others.
    fn reload(&mut self, now: Timestamp, turn: &mut Turn) {
        let is_due = self.looked_at.is_none_or(|last| now.duration_since(last).abs() >= LOOK);
        if !is_due {
            return;
        }
        self.looked_at = Some(now);
        let folder = match self.folders.folder(None) {
            Ok(folder) => folder.path,
            Err(why) => {
                turn.alarms.push(Alarm::Unusable { why });
                return;
            }
        };
        let seen = (folder.clone(), fingerprint(&folder));
        if self.seen.as_ref() == Some(&seen) {
            return;
        }
        let read = Project::find(&folder).map_err(ServiceError::from).and_then(|project| project.schedules());
        self.seen = Some(seen);
        match read {
            Ok(schedules) => {
                *self.in_force.write() = Arc::new(schedules);
                self.ask_all();
            }
            Err(error) => {
                let why = match &error {
                    ServiceError::Check(found) => found
                        .iter()
                        .map(|one| format!("{}:{}: {}", one.file, one.line, one.message))
                        .collect::<Vec<_>>()
                        .join("; "),
                    other => other.to_string(),
                };
                turn.alarms.push(Alarm::Unusable { why });
            }
        }
    }

    /// Decides some schedules; where that fails, they are asked again at the next turn.
    fn decide_or_keep(
        &mut self,
        schedules: &Schedules,
        ready: &[usize],
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        let decided = self.decide_all(schedules, ready, now, turn);
        if decided.is_err() {
            self.due.extend(ready.iter().map(|index| Reverse((now, *index))));
        }
        decided
    }

    fn decide_all(
        &mut self,
        schedules: &Schedules,
        ready: &[usize],
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        let mut steps = Vec::with_capacity(ready.len());
        for &index in ready {
            let Some(definition) = schedules.definitions.get(index) else { continue };
            let schedule = &definition.schedule;
            let before = self.reader.cursor(&schedule.id)?.map(|moved| moved.cursor);
            let counts = schedule.max_successes.is_some()
                || schedule.pause_after_failures.is_some()
                || schedule.skip_if_successful_since.is_some();
            let resumed = before.as_ref().and_then(|cursor| cursor.resumed);
            let facts = self.reader.facts(&schedule.id, schedule.overlap_key(), counts, resumed)?;
            let decided = decide(schedule, before.as_ref(), now, &facts, &schedules.calendars);
            steps.push((index, schedule, before, decided));
        }
        let orders: Vec<_> =
            steps.iter().map(|(_, schedule, ..)| |queued: &Queued| order(schedule, queued)).collect();
        let moves: Vec<Move<'_>> = steps
            .iter()
            .zip(&orders)
            .filter(|((_, _, before, decided), _)| {
                before.as_ref() != Some(&decided.cursor) || !decided.decisions.is_empty()
            })
            .map(|((_, schedule, before, decided), order)| Move {
                schedule: &schedule.id,
                before: before.as_ref(),
                after: &decided.cursor,
                decisions: &decided.decisions,
                order,
                by: "scheduler",
                reason: "",
            })
            .collect();
        let queued = if moves.is_empty() { Vec::new() } else { self.store.decide(self.fence, &moves)? };
        let at = clock::now();
        let names: Vec<&str> = moves.iter().map(|step| step.schedule).collect();
        let mut replaced = Vec::new();
        for (_, schedule, _, decided) in &steps {
            let runs = names.iter().position(|name| *name == schedule.id).map(|place| &queued[place]);
            let mut runs = runs.into_iter().flatten();
            for decision in &decided.decisions {
                match decision {
                    Decision::Run(one) => {
                        let late = Duration::try_from(at.duration_since(one.due_at)).unwrap_or_default();
                        turn.queued.extend(runs.next().map(|run| (run.run(), late)));
                        turn.cancels.extend(one.cancels.iter().map(|run| (*run, schedule.id.clone())));
                        let reason = "a newer instant took its place in the queue";
                        replaced.extend(one.replaces.iter().map(|run| (*run, reason.to_owned())));
                    }
                    Decision::Undelivered(not) => turn.alarms.push(Alarm::Undelivered {
                        schedule: schedule.id.clone(),
                        why: format!("{} ({}): {}", not.state, not.count, not.reason),
                    }),
                    Decision::Pause { why } => {
                        turn.alarms.push(Alarm::Paused { schedule: schedule.id.clone(), why: why.clone() });
                    }
                }
            }
        }
        if !replaced.is_empty() {
            give_up_all(&self.store, &replaced)?;
        }
        for (index, _, _, decided) in &steps {
            if let Some(wake) = decided.wake {
                self.due.push(Reverse((wake, *index)));
            }
        }
        Ok(())
    }

    /// Sets every cursor to now: the clock was set too far for anything in between to be meant.
    fn jump(&mut self, now: Timestamp, by: SignedDuration, turn: &mut Turn) -> Result<(), ServiceError> {
        let schedules = self.in_force.read().clone();
        for definition in &schedules.definitions {
            let schedule = &definition.schedule;
            let before = self.reader.cursor(&schedule.id)?.map(|moved| moved.cursor);
            let after = before.clone().unwrap_or_else(|| Cursor::new(schedule, now)).set(now);
            let reason = format!("the clock was set by {} s", by.as_secs());
            self.store.move_cursor(&schedule.id, before.as_ref(), &after, "scheduler", &reason)?;
        }
        turn.alarms.push(Alarm::ClockJump { seconds: by.as_secs() });
        self.ask_all();
        Ok(())
    }
}

/// Returns what a calendar has against a run that starts now, although it had nothing at its instant.
pub fn veto(schedules: &Schedules, order: &Order, now: Timestamp) -> Option<String> {
    let Trigger::Schedule { schedule, .. } = &order.trigger else { return None };
    let found = schedules.find(schedule)?;
    let (reason, _) = blocked(&found.schedule, now, &schedules.calendars)?;
    Some(format!("while it waited its time passed: {reason}"))
}

/// Returns how old the project may be for a run of a schedule, and what happens when it is older.
pub fn sync_limits(schedules: &Schedules, order: &Order) -> Option<(Option<Duration>, StaleSync)> {
    let Trigger::Schedule { schedule, .. } = &order.trigger else { return None };
    let found = schedules.find(schedule)?;
    Some((found.schedule.max_sync_age, found.schedule.stale_sync))
}

/// Returns what keeps a person's run of a runbook: a schedule of it whose calendars are `hard`.
///
/// The flag says whether it is kept; otherwise it is only to be said.
pub fn closed(schedules: &Schedules, runbook: &str, now: Timestamp) -> Option<(bool, String)> {
    let of_it = schedules.definitions.iter().map(|definition| &definition.schedule);
    let of_it = of_it.filter(|schedule| is_same(&schedule.runbook, runbook));
    let found = of_it.filter_map(|schedule| {
        let (reason, _) = blocked(schedule, now, &schedules.calendars)?;
        Some((schedule.hard, format!("schedule `{}` would not run now: {reason}", schedule.id)))
    });
    // Of several, one that is hard decides.
    found.max_by_key(|(is_hard, _)| *is_hard)
}

fn is_same(name: &str, path: &str) -> bool {
    let bare = |text: &str| text.trim_start_matches("runbooks/").trim_end_matches(".rhai").to_owned();
    bare(name) == bare(path)
}

/// Makes the order of an instant that becomes a run.
fn order(schedule: &Schedule, queued: &Queued) -> (Order, Keys) {
    // What could not start that late could not start at all (rule 14).
    let latest = schedule.deadline(queued.scheduled_at).max(schedule.grace);
    let deadline =
        SignedDuration::try_from(latest).ok().and_then(|time| queued.due_at.checked_add(time).ok());
    let order = Order {
        runbook: schedule.runbook.clone(),
        params: schedule
            .params
            .iter()
            .map(|(name, value)| (name.clone(), Given::Value(value.clone())))
            .collect::<BTreeMap<_, _>>(),
        mode: schedule.mode,
        trigger: Trigger::Schedule {
            schedule: schedule.id.clone(),
            scheduled_at: queued.scheduled_at.as_microsecond(),
            missed: queued.missed_count,
            tzdata: zone::version().to_owned(),
        },
        grants: match &schedule.grants {
            Some(grants) => grants.iter().map(ToString::to_string).collect(),
            None => vec!["*".to_owned()],
        },
        queue: schedule.queue.clone(),
        priority: schedule.priority,
        behind: queued.behind,
        catch_up: queued.catch_up,
        revision: schedule.reference.clone(),
        plan: None,
        locks: schedule.locks.clone(),
        deadline: deadline.map(Timestamp::as_microsecond),
    };
    let once = Some(format!("schedule:{}", queued.key));
    (order, Keys { once, overlap: Some(schedule.overlap_key().to_owned()) })
}

/// Returns what tells whether the files of schedules and calendars are others than before.
pub(super) fn fingerprint(folder: &std::path::Path) -> Vec<(PathBuf, SystemTime, u64)> {
    let mut found = Vec::new();
    for name in ["schedules", "calendars"] {
        for entry in std::fs::read_dir(folder.join(name)).into_iter().flatten().flatten() {
            if let Ok(about) = entry.metadata() {
                found.push((entry.path(), about.modified().unwrap_or(SystemTime::UNIX_EPOCH), about.len()));
            }
        }
    }
    found.sort();
    found
}
