//! What is allowed in a schedule and is probably not meant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::calendar::Calendars;
use super::cron::{Cron, Field};
use super::decide::blocked;
use super::definition::Schedule;
use super::file::Definition;
use super::when::{Dst, When};
use super::zone::Zone;
use crate::model::diagnostic::Diagnostic;
use crate::model::duration;

/// How long the runs of a runbook took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The median.
    pub typical: Duration,
    /// The longest.
    pub longest: Duration,
}

/// How many instants of a schedule are looked at.
const LOOK: usize = 400;
/// From how many schedules on one minute is crowded.
const CROWD: usize = 5;

const YEAR: SignedDuration = SignedDuration::from_hours(24 * 366);
const WEEK: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Looks at schedules as they are from an instant on; `recorded` is by schedule.
pub fn lint(
    definitions: &[Definition],
    now: Timestamp,
    calendars: &Calendars,
    recorded: &BTreeMap<String, Recorded>,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for definition in definitions {
        let mut lint = Lint { definition, now, found: Vec::new() };
        lint.clock();
        lint.days();
        lint.steps();
        lint.instants(calendars, recorded.get(&definition.schedule.id));
        found.extend(lint.found);
    }
    found.extend(crowd(definitions, now));
    found
}

struct Lint<'a> {
    definition: &'a Definition,
    now: Timestamp,
    found: Vec<Diagnostic>,
}

impl Lint<'_> {
    fn schedule(&self) -> &Schedule {
        &self.definition.schedule
    }

    fn warn(&mut self, key: &str, code: &'static str, message: String, hint: Option<&str>) {
        let message = format!("schedule `{}`: {message}", self.schedule().id);
        let finding = Diagnostic::warning(code, message).maybe_hint(hint.map(str::to_owned));
        self.found.push(self.definition.origin.place(finding, key));
    }

    /// Entries that mean a spacing within fixed hours, where the clock is moved in these hours.
    fn clock(&mut self) {
        match &self.schedule().when.clone() {
            When::Cron { cron, tz, dst: Dst::Elapsed } if cron.is_interval_in_hours() => {
                let days: Vec<String> = odd_days(cron, tz, &self.schedule().when, self.now);
                if !days.is_empty() {
                    let hint = "a time of day is `dst: wall`; a spacing all day long has `*` for its hour";
                    self.warn(
                        "cron",
                        "moved-clock",
                        format!("`{cron}` runs {}", days.join(", ")),
                        Some(hint),
                    );
                }
            }
            When::Every { every, .. } if every.as_secs() >= 86_400 && every.as_secs() % 86_400 == 0 => {
                let message = format!(
                    "`every: {}` is {} s, so its time of day shifts when the clock is moved",
                    duration::text(*every),
                    every.as_secs()
                );
                self.warn("every", "elapsed-days", message, Some("a time of day is written with `cron`"));
            }
            When::Cron { .. } | When::Every { .. } | When::At { .. } => {}
        }
    }

    /// Which rule for the two day fields applies.
    fn days(&mut self) {
        let When::Cron { cron, .. } = &self.schedule().when else { return };
        let (cron, day, weekday) = (cron.clone(), cron.field(Field::Day), cron.field(Field::Weekday));
        if cron.is_either_day() {
            let message = format!("`{cron}` fires on days {day} and also on every {weekday}");
            let hint = "leave one of the two `*`; the first Friday of a month is `FRI#1`";
            self.warn("cron", "either-day", message, Some(hint));
        } else if cron.is_both_days() {
            let message = format!("`{cron}` fires only where day {day} and weekday {weekday} both fit");
            self.warn("cron", "both-days", message, Some("without a `*` at the beginning either would do"));
        }
    }

    /// Steps that do not divide their field.
    fn steps(&mut self) {
        let When::Cron { cron, .. } = &self.schedule().when else { return };
        let cron = cron.clone();
        for (field, whole, unit) in [(Field::Minute, 60, "m"), (Field::Hour, 24, "h")] {
            let step = cron.field(field).strip_prefix("*/").and_then(|step| step.parse::<u32>().ok());
            let Some(step) = step.filter(|step| *step > 0 && whole % step != 0) else { continue };
            let last = whole - (whole - 1) / step * step;
            let message = format!(
                "`{cron}` is uneven: after the last {field} the next comes after {last}{unit}, not {step}{unit}"
            );
            let hint = format!("`every: {step}{unit}` keeps the spacing");
            self.warn("cron", "uneven-step", message, Some(&hint));
        }
    }

    /// What the coming instants show.
    fn instants(&mut self, calendars: &Calendars, recorded: Option<&Recorded>) {
        let schedule = self.schedule().clone();
        if !schedule.enabled {
            return;
        }
        let limit = self.now.checked_add(YEAR).unwrap_or(Timestamp::MAX);
        let mut coming: Vec<Timestamp> =
            std::iter::successors(schedule.next(self.now), |last| schedule.next(*last))
                .take(LOOK)
                .take_while(|at| *at <= limit)
                .collect();
        let Some(next) = schedule.next(self.now) else {
            let message = match (schedule.next(Timestamp::MIN), schedule.until) {
                (None, _) => "never fires within its bounds".to_owned(),
                (Some(_), Some(until)) => format!("is over since {until}"),
                (Some(_), None) => "is over: its last instant has passed".to_owned(),
            };
            let key = if schedule.until.is_some() { "until" } else { "at" };
            return self.warn(key, "over", message, Some("`enabled: false` says so, or remove it"));
        };
        if coming.is_empty() {
            let message = format!("fires not before {next}");
            self.warn("cron", "rare", message, None);
            coming.push(next);
        }
        let gaps = || {
            coming
                .windows(2)
                .map(|pair| Duration::try_from(pair[1].duration_since(pair[0])).unwrap_or_default())
        };
        let (shortest, longest) = (gaps().min(), gaps().max());
        if let (Some(shortest), Some(recorded)) = (shortest, recorded)
            && recorded.typical > shortest
        {
            let message = format!(
                "a run takes {} as a rule, and the next is due after {}",
                duration::text(whole(recorded.typical)),
                duration::text(shortest)
            );
            self.warn("cron", "slow", message, Some("what happens then is said by `overlap`"));
        }
        if let Some(shortest) = shortest.filter(|shortest| schedule.jitter > *shortest) {
            let message = format!(
                "a jitter of {} is cut to the period of {}",
                duration::text(schedule.jitter),
                duration::text(shortest)
            );
            self.warn("jitter", "jitter", message, None);
        }
        if let (Some(stale), Some(longest)) = (schedule.stale_after, longest)
            && stale < longest
        {
            let message = format!(
                "is stale after {} without success, and fires only every {} at times",
                duration::text(stale),
                duration::text(longest)
            );
            self.warn(
                "stale_after",
                "stale",
                message,
                Some("let it be longer than the longest pause, and a little"),
            );
        }
        let is_blocked = |at: &Timestamp| blocked(&schedule, *at, calendars).is_some();
        if coming.iter().take(50).all(is_blocked) {
            let count = coming.len().min(50);
            let message = format!("its calendars block each of the next {count} instants");
            let key = if schedule.not_in.is_empty() { "only_in" } else { "not_in" };
            self.warn(key, "blocked", message, None);
        }
    }
}

