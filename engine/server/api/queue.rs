//! What waits and for what, what runs, who holds which lock, and messages on their way.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::model::run::Status;
use crate::model::schedule::Wait;
use crate::server::App;
use crate::server::api::{Answer, Page, instant};
use crate::server::caller::Viewer;
use crate::server::extract::{Json, Query};
use crate::server::problem::Problem;
use crate::service::{ServiceError, places};
use crate::store::{HeldLock, InQueue};
use crate::world::clock;

/// The queue and the locks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queue {
    /// Whether this server is the one that starts runs.
    leads: bool,
    /// Runs that wait, in the order of their turn.
    waiting: Vec<Waiting>,
    /// Runs that go on.
    running: Vec<Running>,
    /// Queues that something waits or runs in, or that have their own number of slots.
    queues: Vec<Slots>,
    /// Named locks that somebody holds.
    locks: Vec<Lock>,
}

/// A run that waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Waiting {
    /// Its number.
    run: i64,
    /// The runbook.
    runbook: String,
    /// The queue.
    queue: String,
    /// 0 to 100, the higher before the lower.
    priority: u8,
    /// Since when: RFC 3339.
    since: String,
    /// Who asked for it.
    by: String,
    /// What it waits for: `slot`, `lock`, `overlap`, `catch_up`; absent where its turn has just come.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    /// The lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    /// What the holder of the lock says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
}

/// A run that goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Running {
    /// Its number.
    run: i64,
    /// The runbook.
    runbook: String,
    /// The queue.
    queue: String,
    /// Since when: RFC 3339.
    since: String,
    /// Who asked for it.
    by: String,
}

/// How much of a queue is taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Slots {
    /// Its name.
    queue: String,
    /// How many runs run in it at once at most.
    slots: usize,
    /// How many do.
    taken: usize,
    /// How many wait.
    waiting: usize,
}

/// A named lock that somebody holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Lock {
    /// Its name.
    lock: String,
    /// What its holder says of itself.
    holder: String,
    /// The run that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<i64>,
    /// Since when: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// For how many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<i64>,
}

/// Show what waits, what runs, and who holds which lock
#[utoipa::path(get, path = "/api/v1/queue", tag = "queue",
    responses((status = 200, body = Queue), (status = "default", body = Problem)))]
pub(crate) async fn show(_: Viewer, State(app): State<App>) -> Answer<Queue> {
    let shown = app.look(|desk| {
        let (queued, going, started) = desk.read::<_, ServiceError>(|reader| {
            let running = reader.queued(&[Status::Running])?;
            let started: Vec<i64> = running
                .iter()
                .map(|one| Ok(reader.run(one.run)?.started_at))
                .collect::<Result<_, ServiceError>>()?;
            Ok((reader.queued(&[Status::Queued])?, running, started))
        })?;
        let held_up = desk.held_up();
        let places = places(&held_up);
        let place = |one: &InQueue| places.get(&one.run).copied().unwrap_or(0);
        let mut waiting: Vec<&InQueue> = queued.iter().collect();
        waiting.sort_by_key(|one| (place(one), one.run));
        let limits = desk.limits();
        let mut names: Vec<&String> =
            queued.iter().chain(&going).map(|one| &one.order.queue).chain(limits.slots.keys()).collect();
        names.sort();
        names.dedup();
        let count = |runs: &[InQueue], name: &str| runs.iter().filter(|one| one.order.queue == name).count();
        Ok(Queue {
            leads: desk.leads(),
            queues: names
                .into_iter()
                .map(|name| Slots {
                    queue: name.clone(),
                    slots: limits.slots.get(name).copied().unwrap_or(limits.default_slots),
                    taken: count(&going, name),
                    waiting: count(&queued, name),
                })
                .collect(),
            waiting: waiting
                .into_iter()
                .map(|one| {
                    let found = places.get(&one.run).map(|place| &held_up[*place].1);
                    let (waits_for, lock) = match found.map(|holdup| &holdup.wait) {
                        None => (None, None),
                        Some(Wait::Slot) => (Some("slot"), None),
                        Some(Wait::Lock(name)) => (Some("lock"), Some(name.clone())),
                        Some(Wait::Overlap) => (Some("overlap"), None),
                        Some(Wait::CatchUp) => (Some("catch_up"), None),
                    };
                    Waiting {
                        run: one.run.0,
                        runbook: one.order.runbook.clone(),
                        queue: one.order.queue.clone(),
                        priority: one.order.priority,
                        since: instant(one.queued_at),
                        by: one.order.trigger.to_string(),
                        waits_for: waits_for.map(str::to_owned),
                        lock,
                        holder: found.and_then(|holdup| holdup.holder.clone()),
                    }
                })
                .collect(),
            running: going
                .iter()
                .zip(started)
                .map(|(one, started)| Running {
                    run: one.run.0,
                    runbook: one.order.runbook.clone(),
                    queue: one.order.queue.clone(),
                    since: instant(started),
                    by: one.order.trigger.to_string(),
                })
                .collect(),
            locks: desk.store().locks().into_iter().map(lock).collect(),
        })
    });
    Ok(Json(shown.await?))
}

fn lock(held: HeldLock) -> Lock {
    let now = clock::now().as_microsecond();
    Lock {
        lock: held.name,
        holder: held.holder,
        run: held.run.map(|run| run.0),
        since: held.since.map(instant),
        age_seconds: held.since.map(|since| (now - since).max(0) / 1_000_000),
    }
}

/// A message to people.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Message {
    /// Its number.
    message: i64,
    /// The target's name.
    target: String,
    /// Why it was made: `failure`, `recovery`, `stale`, `missed`, `paused`, `server`, `test`.
    occasion: String,
    /// What it says.
    #[schema(value_type = Object)]
    notice: Value,
    /// When it was made: RFC 3339.
    made: String,
    /// When it was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<String>,
    /// When it was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_up: Option<String>,
    /// When it is tried next, while it is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    /// How often it was tried.
    attempts: i64,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Which messages to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Numbers below this: `next` of the page before.
    before: Option<i64>,
    /// How many at most; 100 by default, 1000 at most.
    limit: Option<usize>,
}

/// List messages to people, the newest first: delivered, on their way, given up
#[utoipa::path(get, path = "/api/v1/messages", tag = "queue", params(Wanted),
    responses((status = 200, body = Page<Message>), (status = "default", body = Problem)))]
pub(crate) async fn messages(
    _: Viewer,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Answer<Page<Message>> {
    let limit = wanted.limit.unwrap_or(100).clamp(1, 1000);
    let rows = app.look(move |desk| desk.read(|reader| Ok(reader.messages(wanted.before, limit)?))).await?;
    let next = (rows.len() == limit).then(|| rows.last().map(|one| one.id)).flatten();
    let shown = |one: crate::store::Outgoing| Message {
        message: one.id,
        target: one.target,
        occasion: one.notice.occasion.as_str().to_owned(),
        notice: serde_json::to_value(&one.notice).unwrap_or_default(),
        made: instant(one.made_at),
        due: (one.delivered_at.is_none() && one.given_up_at.is_none()).then(|| instant(one.due_at)),
        delivered: one.delivered_at.map(instant),
        given_up: one.given_up_at.map(instant),
        attempts: one.attempts,
        error: one.error,
    };
    Ok(Json(Page { items: rows.into_iter().map(shown).collect(), next }))
}
