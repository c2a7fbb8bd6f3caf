//! Schedules: when they are due, how they stand, and what became of their instants.

use axum::Extension;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::duration;
use crate::model::schedule::Cursor;
use crate::model::schedule::when::When;
use crate::server::App;
use crate::server::api::{Answer, Listing, Page, instant, page_of};
use crate::server::caller::{AtLeast, Editor, Operator, Viewer};
use crate::server::extract::{Json, Path, Query};
use crate::server::guard::Note;
use crate::server::problem::{Failure, Problem};
use crate::service::Stand;
use crate::world::clock;

/// The most instants of a preview, and rows of a page.
const MOST: usize = 1000;
/// The longest preview of all schedules.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 92);

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Schedule {
    /// Its name.
    schedule: String,
    /// What it is for.
    doc: String,
    /// Its runbook.
    runbook: String,
    /// `plan` or `apply`.
    mode: String,
    /// When it is due, in words: `cron 30 2 * * *`, `every 5m`.
    when: String,
    /// The time zone that it goes by.
    tz: String,
    /// Whether its file turns it on.
    enabled: bool,
    /// Where it is written: file and line.
    file: String,
    /// The line.
    line: usize,
    /// The next instants.
    next: Vec<Instant>,
    /// How far it has been decided; absent before the scheduler has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<CursorNow>,
    /// Why it stands still, when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<Paused>,
    /// The last run of it that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<LastRun>,
    /// The last run of it that was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<LastRun>,
    /// How many runs in a row failed.
    failures: i64,
    /// How long it may go without success, such as `26h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_after: Option<String>,
    /// Since when it is stale; absent while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_since: Option<String>,
}

/// An instant of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Instant {
    /// The instant: RFC 3339, UTC.
    at: String,
    /// When it fires, with the jitter.
    due: String,
    /// The same on the clock of the schedule's zone.
    local: String,
    /// What a calendar has against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<String>,
}

/// How far a schedule has been decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CursorNow {
    /// Nothing at or before this is decided again.
    at: String,
    /// When it was moved.
    moved: String,
    /// By whom.
    by: String,
    /// Why; empty for the scheduler's own moves.
    reason: String,
}

/// Why a schedule stands still.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Paused {
    /// Since when.
    since: String,
    /// Why.
    why: String,
}

/// A run of a schedule that ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastRun {
    /// Its number.
    run: i64,
    /// How it ended.
    status: String,
    /// When.
    at: String,
}

fn schedule(stand: Stand) -> Schedule {
    let (schedule, origin) = (stand.definition.schedule, stand.definition.origin);
    let standing = stand.standing;
    let (cursor, paused) = match stand.cursor {
        None => (None, None),
        Some(moved) => {
            let paused =
                moved.cursor.paused.map(|pause| Paused { since: pause.since.to_string(), why: pause.why });
            let now = CursorNow {
                at: moved.cursor.at.to_string(),
                moved: instant(moved.at),
                by: moved.by,
                reason: moved.reason,
            };
            (Some(now), paused)
        }
    };
    let shown = |(at, due, blocked): (Timestamp, Timestamp, Option<String>)| Instant {
        at: at.to_string(),
        due: due.to_string(),
        local: schedule.tz.civil(due).strftime("%a %Y-%m-%d %H:%M:%S").to_string(),
        blocked,
    };
    Schedule {
        next: stand.next.into_iter().map(shown).collect(),
        mode: schedule.mode.as_str().to_owned(),
        when: words(&schedule.when),
        tz: schedule.tz.name().to_owned(),
        enabled: schedule.enabled,
        line: origin.line(),
        file: origin.file,
        cursor,
        paused,
        last: standing.as_ref().and_then(|standing| standing.last).map(|(run, status, at)| LastRun {
            run: run.0,
            status: status.as_str().to_owned(),
            at: instant(at),
        }),
        last_success: standing.as_ref().and_then(|standing| standing.success).map(|(run, at)| LastRun {
            run: run.0,
            status: "done".to_owned(),
            at: instant(at),
        }),
        failures: standing.map_or(0, |standing| standing.failures),
        stale_after: schedule.stale_after.map(duration::text),
        stale_since: stand.stale_since.map(|at| at.to_string()),
        schedule: schedule.id,
        doc: schedule.doc,
        runbook: schedule.runbook,
    }
}

/// Writes how a schedule stands as programs get it.
pub(crate) fn json(stand: Stand) -> serde_json::Value {
    serde_json::to_value(schedule(stand)).unwrap_or_default()
}

fn words(when: &When) -> String {
    match when {
        When::Cron { cron, .. } => format!("cron {cron}"),
        When::Every { every, .. } => format!("every {}", duration::text(*every)),
        When::At { at } => {
            let first: Vec<String> = at.iter().take(3).map(ToString::to_string).collect();
            let more = if at.len() > first.len() { " …" } else { "" };
            format!("at {}{more}", first.join(", "))
        }
    }
}

