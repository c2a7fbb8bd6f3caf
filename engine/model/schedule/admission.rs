//! Which waiting runs may start: slots, locks and order. A pure function that queue and simulation share.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its queue.
    pub queue: String,
    /// 0 to 100, the higher before the lower.
    pub priority: u8,
    /// Since when it waits.
    pub since: Timestamp,
    /// The name under which runs overlap.
    pub overlap_key: String,
    /// Whether it waits for every earlier run of that name.
    pub behind: bool,
    /// Whether it makes up for time in which nothing was decided.
    pub catch_up: bool,
    /// The locks that it takes, all at once.
    pub locks: Vec<String>,
}

/// A run that has started and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its queue.
    pub queue: String,
    /// The name under which runs overlap.
    pub overlap_key: String,
    /// Whether it makes up for time in which nothing was decided.
    pub catch_up: bool,
    /// The locks that it holds.
    pub locks: Vec<String>,
}

/// How much may run at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Slots by queue.
    pub slots: BTreeMap<String, usize>,
    /// Slots of every other queue.
    pub default_slots: usize,
    /// How many runs may hold a lock at once, by lock; every other one belongs to one run.
    pub locks: BTreeMap<String, usize>,
    /// How many runs that catch up go on at once, over all queues.
    pub max_catchup_parallel: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), default_slots: 10, locks: BTreeMap::new(), max_catchup_parallel: 2 }
    }
}

/// Why a run waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// All slots of its queue are taken.
    Slot,
    /// This lock is held, or an earlier run waits for it.
    Lock(String),
    /// An earlier run of its overlap key has not ended.
    Overlap,
    /// Enough runs catch up already.
    CatchUp,
}

/// Decides about each waiting run, in the order given: it starts now (`None`), or waits, and for what.
///
/// The higher priority goes first, then the one that waits longest. A run takes all its locks at once, so that no two
/// wait for each other; and a lock that an earlier run waits for is not given to a later one, so that none starves.
pub fn admit(waiting: &[Waiting], started: &[Started], limits: &Limits) -> Vec<Option<Wait>> {
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_by_key(|index| (u8::MAX - waiting[*index].priority, waiting[*index].since, *index));
    let mut running = Tally::default();
    let mut held = Tally::default();
    let mut keys = BTreeSet::new();
    for run in started {
        running.add(&run.queue);
        run.locks.iter().for_each(|lock| held.add(lock));
        keys.insert(run.overlap_key.as_str());
    }
    // Of each overlap key the run that came first.
    let mut first: BTreeMap<&str, (Timestamp, usize)> = BTreeMap::new();
    for (index, run) in waiting.iter().enumerate() {
        let earliest = first.entry(&run.overlap_key).or_insert((run.since, index));
        *earliest = (*earliest).min((run.since, index));
    }
    let mut catching_up = started.iter().filter(|run| run.catch_up).count();
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut answers = vec![None; waiting.len()];
    for index in order {
        let run = &waiting[index];
        let waits = first[run.overlap_key.as_str()] < (run.since, index);
        let lock = run.locks.iter().find(|lock| {
            wanted.contains(lock.as_str()) || held.of(lock) >= limits.locks.get(*lock).copied().unwrap_or(1)
        });
        let slots = limits.slots.get(&run.queue).copied().unwrap_or(limits.default_slots);
        let wait = if run.behind && (waits || keys.contains(run.overlap_key.as_str())) {
            Some(Wait::Overlap)
        } else if run.catch_up && catching_up >= limits.max_catchup_parallel {
            Some(Wait::CatchUp)
        } else if let Some(lock) = lock {
            Some(Wait::Lock(lock.clone()))
        } else if running.of(&run.queue) >= slots {
            Some(Wait::Slot)
        } else {
            None
        };
        match &wait {
            None => {
                running.add(&run.queue);
                run.locks.iter().for_each(|lock| held.add(lock));
                keys.insert(&run.overlap_key);
                catching_up += usize::from(run.catch_up);
            }
            // Who waits for a lock keeps its place at all of its locks; who waits for other things holds up nobody.
            Some(Wait::Lock(_)) => wanted.extend(run.locks.iter().map(String::as_str)),
            Some(Wait::Slot | Wait::Overlap | Wait::CatchUp) => {}
        }
        answers[index] = wait;
    }
    answers
}

