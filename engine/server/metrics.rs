//! `/metrics`: numbers for Prometheus (text format 0.0.4), with few labels and a bound on each.
//!
//! Counters come from the run log, so that they go on counting where a server before has stopped.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::model::histogram::{self, Histogram};
use crate::model::run::Status;
use crate::server::caller::Viewer;
use crate::server::listen::listen;
use crate::server::problem::{Failure, Problem};
use crate::server::{App, health};
use crate::service::{Desk, Patience, ServiceError};
use crate::store::{BOUNDS, Tally};
use crate::world::{clock, machine};

/// The most values of a label; what is beyond counts as `other`, or is left out where it cannot be summed up.
const MOST: usize = 500;

/// Numbers for Prometheus
///
/// With a token of a viewer, unless `server.metrics.open` is set.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, content_type = "text/plain", body = String), (status = "default", body = Problem)))]
pub(crate) async fn show(State(app): State<App>, request: Request) -> Result<Response, Failure> {
    if !app.desk.project().config().server.metrics.open {
        let (mut parts, _) = request.into_parts();
        Viewer::from_request_parts(&mut parts, &app).await?;
    }
    write(&app).await
}

async fn write(app: &App) -> Result<Response, Failure> {
    let mut text = app.look(text).await?;
    let streams = app.streams.count();
    text.one(
        "nlrun_event_streams",
        "gauge",
        "Streams of events that clients of this server follow.",
        streams,
    );
    let text = text.0;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Serves metrics and health on a listener of their own, without a token.
pub(crate) async fn serve(listener: TcpListener, app: App, patience: Patience) {
    let router = axum::Router::new()
        .route("/metrics", get(async |State(app): State<App>| write(&app).await))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(app.clone());
    let mut ending = app.ending.clone();
    let ended = async move {
        let _ = ending.wait_for(|ended| *ended).await;
    };
    listen(listener, None, router, patience, ended).await;
}

/// Writes the text format.
#[derive(Default)]
struct Text(String);

impl Text {
    fn about(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> =
            labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.about(name, kind, help);
        self.value(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, measured: &Histogram) {
        self.about(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram::BOUNDS.iter().zip(measured.at_most) {
            self.value(&bucket, &[("le", &bound.to_string())], count);
        }
        self.value(&bucket, &[("le", "+Inf")], measured.count);
        self.value(&format!("{name}_sum"), &[], measured.sum);
        self.value(&format!("{name}_count"), &[], measured.count);
    }
}

fn text(desk: &Desk) -> Result<Text, ServiceError> {
    let mut text = Text::default();
    let now = clock::now();
    let version = env!("CARGO_PKG_VERSION");
    text.about("nlrun_build_info", "gauge", "Which nlrun this is.");
    text.value("nlrun_build_info", &[("version", version)], 1);
    text.one(
        "nlrun_leader",
        "gauge",
        "Whether this server is the one that starts runs.",
        u8::from(desk.leads()),
    );
    desk.read::<_, ServiceError>(|reader| {
        runs(&mut text, &reader.tallies()?, now.as_microsecond());
        let counters = |name: &str| reader.counters(name);
        text.about("nlrun_instants_undelivered_total", "counter", "Instants of schedules that became no run, by what they are instead.");
        for (state, count) in counters("undelivered")? {
            text.value("nlrun_instants_undelivered_total", &[("state", &state)], count);
        }
        let effects: BTreeMap<String, i64> = counters("effects")?.into_iter().collect();
        text.about("nlrun_effects_total", "counter", "Effects of runs that ended: performed, and of these failed in runs that failed, or failed and made up for in runs that are done.");
        for (result, count) in &effects {
            text.value("nlrun_effects_total", &[("result", result)], count);
        }
        let of = |name: &str| effects.get(name).copied().unwrap_or(0) as f64;
        text.one("nlrun_retry_ratio", "gauge", "Share of effects that failed and were made up for: what retries hide.", of("made_up_for") / of("performed").max(1.0));
        text.one("nlrun_notifications_pending", "gauge", "Messages to people that are on their way.", reader.pending_messages()?);
        text.about("nlrun_notification_failures_total", "counter", "Attempts to deliver a message that failed, by target.");
        for (target, count) in counters("notify_failures")?.into_iter().take(MOST) {
            text.value("nlrun_notification_failures_total", &[("target", &target)], count);
        }
        queues(&mut text, desk, &reader.queued(&[Status::Queued])?, &reader.queued(&[Status::Running])?);
        Ok(())
    })?;
    schedules(&mut text, desk, now)?;
    let measured = desk.measured();
    text.histogram(
        "nlrun_queue_wait_seconds",
        "How long runs waited until a process was started for them, since this server was started.",
        &measured.wait,
    );
    text.histogram(
        "nlrun_schedule_lateness_seconds",
        "How much later than due runs of schedules came into the queue, since this server was started.",
        &measured.lateness,
    );
    text.one(
        "nlrun_locks_held",
        "gauge",
        "Named locks that somebody holds.",
        desk.store().held_locks().len(),
    );
    text.one(
        "nlrun_database_bytes",
        "gauge",
        "What the run log takes on disk, its write-ahead log included.",
        desk.store().size(),
    );
    if let Ok(free) = machine::free_bytes(desk.store().dir()) {
        text.one("nlrun_disk_free_bytes", "gauge", "What is free on the disk of the run log.", free);
    }
    Ok(text)
}

fn runs(text: &mut Text, tallies: &[Tally], now: i64) {
    // The busiest runbooks keep their names.
    let mut totals: BTreeMap<&str, i64> = BTreeMap::new();
    for tally in tallies {
        *totals.entry(&tally.runbook).or_default() += tally.runs;
    }
    let mut names: Vec<(&str, i64)> = totals.into_iter().collect();
    names.sort_by_key(|(name, runs)| (std::cmp::Reverse(*runs), *name));
    let known: Vec<&str> = names.iter().take(MOST).map(|(name, _)| *name).collect();
    let label = |tally: &Tally| known.iter().find(|name| **name == tally.runbook).copied().unwrap_or("other");
    let mut by_status: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut lengths: BTreeMap<&str, ([i64; BOUNDS.len()], i64, i64)> = BTreeMap::new();
    let mut good: BTreeMap<&str, i64> = BTreeMap::new();
    for tally in tallies {
        *by_status.entry((label(tally), &tally.status)).or_default() += tally.runs;
        let (buckets, count, micros) = lengths.entry(label(tally)).or_default();
        for (sum, more) in buckets.iter_mut().zip(tally.at_most) {
            *sum += more;
        }
        *count += tally.runs;
        *micros += tally.micros;
        if tally.status == Status::Done.as_str() && label(tally) != "other" {
            good.insert(label(tally), tally.last_at);
        }
    }
    text.about("nlrun_runs_total", "counter", "Runs that ended, by runbook and status.");
    for ((runbook, status), count) in &by_status {
        text.value("nlrun_runs_total", &[("runbook", runbook), ("status", status)], count);
    }
    text.about("nlrun_run_duration_seconds", "histogram", "How long runs took, by runbook.");
    for (runbook, (buckets, count, micros)) in &lengths {
        for (bound, sum) in BOUNDS.iter().zip(buckets) {
            let labels = [("runbook", *runbook), ("le", &bound.to_string())];
            text.value("nlrun_run_duration_seconds_bucket", &labels, sum);
        }
        text.value("nlrun_run_duration_seconds_bucket", &[("runbook", runbook), ("le", "+Inf")], count);
        text.value("nlrun_run_duration_seconds_sum", &[("runbook", runbook)], *micros as f64 / 1e6);
        text.value("nlrun_run_duration_seconds_count", &[("runbook", runbook)], count);
    }
    text.about(
        "nlrun_runbook_success_age_seconds",
        "gauge",
        "How long ago the last run of a runbook ended that was done.",
    );
    for (runbook, at) in &good {
        let age = (now - at).max(0) as f64 / 1e6;
        text.value("nlrun_runbook_success_age_seconds", &[("runbook", runbook)], age);
    }
}

fn queues(
    text: &mut Text,
    desk: &Desk,
    waiting: &[crate::store::InQueue],
    running: &[crate::store::InQueue],
) {
    let limits = desk.limits();
    let mut names: Vec<&str> = waiting.iter().chain(running).map(|one| one.order.queue.as_str()).collect();
    names.extend(limits.slots.keys().map(String::as_str));
    names.push(crate::model::order::DEFAULT_QUEUE);
    names.sort_unstable();
    names.dedup();
    names.truncate(MOST);
    let count = |runs: &[crate::store::InQueue], name: &str| {
        runs.iter().filter(|one| one.order.queue == name).count()
    };
    text.about("nlrun_runs_waiting", "gauge", "Runs that wait, by queue.");
    for name in &names {
        text.value("nlrun_runs_waiting", &[("queue", name)], count(waiting, name));
    }
    text.about("nlrun_runs_running", "gauge", "Runs that go on, by queue.");
    for name in &names {
        text.value("nlrun_runs_running", &[("queue", name)], count(running, name));
    }
    text.about("nlrun_queue_slots", "gauge", "How many runs run at once at most, by queue.");
    for name in &names {
        let slots = limits.slots.get(*name).copied().unwrap_or(limits.default_slots);
        text.value("nlrun_queue_slots", &[("queue", name)], slots);
    }
    let now = clock::now().as_microsecond();
    let oldest = waiting.iter().map(|one| one.queued_at).min().map_or(0, |at| (now - at).max(0));
    text.one(
        "nlrun_queue_oldest_seconds",
        "gauge",
        "How long the run waits that waits longest.",
        oldest as f64 / 1e6,
    );
}

fn schedules(text: &mut Text, desk: &Desk, now: jiff::Timestamp) -> Result<(), ServiceError> {
    let mut stands = desk.stands(None, 0, now)?;
    // Where there are too many, those that need somebody are not left out.
    stands.sort_by_key(|stand| {
        (stand.stale_since.is_none(), stand.standing.as_ref().is_none_or(|s| s.failures == 0))
    });
    stands.truncate(MOST);
    stands.sort_by(|a, b| a.definition.schedule.id.cmp(&b.definition.schedule.id));
    text.about(
        "nlrun_schedule_stale",
        "gauge",
        "Whether a schedule went without success for longer than it may.",
    );
    for stand in &stands {
        let value = u8::from(stand.stale_since.is_some());
        text.value("nlrun_schedule_stale", &[("schedule", &stand.definition.schedule.id)], value);
    }
    text.about("nlrun_schedule_paused", "gauge", "Whether a schedule stands still.");
    for stand in &stands {
        let is_paused = stand.cursor.as_ref().is_some_and(|moved| moved.cursor.paused.is_some());
        text.value(
            "nlrun_schedule_paused",
            &[("schedule", &stand.definition.schedule.id)],
            u8::from(is_paused),
        );
    }
    text.about("nlrun_schedule_failures", "gauge", "How many runs of a schedule in a row failed.");
    for stand in &stands {
        let failures = stand.standing.as_ref().map_or(0, |standing| standing.failures);
        text.value("nlrun_schedule_failures", &[("schedule", &stand.definition.schedule.id)], failures);
    }
    text.about(
        "nlrun_schedule_success_age_seconds",
        "gauge",
        "How long ago the last run of a schedule ended that was done; since it is known where there is none.",
    );
    for stand in &stands {
        let Some(standing) = &stand.standing else { continue };
        let at = standing.success.map_or(standing.seen_at, |(_, at)| at);
        let age = (now.as_microsecond() - at).max(0) as f64 / 1e6;
        text.value("nlrun_schedule_success_age_seconds", &[("schedule", &stand.definition.schedule.id)], age);
    }
    Ok(())
}