/// Which schedules to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Only those that are stale.
    #[serde(default)]
    stale: bool,
    /// Only those that stand still.
    #[serde(default)]
    paused: bool,
    /// Those after this one: `next` of the page before.
    after: Option<String>,
    /// How many at most; 100 by default, 500 at most.
    limit: Option<usize>,
}

/// List schedules, by name
#[utoipa::path(get, path = "/api/v1/schedules", tag = "schedules", params(Wanted),
    responses((status = 200, body = Listing<Schedule>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Answer<Listing<Schedule>> {
    let mut all = app.look(|desk| desk.stands(None, 1, clock::now())).await?;
    all.sort_by(|a, b| a.definition.schedule.id.cmp(&b.definition.schedule.id));
    all.retain(|one| {
        let is_paused = one.cursor.as_ref().is_some_and(|moved| moved.cursor.paused.is_some());
        (!wanted.stale || one.stale_since.is_some()) && (!wanted.paused || is_paused)
    });
    let page = page_of(all, |one| &one.definition.schedule.id, wanted.after.as_deref(), wanted.limit);
    Ok(Json(Listing { items: page.items.into_iter().map(schedule).collect(), next: page.next }))
}

/// How many instants to show.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ahead {
    /// How many of the next instants; 10 by default, 1000 at most.
    count: Option<usize>,
    /// After when: RFC 3339; now by default.
    after: Option<String>,
}

async fn one(app: &App, name: String, ahead: Ahead) -> Result<Schedule, Failure> {
    let after = ahead.after.map(|text| time(&text)).transpose()?.unwrap_or_else(clock::now);
    let count = ahead.count.unwrap_or(10).min(MOST);
    let wanted = name.clone();
    let mut found = app.look(move |desk| desk.stands(Some(&wanted), count, after)).await?;
    let found = found.pop().ok_or_else(|| Failure::not_found(format!("there is no schedule `{name}`")))?;
    Ok(schedule(found))
}

/// Show a schedule with its next instants
///
/// They come from the function that the scheduler itself asks.
#[utoipa::path(get, path = "/api/v1/schedules/{schedule}", tag = "schedules",
    params(("schedule" = String, Path, description = "its name"), Ahead),
    responses((status = 200, body = Schedule), (status = "default", body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(ahead): Query<Ahead>,
) -> Answer<Schedule> {
    Ok(Json(one(&app, name, ahead).await?))
}

/// What became of an instant, or of many with the same fate.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fate {
    /// Its number.
    fate: i64,
    /// The schedule.
    schedule: String,
    /// The first instant.
    at: String,
    /// The last instant.
    until: String,
    /// How many they are.
    count: i64,
    /// `run`, or what there is instead: `missed`, `skipped_overlap`, `blocked_calendar`, `paused` …
    state: String,
    /// The reason, for people.
    reason: String,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<i64>,
}

/// Which fates to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fates {
    /// Only those of this schedule.
    schedule: Option<String>,
    /// Only instants that became no run.
    #[serde(default)]
    undelivered: bool,
    /// Numbers below this: `next` of the page before.
    before: Option<i64>,
    /// How many at most; 100 by default, 1000 at most.
    limit: Option<usize>,
}

/// List what became of instants, the newest first
#[utoipa::path(get, path = "/api/v1/fates", tag = "schedules", params(Fates),
    responses((status = 200, body = Page<Fate>), (status = "default", body = Problem)))]
pub(crate) async fn fates(
    _: Viewer,
    State(app): State<App>,
    Query(wanted): Query<Fates>,
) -> Answer<Page<Fate>> {
    let limit = wanted.limit.unwrap_or(100).clamp(1, MOST);
    let rows = app.look(move |desk| {
        desk.read(|reader| {
            let mut before = wanted.before;
            let mut found = Vec::new();
            loop {
                let page = reader.fates(wanted.schedule.as_deref(), before, MOST)?;
                let is_last = page.len() < MOST;
                before = page.last().map(|fate| fate.id);
                found.extend(page.into_iter().filter(|fate| !wanted.undelivered || fate.state != "run"));
                if is_last || found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
        })
    });
    let rows = rows.await?;
    let next = (rows.len() == limit).then(|| rows.last().map(|fate| fate.id)).flatten();
    let shown = |fate: crate::store::Fate| Fate {
        fate: fate.id,
        schedule: fate.schedule,
        at: instant(fate.instant),
        until: instant(fate.until),
        count: fate.count,
        state: fate.state,
        reason: fate.reason,
        run: fate.run.map(|run| run.0),
    };
    Ok(Json(Page { items: rows.into_iter().map(shown).collect(), next }))
}

/// Why something is done to a schedule.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Because {
    /// The reason, for those who come later.
    reason: String,
}