/// How often each name was counted.
#[derive(Default)]
struct Tally<'a>(BTreeMap<&'a str, usize>);

impl<'a> Tally<'a> {
    fn add(&mut self, name: &'a str) {
        *self.0.entry(name).or_default() += 1;
    }

    fn of(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn waiting(name: &str, since: i64, locks: &[&str]) -> Waiting {
        Waiting {
            queue: "default".to_owned(),
            priority: 50,
            since: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(since),
            overlap_key: name.to_owned(),
            behind: false,
            catch_up: false,
            locks: locks.iter().map(|lock| (*lock).to_owned()).collect(),
        }
    }

    fn started(name: &str, locks: &[&str]) -> Started {
        let Waiting { queue, overlap_key, catch_up, locks, .. } = waiting(name, 0, locks);
        Started { queue, overlap_key, catch_up, locks }
    }

    #[test]
    fn slots_go_by_priority_and_then_by_age() {
        let limits = Limits { default_slots: 2, ..Limits::default() };
        let mut all = [waiting("a", 3, &[]), waiting("b", 1, &[]), waiting("c", 2, &[])];
        assert_eq!(admit(&all, &[], &limits), [Some(Wait::Slot), None, None]);
        all[0].priority = 51;
        assert_eq!(admit(&all, &[], &limits), [None, None, Some(Wait::Slot)]);
        assert_eq!(admit(&all, &[started("x", &[])], &limits), [None, Some(Wait::Slot), Some(Wait::Slot)]);
        all[1].queue = "slow".to_owned();
        let limits = Limits { slots: BTreeMap::from([("slow".to_owned(), 0)]), ..limits };
        assert_eq!(admit(&all, &[], &limits), [None, Some(Wait::Slot), None]);
    }

    #[test]
    fn locks_are_taken_at_once_and_in_turn() {
        let limits = Limits::default();
        let lock = |name: &str| Some(Wait::Lock(name.to_owned()));
        // The one that wants both waits for `a`, and keeps its place at `b`.
        let all = [waiting("both", 1, &["a", "b"]), waiting("b", 2, &["b"]), waiting("c", 3, &["c"])];
        assert_eq!(admit(&all, &[started("x", &["a"])], &limits), [lock("a"), lock("b"), None]);
        assert_eq!(admit(&all, &[], &limits), [None, lock("b"), None]);
        let limits = Limits { locks: BTreeMap::from([("b".to_owned(), 2)]), ..limits };
        assert_eq!(admit(&all, &[], &limits), [None, None, None]);
    }

    #[test]
    fn one_behind_the_other() {
        let limits = Limits::default();
        let mut all = [waiting("a", 1, &[]), waiting("a", 2, &[]), waiting("b", 2, &[])];
        for run in &mut all {
            run.behind = true;
        }
        assert_eq!(admit(&all, &[], &limits), [None, Some(Wait::Overlap), None]);
        assert_eq!(
            admit(&all, &[started("a", &[])], &limits),
            [Some(Wait::Overlap), Some(Wait::Overlap), None]
        );
        // The higher priority does not overtake what it has to follow.
        all[1].priority = 90;
        assert_eq!(admit(&all, &[], &limits), [None, Some(Wait::Overlap), None]);
        all[1].behind = false;
        assert_eq!(admit(&all, &[], &limits)[1], None);
    }

    #[test]
    fn few_catch_up_at_once() {
        let limits = Limits::default();
        let mut all =
            [waiting("a", 1, &[]), waiting("b", 2, &[]), waiting("c", 3, &[]), waiting("d", 4, &[])];
        for run in &mut all[..3] {
            run.catch_up = true;
        }
        assert_eq!(admit(&all, &[], &limits), [None, None, Some(Wait::CatchUp), None]);
    }
}
