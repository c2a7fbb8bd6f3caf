//! What messages say: what, where, since when, when it was good last, where to look and what to do.

use jiff::{SignedDuration, Timestamp};

use crate::model::diagnostic::Diagnostic;
use crate::model::duration;
use crate::model::event::{Start, Verdict};
use crate::model::notice::{Notice, Occasion};
use crate::model::run::{Status, Trigger};
use crate::model::schedule::Schedule;
use crate::service::scheduler::Alarm;
use crate::store::{RunRow, Standing, Untold};

/// Decides whether people are told of a run that ended, and of what.
pub(super) fn occasion(
    untold: &Untold,
    status: Status,
    was_stale: bool,
    repeat: SignedDuration,
) -> Option<Occasion> {
    match status {
        Status::Done if untold.failures > 0 || was_stale => Some(Occasion::Recovery),
        Status::Done | Status::Cancelled | Status::Queued | Status::Running | Status::Interrupted => None,
        Status::Failed | Status::Partial | Status::Stopped | Status::TimedOut | Status::InDoubt => {
            // A schedule that goes on failing is told again only after a while.
            let is_due = untold
                .told_at
                .is_none_or(|told| i128::from(untold.at) - i128::from(told) >= repeat.as_micros());
            (untold.failures == 0 || is_due).then_some(Occasion::Failure)
        }
    }
}