fn whole(length: Duration) -> Duration {
    Duration::from_secs(length.as_secs().max(1))
}

/// Tells of the days within two years on which an entry fires more or less often than on others.
fn odd_days(cron: &Cron, tz: &Zone, when: &When, now: Timestamp) -> Vec<String> {
    let until = now.checked_add(YEAR * 2).unwrap_or(Timestamp::MAX);
    let mut found: BTreeMap<usize, String> = BTreeMap::new();
    for (at, seconds) in tz.moves(now, until) {
        let after = tz.civil(at);
        let Ok(before) = after.checked_sub(SignedDuration::from_secs(seconds)) else { continue };
        let (low, high): (DateTime, DateTime) = (after.min(before), after.max(before));
        if cron.first(low, high).is_none() {
            continue;
        }
        let day = low.date();
        let count = runs_of(when, tz, day);
        found.entry(count).or_insert_with(|| format!("{count} times on {day}"));
    }
    found.into_values().collect()
}

/// Counts the runs of a civil day.
fn runs_of(when: &When, tz: &Zone, day: jiff::civil::Date) -> usize {
    let midnight = |day: jiff::civil::Date| tz.instant(day.to_datetime(jiff::civil::Time::midnight()));
    let (Some(from), Some(until)) = (midnight(day), day.tomorrow().ok().and_then(midnight)) else { return 0 };
    let before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
    std::iter::successors(when.next(before), |last| when.next(*last)).take_while(|at| *at < until).count()
}

/// The minute of the coming week in which most schedules fire.
fn crowd(definitions: &[Definition], now: Timestamp) -> Option<Diagnostic> {
    let until = now.checked_add(WEEK).ok()?;
    let mut minutes: BTreeMap<i64, BTreeSet<usize>> = BTreeMap::new();
    for (index, definition) in definitions.iter().enumerate() {
        let coming = definition.schedule.upcoming(now).take(LOOK);
        for (_, due) in coming.take_while(|(instant, _)| *instant < until) {
            minutes.entry(due.as_second().div_euclid(60)).or_default().insert(index);
        }
    }
    let (minute, crowd) = minutes.into_iter().rev().max_by_key(|(_, crowd)| crowd.len())?;
    let first = definitions.get(*crowd.first()?).filter(|_| crowd.len() >= CROWD)?;
    let at = Timestamp::from_second(minute * 60).ok()?;
    let names: Vec<&str> =
        crowd.iter().take(8).map(|index| definitions[*index].schedule.id.as_str()).collect();
    let more = if crowd.len() > names.len() { " and others" } else { "" };
    let message = format!("{} schedules fire in the minute of {at}: {}{more}", crowd.len(), names.join(", "));
    let finding = Diagnostic::warning("crowd", message).hint("spread them with `jitter: 10m`");
    Some(first.origin.place(finding, "cron"))
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