/// Stop a schedule until somebody lets it go on
#[utoipa::path(post, path = "/api/v1/schedules/{schedule}/pause", tag = "schedules", request_body = Because,
    params(("schedule" = String, Path, description = "its name")),
    responses((status = 200, body = Schedule), (status = "default", body = Problem)))]
pub(crate) async fn pause(
    AtLeast(caller): Operator,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(because): Json<Because>,
) -> Moved {
    let reason = given(because.reason)?;
    let why = format!("{}: {reason}", caller.name());
    let about = format!("schedules/{name}/pause: {reason}");
    moved(&app, about, name, caller.name(), reason, move |cursor, now| cursor.pause(now, why)).await
}

/// Let a schedule go on that stands still; nothing fires for the time in between
#[utoipa::path(post, path = "/api/v1/schedules/{schedule}/resume", tag = "schedules", request_body = Because,
    params(("schedule" = String, Path, description = "its name")),
    responses((status = 200, body = Schedule), (status = "default", body = Problem)))]
pub(crate) async fn resume(
    AtLeast(caller): Operator,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(because): Json<Because>,
) -> Moved {
    let reason = given(because.reason)?;
    let about = format!("schedules/{name}/resume: {reason}");
    moved(&app, about, name, caller.name(), reason, Cursor::resume).await
}

/// Where the cursor is to stand, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct To {
    /// Nothing at or before this fires; instants after it that are past are decided by the misfire policy: RFC 3339.
    at: String,
    /// The reason, for those who come later.
    reason: String,
}

/// Move how far a schedule has been decided
#[utoipa::path(put, path = "/api/v1/schedules/{schedule}/cursor", tag = "schedules", request_body = To,
    params(("schedule" = String, Path, description = "its name")),
    responses((status = 200, body = Schedule), (status = "default", body = Problem)))]
pub(crate) async fn set(
    AtLeast(caller): Editor,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(to): Json<To>,
) -> Moved {
    let (at, reason) = (time(&to.at)?, given(to.reason)?);
    let about = format!("schedules/{name}/cursor {at}: {reason}");
    moved(&app, about, name, caller.name(), reason, move |cursor, _| cursor.set(at)).await
}

/// A schedule that somebody has moved, with what the audit is told.
type Moved = Result<(Extension<Note>, Json<Schedule>), Failure>;

async fn moved(
    app: &App,
    about: String,
    name: String,
    who: String,
    reason: String,
    to: impl FnOnce(Cursor, Timestamp) -> Cursor + Send + 'static,
) -> Moved {
    let wanted = name.clone();
    app.look(move |desk| desk.move_cursor(&wanted, to, &who, &reason)).await?;
    let schedule = one(app, name, Ahead { count: Some(1), after: None }).await?;
    Ok((Extension(Note { about: Some(about), ..Note::default() }), Json(schedule)))
}

/// Which stretch of time to play.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stretch {
    /// From when: RFC 3339; now by default.
    from: Option<String>,
    /// Until when: RFC 3339; a week later by default, 92 days at most.
    until: Option<String>,
}

/// Play what schedules would do: runs, waits, instants left out, days on which clocks are moved
///
/// With the lengths of earlier runs, and the functions that the scheduler itself asks.
#[utoipa::path(get, path = "/api/v1/simulation", tag = "schedules", params(Stretch),
    responses((status = 200, body = Object), (status = "default", body = Problem)))]
pub(crate) async fn simulate(
    _: Viewer,
    State(app): State<App>,
    Query(stretch): Query<Stretch>,
) -> Answer<serde_json::Value> {
    let from = stretch.from.map(|text| time(&text)).transpose()?.unwrap_or_else(clock::now);
    let week = from.checked_add(SignedDuration::from_hours(24 * 7)).unwrap_or(from);
    let until = stretch.until.map(|text| time(&text)).transpose()?.unwrap_or(week);
    if until <= from || until.duration_since(from) > LONGEST {
        return Err(Failure::invalid("`until` is after `from`, and at most 92 days after it"));
    }
    let played = app.look(move |desk| desk.preview(from, until)).await?;
    Ok(Json(serde_json::to_value(played).unwrap_or_default()))
}

fn time(text: &str) -> Result<Timestamp, Failure> {
    text.parse().map_err(|_| Failure::invalid(format!("`{text}` is no time such as 2027-01-31T03:00:00Z")))
}

fn given(reason: String) -> Result<String, Failure> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > 500 {
        return Err(Failure::invalid("`reason` says why, in at most 500 characters"));
    }
    Ok(reason.to_owned())
}