/// Writes what is told of a run that ended; nothing where whoever asked for it sees it anyway.
pub(super) fn ended(
    occasion: Occasion,
    untold: &Untold,
    row: &RunRow,
    start: &Start,
    schedule: Option<&Schedule>,
    link: Option<String>,
) -> Option<Notice> {
    let is_asked = !matches!(start.trigger, Trigger::Schedule { .. } | Trigger::Webhook { .. });
    if is_asked && untold.schedule.is_none() {
        return None;
    }
    let (run, summary) = (row.id, &row.summary);
    let name = untold.schedule.as_deref().unwrap_or(&summary.runbook);
    let what = format!("run {run} of {} is {}", summary.runbook, summary.status);
    let notice =
        Notice { occasion, link, run: Some(run.0), schedule: untold.schedule.clone(), ..Notice::default() };
    if occasion == Occasion::Recovery {
        let was = match untold.failures {
            0 => "it was stale".to_owned(),
            1 => "one run had failed".to_owned(),
            count => format!("{count} runs in a row had failed"),
        };
        return Some(Notice {
            subject: format!("[nlrun] {name} works again"),
            what: format!("{what}; {was}"),
            since: untold.failing_since.map(|at| format!("it failed since {}", time(at, schedule))),
            ..notice
        });
    }
    let count = untold.failures + 1;
    let times = if count > 1 { format!(" ({count} in a row)") } else { String::new() };
    let error =
        summary.error.as_ref().and_then(|error| serde_json::from_value::<Diagnostic>(error.clone()).ok());
    let why = error.as_ref().map(|error| error.message.clone());
    let why = why.or_else(|| summary.problems.first().map(|problem| problem.text.clone()));
    let hosts = |verdict: Verdict| {
        let of_it = summary.hosts.iter().filter(|(_, found)| **found == verdict);
        of_it.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let mut places = Vec::new();
    match &error {
        Some(error) if error.line > 0 => places.push(format!("{}:{}", error.file, error.line)),
        Some(_) | None => places.extend(summary.problems.first().and_then(|problem| problem.site.clone())),
    }
    for verdict in [Verdict::Failed, Verdict::Unreachable] {
        let names = hosts(verdict);
        if !names.is_empty() {
            let more = if names.len() > 8 { format!(" and {} more", names.len() - 8) } else { String::new() };
            places.push(format!("{}: {}{more}", verdict.as_str(), names[..names.len().min(8)].join(", ")));
        }
    }
    let next = match summary.status {
        Status::InDoubt => format!("`nlrun show {run}` lists acts that a person must decide about"),
        Status::Stopped => format!("`nlrun show {run}` says what is not allowed, or what it waits for"),
        _ => format!("`nlrun log {run} --failed`"),
    };
    let left = summary.left_behind.first().map(|left| format!("; left behind: {left}")).unwrap_or_default();
    Some(Notice {
        subject: format!("[nlrun] {name} {}{times}", summary.status),
        what: format!("{what}{}{left}", why.map(|why| format!(": {why}")).unwrap_or_default()),
        place: Some(places.join("; ")).filter(|text| !text.is_empty()),
        since: Some(time(untold.failing_since.unwrap_or(untold.at), schedule)),
        last_good: untold.schedule.as_ref().map(|_| good(untold.success_at, schedule)),
        next: Some(next),
        ..notice
    })
}

/// Writes what is told of instants that became no run, or of a schedule that stands still; with what makes it one message.
pub(super) fn undelivered(
    name: &str,
    state: &str,
    reason: &str,
    count: i64,
    instant: i64,
    schedule: Option<&Schedule>,
    link: Option<String>,
) -> (String, Notice) {
    let at = time(instant, schedule);
    let notice = Notice { link, schedule: Some(name.to_owned()), since: Some(at), ..Notice::default() };
    if state == "paused" {
        let notice = Notice {
            occasion: Occasion::Paused,
            subject: format!("[nlrun] {name} stands still"),
            what: reason.to_owned(),
            next: Some(format!("`nlrun schedule resume {name}` lets it go on")),
            ..notice
        };
        return (format!("paused:{name}"), notice);
    }
    let words = state.replace('_', " ");
    let what = match count {
        1 => format!("an instant became no run ({words}): {reason}"),
        count => format!("{count} instants became no run ({words}): {reason}"),
    };
    let notice = Notice {
        occasion: Occasion::Missed,
        subject: format!("[nlrun] {name} did not run"),
        what,
        next: Some(format!("`nlrun schedule fates {name}` lists them; `nlrun run` makes up for one")),
        ..notice
    };
    (format!("missed:{name}:{state}"), notice)
}

/// Writes what is told of a schedule that went without success for too long.
pub(super) fn stale(
    schedule: &Schedule,
    standing: Option<&Standing>,
    since: Timestamp,
    link: Option<String>,
) -> Notice {
    let most = schedule.stale_after.map(duration::text).unwrap_or_default();
    let last = standing.and_then(|standing| standing.last);
    let last = match last {
        Some((run, status, _)) => format!("the last run was {run}, which is {status}"),
        None => "it has not run yet".to_owned(),
    };
    Notice {
        occasion: Occasion::Stale,
        subject: format!("[nlrun] {} is stale", schedule.id),
        what: format!("no success of {} for more than {most}; {last}", schedule.runbook),
        since: Some(time(since.as_microsecond(), Some(schedule))),
        last_good: Some(good(standing.and_then(|standing| Some(standing.success?.1)), Some(schedule))),
        link,
        next: Some(format!(
            "`nlrun schedule status` says when it is due, `nlrun run {}` runs it now",
            schedule.runbook
        )),
        schedule: Some(schedule.id.clone()),
        ..Notice::default()
    }
}

/// Writes what is told of the scheduler itself; what stands in the run log is told from there.
pub(super) fn alarm(alarm: &Alarm, now: Timestamp, link: Option<String>) -> Option<(String, Notice)> {
    let notice = |subject: &str, what: String, next: &str| Notice {
        occasion: Occasion::Server,
        subject: format!("[nlrun] {subject}"),
        what,
        since: Some(time(now.as_microsecond(), None)),
        link: link.clone(),
        next: Some(next.to_owned()),
        ..Notice::default()
    };
    match alarm {
        Alarm::ClockJump { seconds } => {
            let what = format!("the clock was set by {seconds} s; schedules left out what was between");
            let next = "look at `timedatectl` and at what should have run in that time";
            Some((format!("clock:{}", now.as_second()), notice("the clock was set", what, next)))
        }
        Alarm::Unusable { why } => {
            let what = format!("the files of schedules cannot be used, those before stay in force: {why}");
            let key = format!("unusable:{}", crate::store::sha256(why.as_bytes()));
            Some((key, notice("schedules cannot be used", what, "`nlrun schedule lint` shows the place")))
        }
        Alarm::Undelivered { .. } | Alarm::Paused { .. } => None,
    }
}

fn good(at: Option<i64>, schedule: Option<&Schedule>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| time(at, schedule))
}

/// Writes an instant as the schedule's own clock shows it.
fn time(at: i64, schedule: Option<&Schedule>) -> String {
    let Ok(at) = Timestamp::from_microsecond(at) else { return at.to_string() };
    let zone = schedule.map_or(jiff::tz::TimeZone::UTC, |schedule| schedule.tz.time_zone().clone());
    at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}
